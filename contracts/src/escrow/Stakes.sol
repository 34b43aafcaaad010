// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowExtension} from "../interfaces/IEscrowExtension.sol";
import {Listings} from "./Listings.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @notice Providers' deposits: in, out after a period, and slashed.
abstract contract Stakes is Listings {
    using SafeCast for uint256;

    uint32 private constant MAX_UNBONDING = 180 days;

    /// @inheritdoc IEscrowExtension
    uint32 public immutable unbondingPeriod;

    constructor(uint32 unbondingPeriod_) {
        if (unbondingPeriod_ == 0 || unbondingPeriod_ > MAX_UNBONDING) {
            revert UnbondingPeriodOutOfRange(unbondingPeriod_, MAX_UNBONDING);
        }
        unbondingPeriod = unbondingPeriod_;
    }

    /// @inheritdoc IEscrowExtension
    function stake(address token, uint256 amount) external payable onlyEscrow nonReentrant {
        _checkHome();
        _checkToken(token);
        if (amount == 0) revert AmountMissing();
        _stakes[msg.sender][token].total += amount.toUint88();
        emit Staked(msg.sender, token, amount);
        _pull(token, msg.sender, amount);
    }

    /// @inheritdoc IEscrowExtension
    function unbond(address token, uint256 amount) external onlyEscrow nonReentrant {
        if (amount == 0) revert AmountMissing();
        StakeRecord storage held = _stakes[msg.sender][token];
        uint256 available = _freeStake(msg.sender, token, held);
        if (amount > available) revert UnbondTooHigh(amount, available);
        UnbondRecord storage record = _unbonds[msg.sender][token];
        // Cannot lose bits: it is not more than the stake.
        uint88 unbonding = record.amount + uint88(amount);
        uint40 claimableAt = (block.timestamp + unbondingPeriod).toUint40();
        record.amount = unbonding;
        record.claimableAt = claimableAt;
        held.isUnbonding = true;
        emit UnbondStarted(msg.sender, token, amount, unbonding, claimableAt);
    }

    /// @inheritdoc IEscrowExtension
    function claimUnbond(address token) external onlyEscrow nonReentrant {
        UnbondRecord memory record = _unbonds[msg.sender][token];
        if (record.amount == 0) revert NothingUnbonding(msg.sender, token);
        if (block.timestamp < record.claimableAt) {
            revert UnbondingNotOver(block.timestamp, record.claimableAt);
        }
        StakeRecord memory held = _stakes[msg.sender][token];
        held.total -= record.amount;
        held.isUnbonding = false;
        _stakes[msg.sender][token] = held;
        delete _unbonds[msg.sender][token];
        _credit(token, msg.sender, record.amount);
        emit UnbondClaimed(msg.sender, token, record.amount);
    }

    /// @dev Takes a locked bond out of the stake; the caller credits it.
    function _slashBond(address provider, address token, uint96 bond) internal {
        if (bond == 0) return;
        StakeRecord storage held = _stakes[provider][token];
        held.locked -= uint88(bond);
        held.total -= uint88(bond);
        held.slashed = _oneMore(held.slashed);
    }

    /// @dev Takes up to `bond` out of what backs no live lease; the caller credits it.
    function _slashFree(address provider, address token, uint96 bond)
        internal
        returns (uint256 slashed)
    {
        if (bond == 0) return 0;
        StakeRecord storage held = _stakes[provider][token];
        uint88 left = held.total - held.locked;
        slashed = Math.min(bond, left);
        left -= uint88(slashed);
        held.total -= uint88(slashed);
        held.slashed = _oneMore(held.slashed);
        // It reaches what is unbonding as well.
        UnbondRecord storage record = _unbonds[provider][token];
        if (record.amount > left) record.amount = left;
    }
}
