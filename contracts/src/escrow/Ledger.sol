// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeaseEscrow} from "../interfaces/ILeaseEscrow.sol";
import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {
    ReentrancyGuardTransient
} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// @notice Tokens in, credits, tokens out; and the owner's few settings.
abstract contract Ledger is ILeaseEscrow, Ownable2Step, Pausable, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    uint256 internal constant BPS = 10_000;
    uint16 internal constant MAX_FEE_BPS = 1000;
    uint256 private constant MAX_TOKENS = 16;

    /// @inheritdoc ILeaseEscrow
    uint16 public feeBps;
    /// @inheritdoc ILeaseEscrow
    address public treasury;
    /// @inheritdoc ILeaseEscrow
    address public auditPool;

    address[] private _tokens;
    mapping(address token => bool) private _allowed;
    mapping(address token => mapping(address account => uint256)) private _credits;

    constructor(
        address owner_,
        address treasury_,
        address auditPool_,
        uint16 feeBps_,
        address[] memory tokens
    ) Ownable(owner_) {
        if (tokens.length > MAX_TOKENS) {
            revert TooManyTokens(tokens.length, MAX_TOKENS);
        }
        for (uint256 i = 0; i < tokens.length; ++i) {
            if (tokens[i] == address(0)) revert AddressMissing();
            if (_allowed[tokens[i]]) continue;
            _allowed[tokens[i]] = true;
            _tokens.push(tokens[i]);
            emit TokenAllowed(tokens[i]);
        }
        _setFee(feeBps_);
        _setTreasury(treasury_);
        _setAuditPool(auditPool_);
    }

    // ----------------------------------------------------------------------------------- ledger

    /// @inheritdoc ILeaseEscrow
    function withdrawTo(address token, address account) external nonReentrant {
        _withdraw(token, account, account, _credits[token][account]);
    }

    /// @inheritdoc ILeaseEscrow
    function withdraw(address token, address to, uint256 amount) external nonReentrant {
        // The zero address and this contract are typing errors that would lose the money.
        if (to == address(0) || to == address(this)) revert RecipientNotAllowed(to);
        _withdraw(token, msg.sender, to, amount);
    }

    /// @inheritdoc ILeaseEscrow
    function creditOf(address token, address account) external view returns (uint256) {
        return _credits[token][account];
    }

    /// @inheritdoc ILeaseEscrow
    function allowedTokens() external view returns (address[] memory) {
        return _tokens;
    }

    function _withdraw(address token, address account, address to, uint256 amount) private {
        if (amount == 0) revert AmountMissing();
        uint256 credit = _credits[token][account];
        if (amount > credit) revert CreditTooLow(token, account, amount, credit);
        _credits[token][account] = credit - amount;
        emit Withdrawn(token, account, to, amount);
        IERC20(token).safeTransfer(to, amount);
    }

    function _credit(address token, address account, uint256 amount) internal {
        if (amount != 0) _credits[token][account] += amount;
    }

    /// @dev Credits a payment of `amount`: shares rounded down, the provider gets what is left.
    function _creditPayment(Terms calldata terms, uint256 amount)
        internal
        returns (uint256 toProvider, uint256 toTreasury, uint256 toAuditPool)
    {
        toTreasury = amount * terms.feeBps / BPS;
        toAuditPool = amount * terms.auditBps / BPS;
        toProvider = amount - toTreasury - toAuditPool;
        _credit(terms.token, terms.provider, toProvider);
        _credit(terms.token, treasury, toTreasury);
        _credit(terms.token, auditPool, toAuditPool);
    }

    /// @dev The last step of every function that calls it: nothing is written after the token ran.
    function _pull(address token, address from, uint256 amount) internal {
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(from, address(this), amount);
        uint256 balance = IERC20(token).balanceOf(address(this));
        uint256 received = balance > before ? balance - before : 0;
        if (received != amount) revert ReceivedAmountDiffers(token, amount, received);
    }

    function _checkToken(address token) internal view {
        if (!_allowed[token]) revert TokenNotAllowed(token);
    }

    // ------------------------------------------------------------------------------------ owner

    /// @inheritdoc ILeaseEscrow
    function setFee(uint16 feeBps_) external onlyOwner {
        _setFee(feeBps_);
    }

    /// @inheritdoc ILeaseEscrow
    function setTreasury(address treasury_) external onlyOwner {
        _setTreasury(treasury_);
    }

    /// @inheritdoc ILeaseEscrow
    function setAuditPool(address auditPool_) external onlyOwner {
        _setAuditPool(auditPool_);
    }

    /// @inheritdoc ILeaseEscrow
    function pause() external onlyOwner {
        _pause();
    }

    /// @inheritdoc ILeaseEscrow
    function unpause() external onlyOwner {
        _unpause();
    }

    function _setFee(uint16 feeBps_) private {
        if (feeBps_ > MAX_FEE_BPS) revert FeeTooHigh(feeBps_, MAX_FEE_BPS);
        feeBps = feeBps_;
        emit FeeSet(feeBps_);
    }

    function _setTreasury(address treasury_) private {
        if (treasury_ == address(0)) revert AddressMissing();
        treasury = treasury_;
        emit TreasurySet(treasury_);
    }

    function _setAuditPool(address auditPool_) private {
        if (auditPool_ == address(0)) revert AddressMissing();
        auditPool = auditPool_;
        emit AuditPoolSet(auditPool_);
    }
}
