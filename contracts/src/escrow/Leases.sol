// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowCore} from "../interfaces/IEscrowCore.sol";
import {Opening} from "./Opening.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";

/// @notice Life of an open lease without disputes: commit, settle, stop, close; and withdrawals.
abstract contract Leases is Opening {
    // Compared are counters, statuses, and whether a time is on record; never a balance.
    // slither-disable-start incorrect-equality
    using SafeERC20 for IERC20;

    constructor(address owner) Opening(owner) {}

    // --------------------------------------------------------------------------- commit, settle

    /// @inheritdoc IEscrowCore
    function commit(Terms calldata terms, uint16 upTo, bytes32 traceRoot) external nonReentrant {
        // Check
        (bytes32 leaseId, Progress memory lease) = _active(terms);
        if (terms.window == 0) revert LeaseMetered(leaseId);
        if (lease.flags & UNRETRIEVABLE != 0) revert LeaseUnretrievable(leaseId);
        _checkProviderSide(terms);
        if (upTo <= lease.pending || upTo > terms.segments) {
            revert UpToOutOfRange(upTo, lease.pending, terms.segments);
        }
        _checkCommitTime(leaseId, terms, lease, upTo);
        // Effect
        if (_isMatured(terms, lease)) _payMatured(leaseId, terms, lease);
        lease.pending = upTo;
        // The final commit is told by its time being later than the stop, also within one block.
        lease.committedAt = uint40(block.timestamp);
        if (lease.stoppedAt == block.timestamp) ++lease.committedAt;
        _store(leaseId, lease);
        bytes32 root = keccak256(abi.encode(_roots[leaseId], upTo, traceRoot));
        _roots[leaseId] = root;
        emit Committed(leaseId, upTo, traceRoot, root);
    }

    /// @inheritdoc IEscrowCore
    function settle(Terms calldata terms) external nonReentrant {
        (bytes32 leaseId, Progress memory lease) = _active(terms);
        if (_payable(terms, lease, lease.pending) == lease.paid) revert NothingToSettle(leaseId);
        if (!_isMatured(terms, lease)) {
            revert WindowOpen(block.timestamp, _maturesAt(terms, lease));
        }
        _settle(leaseId, terms, lease);
    }

    /// @inheritdoc IEscrowCore
    function settleMany(Terms[] calldata terms) external nonReentrant returns (uint256 settled) {
        for (uint256 i = 0; i < terms.length; ++i) {
            bytes32 leaseId = _leaseIdOf(terms[i]);
            Progress memory lease = _load(leaseId);
            if (lease.status != LeaseStatus.Active || !_isMatured(terms[i], lease)) continue;
            if (_payable(terms[i], lease, lease.pending) == lease.paid) continue;
            _settle(leaseId, terms[i], lease);
            ++settled;
        }
    }

    /// @inheritdoc IEscrowCore
    function settleVoucher(Terms calldata terms, uint16 segments, bytes calldata signature)
        external
        nonReentrant
    {
        (bytes32 leaseId, Progress memory lease) = _active(terms);
        if (terms.window != 0) revert LeaseNotMetered(leaseId);
        if (segments <= lease.paid || segments > terms.segments) {
            revert VoucherOutOfRange(segments, lease.paid, terms.segments);
        }
        _checkSignature(terms.renter, _voucherDigest(leaseId, segments), signature);
        lease.pending = segments;
        lease.committedAt = uint40(block.timestamp);
        _settle(leaseId, terms, lease);
    }

    // ------------------------------------------------------------------------------ stop, close

    /// @inheritdoc IEscrowCore
    function stop(Terms calldata terms) external nonReentrant {
        if (msg.sender != terms.renter) revert NotRenter(msg.sender, terms.renter);
        _stop(terms);
    }

    /// @inheritdoc IEscrowCore
    function stopFor(Terms calldata terms, bytes calldata signature) external nonReentrant {
        _checkSignature(terms.renter, _stopDigest(_leaseIdOf(terms)), signature);
        _stop(terms);
    }

    /// @inheritdoc IEscrowCore
    function close(Terms calldata terms) external nonReentrant {
        (bytes32 leaseId, Progress memory lease) = _active(terms);
        if (lease.pending != lease.paid) {
            if (!_isMatured(terms, lease)) {
                revert WindowOpen(block.timestamp, _maturesAt(terms, lease));
            }
            _payMatured(leaseId, terms, lease);
        }
        uint256 closableAfter = _closableAfter(terms, lease);
        bool over = block.timestamp > closableAfter || lease.paid == terms.segments;
        if (!over && !_isProviderSide(terms, msg.sender)) {
            revert BeforeCloseTime(block.timestamp, closableAfter);
        }
        _close(leaseId, terms, lease, _cause(terms, lease, over));
    }

    // ----------------------------------------------------------------------------------- ledger

    /// @inheritdoc IEscrowCore
    function withdrawTo(address token, address account) external nonReentrant {
        _withdraw(token, account, account, _creditOf(token, account));
    }

    /// @inheritdoc IEscrowCore
    function withdraw(address token, address to, uint256 amount) external nonReentrant {
        // The zero address and this contract are typing errors that would lose the money.
        if (to == address(0) || to == address(this)) revert RecipientNotAllowed(to);
        _withdraw(token, msg.sender, to, amount);
    }

    function _withdraw(address token, address account, address to, uint256 amount) private {
        if (amount == 0) revert AmountMissing();
        _debit(token, account, amount);
        emit Withdrawn(token, account, to, amount);
        if (token == NATIVE) Address.sendValue(payable(to), amount);
        else IERC20(token).safeTransfer(to, amount);
    }

    // ------------------------------------------------------------------------------------ tools

    function _stop(Terms calldata terms) private {
        bytes32 leaseId = _leaseIdOf(terms);
        Progress memory lease = _load(leaseId);
        if (lease.status != LeaseStatus.Active && lease.status != LeaseStatus.Disputed) {
            revert LeaseNotLive(leaseId, lease.status);
        }
        if (lease.stoppedAt != 0) revert AlreadyStopped(lease.stoppedAt);
        uint256 time =
            lease.status == LeaseStatus.Disputed ? _disputes[leaseId].disputedAt : block.timestamp;
        // A stop opens the grace for one more commit; it must not revive a lease that is over.
        uint256 deadline = _commitDeadline(terms, lease);
        if (time > deadline) revert AfterCommitDeadline(time, deadline);
        lease.stoppedAt = uint40(time);
        _store(leaseId, lease);
        emit Stopped(leaseId, uint40(time));
    }

    function _payMatured(bytes32 leaseId, Terms calldata terms, Progress memory lease) private {
        uint16 upTo = _payable(terms, lease, lease.pending);
        if (upTo > lease.paid) _pay(leaseId, terms, lease, upTo);
    }

    function _settle(bytes32 leaseId, Terms calldata terms, Progress memory lease) private {
        _payMatured(leaseId, terms, lease);
        if (lease.paid == terms.segments) {
            _close(leaseId, terms, lease, CloseCause.Completed);
        } else {
            _store(leaseId, lease);
        }
    }

    /// @dev Last time at which the provider can still claim something; zero when it has made its
    /// final commit, or its checkpoints could not be fetched.
    function _closableAfter(Terms calldata terms, Progress memory lease)
        private
        pure
        returns (uint256)
    {
        if (lease.flags & UNRETRIEVABLE != 0) return 0;
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
        if (lease.flags & UNRETRIEVABLE != 0) return CloseCause.Unretrievable;
        if (lease.stoppedAt != 0) return CloseCause.RenterStopped;
        // Also when the provider closes early: giving up costs it what waiting would.
        if (lease.committedAt == 0 && terms.window != 0) return CloseCause.NeverCommitted;
        return over ? CloseCause.Expired : CloseCause.ProviderClosed;
    }
    // slither-disable-end incorrect-equality
}
