// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowExtension} from "../interfaces/IEscrowExtension.sol";
import {LeaseTypes} from "./LeaseTypes.sol";
import {Settings} from "./Settings.sol";

/// @notice Taking back an order that others could still use.
abstract contract Orders is Settings {
    /// @inheritdoc IEscrowExtension
    function revokeOrder(Order calldata order, bytes calldata signature)
        external
        onlyEscrow
        nonReentrant
    {
        bytes32 digest = _orderDigest(order);
        if (msg.sender != order.renter) {
            _checkSignature(order.renter, revocationDigest(digest), signature);
        }
        if (_orders[digest].isRevoked) revert OrderIsRevoked(digest);
        _orders[digest].isRevoked = true;
        emit OrderRevoked(digest, order.renter);
    }

    /// @inheritdoc IEscrowExtension
    function orderDigest(Order calldata order) external view returns (bytes32) {
        return _orderDigest(order);
    }

    /// @inheritdoc IEscrowExtension
    function revocationDigest(bytes32 order) public view returns (bytes32) {
        return _hashTypedDataV4(LeaseTypes.hashRevocation(order));
    }

    /// @inheritdoc IEscrowExtension
    function openingDigest(bytes32 leaseId, Source source, uint96 relayFee)
        external
        view
        returns (bytes32)
    {
        return _openingDigest(leaseId, source, relayFee);
    }

    /// @inheritdoc IEscrowExtension
    function stopDigest(bytes32 leaseId) external view returns (bytes32) {
        return _stopDigest(leaseId);
    }

    /// @inheritdoc IEscrowExtension
    function challengeDigest(
        bytes32 leaseId,
        bytes32 root,
        uint16 segment,
        Source source,
        uint40 expiresAt,
        uint64 nonce
    ) external view returns (bytes32) {
        return _hashTypedDataV4(
            LeaseTypes.hashChallenge(leaseId, root, segment, source, expiresAt, nonce)
        );
    }

    /// @inheritdoc IEscrowExtension
    function orderUseOf(bytes32 order)
        external
        view
        returns (uint256 spent, uint256 segments, bool isRevoked)
    {
        OrderUse memory used = _orders[order];
        return (used.spent, used.segments, used.isRevoked);
    }

    /// @inheritdoc IEscrowExtension
    function isCancelled(bytes32 listingId, uint64 nonce) external view returns (bool) {
        return _isCancelled(listingId, nonce);
    }
}
