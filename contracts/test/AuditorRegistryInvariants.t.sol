// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAuditorRegistry} from "../src/interfaces/IAuditorRegistry.sol";
import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {RegistryHandler} from "./utils/RegistryHandler.sol";
import {RegistryTest} from "./utils/RegistryTest.sol";
import {vm} from "./utils/Vm.sol";

// What must hold after any sequence of calls, by anybody, with time and blocks passing in between.
//
// - Conservation: the registry's balance is all bonds, plus all credits, plus the pay that came in
//   and was not claimed, plus what nobody collected yet.
// - claimed <= total <= received; nobody was ever paid more than the highest leaf it had.
// - The record for the draw at a past block never changes. (handler)
// - Slashed money is credited to renters, and nothing else is. (handler)
// Way out
// - With owner, distributor and judges silent for ever, time alone lets everybody take out its bond
//   and its credit; what stays is unclaimed pay.
contract AuditorRegistryInvariantsTest is RegistryTest {
    RegistryHandler private _handler;

    function setUp() public override {
        super.setUp();
        IEscrowTypes.Terms memory terms = _quorumTerms();
        _open(terms);
        _handler =
            new RegistryHandler(registry, quorum, escrow, token, DISTRIBUTOR, terms, judgeKeys);
        for (uint256 i = 0; i < _handler.NUM_AUDITORS(); ++i) {
            _fundForRegistry(_handler.auditorAt(i));
        }
        _fund(address(_handler));
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_money() external view {
        _checkMoney();
    }

    function afterInvariant() external {
        _drain();
    }

    /// @dev The random walk is worth something only if it gets everywhere.
    function test_handler_reachesEveryKindOfStep() external {
        for (uint256 i = 0; i < 900; ++i) {
            _handler.step(uint256(keccak256(abi.encode("walk", i))));
        }
        string[10] memory steps = [
            "bond",
            "unbond",
            "claimUnbond",
            "enroll",
            "wrong",
            "missing",
            "send",
            "post",
            "claim",
            "withdraw"
        ];
        for (uint256 i = 0; i < steps.length; ++i) {
            vm.assertGe(_handler.count(steps[i]), 1, steps[i]);
        }
        _checkMoney();
        _drain();
    }

    function _checkMoney() private view {
        IAuditorRegistry.Pay memory pay = registry.payOf(address(token));
        vm.assertLe(pay.claimed, pay.total, "claimed <= total");
        vm.assertLe(pay.total, pay.received, "total <= received");
        uint256 owed = pay.received - pay.claimed + _registryCredit(renter);
        uint256 claimed;
        for (uint256 i = 0; i < _handler.NUM_AUDITORS(); ++i) {
            address account = _handler.auditorAt(i);
            owed += _owedTo(account);
            claimed += registry.claimedOf(address(token), account);
        }
        for (uint256 i = 0; i < judges.length; ++i) {
            owed += _owedTo(judges[i]);
        }
        vm.assertEq(claimed, pay.claimed, "sum of claims");
        vm.assertEq(_registryCredit(renter), _handler.slashed(), "the renter got all slashes");
        vm.assertEq(
            token.balanceOf(address(registry)), owed + _handler.uncollected(), "all that is owed"
        );
    }

    function _owedTo(address account) private view returns (uint256) {
        IAuditorRegistry.Auditor memory auditor = registry.auditorOf(address(quorum), account);
        return _registryCredit(account) + auditor.bonded + auditor.unbonding;
    }

    function _drain() private {
        for (uint256 i = 0; i < _handler.NUM_AUDITORS(); ++i) {
            _leave(_handler.auditorAt(i));
        }
        for (uint256 i = 0; i < judges.length; ++i) {
            _leave(judges[i]);
        }
        if (_registryCredit(renter) != 0) registry.withdrawTo(address(token), renter);
        IAuditorRegistry.Pay memory pay = registry.payOf(address(token));
        vm.assertEq(
            token.balanceOf(address(registry)),
            pay.received - pay.claimed + _handler.uncollected(),
            "only unclaimed pay is left"
        );
    }

    function _leave(address account) private {
        uint256 bonded = registry.auditorOf(address(quorum), account).bonded;
        if (bonded != 0) _unbond(account, bonded);
        vm.warp(vm.getBlockTimestamp() + AUDIT_UNBONDING);
        if (registry.auditorOf(address(quorum), account).unbonding != 0) {
            vm.prank(account);
            registry.claimUnbond(address(quorum));
        }
        if (_registryCredit(account) != 0) {
            vm.prank(STRANGER);
            registry.withdrawTo(address(token), account);
        }
    }
}
