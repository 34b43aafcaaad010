// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../interfaces/IEscrowTypes.sol";

/// @notice EIP-712 types of the messages that the escrow understands.
library LeaseTypes {
    bytes32 internal constant TERMS_TYPEHASH = keccak256(
        "Terms(address renter,address provider,address operator,address token,address arbiter,"
        "bytes32 listingId,bytes32 machineHash,bytes32 jobHash,uint96 pricePerSegment,uint96 bond,"
        "uint16 segments,uint16 feeBps,uint16 auditBps,uint16 reserveSegments,uint32 window,"
        "uint32 commitGrace,uint32 disputeTimeout,uint40 openBy,uint32 firstCommitWithin,"
        "uint32 maxDuration,uint32 minSegmentSeconds,bytes32 predecessor,uint64 nonce)"
    );

    bytes32 internal constant VOUCHER_TYPEHASH =
        keccak256("Voucher(bytes32 leaseId,uint16 segments)");

    bytes32 internal constant ORDER_TYPEHASH = keccak256(
        "Order(address renter,address token,address arbiter,bytes32 jobHash,bytes32 listingId,"
        "bytes32 offer,bytes32 hardwareClass,uint96 maxPricePerHour,uint96 maxPricePerSegment,"
        "uint96 budget,uint96 minBond,uint16 minBondBps,uint16 minAuditBps,uint16 segments,"
        "uint32 maxDurationS,uint32 minWindow,uint32 maxWindow,uint32 maxDisputeTimeout,"
        "uint32 maxFirstCommit,uint32 minSegmentSeconds,uint8 verification,uint40 expiresAt,"
        "uint64 nonce)"
    );

    bytes32 internal constant OPENING_TYPEHASH =
        keccak256("Opening(bytes32 leaseId,uint8 source,uint96 relayFee)");
    bytes32 internal constant STOP_TYPEHASH = keccak256("Stop(bytes32 leaseId)");
    bytes32 internal constant FAILED_PROBE_TYPEHASH =
        keccak256("FailedProbe(bytes32 leaseId,bytes32 report)");
    bytes32 internal constant CHALLENGE_TYPEHASH = keccak256(
        "Challenge(bytes32 leaseId,bytes32 root,uint16 segment,uint8 source,uint40 expiresAt,"
        "uint64 nonce)"
    );
    bytes32 internal constant REVOCATION_TYPEHASH = keccak256("Revocation(bytes32 order)");

    /// @dev All 23 members are atomic, so the ABI encoding of the struct, which is what lies in the
    /// call data, is its EIP-712 encoding. Copied as it is: a member that is too wide makes another
    /// id, one that no honest operator signs, and `open` refuses it where it reads the member.
    function hash(IEscrowTypes.Terms calldata terms) internal pure returns (bytes32 digest) {
        bytes32 typeHash = TERMS_TYPEHASH;
        // The compiler would check and copy each member on its own, for 2,000 gas a call.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, typeHash)
            calldatacopy(add(start, 0x20), terms, 0x2e0)
            digest := keccak256(start, 0x300)
        }
    }

    function hashVoucher(bytes32 leaseId, uint16 segments) internal pure returns (bytes32) {
        return keccak256(abi.encode(VOUCHER_TYPEHASH, leaseId, segments));
    }

    function hashOrder(IEscrowTypes.Order calldata order) internal pure returns (bytes32) {
        return keccak256(abi.encode(ORDER_TYPEHASH, order));
    }

    function hashOpening(bytes32 leaseId, IEscrowTypes.Source source, uint96 relayFee)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(OPENING_TYPEHASH, leaseId, source, relayFee));
    }

    function hashStop(bytes32 leaseId) internal pure returns (bytes32) {
        return keccak256(abi.encode(STOP_TYPEHASH, leaseId));
    }

    function hashChallenge(
        bytes32 leaseId,
        bytes32 root,
        uint16 segment,
        IEscrowTypes.Source source,
        uint40 expiresAt,
        uint64 nonce
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(CHALLENGE_TYPEHASH, leaseId, root, segment, source, expiresAt, nonce)
        );
    }

    function hashFailedProbe(bytes32 leaseId, bytes32 report) internal pure returns (bytes32) {
        return keccak256(abi.encode(FAILED_PROBE_TYPEHASH, leaseId, report));
    }

    function hashRevocation(bytes32 order) internal pure returns (bytes32) {
        return keccak256(abi.encode(REVOCATION_TYPEHASH, order));
    }
}
