// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeaseEscrow} from "../interfaces/ILeaseEscrow.sol";
import {Ledger} from "./Ledger.sol";

/// @notice Machines on the market and the operator keys that may sign for them.
abstract contract Listings is Ledger {
    uint256 private constant MAX_DOCUMENT_BYTES = 1024;

    uint256 private _listingCount;
    mapping(bytes32 listingId => Listing) private _listings;

    /// @inheritdoc ILeaseEscrow
    function list(
        bytes32 hardwareClass,
        address token,
        uint96 maxPricePerHour,
        address operator,
        bytes calldata document
    ) external whenNotPaused nonReentrant returns (bytes32 listingId) {
        _checkToken(token);
        if (operator == address(0)) revert AddressMissing();
        if (document.length == 0 || document.length > MAX_DOCUMENT_BYTES) {
            revert DocumentSizeOutOfRange(document.length, MAX_DOCUMENT_BYTES);
        }
        bytes32 machineHash = keccak256(document);
        // Counted, not derived from the machine: listing a machine again must not revive old terms.
        listingId = keccak256(
            abi.encode(block.chainid, address(this), msg.sender, machineHash, ++_listingCount)
        );
        _listings[listingId] = Listing({
            provider: msg.sender,
            active: true,
            token: token,
            operator: operator,
            maxPricePerHour: maxPricePerHour,
            machineHash: machineHash
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

    /// @inheritdoc ILeaseEscrow
    function reprice(bytes32 listingId, uint96 maxPricePerHour) external nonReentrant {
        _ownListing(listingId).maxPricePerHour = maxPricePerHour;
        emit Repriced(listingId, maxPricePerHour);
    }

    /// @inheritdoc ILeaseEscrow
    function delist(bytes32 listingId) external nonReentrant {
        Listing storage listing = _ownListing(listingId);
        if (!listing.active) revert ListingInactive(listingId);
        listing.active = false;
        emit Delisted(listingId);
    }

    /// @inheritdoc ILeaseEscrow
    /// @dev Allowed after `delist` too: live leases may need a new key.
    function setOperator(bytes32 listingId, address operator) external nonReentrant {
        if (operator == address(0)) revert AddressMissing();
        _ownListing(listingId).operator = operator;
        emit OperatorSet(listingId, operator);
    }

    /// @inheritdoc ILeaseEscrow
    function listingOf(bytes32 listingId) external view returns (Listing memory) {
        return _listings[listingId];
    }

    function _ownListing(bytes32 listingId) private view returns (Listing storage listing) {
        listing = _listings[listingId];
        if (msg.sender != listing.provider) {
            revert NotListingProvider(msg.sender, listing.provider);
        }
    }

    function _checkListing(Terms calldata terms) internal view {
        Listing memory listing = _listings[terms.listingId];
        if (!listing.active) revert ListingInactive(terms.listingId);
        if (terms.provider != listing.provider) {
            revert ProviderDiffersFromListing(terms.provider, listing.provider);
        }
        if (terms.operator != listing.operator) {
            revert OperatorDiffersFromListing(terms.operator, listing.operator);
        }
        if (terms.machineHash != listing.machineHash) {
            revert MachineHashDiffersFromListing(terms.machineHash, listing.machineHash);
        }
        if (terms.token != listing.token) {
            revert TokenDiffersFromListing(terms.token, listing.token);
        }
    }

    /// @dev The listing's current operator counts, not the one that signed: a revoked key can do
    /// nothing more.
    function _isProviderSide(Terms calldata terms, address account) internal view returns (bool) {
        return account == terms.provider || account == _listings[terms.listingId].operator;
    }

    function _checkProviderSide(Terms calldata terms) internal view {
        if (!_isProviderSide(terms, msg.sender)) {
            revert NotProviderOrOperator(
                msg.sender, terms.provider, _listings[terms.listingId].operator
            );
        }
    }
}
