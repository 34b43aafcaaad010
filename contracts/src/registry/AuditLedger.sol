// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAuditorRegistry} from "../interfaces/IAuditorRegistry.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {
    ReentrancyGuardTransient
} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// @notice Tokens in, credits, tokens out. The zero address is the chain's native coin.
abstract contract AuditLedger is IAuditorRegistry, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev All that this contract owes in a token: bonds, credits and unclaimed pay.
    mapping(address token => uint256) private _owed;
    mapping(address token => mapping(address account => uint256)) private _credits;

    /// @notice Native coins from the escrow's ledger; `collect` takes them in.
    receive() external payable {}

    /// @inheritdoc IAuditorRegistry
    function withdrawTo(address token, address account) external nonReentrant {
        _withdraw(token, account, account, _credits[token][account]);
    }

    /// @inheritdoc IAuditorRegistry
    function withdraw(address token, address to, uint256 amount) external nonReentrant {
        // The zero address and this contract are typing errors that would lose the money.
        if (to == address(0) || to == address(this)) revert RecipientNotAllowed(to);
        _withdraw(token, msg.sender, to, amount);
    }

    /// @inheritdoc IAuditorRegistry
    function creditOf(address token, address account) external view returns (uint256) {
        return _credits[token][account];
    }

    function _withdraw(address token, address account, address to, uint256 amount) private {
        if (amount == 0) revert AmountMissing();
        uint256 credit = _credits[token][account];
        if (amount > credit) revert CreditTooLow(token, account, amount, credit);
        _credits[token][account] = credit - amount;
        _owed[token] -= amount;
        emit CreditWithdrawn(token, account, to, amount);
        if (token == address(0)) Address.sendValue(payable(to), amount);
        else IERC20(token).safeTransfer(to, amount);
    }

    /// @dev Moves what is owed already (a bond, pay) to an account; the caller took it from there.
    function _credit(address token, address account, uint256 amount) internal {
        _credits[token][account] += amount;
    }

    /// @dev The last step of every function that calls it: nothing is written after the token ran.
    function _pull(address token, address from, uint256 amount) internal {
        _owed[token] += amount;
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(from, address(this), amount);
        uint256 balance = IERC20(token).balanceOf(address(this));
        uint256 received = balance > before ? balance - before : 0;
        if (received != amount) revert ReceivedAmountDiffers(token, amount, received);
    }

    /// @dev Counts as owed whatever the contract holds above that; returns how much it was.
    function _takeSurplus(address token) internal returns (uint256 surplus) {
        uint256 balance =
            token == address(0) ? address(this).balance : IERC20(token).balanceOf(address(this));
        uint256 owed = _owed[token];
        if (balance <= owed) return 0;
        _owed[token] = balance;
        return balance - owed;
    }
}
