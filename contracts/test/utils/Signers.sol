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

/// @notice Contract account whose answer to `isValidSignature` is any bytes, or a refusal.
contract AnsweringSigner {
    bytes private _answer;
    bool private _reverts;

    constructor(bytes memory answer, bool reverts) {
        (_answer, _reverts) = (answer, reverts);
    }

    fallback() external {
        _respond();
    }

    function _respond() private view {
        bytes memory answer = _answer;
        if (_reverts) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        assembly ("memory-safe") {
            return(add(answer, 32), mload(answer))
        }
    }
}

/// @notice Contract account that calls back while it is asked, and accepts only if that call was
/// refused.
contract ReentrantSigner {
    address private _target;
    bytes private _call;

    function arm(address target, bytes calldata data) external {
        (_target, _call) = (target, data);
    }

    function isValidSignature(bytes32, bytes calldata) external returns (bytes4) {
        (bool done,) = _target.call(_call);
        return done ? bytes4(0xffffffff) : this.isValidSignature.selector;
    }
}

/// @notice Contract account that takes no coins.
contract RefusingAccount {
    error NoCoins();

    receive() external payable {
        revert NoCoins();
    }
}

/// @notice Contract account that burns all gas when it gets coins.
contract GreedyAccount {
    receive() external payable {
        while (true) {}
    }
}

/// @notice Contract account that calls back when it gets coins, and keeps what the call returned.
contract ReentrantAccount {
    address private _target;
    bytes private _call;

    bool public succeeded;
    bytes public result;

    receive() external payable {
        (succeeded, result) = _target.call(_call);
    }

    function arm(address target, bytes calldata data) external {
        (_target, _call) = (target, data);
    }
}
