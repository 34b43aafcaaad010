// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// payLate
// ├── given nothing owed, or nothing that backs no live lease: it should revert
// ├── given some of it: it should take that and leave the rest owed
// ├── given all of it: it should take what is owed, of unbonding stake too, and count nothing
// ├── given two debts: each should be paid for its own lease
// ├── given more rulings than the stake can pay: what there is should be owed once
// └── given a slash of another lease, or stake added later: it should take what there is
// while a late ruling has something to take
// ├── a new lease, or unbonding: it should get what is not owed, and no more
// ├── claimUnbond: it should revert until all is paid
// └── another token of the provider: nothing should change
contract PayLateTest is EscrowTest {
    /// @dev What the late ruling takes at once; live leases keep the rest.
    uint256 private constant TAKEN = 9;
    uint256 private constant OWED = BOND - TAKEN;

    function test_payLate_givenNothingOwed_reverts() external {
        (IEscrowTypes.Terms memory terms, IEscrowTypes.Terms memory other) = _busy();
        _expectNothing(terms, 0);
        escrow.payLate(terms);
        _ruleLate(terms);
        _expectNothing(other, 0);
        escrow.payLate(other);
        _close(PROVIDER, other);
        escrow.payLate(terms);
        _expectNothing(terms, 0);
        escrow.payLate(terms);
    }

    function test_payLate_givenAllIsLocked_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _busy();
        _ruleLate(terms);
        _expectNothing(terms, OWED);
        escrow.payLate(terms);
    }

    function test_payLate_givenSome_takesItAndLeavesTheRest(uint88 first) external {
        first = first % uint88(OWED - 1) + 1;
        (IEscrowTypes.Terms memory terms, IEscrowTypes.Terms memory other) = _busy();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        IEscrowTypes.Lease memory before = escrow.leaseOf(leaseId);
        _ruleLate(terms);
        _stakeMore(first);
        _expectPaid(leaseId, first, OWED - first);
        _payLate(terms);
        _assertOwed(leaseId, OWED - first, OWED - first);
        _assertStake(STAKE - TAKEN, STAKE - TAKEN, 0);
        _close(PROVIDER, other);
        _expectPaid(leaseId, OWED - first, 0);
        _payLate(terms);
        _assertOwed(leaseId, 0, 0);
        _assertStake(STAKE - BOND + first, 0, 0);
        vm.assertEq(_credits().renter, 2 * COST - 4 * uint256(PRICE) + BOND, "renter");
        _assertLease(leaseId, before);
        // One ruling, however often it is paid.
        (,,, uint256 slashed) = escrow.reputationOf(PROVIDER, address(token));
        vm.assertEq(slashed, 1, "slashed");
    }

    function test_payLate_givenUnbondingStake_reachesIt() external {
        (IEscrowTypes.Terms memory terms, IEscrowTypes.Terms memory other) = _busy();
        _close(PROVIDER, other);
        vm.prank(PROVIDER);
        escrow.unbond(address(token), STAKE - 5);
        other.nonce = 3;
        other.bond = 5;
        _open(other);
        _ruleLate(terms);
        _assertStake(STAKE - BOND, 5, STAKE - BOND - 5);
        vm.assertEq(escrow.owedOf(escrow.leaseIdOf(terms)), 0, "all was there");
    }

    function test_payLate_givenTwoDebts_paysEachForItsLease() external {
        IEscrowTypes.Terms memory first = _closed(1);
        IEscrowTypes.Terms memory second = _closed(2);
        IEscrowTypes.Terms memory live = _lock(3, STAKE);
        _ruleLate(first);
        _ruleLate(second);
        (bytes32 firstId, bytes32 secondId) = (escrow.leaseIdOf(first), escrow.leaseIdOf(second));
        _assertOwed(firstId, BOND, 2 * uint256(BOND));
        _stakeMore(BOND + 4);
        _payLate(second);
        _assertOwed(secondId, 0, BOND);
        _expectPaid(firstId, 4, BOND - 4);
        _payLate(first);
        _assertOwed(firstId, BOND - 4, BOND - 4);
        _close(PROVIDER, live);
        _payLate(first);
        _assertOwed(firstId, 0, 0);
        _assertStake(STAKE - BOND + 4, 0, 0);
    }

    /// @dev Naive: each ruling leaves its whole bond owed. One stake that backed four leases, one
    /// after the other, would be owed four times, and what the provider adds later would be lost.
    function test_payLate_givenOneStakeBehindManyLeases_isOwedOnce() external {
        IEscrowTypes.Terms[4] memory old;
        for (uint64 i = 0; i < 4; ++i) {
            old[i] = _closed(i + 1, STAKE);
        }
        IEscrowTypes.Terms memory live = _lock(5, STAKE - TAKEN);
        for (uint256 i = 0; i < 4; ++i) {
            _ruleLate(old[i]);
        }
        _assertStake(STAKE - TAKEN, STAKE - TAKEN, 0);
        _assertOwed(escrow.leaseIdOf(old[0]), STAKE - TAKEN, STAKE - TAKEN);
        _assertOwed(escrow.leaseIdOf(old[3]), 0, STAKE - TAKEN);
        _close(PROVIDER, live);
        _payLate(old[0]);
        _stakeMore(7);
        vm.assertEq(escrow.freeStakeOf(PROVIDER, address(token)), 7, "added in good faith");
    }

    /// @dev Of what live leases keep, the first ruling waits for its bond, the second for the rest.
    function test_payLate_givenDebtOfAnotherLease_owesTheRest() external {
        IEscrowTypes.Terms memory first = _closed(1);
        IEscrowTypes.Terms memory second = _closed(2, STAKE);
        _lock(3, STAKE);
        _ruleLate(first);
        _ruleLate(second);
        _assertOwed(escrow.leaseIdOf(first), BOND, STAKE);
        _assertOwed(escrow.leaseIdOf(second), STAKE - BOND, STAKE);
    }

    /// @dev The bond of a live lease is that lease's: the debt waits for other stake.
    function test_payLate_givenSlashOfAnotherLease_takesWhatIsStakedLater() external {
        (IEscrowTypes.Terms memory terms, IEscrowTypes.Terms memory other) = _busy();
        _ruleLate(terms);
        vm.warp(vm.getBlockTimestamp() + 20);
        _commit(other, 1);
        _challenge(CHALLENGER, other, 0);
        _rule(other, true, 0);
        _assertStake(0, 0, 0);
        bytes32 leaseId = escrow.leaseIdOf(terms);
        _assertOwed(leaseId, OWED, OWED);
        _expectNothing(terms, OWED);
        escrow.payLate(terms);
        _stakeMore(STAKE);
        _payLate(terms);
        _assertStake(STAKE - OWED, 0, 0);
        _assertOwed(leaseId, 0, 0);
    }

    // -------------------------------------------------------------------------- while it is owed

    function test_owed_isNotFree() external {
        (IEscrowTypes.Terms memory terms, IEscrowTypes.Terms memory other) = _busy();
        _ruleLate(terms);
        _stakeMore(OWED + 6);
        vm.assertEq(escrow.freeStakeOf(PROVIDER, address(token)), 6, "free");
        other.nonce = 3;
        other.bond = 7;
        bytes memory signature = _sign(other);
        _expectTooLow(7, 6);
        vm.prank(renter);
        escrow.open(other, signature);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.UnbondTooHigh.selector, 7, 6));
        vm.prank(PROVIDER);
        escrow.unbond(address(token), 7);
        other.bond = 6;
        _open(other);
        // So all of it is still there.
        _payLate(terms);
        _assertStake(STAKE - TAKEN + 6, STAKE - TAKEN + 6, 0);
        vm.assertEq(escrow.freeStakeOf(PROVIDER, address(token)), 0, "nothing is free");
    }

    function test_owed_moreThanThereIs_leavesNothingFree() external {
        (IEscrowTypes.Terms memory terms,) = _busy();
        _ruleLate(terms);
        _stakeMore(OWED - 1);
        vm.assertEq(escrow.freeStakeOf(PROVIDER, address(token)), 0, "free");
    }

    /// @dev What started to unbond while nothing was owed. The ruling takes all that is free, and
    /// what comes after may start to unbond beyond the debt; neither leaves before it is paid.
    function test_owed_holdsUnbondingBack() external {
        (IEscrowTypes.Terms memory terms,) = _busy();
        _ruleLate(terms);
        _stakeMore(OWED + 6);
        vm.prank(PROVIDER);
        escrow.unbond(address(token), 6);
        vm.warp(vm.getBlockTimestamp() + UNBONDING);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.LateDebt.selector, PROVIDER, token, OWED)
        );
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
        _payLate(terms);
        _assertStake(STAKE - TAKEN + 6, STAKE - TAKEN, 6);
        uint256 credit = _credits().provider;
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
        vm.assertEq(_credits().provider, credit + 6, "the rest left");
    }

    function test_owed_isPerToken() external {
        (IEscrowTypes.Terms memory terms,) = _busy();
        _ruleLate(terms);
        secondToken.mint(PROVIDER, 10);
        vm.startPrank(PROVIDER);
        secondToken.approve(address(escrow), 10);
        escrow.stake(address(secondToken), 10);
        vm.assertEq(escrow.freeStakeOf(PROVIDER, address(secondToken)), 10, "free");
        escrow.unbond(address(secondToken), 10);
        vm.warp(vm.getBlockTimestamp() + UNBONDING);
        escrow.claimUnbond(address(secondToken));
        vm.stopPrank();
        vm.assertEq(escrow.creditOf(address(secondToken), PROVIDER), 10, "credit");
    }

    // ------------------------------------------------------------------------------------- tools

    /// @dev Four segments committed, matured, paid; then closed by the provider.
    function _closed(uint64 nonce) private returns (IEscrowTypes.Terms memory) {
        return _closed(nonce, BOND);
    }

    function _closed(uint64 nonce, uint256 bond)
        private
        returns (IEscrowTypes.Terms memory terms)
    {
        terms = _terms();
        (terms.nonce, terms.bond) = (nonce, uint96(bond));
        uint256 begin = vm.getBlockTimestamp();
        _open(terms);
        vm.warp(begin + 50);
        _commit(terms, 4);
        vm.warp(begin + 50 + WINDOW);
        _close(PROVIDER, terms);
    }

    /// @dev A lease that has closed, and one that keeps all stake but TAKEN.
    function _busy()
        private
        returns (IEscrowTypes.Terms memory terms, IEscrowTypes.Terms memory other)
    {
        terms = _closed(1);
        other = _lock(2, STAKE - TAKEN);
    }

    function _lock(uint64 nonce, uint256 bond) private returns (IEscrowTypes.Terms memory terms) {
        terms = _terms();
        (terms.nonce, terms.bond) = (nonce, uint96(bond));
        _open(terms);
    }

    function _stakeMore(uint256 amount) private {
        vm.prank(PROVIDER);
        escrow.stake(address(token), amount);
    }

    function _ruleLate(IEscrowTypes.Terms memory terms) private {
        vm.prank(ARBITER);
        escrow.ruleLate(terms, 0);
    }

    function _payLate(IEscrowTypes.Terms memory terms) private {
        vm.prank(STRANGER);
        escrow.payLate(terms);
    }

    function _assertOwed(bytes32 leaseId, uint256 ofLease, uint256 ofProvider) private view {
        vm.assertEq(escrow.owedOf(leaseId), ofLease, "owed for the lease");
        (,,,, uint256 owed) = escrow.stakeOf(PROVIDER, address(token));
        vm.assertEq(owed, ofProvider, "owed by the provider");
    }

    function _expectPaid(bytes32 leaseId, uint256 paid, uint256 owed) private {
        _expectEmit();
        emit IEscrowTypes.LatePaid(leaseId, paid, owed);
    }

    function _expectNothing(IEscrowTypes.Terms memory terms, uint256 owed) private {
        bytes32 leaseId = escrow.leaseIdOf(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.NothingToPay.selector, leaseId, owed));
    }

    function _expectTooLow(uint256 needed, uint256 free) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.FreeStakeTooLow.selector, PROVIDER, token, needed, free
            )
        );
    }
}
