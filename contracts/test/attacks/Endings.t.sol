// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {ConsentTest} from "../utils/ConsentTest.sol";
import {vm} from "../utils/Vm.sol";

// Attacks on how a lease ends. Each test says what a simpler rule would give.
// ├── stop just before a commit
// ├── reserve paid without saving
// ├── stake locked anew in front of a late ruling
// ├── withheld checkpoints: the draw is made again until it misses the fakes
// └── rejection as free compute
contract EndingAttacksTest is ConsentTest {
    uint16 private constant RESERVE = 3;
    uint16 private constant FREE = SEGMENTS - RESERVE;

    // ---------------------------------------------------------------------- stop before a commit

    /// @dev Naive: a stop ends the commits. The renter waits until it has the checkpoint, sees the
    /// provider's commit in the mempool, and has its stop mined before it: the work is done, and
    /// nothing is paid.
    function test_stopJustBeforeACommit_takesNothingFromTheProvider() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        vm.warp(START + 50);
        _stop(terms);
        _commit(terms, 5);
        // The final commit is told from the stop by its time: a second later, also in one block.
        vm.warp(START + 51 + WINDOW);
        vm.prank(STRANGER);
        escrow.close(terms);
        vm.assertEq(escrow.leaseOf(leaseId).paid, 5, "all five are paid");
        _assertCredits(_paid(5, COST - 5 * uint256(PRICE)));
    }

    /// @dev Naive: the same, with a stop that a relayer brings in the last second in which it can
    /// come, and a commit that was on its way for a while.
    function test_stopJustBeforeACommit_leavesTheWholeGrace() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        vm.warp(START + 50);
        bytes memory consent = _signature(RENTER_KEY, escrow.stopDigest(leaseId));
        vm.prank(STRANGER);
        escrow.stopFor(terms, consent);
        vm.warp(START + 50 + GRACE);
        // The renter may not close over it either.
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.BeforeCloseTime.selector, START + 50 + GRACE, START + 50 + GRACE
            )
        );
        _close(renter, terms);
        // Five were finished, the sixth was running.
        _commit(terms, 6);
        vm.warp(START + 50 + GRACE + WINDOW);
        vm.prank(STRANGER);
        escrow.close(terms);
        vm.assertEq(escrow.leaseOf(leaseId).paid, 6, "all six are paid");
    }

    /// @dev Naive, the other way round: the grace is open for whatever the provider commits in it.
    /// It would go on with the whole job after the stop.
    function test_stopJustBeforeACommit_isNoLicenceToGoOn() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        vm.warp(START + 50);
        _stop(terms);
        vm.warp(START + 50 + GRACE);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.CommitTooFast.selector, 7, 7 * MIN_SEGMENT, 60)
        );
        _commit(terms, 7);
        _commit(terms, 6);
        vm.expectPartialRevert(IEscrowTypes.FinalCommitMade.selector);
        _commit(terms, 7);
    }

    // ------------------------------------------------------------------------ reserve, not saved

    /// @dev Naive: the last segments are paid like all others. A provider that deletes its
    /// checkpoints, or never saved one, would be paid for a training whose result nobody has.
    function test_reserveWithoutSaving_isNotPaidWithoutTheFinalCheckpoint() external {
        IEscrowTypes.Terms memory terms = _reserved(SEGMENTS - 1);
        vm.warp(START + 100 + WINDOW);
        escrow.settle(terms);
        _close(PROVIDER, terms);
        _assertCredits(_paid(FREE, RESERVE * uint256(PRICE)));
    }

    /// @dev Naive: the final commit is enough. Its root says nothing about whether the checkpoint
    /// can be fetched.
    function test_reserveWithoutSaving_isNotPaidForACheckpointThatNobodyCanFetch() external {
        IEscrowTypes.Terms memory terms = _reserved(SEGMENTS);
        vm.prank(ARBITER);
        escrow.attestUnretrievable(terms, SEGMENTS - 1);
        vm.warp(START + 100 + WINDOW);
        _close(PROVIDER, terms);
        _assertCredits(_paid(FREE, RESERVE * uint256(PRICE)));
        // For that alone nobody is slashed.
        _assertStake(STAKE, 0, 0);
    }

    /// @dev Naive: good segments are paid whatever follows them. A fake final checkpoint would be
    /// worth the reserve of the good ones before it.
    function test_reserveWithoutSaving_isNotPaidForAFakeFinalCheckpoint() external {
        IEscrowTypes.Terms memory terms = _reserved(SEGMENTS);
        _challenge(CHALLENGER, terms, SEGMENTS - 1);
        _rule(terms, true, SEGMENTS - 1);
        vm.assertEq(escrow.leaseOf(escrow.leaseIdOf(terms)).paid, FREE, "paid");
    }

    /// @dev Naive: a timeout splits what is below the challenged segment, the reserve too.
    function test_reserveWithoutSaving_isNotSplitByATimeout() external {
        IEscrowTypes.Terms memory terms = _reserved(SEGMENTS);
        _challenge(CHALLENGER, terms, SEGMENTS - 1);
        vm.warp(START + 100 + DISPUTE_TIMEOUT);
        escrow.timeoutDispute(terms);
        vm.assertEq(_credits().renter, COST - FREE * uint256(PRICE) / 2, "renter");
    }

    // ------------------------------------------------------------ locked anew before the ruling

    /// @dev Naive: a late ruling takes what is free at that moment, once. The provider sees it in
    /// the mempool, opens a lease with itself for all of its stake, and closes it afterwards: the
    /// ruling is used up, and found nothing.
    function test_stakeLockedAnew_staysOwedUntilTheLeaseIsOver() external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        vm.warp(START + 50 + WINDOW);
        _close(PROVIDER, terms);
        token.mint(PROVIDER, 1);
        IEscrowTypes.Terms memory own = _meteredTerms();
        (own.renter, own.nonce, own.bond) = (PROVIDER, 2, uint96(STAKE));
        (own.segments, own.pricePerSegment, own.auditBps) = (1, 1, 0);
        _open(own);
        vm.prank(ARBITER);
        escrow.ruleLate(terms, 0);
        _assertStake(STAKE, STAKE, 0);
        // Over and over: in between, nothing of it is free.
        _close(PROVIDER, own);
        own.nonce = 3;
        bytes memory signature = _sign(own);
        vm.expectPartialRevert(IEscrowTypes.FreeStakeTooLow.selector);
        vm.prank(PROVIDER);
        escrow.open(own, signature);
        vm.prank(STRANGER);
        escrow.payLate(terms);
        _assertStake(STAKE - BOND, 0, 0);
        vm.assertEq(_credits().renter, COST - 4 * uint256(PRICE) + BOND, "the renter has it all");
    }

    // ---------------------------------------------------------------------- withheld checkpoints

    /// @dev Naive: what cannot be fetched may be committed again. Each commit draws anew; a
    /// provider that withholds the checkpoints of an unlucky draw is audited where it likes.
    function test_withheldCheckpoints_areNotDrawnAgain() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(4);
        vm.prank(CHALLENGER);
        escrow.demandData(terms, 1);
        vm.prank(ARBITER);
        escrow.attestUnretrievable(terms, 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseUnretrievable.selector, leaseId));
        _commit(terms, 4);
        vm.warp(START + 50 + WINDOW);
        vm.prank(STRANGER);
        escrow.close(terms);
        vm.assertEq(escrow.leaseOf(leaseId).paid, 1, "paid below the missing one only");
        // Whoever asked had its bond back, since it was right.
        vm.assertEq(_credits().challenger, CHALLENGE_BOND, "bond");
        vm.assertEq(_credits().renter, COST - PRICE, "renter");
    }

    // ------------------------------------------------------------------- rejection, free compute

    /// @dev Naive: a renter that finds the machine wanting gets everything back. It would let the
    /// machine compute until the first commit is due, fetch the checkpoints, and reject it.
    function test_rejectionAsFreeCompute_isNotTheRentersToMake() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        vm.warp(START + 50);
        bytes32 digest = escrow.failedProbeDigest(leaseId, TRACE);
        bytes memory signature = _signature(RENTER_KEY, digest);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, operator, digest)
        );
        vm.prank(renter);
        escrow.rejectMachine(terms, TRACE, signature);
        // What is left to it is a stop, which pays for what was done.
        _stop(terms);
        _commit(terms, 5);
        vm.warp(START + 51 + WINDOW);
        escrow.close(terms);
        _assertCredits(_paid(5, COST - 5 * uint256(PRICE)));
    }

    /// @dev Naive: a failed probe counts whenever it comes. An operator that was bribed, or the
    /// arbiter, would refund work that is committed, over the head of the provider.
    function test_rejectionAsFreeCompute_comesTooLateAfterACommit() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(5);
        bytes memory signature = _signature(OPERATOR_KEY, escrow.failedProbeDigest(leaseId, TRACE));
        address[2] memory callers = [renter, ARBITER];
        for (uint256 i = 0; i < callers.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.WorkCommitted.selector, leaseId));
            vm.prank(callers[i]);
            escrow.rejectMachine(terms, TRACE, signature);
        }
    }

    /// @dev Naive: the arbiter of the terms may reject, whatever the lease. Nobody checks who the
    /// arbiter of a metered lease is: the renter would name itself, and mark every provider.
    function test_rejectionAsFreeCompute_isNotForTheArbiterOfAMeteredLease() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        terms.arbiter = renter;
        _open(terms);
        vm.expectPartialRevert(IEscrowTypes.SignatureInvalid.selector);
        vm.prank(renter);
        escrow.rejectMachine(terms, TRACE, "");
    }

    // ------------------------------------------------------------------------------------- tools

    function _reserved(uint16 upTo) private returns (IEscrowTypes.Terms memory terms) {
        terms = _terms();
        (terms.reserveSegments, terms.firstCommitWithin) = (RESERVE, 200);
        _open(terms);
        vm.warp(START + 100);
        _commit(terms, upTo);
    }
}
