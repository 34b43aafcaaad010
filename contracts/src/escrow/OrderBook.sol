// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LeaseBook} from "./LeaseBook.sol";

/// @notice What orders allow others to do in the renter's name.
abstract contract OrderBook is LeaseBook {
    /// @dev Checks the order's caps and signature, and writes what the lease uses of it.
    function _useOrder(
        bytes32 leaseId,
        Terms calldata terms,
        uint256 cost,
        Order calldata order,
        bytes calldata signature,
        Terms[] calldata predecessor
    ) internal {
        bytes32 digest = _orderDigest(order);
        _checkOrder(digest, terms, order);
        _checkSignature(order.renter, digest, signature);
        OrderUse memory used = _orders[digest];
        if (used.isRevoked) revert OrderIsRevoked(digest);
        if (terms.predecessor != 0) _returnUnused(digest, terms, used, predecessor);
        uint256 spent = used.spent + cost;
        if (spent > order.budget) revert BudgetExceeded(spent, order.budget);
        uint256 segments = uint256(used.segments) + terms.segments;
        if (segments > order.segments) revert OrderSegmentsExceeded(segments, order.segments);
        used.spent = uint96(spent);
        used.segments = uint16(segments);
        _orders[digest] = used;
        _orderOf[leaseId] = digest;
        emit OrderUsed(digest, leaseId, uint96(spent), uint16(segments));
    }

    /// @dev Evacuation: what a lease of the same order did not use may be used again, once it is
    /// closed, by the lease that goes on from its checkpoint. Once: the link is cut.
    function _returnUnused(
        bytes32 digest,
        Terms calldata terms,
        OrderUse memory used,
        Terms[] calldata predecessor
    ) private {
        if (predecessor.length != 1) {
            revert PredecessorMissing(terms.predecessor);
        }
        bytes32 id = _leaseIdOf(predecessor[0]);
        if (id != terms.predecessor) revert PredecessorDiffers(terms.predecessor, id);
        if (_orderOf[id] != digest) revert PredecessorOfOtherOrder(id, _orderOf[id]);
        Progress memory lease = _load(id);
        if (lease.status != LeaseStatus.Closed) revert PredecessorNotClosed(id, lease.status);
        delete _orderOf[id];
        // A dispute without ruling paid part of what is unpaid; how much is not on record.
        if (lease.flags & SPLIT != 0) return;
        uint16 unused = predecessor[0].segments - lease.paid;
        used.segments -= unused;
        used.spent -= uint96(unused * uint256(predecessor[0].pricePerSegment));
    }

    function _checkOrder(bytes32 digest, Terms calldata terms, Order calldata order) private view {
        // Without a price for one segment, a single one could take the whole budget.
        if (order.minWindow == 0 || order.maxPricePerSegment == 0) {
            revert OrderNotOpenable(digest);
        }
        if (block.timestamp >= order.expiresAt) {
            revert OrderExpired(block.timestamp, order.expiresAt);
        }
        _require(terms.renter == order.renter, OrderRule.Renter);
        _require(terms.token == order.token, OrderRule.Token);
        _require(terms.arbiter == order.arbiter, OrderRule.Arbiter);
        _require(terms.jobHash == order.jobHash, OrderRule.JobHash);
        _require(order.listingId == 0 || terms.listingId == order.listingId, OrderRule.ListingId);
        _require(
            order.hardwareClass == 0
                || _listings[terms.listingId].hardwareClass == order.hardwareClass,
            OrderRule.HardwareClass
        );
        _require(terms.pricePerSegment <= order.maxPricePerSegment, OrderRule.PricePerSegment);
        _require(terms.bond >= order.minStake, OrderRule.Bond);
        _require(terms.maxDuration <= order.maxDurationS, OrderRule.MaxDuration);
        _require(terms.window >= order.minWindow, OrderRule.Window);
        // Else a dispute is over before anybody can rule or point lower: a fake is paid by half.
        _require(terms.disputeTimeout >= order.minWindow, OrderRule.DisputeTimeout);
        // Else a stop ends nothing: the provider does the whole job in its grace.
        _require(terms.commitGrace <= order.minWindow, OrderRule.CommitGrace);
    }

    function _require(bool holds, OrderRule broken) private pure {
        if (!holds) revert TermsOutsideOrder(broken);
    }
}
