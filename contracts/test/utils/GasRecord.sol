// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {vm} from "./Vm.sol";

/// @notice Keeps the gas of calls in `snapshots`, in the file of the contract that measures.
abstract contract GasRecord {
    event GasUsed(string name, uint256 gas);

    /// @dev The last call's; the name begins with its function.
    function _measure(string memory name) internal returns (uint256 gas) {
        gas = vm.snapshotGasLastCall(name);
        emit GasUsed(name, gas);
    }
}
