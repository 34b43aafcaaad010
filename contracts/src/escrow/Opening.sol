// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC3009} from "../interfaces/IERC3009.sol";
import {IEscrowCore} from "../interfaces/IEscrowCore.sol";
import {LeaseBook} from "./LeaseBook.sol";
import {OrderBook} from "./OrderBook.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";

/// @notice The ways to open a lease. They differ in who consents for the renter, and where the
/// money comes from.
abstract contract Opening is OrderBook, IEscrowCore {
    uint16 internal constant MAX_AUDIT_BPS = 2000;
    uint256 private constant MAX_WINDOW = 30 days;
    uint256 private constant MAX_COMMIT_GRACE = 30 days;
    uint256 private constant MAX_DISPUTE_TIMEOUT = 90 days;
    uint256 private constant MAX_MAX_DURATION = 1096 days;

    constructor(address owner) LeaseBook(owner) {}

    // ------------------------------------------------------------------------------- ways to open

    /// @inheritdoc IEscrowCore
    function open(Terms calldata terms, bytes calldata signature)
        external
        payable
        whenNotPaused
        nonReentrant
        returns (bytes32 leaseId)
    {
        if (msg.sender != terms.renter) revert NotRenter(msg.sender, terms.renter);
        uint256 cost;
        (leaseId, cost) = _open(terms, signature, 0);
        _pull(terms.token, msg.sender, cost);
    }

    /// @inheritdoc IEscrowCore
    function openWithPermit(Terms calldata terms, bytes calldata signature, Permit calldata permit)
        external
        whenNotPaused
        nonReentrant
        returns (bytes32 leaseId)
    {
        if (msg.sender != terms.renter) revert NotRenter(msg.sender, terms.renter);
        uint256 cost;
        (leaseId, cost) = _open(terms, signature, 0);
        // Anybody may have used the permit already; what counts is the allowance.
        try IERC20Permit(terms.token)
            .permit(
                msg.sender,
                address(this),
                permit.value,
                permit.deadline,
                permit.v,
                permit.r,
                permit.s
            ) {}
            catch {}
        _pull(terms.token, msg.sender, cost);
    }

    /// @inheritdoc IEscrowCore
    function openWithAuthorization(
        Terms calldata terms,
        bytes calldata signature,
        Authorization calldata authorization
    ) external whenNotPaused nonReentrant returns (bytes32 leaseId) {
        uint256 cost;
        (leaseId, cost) = _open(terms, signature, 0);
        _payRelayer(leaseId, terms, authorization.relayFee);
        _receive(terms, leaseId, cost + authorization.relayFee, authorization);
    }

    /// @inheritdoc IEscrowCore
    function openFrom(
        Terms calldata terms,
        bytes calldata signature,
        Source source,
        uint96 relayFee,
        bytes calldata consent
    ) external whenNotPaused nonReentrant returns (bytes32 leaseId) {
        uint256 cost;
        (leaseId, cost) = _open(terms, signature, 0);
        if (msg.sender != terms.renter) {
            _checkSignature(terms.renter, _openingDigest(leaseId, source, relayFee), consent);
        }
        _payRelayer(leaseId, terms, relayFee);
        _take(source, terms.token, terms.renter, cost + relayFee);
    }

    /// @inheritdoc IEscrowCore
    function openFor(
        Terms calldata terms,
        bytes calldata signature,
        Order calldata order,
        bytes calldata orderSignature
    ) external whenNotPaused nonReentrant returns (bytes32 leaseId) {
        uint256 cost;
        (leaseId, cost) = _open(terms, signature, ORDERED);
        _useOrder(leaseId, terms, cost, order, orderSignature);
        // Else it would turn the renter's allowance into credit, lease by lease.
        _take(Source.Credit, terms.token, terms.renter, cost);
    }

    // ------------------------------------------------------------------------------------ checks

    /// @dev Everything but the money, which the caller takes next.
    // slither-disable-next-line incorrect-equality: a status
    function _open(Terms calldata terms, bytes calldata signature, uint8 flags)
        private
        returns (bytes32 leaseId, uint256)
    {
        // Check
        _checkHome();
        uint88 cost = _checkMoney(terms);
        _checkPeriods(terms);
        _checkArbiter(terms);
        if (_useListing(terms)) flags |= COUNTED;
        leaseId = _leaseIdOf(terms);
        if (_load(leaseId).status != LeaseStatus.None) revert LeaseExists(leaseId);
        if (terms.predecessor != 0 && _load(terms.predecessor).status == LeaseStatus.None) {
            revert PredecessorUnknown(terms.predecessor);
        }
        _checkSignature(terms.operator, leaseId, signature);
        // Effect
        _lockBond(terms.provider, terms.token, terms.bond);
        // slither-disable-next-line uninitialized-local: no commit and no stop yet
        Progress memory lease;
        lease.status = LeaseStatus.Active;
        lease.openedAt = uint40(block.timestamp);
        lease.escrow = cost;
        lease.flags = flags;
        _store(leaseId, lease);
        emit Opened(leaseId, terms.renter, terms.provider, terms);
        return (leaseId, cost);
    }

    function _checkMoney(Terms calldata terms) private view returns (uint88) {
        if (terms.segments == 0) revert SegmentsMissing();
        if (terms.pricePerSegment == 0) revert PriceMissing();
        uint256 cost = uint256(terms.pricePerSegment) * terms.segments;
        if (cost > type(uint88).max) revert CostTooHigh(cost, type(uint88).max);
        if (terms.feeBps != _feeBps) revert FeeDiffers(terms.feeBps, _feeBps);
        if (terms.auditBps > MAX_AUDIT_BPS) {
            revert AuditShareTooHigh(terms.auditBps, MAX_AUDIT_BPS);
        }
        uint16 maxReserve = terms.window == 0 ? 0 : terms.segments;
        if (terms.reserveSegments > maxReserve) {
            revert ReserveTooLong(terms.reserveSegments, maxReserve);
        }
        return uint88(cost);
    }

    /// @dev Bounded from above: every lease must end, how soon is the parties' choice.
    function _checkPeriods(Terms calldata terms) private view {
        if (block.timestamp > terms.openBy) revert AfterOpenBy(block.timestamp, terms.openBy);
        if (terms.window > MAX_WINDOW) revert WindowTooLong(terms.window, MAX_WINDOW);
        if (terms.commitGrace > MAX_COMMIT_GRACE) {
            revert CommitGraceTooLong(terms.commitGrace, MAX_COMMIT_GRACE);
        }
        // Else a close could be faster than the newest voucher.
        if (terms.window == 0 && terms.commitGrace == 0) revert CommitGraceMissing();
        if (terms.maxDuration == 0 || terms.maxDuration > MAX_MAX_DURATION) {
            revert MaxDurationOutOfRange(terms.maxDuration, MAX_MAX_DURATION);
        }
    }

    /// @dev A metered lease has no disputes, so its arbiter does not matter.
    function _checkArbiter(Terms calldata terms) private pure {
        if (terms.window == 0) return;
        address arbiter = terms.arbiter;
        if (arbiter == address(0)) revert ArbiterMissing();
        if (arbiter == terms.renter || arbiter == terms.provider || arbiter == terms.operator) {
            revert ArbiterIsParty(arbiter);
        }
        if (terms.disputeTimeout == 0 || terms.disputeTimeout > MAX_DISPUTE_TIMEOUT) {
            revert DisputeTimeoutOutOfRange(terms.disputeTimeout, MAX_DISPUTE_TIMEOUT);
        }
    }

    // ------------------------------------------------------------------------------------- money

    /// @dev For carrying the renter's call; part of what the renter signed for.
    function _payRelayer(bytes32 leaseId, Terms calldata terms, uint256 fee) private {
        if (fee == 0) return;
        _credit(terms.token, msg.sender, fee);
        emit RelayerPaid(leaseId, msg.sender, fee);
    }

    /// @dev The nonce is the lease's id, so the renter's signature is for these terms alone.
    function _receive(
        Terms calldata terms,
        bytes32 leaseId,
        uint256 amount,
        Authorization calldata authorization
    ) private {
        uint256 before = IERC20(terms.token).balanceOf(address(this));
        IERC3009(terms.token)
            .receiveWithAuthorization(
                terms.renter,
                address(this),
                amount,
                authorization.validAfter,
                authorization.validBefore,
                leaseId,
                authorization.v,
                authorization.r,
                authorization.s
            );
        _checkReceived(terms.token, before, amount);
    }
}
