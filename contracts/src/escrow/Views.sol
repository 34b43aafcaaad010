// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowExtension} from "../interfaces/IEscrowExtension.sol";
import {Orders} from "./Orders.sol";

/// @notice What can be read.
abstract contract Views is Orders {
    /// @inheritdoc IEscrowExtension
    function leaseIdOf(Terms calldata terms) external view returns (bytes32) {
        return _leaseIdOf(terms);
    }

    /// @inheritdoc IEscrowExtension
    function voucherDigest(bytes32 leaseId, uint16 segments) external view returns (bytes32) {
        return _voucherDigest(leaseId, segments);
    }

    /// @inheritdoc IEscrowExtension
    function leaseOf(bytes32 leaseId) external view returns (Lease memory) {
        Progress memory lease = _load(leaseId);
        return Lease({
            status: lease.status,
            paid: lease.paid,
            pending: lease.pending,
            openedAt: lease.openedAt,
            committedAt: lease.committedAt,
            stoppedAt: lease.stoppedAt,
            escrow: lease.escrow,
            root: _roots[leaseId],
            isUnretrievable: lease.flags & UNRETRIEVABLE != 0
        });
    }

    /// @inheritdoc IEscrowExtension
    function disputeOf(bytes32 leaseId) external view returns (Dispute memory) {
        return _disputes[leaseId];
    }

    /// @inheritdoc IEscrowExtension
    function listingOf(bytes32 listingId) external view returns (Listing memory) {
        ListingRecord memory listing = _listings[listingId];
        return Listing({
            provider: listing.provider,
            active: listing.active,
            token: listing.token,
            operator: listing.operator,
            maxPricePerHour: listing.maxPricePerHour,
            machineHash: listing.machineHash,
            hardwareClass: listing.hardwareClass,
            capacity: listing.capacity,
            live: listing.live
        });
    }

    /// @inheritdoc IEscrowExtension
    function stakeOf(address provider, address token)
        external
        view
        returns (
            uint256 total,
            uint256 locked,
            uint256 unbonding,
            uint40 claimableAt,
            uint256 owed
        )
    {
        StakeRecord memory held = _stakes[provider][token];
        ClaimRecord memory claims = _claims[provider][token];
        return (held.total, held.locked, claims.unbonding, claims.claimableAt, claims.owed);
    }

    /// @inheritdoc IEscrowExtension
    function freeStakeOf(address provider, address token) external view returns (uint256) {
        return _freeStake(provider, token, _stakes[provider][token]);
    }

    /// @inheritdoc IEscrowExtension
    function owedOf(bytes32 leaseId) external view returns (uint256) {
        return _owed[leaseId];
    }

    /// @inheritdoc IEscrowExtension
    function creditOf(address token, address account) external view returns (uint256) {
        return _creditOf(token, account);
    }

    /// @inheritdoc IEscrowExtension
    function reputationOf(address provider, address token)
        external
        view
        returns (uint256 proved, uint256 completed, uint256 lost, uint256 slashed)
    {
        StakeRecord memory held = _stakes[provider][token];
        return (_provedOf(token, provider), held.completed, held.lost, held.slashed);
    }

    /// @inheritdoc IEscrowExtension
    function accruedOf(address token) external view returns (uint256 fees, uint256 auditShares) {
        return _accruedOf(token);
    }

    /// @inheritdoc IEscrowExtension
    function allowedTokens() external view returns (address[] memory) {
        return _tokens;
    }

    /// @inheritdoc IEscrowExtension
    function feeBps() external view returns (uint16) {
        return _feeBps;
    }

    /// @inheritdoc IEscrowExtension
    function treasury() external view returns (address) {
        return _treasury;
    }

    /// @inheritdoc IEscrowExtension
    function auditPool() external view returns (address) {
        return _auditPool;
    }
}
