// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// commit
// ├── given a lease that is not active (never opened, disputed, closed): it should revert
// ├── given a metered lease: it should revert
// ├── when the caller is neither the provider nor the current operator: it should revert
// ├── when upTo is not above what is pending, or above all segments: it should revert
// ├── when faster than minSegmentSeconds allows: it should revert
// ├── given no commit yet
// │   ├── when after firstCommitWithin: it should revert
// │   └── when firstCommitWithin is longer than maxDuration: it should revert after maxDuration
// ├── given an earlier commit
// │   ├── when after maxDuration: it should revert
// │   ├── when its window is over: it should pay it first
// │   └── when its window is open: it should join it and restart the window
// ├── given a stopped lease
// │   ├── when after the grace: it should revert
// │   ├── when more than was running at the stop: it should revert
// │   ├── when what was running: it should accept it, once, also in the block of the stop
// │   └── given a commit in the block of the stop, before it: it should still accept one
// └── when all is well: it should chain the root and emit Committed
contract CommitTest is EscrowTest {
    // ---------------------------------------------------------------------------------- refusals

    function test_commit_givenNoLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _expectNotActive(escrow.leaseIdOf(terms), IEscrowTypes.LeaseStatus.None);
        _commit(terms, 1);
    }

    function test_commit_givenDisputedLease_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(2, 0);
        _expectNotActive(leaseId, IEscrowTypes.LeaseStatus.Disputed);
        _commit(terms, 3);
    }

    function test_commit_givenClosedLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        _close(PROVIDER, terms);
        _expectNotActive(leaseId, IEscrowTypes.LeaseStatus.Closed);
        _commit(terms, 1);
    }

    function test_commit_givenMeteredLease_reverts() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        bytes32 leaseId = _open(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseMetered.selector, leaseId));
        _commit(terms, 1);
    }

    function test_commit_whenCallerIsNoProviderSide_reverts(address caller) external {
        vm.assume(caller != PROVIDER && caller != operator);
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        _expectNotProviderSide(caller, operator);
        vm.prank(caller);
        escrow.commit(terms, 1, TRACE);
    }

    function test_commit_whenOperatorWasReplaced_revertsForTheOldOne() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, OTHER);
        vm.warp(START + 50);
        _expectNotProviderSide(operator, OTHER);
        _commit(terms, 1);
        vm.prank(OTHER);
        escrow.commit(terms, 1, TRACE);
        vm.prank(PROVIDER);
        escrow.commit(terms, 2, TRACE);
        vm.assertEq(escrow.leaseOf(leaseId).pending, 2, "pending");
    }

    function test_commit_whenUpToIsOutOfRange_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(3);
        uint16[4] memory given = [0, 3, SEGMENTS + 1, type(uint16).max];
        for (uint256 i = 0; i < given.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IEscrowTypes.UpToOutOfRange.selector, given[i], 3, SEGMENTS)
            );
            _commit(terms, given[i]);
        }
    }

    // A4 #33
    function test_commit_whenTooFast_reverts(uint16 upTo, uint8 elapsed) external {
        upTo = 1 + upTo % SEGMENTS;
        elapsed = uint8(elapsed % (FIRST_COMMIT + 1));
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        vm.warp(START + elapsed);
        if (uint256(upTo) * MIN_SEGMENT > elapsed) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IEscrowTypes.CommitTooFast.selector, upTo, uint256(upTo) * MIN_SEGMENT, elapsed
                )
            );
            _commit(terms, upTo);
        } else {
            _commit(terms, upTo);
            vm.assertEq(escrow.leaseOf(leaseId).pending, upTo, "pending");
        }
    }

    function test_commit_whenThereIsNoLeastSegmentTime_acceptsAllAtOnce() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.minSegmentSeconds = 0;
        bytes32 leaseId = _open(terms);
        _commit(terms, SEGMENTS);
        vm.assertEq(escrow.leaseOf(leaseId).pending, SEGMENTS, "pending");
    }

    // --------------------------------------------------------------------------------- deadlines

    function test_commit_whenFirstAndTooLate_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        vm.warp(START + FIRST_COMMIT + 1);
        _expectTooLate(START + FIRST_COMMIT + 1, START + FIRST_COMMIT);
        _commit(terms, 1);
        vm.warp(START + FIRST_COMMIT);
        _commit(terms, 1);
    }

    function test_commit_whenFirstAndAfterMaxDuration_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.maxDuration = FIRST_COMMIT - 20;
        _open(terms);
        vm.warp(START + FIRST_COMMIT - 19);
        _expectTooLate(START + FIRST_COMMIT - 19, START + FIRST_COMMIT - 20);
        _commit(terms, 1);
    }

    function test_commit_whenLaterAndAfterMaxDuration_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(1);
        vm.warp(START + MAX_DURATION + 1);
        _expectTooLate(START + MAX_DURATION + 1, START + MAX_DURATION);
        _commit(terms, 2);
        vm.warp(START + MAX_DURATION);
        _commit(terms, 2);
    }

    // ----------------------------------------------------------------------------- earlier commit

    function test_commit_whenEarlierWindowIsOver_paysFirst() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(3);
        vm.warp(START + 50 + WINDOW);
        (uint256 a, uint256 b, uint256 c) = _split(3 * uint256(PRICE));
        _expectEmit();
        emit IEscrowTypes.Settled(leaseId, 3, a, b, c);
        _expectEmit();
        bytes32 root = _root(_root(0, 3, TRACE), 5, keccak256("second"));
        emit IEscrowTypes.Committed(leaseId, 5, keccak256("second"), root);
        vm.prank(operator);
        escrow.commit(terms, 5, keccak256("second"));
        _assertCredits(_paid(3, 0));
        _assertLease(
            leaseId,
            IEscrowTypes.Lease({
                status: IEscrowTypes.LeaseStatus.Active,
                paid: 3,
                pending: 5,
                openedAt: uint40(START),
                committedAt: uint40(START + 50 + WINDOW),
                stoppedAt: 0,
                escrow: uint96(COST - 3 * PRICE),
                root: root,
                isUnretrievable: false
            })
        );
    }

    function test_commit_whenEarlierWindowIsOpen_joinsAndRestartsIt() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(3);
        vm.warp(START + 50 + WINDOW - 1);
        _commit(terms, 5);
        _assertCredits(_paid(0, 0));
        vm.assertEq(escrow.leaseOf(leaseId).pending, 5, "pending");
        vm.warp(START + 50 + 2 * WINDOW - 2);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.WindowOpen.selector,
                START + 50 + 2 * WINDOW - 2,
                START + 50 + 2 * WINDOW - 1
            )
        );
        escrow.settle(terms);
    }

    // ---------------------------------------------------------------------------- stopped leases

    function test_commit_givenStopAndAfterGrace_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        _stop(terms);
        vm.warp(START + 50 + GRACE + 1);
        _expectTooLate(START + 50 + GRACE + 1, START + 50 + GRACE);
        _commit(terms, 3);
        vm.warp(START + 50 + GRACE);
        _commit(terms, 3);
    }

    function test_commit_oneSecondTooEarly_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        vm.warp(START + 4 * MIN_SEGMENT - 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.CommitTooFast.selector, 4, 40, 39));
        _commit(terms, 4);
        vm.warp(START + 4 * MIN_SEGMENT);
        _commit(terms, 4);
    }

    function test_commit_givenStopAndMoreThanWasRunning_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        _stop(terms);
        vm.warp(START + 50 + GRACE);
        // Stopped after 50 seconds: five segments of at least 10 seconds, and the running one.
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.CommitTooFast.selector, 7, 70, 60));
        _commit(terms, 7);
        _commit(terms, 6);
    }

    function test_commit_givenStop_acceptsOnlyOne() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(2);
        _stop(terms);
        _commit(terms, 3);
        vm.assertEq(escrow.leaseOf(leaseId).committedAt, START + 51, "told from a commit before");
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.FinalCommitMade.selector, leaseId));
        _commit(terms, 4);
        vm.warp(START + 60);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.FinalCommitMade.selector, leaseId));
        _commit(terms, 4);
    }

    function test_commit_givenStopBeforeTheFirstCommit_acceptsOne() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        _stop(terms);
        vm.warp(START + GRACE);
        _commit(terms, 1);
        vm.assertEq(escrow.leaseOf(leaseId).pending, 1, "the segment that was running");
    }

    function test_commit_givenStopNearTheEnd_hasTheWholeGrace() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(2);
        vm.warp(START + MAX_DURATION);
        _stop(terms);
        vm.warp(START + MAX_DURATION + GRACE);
        _commit(terms, 4);
        vm.assertEq(escrow.leaseOf(leaseId).pending, 4, "pending");
    }

    // ------------------------------------------------------------------------------------ success

    // A4 #32
    function test_commit_whenAllIsWell_chainsTheRoot() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        vm.warp(START + 50);
        bytes32 root = _root(0, 2, TRACE);
        _expectEmit();
        emit IEscrowTypes.Committed(leaseId, 2, TRACE, root);
        _commit(terms, 2);
        _assertLease(
            leaseId,
            IEscrowTypes.Lease({
                status: IEscrowTypes.LeaseStatus.Active,
                paid: 0,
                pending: 2,
                openedAt: uint40(START),
                committedAt: uint40(START + 50),
                stoppedAt: 0,
                escrow: uint96(COST),
                root: root,
                isUnretrievable: false
            })
        );
    }

    function _expectTooLate(uint256 timestamp, uint256 deadline) private {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.AfterCommitDeadline.selector, timestamp, deadline)
        );
    }

    function _expectNotProviderSide(address caller, address current) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.NotProviderOrOperator.selector, caller, PROVIDER, current
            )
        );
    }
}
