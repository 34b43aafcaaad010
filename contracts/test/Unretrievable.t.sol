// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// attestUnretrievable
// ├── given a lease that is neither active nor disputed: it should revert
// ├── when the caller is not the arbiter: it should revert
// ├── given an active lease
// │   ├── when the segments do not fit, or the window is over: it should revert
// │   └── when all is well: it should drop the segments, and slash nobody
// ├── given a disputed lease
// │   ├── when the segments reach over the lowest challenged one: it should revert
// │   ├── when the arbiter's time is over: it should revert
// │   └── when all is well: it should return the bonds and let the clock go on
// └── from then on
//     ├── nothing can be committed: a new commit would draw again until no fake is drawn
//     ├── good segments keep their window, can be challenged, and are paid without the reserve
//     ├── anybody may close once nothing waits, and the bond is free
//     └── fraud in the good segments is slashed as ever
contract UnretrievableTest is EscrowTest {
    uint16 private constant RESERVE = 3;
    uint16 private constant FREE = SEGMENTS - RESERVE;

    function test_attestUnretrievable_givenNoLiveLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        _expectNotLive(leaseId, IEscrowTypes.LeaseStatus.None);
        _attest(terms, 0);
        _open(terms);
        _close(PROVIDER, terms);
        _expectNotLive(leaseId, IEscrowTypes.LeaseStatus.Closed);
        _attest(terms, 0);
    }

    function test_attestUnretrievable_whenCallerIsNotArbiter_reverts(address caller) external {
        vm.assume(caller != ARBITER);
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.NotArbiter.selector, caller, ARBITER));
        vm.prank(caller);
        escrow.attestUnretrievable(terms, 1);
        _challenge(CHALLENGER, terms, 3);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.NotArbiter.selector, caller, ARBITER));
        vm.prank(caller);
        escrow.attestUnretrievable(terms, 1);
    }

    // ------------------------------------------------------------------------------ active lease

    function test_attestUnretrievable_whenSegmentsDoNotFit_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.warp(START + 50 + WINDOW);
        _commit(terms, 4);
        _expectOutOfRange(1, 2, 4);
        _attest(terms, 1);
        _expectOutOfRange(4, 2, 4);
        _attest(terms, 4);
        _attest(terms, 2);
    }

    function test_attestUnretrievable_givenMeteredLease_reverts() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        _open(terms);
        escrow.settleVoucher(terms, 2, _voucher(terms, 2));
        _expectOutOfRange(2, 2, 2);
        _attest(terms, 2);
    }

    function test_attestUnretrievable_whenWindowIsOver_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        uint256 maturesAt = START + 50 + WINDOW;
        vm.warp(maturesAt);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.AfterWindow.selector, maturesAt, maturesAt)
        );
        _attest(terms, 1);
        vm.warp(maturesAt - 1);
        _attest(terms, 1);
    }

    function test_attestUnretrievable_whenAllIsWell_dropsTheSegments() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(4);
        vm.warp(START + 60);
        _expectEmit();
        emit IEscrowTypes.Unretrievable(leaseId, 1);
        _attest(terms, 1);
        _assertLease(leaseId, _lease(1, 0, 0));
        _assertStake(STAKE, BOND, 0);
        _assertCredits(_paid(0, 0));
    }

    function test_attestUnretrievable_whenRepeated_dropsMore() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(4);
        _attest(terms, 3);
        _expectOutOfRange(3, 0, 3);
        _attest(terms, 3);
        _attest(terms, 0);
        vm.assertEq(escrow.leaseOf(leaseId).pending, 0, "pending");
    }

    // ---------------------------------------------------------------------------- disputed lease

    function test_attestUnretrievable_givenDispute_mayNotKeepWhatIsChallenged() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.warp(START + 50 + WINDOW);
        _commit(terms, 6);
        _challenge(CHALLENGER, terms, 5);
        _challenge(OTHER, terms, 3);
        _expectOutOfRange(4, 2, 4);
        _attest(terms, 4);
        _expectOutOfRange(1, 2, 4);
        _attest(terms, 1);
        _attest(terms, 3);
    }

    function test_attestUnretrievable_givenDisputeWhoseTimeIsOver_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _disputed(4, 2);
        uint256 deadline = START + 70 + DISPUTE_TIMEOUT;
        vm.warp(deadline);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.AfterDisputeTimeout.selector, deadline, deadline)
        );
        _attest(terms, 2);
        vm.warp(deadline - 1);
        _attest(terms, 2);
    }

    function test_attestUnretrievable_givenDispute_returnsBondsAndGoesOn() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(5, 4);
        _challenge(OTHER, terms, 2);
        vm.warp(START + 80);
        _stop(terms);
        vm.warp(START + 170);
        _expectEmit();
        emit IEscrowTypes.Unretrievable(leaseId, 2);
        _expectEmit();
        emit IEscrowTypes.BondReturned(leaseId, CHALLENGER, CHALLENGE_BOND);
        _expectEmit();
        emit IEscrowTypes.BondReturned(leaseId, OTHER, CHALLENGE_BOND);
        _attest(terms, 2);
        IEscrowTypes.Lease memory expected = _lease(2, 0, 100);
        expected.stoppedAt = uint40(START + 170);
        expected.root = _root(0, 5, TRACE);
        _assertLease(leaseId, expected);
        IEscrowTypes.Dispute memory none;
        _assertDispute(leaseId, none);
        Credits memory credits;
        (credits.challenger, credits.other) = (CHALLENGE_BOND, CHALLENGE_BOND);
        _assertCredits(credits);
        // Twenty of the window's hundred seconds had passed.
        vm.warp(START + 170 + 79);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.WindowOpen.selector, START + 249, START + 250)
        );
        escrow.settle(terms);
        vm.warp(START + 250);
        escrow.settle(terms);
        vm.assertEq(escrow.leaseOf(leaseId).paid, 2, "good segments");
    }

    // -------------------------------------------------------------------------- from then on

    /// @dev Were the segments committed again, the draw would be made again: a provider could
    /// withhold checkpoints until no fake is drawn.
    function test_commit_givenUnretrievable_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(4);
        _attest(terms, 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseUnretrievable.selector, leaseId));
        _commit(terms, 4);
        vm.warp(START + 70);
        _stop(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseUnretrievable.selector, leaseId));
        _commit(terms, 2);
    }

    function test_close_givenUnretrievable_isForAnybodyOnceNothingWaits(address caller) external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(4);
        _attest(terms, 1);
        uint256 maturesAt = START + 50 + WINDOW;
        vm.warp(maturesAt - 1);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.WindowOpen.selector, maturesAt - 1, maturesAt)
        );
        _close(caller, terms);
        vm.warp(maturesAt);
        _expectEmit();
        emit IEscrowTypes.Closed(leaseId, IEscrowTypes.CloseCause.Unretrievable, 1, COST - PRICE);
        _close(caller, terms);
        _assertCredits(_paid(1, COST - PRICE));
        _assertStake(STAKE, 0, 0);
    }

    function test_close_givenNothingGood_isForAnybodyAtOnce() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(4);
        _attest(terms, 0);
        _expectEmit();
        emit IEscrowTypes.Closed(leaseId, IEscrowTypes.CloseCause.Unretrievable, 0, COST);
        _close(STRANGER, terms);
        _assertCredits(_paid(0, COST));
    }

    /// @dev Neither the provider's own close nor a renter's stop gives the ending a better name.
    function test_close_givenUnretrievable_keepsItsCause(bool isStopped) external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(4);
        _attest(terms, 0);
        if (isStopped) _stop(terms);
        _expectEmit();
        emit IEscrowTypes.Closed(leaseId, IEscrowTypes.CloseCause.Unretrievable, 0, COST);
        _close(PROVIDER, terms);
    }

    /// @dev A stop would release the reserve, which is for a final checkpoint that can be fetched.
    function test_settle_givenUnretrievable_paysNoReserve() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.reserveSegments = RESERVE;
        terms.firstCommitWithin = 200;
        bytes32 leaseId = _open(terms);
        vm.warp(START + 100);
        _commit(terms, SEGMENTS);
        _attest(terms, SEGMENTS - 1);
        _stop(terms);
        vm.warp(START + 100 + WINDOW);
        escrow.settle(terms);
        _assertCredits(_paid(FREE, 0));
        _expectEmit();
        emit IEscrowTypes.Closed(
            leaseId, IEscrowTypes.CloseCause.Unretrievable, FREE, RESERVE * uint256(PRICE)
        );
        _close(STRANGER, terms);
        _assertCredits(_paid(FREE, RESERVE * uint256(PRICE)));
    }

    function test_rule_givenUnretrievable_stillSlashesFraud() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(4);
        _attest(terms, 2);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.SegmentOutOfRange.selector, 2, 0, 2));
        _challenge(CHALLENGER, terms, 2);
        _challenge(CHALLENGER, terms, 1);
        _rule(terms, true, 1);
        vm.assertTrue(_status(leaseId) == IEscrowTypes.LeaseStatus.Closed, "closed");
        _assertStake(STAKE - BOND, 0, 0);
    }

    function test_rule_givenUnretrievable_honestKeepsIt() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(4);
        _attest(terms, 2);
        _challenge(CHALLENGER, terms, 1);
        _ruleHonest(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseUnretrievable.selector, leaseId));
        _commit(terms, 4);
    }

    // ------------------------------------------------------------------------------------- tools

    function _attest(IEscrowTypes.Terms memory terms, uint16 goodSegments) private {
        vm.prank(ARBITER);
        escrow.attestUnretrievable(terms, goodSegments);
    }

    /// @dev A lease as `_committed(4)` leaves it, with fewer pending and a clock that stood still.
    function _lease(uint16 pending, uint16 paid, uint40 frozen)
        private
        pure
        returns (IEscrowTypes.Lease memory)
    {
        return IEscrowTypes.Lease({
            status: IEscrowTypes.LeaseStatus.Active,
            paid: paid,
            pending: pending,
            openedAt: uint40(START) + frozen,
            committedAt: uint40(START + 50) + frozen,
            stoppedAt: 0,
            escrow: uint96(COST),
            root: _root(0, 4, TRACE),
            isUnretrievable: true
        });
    }

    function _expectOutOfRange(uint16 good, uint16 lowest, uint16 end) private {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.GoodSegmentsOutOfRange.selector, good, lowest, end)
        );
    }

    function _expectNotLive(bytes32 leaseId, IEscrowTypes.LeaseStatus status) private {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.LeaseNotLive.selector, leaseId, status)
        );
    }
}
