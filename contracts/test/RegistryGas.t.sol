// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAuditorRegistry} from "../src/interfaces/IAuditorRegistry.sol";
import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {GasRecord} from "./utils/GasRecord.sol";
import {IOwnable} from "./utils/Interfaces.sol";
import {RegistryTest} from "./utils/RegistryTest.sol";
import {vm} from "./utils/Vm.sol";

/// @notice Gas of every verb of registry and quorum, as GasTest measures those of the escrow.
/// forge-config: default.isolate = true
/// forge-config: lite.isolate = true
/// forge-config: ci.isolate = true
/// forge-config: soak.isolate = true
contract RegistryGasTest is RegistryTest, GasRecord {
    uint256 private constant NUM_SIBLINGS = 10;

    function test_gas_auditor() external {
        registry.createQuorum(judges, 2, MIN_BOND);
        _measure("createQuorum of three judges");
        _bond(AUDITOR, MIN_BOND);
        _measure("bond, first of an auditor");
        _enroll(AUDITOR, HARDWARE);
        _measure("enroll, first of an auditor");
        _unbond(AUDITOR, 1);
        _measure("unbond by an auditor, who leaves the draw");
        vm.warp(START + AUDIT_UNBONDING);
        vm.prank(AUDITOR);
        registry.claimUnbond(address(quorum));
        _measure("claimUnbond by an auditor, first credit");
        vm.prank(AUDITOR);
        registry.withdraw(address(token), AUDITOR, 1);
        _measure("withdraw from the registry, of all");
    }

    function test_gas_pay() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        _open(terms);
        vm.warp(START + 50);
        _commit(terms, 4);
        vm.warp(START + 50 + WINDOW);
        escrow.settle(terms);
        uint256 pay = registry.collect(address(token));
        _measure("collect by the registry, first pay");
        bytes32[] memory proof = new bytes32[](NUM_SIBLINGS);
        bytes32 root = keccak256(bytes.concat(keccak256(abi.encode(token, AUDITOR, pay))));
        for (uint256 i = 0; i < NUM_SIBLINGS; ++i) {
            proof[i] = keccak256(abi.encode(i));
            root = root < proof[i]
                ? keccak256(abi.encode(root, proof[i]))
                : keccak256(abi.encode(proof[i], root));
        }
        vm.prank(DISTRIBUTOR);
        registry.postPayRoot(address(token), root, pay);
        _measure("postPayRoot, first of the token");
        vm.prank(REGISTRY_OWNER);
        registry.rejectPayRoot(address(token));
        _measure("rejectPayRoot");
        vm.prank(DISTRIBUTOR);
        registry.postPayRoot(address(token), root, pay);
        vm.warp(START + 50 + WINDOW + PAY_DELAY);
        vm.prank(STRANGER);
        registry.claimPay(address(token), AUDITOR, pay, proof);
        _measure("claimPay, first, one of 1,024 leaves");
        vm.prank(STRANGER);
        registry.withdrawTo(address(token), AUDITOR);
        _measure("withdrawTo from the registry");
    }

    function test_gas_owner() external {
        vm.prank(REGISTRY_OWNER);
        registry.setDistributor(OTHER);
        _measure("setDistributor");
        IOwnable owned = IOwnable(address(registry));
        vm.prank(REGISTRY_OWNER);
        owned.transferOwnership(OTHER);
        _measure("transferOwnership of the registry");
        vm.prank(OTHER);
        owned.acceptOwnership();
        _measure("acceptOwnership of the registry");
        vm.prank(OTHER);
        owned.renounceOwnership();
        _measure("renounceOwnership of the registry");
    }

    function test_gas_verdict() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        bytes[] memory signatures = _signatures(_verdict(id, true, 1), 0, 2);
        quorum.rule(terms, true, 1, signatures);
        _measure("rule by two judges, fraud");
    }

    function test_gas_lateVerdict() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _committedBefore();
        vm.warp(START + 50 + WINDOW);
        _close(PROVIDER, terms);
        bytes[] memory signatures = _signatures(_verdict(id, true, 1), 0, 2);
        quorum.ruleLate(terms, 1, signatures);
        _measure("ruleLate by two judges");
    }

    function test_gas_findings() external {
        _bond(AUDITOR, MIN_BOND);
        (IEscrowTypes.Terms memory terms, bytes32 id) = _committedBefore();
        IEscrowTypes.Lease memory lease = escrow.leaseOf(id);
        bytes32 digest = quorum.retrievalDigest(id, lease.root, lease.committedAt, 2);
        bytes[] memory signatures = _signatures(digest, 0, 2);
        quorum.attestUnretrievable(terms, 2, signatures);
        _measure("attestUnretrievable by two judges");
        _slash(terms, IAuditorRegistry.AuditFault.WrongReport, 1);
        _measure("slashAuditor by two judges");
        terms.nonce = 2;
        id = _open(terms);
        signatures = _signatures(quorum.rejectionDigest(id, TRACE), 0, 2);
        quorum.rejectMachine(terms, TRACE, signatures);
        _measure("rejectMachine by two judges");
    }
}
