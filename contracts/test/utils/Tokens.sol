// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Plain token that its tests deviate from.
contract PlainToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) external virtual returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount)
        external
        virtual
        returns (bool)
    {
        allowance[from][msg.sender] -= amount;
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) internal virtual returns (bool) {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}

/// @notice Keeps one unit of each transfer.
contract FeeToken is PlainToken {
    function _move(address from, address to, uint256 amount) internal override returns (bool) {
        balanceOf[from] -= amount;
        balanceOf[to] += amount - 1;
        return true;
    }
}

/// @notice Takes any permit (EIP-2612) and any authorization (EIP-3009).
contract TrustingToken is PlainToken {
    function permit(
        address owner,
        address spender,
        uint256 value,
        uint256,
        uint8,
        bytes32,
        bytes32
    ) external {
        _onPermit();
        allowance[owner][spender] = value;
    }

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256,
        uint256,
        bytes32,
        uint8,
        bytes32,
        bytes32
    ) external {
        _move(from, to, value);
    }

    function _onPermit() internal virtual {}
}

/// @notice Behaves until it is told how not to.
contract MoodyToken is TrustingToken {
    enum Mood {
        Plain,
        /// Keeps one unit of each transfer.
        Fee,
        /// Gives one unit more than it was asked for.
        Generous,
        /// Takes from the receiver what it should give.
        Thieving,
        /// Does nothing, and says so by `false`.
        ReturnsFalse,
        Paused,
        BurnsGas
    }

    error IsPaused();

    Mood private _mood;

    function setMood(Mood mood) external {
        _mood = mood;
    }

    function _move(address from, address to, uint256 amount) internal override returns (bool) {
        if (_mood == Mood.ReturnsFalse) return false;
        if (_mood == Mood.Paused) revert IsPaused();
        while (_mood == Mood.BurnsGas) {}
        if (_mood == Mood.Thieving) return super._move(to, from, 1);
        balanceOf[from] -= amount;
        if (_mood == Mood.Fee) --amount;
        if (_mood == Mood.Generous) ++amount;
        balanceOf[to] += amount;
        return true;
    }
}

/// @notice Balances change without a transfer.
contract RebasingToken is PlainToken {
    function rebase(address account, uint256 numerator, uint256 denominator) external {
        balanceOf[account] = balanceOf[account] * numerator / denominator;
    }
}

/// @notice Holds amounts of 96 bits, and refuses larger ones, as some voting tokens do.
contract SmallToken is PlainToken {
    error TooLarge(uint256 amount);

    function _move(address from, address to, uint256 amount) internal override returns (bool) {
        if (amount > type(uint96).max) revert TooLarge(amount);
        return super._move(from, to, amount);
    }
}

/// @notice Returns nothing, as some old tokens do.
contract SilentToken {
    mapping(address account => uint256) public balanceOf;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address, uint256) external {}

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @notice Moves nothing to or from one account.
contract DenyingToken is PlainToken {
    error Denied(address account);

    address public denied;

    function deny(address account) external {
        denied = account;
    }

    function _move(address from, address to, uint256 amount) internal override returns (bool) {
        if (to == denied || from == denied) revert Denied(denied);
        return super._move(from, to, amount);
    }
}

/// @notice Calls back while it works, once, and keeps what the call returned.
contract ReentrantToken is TrustingToken {
    address private _target;
    bytes private _call;

    bool public called;
    bool public succeeded;
    bytes public result;

    function arm(address target, bytes calldata data) external {
        (_target, _call) = (target, data);
        called = false;
    }

    function _onPermit() internal override {
        _callBack();
    }

    function _move(address from, address to, uint256 amount) internal override returns (bool) {
        _callBack();
        return super._move(from, to, amount);
    }

    function _callBack() private {
        if (_target == address(0) || called) return;
        called = true;
        (succeeded, result) = _target.call(_call);
    }
}
