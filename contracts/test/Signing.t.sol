// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// leaseIdOf, voucherDigest
// └── they should be the EIP-712 digests, built here step by step from the standard
contract SigningTest is EscrowTest {
    string private constant TERMS = "Terms(address renter,address provider,address operator,"
        "address token,address arbiter,bytes32 listingId,bytes32 machineHash,bytes32 jobHash,"
        "uint96 pricePerSegment,uint96 bond,uint16 segments,uint16 feeBps,uint16 auditBps,"
        "uint16 reserveSegments,uint32 window,uint32 commitGrace,uint32 disputeTimeout,"
        "uint40 openBy,uint32 firstCommitWithin,uint32 maxDuration,uint32 minSegmentSeconds,"
        "bytes32 predecessor,uint64 nonce)";

    function test_domain() external view {
        (, string memory name, string memory version, uint256 chainId, address contract_,,) =
            escrow.eip712Domain();
        vm.assertEq(bytes(name), "Gridlease", "name");
        vm.assertEq(bytes(version), "1", "version");
        vm.assertEq(chainId, block.chainid, "chain id");
        vm.assertEq(contract_, address(escrow), "contract");
    }

    function test_leaseIdOf_isTheDigestOfTheTerms(bytes32 jobHash, uint64 nonce) external view {
        IEscrowTypes.Terms memory t = _terms();
        (t.jobHash, t.nonce) = (jobHash, nonce);
        bytes memory first = abi.encode(
            keccak256(bytes(TERMS)),
            t.renter,
            t.provider,
            t.operator,
            t.token,
            t.arbiter,
            t.listingId,
            t.machineHash,
            t.jobHash,
            t.pricePerSegment
        );
        bytes memory second = abi.encode(
            t.bond, t.segments, t.feeBps, t.auditBps, t.reserveSegments, t.window, t.commitGrace
        );
        bytes memory third = abi.encode(
            t.disputeTimeout,
            t.openBy,
            t.firstCommitWithin,
            t.maxDuration,
            t.minSegmentSeconds,
            t.predecessor,
            t.nonce
        );
        bytes32 expected = _digest(keccak256(bytes.concat(first, second, third)));
        vm.assertEq(escrow.leaseIdOf(t), expected, "lease id");
    }

    function test_voucherDigest_isTheDigestOfTheVoucher(bytes32 leaseId, uint16 segments)
        external
        view
    {
        bytes32 typeHash = keccak256("Voucher(bytes32 leaseId,uint16 segments)");
        vm.assertEq(
            escrow.voucherDigest(leaseId, segments),
            _digest(keccak256(abi.encode(typeHash, leaseId, segments))),
            "digest"
        );
    }

    /// @dev Even when the operator signed them so.
    function test_terms_whenAFieldIsTooWide_areRefused(uint8 field) external {
        // Position of the lowest byte above each field that is narrower than a word.
        uint8[20] memory fields =
            [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 22];
        uint8[20] memory widths =
            [20, 20, 20, 20, 20, 12, 12, 2, 2, 2, 2, 4, 4, 4, 5, 4, 4, 4, 8, 8];
        field = field % 20;
        uint256 place = 32 * uint256(fields[field]) + 31 - widths[field];
        bytes memory asked = abi.encodeCall(escrow.leaseIdOf, (_terms()));
        asked[4 + place] = 0x01;
        (, bytes memory id) = address(escrow).staticcall(asked);
        bytes memory signature = _signature(OPERATOR_KEY, abi.decode(id, (bytes32)));
        bytes memory call = abi.encodeCall(escrow.open, (_terms(), signature));
        call[4 + place] = 0x01;
        vm.prank(renter);
        (bool done,) = address(escrow).call(call);
        vm.assertTrue(!done, "refused");
    }

    function _digest(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,"
                    "address verifyingContract)"
                ),
                keccak256("Gridlease"),
                keccak256("1"),
                block.chainid,
                address(escrow)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }
}
