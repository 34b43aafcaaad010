// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LeaseBook} from "./LeaseBook.sol";

/// @notice Code that the escrow runs on its own storage, and that does nothing anywhere else.
abstract contract Delegated is LeaseBook {
    address private immutable _self = address(this);

    /// @dev The owner does not matter: it would be read from this contract's storage, which is
    /// never used.
    constructor() LeaseBook(msg.sender) {}

    modifier onlyEscrow() {
        _checkEscrow();
        _;
    }

    function _checkEscrow() private view {
        if (address(this) == _self) revert DirectCall();
    }
}
