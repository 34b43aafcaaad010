// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {vm} from "../utils/Vm.sol";
import {SymbolicTest} from "./SymbolicTest.sol";

/// @notice What the other proofs take for granted of numbers, proved by itself.
contract ArithmeticProof is SymbolicTest {
    function setUp() public override {}

    function check_multiplies_always(uint96 amount, uint16 factor) external pure {
        vm.assume(amount != 0);
        assert(_multiplies(amount, factor));
    }

    function check_shares_always(uint96 amount, Amounts memory amounts) external pure {
        vm.assume(amount != 0);
        vm.assume(amounts.feeBps <= MAX_FEE_BPS);
        vm.assume(amounts.auditBps <= MAX_AUDIT_BPS);
        assert(_shares(amount, amounts));
    }

    function check_isLesser_always(uint96 a, uint88 b) external pure {
        vm.assume(a <= b);
        assert(_isLesser(a, b));
    }
}
