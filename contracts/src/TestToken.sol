// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

/// @title Test dollar
/// @notice Stands for a dollar token with 6 decimals, permit (EIP-2612) and transfer with
/// authorization (EIP-3009) on development chains. Warning: the minter can make any amount; it is
/// worth nothing.
contract TestToken is ERC20, ERC20Permit, ERC3009 {
    error NotMinter(address caller, address minter);

    address public immutable minter;

    // slither-disable-next-line missing-zero-check: then nobody can mint
    constructor(address minter_)
        ERC20("Gridlease test dollar", "tUSD")
        ERC20Permit("Gridlease test dollar")
    {
        minter = minter_;
    }

    /// @notice Creates `amount` (6 decimals) for `to`; only the minter may.
    function mint(address to, uint256 amount) external {
        if (msg.sender != minter) revert NotMinter(msg.sender, minter);
        _mint(to, amount);
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
