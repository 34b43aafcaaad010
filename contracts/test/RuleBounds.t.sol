// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// rule, with two segments paid and four committed
// ├── when honest, beside the lowest disputed segment: it should revert
// └── when fraud, on the last that is paid, or the first that is not committed: it should revert
contract RuleBoundsTest is EscrowTest {
    IEscrowTypes.Terms private _ruled;

    function setUp() public override {
        super.setUp();
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.warp(START + 50 + WINDOW);
        _commit(terms, 4);
        _challenge(CHALLENGER, terms, 3);
        _ruled = terms;
    }

    function test_rule_whenHonestBesideTheLowest_reverts() external {
        _expectRefused(false, 2);
        _expectRefused(false, 4);
        _rule(_ruled, false, 3);
    }

    function test_rule_whenFraudBesideThePendingOnes_reverts() external {
        _expectRefused(true, 1);
        _expectRefused(true, 4);
        _rule(_ruled, true, 2);
    }

    function _expectRefused(bool fraud, uint16 segment) private {
        IEscrowTypes.Terms memory terms = _ruled;
        bytes memory refusal = fraud
            ? abi.encodeWithSelector(IEscrowTypes.SegmentOutOfRange.selector, segment, 2, 4)
            : abi.encodeWithSelector(IEscrowTypes.NotLowestSegment.selector, segment, 3);
        vm.expectRevert(refusal);
        _rule(terms, fraud, segment);
    }
}
