// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// stake
// ├── when the amount is zero, or the token not on the allow-list: it should revert
// └── when all is well: it should add to the stake and take the tokens
// unbond
// ├── when the amount is zero, or more than is not yet unbonding: it should revert
// ├── given locked stake: it should take none of it
// ├── when all is well: it should set the part and the time, and take it from the free stake
// └── when called twice: it should add up and start the period again
// claimUnbond
// ├── given nothing unbonding: it should revert
// ├── given a running period: it should revert
// ├── given live leases: it should leave what backs them
// └── given a finished period: it should credit all of it, once
// slash while unbonding
// └── it should leave the unbonding part, which backs no lease
contract StakesTest is EscrowTest {
    // ------------------------------------------------------------------------------------ stake

    function test_stake_whenAmountIsZero_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AmountMissing.selector));
        vm.prank(PROVIDER);
        escrow.stake(address(token), 0);
    }

    function test_stake_whenTokenIsNotAllowed_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.TokenNotAllowed.selector, STRANGER));
        vm.prank(PROVIDER);
        escrow.stake(STRANGER, 1);
    }

    function test_stake_whenAllIsWell_addsAndTakesTokens(uint64 amount) external {
        vm.assume(amount != 0);
        token.mint(PROVIDER, amount);
        uint256 before = token.balanceOf(address(escrow));
        _expectEmit();
        emit IEscrowTypes.Staked(PROVIDER, address(token), amount);
        vm.prank(PROVIDER);
        escrow.stake(address(token), amount);
        _assertStake(STAKE + amount, 0, 0);
        vm.assertEq(escrow.freeStakeOf(PROVIDER, address(token)), STAKE + amount, "free");
        vm.assertEq(token.balanceOf(address(escrow)), before + amount, "balance");
    }

    function test_stake_isPerToken() external view {
        vm.assertEq(escrow.freeStakeOf(PROVIDER, address(secondToken)), 0, "other token");
    }

    // ----------------------------------------------------------------------------------- unbond

    function test_unbond_whenAmountIsZero_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AmountMissing.selector));
        vm.prank(PROVIDER);
        escrow.unbond(address(token), 0);
    }

    function test_unbond_whenMoreThanStaked_reverts(uint128 excess) external {
        vm.assume(excess != 0);
        _unbond(30);
        uint256 amount = STAKE - 30 + excess;
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.UnbondTooHigh.selector, amount, STAKE - 30)
        );
        vm.prank(PROVIDER);
        escrow.unbond(address(token), amount);
    }

    function test_unbond_whenAllIsWell_takesFromFreeStake() external {
        uint40 claimableAt = uint40(START + UNBONDING);
        _expectEmit();
        emit IEscrowTypes.UnbondStarted(PROVIDER, address(token), 40, 40, claimableAt);
        _unbond(40);
        _assertStake(STAKE, 0, 40);
        (,,, uint40 time,) = escrow.stakeOf(PROVIDER, address(token));
        vm.assertEq(time, claimableAt, "claimableAt");
        vm.assertEq(escrow.freeStakeOf(PROVIDER, address(token)), STAKE - 40, "free");
    }

    function test_unbond_whenCalledTwice_addsAndRestarts() external {
        _unbond(40);
        vm.warp(START + UNBONDING - 1);
        _expectEmit();
        emit IEscrowTypes.UnbondStarted(
            PROVIDER, address(token), 2, 42, uint40(START + 2 * UNBONDING - 1)
        );
        _unbond(2);
        vm.warp(START + UNBONDING);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.UnbondingNotOver.selector,
                START + UNBONDING,
                START + 2 * UNBONDING - 1
            )
        );
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
    }

    /// @dev Naive: what backs a live lease may be on its way out, and waits for its leases. Its
    /// period would be over when they end, and the stake gone before a late ruling.
    function test_unbond_givenLockedStake_takesNoneOfIt(uint88 bond) external {
        bond = bond % uint88(STAKE) + 1;
        IEscrowTypes.Terms memory terms = _terms();
        terms.bond = bond;
        _open(terms);
        uint256 free = STAKE - bond;
        if (free != 0) _unbond(free);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.UnbondTooHigh.selector, 1, 0));
        vm.prank(PROVIDER);
        escrow.unbond(address(token), 1);
        _assertStake(STAKE, bond, free);
    }

    function test_unbond_givenLockedStake_backsNoNewLease() external {
        _open(_terms());
        _unbond(STAKE - BOND);
        _assertStake(STAKE, BOND, STAKE - BOND);
        vm.assertEq(escrow.freeStakeOf(PROVIDER, address(token)), 0, "free");
        IEscrowTypes.Terms memory second = _terms();
        second.nonce = 2;
        bytes memory signature = _sign(second);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.FreeStakeTooLow.selector, PROVIDER, token, BOND, 0)
        );
        vm.prank(renter);
        escrow.open(second, signature);
    }

    // ------------------------------------------------------------------------------ claimUnbond

    function test_claimUnbond_givenNothingUnbonding_reverts() external {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.NothingUnbonding.selector, PROVIDER, token)
        );
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
    }

    function test_claimUnbond_givenRunningPeriod_reverts() external {
        _unbond(40);
        vm.warp(START + UNBONDING - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.UnbondingNotOver.selector, START + UNBONDING - 1, START + UNBONDING
            )
        );
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
    }

    function test_claimUnbond_givenLiveLeases_leavesWhatBacksThem() external {
        _open(_terms());
        _unbond(STAKE - BOND);
        vm.warp(START + UNBONDING);
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
        _assertStake(BOND, BOND, 0);
        vm.assertEq(_credits().provider, STAKE - BOND, "credit");
    }

    function test_claimUnbond_givenFinishedPeriod_creditsOnce() external {
        _unbond(40);
        vm.warp(START + UNBONDING);
        _expectEmit();
        emit IEscrowTypes.UnbondClaimed(PROVIDER, address(token), 40);
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
        _assertStake(STAKE - 40, 0, 0);
        vm.assertEq(_credits().provider, 40, "credit");
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.NothingUnbonding.selector, PROVIDER, token)
        );
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
    }

    // -------------------------------------------------------------------- slash while unbonding

    // A4 #12
    function test_slash_leavesTheUnbondingPart() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        _unbond(STAKE - BOND);
        _challenge(CHALLENGER, terms, 0);
        _rule(terms, true, 0);
        _assertStake(STAKE - BOND, 0, STAKE - BOND);
        vm.warp(START + 50 + UNBONDING);
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
        vm.assertEq(_credits().provider, STAKE - BOND, "only what the slash left");
        _assertStake(0, 0, 0);
    }

    function _unbond(uint256 amount) private {
        vm.prank(PROVIDER);
        escrow.unbond(address(token), amount);
    }
}
