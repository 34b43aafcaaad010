// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ArbiterQuorum} from "../ArbiterQuorum.sol";

/// @notice Creates quorums for the registry that made it: their code and the registry's are
/// together larger than one contract may be. What anybody else creates with it, no registry knows.
contract QuorumFactory {
    function create(address escrow, address[] calldata judges, uint256 threshold, uint256 minBond)
        external
        returns (address)
    {
        return address(new ArbiterQuorum(msg.sender, escrow, judges, threshold, minBond));
    }
}
