// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowExtension} from "../interfaces/IEscrowExtension.sol";
import {Findings} from "./Findings.sol";

/// @notice The owner's few settings, and moving the shares that go where they say.
abstract contract Settings is Findings {
    /// @inheritdoc IEscrowExtension
    // slither-disable-next-line incorrect-equality: nothing to do
    function collect(address token) external onlyEscrow nonReentrant {
        if (_collect(token) == 0) revert AmountMissing();
    }

    /// @inheritdoc IEscrowExtension
    function setFee(uint16 feeBps_) external onlyOwner onlyEscrow {
        _setFee(feeBps_);
    }

    /// @inheritdoc IEscrowExtension
    function setTreasury(address treasury_) external onlyOwner onlyEscrow {
        _collectAll();
        _setTreasury(treasury_);
    }

    /// @inheritdoc IEscrowExtension
    function setAuditPool(address auditPool_) external onlyOwner onlyEscrow {
        _collectAll();
        _setAuditPool(auditPool_);
    }

    /// @inheritdoc IEscrowExtension
    function pause() external onlyOwner onlyEscrow {
        _pause();
    }

    /// @inheritdoc IEscrowExtension
    function unpause() external onlyOwner onlyEscrow {
        _unpause();
    }
}
