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
        ClaimRecord storage claims = _claims[msg.sender][token];
        // Cannot lose bits: it is not more than the stake.
        uint88 unbonding = claims.unbonding + uint88(amount);
        uint40 claimableAt = (block.timestamp + unbondingPeriod).toUint40();
        claims.unbonding = unbonding;
        claims.claimableAt = claimableAt;
        held.isClaimed = true;
        emit UnbondStarted(msg.sender, token, amount, unbonding, claimableAt);
    }

    /// @inheritdoc IEscrowExtension
    function claimUnbond(address token) external onlyEscrow nonReentrant {
        ClaimRecord memory claims = _claims[msg.sender][token];
        if (claims.unbonding == 0) revert NothingUnbonding(msg.sender, token);
        if (block.timestamp < claims.claimableAt) {
            revert UnbondingNotOver(block.timestamp, claims.claimableAt);
        }
        if (claims.owed != 0) revert LateDebt(msg.sender, token, claims.owed);
        StakeRecord memory held = _stakes[msg.sender][token];
        held.total -= claims.unbonding;
        held.isClaimed = false;
        _stakes[msg.sender][token] = held;
        delete _claims[msg.sender][token];
        _credit(token, msg.sender, claims.unbonding);
        emit UnbondClaimed(msg.sender, token, claims.unbonding);
    }

    /// @dev Takes a locked bond out of the stake; the caller credits it.
    function _slashBond(address provider, address token, uint96 bond) internal {
        if (bond == 0) return;
        StakeRecord storage held = _stakes[provider][token];
        held.locked -= uint88(bond);
        held.total -= uint88(bond);
        _countSlash(provider, token);
    }

    function _countSlash(address provider, address token) internal {
        StakeRecord storage held = _stakes[provider][token];
        held.slashed = _oneMore(held.slashed);
    }

    /// @dev The bond, but not more than what is staked and owed to nobody yet: what there is not
    /// cannot have been locked in front of the ruling, and a debt of it would take stake that is
    /// added in good faith.
    function _lateDue(Terms calldata terms) internal view returns (uint256) {
        StakeRecord storage held = _stakes[terms.provider][terms.token];
        uint256 owed = _claims[terms.provider][terms.token].owed;
        return Math.min(terms.bond, held.total - Math.min(held.locked, owed));
    }

    /// @dev Takes what backs no live lease, up to `due`, for the renter. The rest stays owed: else
    /// it would be enough to have the stake locked at that moment.
    function _takeLate(bytes32 leaseId, Terms calldata terms, uint256 due)
        internal
        returns (uint256 taken, uint256 owed)
    {
        StakeRecord storage held = _stakes[terms.provider][terms.token];
        ClaimRecord storage claims = _claims[terms.provider][terms.token];
        // None goes below zero: locked is within the stake, and the provider owes at least what it
        // owes for this lease. No sum of bonds, each of them once staked, comes near 2**128.
        unchecked {
            uint88 left = held.total - held.locked;
            taken = Math.min(due, left);
            owed = due - taken;
            left -= uint88(taken);
            held.total -= uint88(taken);
            // It reaches what is unbonding as well.
            if (claims.unbonding > left) claims.unbonding = left;
            claims.owed = uint128(claims.owed + owed - _owed[leaseId]);
        }
        _owed[leaseId] = owed;
        if (owed != 0) held.isClaimed = true;
        _credit(terms.token, terms.renter, taken);
    }
}
