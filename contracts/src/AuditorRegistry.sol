// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IArbiterQuorum} from "./interfaces/IArbiterQuorum.sol";
import {IAuditorRegistry} from "./interfaces/IAuditorRegistry.sol";
import {AuditPay} from "./registry/AuditPay.sol";
import {QuorumFactory} from "./registry/QuorumFactory.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title Auditors' and judges' bonds, the record for the draw, and audit pay
/// @notice Immutable: no proxy, no upgrade, no path of anybody to others' bonds but a quorum's
/// verdict. The rules are written in IAuditorRegistry.
contract AuditorRegistry is AuditPay {
    using Checkpoints for Checkpoints.Trace208;
    using SafeCast for uint256;

    uint256 private constant MAX_UNBONDING_PERIOD = 180 days;
    uint256 private constant NO_REPORT_DIVISOR = 10;

    /// @inheritdoc IAuditorRegistry
    address public immutable bondToken;
    /// @inheritdoc IAuditorRegistry
    uint32 public immutable unbondingPeriod;

    QuorumFactory private immutable _factory = new QuorumFactory();

    /// @inheritdoc IAuditorRegistry
    mapping(address account => bool) public isQuorum;

    mapping(address quorum => mapping(address account => Auditor)) private _auditors;
    /// @dev Accounts that ever enrolled in a class, each once, in order.
    mapping(address quorum => mapping(bytes32 hardwareClass => address[])) private _enrolled;
    /// @dev Bond that counts for the draw of a class, by block number.
    mapping(
        address quorum
            => mapping(bytes32 hardwareClass => mapping(address account => Checkpoints.Trace208))
    ) private _bondTrace;
    /// @dev Most that the verdicts on one audit could take so far.
    mapping(bytes32 slashId => uint256) private _slashed;

    constructor(
        address owner,
        address escrow,
        address distributor,
        address bondToken_,
        uint32 unbondingPeriod_,
        uint32 payDelay
    ) AuditPay(owner, escrow, distributor, payDelay) {
        if (bondToken_ == address(0)) revert AddressMissing();
        if (unbondingPeriod_ > MAX_UNBONDING_PERIOD) {
            revert PeriodTooLong(unbondingPeriod_, MAX_UNBONDING_PERIOD);
        }
        bondToken = bondToken_;
        unbondingPeriod = unbondingPeriod_;
    }

    /// @inheritdoc IAuditorRegistry
    // slither-disable-next-line reentrancy-benign: the factory runs no other code
    function createQuorum(address[] calldata judges, uint256 threshold, uint256 minBond)
        external
        nonReentrant
        returns (address quorum)
    {
        quorum = _factory.create(escrow, judges, threshold, minBond);
        isQuorum[quorum] = true;
        emit QuorumCreated(quorum, judges, threshold, minBond);
    }

    // ------------------------------------------------------------------------------------- bonds

    /// @inheritdoc IAuditorRegistry
    function bond(address quorum, uint256 amount) external nonReentrant {
        if (!isQuorum[quorum]) revert QuorumUnknown(quorum);
        if (amount == 0) revert AmountMissing();
        Auditor storage auditor = _auditors[quorum][msg.sender];
        uint128 bonded = auditor.bonded + amount.toUint128();
        auditor.bonded = bonded;
        _record(quorum, msg.sender, auditor);
        emit AuditorBonded(quorum, msg.sender, amount, bonded);
        _pull(bondToken, msg.sender, amount);
    }

    /// @inheritdoc IAuditorRegistry
    function unbond(address quorum, uint256 amount) external nonReentrant {
        if (amount == 0) revert AmountMissing();
        Auditor storage auditor = _auditors[quorum][msg.sender];
        uint128 bonded = auditor.bonded;
        if (amount > bonded) revert UnbondTooHigh(amount, bonded);
        bonded -= amount.toUint128();
        uint128 unbonding = auditor.unbonding + amount.toUint128();
        uint40 claimableAt = (block.timestamp + unbondingPeriod).toUint40();
        (auditor.bonded, auditor.unbonding, auditor.claimableAt) = (bonded, unbonding, claimableAt);
        _record(quorum, msg.sender, auditor);
        emit AuditorUnbondStarted(quorum, msg.sender, amount, bonded, unbonding, claimableAt);
    }

    /// @inheritdoc IAuditorRegistry
    function claimUnbond(address quorum) external nonReentrant {
        Auditor storage auditor = _auditors[quorum][msg.sender];
        uint128 amount = auditor.unbonding;
        if (amount == 0) revert NothingUnbonding(quorum, msg.sender);
        if (block.timestamp < auditor.claimableAt) {
            revert UnbondingNotOver(block.timestamp, auditor.claimableAt);
        }
        (auditor.unbonding, auditor.claimableAt) = (0, 0);
        _credit(bondToken, msg.sender, amount);
        emit AuditorUnbonded(quorum, msg.sender, amount);
    }

    /// @inheritdoc IAuditorRegistry
    // slither-disable-next-line unused-return: what was pushed before has no use
    function enroll(address quorum, bytes32 hardwareClass, bytes32 encryptionKey)
        external
        nonReentrant
    {
        if (!isQuorum[quorum]) revert QuorumUnknown(quorum);
        if (hardwareClass == 0) revert HardwareClassMissing();
        if (encryptionKey == 0) revert EncryptionKeyMissing();
        Auditor storage auditor = _auditors[quorum][msg.sender];
        // Without it, the lists that every draw reads could be filled for the price of gas.
        if (!isBonded(quorum, msg.sender)) {
            revert BondTooLow(msg.sender, auditor.bonded, IArbiterQuorum(quorum).minBond());
        }
        bytes32 left = auditor.hardwareClass;
        if (left != 0 && left != hardwareClass) {
            _bondTrace[quorum][left][msg.sender].push(_blockNumber(), 0);
        }
        (auditor.hardwareClass, auditor.encryptionKey) = (hardwareClass, encryptionKey);
        if (_bondTrace[quorum][hardwareClass][msg.sender].length() == 0) {
            _enrolled[quorum][hardwareClass].push(msg.sender);
        }
        _record(quorum, msg.sender, auditor);
        emit AuditorEnrolled(quorum, msg.sender, hardwareClass, encryptionKey);
    }

    /// @inheritdoc IAuditorRegistry
    function slash(
        address account,
        bytes32 leaseId,
        uint16 segment,
        AuditFault fault,
        address renter
    ) external nonReentrant {
        if (!isQuorum[msg.sender]) revert NotQuorum(msg.sender);
        bytes32 slashId = keccak256(abi.encode(msg.sender, account, leaseId, segment));
        (uint256 most, uint256 before) = (slashOf(msg.sender, fault), _slashed[slashId]);
        // Who was silent first and lied then loses what the lie costs, and not more.
        if (before != 0 && before >= most) revert AlreadySlashed(account, leaseId, segment);
        _slashed[slashId] = most;
        Auditor storage auditor = _auditors[msg.sender][account];
        (uint128 bonded, uint128 unbonding) = (auditor.bonded, auditor.unbonding);
        uint256 amount = Math.min(most - before, uint256(bonded) + unbonding);
        if (amount == 0) revert NothingToSlash(msg.sender, account);
        // Neither loses bits: each part is at most what it is taken from.
        uint128 first = uint128(Math.min(amount, bonded));
        bonded -= first;
        unbonding -= uint128(amount) - first;
        (auditor.bonded, auditor.unbonding) = (bonded, unbonding);
        _record(msg.sender, account, auditor);
        _credit(bondToken, renter, amount);
        emit AuditorSlashed(
            msg.sender, account, leaseId, segment, fault, renter, amount, bonded, unbonding
        );
    }

    // ------------------------------------------------------------------------------------- views

    /// @inheritdoc IAuditorRegistry
    function auditorOf(address quorum, address account) external view returns (Auditor memory) {
        return _auditors[quorum][account];
    }

    /// @inheritdoc IAuditorRegistry
    function isBonded(address quorum, address account) public view returns (bool) {
        return _auditors[quorum][account].bonded >= IArbiterQuorum(quorum).minBond();
    }

    /// @inheritdoc IAuditorRegistry
    function bondAt(address quorum, bytes32 hardwareClass, address account, uint256 blockNumber)
        external
        view
        returns (uint256)
    {
        return _bondTrace[quorum][hardwareClass][account].upperLookupRecent(_past(blockNumber));
    }

    /// @inheritdoc IAuditorRegistry
    function auditorsAt(
        address quorum,
        bytes32 hardwareClass,
        uint256 blockNumber,
        uint256 first,
        uint256 count
    ) external view returns (address[] memory auditors, uint256[] memory bonds) {
        uint48 key = _past(blockNumber);
        address[] storage enrolled = _enrolled[quorum][hardwareClass];
        uint256 end = Math.min(enrolled.length, Math.saturatingAdd(first, count));
        uint256 size = first < end ? end - first : 0;
        (auditors, bonds) = (new address[](size), new uint256[](size));
        uint256 least = IArbiterQuorum(quorum).minBond();
        uint256 found;
        for (uint256 i = first; i < end; ++i) {
            address account = enrolled[i];
            uint256 bonded = _bondTrace[quorum][hardwareClass][account].upperLookupRecent(key);
            if (bonded < least) continue;
            (auditors[found], bonds[found]) = (account, bonded);
            ++found;
        }
        // Shortens both arrays to what was found; the language has no other way.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(auditors, found)
            mstore(bonds, found)
        }
    }

    /// @inheritdoc IAuditorRegistry
    function numEnrolled(address quorum, bytes32 hardwareClass) external view returns (uint256) {
        return _enrolled[quorum][hardwareClass].length;
    }

    /// @inheritdoc IAuditorRegistry
    function slashOf(address quorum, AuditFault fault) public view returns (uint256) {
        uint256 minBond = IArbiterQuorum(quorum).minBond();
        return fault == AuditFault.WrongReport ? minBond : minBond / NO_REPORT_DIVISOR;
    }

    // ------------------------------------------------------------------------------------- record

    /// @dev Writes what counts for the draw from the end of this block on.
    // slither-disable-next-line unused-return: what was pushed before has no use
    function _record(address quorum, address account, Auditor storage auditor) private {
        bytes32 hardwareClass = auditor.hardwareClass;
        if (hardwareClass == 0) return;
        _bondTrace[quorum][hardwareClass][account].push(_blockNumber(), auditor.bonded);
    }

    function _blockNumber() private view returns (uint48) {
        return block.number.toUint48();
    }

    function _past(uint256 blockNumber) private view returns (uint48) {
        if (blockNumber >= block.number) revert BlockNotPast(blockNumber, block.number);
        return uint48(blockNumber);
    }
}
