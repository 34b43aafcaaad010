// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// stop
// ├── given a lease that was never opened or is closed: it should revert
// ├── when the caller is not the renter: it should revert
// ├── given a stopped lease: it should revert
// ├── given a lease whose time for commits is over: it should revert
// ├── given an active lease: it should record the time and emit Stopped
// └── given a disputed lease: it should record the time at which the clock stands
// close
// ├── given a lease that is not active (never opened, disputed, closed): it should revert
// ├── given pending segments whose window is open: it should revert, for everybody
// ├── given pending segments whose window is over: it should pay them
// ├── when the provider or its operator calls early: it should refund the rest
// ├── when anybody else calls before the provider's time is over: it should revert
// ├── given no commit in time: anybody should close, all is refunded
// ├── given maxDuration is over: anybody should close, metered leases one grace later
// ├── given a stop
// │   ├── when the grace is running: it should revert for others than the provider's side
// │   ├── when the grace is over: anybody should close
// │   └── given the final commit: anybody should close as soon as it has matured
// └── given all segments pending and matured: anybody should close as completed
contract StopAndCloseTest is EscrowTest {
    // -------------------------------------------------------------------------------------- stop

    function test_stop_givenNoLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _expectNotLive(escrow.leaseIdOf(terms), IEscrowTypes.LeaseStatus.None);
        _stop(terms);
    }

    function test_stop_givenClosedLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        _close(PROVIDER, terms);
        _expectNotLive(leaseId, IEscrowTypes.LeaseStatus.Closed);
        _stop(terms);
    }

    function test_stop_whenCallerIsNotRenter_reverts(address caller) external {
        vm.assume(caller != renter);
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.NotRenter.selector, caller, renter));
        vm.prank(caller);
        escrow.stop(terms);
    }

    function test_stop_givenStoppedLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        vm.warp(START + 7);
        _stop(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AlreadyStopped.selector, START + 7));
        _stop(terms);
    }

    function test_stop_givenNoCommitInTime_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        vm.warp(START + FIRST_COMMIT + 1);
        _expectTooLate(START + FIRST_COMMIT + 1, START + FIRST_COMMIT);
        _stop(terms);
        vm.warp(START + FIRST_COMMIT);
        _stop(terms);
    }

    function test_stop_givenExpiredLease_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.warp(START + MAX_DURATION + 1);
        _expectTooLate(START + MAX_DURATION + 1, START + MAX_DURATION);
        _stop(terms);
    }

    function test_stop_givenActiveLease_recordsTheTime(uint16 time) external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(2);
        uint40 stoppedAt = uint40(START + 50 + time % (MAX_DURATION - 50));
        vm.warp(stoppedAt);
        _expectEmit();
        emit IEscrowTypes.Stopped(leaseId, stoppedAt);
        _stop(terms);
        _assertLease(
            leaseId,
            IEscrowTypes.Lease({
                status: IEscrowTypes.LeaseStatus.Active,
                paid: 0,
                pending: 2,
                openedAt: uint40(START),
                committedAt: uint40(START + 50),
                stoppedAt: stoppedAt,
                escrow: uint96(COST),
                root: _root(0, 2, TRACE),
                isUnretrievable: false
            })
        );
    }

    function test_stop_givenDisputedLease_recordsWhenTheClockStopped() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(2, 0);
        vm.warp(START + 170);
        _expectEmit();
        emit IEscrowTypes.Stopped(leaseId, uint40(START + 70));
        _stop(terms);
        vm.assertTrue(_status(leaseId) == IEscrowTypes.LeaseStatus.Disputed, "still disputed");
        vm.warp(START + 180);
        _ruleHonest(terms);
        vm.assertEq(escrow.leaseOf(leaseId).stoppedAt, START + 180, "grace begins at the ruling");
        vm.warp(START + 180 + GRACE);
        _commit(terms, 3);
    }

    // ------------------------------------------------------------------------- close: refusals

    function test_close_givenNoLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _expectNotActive(escrow.leaseIdOf(terms), IEscrowTypes.LeaseStatus.None);
        _close(PROVIDER, terms);
    }

    function test_close_givenDisputedLease_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(2, 0);
        _expectNotActive(leaseId, IEscrowTypes.LeaseStatus.Disputed);
        _close(PROVIDER, terms);
    }

    function test_close_givenClosedLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        _close(PROVIDER, terms);
        _expectNotActive(leaseId, IEscrowTypes.LeaseStatus.Closed);
        _close(PROVIDER, terms);
    }

    function test_close_givenOpenWindow_revertsForEverybody() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        _stop(terms);
        vm.warp(START + 50 + WINDOW - 1);
        address[4] memory callers = [PROVIDER, operator, renter, STRANGER];
        for (uint256 i = 0; i < callers.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IEscrowTypes.WindowOpen.selector, START + 50 + WINDOW - 1, START + 50 + WINDOW
                )
            );
            _close(callers[i], terms);
        }
    }

    function test_close_whenTooEarlyForOthers_reverts(address caller) external {
        vm.assume(caller != PROVIDER && caller != operator);
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.warp(START + MAX_DURATION);
        _expectTooEarly(START + MAX_DURATION, START + MAX_DURATION);
        _close(caller, terms);
    }

    // ----------------------------------------------------------------------- close: each ending

    function test_close_whenProviderCallsEarly_refundsAll() external {
        _closesAs(PROVIDER, _opened(_terms()), IEscrowTypes.CloseCause.NeverCommitted, 0);
    }

    function test_close_whenOperatorCallsEarly_refundsAll() external {
        _closesAs(operator, _opened(_terms()), IEscrowTypes.CloseCause.NeverCommitted, 0);
    }

    function test_close_whenProviderCallsWithMaturedSegments_paysThem() external {
        (IEscrowTypes.Terms memory terms,) = _committed(3);
        vm.warp(START + 50 + WINDOW);
        _closesAs(PROVIDER, terms, IEscrowTypes.CloseCause.ProviderClosed, 3);
    }

    // A4 #19
    function test_close_givenNoCommitInTime_refundsAll() external {
        IEscrowTypes.Terms memory terms = _opened(_terms());
        vm.warp(START + FIRST_COMMIT);
        _expectTooEarly(START + FIRST_COMMIT, START + FIRST_COMMIT);
        _close(renter, terms);
        vm.warp(START + FIRST_COMMIT + 1);
        _closesAs(STRANGER, terms, IEscrowTypes.CloseCause.NeverCommitted, 0);
    }

    function test_close_givenMaxDurationIsOver_paysAndRefunds() external {
        (IEscrowTypes.Terms memory terms,) = _committed(3);
        vm.warp(START + MAX_DURATION + 1);
        _closesAs(STRANGER, terms, IEscrowTypes.CloseCause.Expired, 3);
    }

    function test_close_givenCommitAtTheEnd_waitsForItsWindow() external {
        (IEscrowTypes.Terms memory terms,) = _committed(3);
        vm.warp(START + MAX_DURATION);
        _commit(terms, 5);
        vm.warp(START + MAX_DURATION + WINDOW);
        _closesAs(STRANGER, terms, IEscrowTypes.CloseCause.Expired, 5);
    }

    function test_close_givenMeteredAndMaxDurationIsOver_leavesTheGrace() external {
        IEscrowTypes.Terms memory terms = _opened(_meteredTerms());
        vm.warp(START + MAX_DURATION + GRACE);
        _expectTooEarly(START + MAX_DURATION + GRACE, START + MAX_DURATION + GRACE);
        _close(renter, terms);
        vm.warp(START + MAX_DURATION + GRACE + 1);
        _closesAs(STRANGER, terms, IEscrowTypes.CloseCause.Expired, 0);
    }

    function test_close_givenMeteredWithoutVoucher_hasNoFirstCommitDeadline() external {
        IEscrowTypes.Terms memory terms = _opened(_meteredTerms());
        vm.warp(START + FIRST_COMMIT + 1);
        _expectTooEarly(START + FIRST_COMMIT + 1, START + MAX_DURATION + GRACE);
        _close(renter, terms);
    }

    function test_close_givenStopAndRunningGrace_revertsForOthers() external {
        IEscrowTypes.Terms memory terms = _opened(_terms());
        _stop(terms);
        vm.warp(START + GRACE);
        _expectTooEarly(START + GRACE, START + GRACE);
        _close(renter, terms);
        _closesAs(operator, terms, IEscrowTypes.CloseCause.RenterStopped, 0);
    }

    function test_close_givenStopAndGraceOver_refunds() external {
        IEscrowTypes.Terms memory terms = _opened(_terms());
        _stop(terms);
        vm.warp(START + GRACE + 1);
        _closesAs(STRANGER, terms, IEscrowTypes.CloseCause.RenterStopped, 0);
    }

    function test_close_givenMeteredAndStop_leavesTheGrace() external {
        IEscrowTypes.Terms memory terms = _opened(_meteredTerms());
        _stop(terms);
        vm.warp(START + 1);
        escrow.settleVoucher(terms, 1, _voucher(terms, 1));
        // A voucher after the stop is not a final commit: a later one may still come.
        _expectTooEarly(START + 1, START + GRACE);
        _close(renter, terms);
        vm.warp(START + GRACE + 1);
        _closesAs(renter, terms, IEscrowTypes.CloseCause.RenterStopped, 1);
    }

    function test_close_givenFinalCommit_needsNoGrace() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.commitGrace = 10 * WINDOW;
        _opened(terms);
        vm.warp(START + 50);
        _stop(terms);
        vm.warp(START + 60);
        _commit(terms, 4);
        vm.warp(START + 60 + WINDOW);
        _closesAs(STRANGER, terms, IEscrowTypes.CloseCause.RenterStopped, 4);
    }

    function test_close_givenAllSegmentsMatured_completes() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.firstCommitWithin = 100;
        _opened(terms);
        vm.warp(START + 100);
        _commit(terms, SEGMENTS);
        vm.warp(START + 100 + WINDOW);
        _closesAs(STRANGER, terms, IEscrowTypes.CloseCause.Completed, SEGMENTS);
    }

    // ------------------------------------------------------------------------------------- tools

    function _opened(IEscrowTypes.Terms memory terms) private returns (IEscrowTypes.Terms memory) {
        _open(terms);
        return terms;
    }

    /// @dev Closes, and checks event, credits, bond and state.
    function _closesAs(
        address caller,
        IEscrowTypes.Terms memory terms,
        IEscrowTypes.CloseCause cause,
        uint16 paid
    ) private {
        bytes32 leaseId = escrow.leaseIdOf(terms);
        uint256 refund = COST - uint256(PRICE) * paid;
        _expectEmit();
        emit IEscrowTypes.Closed(leaseId, cause, paid, refund);
        _close(caller, terms);
        _assertCredits(_paid(paid, refund));
        _assertStake(STAKE, 0, 0);
        IEscrowTypes.Lease memory lease = escrow.leaseOf(leaseId);
        vm.assertTrue(lease.status == IEscrowTypes.LeaseStatus.Closed, "closed");
        vm.assertEq(lease.paid, paid, "paid");
        vm.assertEq(lease.escrow, 0, "escrow");
        _expectNotActive(leaseId, IEscrowTypes.LeaseStatus.Closed);
        _close(caller, terms);
    }

    function _expectNotLive(bytes32 leaseId, IEscrowTypes.LeaseStatus status) private {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.LeaseNotLive.selector, leaseId, status)
        );
    }

    function _expectTooLate(uint256 timestamp, uint256 deadline) private {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.AfterCommitDeadline.selector, timestamp, deadline)
        );
    }

    function _expectTooEarly(uint256 timestamp, uint256 closableAfter) private {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.BeforeCloseTime.selector, timestamp, closableAfter)
        );
    }
}
