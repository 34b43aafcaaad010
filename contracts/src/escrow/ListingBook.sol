// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {HomeDomain} from "./HomeDomain.sol";
import {StakeBook} from "./StakeBook.sol";

/// @notice Machines on the market and the operator keys that may sign for them.
abstract contract ListingBook is StakeBook, HomeDomain {
    /// @dev The first slot is all that opening a lease reads: the id itself binds provider, machine
    /// and token.
    struct ListingRecord {
        address operator;
        bool active;
        /// Whether a nonce was ever cancelled; saves most leases a look.
        bool hasCancelled;
        /// Most counted leases at a time; zero for no limit, and no count.
        uint8 capacity;
        uint8 live;
        uint64 serial;
        address provider;
        uint96 maxPricePerHour;
        address token;
        bytes32 machineHash;
        bytes32 hardwareClass;
    }

    uint64 internal _listingCount;
    mapping(bytes32 listingId => ListingRecord) internal _listings;
    /// @dev One bit for each nonce, 256 in a word.
    // slither-disable-next-line uninitialized-state: the extension writes
    mapping(bytes32 listingId => mapping(uint256 word => uint256)) internal _cancelled;

    /// @dev Counted, so that listing a machine again does not revive old terms.
    function _listingIdOf(address provider, address token, bytes32 machineHash, uint64 serial)
        internal
        view
        returns (bytes32)
    {
        return
            keccak256(
                abi.encode(_homeChainId, address(this), provider, token, machineHash, serial)
            );
    }

    /// @dev Nothing comes in on a fork: what was signed for one chain would be taken on both.
    function _checkHome() internal view {
        if (block.chainid != _homeChainId) revert ForeignChain(block.chainid, _homeChainId);
    }

    /// @return isCounted Whether the lease takes one of the listing's places.
    function _useListing(Terms calldata terms) internal returns (bool isCounted) {
        ListingRecord storage listing = _listings[terms.listingId];
        (address operator, bool active, uint64 serial) =
            (listing.operator, listing.active, listing.serial);
        if (!active) revert ListingInactive(terms.listingId);
        if (terms.operator != operator) {
            revert OperatorDiffersFromListing(terms.operator, operator);
        }
        bytes32 derived = _listingIdOf(terms.provider, terms.token, terms.machineHash, serial);
        if (terms.listingId != derived) revert TermsDifferFromListing(terms.listingId, derived);
        if (listing.hasCancelled && _isCancelled(terms.listingId, terms.nonce)) {
            revert NonceIsCancelled(terms.listingId, terms.nonce);
        }
        uint8 capacity = listing.capacity;
        if (capacity == 0) return false;
        uint8 live = listing.live;
        if (live >= capacity) revert ListingFull(terms.listingId, capacity);
        listing.live = live + 1;
        return true;
    }

    function _isCancelled(bytes32 listingId, uint64 nonce) internal view returns (bool) {
        return _cancelled[listingId][nonce >> 8] & (1 << (nonce & 255)) != 0;
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
