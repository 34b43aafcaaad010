// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// rule, with two segments paid and four committed
// ├── when honest, with one segment less or more than are committed: it should revert
// └── when fraud, with one less than are paid, or all that are committed: it should revert
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

    function test_rule_whenHonestBesideAllCommitted_reverts() external {
        _expectRefused(false, 3);
        _expectRefused(false, 5);
        _rule(_ruled, false, 4);
    }

    function test_rule_whenFraudBesideThePendingOnes_reverts() external {
        _expectRefused(true, 1);
        _expectRefused(true, 4);
        _rule(_ruled, true, 2);
    }

    function _expectRefused(bool fraud, uint16 good) private {
        IEscrowTypes.Terms memory terms = _ruled;
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.GoodSegmentsOutOfRange.selector, good, 2, 4)
        );
        _rule(terms, fraud, good);
    }
}
