// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITestToken} from "./Interfaces.sol";

/// @notice EIP-712 digests of what a holder signs for its token.
library TokenMessages {
    bytes32 private constant PERMIT_TYPEHASH = keccak256(
        "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
    );
    bytes32 private constant RECEIVE_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
        "uint256 validBefore,bytes32 nonce)"
    );

    /// @notice An EIP-2612 permit, with the owner's next nonce.
    function permit(
        ITestToken token,
        address owner,
        address spender,
        uint256 value,
        uint256 deadline
    ) internal view returns (bytes32) {
        uint256 nonce = token.nonces(owner);
        return _digest(
            token, keccak256(abi.encode(PERMIT_TYPEHASH, owner, spender, value, nonce, deadline))
        );
    }

    /// @notice An EIP-3009 authorization to receive, valid from the beginning.
    function receiving(
        ITestToken token,
        address from,
        address to,
        uint256 value,
        uint256 validBefore,
        bytes32 nonce
    ) internal view returns (bytes32) {
        return _digest(
            token, keccak256(abi.encode(RECEIVE_TYPEHASH, from, to, value, 0, validBefore, nonce))
        );
    }

    function _digest(ITestToken token, bytes32 structHash) private view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
    }
}
