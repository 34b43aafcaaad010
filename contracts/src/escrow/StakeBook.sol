// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ledger} from "./Ledger.sol";

/// @notice Providers' deposits, and the bonds of live leases that are locked in them.
/// `locked + unbonding <= total` holds at all times: what backs a live lease is not on its way out.
abstract contract StakeBook is Ledger {
    struct StakeRecord {
        uint88 total;
        uint88 locked;
        /// Whether there can be a ClaimRecord; saves most leases a look at it.
        bool isClaimed;
        /// Leases with a bond that were paid to the end, and that the provider did not carry out.
        /// These counters stop at the highest number.
        uint24 completed;
        uint24 lost;
        /// Times that a bond was slashed.
        uint24 slashed;
    }

    /// @dev What can back no new lease.
    struct ClaimRecord {
        /// On its way out, from `claimableAt` on.
        uint88 unbonding;
        uint40 claimableAt;
        /// What late rulings have still to take; can be more than there is.
        uint128 owed;
    }

    mapping(address provider => mapping(address token => StakeRecord)) internal _stakes;
    // slither-disable-next-line uninitialized-state: the extension writes
    mapping(address provider => mapping(address token => ClaimRecord)) internal _claims;

    function _freeStake(address provider, address token, StakeRecord memory held)
        internal
        view
        returns (uint256)
    {
        uint256 free = held.total - held.locked;
        if (!held.isClaimed) return free;
        ClaimRecord memory claims = _claims[provider][token];
        free -= claims.unbonding;
        return free > claims.owed ? free - claims.owed : 0;
    }

    function _lockBond(address provider, address token, uint96 bond) internal {
        if (bond == 0) return;
        StakeRecord storage held = _stakes[provider][token];
        uint256 free = _freeStake(provider, token, held);
        if (bond > free) revert FreeStakeTooLow(provider, token, bond, free);
        // Cannot lose bits: it is not more than the stake.
        held.locked += uint88(bond);
    }

    /// @dev A lease without a bond counts for nothing: it would cost nothing to have many.
    function _unlockBond(address provider, address token, uint96 bond, CloseCause cause) internal {
        if (bond == 0) return;
        StakeRecord storage held = _stakes[provider][token];
        // Cannot go below zero: the bond was locked when the lease was opened, and is freed once.
        unchecked {
            held.locked -= uint88(bond);
        }
        if (cause == CloseCause.Completed) held.completed = _oneMore(held.completed);
        else if (_isLost(cause)) held.lost = _oneMore(held.lost);
    }

    function _isLost(CloseCause cause) private pure returns (bool) {
        return cause == CloseCause.NeverCommitted || cause == CloseCause.AcceptanceFailed
            || cause == CloseCause.Unretrievable;
    }

    function _oneMore(uint24 count) internal pure returns (uint24) {
        return count == type(uint24).max ? count : count + 1;
    }
}
