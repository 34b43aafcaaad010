// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAuditorRegistry} from "../src/interfaces/IAuditorRegistry.sol";
import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {ILeaseEscrow} from "../src/interfaces/ILeaseEscrow.sol";
import {IOwnable} from "./utils/Interfaces.sol";
import {RegistryTest} from "./utils/RegistryTest.sol";
import {Vm, vm} from "./utils/Vm.sol";

// Events of constructors, which come from addresses that are not known before, and of what the
// contracts have from OpenZeppelin. All others are expected where their verb is tested; that none
// is missing is held by tests/unit/repository/test_contract_tests.py.
contract EventsTest is RegistryTest {
    function test_constructorOfTheEscrow_emitsItsSettings() external {
        address[] memory tokens = new address[](3);
        (tokens[0], tokens[1], tokens[2]) = (address(token), address(secondToken), address(token));
        vm.recordLogs();
        ILeaseEscrow fresh = _newEscrow(tokens);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 7, "events");
        // The second is the extension's, about an owner that it never asks.
        bytes32 transferred = IOwnable.OwnershipTransferred.selector;
        _assertLog(logs[0], address(fresh), transferred, bytes32(0), _topic(OWNER), "");
        _assertLog(logs[1], fresh.extension(), transferred, bytes32(0), _topic(address(fresh)), "");
        bytes32 allowed = IEscrowTypes.TokenAllowed.selector;
        _assertLog(logs[2], address(fresh), allowed, _topic(address(token)), 0, "");
        _assertLog(logs[3], address(fresh), allowed, _topic(address(secondToken)), 0, "");
        bytes32 set = IEscrowTypes.FeeSet.selector;
        _assertLog(logs[4], address(fresh), set, 0, 0, abi.encode(FEE_BPS));
        set = IEscrowTypes.TreasurySet.selector;
        _assertLog(logs[5], address(fresh), set, 0, 0, abi.encode(TREASURY));
        set = IEscrowTypes.AuditPoolSet.selector;
        _assertLog(logs[6], address(fresh), set, 0, 0, abi.encode(AUDIT_POOL));
    }

    function test_createQuorum_emitsJudgesAndRules() external {
        vm.recordLogs();
        address made = registry.createQuorum(judges, 3, MIN_BOND + 1);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 1, "events");
        bytes memory data = abi.encode(judges, 3, MIN_BOND + 1);
        bytes32 created = IAuditorRegistry.QuorumCreated.selector;
        _assertLog(logs[0], address(registry), created, _topic(made), 0, data);
    }

    function test_pause_emitsWhoDidIt() external {
        _expectEmit();
        emit IOwnable.Paused(OWNER);
        vm.prank(OWNER);
        escrow.pause();
        _expectEmit();
        emit IOwnable.Unpaused(OWNER);
        vm.prank(OWNER);
        escrow.unpause();
    }

    function test_transferOwnership_emitsBothSteps() external {
        address[2] memory contracts = [address(escrow), address(registry)];
        address[2] memory owners = [OWNER, REGISTRY_OWNER];
        for (uint256 i = 0; i < contracts.length; ++i) {
            vm.expectEmit(contracts[i]);
            emit IOwnable.OwnershipTransferStarted(owners[i], OTHER);
            vm.prank(owners[i]);
            IOwnable(contracts[i]).transferOwnership(OTHER);
            vm.expectEmit(contracts[i]);
            emit IOwnable.OwnershipTransferred(owners[i], OTHER);
            vm.prank(OTHER);
            IOwnable(contracts[i]).acceptOwnership();
        }
    }

    /// @dev A zero where there is no topic; topics that are zero are compared as well.
    function _assertLog(
        Vm.Log memory log,
        address emitter,
        bytes32 selector,
        bytes32 first,
        bytes32 second,
        bytes memory data
    ) private pure {
        vm.assertEq(log.emitter, emitter, "emitter");
        vm.assertEq(log.topics[0], selector, "event");
        vm.assertEq(log.topics.length > 1 ? log.topics[1] : bytes32(0), first, "first topic");
        vm.assertEq(log.topics.length > 2 ? log.topics[2] : bytes32(0), second, "second topic");
        vm.assertEq(log.data, data, "data");
    }

    function _topic(address account) private pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }
}
