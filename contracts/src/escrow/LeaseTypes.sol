// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeaseEscrow} from "../interfaces/ILeaseEscrow.sol";

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

    /// @dev All members are atomic, so the ABI encoding of the struct is its EIP-712 encoding.
    function hash(ILeaseEscrow.Terms calldata terms) internal pure returns (bytes32) {
        return keccak256(abi.encode(TERMS_TYPEHASH, terms));
    }

    function hashVoucher(bytes32 leaseId, uint16 segments) internal pure returns (bytes32) {
        return keccak256(abi.encode(VOUCHER_TYPEHASH, leaseId, segments));
    }
}
