// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LeaseTypes} from "./LeaseTypes.sol";
import {ListingBook} from "./ListingBook.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @notice Records, clocks and payments of leases. Last of the parts whose storage the escrow and
/// its extension share: what derives from it declares no storage of its own.
abstract contract LeaseBook is ListingBook {
    // Compared are counters, statuses, and whether a time is on record; never a balance.
    // slither-disable-start incorrect-equality
    using LeaseTypes for Terms;

    /// @dev All of a lease but its root: 256 bits.
    struct Progress {
        LeaseStatus status;
        uint16 paid;
        uint16 pending;
        uint40 openedAt;
        uint40 committedAt;
        uint40 stoppedAt;
        uint88 escrow;
        uint8 flags;
    }

    /// @dev What leases have used of one order.
    struct OrderUse {
        uint96 spent;
        uint16 segments;
        bool isRevoked;
    }

    /// @dev Flag of a lease: it is one of its listing's `live` leases.
    uint8 internal constant COUNTED = 1;
    /// @dev Flag of a lease: it was opened under an order, which gets back what it does not use.
    uint8 internal constant ORDERED = 2;
    /// @dev Flag of a lease: checkpoints could not be fetched, so nothing more is committed.
    uint8 internal constant UNRETRIEVABLE = 4;
    /// @dev Flag of a closed lease: fraud was ruled, which happens once.
    uint8 internal constant PROVEN = 8;

    /// @dev Progress, packed by `_store`.
    mapping(bytes32 leaseId => uint256) private _progress;
    // slither-disable-next-line uninitialized-state: the escrow writes
    mapping(bytes32 leaseId => bytes32) internal _roots;
    // slither-disable-next-line uninitialized-state: the extension writes
    mapping(bytes32 leaseId => Dispute) internal _disputes;
    mapping(bytes32 orderDigest => OrderUse) internal _orders;
    /// @dev Order under which somebody else opened the lease for its renter; empty again once
    /// another lease of the order continues it.
    // slither-disable-next-line uninitialized-state: the escrow writes
    mapping(bytes32 leaseId => bytes32 orderDigest) internal _orderOf;
    /// @dev What a late ruling has still to take.
    mapping(bytes32 leaseId => uint256) internal _owed;
    /// @dev Consents that could otherwise be used again.
    mapping(bytes32 digest => bool) internal _used;

    constructor(address owner) Ownable(owner) {}

    // ---------------------------------------------------------------------------------- storage

    /// @dev One read, and one write below: the compiler would touch the slot once a field.
    function _load(bytes32 leaseId) internal view returns (Progress memory lease) {
        uint256 word = _progress[leaseId];
        lease.status = LeaseStatus(uint8(word));
        lease.paid = uint16(word >> 8);
        lease.pending = uint16(word >> 24);
        lease.openedAt = uint40(word >> 40);
        lease.committedAt = uint40(word >> 80);
        lease.stoppedAt = uint40(word >> 120);
        lease.escrow = uint88(word >> 160);
        lease.flags = uint8(word >> 248);
    }

    function _store(bytes32 leaseId, Progress memory lease) internal {
        _progress[leaseId] = uint256(lease.status) | uint256(lease.paid) << 8
            | uint256(lease.pending) << 24 | uint256(lease.openedAt) << 40
            | uint256(lease.committedAt) << 80 | uint256(lease.stoppedAt) << 120
            | uint256(lease.escrow) << 160 | uint256(lease.flags) << 248;
    }

    // --------------------------------------------------------------------------------- payments

    /// @dev Pays segments up to `upTo` out of escrow. The caller stores `lease`.
    function _pay(bytes32 leaseId, Terms calldata terms, Progress memory lease, uint16 upTo)
        internal
    {
        uint256 amount = uint256(terms.pricePerSegment) * (upTo - lease.paid);
        lease.paid = upTo;
        // Cannot lose bits: escrow holds the price of every unpaid segment.
        lease.escrow -= uint88(amount);
        (uint256 toProvider, uint256 toTreasury, uint256 toAuditPool) =
            _creditPayment(terms, amount, terms.window == 0 ? 0 : amount);
        emit Settled(leaseId, upTo, toProvider, toTreasury, toAuditPool);
    }

    /// @dev Refunds what is left in escrow and frees the bond.
    function _close(bytes32 leaseId, Terms calldata terms, Progress memory lease, CloseCause cause)
        internal
    {
        _unlockBond(terms.provider, terms.token, terms.bond, cause);
        _closeWithoutBond(leaseId, terms, lease, cause);
    }

    function _closeWithoutBond(
        bytes32 leaseId,
        Terms calldata terms,
        Progress memory lease,
        CloseCause cause
    ) internal {
        if (lease.flags & COUNTED != 0) --_listings[terms.listingId].live;
        if (lease.flags & ORDERED != 0) _returnUnused(leaseId, terms, lease);
        uint256 refund = lease.escrow;
        lease.escrow = 0;
        lease.status = LeaseStatus.Closed;
        _store(leaseId, lease);
        _credit(terms.token, terms.renter, refund);
        emit Closed(leaseId, cause, lease.paid, refund);
    }

    /// @dev An order can be used again for what its closed leases did not use: otherwise a few
    /// leases that fail would use it up.
    function _returnUnused(bytes32 leaseId, Terms calldata terms, Progress memory lease) private {
        if (lease.paid == terms.segments) return;
        bytes32 digest = _orderOf[leaseId];
        OrderUse memory used = _orders[digest];
        // Neither goes below zero: the order counted cost and segments when the lease was opened.
        used.spent -= lease.escrow;
        used.segments -= terms.segments - lease.paid;
        _orders[digest] = used;
        emit OrderUsed(digest, leaseId, used.spent, used.segments);
    }

    // ---------------------------------------------------------------------------------- clocks

    function _active(Terms calldata terms)
        internal
        view
        returns (bytes32 leaseId, Progress memory lease)
    {
        leaseId = _leaseIdOf(terms);
        lease = _load(leaseId);
        if (lease.status != LeaseStatus.Active) revert LeaseNotActive(leaseId, lease.status);
    }

    function _maturesAt(Terms calldata terms, Progress memory lease)
        internal
        pure
        returns (uint256)
    {
        return uint256(lease.committedAt) + terms.window;
    }

    function _isMatured(Terms calldata terms, Progress memory lease) internal view returns (bool) {
        return lease.pending > lease.paid && block.timestamp >= _maturesAt(terms, lease);
    }

    /// @dev How many of `upTo` good segments are paid: the reserve only once there is a final
    /// checkpoint, which is that of all segments, or of a lease that its renter stopped, and which
    /// can be fetched.
    function _payable(Terms calldata terms, Progress memory lease, uint16 upTo)
        internal
        pure
        returns (uint16)
    {
        if (terms.reserveSegments == 0) return upTo;
        bool isFinal = upTo == terms.segments || lease.stoppedAt != 0;
        if (isFinal && lease.flags & UNRETRIEVABLE == 0) return upTo;
        uint16 free = terms.segments - terms.reserveSegments;
        if (upTo > free) upTo = free;
        return upTo > lease.paid ? upTo : lease.paid;
    }

    /// @dev Last time at which an unstopped lease takes a commit.
    function _commitDeadline(Terms calldata terms, Progress memory lease)
        internal
        pure
        returns (uint256)
    {
        bool isFirst = lease.committedAt == 0 && terms.window != 0;
        uint256 period = isFirst && terms.firstCommitWithin < terms.maxDuration
            ? terms.firstCommitWithin
            : terms.maxDuration;
        return lease.openedAt + period;
    }

    // ------------------------------------------------------------------------------- signatures

    function _leaseIdOf(Terms calldata terms) internal view returns (bytes32) {
        return _hashTypedDataV4(terms.hash());
    }

    function _voucherDigest(bytes32 leaseId, uint16 segments) internal view returns (bytes32) {
        return _hashTypedDataV4(LeaseTypes.hashVoucher(leaseId, segments));
    }

    function _stopDigest(bytes32 leaseId) internal view returns (bytes32) {
        return _hashTypedDataV4(LeaseTypes.hashStop(leaseId));
    }

    function _openingDigest(bytes32 leaseId, Source source, uint96 relayFee)
        internal
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(LeaseTypes.hashOpening(leaseId, source, relayFee));
    }

    function _orderDigest(Order calldata order) internal view returns (bytes32) {
        return _hashTypedDataV4(LeaseTypes.hashOrder(order));
    }

    /// @dev The key first: most signers are keys, and asking an account for code costs as much as
    /// recovering the key.
    // slither-disable-next-line unused-return: the detail of a failure has no use
    function _checkSignature(address signer, bytes32 digest, bytes calldata signature)
        internal
        view
    {
        (address recovered, ECDSA.RecoverError failure,) =
            ECDSA.tryRecoverCalldata(digest, signature);
        if (failure == ECDSA.RecoverError.NoError && recovered == signer) return;
        if (!SignatureChecker.isValidERC1271SignatureNowCalldata(signer, digest, signature)) {
            revert SignatureInvalid(signer, digest);
        }
    }
    // slither-disable-end incorrect-equality
}
