// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {ConsentTest} from "./utils/ConsentTest.sol";
import {vm} from "./utils/Vm.sol";

// openFor
// ├── given an order that nobody else may use, expired or revoked: it should revert
// ├── when the order is not signed by its renter: it should revert
// ├── when the terms break one of its caps: it should revert and name the cap
// ├── when budget or segments of all its leases would be exceeded: it should revert
// ├── when all is well: anybody should open, from credit and then allowance, and emit OrderUsed
// ├── given leases that end, however they do: what they did not use should come back
// └── given a predecessor
//     ├── when it is of another order, or of none: it should revert
//     ├── when it still lives: it should revert
//     └── when it is closed: one lease should continue it
// revokeOrder
// ├── when the caller is somebody else without the renter's signature: it should revert
// └── when all is well: it should void the order, once
contract OpenForTest is ConsentTest {
    // ---------------------------------------------------------------------------------- refusals

    function test_openFor_givenOrderForTheRenterAlone_reverts() external {
        IEscrowTypes.Order memory order = _order();
        order.minWindow = 0;
        _expectRefusal(
            _terms(),
            order,
            abi.encodeWithSelector(
                IEscrowTypes.OrderNotOpenable.selector, escrow.orderDigest(order)
            )
        );
    }

    function test_openFor_givenExpiredOrder_reverts() external {
        IEscrowTypes.Order memory order = _order();
        vm.warp(order.expiresAt);
        _expectRefusal(
            _terms(),
            order,
            abi.encodeWithSelector(
                IEscrowTypes.OrderExpired.selector, order.expiresAt, order.expiresAt
            )
        );
    }

    function test_openFor_whenSomebodyElseSignedTheOrder_reverts() external {
        IEscrowTypes.Order memory order = _order();
        bytes32 digest = escrow.orderDigest(order);
        bytes memory signature = _sign(_terms());
        bytes memory orderSignature = _signature(OPERATOR_KEY, digest);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, renter, digest)
        );
        escrow.openFor(_terms(), signature, order, orderSignature);
    }

    function test_openFor_whenTermsAreOfSomethingElse_reverts() external {
        for (uint256 i = 0; i < 5; ++i) {
            IEscrowTypes.Order memory order = _order();
            IEscrowTypes.OrderRule rule = IEscrowTypes.OrderRule(i);
            if (rule == IEscrowTypes.OrderRule.Renter) order.renter = OTHER;
            if (rule == IEscrowTypes.OrderRule.Token) order.token = address(secondToken);
            if (rule == IEscrowTypes.OrderRule.Arbiter) order.arbiter = OTHER;
            if (rule == IEscrowTypes.OrderRule.JobHash) order.jobHash = keccak256("other job");
            if (rule == IEscrowTypes.OrderRule.ListingId) order.listingId = keccak256("other");
            _expectBroken(order, rule);
        }
    }

    /// @dev Each of these caps is met exactly by the terms of these tests: one less breaks it.
    function test_openFor_whenTermsBreakACap_reverts() external {
        for (uint256 i = 5; i < uint256(type(IEscrowTypes.OrderRule).max); ++i) {
            IEscrowTypes.OrderRule rule = IEscrowTypes.OrderRule(i);
            if (rule == IEscrowTypes.OrderRule.MinDisputeTimeout) continue;
            if (rule == IEscrowTypes.OrderRule.MinBondBps) continue;
            _expectBroken(_tightened(_order(), rule), rule);
        }
        _openFor(_terms(), _order());
    }

    function _tightened(IEscrowTypes.Order memory order, IEscrowTypes.OrderRule rule)
        private
        pure
        returns (IEscrowTypes.Order memory)
    {
        if (rule == IEscrowTypes.OrderRule.HardwareClass) order.hardwareClass = "other";
        if (rule == IEscrowTypes.OrderRule.PricePerSegment) --order.maxPricePerSegment;
        if (rule == IEscrowTypes.OrderRule.MinBond) ++order.minBond;
        if (rule == IEscrowTypes.OrderRule.MinAuditBps) ++order.minAuditBps;
        return _tightenedPeriod(order, rule);
    }

    function _tightenedPeriod(IEscrowTypes.Order memory order, IEscrowTypes.OrderRule rule)
        private
        pure
        returns (IEscrowTypes.Order memory)
    {
        if (rule == IEscrowTypes.OrderRule.MaxDuration) --order.maxDurationS;
        if (rule == IEscrowTypes.OrderRule.MinWindow) ++order.minWindow;
        if (rule == IEscrowTypes.OrderRule.MaxWindow) --order.maxWindow;
        if (rule == IEscrowTypes.OrderRule.MaxDisputeTimeout) --order.maxDisputeTimeout;
        if (rule == IEscrowTypes.OrderRule.MaxFirstCommit) --order.maxFirstCommit;
        if (rule == IEscrowTypes.OrderRule.MinSegmentSeconds) ++order.minSegmentSeconds;
        return order;
    }

    /// @dev The bond rises with the cost: one segment more needs a larger one.
    function test_openFor_whenBondDoesNotCoverTheCost_reverts() external {
        IEscrowTypes.Order memory order = _order();
        (order.budget, order.segments) = (uint96(2 * COST), 2 * SEGMENTS);
        (order.minBond, order.minBondBps) = (0, 60_000);
        bytes memory reason = abi.encodeWithSelector(
            IEscrowTypes.TermsOutsideOrder.selector, IEscrowTypes.OrderRule.MinBondBps
        );
        IEscrowTypes.Terms memory terms = _terms();
        terms.bond = uint96(6 * COST) - 1;
        _expectRefusal(terms, order, reason);
        terms.bond = uint96(6 * COST);
        terms.segments = SEGMENTS + 1;
        _expectRefusal(terms, order, reason);
        terms.segments = SEGMENTS;
        _openFor(terms, order);
    }

    function test_openFor_whenArbiterHasNoTime_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.disputeTimeout = 2 * WINDOW - 1;
        _expectBrokenBy(terms, IEscrowTypes.OrderRule.MinDisputeTimeout);
        terms.disputeTimeout = 2 * WINDOW;
        _openFor(terms, _order());
    }

    function test_openFor_whenGraceIsLongerThanWindow_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.commitGrace = WINDOW + 1;
        _expectBrokenBy(terms, IEscrowTypes.OrderRule.CommitGrace);
        terms.commitGrace = WINDOW;
        _openFor(terms, _order());
    }

    function test_openFor_whenOrderHasNoPriceForASegment_reverts() external {
        IEscrowTypes.Order memory order = _order();
        order.maxPricePerSegment = 0;
        _expectRefusal(
            _terms(),
            order,
            abi.encodeWithSelector(
                IEscrowTypes.OrderNotOpenable.selector, escrow.orderDigest(order)
            )
        );
    }

    function test_openFor_whenBudgetIsExceeded_reverts() external {
        IEscrowTypes.Order memory order = _order();
        order.budget = uint96(COST - 1);
        _expectRefusal(
            _terms(),
            order,
            abi.encodeWithSelector(IEscrowTypes.BudgetExceeded.selector, COST, COST - 1)
        );
        order.budget = uint96(2 * COST - 1);
        order.segments = 2 * SEGMENTS;
        _openFor(_terms(), order);
        IEscrowTypes.Terms memory second = _terms();
        second.nonce = 2;
        _expectRefusal(
            second,
            order,
            abi.encodeWithSelector(IEscrowTypes.BudgetExceeded.selector, 2 * COST, 2 * COST - 1)
        );
    }

    function test_openFor_whenSegmentsAreExceeded_reverts() external {
        IEscrowTypes.Order memory order = _order();
        order.budget = uint96(10 * COST);
        order.segments = 2 * SEGMENTS - 1;
        _openFor(_terms(), order);
        IEscrowTypes.Terms memory second = _terms();
        second.nonce = 2;
        _expectRefusal(
            second,
            order,
            abi.encodeWithSelector(
                IEscrowTypes.OrderSegmentsExceeded.selector, 2 * SEGMENTS, 2 * SEGMENTS - 1
            )
        );
    }

    // ----------------------------------------------------------------------------------- success

    function test_openFor_whenAllIsWell_opensAndCounts(address caller) external {
        IEscrowTypes.Terms memory terms = _terms();
        IEscrowTypes.Order memory order = _order();
        bytes32 digest = escrow.orderDigest(order);
        bytes32 leaseId = escrow.leaseIdOf(terms);
        bytes memory signature = _sign(terms);
        bytes memory orderSignature = _signature(RENTER_KEY, digest);
        uint256 before = token.balanceOf(renter);
        _expectEmit();
        emit IEscrowTypes.Opened(leaseId, renter, PROVIDER, terms);
        _expectEmit();
        emit IEscrowTypes.OrderUsed(digest, leaseId, uint96(COST), SEGMENTS);
        vm.prank(caller);
        escrow.openFor(terms, signature, order, orderSignature);
        vm.assertEq(token.balanceOf(renter), before - COST, "paid by the renter");
        _assertUse(digest, COST, SEGMENTS, false);
    }

    function test_openFor_givenCredit_spendsItFirst() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.segments = 4;
        _open(terms);
        _close(PROVIDER, terms);
        terms = _terms();
        terms.nonce = 2;
        IEscrowTypes.Order memory order = _order();
        bytes memory signature = _sign(terms);
        bytes memory orderSignature = _signOrder(order);
        uint256 before = token.balanceOf(renter);
        _expectEmit();
        emit IEscrowTypes.CreditSpent(address(token), renter, 4 * uint256(PRICE));
        vm.prank(STRANGER);
        escrow.openFor(terms, signature, order, orderSignature);
        vm.assertEq(_credits().renter, 0, "credit");
        vm.assertEq(token.balanceOf(renter), before - 6 * uint256(PRICE), "the rest");
    }

    /// @dev Leases that end at once must not pump the renter's allowance into credit.
    function test_openFor_givenLeasesThatEndAtOnce_takesNoMoreThanOneFromTheAllowance() external {
        uint256 before = token.balanceOf(renter);
        for (uint64 i = 1; i <= 5; ++i) {
            IEscrowTypes.Terms memory terms = _terms();
            terms.nonce = i;
            _openFor(terms, _order());
            _close(PROVIDER, terms);
        }
        vm.assertEq(token.balanceOf(renter), before - COST, "out of the allowance once");
        vm.assertEq(_credits().renter, COST, "all of it is there");
    }

    /// @dev Ten leases of one segment, each given up at once, must not use the order up.
    function test_openFor_givenLeasesThatUsedNothing_opensAllTheSame() external {
        IEscrowTypes.Order memory order = _order();
        for (uint64 i = 1; i <= 10; ++i) {
            IEscrowTypes.Terms memory small = _terms();
            (small.segments, small.nonce) = (1, 100 + i);
            _openFor(small, order);
            _close(PROVIDER, small);
        }
        _assertUse(escrow.orderDigest(order), 0, 0, false);
        _openFor(_terms(), order);
        _assertUse(escrow.orderDigest(order), COST, SEGMENTS, false);
    }

    function test_close_givenLeaseOfAnOrder_givesBackAndEmits(uint16 paid) external {
        paid = paid % SEGMENTS;
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 digest = escrow.orderDigest(_order());
        bytes32 leaseId = _openFor(terms, _order());
        vm.warp(START + 50);
        if (paid != 0 && paid <= 5) _commit(terms, paid);
        else paid = 0;
        vm.warp(START + 50 + WINDOW);
        _expectEmit();
        emit IEscrowTypes.OrderUsed(digest, leaseId, uint96(paid * PRICE), paid);
        _close(PROVIDER, terms);
        _assertUse(digest, paid * uint256(PRICE), paid, false);
    }

    function test_settle_givenLeaseOfAnOrderThatCompletes_keepsItSpent() external {
        IEscrowTypes.Terms memory terms = _terms();
        _openFor(terms, _order());
        vm.warp(START + 50);
        _commit(terms, 5);
        vm.warp(START + 150);
        _commit(terms, SEGMENTS);
        vm.warp(START + 150 + WINDOW);
        escrow.settle(terms);
        _assertUse(escrow.orderDigest(_order()), COST, SEGMENTS, false);
    }

    function test_close_givenRevokedOrder_staysRevoked() external {
        _openFor(_terms(), _order());
        vm.prank(renter);
        escrow.revokeOrder(_order(), "");
        _close(PROVIDER, _terms());
        _assertUse(escrow.orderDigest(_order()), 0, 0, true);
    }

    // ------------------------------------------------------------------------------ predecessors

    function test_open_givenUnknownPredecessor_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.predecessor = keccak256("no lease");
        bytes memory signature = _sign(terms);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.PredecessorUnknown.selector, terms.predecessor)
        );
        vm.prank(renter);
        escrow.open(terms, signature);
    }

    function test_open_givenPredecessor_opens() external {
        IEscrowTypes.Terms memory second = _terms();
        second.predecessor = _open(_terms());
        second.nonce = 2;
        vm.assertTrue(_status(_open(second)) == IEscrowTypes.LeaseStatus.Active, "active");
    }

    function test_openFor_givenClosedPredecessor_continuesItOnce() external {
        (IEscrowTypes.Terms memory first, IEscrowTypes.Order memory order) = _failedLease(4);
        IEscrowTypes.Terms memory second = _successor(first, SEGMENTS - 5, 2);
        _openFor(second, order);
        // Ten segments in all: four paid by the first, five held by the second.
        _assertUse(escrow.orderDigest(order), COST - PRICE, SEGMENTS - 1, false);
        _expectRefusal(
            _successor(first, 1, 3),
            order,
            abi.encodeWithSelector(
                IEscrowTypes.PredecessorOfOtherOrder.selector, second.predecessor, bytes32(0)
            )
        );
    }

    function test_openFor_givenContinuedPredecessor_continuesItsSuccessor() external {
        (IEscrowTypes.Terms memory first, IEscrowTypes.Order memory order) = _failedLease(4);
        IEscrowTypes.Terms memory second = _successor(first, SEGMENTS - 4, 2);
        _openFor(second, order);
        _close(PROVIDER, second);
        _openFor(_successor(second, SEGMENTS - 4, 3), order);
        _assertUse(escrow.orderDigest(order), COST, SEGMENTS, false);
    }

    function test_openFor_givenClosedPredecessor_takesNoMoreThanTheRest() external {
        (IEscrowTypes.Terms memory first, IEscrowTypes.Order memory order) = _failedLease(4);
        _expectRefusal(
            _successor(first, SEGMENTS - 3, 2),
            order,
            abi.encodeWithSelector(IEscrowTypes.BudgetExceeded.selector, COST + PRICE, COST)
        );
    }

    function test_openFor_givenLivePredecessor_reverts() external {
        IEscrowTypes.Order memory order = _order();
        bytes32 leaseId = _openFor(_terms(), order);
        _expectRefusal(
            _successor(_terms(), 1, 2),
            order,
            abi.encodeWithSelector(
                IEscrowTypes.PredecessorNotClosed.selector,
                leaseId,
                IEscrowTypes.LeaseStatus.Active
            )
        );
    }

    function test_openFor_givenPredecessorOfAnotherOrder_reverts() external {
        (IEscrowTypes.Terms memory first, IEscrowTypes.Order memory order) = _failedLease(4);
        bytes32 digest = escrow.orderDigest(order);
        order.nonce = 2;
        IEscrowTypes.Terms memory second = _successor(first, 1, 2);
        _expectRefusal(
            second,
            order,
            abi.encodeWithSelector(
                IEscrowTypes.PredecessorOfOtherOrder.selector, second.predecessor, digest
            )
        );
    }

    function test_openFor_givenPredecessorOfTheRenterItself_reverts() external {
        _open(_terms());
        _close(PROVIDER, _terms());
        IEscrowTypes.Terms memory second = _successor(_terms(), 1, 2);
        _expectRefusal(
            second,
            _order(),
            abi.encodeWithSelector(
                IEscrowTypes.PredecessorOfOtherOrder.selector, second.predecessor, bytes32(0)
            )
        );
    }

    /// @dev What the split paid stays spent; its segments count as not done.
    function test_timeoutDispute_givenLeaseOfAnOrder_givesBackTheRefund() external {
        IEscrowTypes.Order memory order = _order();
        _openFor(_terms(), order);
        vm.warp(START + 50);
        _commit(_terms(), 4);
        _challenge(CHALLENGER, _terms(), 3);
        vm.warp(START + 50 + DISPUTE_TIMEOUT);
        escrow.timeoutDispute(_terms());
        _assertUse(escrow.orderDigest(order), 3 * uint256(PRICE) / 2, 0, false);
        vm.assertEq(_credits().renter, COST - 3 * uint256(PRICE) / 2, "refund");
    }

    function test_rule_givenFraudInLeaseOfAnOrder_givesBackTheRefund() external {
        IEscrowTypes.Order memory order = _order();
        _openFor(_terms(), order);
        vm.warp(START + 50);
        _commit(_terms(), 4);
        _challenge(CHALLENGER, _terms(), 3);
        _rule(_terms(), true, 3);
        _assertUse(escrow.orderDigest(order), 3 * uint256(PRICE), 3, false);
    }

    // --------------------------------------------------------------------------------- revocation

    function test_revokeOrder_whenCallerIsSomebodyElse_reverts() external {
        IEscrowTypes.Order memory order = _order();
        bytes32 digest = escrow.revocationDigest(escrow.orderDigest(order));
        bytes memory signature = _signature(OPERATOR_KEY, digest);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, renter, digest)
        );
        escrow.revokeOrder(order, signature);
    }

    function test_revokeOrder_whenAllIsWell_voidsItOnce(bool bySignature) external {
        IEscrowTypes.Order memory order = _order();
        bytes32 digest = escrow.orderDigest(order);
        bytes memory signature = _signature(RENTER_KEY, escrow.revocationDigest(digest));
        _expectEmit();
        emit IEscrowTypes.OrderRevoked(digest, renter);
        vm.prank(bySignature ? STRANGER : renter);
        escrow.revokeOrder(order, bySignature ? signature : bytes(""));
        _assertUse(digest, 0, 0, true);
        bytes memory revoked = abi.encodeWithSelector(IEscrowTypes.OrderIsRevoked.selector, digest);
        _expectRefusal(_terms(), order, revoked);
        vm.expectRevert(revoked);
        vm.prank(renter);
        escrow.revokeOrder(order, "");
    }

    // -------------------------------------------------------------------------------------- tools

    /// @dev A lease under an order that ends after `paid` segments.
    function _failedLease(uint16 paid)
        private
        returns (IEscrowTypes.Terms memory terms, IEscrowTypes.Order memory order)
    {
        (terms, order) = (_terms(), _order());
        _openFor(terms, order);
        vm.warp(START + 50);
        _commit(terms, paid);
        vm.warp(START + 50 + WINDOW);
        _close(PROVIDER, terms);
    }

    function _successor(IEscrowTypes.Terms memory first, uint16 segments, uint64 nonce)
        private
        view
        returns (IEscrowTypes.Terms memory terms)
    {
        terms = _terms();
        terms.predecessor = escrow.leaseIdOf(first);
        (terms.segments, terms.nonce) = (segments, nonce);
    }

    function _openFor(IEscrowTypes.Terms memory terms, IEscrowTypes.Order memory order)
        private
        returns (bytes32)
    {
        bytes memory signature = _sign(terms);
        bytes memory orderSignature = _signOrder(order);
        vm.prank(STRANGER);
        return escrow.openFor(terms, signature, order, orderSignature);
    }

    function _expectRefusal(
        IEscrowTypes.Terms memory terms,
        IEscrowTypes.Order memory order,
        bytes memory reason
    ) private {
        bytes memory signature = _sign(terms);
        bytes memory orderSignature = _signOrder(order);
        vm.expectRevert(reason);
        vm.prank(STRANGER);
        escrow.openFor(terms, signature, order, orderSignature);
    }

    function _expectBroken(IEscrowTypes.Order memory order, IEscrowTypes.OrderRule rule) private {
        bytes memory reason = abi.encodeWithSelector(IEscrowTypes.TermsOutsideOrder.selector, rule);
        _expectRefusal(_terms(), order, reason);
    }

    function _expectBrokenBy(IEscrowTypes.Terms memory terms, IEscrowTypes.OrderRule rule)
        private
    {
        bytes memory reason = abi.encodeWithSelector(IEscrowTypes.TermsOutsideOrder.selector, rule);
        _expectRefusal(terms, _order(), reason);
    }

    function _assertUse(bytes32 digest, uint256 spent, uint256 segments, bool isRevoked)
        private
        view
    {
        (uint256 actualSpent, uint256 actualSegments, bool actualRevoked) =
            escrow.orderUseOf(digest);
        vm.assertEq(actualSpent, spent, "spent");
        vm.assertEq(actualSegments, segments, "segments");
        vm.assertEq(actualRevoked, isRevoked, "revoked");
    }
}
