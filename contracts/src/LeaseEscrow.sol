// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LeaseEscrowExtension} from "./LeaseEscrowExtension.sol";
import {Leases} from "./escrow/Leases.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {Proxy} from "@openzeppelin/contracts/proxy/Proxy.sol";

/// @title Escrow of leases on rented machines
/// @notice Immutable: no upgrade, no path of the owner to users' funds. The rules are written in
/// ILeaseEscrow. What a lease goes through is here; all else is code of the extension, which this
/// contract makes in its constructor and runs on its own storage: together they are larger than one
/// contract may be.
contract LeaseEscrow is Leases, Proxy {
    // Also in ILeaseEscrow; the address is fixed here for ever.
    address public immutable extension;

    constructor(
        address owner,
        address treasury,
        address auditPool,
        uint16 feeBps,
        address[] memory tokens,
        uint32 unbondingPeriod
    ) Leases(owner) {
        extension = address(new LeaseEscrowExtension(unbondingPeriod));
        _allowTokens(tokens);
        _setFee(feeBps);
        _setTreasury(treasury);
        _setAuditPool(auditPool);
    }

    /// @dev Coins that come without a call belong to nobody.
    receive() external payable {
        revert ReceivedAmountDiffers(address(0), 0, msg.value);
    }

    /// @inheritdoc IERC5267
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        return (hex"0f", NAME, VERSION, _homeChainId, address(this), 0, new uint256[](0));
    }

    function _implementation() internal view override returns (address) {
        return extension;
    }
}
