// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// @notice EIP-712 domain that names the chain of the deployment for ever. After a fork, leases
/// keep their ids and signatures their meaning on both chains, so that every way out works on both.
abstract contract HomeDomain {
    bytes32 private constant DOMAIN_TYPEHASH = keccak256(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    );
    string internal constant NAME = "Gridlease";
    string internal constant VERSION = "1";

    uint256 internal immutable _homeChainId = block.chainid;
    address private immutable _maker = address(this);
    bytes32 private immutable _ownSeparator = _separatorOf(address(this), block.chainid);

    /// @dev The extension runs as the escrow, whose separator is not its own.
    function _hashTypedDataV4(bytes32 structHash) internal view returns (bytes32) {
        bytes32 separator =
            address(this) == _maker ? _ownSeparator : _separatorOf(address(this), _homeChainId);
        return MessageHashUtils.toTypedDataHash(separator, structHash);
    }

    function _separatorOf(address escrow, uint256 chainId) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                DOMAIN_TYPEHASH, keccak256(bytes(NAME)), keccak256(bytes(VERSION)), chainId, escrow
            )
        );
    }
}
