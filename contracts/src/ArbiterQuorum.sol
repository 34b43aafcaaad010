// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IArbiterQuorum} from "./interfaces/IArbiterQuorum.sol";
import {IAuditorRegistry} from "./interfaces/IAuditorRegistry.sol";
import {IEscrowTypes} from "./interfaces/IEscrowTypes.sol";
import {ILeaseEscrow} from "./interfaces/ILeaseEscrow.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// @title Arbiter of disputes: k of n judges
/// @notice Immutable and without money. The rules are written in IArbiterQuorum.
contract ArbiterQuorum is IArbiterQuorum, EIP712 {
    uint256 private constant MAX_JUDGES = 32;

    bytes32 private constant VERDICT_TYPEHASH = keccak256(
        "Verdict(bytes32 leaseId,bytes32 root,uint40 disputedAt,bool fraud,uint16 segment)"
    );
    bytes32 private constant RETRIEVAL_TYPEHASH = keccak256(
        "Retrieval(bytes32 leaseId,bytes32 root,uint40 committedAt,uint16 goodSegments)"
    );
    bytes32 private constant REJECTION_TYPEHASH =
        keccak256("Rejection(bytes32 leaseId,bytes32 report)");
    bytes32 private constant AUDIT_VERDICT_TYPEHASH =
        keccak256("AuditVerdict(bytes32 leaseId,uint16 segment,address auditor,uint8 fault)");

    /// @inheritdoc IArbiterQuorum
    address public immutable registry;
    /// @inheritdoc IArbiterQuorum
    address public immutable escrow;
    /// @inheritdoc IArbiterQuorum
    uint256 public immutable threshold;
    /// @inheritdoc IArbiterQuorum
    uint256 public immutable minBond;

    address[] private _judges;
    /// @inheritdoc IArbiterQuorum
    mapping(address account => bool) public isJudge;

    /// @dev `registry_` is asked about bonds from now on.
    constructor(
        // slither-disable-next-line missing-zero-check: the registry itself makes the quorum
        address registry_,
        // slither-disable-next-line missing-zero-check: checked by the registry
        address escrow_,
        address[] memory judges_,
        uint256 threshold_,
        uint256 minBond_
    ) EIP712("Gridlease", "1") {
        uint256 number = judges_.length;
        if (number == 0 || number > MAX_JUDGES) revert NumJudgesOutOfRange(number, MAX_JUDGES);
        uint256 least = number / 2 + 1;
        if (threshold_ < least || threshold_ > number) {
            revert ThresholdOutOfRange(threshold_, least, number);
        }
        if (minBond_ == 0) revert MinBondMissing();
        // slither-disable-next-line uninitialized-local: below every address
        address previous;
        for (uint256 i = 0; i < number; ++i) {
            if (judges_[i] <= previous) revert JudgesNotAscending(judges_[i], previous);
            previous = judges_[i];
            isJudge[previous] = true;
        }
        _judges = judges_;
        (registry, escrow, threshold, minBond) = (registry_, escrow_, threshold_, minBond_);
    }

    /// @inheritdoc IArbiterQuorum
    function rule(
        IEscrowTypes.Terms calldata terms,
        bool fraud,
        uint16 segment,
        bytes[] calldata signatures
    ) external {
        bytes32 leaseId = _leaseId(terms);
        IEscrowTypes.Dispute memory dispute = ILeaseEscrow(escrow).disputeOf(leaseId);
        if (dispute.disputedAt == 0) revert NotDisputed(leaseId);
        bytes32 root = ILeaseEscrow(escrow).leaseOf(leaseId).root;
        bytes32 digest = verdictDigest(leaseId, root, dispute.disputedAt, fraud, segment);
        address[] memory signers = _signers(digest, signatures);
        _refuseParties(signers, terms);
        _refuseChallengers(signers, dispute);
        emit VerdictGiven(leaseId, root, dispute.disputedAt, fraud, segment, signers);
        ILeaseEscrow(escrow).rule(terms, fraud, segment);
    }

    /// @inheritdoc IArbiterQuorum
    function ruleLate(
        IEscrowTypes.Terms calldata terms,
        uint16 goodSegments,
        bytes[] calldata signatures
    ) external {
        bytes32 leaseId = _leaseId(terms);
        bytes32 root = ILeaseEscrow(escrow).leaseOf(leaseId).root;
        address[] memory signers =
            _signers(verdictDigest(leaseId, root, 0, true, goodSegments), signatures);
        _refuseParties(signers, terms);
        emit VerdictGiven(leaseId, root, 0, true, goodSegments, signers);
        ILeaseEscrow(escrow).ruleLate(terms, goodSegments);
    }

    /// @inheritdoc IArbiterQuorum
    function attestUnretrievable(
        IEscrowTypes.Terms calldata terms,
        uint16 goodSegments,
        bytes[] calldata signatures
    ) external {
        bytes32 leaseId = _leaseId(terms);
        IEscrowTypes.Lease memory lease = ILeaseEscrow(escrow).leaseOf(leaseId);
        bytes32 digest = retrievalDigest(leaseId, lease.root, lease.committedAt, goodSegments);
        address[] memory signers = _signers(digest, signatures);
        _refuseParties(signers, terms);
        _refuseChallengers(signers, ILeaseEscrow(escrow).disputeOf(leaseId));
        emit RetrievalGiven(leaseId, lease.root, lease.committedAt, goodSegments, signers);
        ILeaseEscrow(escrow).attestUnretrievable(terms, goodSegments);
    }

    /// @inheritdoc IArbiterQuorum
    function rejectMachine(
        IEscrowTypes.Terms calldata terms,
        bytes32 report,
        bytes[] calldata signatures
    ) external {
        bytes32 leaseId = _leaseId(terms);
        address[] memory signers = _signers(rejectionDigest(leaseId, report), signatures);
        _refuseParties(signers, terms);
        emit RejectionGiven(leaseId, report, signers);
        ILeaseEscrow(escrow).rejectMachine(terms, report, "");
    }

    /// @inheritdoc IArbiterQuorum
    function slashAuditor(
        IEscrowTypes.Terms calldata terms,
        uint16 segment,
        address auditor,
        IAuditorRegistry.AuditFault fault,
        bytes[] calldata signatures
    ) external {
        bytes32 leaseId = _leaseId(terms);
        if (terms.arbiter != address(this)) revert ArbiterDiffers(terms.arbiter, address(this));
        if (ILeaseEscrow(escrow).leaseOf(leaseId).status == IEscrowTypes.LeaseStatus.None) {
            revert LeaseUnknown(leaseId);
        }
        if (segment >= terms.segments) revert SegmentOutOfRange(segment, terms.segments);
        bytes32 digest = auditVerdictDigest(leaseId, segment, auditor, fault);
        address[] memory signers = _signers(digest, signatures);
        _refuseParties(signers, terms);
        _refuse(signers, auditor);
        emit AuditVerdictGiven(leaseId, segment, auditor, fault, signers);
        IAuditorRegistry(registry).slash(auditor, leaseId, segment, fault, terms.renter);
    }

    /// @inheritdoc IArbiterQuorum
    function judges() external view returns (address[] memory) {
        return _judges;
    }

    /// @inheritdoc IArbiterQuorum
    function verdictDigest(
        bytes32 leaseId,
        bytes32 root,
        uint40 disputedAt,
        bool fraud,
        uint16 segment
    ) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(abi.encode(VERDICT_TYPEHASH, leaseId, root, disputedAt, fraud, segment))
        );
    }

    /// @inheritdoc IArbiterQuorum
    function retrievalDigest(
        bytes32 leaseId,
        bytes32 root,
        uint40 committedAt,
        uint16 goodSegments
    ) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(abi.encode(RETRIEVAL_TYPEHASH, leaseId, root, committedAt, goodSegments))
        );
    }

    /// @inheritdoc IArbiterQuorum
    function rejectionDigest(bytes32 leaseId, bytes32 report) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(REJECTION_TYPEHASH, leaseId, report)));
    }

    /// @inheritdoc IArbiterQuorum
    function auditVerdictDigest(
        bytes32 leaseId,
        uint16 segment,
        address auditor,
        IAuditorRegistry.AuditFault fault
    ) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(abi.encode(AUDIT_VERDICT_TYPEHASH, leaseId, segment, auditor, fault))
        );
    }

    function _leaseId(IEscrowTypes.Terms calldata terms) private view returns (bytes32) {
        return ILeaseEscrow(escrow).leaseIdOf(terms);
    }

    /// @dev Accounts that signed: enough of them, each a judge with a bond, none twice.
    // slither-disable-next-line calls-loop,unused-return: few signers; no use for the detail
    function _signers(bytes32 digest, bytes[] calldata signatures)
        private
        view
        returns (address[] memory signers)
    {
        uint256 number = signatures.length;
        if (number < threshold) revert TooFewSignatures(number, threshold);
        signers = new address[](number);
        // slither-disable-next-line uninitialized-local: below every address
        address previous;
        for (uint256 i = 0; i < number; ++i) {
            (address signer, ECDSA.RecoverError problem,) =
                ECDSA.tryRecoverCalldata(digest, signatures[i]);
            if (problem != ECDSA.RecoverError.NoError) revert SignatureInvalid(digest, i);
            if (signer <= previous) revert SignersNotAscending(signer, previous);
            if (!isJudge[signer]) revert NotJudge(signer);
            if (!IAuditorRegistry(registry).isBonded(address(this), signer)) {
                revert JudgeNotBonded(signer);
            }
            (signers[i], previous) = (signer, signer);
        }
    }

    /// @dev Nobody judges its own case. A listing's newer operator is not asked about: a provider
    /// can name any account, and would refuse its judges one by one.
    function _refuseParties(address[] memory signers, IEscrowTypes.Terms calldata terms)
        private
        pure
    {
        _refuse(signers, terms.renter);
        _refuse(signers, terms.provider);
        _refuse(signers, terms.operator);
    }

    function _refuseChallengers(address[] memory signers, IEscrowTypes.Dispute memory dispute)
        private
        pure
    {
        _refuse(signers, dispute.challenger);
        _refuse(signers, dispute.lowerChallenger);
    }

    function _refuse(address[] memory signers, address party) private pure {
        for (uint256 i = 0; i < signers.length; ++i) {
            if (signers[i] == party) revert JudgeIsParty(party);
        }
    }
}
