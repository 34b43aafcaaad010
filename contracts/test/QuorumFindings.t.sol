// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IArbiterQuorum} from "../src/interfaces/IArbiterQuorum.sol";
import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {RegistryTest} from "./utils/RegistryTest.sol";
import {vm} from "./utils/Vm.sol";

// attestUnretrievable, rejectMachine, ruleLate of a quorum
// ├── with too few signatures: each should revert
// ├── with a party or a challenger among the judges: should revert
// ├── with a judge whom the provider names its operator: it should count all the same
// ├── with signatures for something else (other segments, commit, report, dispute): should revert
// ├── for a lease with another arbiter: the escrow should refuse it
// └── it should do what the judges said, by anybody, and emit
contract QuorumFindingsTest is RegistryTest {
    bytes32 private constant REPORT = keccak256("report");

    // ------------------------------------------------------------------------ attestUnretrievable

    function test_attest_whenActive_anybodyPresentsIt() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _committedBefore();
        bytes[] memory signatures = _signatures(_retrieval(id, 1), 1, 2);
        vm.expectEmit(address(quorum));
        emit IArbiterQuorum.RetrievalGiven(
            id, escrow.leaseOf(id).root, uint40(START + 50), 1, _signers(1)
        );
        vm.prank(STRANGER);
        quorum.attestUnretrievable(terms, 1, signatures);
        vm.assertEq(escrow.leaseOf(id).pending, 1, "pending");
    }

    function test_attest_whenDisputed_returnsTheBond() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(CHALLENGER);
        quorum.attestUnretrievable(terms, 2, _signatures(_retrieval(id, 2), 0, 2));
        vm.assertTrue(_status(id) == IEscrowTypes.LeaseStatus.Active, "active");
        vm.assertEq(_credits().challenger, CHALLENGE_BOND, "bond");
    }

    function test_attest_withTooFewSignatures_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _committedBefore();
        bytes[] memory signatures = _signatures(_retrieval(id, 1), 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.TooFewSignatures.selector, 1, 2));
        quorum.attestUnretrievable(terms, 1, signatures);
    }

    function test_attest_withAChallengerAmongTheJudges_reverts() external {
        _fund(judges[0]);
        (IEscrowTypes.Terms memory terms, bytes32 id) = _disputedBefore(judges[0]);
        bytes[] memory signatures = _signatures(_retrieval(id, 1), 0, 2);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.JudgeIsParty.selector, judges[0]));
        quorum.attestUnretrievable(terms, 1, signatures);
    }

    function test_attest_withSignaturesForOtherSegments_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _committedBefore();
        bytes[] memory signatures = _signatures(_retrieval(id, 1), 0, 2);
        vm.expectPartialRevert(IArbiterQuorum.NotJudge.selector);
        quorum.attestUnretrievable(terms, 0, signatures);
    }

    /// @dev What was said of one commit says nothing of the next.
    function test_attest_withSignaturesForAnEarlierCommit_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _committedBefore();
        bytes[] memory signatures = _signatures(_retrieval(id, 1), 0, 2);
        vm.warp(START + 60);
        _commit(terms, 4);
        vm.expectPartialRevert(IArbiterQuorum.NotJudge.selector);
        quorum.attestUnretrievable(terms, 1, signatures);
        quorum.attestUnretrievable(terms, 1, _signatures(_retrieval(id, 1), 0, 2));
    }

    function test_attest_givenAnotherArbiter_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _committed(3);
        bytes[] memory signatures = _signatures(_retrieval(id, 1), 0, 2);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.NotArbiter.selector, address(quorum), ARBITER)
        );
        quorum.attestUnretrievable(terms, 1, signatures);
    }

    // ------------------------------------------------------------------------------ rejectMachine

    function test_reject_anybodyPresentsIt() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        bytes32 id = _open(terms);
        bytes[] memory signatures = _signatures(quorum.rejectionDigest(id, REPORT), 1, 2);
        vm.expectEmit(address(quorum));
        emit IArbiterQuorum.RejectionGiven(id, REPORT, _signers(1));
        _expectEmit();
        emit IEscrowTypes.MachineRejected(id, REPORT, true);
        vm.prank(STRANGER);
        quorum.rejectMachine(terms, REPORT, signatures);
        vm.assertEq(_credits().renter, COST, "refunded");
    }

    function test_reject_withTooFewOrOtherSignatures_reverts() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        bytes32 id = _open(terms);
        bytes32 digest = quorum.rejectionDigest(id, REPORT);
        bytes[] memory signatures = _signatures(digest, 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.TooFewSignatures.selector, 1, 2));
        quorum.rejectMachine(terms, REPORT, signatures);
        signatures = _signatures(digest, 0, 2);
        vm.expectPartialRevert(IArbiterQuorum.NotJudge.selector);
        quorum.rejectMachine(terms, keccak256("another report"), signatures);
        // A probe that the operator would have to sign is another statement.
        signatures = _signatures(escrow.failedProbeDigest(id, REPORT), 0, 2);
        vm.expectPartialRevert(IArbiterQuorum.NotJudge.selector);
        quorum.rejectMachine(terms, REPORT, signatures);
    }

    /// @dev The renter cannot reject at will, whatever else it is.
    function test_reject_withTheRenterAsJudge_reverts() external {
        _quorumOf(RENTER_KEY);
        IEscrowTypes.Terms memory terms = _quorumTerms();
        bytes32 id = _open(terms);
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _signature(RENTER_KEY, quorum.rejectionDigest(id, REPORT));
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.JudgeIsParty.selector, renter));
        quorum.rejectMachine(terms, REPORT, signatures);
    }

    // ----------------------------------------------------------------------------------- ruleLate

    function test_ruleLate_anybodyPresentsIt() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _closedBefore();
        bytes32 root = escrow.leaseOf(id).root;
        bytes32 digest = quorum.verdictDigest(id, root, 0, true, 1);
        bytes[] memory signatures = _signatures(digest, 1, 2);
        vm.expectEmit(address(quorum));
        emit IArbiterQuorum.VerdictGiven(id, root, 0, true, 1, _signers(1));
        _expectEmit();
        emit IEscrowTypes.LateFraud(id, 1, BOND, 0);
        vm.prank(STRANGER);
        quorum.ruleLate(terms, 1, signatures);
        _assertStake(STAKE - BOND, 0, 0);
    }

    function test_ruleLate_withTooFewOrOtherSignatures_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _closedBefore();
        bytes32 root = escrow.leaseOf(id).root;
        bytes[] memory signatures = _signatures(quorum.verdictDigest(id, root, 0, true, 1), 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.TooFewSignatures.selector, 1, 2));
        quorum.ruleLate(terms, 1, signatures);
        signatures = _signatures(quorum.verdictDigest(id, root, 0, true, 1), 0, 2);
        vm.expectPartialRevert(IArbiterQuorum.NotJudge.selector);
        quorum.ruleLate(terms, 0, signatures);
        // An honest verdict is no verdict of fraud, and that of a dispute is of another time.
        signatures = _signatures(quorum.verdictDigest(id, root, 0, false, 1), 0, 2);
        vm.expectPartialRevert(IArbiterQuorum.NotJudge.selector);
        quorum.ruleLate(terms, 1, signatures);
        signatures = _signatures(quorum.verdictDigest(id, root, uint40(START + 70), true, 1), 0, 2);
        vm.expectPartialRevert(IArbiterQuorum.NotJudge.selector);
        quorum.ruleLate(terms, 1, signatures);
    }

    function test_ruleLate_withTheRenterAsJudge_reverts() external {
        _quorumOf(RENTER_KEY);
        (IEscrowTypes.Terms memory terms, bytes32 id) = _closedBefore();
        bytes32 root = escrow.leaseOf(id).root;
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _signature(RENTER_KEY, quorum.verdictDigest(id, root, 0, true, 0));
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.JudgeIsParty.selector, renter));
        quorum.ruleLate(terms, 0, signatures);
    }

    // -------------------------------------------------------------------------------- both sides

    /// @dev Nobody asks an account before it is named operator.
    function test_anyVerdict_whenTheProviderNamesAJudgeItsOperator_stillCounts() external {
        (IEscrowTypes.Terms memory terms, bytes32 id) = _committedBefore();
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, judges[1]);
        quorum.attestUnretrievable(terms, 2, _signatures(_retrieval(id, 2), 0, 2));
        _challenge(CHALLENGER, terms, 1);
        quorum.rule(terms, true, 1, _signatures(_verdict(id, true, 1), 0, 2));
        _assertStake(STAKE - BOND, 0, 0);
    }

    function test_attest_withTheRenterAsJudge_reverts() external {
        _quorumOf(RENTER_KEY);
        (IEscrowTypes.Terms memory terms, bytes32 id) = _committedBefore();
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _signature(RENTER_KEY, _retrieval(id, 0));
        vm.expectRevert(abi.encodeWithSelector(IArbiterQuorum.JudgeIsParty.selector, renter));
        quorum.attestUnretrievable(terms, 0, signatures);
    }

    function test_digests_areThoseOfTheStandard(bytes32 id, bytes32 root, uint40 time, uint16 good)
        external
        view
    {
        bytes32 kind = keccak256(
            "Retrieval(bytes32 leaseId,bytes32 root,uint40 committedAt,uint16 goodSegments)"
        );
        vm.assertEq(
            quorum.retrievalDigest(id, root, time, good),
            _quorumDigest(keccak256(abi.encode(kind, id, root, time, good))),
            "retrieval"
        );
        kind = keccak256("Rejection(bytes32 leaseId,bytes32 report)");
        vm.assertEq(
            quorum.rejectionDigest(id, root),
            _quorumDigest(keccak256(abi.encode(kind, id, root))),
            "rejection"
        );
    }

    // ------------------------------------------------------------------------------------- tools

    /// @dev Three segments committed at START + 50, with the quorum as arbiter.
    function _closedBefore() private returns (IEscrowTypes.Terms memory terms, bytes32 id) {
        (terms, id) = _committedBefore();
        vm.warp(START + 50 + WINDOW);
        _close(PROVIDER, terms);
    }

    function _retrieval(bytes32 id, uint16 good) private view returns (bytes32) {
        IEscrowTypes.Lease memory lease = escrow.leaseOf(id);
        return quorum.retrievalDigest(id, lease.root, lease.committedAt, good);
    }

    function _signers(uint256 first) private view returns (address[] memory signers) {
        signers = new address[](2);
        (signers[0], signers[1]) = (judges[first], judges[first + 1]);
    }
}
