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

/// @notice Gives more than it was asked for.
contract GenerousToken is PlainToken {
    function _move(address from, address to, uint256 amount) internal override returns (bool) {
        balanceOf[from] -= amount;
        balanceOf[to] += amount + 1;
        return true;
    }
}

/// @notice Takes from the receiver when it should give.
contract ThievingToken is PlainToken {
    function _move(address from, address to, uint256 amount) internal override returns (bool) {
        balanceOf[from] += amount;
        if (balanceOf[to] != 0) --balanceOf[to];
        return true;
    }
}

/// @notice Does nothing and says so by `false`.
contract RefusingToken is PlainToken {
    function _move(address, address, uint256) internal pure override returns (bool) {
        return false;
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

/// @notice Refuses to pay one account.
contract DenyingToken is PlainToken {
    error Denied(address account);

    address public denied;

    function deny(address account) external {
        denied = account;
    }

    function _move(address from, address to, uint256 amount) internal override returns (bool) {
        if (to == denied) revert Denied(to);
        return super._move(from, to, amount);
    }
}

/// @notice Calls back while it moves, once, and keeps what the call returned.
contract ReentrantToken is PlainToken {
    address private _target;
    bytes private _call;

    bool public called;
    bool public succeeded;
    bytes public result;

    function arm(address target, bytes calldata data) external {
        (_target, _call) = (target, data);
        called = false;
    }

    function _move(address from, address to, uint256 amount) internal override returns (bool) {
        if (_target != address(0) && !called) {
            called = true;
            (succeeded, result) = _target.call(_call);
        }
        return super._move(from, to, amount);
    }
}
