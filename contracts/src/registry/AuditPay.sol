// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAuditorRegistry} from "../interfaces/IAuditorRegistry.sol";
import {ILeaseEscrow} from "../interfaces/ILeaseEscrow.sol";
import {AuditLedger} from "./AuditLedger.sol";
import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @notice Audit shares from the escrow, paid out under cumulative Merkle roots.
abstract contract AuditPay is AuditLedger, Ownable2Step {
    using SafeCast for uint256;

    uint256 private constant MAX_PAY_DELAY = 30 days;

    /// @inheritdoc IAuditorRegistry
    address public immutable escrow;
    /// @inheritdoc IAuditorRegistry
    uint32 public immutable payDelay;
    /// @inheritdoc IAuditorRegistry
    address public distributor;

    mapping(address token => Pay) private _pay;
    mapping(address token => mapping(address account => uint256)) private _claimed;

    constructor(address owner_, address escrow_, address distributor_, uint32 payDelay_)
        Ownable(owner_)
    {
        if (escrow_ == address(0)) revert AddressMissing();
        if (payDelay_ > MAX_PAY_DELAY) revert PeriodTooLong(payDelay_, MAX_PAY_DELAY);
        escrow = escrow_;
        payDelay = payDelay_;
        _setDistributor(distributor_);
    }

    /// @inheritdoc IAuditorRegistry
    // slither-disable-next-line incorrect-equality: nothing to do
    function collect(address token) external nonReentrant returns (uint256 amount) {
        amount = _collect(token);
        if (amount == 0) revert NothingToCollect(token);
    }

    /// @inheritdoc IAuditorRegistry
    // slither-disable-next-line reentrancy-no-eth: locked, as all that writes
    function postPayRoot(address token, bytes32 root, uint256 total) external nonReentrant {
        if (msg.sender != distributor) revert NotDistributor(msg.sender, distributor);
        if (root == 0) revert PayRootMissing();
        _collect(token);
        _promote(token);
        Pay storage pay = _pay[token];
        if (total < pay.total || total > pay.received) {
            revert PayTotalOutOfRange(total, pay.total, pay.received);
        }
        uint40 countsFrom = (block.timestamp + payDelay).toUint40();
        (pay.nextRoot, pay.nextTotal, pay.countsFrom) = (root, total, countsFrom);
        emit PayRootPosted(token, root, total, countsFrom);
    }

    /// @inheritdoc IAuditorRegistry
    function rejectPayRoot(address token) external onlyOwner nonReentrant {
        _promote(token);
        Pay storage pay = _pay[token];
        bytes32 root = pay.nextRoot;
        if (root == 0) revert NoPayRootWaiting(token);
        (pay.nextRoot, pay.nextTotal, pay.countsFrom) = (0, 0, 0);
        emit PayRootRejected(token, root);
    }

    /// @inheritdoc IAuditorRegistry
    function claimPay(address token, address account, uint256 cumulative, bytes32[] calldata proof)
        external
        nonReentrant
    {
        _promote(token);
        Pay storage pay = _pay[token];
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(token, account, cumulative))));
        if (!MerkleProof.verifyCalldata(proof, pay.root, leaf)) {
            revert PayProofInvalid(token, account, cumulative);
        }
        uint256 claimed = _claimed[token][account];
        if (cumulative <= claimed) revert NothingToClaim(token, account, cumulative, claimed);
        uint256 amount = cumulative - claimed;
        uint256 left = pay.total - pay.claimed;
        if (amount > left) revert PayExhausted(token, amount, left);
        pay.claimed += amount;
        _claimed[token][account] = cumulative;
        _credit(token, account, amount);
        emit PayClaimed(token, account, amount, cumulative);
    }

    /// @inheritdoc IAuditorRegistry
    function setDistributor(address distributor_) external onlyOwner {
        _setDistributor(distributor_);
    }

    /// @inheritdoc IAuditorRegistry
    function payOf(address token) external view returns (Pay memory) {
        return _counted(_pay[token]);
    }

    /// @inheritdoc IAuditorRegistry
    function claimedOf(address token, address account) external view returns (uint256) {
        return _claimed[token][account];
    }

    function _setDistributor(address distributor_) private {
        if (distributor_ == address(0)) revert AddressMissing();
        distributor = distributor_;
        emit DistributorSet(distributor_);
    }

    // slither-disable-next-line incorrect-equality,reentrancy-benign: nothing to do; locked
    function _collect(address token) private returns (uint256 amount) {
        (uint256 fees, uint256 auditShares) = ILeaseEscrow(escrow).accruedOf(token);
        if (fees + auditShares != 0) ILeaseEscrow(escrow).collect(token);
        if (ILeaseEscrow(escrow).creditOf(token, address(this)) != 0) {
            ILeaseEscrow(escrow).withdrawTo(token, address(this));
        }
        amount = _takeSurplus(token);
        if (amount == 0) return 0;
        uint256 received = _pay[token].received + amount;
        _pay[token].received = received;
        emit PayCollected(token, amount, received);
    }

    /// @dev A root that has waited long enough takes the place of the one before.
    function _promote(address token) private {
        Pay memory pay = _pay[token];
        if (pay.nextRoot != 0 && block.timestamp >= pay.countsFrom) _pay[token] = _counted(pay);
    }

    function _counted(Pay memory pay) private view returns (Pay memory) {
        if (pay.nextRoot != 0 && block.timestamp >= pay.countsFrom) {
            (pay.root, pay.total) = (pay.nextRoot, pay.nextTotal);
            (pay.nextRoot, pay.nextTotal, pay.countsFrom) = (0, 0, 0);
        }
        return pay;
    }
}
