// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Contract account that accepts what one key signed (EIP-1271).
contract ContractSigner {
    address private immutable _key;

    constructor(address key) {
        _key = key;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature)
        external
        view
        returns (bytes4)
    {
        (bytes32 r, bytes32 s) = abi.decode(signature[:64], (bytes32, bytes32));
        bool isValid = ecrecover(digest, uint8(signature[64]), r, s) == _key;
        return isValid ? this.isValidSignature.selector : bytes4(0xffffffff);
    }
}

/// @notice Contract account that burns all gas it is given.
contract GreedySigner {
    fallback() external {
        while (true) {}
    }
}

/// @notice Contract account that takes no coins.
contract RefusingAccount {
    error NoCoins();

    receive() external payable {
        revert NoCoins();
    }
}
