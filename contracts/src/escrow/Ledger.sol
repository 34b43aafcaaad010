// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../interfaces/IEscrowTypes.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {
    ReentrancyGuardTransient
} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// @notice Tokens in, and who is owed what. First of the parts whose storage the escrow and its
/// extension share.
abstract contract Ledger is IEscrowTypes, Ownable2Step, Pausable, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev The chain's own coin, where a token is named.
    address internal constant NATIVE = address(0);
    uint256 internal constant BPS = 10_000;
    uint16 internal constant MAX_FEE_BPS = 1000;
    uint256 private constant MAX_TOKENS = 16;

    uint16 internal _feeBps;
    address internal _treasury;
    address internal _auditPool;

    address[] internal _tokens;
    mapping(address token => bool) internal _allowed;
    /// @dev Credit in the low half; in the high one, what the account was paid as a provider for
    /// segments that could be challenged.
    mapping(address token => mapping(address account => uint256)) private _accounts;
    /// @dev Shares that nobody has collected yet: fees in the low half, audit shares in the high.
    mapping(address token => uint256) private _accrued;

    /// @dev Neither half can overflow: that would take 2**32 credits of 2**96, all real tokens of
    /// one kind, or as many payments of such an amount.
    // slither-disable-next-line incorrect-equality: nothing to do
    function _credit(address token, address account, uint256 amount) internal {
        if (amount == 0) return;
        unchecked {
            _accounts[token][account] += amount;
        }
    }

    function _creditOf(address token, address account) internal view returns (uint256) {
        return uint128(_accounts[token][account]);
    }

    function _provedOf(address token, address account) internal view returns (uint256) {
        return _accounts[token][account] >> 128;
    }

    /// @dev Splits a payment of `amount`: shares rounded down, the provider gets what is left. The
    /// shares of all leases meet in one slot; `collect` moves them on.
    /// @param proved Part of `amount` that counts for the provider's reputation.
    function _creditPayment(Terms calldata terms, uint256 amount, uint256 proved)
        internal
        returns (uint256 toProvider, uint256 toTreasury, uint256 toAuditPool)
    {
        // An amount fits in 88 bits, and `open` bounds the two shares: 30 % together at most.
        unchecked {
            toTreasury = amount * terms.feeBps / BPS;
            toAuditPool = amount * terms.auditBps / BPS;
            toProvider = amount - toTreasury - toAuditPool;
        }
        _credit(terms.token, terms.provider, toProvider | proved << 128);
        // Both are less than 2**96: it would take 2**32 payments of a whole such amount, all real
        // tokens of one kind, for one half to reach into the other.
        if (toTreasury + toAuditPool != 0) {
            _accrued[terms.token] += toTreasury | toAuditPool << 128;
        }
    }

    /// @dev For the audit pool: not a part of any payment.
    function _accrueAuditShare(address token, uint256 amount) internal {
        _accrued[token] += amount << 128;
    }

    function _accruedOf(address token) internal view returns (uint256 fees, uint256 auditShares) {
        uint256 packed = _accrued[token];
        return (uint128(packed), packed >> 128);
    }

    /// @dev Credits what has accrued to the two receivers.
    /// @return sum Of both shares; when it is zero, nothing happened.
    // slither-disable-next-line incorrect-equality: nothing to do
    function _collect(address token) internal returns (uint256 sum) {
        (uint256 fees, uint256 auditShares) = _accruedOf(token);
        sum = fees + auditShares;
        if (sum == 0) return 0;
        delete _accrued[token];
        _credit(token, _treasury, fees);
        _credit(token, _auditPool, auditShares);
        emit Collected(token, _treasury, fees, _auditPool, auditShares);
    }

    function _collectAll() internal {
        for (uint256 i = 0; i < _tokens.length; ++i) {
            _collect(_tokens[i]);
        }
    }

    /// @dev The last step of every function that calls it: nothing is written after the token ran.
    function _pull(address token, address from, uint256 amount) internal {
        uint256 value = token == NATIVE ? amount : 0;
        if (msg.value != value) revert ReceivedAmountDiffers(NATIVE, value, msg.value);
        if (token == NATIVE) return;
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(from, address(this), amount);
        _checkReceived(token, before, amount);
    }

    function _checkReceived(address token, uint256 before, uint256 amount) internal view {
        uint256 balance = IERC20(token).balanceOf(address(this));
        uint256 received = balance > before ? balance - before : 0;
        if (received != amount) revert ReceivedAmountDiffers(token, amount, received);
    }

    /// @dev As `_pull`, after what the account has of credit where `source` says so. The account
    /// has consented to either.
    function _take(Source source, address token, address from, uint256 amount) internal {
        if (source == Source.Credit) amount -= _spendCredit(token, from, amount);
        if (amount != 0) _pull(token, from, amount);
    }

    /// @dev Credit alone would let anybody make a call fail, by sending the account its credit.
    // slither-disable-next-line incorrect-equality: nothing to do
    function _spendCredit(address token, address from, uint256 amount)
        private
        returns (uint256 spent)
    {
        uint256 credit = _creditOf(token, from);
        spent = amount < credit ? amount : credit;
        // Coins come with a call only, and out of nobody's allowance.
        if (token == NATIVE && spent != amount) revert CreditTooLow(token, from, amount, credit);
        if (spent == 0) return 0;
        _debit(token, from, spent);
        emit CreditSpent(token, from, spent);
    }

    function _debit(address token, address account, uint256 amount) internal {
        uint256 credit = _creditOf(token, account);
        if (amount > credit) revert CreditTooLow(token, account, amount, credit);
        _accounts[token][account] -= amount;
    }

    function _checkToken(address token) internal view {
        if (!_allowed[token]) revert TokenNotAllowed(token);
    }

    // ---------------------------------------------------------------------------------- settings

    /// @dev For the constructor only: the list never changes.
    function _allowTokens(address[] memory tokens) internal {
        if (tokens.length > MAX_TOKENS) revert TooManyTokens(tokens.length, MAX_TOKENS);
        for (uint256 i = 0; i < tokens.length; ++i) {
            if (_allowed[tokens[i]]) continue;
            _allowed[tokens[i]] = true;
            _tokens.push(tokens[i]);
            emit TokenAllowed(tokens[i]);
        }
    }

    function _setFee(uint16 feeBps) internal {
        if (feeBps > MAX_FEE_BPS) revert FeeTooHigh(feeBps, MAX_FEE_BPS);
        _feeBps = feeBps;
        emit FeeSet(feeBps);
    }

    function _setTreasury(address treasury) internal {
        if (treasury == address(0)) revert AddressMissing();
        _treasury = treasury;
        emit TreasurySet(treasury);
    }

    function _setAuditPool(address auditPool) internal {
        if (auditPool == address(0)) revert AddressMissing();
        _auditPool = auditPool;
        emit AuditPoolSet(auditPool);
    }
}
