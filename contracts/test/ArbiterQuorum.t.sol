// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IArbiterQuorum} from "../src/interfaces/IArbiterQuorum.sol";
import {IAuditorRegistry} from "../src/interfaces/IAuditorRegistry.sol";
import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {RegistryTest} from "./utils/RegistryTest.sol";
import {Vm, vm} from "./utils/Vm.sol";

// createQuorum
// ├── with no or too many judges, not ascending, a threshold out of range or no bond: should revert
// └── it should fix judges, threshold and bond, and emit
// rule
// ├── given no dispute, or a lease with another arbiter: it should revert
// ├── with too few, invalid or unsorted signatures, or the same twice: it should revert
// ├── with a signer who is no judge, not bonded, a party, or a challenger: it should revert
// ├── with signatures for another verdict, another dispute, chain or quorum: it should revert
// └── it should rule, by anybody, and emit
// slashAuditor
// ├── given an unknown lease, another arbiter or a segment out of range: it should revert
// ├── with the accused auditor or the renter among the judges: it should revert
// └── it should slash and emit
contract ArbiterQuorumTest is RegistryTest {
    // ----------------------------------------------------------------------------- createQuorum

    function test_createQuorum_whenJudgesAreWrong_reverts() external {
        address[] memory wrong = new address[](0);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.NumJudgesOutOfRange.selector, 0, 32));
        registry.createQuorum(wrong, 1, 1);
        wrong = new address[](33);
        vm.expectRevert(
            abi.encodeWithSelector(IArbiterQuorum.NumJudgesOutOfRange.selector, 33, 32)
        );
        registry.createQuorum(wrong, 17, 1);
        wrong = new address[](2);
        vm.expectRevert(
            abi.encodeWithSelector(
                IArbiterQuorum.JudgesNotAscending.selector, address(0), address(0)
            )
        );
        registry.createQuorum(wrong, 2, 1);
        (wrong[0], wrong[1]) = (judges[0], judges[0]);
        vm.expectRevert(
            abi.encodeWithSelector(
                IArbiterQuorum.JudgesNotAscending.selector, judges[0], judges[0]
            )
        );
        registry.createQuorum(wrong, 2, 1);
    }

    function test_createQuorum_whenThresholdOrBondIsWrong_reverts() external {
        vm.expectRevert(
            abi.encodeWithSelector(IArbiterQuorum.ThresholdOutOfRange.selector, 1, 2, 3)
        );
        registry.createQuorum(judges, 1, 1);
        vm.expectRevert(
            abi.encodeWithSelector(IArbiterQuorum.ThresholdOutOfRange.selector, 4, 2, 3)
        );
        registry.createQuorum(judges, 4, 1);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.MinBondMissing.selector));
        registry.createQuorum(judges, 3, 0);
    }

    function test_createQuorum_givenAnEvenNumber_wantsMoreThanHalf() external {
        address[] memory two = new address[](2);
        (two[0], two[1]) = (judges[0], judges[1]);
        vm.expectRevert(
            abi.encodeWithSelector(IArbiterQuorum.ThresholdOutOfRange.selector, 1, 2, 2)
        );
        registry.createQuorum(two, 1, 1);
        registry.createQuorum(two, 2, 1);
    }

    function test_createQuorum_fixesAndEmits() external {
        vm.recordLogs();
        IArbiterQuorum made = IArbiterQuorum(registry.createQuorum(judges, 3, 7));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 1, "one event");
        vm.assertEq(logs[0].topics[0], IAuditorRegistry.QuorumCreated.selector, "event");
        vm.assertEq(address(uint160(uint256(logs[0].topics[1]))), address(made), "quorum");
        vm.assertEq(logs[0].data, abi.encode(judges, 3, 7), "arguments");
        vm.assertEq(made.threshold(), 3, "threshold");
        vm.assertEq(made.minBond(), 7, "least bond");
        vm.assertEq(made.registry(), address(registry), "registry");
        vm.assertEq(made.escrow(), address(escrow), "escrow");
        vm.assertEq(abi.encode(made.judges()), abi.encode(judges), "judges");
        vm.assertTrue(made.isJudge(judges[1]) && !made.isJudge(AUDITOR), "is judge");
    }

    // -------------------------------------------------------------------------------------- rule

    function test_rule_givenNoDispute_reverts() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        bytes32 id = _open(terms);
        bytes[] memory signatures = _signatures(_verdict(id, true, 0), 0, 2);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.NotDisputed.selector, id));
        quorum.rule(terms, true, 0, signatures);
    }

    function test_rule_givenAnotherArbiter_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputed(2, 0);
        bytes[] memory signatures = _signatures(_verdict(id, true, 0), 0, 2);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.NotArbiter.selector, address(quorum), ARBITER)
        );
        quorum.rule(terms, true, 0, signatures);
    }

    function test_rule_whenFraud_anybodyPresentsIt() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        bytes[] memory signatures = _signatures(_verdict(id, true, 1), 1, 2);
        address[] memory signers = new address[](2);
        (signers[0], signers[1]) = (judges[1], judges[2]);
        bytes32 root = escrow.leaseOf(id).root;
        vm.expectEmit(address(quorum));
        emit IArbiterQuorum.VerdictGiven(id, root, uint40(START + 70), true, 1, signers);
        vm.prank(STRANGER);
        quorum.rule(terms, true, 1, signatures);
        IEscrowTypes.Lease memory lease = escrow.leaseOf(id);
        vm.assertTrue(lease.status == IEscrowTypes.LeaseStatus.Closed, "closed");
        vm.assertEq(lease.paid, 1, "good segments");
        _assertStake(STAKE - BOND, 0, 0);
    }

    function test_rule_whenHonestByAllThree_goesOn() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        quorum.rule(terms, false, 2, _signatures(_verdict(id, false, 2), 0, 3));
        vm.assertTrue(_status(id) == IEscrowTypes.LeaseStatus.Active, "active");
        vm.assertEq(_credits().provider, CHALLENGE_BOND / 2, "half of the challenger's bond");
    }

    function test_rule_withTooFewSignatures_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        bytes[] memory signatures = _signatures(_verdict(id, true, 0), 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.TooFewSignatures.selector, 1, 2));
        quorum.rule(terms, true, 0, signatures);
    }

    function test_rule_withUnsortedOrRepeatedSigners_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        bytes[] memory signatures = _signatures(_verdict(id, true, 0), 0, 2);
        (signatures[0], signatures[1]) = (signatures[1], signatures[0]);
        vm.expectRevert(
            abi.encodeWithSelector(
                IArbiterQuorum.SignersNotAscending.selector, judges[0], judges[1]
            )
        );
        quorum.rule(terms, true, 0, signatures);
        signatures[0] = signatures[1];
        vm.expectRevert(
            abi.encodeWithSelector(
                IArbiterQuorum.SignersNotAscending.selector, judges[0], judges[0]
            )
        );
        quorum.rule(terms, true, 0, signatures);
    }

    function test_rule_withInvalidSignature_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        bytes32 digest = _verdict(id, true, 0);
        bytes[] memory signatures = _signatures(digest, 0, 2);
        signatures[1] = new bytes(65);
        vm.expectRevert(
            abi.encodeWithSelector(IArbiterQuorum.SignatureInvalid.selector, digest, 1)
        );
        quorum.rule(terms, true, 0, signatures);
        signatures[0] = new bytes(64);
        vm.expectRevert(
            abi.encodeWithSelector(IArbiterQuorum.SignatureInvalid.selector, digest, 0)
        );
        quorum.rule(terms, true, 0, signatures);
    }

    function test_rule_withASignerWhoIsNoJudge_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        bytes32 digest = _verdict(id, true, 0);
        // The first key after the judges' whose address is above theirs.
        uint256 key = judgeKeys[2] + 1;
        while (vm.addr(key) <= judges[0]) ++key;
        bytes[] memory signatures = _signatures(digest, 0, 2);
        signatures[1] = _signature(key, digest);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.NotJudge.selector, vm.addr(key)));
        quorum.rule(terms, true, 0, signatures);
    }

    function test_rule_withAJudgeWhoseBondIsTooLow_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        bytes[] memory signatures = _signatures(_verdict(id, true, 0), 0, 3);
        _unbond(judges[1], 1);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.JudgeNotBonded.selector, judges[1]));
        quorum.rule(terms, true, 0, signatures);
    }

    function test_rule_withAChallengerAmongTheJudges_reverts() external {
        _fund(judges[0]);
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(judges[0]);
        bytes32 digest = _verdict(id, true, 0);
        bytes[] memory signatures = _signatures(digest, 0, 3);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.JudgeIsParty.selector, judges[0]));
        quorum.rule(terms, true, 0, signatures);
        // Who points at a lower segment is a challenger too.
        _fund(judges[2]);
        _challenge(judges[2], terms, 1);
        signatures = _signatures(digest, 1, 2);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.JudgeIsParty.selector, judges[2]));
        quorum.rule(terms, true, 0, signatures);
    }

    function test_rule_withAPartyAmongTheJudges_reverts() external {
        _expectPartyRefused(RENTER_KEY);
        _expectPartyRefused(OPERATOR_KEY);
    }

    function _expectPartyRefused(uint256 key) private {
        uint256 state = vm.snapshotState();
        _quorumOf(key);
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _signature(key, _verdict(id, true, 0));
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.JudgeIsParty.selector, vm.addr(key)));
        quorum.rule(terms, true, 0, signatures);
        vm.revertToState(state);
    }

    /// @dev Also one whose key the listing has changed since: it signed the terms.
    function test_rule_withTheOperatorOfTheTermsAsJudge_reverts() external {
        _quorumOf(OPERATOR_KEY);
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, STRANGER);
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _signature(OPERATOR_KEY, _verdict(id, true, 0));
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.JudgeIsParty.selector, operator));
        quorum.rule(terms, true, 0, signatures);
    }

    function test_rule_withTheProviderAsJudge_reverts() external {
        uint256 key = 0xd44;
        _quorumOf(key);
        address provider = vm.addr(key);
        _fund(provider);
        vm.prank(provider);
        bytes32 listing = escrow.list(CLASS, address(token), 5, operator, DOCUMENT);
        vm.prank(provider);
        escrow.stake(address(token), STAKE);
        IEscrowTypes.Terms memory terms = _quorumTerms();
        (terms.provider, terms.listingId) = (provider, listing);
        bytes32 id = _open(terms);
        vm.warp(START + 50);
        _commit(terms, 1);
        _challenge(CHALLENGER, terms, 0);
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _signature(key, _verdict(id, false, 1));
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.JudgeIsParty.selector, provider));
        quorum.rule(terms, false, 1, signatures);
    }

    function test_rule_withSignaturesForAnotherVerdict_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        bytes[] memory signatures = _signatures(_verdict(id, true, 1), 0, 2);
        vm.expectPartialRevert(IArbiterQuorum.NotJudge.selector);
        this.ruleAlone(terms, true, 0, signatures[0]);
        vm.expectPartialRevert(IArbiterQuorum.NotJudge.selector);
        this.ruleAlone(terms, false, 2, signatures[0]);
    }

    /// @dev One signature twice: it recovers to some account that is no judge, and that is told
    /// before the order is.
    function ruleAlone(
        IEscrowTypes.Terms calldata terms,
        bool fraud,
        uint16 good,
        bytes calldata signature
    ) external {
        bytes[] memory signatures = new bytes[](2);
        (signatures[0], signatures[1]) = (signature, signature);
        quorum.rule(terms, fraud, good, signatures);
    }

    function test_rule_withTheVerdictOfAnEarlierDispute_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        bytes[] memory signatures = _signatures(_verdict(id, false, 2), 0, 2);
        quorum.rule(terms, false, 2, signatures);
        vm.warp(START + 80);
        _challenge(CHALLENGER, terms, 0);
        vm.expectPartialRevert(IArbiterQuorum.NotJudge.selector);
        this.ruleAlone(terms, false, 2, signatures[0]);
    }

    function test_digests_areThoseOfTheStandard(bytes32 id, bytes32 root, uint40 time, uint16 good)
        external
        view
    {
        bytes32 kind = keccak256(
            "Verdict(bytes32 leaseId,bytes32 root,uint40 disputedAt,bool fraud,uint16 segment)"
        );
        vm.assertEq(
            quorum.verdictDigest(id, root, time, true, good),
            _quorumDigest(keccak256(abi.encode(kind, id, root, time, true, good))),
            "verdict"
        );
        kind =
            keccak256("AuditVerdict(bytes32 leaseId,uint16 segment,address auditor,uint8 fault)");
        vm.assertEq(
            quorum.auditVerdictDigest(id, good, AUDITOR, IAuditorRegistry.AuditFault.NoReport),
            _quorumDigest(keccak256(abi.encode(kind, id, good, AUDITOR, 1))),
            "verdict on an audit"
        );
    }

    // ------------------------------------------------------------------------------ slashAuditor

    function test_slashAuditor_givenWrongLease_reverts() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        bytes32 id = escrow.leaseIdOf(terms);
        IAuditorRegistry.AuditFault fault = IAuditorRegistry.AuditFault.NoReport;
        bytes[] memory none = new bytes[](0);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.LeaseUnknown.selector, id));
        quorum.slashAuditor(terms, 0, AUDITOR, fault, none);
        IEscrowTypes.Terms memory foreign = _terms();
        _open(foreign);
        vm.expectRevert(
            abi.encodeWithSelector(
                IArbiterQuorum.ArbiterDiffers.selector, ARBITER, address(quorum)
            )
        );
        quorum.slashAuditor(foreign, 0, AUDITOR, fault, none);
        _open(terms);
        vm.expectRevert(
            abi.encodeWithSelector(IArbiterQuorum.SegmentOutOfRange.selector, SEGMENTS, SEGMENTS)
        );
        quorum.slashAuditor(terms, SEGMENTS, AUDITOR, fault, none);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.TooFewSignatures.selector, 0, 2));
        quorum.slashAuditor(terms, 0, AUDITOR, fault, none);
    }

    function test_slashAuditor_byItselfOrTheRenter_reverts() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        bytes32 id = _open(terms);
        IAuditorRegistry.AuditFault fault = IAuditorRegistry.AuditFault.WrongReport;
        bytes32 digest = quorum.auditVerdictDigest(id, 1, judges[1], fault);
        bytes[] memory signatures = _signatures(digest, 0, 2);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.JudgeIsParty.selector, judges[1]));
        quorum.slashAuditor(terms, 1, judges[1], fault, signatures);
        _quorumOf(RENTER_KEY);
        terms = _quorumTerms();
        id = _open(terms);
        digest = quorum.auditVerdictDigest(id, 1, AUDITOR, fault);
        signatures = new bytes[](1);
        signatures[0] = _signature(RENTER_KEY, digest);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.JudgeIsParty.selector, renter));
        quorum.slashAuditor(terms, 1, AUDITOR, fault, signatures);
    }

    function test_slashAuditor_slashesAndEmits() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        bytes32 id = _open(terms);
        _bond(AUDITOR, MIN_BOND);
        address[] memory signers = new address[](2);
        (signers[0], signers[1]) = (judges[0], judges[1]);
        vm.expectEmit(address(quorum));
        emit IArbiterQuorum.AuditVerdictGiven(
            id, 4, AUDITOR, IAuditorRegistry.AuditFault.WrongReport, signers
        );
        _slash(terms, IAuditorRegistry.AuditFault.WrongReport, 4);
        _assertAuditor(AUDITOR, 0, 0);
        vm.assertEq(_registryCredit(renter), MIN_BOND, "credit of the renter");
    }
}
