// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowExtension} from "../interfaces/IEscrowExtension.sol";
import {LeaseTypes} from "./LeaseTypes.sol";
import {Stakes} from "./Stakes.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @notice Challenge, demand for data, ruling, and the way out when no ruling comes.
abstract contract Disputes is Stakes {
    // Compared are counters, statuses, and whether a time is on record; never a balance.
    // slither-disable-start incorrect-equality
    /// @dev Judging one segment means running it twice.
    uint256 private constant AUDIT_COST_SEGMENTS = 2;
    /// @dev At most this part of a slash goes to the challenger, so that a provider gains nothing
    /// by challenging itself.
    uint256 private constant MAX_REWARD_DIVISOR = 10;

    /// @inheritdoc IEscrowExtension
    function challenge(Terms calldata terms, uint16 segment)
        external
        payable
        onlyEscrow
        nonReentrant
    {
        uint256 bond = _challenge(_leaseIdOf(terms), terms, segment, msg.sender);
        _pull(terms.token, msg.sender, bond);
    }

    /// @inheritdoc IEscrowExtension
    function challengeFrom(
        Terms calldata terms,
        uint16 segment,
        Source source,
        address challenger,
        uint40 expiresAt,
        uint64 nonce,
        bytes calldata consent
    ) external onlyEscrow nonReentrant {
        bytes32 leaseId = _leaseIdOf(terms);
        if (msg.sender != challenger) {
            if (block.timestamp >= expiresAt) revert ConsentExpired(block.timestamp, expiresAt);
            // Of this commit: what a later one says of the segment, the challenger has not seen.
            bytes32 digest = LeaseTypes.hashChallenge(
                leaseId, _roots[leaseId], segment, source, expiresAt, nonce
            );
            _useConsent(challenger, _hashTypedDataV4(digest), consent);
        }
        uint256 bond = _challenge(leaseId, terms, segment, challenger);
        _take(source, terms.token, challenger, bond);
    }

    /// @inheritdoc IEscrowExtension
    function demandData(Terms calldata terms, uint16 segment)
        external
        payable
        onlyEscrow
        nonReentrant
    {
        bytes32 leaseId = _leaseIdOf(terms);
        uint256 bond = _freeze(leaseId, terms, segment, msg.sender, true);
        emit DataDemanded(leaseId, msg.sender, segment, bond);
        _pull(terms.token, msg.sender, bond);
    }

    /// @inheritdoc IEscrowExtension
    function rule(Terms calldata terms, bool fraud, uint16 segment)
        external
        onlyEscrow
        nonReentrant
    {
        (bytes32 leaseId, Progress memory lease) = _disputed(terms);
        if (msg.sender != terms.arbiter) revert NotArbiter(msg.sender, terms.arbiter);
        _checkRulingTime(terms, leaseId);
        if (fraud) {
            if (segment < lease.paid || segment >= lease.pending) {
                revert SegmentOutOfRange(segment, lease.paid, lease.pending);
            }
            _ruleFraud(leaseId, terms, lease, segment);
        } else {
            _ruleHonest(leaseId, terms, lease, segment);
        }
    }

    /// @inheritdoc IEscrowExtension
    function attestUnretrievable(Terms calldata terms, uint16 goodSegments)
        external
        onlyEscrow
        nonReentrant
    {
        bytes32 leaseId = _leaseIdOf(terms);
        Progress memory lease = _load(leaseId);
        bool isDisputed = lease.status == LeaseStatus.Disputed;
        if (!isDisputed && lease.status != LeaseStatus.Active) {
            revert LeaseNotLive(leaseId, lease.status);
        }
        if (msg.sender != terms.arbiter) revert NotArbiter(msg.sender, terms.arbiter);
        Dispute memory dispute = _disputes[leaseId];
        // What was challenged cannot stay without a ruling.
        uint16 end = isDisputed ? dispute.lowestSegment + 1 : lease.pending;
        if (goodSegments < lease.paid || goodSegments >= end) {
            revert GoodSegmentsOutOfRange(goodSegments, lease.paid, end);
        }
        if (isDisputed) {
            _checkRulingTime(terms, leaseId);
            _resume(lease, dispute);
        } else {
            _checkWindow(terms, lease);
        }
        lease.pending = goodSegments;
        lease.flags |= UNRETRIEVABLE;
        _store(leaseId, lease);
        emit Unretrievable(leaseId, goodSegments);
        if (isDisputed) _returnBonds(leaseId, terms, dispute);
    }

    /// @inheritdoc IEscrowExtension
    function timeoutDispute(Terms calldata terms) external onlyEscrow nonReentrant {
        (bytes32 leaseId, Progress memory lease) = _disputed(terms);
        uint256 deadline = _rulingDeadline(terms, leaseId);
        if (block.timestamp < deadline) revert BeforeDisputeTimeout(block.timestamp, deadline);
        Dispute memory dispute = _disputes[leaseId];
        // The provider's half is rounded down; the renter's is what stays in escrow.
        uint16 splitUpTo = _payable(terms, lease, dispute.lowestSegment);
        uint256 half = uint256(terms.pricePerSegment) * (splitUpTo - lease.paid) / 2;
        lease.escrow -= uint88(half);
        (uint256 toProvider, uint256 toTreasury, uint256 toAuditPool) =
            _creditPayment(terms, half, 0);
        emit DisputeTimedOut(leaseId, dispute.lowestSegment, toProvider, toTreasury, toAuditPool);
        _returnBonds(leaseId, terms, dispute);
        _close(leaseId, terms, lease, CloseCause.DisputeTimedOut);
    }

    /// @inheritdoc IEscrowExtension
    function challengeBond(Terms calldata terms) public pure returns (uint256) {
        return AUDIT_COST_SEGMENTS * terms.pricePerSegment;
    }

    /// @inheritdoc IEscrowExtension
    function challengeReward(Terms calldata terms) public pure returns (uint256) {
        return
            Math.min(AUDIT_COST_SEGMENTS * terms.pricePerSegment, terms.bond / MAX_REWARD_DIVISOR);
    }

    function _challenge(bytes32 leaseId, Terms calldata terms, uint16 segment, address challenger)
        private
        returns (uint256 bond)
    {
        bond = _freeze(leaseId, terms, segment, challenger, false);
        emit Challenged(leaseId, challenger, segment, bond);
    }

    /// @dev Challenge and demand are one kind of dispute; what they claim differs, and who has half
    /// of the bond when it is wrong.
    function _freeze(
        bytes32 leaseId,
        Terms calldata terms,
        uint16 segment,
        address challenger,
        bool isDemand
    ) private returns (uint256) {
        Progress memory lease = _load(leaseId);
        // A challenger never judges its own challenge.
        if (challenger == terms.arbiter) revert ArbiterMayNotChallenge(challenger);
        if (lease.status == LeaseStatus.Disputed) {
            _pointLower(leaseId, terms, lease, segment, challenger, isDemand);
        } else {
            _dispute(leaseId, terms, lease, segment, challenger, isDemand);
        }
        return challengeBond(terms);
    }

    function _dispute(
        bytes32 leaseId,
        Terms calldata terms,
        Progress memory lease,
        uint16 segment,
        address challenger,
        bool isDemand
    ) private {
        if (lease.status != LeaseStatus.Active) {
            revert LeaseNotActive(leaseId, lease.status);
        }
        if (terms.window == 0) revert LeaseMetered(leaseId);
        if (segment < lease.paid || segment >= lease.pending) {
            revert SegmentOutOfRange(segment, lease.paid, lease.pending);
        }
        _checkWindow(terms, lease);
        lease.status = LeaseStatus.Disputed;
        _store(leaseId, lease);
        Dispute storage dispute = _disputes[leaseId];
        dispute.challenger = challenger;
        dispute.disputedAt = uint40(block.timestamp);
        dispute.lowestSegment = segment;
        dispute.isDemand = isDemand;
    }

    /// @dev Against a friendly challenge of a late segment, which would let the fakes before it
    /// pass.
    function _pointLower(
        bytes32 leaseId,
        Terms calldata terms,
        Progress memory lease,
        uint16 segment,
        address challenger,
        bool isDemand
    ) private {
        Dispute storage dispute = _disputes[leaseId];
        // The arbiter has the other half for the last segment that it is shown.
        uint256 deadline = uint256(dispute.disputedAt) + terms.disputeTimeout / 2;
        if (block.timestamp >= deadline) revert AfterLowerDeadline(block.timestamp, deadline);
        if (segment < lease.paid || segment >= dispute.lowestSegment) {
            revert SegmentOutOfRange(segment, lease.paid, dispute.lowestSegment);
        }
        address replaced = dispute.lowerChallenger;
        dispute.lowestSegment = segment;
        dispute.lowerChallenger = challenger;
        dispute.isLowerDemand = isDemand;
        if (replaced != address(0)) _returnBond(leaseId, terms, replaced, challengeBond(terms));
    }

    function _ruleFraud(
        bytes32 leaseId,
        Terms calldata terms,
        Progress memory lease,
        uint16 goodSegments
    ) private {
        Dispute memory dispute = _disputes[leaseId];
        uint256 toChallenger = challengeReward(terms);
        uint256 toRenter = terms.bond - toChallenger;
        _slashBond(terms.provider, terms.token, terms.bond);
        _credit(terms.token, dispute.challenger, toChallenger);
        _credit(terms.token, terms.renter, toRenter);
        emit Ruled(leaseId, dispute.challenger, true, goodSegments, toRenter, toChallenger, 0, 0);
        uint16 upTo = _payable(terms, lease, goodSegments);
        if (upTo > lease.paid) _pay(leaseId, terms, lease, upTo);
        _returnBonds(leaseId, terms, dispute);
        lease.flags |= PROVEN;
        _closeWithoutBond(leaseId, terms, lease, CloseCause.Fraud);
    }

    function _ruleHonest(
        bytes32 leaseId,
        Terms calldata terms,
        Progress memory lease,
        uint16 segment
    ) private {
        Dispute memory dispute = _disputes[leaseId];
        // A lower challenge can be in front of a ruling that does not know of it.
        if (segment != dispute.lowestSegment) {
            revert NotLowestSegment(segment, dispute.lowestSegment);
        }
        // A bond is the price of two segments, so that its halves are even.
        uint256 half = challengeBond(terms) / 2;
        uint256 toProvider = dispute.isDemand ? 0 : half;
        uint256 toAuditPool = half;
        if (dispute.lowerChallenger != address(0)) {
            if (!dispute.isLowerDemand) toProvider += half;
            toAuditPool += half;
        }
        _credit(terms.token, terms.provider, toProvider);
        _accrueAuditShare(terms.token, toAuditPool);
        _resume(lease, dispute);
        _store(leaseId, lease);
        emit Ruled(
            leaseId, dispute.challenger, false, lease.pending, 0, 0, toProvider, toAuditPool
        );
        // Not the provider's: else it would withhold, and live on answering the arbiter alone.
        _endDispute(
            leaseId, terms, dispute, dispute.isDemand ? half : 0, dispute.isLowerDemand ? half : 0
        );
    }

    /// @dev The clock stood still: window and deadlines go on with the time that they had left.
    function _resume(Progress memory lease, Dispute memory dispute) private view {
        uint40 frozen = uint40(block.timestamp) - dispute.disputedAt;
        lease.openedAt += frozen;
        lease.committedAt += frozen;
        if (lease.stoppedAt != 0) lease.stoppedAt += frozen;
        lease.status = LeaseStatus.Active;
    }

    function _returnBonds(bytes32 leaseId, Terms calldata terms, Dispute memory dispute) private {
        uint256 bond = challengeBond(terms);
        uint256 lowerBond = dispute.lowerChallenger == address(0) ? 0 : bond;
        _endDispute(leaseId, terms, dispute, bond, lowerBond);
    }

    /// @dev With what of their bonds goes back to the first and to the lower challenger.
    function _endDispute(
        bytes32 leaseId,
        Terms calldata terms,
        Dispute memory dispute,
        uint256 first,
        uint256 lower
    ) private {
        delete _disputes[leaseId];
        _returnBond(leaseId, terms, dispute.challenger, first);
        _returnBond(leaseId, terms, dispute.lowerChallenger, lower);
    }

    function _returnBond(bytes32 leaseId, Terms calldata terms, address challenger, uint256 amount)
        private
    {
        if (amount == 0) return;
        _credit(terms.token, challenger, amount);
        emit BondReturned(leaseId, challenger, amount);
    }

    function _useConsent(address account, bytes32 digest, bytes calldata consent) private {
        bytes32 use = keccak256(abi.encode(account, digest));
        if (_used[use]) revert ConsentUsed(account, digest);
        _used[use] = true;
        _checkSignature(account, digest, consent);
    }

    function _disputed(Terms calldata terms)
        private
        view
        returns (bytes32 leaseId, Progress memory lease)
    {
        leaseId = _leaseIdOf(terms);
        lease = _load(leaseId);
        if (lease.status != LeaseStatus.Disputed) revert LeaseNotDisputed(leaseId, lease.status);
    }

    function _checkWindow(Terms calldata terms, Progress memory lease) private view {
        uint256 maturesAt = _maturesAt(terms, lease);
        if (block.timestamp >= maturesAt) revert AfterWindow(block.timestamp, maturesAt);
    }

    /// @dev From the deadline on the outcome is fixed, whoever is faster.
    function _checkRulingTime(Terms calldata terms, bytes32 leaseId) private view {
        uint256 deadline = _rulingDeadline(terms, leaseId);
        if (block.timestamp >= deadline) revert AfterDisputeTimeout(block.timestamp, deadline);
    }

    function _rulingDeadline(Terms calldata terms, bytes32 leaseId)
        private
        view
        returns (uint256)
    {
        return uint256(_disputes[leaseId].disputedAt) + terms.disputeTimeout;
    }
    // slither-disable-end incorrect-equality
}
