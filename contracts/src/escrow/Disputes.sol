// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeaseEscrow} from "../interfaces/ILeaseEscrow.sol";
import {Leases} from "./Leases.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @notice Challenge, ruling, and the way out when no ruling comes.
abstract contract Disputes is Leases {
    /// @dev Judging one segment means running it twice.
    uint256 private constant AUDIT_COST_SEGMENTS = 2;
    /// @dev At most this part of a slash goes to the challenger, so that a provider gains nothing
    /// by challenging itself.
    uint256 private constant MAX_REWARD_DIVISOR = 10;

    mapping(bytes32 leaseId => Dispute) private _disputes;

    /// @inheritdoc ILeaseEscrow
    function challenge(Terms calldata terms, uint16 segment) external nonReentrant {
        bytes32 leaseId = leaseIdOf(terms);
        Progress memory lease = _progress[leaseId];
        // A challenger never judges its own challenge.
        if (msg.sender == terms.arbiter) revert ArbiterMayNotChallenge(msg.sender);
        uint256 bond = challengeBond(terms);
        if (lease.status == LeaseStatus.Disputed) {
            _pointLower(leaseId, terms, lease, segment, bond);
        } else {
            _dispute(leaseId, terms, lease, segment);
        }
        emit Challenged(leaseId, msg.sender, segment, bond);
        _pull(terms.token, msg.sender, bond);
    }

    /// @inheritdoc ILeaseEscrow
    function rule(Terms calldata terms, bool fraud, uint16 goodSegments) external nonReentrant {
        (bytes32 leaseId, Progress memory lease) = _disputed(terms);
        if (msg.sender != terms.arbiter) revert NotArbiter(msg.sender, terms.arbiter);
        uint256 deadline = _rulingDeadline(terms, leaseId);
        // From then on the outcome is fixed, whoever is faster.
        if (block.timestamp >= deadline) revert AfterDisputeTimeout(block.timestamp, deadline);
        bool covered = fraud
            ? lease.paid <= goodSegments && goodSegments < lease.pending
            : goodSegments == lease.pending;
        if (!covered) revert GoodSegmentsOutOfRange(goodSegments, lease.paid, lease.pending);
        if (fraud) {
            _ruleFraud(leaseId, terms, lease, goodSegments);
        } else {
            _ruleHonest(leaseId, terms, lease);
        }
    }

    /// @inheritdoc ILeaseEscrow
    function timeoutDispute(Terms calldata terms) external nonReentrant {
        (bytes32 leaseId, Progress memory lease) = _disputed(terms);
        uint256 deadline = _rulingDeadline(terms, leaseId);
        if (block.timestamp < deadline) revert BeforeDisputeTimeout(block.timestamp, deadline);
        Dispute memory dispute = _disputes[leaseId];
        // The provider's half is rounded down; the renter's is what stays in escrow.
        uint256 half = uint256(terms.pricePerSegment) * (dispute.lowestSegment - lease.paid) / 2;
        lease.escrow -= uint96(half);
        (uint256 toProvider, uint256 toTreasury, uint256 toAuditPool) = _creditPayment(terms, half);
        emit DisputeTimedOut(
            leaseId,
            dispute.lowestSegment,
            toProvider,
            toTreasury,
            toAuditPool,
            treasury,
            auditPool
        );
        _returnBonds(leaseId, terms, dispute);
        _close(leaseId, terms, lease, CloseCause.DisputeTimedOut);
    }

    /// @inheritdoc ILeaseEscrow
    function disputeOf(bytes32 leaseId) external view returns (Dispute memory) {
        return _disputes[leaseId];
    }

    /// @inheritdoc ILeaseEscrow
    function challengeBond(Terms calldata terms) public pure returns (uint256) {
        return AUDIT_COST_SEGMENTS * terms.pricePerSegment;
    }

    /// @inheritdoc ILeaseEscrow
    function challengeReward(Terms calldata terms) public pure returns (uint256) {
        return
            Math.min(AUDIT_COST_SEGMENTS * terms.pricePerSegment, terms.bond / MAX_REWARD_DIVISOR);
    }

    function _dispute(bytes32 leaseId, Terms calldata terms, Progress memory lease, uint16 segment)
        private
    {
        if (lease.status != LeaseStatus.Active) revert LeaseNotActive(leaseId, lease.status);
        if (terms.window == 0) revert LeaseMetered(leaseId);
        if (segment < lease.paid || segment >= lease.pending) {
            revert SegmentOutOfRange(segment, lease.paid, lease.pending);
        }
        uint256 maturesAt = _maturesAt(terms, lease);
        if (block.timestamp >= maturesAt) revert AfterWindow(block.timestamp, maturesAt);
        lease.status = LeaseStatus.Disputed;
        _progress[leaseId] = lease;
        Dispute storage dispute = _disputes[leaseId];
        dispute.challenger = msg.sender;
        dispute.disputedAt = uint40(block.timestamp);
        dispute.lowestSegment = segment;
    }

    /// @dev Against a friendly challenge of a late segment, which would let the fakes before it
    /// pass.
    function _pointLower(
        bytes32 leaseId,
        Terms calldata terms,
        Progress memory lease,
        uint16 segment,
        uint256 bond
    ) private {
        uint256 deadline = _rulingDeadline(terms, leaseId);
        if (block.timestamp >= deadline) revert AfterDisputeTimeout(block.timestamp, deadline);
        Dispute storage dispute = _disputes[leaseId];
        if (segment < lease.paid || segment >= dispute.lowestSegment) {
            revert SegmentOutOfRange(segment, lease.paid, dispute.lowestSegment);
        }
        address replaced = dispute.lowerChallenger;
        dispute.lowestSegment = segment;
        dispute.lowerChallenger = msg.sender;
        if (replaced != address(0)) _returnBond(leaseId, terms, replaced, bond);
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
        emit Ruled(leaseId, dispute.challenger, true, goodSegments, toRenter, toChallenger, 0);
        if (goodSegments > lease.paid) _pay(leaseId, terms, lease, goodSegments);
        _returnBonds(leaseId, terms, dispute);
        _closeWithoutBond(leaseId, terms, lease, CloseCause.Fraud);
    }

    function _ruleHonest(bytes32 leaseId, Terms calldata terms, Progress memory lease) private {
        Dispute memory dispute = _disputes[leaseId];
        delete _disputes[leaseId];
        uint256 bonds = challengeBond(terms);
        if (dispute.lowerChallenger != address(0)) bonds *= 2;
        _credit(terms.token, terms.provider, bonds);
        // The clock stood still: window and deadlines go on with the time that they had left.
        uint40 frozen = uint40(block.timestamp) - dispute.disputedAt;
        lease.openedAt += frozen;
        lease.committedAt += frozen;
        if (lease.stoppedAt != 0) lease.stoppedAt += frozen;
        lease.status = LeaseStatus.Active;
        _progress[leaseId] = lease;
        emit Ruled(leaseId, dispute.challenger, false, lease.pending, 0, 0, bonds);
    }

    function _returnBonds(bytes32 leaseId, Terms calldata terms, Dispute memory dispute) private {
        delete _disputes[leaseId];
        uint256 bond = challengeBond(terms);
        _returnBond(leaseId, terms, dispute.challenger, bond);
        if (dispute.lowerChallenger != address(0)) {
            _returnBond(leaseId, terms, dispute.lowerChallenger, bond);
        }
    }

    function _returnBond(bytes32 leaseId, Terms calldata terms, address challenger, uint256 bond)
        private
    {
        _credit(terms.token, challenger, bond);
        emit BondReturned(leaseId, challenger, bond);
    }

    function _disputed(Terms calldata terms)
        private
        view
        returns (bytes32 leaseId, Progress memory lease)
    {
        leaseId = leaseIdOf(terms);
        lease = _progress[leaseId];
        if (lease.status != LeaseStatus.Disputed) revert LeaseNotDisputed(leaseId, lease.status);
    }

    function _rulingDeadline(Terms calldata terms, bytes32 leaseId)
        private
        view
        returns (uint256)
    {
        return uint256(_disputes[leaseId].disputedAt) + terms.disputeTimeout;
    }

    function _leaseTime(bytes32 leaseId, LeaseStatus status)
        internal
        view
        override
        returns (uint256)
    {
        return status == LeaseStatus.Disputed ? _disputes[leaseId].disputedAt : block.timestamp;
    }
}
