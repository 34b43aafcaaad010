// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {vm} from "../utils/Vm.sol";
import {SymbolicTest} from "./SymbolicTest.sol";

/// @notice Slash: the bond and no more, to the challenger what a segment's audit costs, at most a
/// tenth, and to the renter all the rest.
contract SlashProof is SymbolicTest {
    function check_challengeReward_isTheLesser(uint96 price, uint96 bond) external view {
        Amounts memory amounts;
        (amounts.price, amounts.bond) = (price, bond);
        unchecked {
            uint256 cost = 2 * uint256(price);
            uint256 tenth = bond / 10;
            uint256 reward = escrow.challengeReward(_terms(amounts, MAX_SEGMENTS));
            assert(reward == (cost < tenth ? cost : tenth));
            assert(reward <= bond);
        }
    }

    function check_rule_whenFraud_slashesTheBond(Amounts memory amounts, uint16 good) external {
        IEscrowTypes.Terms memory terms = _committed(amounts, MAX_SEGMENTS, MAX_SEGMENTS);
        _challenge(CHALLENGER, terms, MAX_SEGMENTS - 1);
        good = _case(good, 0, MAX_SEGMENTS - 1);
        if (good == 0) _challenge(LOWER_CHALLENGER, terms, 0);
        // What it is, the proof above says.
        uint256 reward = escrow.challengeReward(terms);
        vm.assume(reward <= amounts.bond);
        _rule(terms, true, good);
        Books memory expected = _opened(amounts);
        if (good != 0) _addPayment(expected, amounts, good);
        unchecked {
            expected.stake -= amounts.bond;
            expected.challenger = _cost(amounts, 2) + reward;
            if (good == 0) expected.lowerChallenger = _cost(amounts, 2);
            expected.renter = _cost(amounts, MAX_SEGMENTS - good) + amounts.bond - reward;
        }
        _assertClosed(terms, expected);
        _assertBooks(expected);
        _assertConserved(terms, expected);
    }

    function check_ruleLate_reachesUnbondingStake(Amounts memory amounts, uint88 leaving)
        external
    {
        vm.assume(leaving != 0 && leaving <= amounts.stake);
        vm.assume(_isLesser(amounts.bond, amounts.stake));
        IEscrowTypes.Terms memory terms = _committed(amounts, 1, 1);
        vm.warp(START + WINDOW);
        _do(STRANGER, abi.encodeCall(escrow.settle, (terms)));
        _do(PROVIDER, abi.encodeCall(escrow.unbond, (address(token), leaving)));
        _do(ARBITER, abi.encodeCall(escrow.ruleLate, (terms, 0)));
        Books memory expected = _opened(amounts);
        _addPayment(expected, amounts, 1);
        unchecked {
            expected.stake -= amounts.bond;
        }
        expected.renter = amounts.bond;
        _assertClosed(terms, expected);
        _assertBooks(expected);
        _assertConserved(terms, expected);
    }
}
