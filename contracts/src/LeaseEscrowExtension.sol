// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Stakes} from "./escrow/Stakes.sol";
import {Views} from "./escrow/Views.sol";

/// @title Second half of the escrow's code
/// @notice Made by the escrow and run by it, on the escrow's storage, for every function that the
/// escrow itself does not have. It holds nothing and refuses to be called directly.
// slither-disable-next-line locked-ether: it is the escrow that holds and sends
contract LeaseEscrowExtension is Views {
    constructor(uint32 unbondingPeriod) Stakes(unbondingPeriod) {}
}
