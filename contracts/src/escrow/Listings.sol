// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowExtension} from "../interfaces/IEscrowExtension.sol";
import {Delegated} from "./Delegated.sol";

/// @notice Putting machines on the market, and taking them off.
abstract contract Listings is Delegated, IEscrowExtension {
    uint256 private constant MAX_DOCUMENT_BYTES = 1024;

    /// @inheritdoc IEscrowExtension
    function list(
        bytes32 hardwareClass,
        address token,
        uint96 maxPricePerHour,
        address operator,
        bytes calldata document
    ) external whenNotPaused onlyEscrow nonReentrant returns (bytes32 listingId) {
        _checkHome();
        _checkToken(token);
        if (operator == address(0)) revert AddressMissing();
        if (document.length == 0 || document.length > MAX_DOCUMENT_BYTES) {
            revert DocumentSizeOutOfRange(document.length, MAX_DOCUMENT_BYTES);
        }
        bytes32 machineHash = keccak256(document);
        uint64 serial = ++_listingCount;
        listingId = _listingIdOf(msg.sender, token, machineHash, serial);
        _listings[listingId] = ListingRecord({
            operator: operator,
            active: true,
            hasCancelled: false,
            capacity: 0,
            live: 0,
            serial: serial,
            provider: msg.sender,
            maxPricePerHour: maxPricePerHour,
            token: token,
            machineHash: machineHash,
            hardwareClass: hardwareClass
        });
        emit Listed(
            listingId,
            msg.sender,
            operator,
            hardwareClass,
            machineHash,
            token,
            maxPricePerHour,
            document
        );
    }

    /// @inheritdoc IEscrowExtension
    function reprice(bytes32 listingId, uint96 maxPricePerHour) external onlyEscrow nonReentrant {
        _ownListing(listingId).maxPricePerHour = maxPricePerHour;
        emit Repriced(listingId, maxPricePerHour);
    }

    /// @inheritdoc IEscrowExtension
    function delist(bytes32 listingId) external onlyEscrow nonReentrant {
        ListingRecord storage listing = _ownListing(listingId);
        if (!listing.active) revert ListingInactive(listingId);
        listing.active = false;
        emit Delisted(listingId);
    }

    /// @inheritdoc IEscrowExtension
    /// @dev Allowed after `delist` too: live leases may need a new key.
    function setOperator(bytes32 listingId, address operator) external onlyEscrow nonReentrant {
        if (operator == address(0)) revert AddressMissing();
        _ownListing(listingId).operator = operator;
        emit OperatorSet(listingId, operator);
    }

    /// @inheritdoc IEscrowExtension
    function setCapacity(bytes32 listingId, uint8 capacity) external onlyEscrow nonReentrant {
        _ownListing(listingId).capacity = capacity;
        emit CapacitySet(listingId, capacity);
    }

    /// @inheritdoc IEscrowExtension
    function cancelNonces(bytes32 listingId, uint256 word, uint256 mask)
        external
        onlyEscrow
        nonReentrant
    {
        _ownListing(listingId).hasCancelled = true;
        _cancelled[listingId][word] |= mask;
        emit NoncesCancelled(listingId, word, mask);
    }

    function _ownListing(bytes32 listingId) private view returns (ListingRecord storage listing) {
        listing = _listings[listingId];
        if (msg.sender != listing.provider) {
            revert NotListingProvider(msg.sender, listing.provider);
        }
    }
}
