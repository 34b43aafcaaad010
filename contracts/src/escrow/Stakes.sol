// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeaseEscrow} from "../interfaces/ILeaseEscrow.sol";
import {Ledger} from "./Ledger.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @notice Providers' deposits, and the bonds of live leases that are locked in them.
/// `locked <= total` and `unbonding <= total` hold at all times.
abstract contract Stakes is Ledger {
    using SafeCast for uint256;

    struct StakeRecord {
        uint128 total;
        uint128 locked;
    }

    struct UnbondRecord {
        uint128 amount;
        uint40 claimableAt;
    }

    /// @inheritdoc ILeaseEscrow
    uint32 public immutable unbondingPeriod;

    mapping(address provider => mapping(address token => StakeRecord)) private _stakes;
    mapping(address provider => mapping(address token => UnbondRecord)) private _unbonds;

    constructor(uint32 unbondingPeriod_) {
        unbondingPeriod = unbondingPeriod_;
    }

    /// @inheritdoc ILeaseEscrow
    function stake(address token, uint256 amount) external nonReentrant {
        _checkToken(token);
        if (amount == 0) revert AmountMissing();
        _stakes[msg.sender][token].total += amount.toUint128();
        emit Staked(msg.sender, token, amount);
        _pull(token, msg.sender, amount);
    }

    /// @inheritdoc ILeaseEscrow
    function unbond(address token, uint256 amount) external nonReentrant {
        if (amount == 0) revert AmountMissing();
        UnbondRecord storage record = _unbonds[msg.sender][token];
        uint256 available = _stakes[msg.sender][token].total - record.amount;
        if (amount > available) revert UnbondTooHigh(amount, available);
        uint128 unbonding = record.amount + amount.toUint128();
        uint40 claimableAt = (block.timestamp + unbondingPeriod).toUint40();
        record.amount = unbonding;
        record.claimableAt = claimableAt;
        emit UnbondStarted(msg.sender, token, amount, unbonding, claimableAt);
    }

    /// @inheritdoc ILeaseEscrow
    function claimUnbond(address token) external nonReentrant {
        UnbondRecord memory record = _unbonds[msg.sender][token];
        if (record.amount == 0) revert NothingUnbonding(msg.sender, token);
        if (block.timestamp < record.claimableAt) {
            revert UnbondingNotOver(block.timestamp, record.claimableAt);
        }
        StakeRecord memory held = _stakes[msg.sender][token];
        uint128 remaining = held.total - record.amount;
        if (remaining < held.locked) revert StakeLocked(held.locked, remaining);
        _stakes[msg.sender][token].total = remaining;
        delete _unbonds[msg.sender][token];
        _credit(token, msg.sender, record.amount);
        emit UnbondClaimed(msg.sender, token, record.amount);
    }

    /// @inheritdoc ILeaseEscrow
    function stakeOf(address provider, address token)
        external
        view
        returns (uint256 total, uint256 locked, uint256 unbonding, uint40 claimableAt)
    {
        StakeRecord memory held = _stakes[provider][token];
        UnbondRecord memory record = _unbonds[provider][token];
        return (held.total, held.locked, record.amount, record.claimableAt);
    }

    /// @inheritdoc ILeaseEscrow
    function freeStakeOf(address provider, address token) public view returns (uint256) {
        StakeRecord memory held = _stakes[provider][token];
        // Unbonding stake may itself be what backs the locked bonds, so this can be below zero.
        uint256 used = uint256(held.locked) + _unbonds[provider][token].amount;
        return held.total > used ? held.total - used : 0;
    }

    function _lockBond(address provider, address token, uint96 bond) internal {
        if (bond == 0) return;
        uint256 free = freeStakeOf(provider, token);
        if (bond > free) revert FreeStakeTooLow(provider, token, bond, free);
        _stakes[provider][token].locked += bond;
    }

    function _unlockBond(address provider, address token, uint96 bond) internal {
        if (bond != 0) _stakes[provider][token].locked -= bond;
    }

    /// @dev Takes a locked bond out of the stake; the caller credits it. What stays may be less
    /// than what was unbonding: the slash reaches that part as well.
    function _slashBond(address provider, address token, uint96 bond) internal {
        StakeRecord storage held = _stakes[provider][token];
        uint128 remaining = held.total - bond;
        held.total = remaining;
        held.locked -= bond;
        UnbondRecord storage record = _unbonds[provider][token];
        if (record.amount > remaining) record.amount = remaining;
    }
}
