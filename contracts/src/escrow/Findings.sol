// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowExtension} from "../interfaces/IEscrowExtension.sol";
import {Disputes} from "./Disputes.sol";
import {LeaseTypes} from "./LeaseTypes.sol";

/// @notice What is found outside of a dispute: a machine that fails its probe before anything was
/// committed, and fraud after the lease has closed.
abstract contract Findings is Disputes {
    /// @inheritdoc IEscrowExtension
    function rejectMachine(Terms calldata terms, bytes32 report, bytes calldata signature)
        external
        onlyEscrow
        nonReentrant
    {
        (bytes32 leaseId, Progress memory lease) = _active(terms);
        // A voucher counts as a commit.
        if (lease.committedAt != 0) revert WorkCommitted(leaseId);
        // Nobody checked who the arbiter of a metered lease is: it can be the renter.
        bool byArbiter = msg.sender == terms.arbiter && terms.window != 0;
        if (!byArbiter) {
            address operator = _listings[terms.listingId].operator;
            _checkSignature(operator, failedProbeDigest(leaseId, report), signature);
        }
        emit MachineRejected(leaseId, report, byArbiter);
        _close(leaseId, terms, lease, CloseCause.AcceptanceFailed);
    }

    /// @inheritdoc IEscrowExtension
    function ruleLate(Terms calldata terms, uint16 goodSegments) external onlyEscrow nonReentrant {
        bytes32 leaseId = _leaseIdOf(terms);
        Progress memory lease = _load(leaseId);
        if (lease.status != LeaseStatus.Closed) revert LeaseNotClosed(leaseId, lease.status);
        if (terms.window == 0) revert LeaseMetered(leaseId);
        if (msg.sender != terms.arbiter) revert NotArbiter(msg.sender, terms.arbiter);
        if (lease.flags & PROVEN != 0) revert FraudRuled(leaseId);
        if (goodSegments >= lease.paid) {
            revert GoodSegmentsOutOfRange(goodSegments, 0, lease.paid);
        }
        uint256 deadline = _maturesAt(terms, lease) + unbondingPeriod;
        if (block.timestamp >= deadline) revert AfterLateDeadline(block.timestamp, deadline);
        lease.flags |= PROVEN;
        _store(leaseId, lease);
        (uint256 slashed, uint256 owed) = _takeLate(leaseId, terms, _lateDue(terms));
        if (terms.bond != 0) _countSlash(terms.provider, terms.token);
        emit LateFraud(leaseId, goodSegments, slashed, owed);
    }

    /// @inheritdoc IEscrowExtension
    function payLate(Terms calldata terms) external onlyEscrow nonReentrant {
        bytes32 leaseId = _leaseIdOf(terms);
        (uint256 slashed, uint256 owed) = _takeLate(leaseId, terms, _owed[leaseId]);
        // slither-disable-next-line incorrect-equality: what was taken, no balance
        if (slashed == 0) revert NothingToPay(leaseId, owed);
        emit LatePaid(leaseId, slashed, owed);
    }

    /// @inheritdoc IEscrowExtension
    function failedProbeDigest(bytes32 leaseId, bytes32 report) public view returns (bytes32) {
        return _hashTypedDataV4(LeaseTypes.hashFailedProbe(leaseId, report));
    }
}
