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
        bytes calldata signature
    ) internal {
        bytes32 digest = _orderDigest(order);
        _checkOrder(digest, terms, cost, order);
        _checkSignature(order.renter, digest, signature);
        OrderUse memory used = _orders[digest];
        if (used.isRevoked) revert OrderIsRevoked(digest);
        if (terms.predecessor != 0) _continue(digest, terms.predecessor);
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

    /// @dev Evacuation: a lease of the same order may go on from a closed one's checkpoint. Only
    /// one may: the link is cut.
    function _continue(bytes32 digest, bytes32 predecessor) private {
        bytes32 ofOrder = _orderOf[predecessor];
        if (ofOrder != digest) revert PredecessorOfOtherOrder(predecessor, ofOrder);
        LeaseStatus status = _load(predecessor).status;
        if (status != LeaseStatus.Closed) revert PredecessorNotClosed(predecessor, status);
        delete _orderOf[predecessor];
    }

    function _checkOrder(bytes32 digest, Terms calldata terms, uint256 cost, Order calldata order)
        private
        view
    {
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
        _checkOrderShares(terms, cost, order);
        _checkOrderPeriods(terms, order);
    }

    /// @dev What makes fakes dear, and finds them.
    function _checkOrderShares(Terms calldata terms, uint256 cost, Order calldata order)
        private
        pure
    {
        _require(terms.bond >= order.minBond, OrderRule.MinBond);
        _require(terms.bond * BPS >= cost * order.minBondBps, OrderRule.MinBondBps);
        _require(terms.auditBps >= order.minAuditBps, OrderRule.MinAuditBps);
    }

    /// @dev The longest ones bound for how long the renter's money can be held without work.
    function _checkOrderPeriods(Terms calldata terms, Order calldata order) private pure {
        _require(terms.maxDuration <= order.maxDurationS, OrderRule.MaxDuration);
        _require(terms.window >= order.minWindow, OrderRule.MinWindow);
        _require(terms.window <= order.maxWindow, OrderRule.MaxWindow);
        // Else a dispute is over before anybody can rule, or its first half before anybody can
        // point lower: a fake is paid by half.
        _require(terms.disputeTimeout / 2 >= order.minWindow, OrderRule.MinDisputeTimeout);
        _require(terms.disputeTimeout <= order.maxDisputeTimeout, OrderRule.MaxDisputeTimeout);
        _require(terms.firstCommitWithin <= order.maxFirstCommit, OrderRule.MaxFirstCommit);
        // Else all segments can be committed at once, before anybody can have computed them.
        _require(terms.minSegmentSeconds >= order.minSegmentSeconds, OrderRule.MinSegmentSeconds);
        // Else a stop ends nothing: the provider does the whole job in its grace.
        _require(terms.commitGrace <= order.minWindow, OrderRule.CommitGrace);
    }

    function _require(bool holds, OrderRule broken) private pure {
        if (!holds) revert TermsOutsideOrder(broken);
    }
}
