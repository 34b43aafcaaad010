// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ledger} from "./Ledger.sol";

/// @notice Providers' deposits, and the bonds of live leases that are locked in them.
/// `locked <= total` and `unbonding <= total` hold at all times.
abstract contract StakeBook is Ledger {
    struct StakeRecord {
        uint120 total;
        uint120 locked;
        /// Whether there is an UnbondRecord; saves most leases a look at it.
        bool isUnbonding;
    }

    struct UnbondRecord {
        uint128 amount;
        uint40 claimableAt;
    }

    mapping(address provider => mapping(address token => StakeRecord)) internal _stakes;
    mapping(address provider => mapping(address token => UnbondRecord)) internal _unbonds;

    function _freeStake(address provider, address token, StakeRecord memory held)
        internal
        view
        returns (uint256)
    {
        uint256 used = held.locked;
        if (held.isUnbonding) used += _unbonds[provider][token].amount;
        // Unbonding stake may itself be what backs the locked bonds, so this can be below zero.
        return held.total > used ? held.total - used : 0;
    }

    function _lockBond(address provider, address token, uint96 bond) internal {
        if (bond == 0) return;
        StakeRecord storage held = _stakes[provider][token];
        uint256 free = _freeStake(provider, token, held);
        if (bond > free) revert FreeStakeTooLow(provider, token, bond, free);
        held.locked += bond;
    }

    function _unlockBond(address provider, address token, uint96 bond) internal {
        if (bond != 0) _stakes[provider][token].locked -= bond;
    }
}
