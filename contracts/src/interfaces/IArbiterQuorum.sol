// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAuditorRegistry} from "./IAuditorRegistry.sol";
import {IEscrowTypes} from "./IEscrowTypes.sol";

/// @title Arbiter of disputes: k of n judges
/// @notice A fixed set of judges, created by the auditor registry. Its address is the `arbiter` of
/// the leases it judges. Judges sign off chain; anybody presents their signatures in one call.
///
/// Rules
/// - A verdict needs `threshold` signatures, strictly ascending by signer, of judges whose bond
///   under this quorum counts at that moment.
/// - Nobody judges its own case: not the renter, the provider, the operator of the terms, not a
///   challenger, not the auditor who is accused. Each of them signed or called to become that: a
///   listing's newer operator, whom the provider names alone, may judge.
/// - The signed messages bind this contract, the chain and, by the lease's id, the escrow.
///   A verdict on a dispute also binds the committed root and the time of the first challenge: it
///   is worthless for any other dispute.
/// - Warning: judges that do not sign in time leave the lease to `timeoutDispute` of the escrow.
interface IArbiterQuorum {
    // ----------------------------------------------------------------------------------- events

    /// @notice The escrow took this verdict; its own `Ruled`, or `LateFraud` when `disputedAt` is
    /// zero, has the money.
    event VerdictGiven(
        bytes32 indexed leaseId,
        bytes32 root,
        uint40 disputedAt,
        bool fraud,
        uint16 segment,
        address[] judges
    );
    /// @notice The escrow took this attestation; its own `Unretrievable` has what it does.
    event RetrievalGiven(
        bytes32 indexed leaseId,
        bytes32 root,
        uint40 committedAt,
        uint16 goodSegments,
        address[] judges
    );
    /// @notice The escrow took this rejection; its own `MachineRejected` and `Closed` have the
    /// money.
    event RejectionGiven(bytes32 indexed leaseId, bytes32 report, address[] judges);
    /// @notice The registry took this verdict; its own `AuditorSlashed` has the money.
    event AuditVerdictGiven(
        bytes32 indexed leaseId,
        uint16 segment,
        address indexed auditor,
        IAuditorRegistry.AuditFault fault,
        address[] judges
    );

    // ----------------------------------------------------------------------------------- errors

    error NumJudgesOutOfRange(uint256 given, uint256 maxJudges);
    error JudgesNotAscending(address judge, address previous);
    error ThresholdOutOfRange(uint256 threshold, uint256 least, uint256 most);
    error MinBondMissing();

    error ArbiterDiffers(address arbiter, address quorum);
    error LeaseUnknown(bytes32 leaseId);
    error NotDisputed(bytes32 leaseId);
    error SegmentOutOfRange(uint16 segment, uint16 end);
    error TooFewSignatures(uint256 given, uint256 threshold);
    error SignatureInvalid(bytes32 digest, uint256 index);
    error SignersNotAscending(address signer, address previous);
    error NotJudge(address signer);
    error JudgeIsParty(address signer);
    error JudgeNotBonded(address signer);

    // ----------------------------------------------------------------------------------- verdicts

    /// @notice Rules on the open dispute of a lease. Anybody may call.
    /// @param terms The lease's terms; this quorum is their arbiter.
    /// @param segment As in `ILeaseEscrow.rule`.
    /// @param signatures 65 bytes each (r, s, v) over `verdictDigest`.
    function rule(
        IEscrowTypes.Terms calldata terms,
        bool fraud,
        uint16 segment,
        bytes[] calldata signatures
    ) external;

    /// @notice Rules fraud on a lease that has closed. Anybody may call.
    /// @param goodSegments As in `ILeaseEscrow.ruleLate`.
    /// @param signatures 65 bytes each over `verdictDigest`, with a `disputedAt` of zero, which no
    /// dispute has.
    function ruleLate(
        IEscrowTypes.Terms calldata terms,
        uint16 goodSegments,
        bytes[] calldata signatures
    ) external;

    /// @notice Says that checkpoints of committed segments cannot be fetched. Anybody may call.
    /// @param goodSegments As in `ILeaseEscrow.attestUnretrievable`.
    /// @param signatures 65 bytes each over `retrievalDigest`.
    function attestUnretrievable(
        IEscrowTypes.Terms calldata terms,
        uint16 goodSegments,
        bytes[] calldata signatures
    ) external;

    /// @notice Says that the machine failed a repeat of its probe. Anybody may call.
    /// @param report As in `ILeaseEscrow.rejectMachine`.
    /// @param signatures 65 bytes each over `rejectionDigest`.
    function rejectMachine(
        IEscrowTypes.Terms calldata terms,
        bytes32 report,
        bytes[] calldata signatures
    ) external;

    /// @notice Slashes an auditor that was drawn for a segment of a lease, for its renter. Anybody
    /// may call.
    /// @param signatures 65 bytes each (r, s, v) over `auditVerdictDigest`.
    function slashAuditor(
        IEscrowTypes.Terms calldata terms,
        uint16 segment,
        address auditor,
        IAuditorRegistry.AuditFault fault,
        bytes[] calldata signatures
    ) external;

    // -------------------------------------------------------------------------------------- views

    /// @notice EIP-712 digest of Verdict(leaseId, root, disputedAt, fraud, segment).
    /// @param root The lease's root in the escrow: all commits that the verdict is about.
    /// @param disputedAt Time of the first challenge, from the escrow; zero for `ruleLate`.
    function verdictDigest(
        bytes32 leaseId,
        bytes32 root,
        uint40 disputedAt,
        bool fraud,
        uint16 segment
    ) external view returns (bytes32);

    /// @notice EIP-712 digest of Retrieval(leaseId, root, committedAt, goodSegments).
    /// @param root The lease's root in the escrow: all commits that it is about.
    /// @param committedAt Time of the newest of them, from the escrow.
    function retrievalDigest(
        bytes32 leaseId,
        bytes32 root,
        uint40 committedAt,
        uint16 goodSegments
    ) external view returns (bytes32);

    /// @notice EIP-712 digest of Rejection(leaseId, report).
    function rejectionDigest(bytes32 leaseId, bytes32 report) external view returns (bytes32);

    /// @notice EIP-712 digest of AuditVerdict(leaseId, segment, auditor, fault).
    function auditVerdictDigest(
        bytes32 leaseId,
        uint16 segment,
        address auditor,
        IAuditorRegistry.AuditFault fault
    ) external view returns (bytes32);

    /// @notice All judges, ascending.
    function judges() external view returns (address[] memory);

    function isJudge(address account) external view returns (bool);

    /// @notice Signatures that make a verdict.
    function threshold() external view returns (uint256);

    /// @notice Bond that counts, in the smallest unit of the registry's `bondToken`.
    function minBond() external view returns (uint256);

    function registry() external view returns (address);

    function escrow() external view returns (address);
}
