// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// ruleLate
// ├── given a lease that is not closed, or metered: it should revert
// ├── when the caller is not the arbiter: it should revert
// ├── when the segment was not paid: it should revert
// ├── when window and unbonding period are over: it should revert
// ├── after a ruling of fraud, or twice: it should revert
// └── when all is well
//     ├── it should slash up to the bond, of free and of unbonding stake, for the renter
//     ├── it should leave the bonds of live leases alone
//     └── it should take nothing back of what was paid
contract RuleLateTest is EscrowTest {
    uint256 private constant DEADLINE = START + 50 + WINDOW + UNBONDING;

    function test_ruleLate_givenLiveLease_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(2);
        _expectNotClosed(leaseId, IEscrowTypes.LeaseStatus.Active);
        _ruleLate(terms, 0);
        _challenge(CHALLENGER, terms, 0);
        _expectNotClosed(leaseId, IEscrowTypes.LeaseStatus.Disputed);
        _ruleLate(terms, 0);
        terms.nonce = 9;
        _expectNotClosed(escrow.leaseIdOf(terms), IEscrowTypes.LeaseStatus.None);
        _ruleLate(terms, 0);
    }

    /// @dev Nobody checks the arbiter of a metered lease: it can be the renter.
    function test_ruleLate_givenMeteredLease_reverts() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        terms.arbiter = renter;
        bytes32 leaseId = _open(terms);
        escrow.settleVoucher(terms, 2, _voucher(terms, 2));
        _close(PROVIDER, terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseMetered.selector, leaseId));
        vm.prank(renter);
        escrow.ruleLate(terms, 0);
    }

    function test_ruleLate_whenCallerIsNotArbiter_reverts(address caller) external {
        vm.assume(caller != ARBITER);
        IEscrowTypes.Terms memory terms = _closed();
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.NotArbiter.selector, caller, ARBITER));
        vm.prank(caller);
        escrow.ruleLate(terms, 0);
    }

    function test_ruleLate_whenSegmentWasNotPaid_reverts() external {
        IEscrowTypes.Terms memory terms = _closed();
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.GoodSegmentsOutOfRange.selector, 4, 0, 4)
        );
        _ruleLate(terms, 4);
        _ruleLate(terms, 3);
    }

    function test_ruleLate_whenTooLate_reverts() external {
        IEscrowTypes.Terms memory terms = _closed();
        vm.warp(DEADLINE);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.AfterLateDeadline.selector, DEADLINE, DEADLINE)
        );
        _ruleLate(terms, 0);
        vm.warp(DEADLINE - 1);
        _ruleLate(terms, 0);
    }

    function test_ruleLate_whenRepeated_reverts() external {
        IEscrowTypes.Terms memory terms = _closed();
        _ruleLate(terms, 2);
        _expectRuled(terms);
        _ruleLate(terms, 0);
        _assertStake(STAKE - BOND, 0, 0);
    }

    function test_ruleLate_afterFraud_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _disputed(4, 3);
        _rule(terms, true, 3);
        _expectRuled(terms);
        _ruleLate(terms, 0);
        _assertStake(STAKE - BOND, 0, 0);
    }

    function test_ruleLate_whenAllIsWell_slashesForTheRenter() external {
        IEscrowTypes.Terms memory terms = _closed();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        IEscrowTypes.Lease memory before = escrow.leaseOf(leaseId);
        _expectEmit();
        emit IEscrowTypes.LateFraud(leaseId, 1, BOND, 0);
        _ruleLate(terms, 1);
        _assertCredits(_paid(4, COST - 4 * uint256(PRICE) + BOND));
        _assertStake(STAKE - BOND, 0, 0);
        _assertLease(leaseId, before);
    }

    /// @dev Else a provider would unbond when it closes, and be gone before the proof is there.
    function test_ruleLate_givenUnbondingStake_reachesIt() external {
        IEscrowTypes.Terms memory terms = _closed();
        vm.prank(PROVIDER);
        escrow.unbond(address(token), STAKE - 5);
        _ruleLate(terms, 0);
        _assertStake(STAKE - BOND, 0, STAKE - BOND);
        vm.assertEq(_credits().renter, COST - 4 * uint256(PRICE) + BOND, "renter");
    }

    function test_ruleLate_givenLiveLeases_leavesTheirBondsAlone() external {
        IEscrowTypes.Terms memory terms = _closed();
        IEscrowTypes.Terms memory second = _terms();
        (second.nonce, second.bond) = (2, uint96(STAKE) - 9);
        _open(second);
        bytes32 leaseId = escrow.leaseIdOf(terms);
        _expectEmit();
        emit IEscrowTypes.LateFraud(leaseId, 0, 9, BOND - 9);
        _ruleLate(terms, 0);
        _assertStake(STAKE - 9, STAKE - 9, 0);
        // The other lease's bond is whole.
        vm.warp(vm.getBlockTimestamp() + 20);
        _commit(second, 1);
        _challenge(CHALLENGER, second, 0);
        _rule(second, true, 0);
        _assertStake(0, 0, 0);
    }

    /// @dev What starts to unbond once the lease is closed cannot leave before the last ruling.
    function test_ruleLate_givenUnbondingSinceTheClose_comesInTime() external {
        IEscrowTypes.Terms memory terms = _closed();
        vm.prank(PROVIDER);
        escrow.unbond(address(token), STAKE);
        vm.warp(DEADLINE - 1);
        _ruleLate(terms, 0);
        vm.warp(DEADLINE);
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
        _assertStake(0, 0, 0);
        vm.assertEq(_credits().provider, _paid(4, 0).provider + STAKE - BOND, "the rest left");
    }

    /// @dev Naive: all stake may start to unbond while the lease lives, and waits for it. With a
    /// window as long as the period, it is gone the moment the lease has closed.
    function test_ruleLate_givenUnbondingBeforeTheClose_findsTheBond() external {
        IEscrowTypes.Terms memory terms = _terms();
        (terms.bond, terms.window, terms.firstCommitWithin) = (BOND, 30 days, 1000);
        _open(terms);
        vm.prank(PROVIDER);
        escrow.unbond(address(token), STAKE - BOND);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.UnbondTooHigh.selector, BOND, 0));
        vm.prank(PROVIDER);
        escrow.unbond(address(token), BOND);
        vm.warp(START + 50);
        _commit(terms, 4);
        vm.warp(START + 50 + 30 days);
        _close(PROVIDER, terms);
        vm.startPrank(PROVIDER);
        escrow.claimUnbond(address(token));
        escrow.unbond(address(token), BOND);
        vm.stopPrank();
        vm.warp(START + 50 + 30 days + UNBONDING - 1);
        _ruleLate(terms, 0);
        _assertStake(0, 0, 0);
        vm.assertEq(_credits().renter, COST - 4 * uint256(PRICE) + BOND, "renter");
    }

    // ------------------------------------------------------------------------------------- tools

    /// @dev Four segments committed, matured, paid; then closed by the provider.
    function _closed() private returns (IEscrowTypes.Terms memory terms) {
        (terms,) = _committed(4);
        vm.warp(START + 50 + WINDOW);
        _close(PROVIDER, terms);
    }

    function _ruleLate(IEscrowTypes.Terms memory terms, uint16 goodSegments) private {
        vm.prank(ARBITER);
        escrow.ruleLate(terms, goodSegments);
    }

    function _expectNotClosed(bytes32 leaseId, IEscrowTypes.LeaseStatus status) private {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.LeaseNotClosed.selector, leaseId, status)
        );
    }

    function _expectRuled(IEscrowTypes.Terms memory terms) private {
        bytes32 leaseId = escrow.leaseIdOf(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.FraudRuled.selector, leaseId));
    }
}
