// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeaseEscrow} from "../interfaces/ILeaseEscrow.sol";
import {LeaseTypes} from "./LeaseTypes.sol";
import {Listings} from "./Listings.sol";
import {Stakes} from "./Stakes.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @notice Life of a lease without disputes: open, commit, settle, stop, close.
abstract contract Leases is Listings, Stakes, EIP712 {
    using LeaseTypes for Terms;

    /// @dev All of a lease but its root, in one slot.
    struct Progress {
        LeaseStatus status;
        uint16 paid;
        uint16 pending;
        uint40 openedAt;
        uint40 committedAt;
        uint40 stoppedAt;
        uint96 escrow;
    }

    uint16 internal constant MAX_AUDIT_BPS = 2000;
    uint256 private constant MAX_WINDOW = 30 days;
    uint256 private constant MAX_COMMIT_GRACE = 30 days;
    uint256 private constant MAX_DISPUTE_TIMEOUT = 90 days;
    uint256 private constant MAX_MAX_DURATION = 1096 days;

    mapping(bytes32 leaseId => Progress) internal _progress;
    mapping(bytes32 leaseId => bytes32) internal _roots;

    constructor() EIP712("Gridlease", "1") {}

    // ------------------------------------------------------------------------------------- open

    /// @inheritdoc ILeaseEscrow
    function open(Terms calldata terms, bytes calldata signature)
        external
        whenNotPaused
        nonReentrant
        returns (bytes32 leaseId)
    {
        // Check
        if (msg.sender != terms.renter) revert NotRenter(msg.sender, terms.renter);
        uint96 cost = _checkMoney(terms);
        _checkPeriods(terms);
        _checkArbiter(terms);
        _checkListing(terms);
        leaseId = leaseIdOf(terms);
        if (_progress[leaseId].status != LeaseStatus.None) revert LeaseExists(leaseId);
        _checkSignature(terms.operator, leaseId, signature);
        // Effect
        _lockBond(terms.provider, terms.token, terms.bond);
        Progress memory lease;
        lease.status = LeaseStatus.Active;
        lease.openedAt = uint40(block.timestamp);
        lease.escrow = cost;
        _progress[leaseId] = lease;
        emit Opened(leaseId, terms.renter, terms.provider, terms);
        // Interaction
        _pull(terms.token, terms.renter, cost);
    }

    function _checkMoney(Terms calldata terms) private view returns (uint96) {
        if (terms.segments == 0) revert SegmentsMissing();
        if (terms.pricePerSegment == 0) revert PriceMissing();
        uint256 cost = uint256(terms.pricePerSegment) * terms.segments;
        if (cost > type(uint96).max) revert CostTooHigh(cost, type(uint96).max);
        if (terms.feeBps != feeBps) revert FeeDiffers(terms.feeBps, feeBps);
        if (terms.auditBps > MAX_AUDIT_BPS) {
            revert AuditShareTooHigh(terms.auditBps, MAX_AUDIT_BPS);
        }
        // Part of the signed terms, but no rule here reads them: refused rather than ignored.
        if (terms.reserveSegments != 0) revert ReserveNotSupported(terms.reserveSegments);
        if (terms.predecessor != 0) revert PredecessorNotSupported(terms.predecessor);
        return uint96(cost);
    }

    /// @dev Bounded from above only: every lease must end, how soon is the parties' choice.
    function _checkPeriods(Terms calldata terms) private view {
        if (block.timestamp > terms.openBy) revert AfterOpenBy(block.timestamp, terms.openBy);
        if (terms.window > MAX_WINDOW) revert WindowTooLong(terms.window, MAX_WINDOW);
        if (terms.commitGrace > MAX_COMMIT_GRACE) {
            revert CommitGraceTooLong(terms.commitGrace, MAX_COMMIT_GRACE);
        }
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

    // --------------------------------------------------------------------------- commit, settle

    /// @inheritdoc ILeaseEscrow
    function commit(Terms calldata terms, uint16 upTo, bytes32 traceRoot) external nonReentrant {
        // Check
        (bytes32 leaseId, Progress memory lease) = _active(terms);
        if (terms.window == 0) revert LeaseMetered(leaseId);
        _checkProviderSide(terms);
        if (upTo <= lease.pending || upTo > terms.segments) {
            revert UpToOutOfRange(upTo, lease.pending, terms.segments);
        }
        _checkCommitTime(leaseId, terms, lease, upTo);
        // Effect
        if (_isMatured(terms, lease)) _pay(leaseId, terms, lease, lease.pending);
        lease.pending = upTo;
        // The final commit is told by its time being later than the stop, also within one block.
        lease.committedAt = uint40(block.timestamp);
        if (lease.stoppedAt == block.timestamp) ++lease.committedAt;
        _progress[leaseId] = lease;
        bytes32 root = keccak256(abi.encode(_roots[leaseId], upTo, traceRoot));
        _roots[leaseId] = root;
        emit Committed(leaseId, upTo, traceRoot, root);
    }

    /// @inheritdoc ILeaseEscrow
    function settle(Terms calldata terms) external nonReentrant {
        (bytes32 leaseId, Progress memory lease) = _active(terms);
        if (lease.pending == lease.paid) revert NothingToSettle(leaseId);
        if (!_isMatured(terms, lease)) {
            revert WindowOpen(block.timestamp, _maturesAt(terms, lease));
        }
        _settle(leaseId, terms, lease);
    }

    /// @inheritdoc ILeaseEscrow
    function settleMany(Terms[] calldata terms) external nonReentrant returns (uint256 settled) {
        for (uint256 i = 0; i < terms.length; ++i) {
            bytes32 leaseId = leaseIdOf(terms[i]);
            Progress memory lease = _progress[leaseId];
            if (lease.status != LeaseStatus.Active || !_isMatured(terms[i], lease)) continue;
            _settle(leaseId, terms[i], lease);
            ++settled;
        }
    }

    /// @inheritdoc ILeaseEscrow
    function settleVoucher(Terms calldata terms, uint16 segments, bytes calldata signature)
        external
        nonReentrant
    {
        (bytes32 leaseId, Progress memory lease) = _active(terms);
        if (terms.window != 0) revert LeaseNotMetered(leaseId);
        if (segments <= lease.paid || segments > terms.segments) {
            revert VoucherOutOfRange(segments, lease.paid, terms.segments);
        }
        _checkSignature(terms.renter, voucherDigest(leaseId, segments), signature);
        lease.pending = segments;
        lease.committedAt = uint40(block.timestamp);
        _settle(leaseId, terms, lease);
    }

    // ------------------------------------------------------------------------------ stop, close

    /// @inheritdoc ILeaseEscrow
    function stop(Terms calldata terms) external nonReentrant {
        bytes32 leaseId = leaseIdOf(terms);
        Progress memory lease = _progress[leaseId];
        if (lease.status != LeaseStatus.Active && lease.status != LeaseStatus.Disputed) {
            revert LeaseNotLive(leaseId, lease.status);
        }
        if (msg.sender != terms.renter) revert NotRenter(msg.sender, terms.renter);
        if (lease.stoppedAt != 0) revert AlreadyStopped(lease.stoppedAt);
        uint256 time = _leaseTime(leaseId, lease.status);
        // A stop opens the grace for one more commit; it must not revive a lease that is over.
        uint256 deadline = _commitDeadline(terms, lease);
        if (time > deadline) revert AfterCommitDeadline(time, deadline);
        lease.stoppedAt = uint40(time);
        _progress[leaseId] = lease;
        emit Stopped(leaseId, uint40(time));
    }

    /// @inheritdoc ILeaseEscrow
    function close(Terms calldata terms) external nonReentrant {
        (bytes32 leaseId, Progress memory lease) = _active(terms);
        if (lease.pending != lease.paid) {
            if (!_isMatured(terms, lease)) {
                revert WindowOpen(block.timestamp, _maturesAt(terms, lease));
            }
            _pay(leaseId, terms, lease, lease.pending);
        }
        uint256 closableAfter = _closableAfter(terms, lease);
        bool over = block.timestamp > closableAfter || lease.paid == terms.segments;
        if (!over && !_isProviderSide(terms, msg.sender)) {
            revert BeforeCloseTime(block.timestamp, closableAfter);
        }
        _close(leaseId, terms, lease, _cause(terms, lease, over));
    }

    // ------------------------------------------------------------------------------------ views

    /// @inheritdoc ILeaseEscrow
    function leaseIdOf(Terms calldata terms) public view returns (bytes32) {
        return _hashTypedDataV4(terms.hash());
    }

    /// @inheritdoc ILeaseEscrow
    function voucherDigest(bytes32 leaseId, uint16 segments) public view returns (bytes32) {
        return _hashTypedDataV4(LeaseTypes.hashVoucher(leaseId, segments));
    }

    /// @inheritdoc ILeaseEscrow
    function leaseOf(bytes32 leaseId) external view returns (Lease memory) {
        Progress memory lease = _progress[leaseId];
        return Lease({
            status: lease.status,
            paid: lease.paid,
            pending: lease.pending,
            openedAt: lease.openedAt,
            committedAt: lease.committedAt,
            stoppedAt: lease.stoppedAt,
            escrow: lease.escrow,
            root: _roots[leaseId]
        });
    }

    // --------------------------------------------------------------------------------- payments

    /// @dev Pays segments up to `upTo` out of escrow. The caller stores `lease`.
    function _pay(bytes32 leaseId, Terms calldata terms, Progress memory lease, uint16 upTo)
        internal
    {
        uint256 amount = uint256(terms.pricePerSegment) * (upTo - lease.paid);
        lease.paid = upTo;
        // Cannot lose bits: escrow holds the price of every unpaid segment.
        lease.escrow -= uint96(amount);
        (uint256 toProvider, uint256 toTreasury, uint256 toAuditPool) =
            _creditPayment(terms, amount);
        emit Settled(leaseId, upTo, toProvider, toTreasury, toAuditPool, treasury, auditPool);
    }

    function _settle(bytes32 leaseId, Terms calldata terms, Progress memory lease) private {
        _pay(leaseId, terms, lease, lease.pending);
        if (lease.paid == terms.segments) {
            _close(leaseId, terms, lease, CloseCause.Completed);
        } else {
            _progress[leaseId] = lease;
        }
    }

    /// @dev Refunds what is left in escrow and frees the bond.
    function _close(bytes32 leaseId, Terms calldata terms, Progress memory lease, CloseCause cause)
        internal
    {
        _unlockBond(terms.provider, terms.token, terms.bond);
        _closeWithoutBond(leaseId, terms, lease, cause);
    }

    function _closeWithoutBond(
        bytes32 leaseId,
        Terms calldata terms,
        Progress memory lease,
        CloseCause cause
    ) internal {
        uint256 refund = lease.escrow;
        lease.escrow = 0;
        lease.status = LeaseStatus.Closed;
        _progress[leaseId] = lease;
        _credit(terms.token, terms.renter, refund);
        emit Closed(leaseId, cause, lease.paid, refund);
    }

    // ---------------------------------------------------------------------------------- clocks

    function _active(Terms calldata terms)
        internal
        view
        returns (bytes32 leaseId, Progress memory lease)
    {
        leaseId = leaseIdOf(terms);
        lease = _progress[leaseId];
        if (lease.status != LeaseStatus.Active) revert LeaseNotActive(leaseId, lease.status);
    }

    /// @dev Now on the lease's clock, which stands still during a dispute.
    function _leaseTime(bytes32 leaseId, LeaseStatus status)
        internal
        view
        virtual
        returns (uint256);

    function _maturesAt(Terms calldata terms, Progress memory lease)
        internal
        pure
        returns (uint256)
    {
        return uint256(lease.committedAt) + terms.window;
    }

    function _isMatured(Terms calldata terms, Progress memory lease) internal view returns (bool) {
        return lease.pending > lease.paid && block.timestamp >= _maturesAt(terms, lease);
    }

    /// @dev Last time at which an unstopped lease takes a commit.
    function _commitDeadline(Terms calldata terms, Progress memory lease)
        private
        pure
        returns (uint256)
    {
        bool isFirst = lease.committedAt == 0 && terms.window != 0;
        uint256 period = isFirst && terms.firstCommitWithin < terms.maxDuration
            ? terms.firstCommitWithin
            : terms.maxDuration;
        return lease.openedAt + period;
    }

    /// @dev Last time at which the provider can still claim something; zero when it has made its
    /// final commit.
    function _closableAfter(Terms calldata terms, Progress memory lease)
        private
        pure
        returns (uint256)
    {
        bool isMetered = terms.window == 0;
        if (lease.stoppedAt != 0) {
            bool isFinal = !isMetered && lease.committedAt > lease.stoppedAt;
            return isFinal ? 0 : uint256(lease.stoppedAt) + terms.commitGrace;
        }
        uint256 deadline = _commitDeadline(terms, lease);
        return isMetered ? deadline + terms.commitGrace : deadline;
    }

    function _checkCommitTime(
        bytes32 leaseId,
        Terms calldata terms,
        Progress memory lease,
        uint16 upTo
    ) private view {
        uint256 deadline = _closableAfter(terms, lease);
        if (deadline == 0) revert FinalCommitMade(leaseId);
        if (block.timestamp > deadline) revert AfterCommitDeadline(block.timestamp, deadline);
        // After a stop: what can have been finished by then, and the segment that was running.
        uint256 elapsed = lease.stoppedAt == 0
            ? block.timestamp - lease.openedAt
            : uint256(lease.stoppedAt) - lease.openedAt + terms.minSegmentSeconds;
        uint256 needed = uint256(upTo) * terms.minSegmentSeconds;
        if (needed > elapsed) revert CommitTooFast(upTo, needed, elapsed);
    }

    function _cause(Terms calldata terms, Progress memory lease, bool over)
        private
        pure
        returns (CloseCause)
    {
        if (lease.paid == terms.segments) return CloseCause.Completed;
        if (lease.stoppedAt != 0) return CloseCause.RenterStopped;
        if (!over) return CloseCause.ProviderClosed;
        return lease.committedAt == 0 && terms.window != 0
            ? CloseCause.NeverCommitted
            : CloseCause.Expired;
    }

    function _checkSignature(address signer, bytes32 digest, bytes calldata signature)
        private
        view
    {
        if (!SignatureChecker.isValidSignatureNowCalldata(signer, digest, signature)) {
            revert SignatureInvalid(signer, digest);
        }
    }
}
