// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {vm} from "../utils/Vm.sol";
import {SymbolicTest} from "./SymbolicTest.sol";

/// @notice Split: without a ruling, half of what lies below the lowest challenged segment, rounded
/// down, is paid; the renter gets all the rest, and challengers their bonds.
contract SplitProof is SymbolicTest {
    function check_timeoutDispute_splitsBelowTheLowest(Amounts memory amounts, uint16 lowest)
        external
    {
        lowest = _case(lowest, 0, MAX_SEGMENTS - 1);
        IEscrowTypes.Terms memory terms = _committed(amounts, MAX_SEGMENTS, MAX_SEGMENTS);
        _challenge(CHALLENGER, terms, MAX_SEGMENTS - 1);
        bool isLower = lowest < MAX_SEGMENTS - 1;
        if (isLower) _challenge(LOWER_CHALLENGER, terms, lowest);
        vm.warp(START + DISPUTE_TIMEOUT);
        unchecked {
            uint256 half = _cost(amounts, lowest) / 2;
            if (half != 0) vm.assume(_shares(half, amounts));
            _do(STRANGER, abi.encodeCall(escrow.timeoutDispute, (terms)));
            Books memory expected = _opened(amounts);
            if (half != 0) _addAmount(expected, amounts, half);
            expected.renter = _cost(amounts, MAX_SEGMENTS) - half;
            expected.challenger = _cost(amounts, 2);
            if (isLower) expected.lowerChallenger = _cost(amounts, 2);
            _assertClosed(terms, expected);
            _assertBooks(expected);
            _assertConserved(terms, expected);
        }
    }
}
