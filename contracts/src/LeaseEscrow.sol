// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Disputes} from "./escrow/Disputes.sol";
import {Ledger} from "./escrow/Ledger.sol";
import {Stakes} from "./escrow/Stakes.sol";

/// @title Escrow of leases on rented machines
/// @notice Immutable: no proxy, no upgrade, no path of the owner to users' funds. The rules are
/// written in ILeaseEscrow; the parts are Ledger (money in and out), Stakes, Listings, Leases and
/// Disputes.
contract LeaseEscrow is Disputes {
    constructor(
        address owner,
        address treasury,
        address auditPool,
        uint16 feeBps,
        address[] memory tokens,
        uint32 unbondingPeriod
    ) Ledger(owner, treasury, auditPool, feeBps, tokens) Stakes(unbondingPeriod) {}
}
