// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// openFor
// ├── given an order that nobody else may use, expired or revoked: it should revert
// ├── when the order is not signed by its renter: it should revert
// ├── when the terms break one of its caps: it should revert and name the cap
// ├── when budget or segments of all its leases would be exceeded: it should revert
// ├── when all is well: anybody should open, from allowance or credit, and emit OrderUsed
// └── given a predecessor
//     ├── when its terms are missing, or others, or it is of another order: it should revert
//     ├── when it still lives: it should revert
//     ├── when it is closed: what it did not use should come back, once
//     └── when a dispute split it: nothing should come back
// revokeOrder
// ├── when the caller is somebody else without the renter's signature: it should revert
// └── when all is well: it should void the order, once
contract OpenForTest is EscrowTest {
    IEscrowTypes.Terms[] private _none;

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
        escrow.openFor(
            _terms(), signature, order, orderSignature, IEscrowTypes.Source.Allowance, _none
        );
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

    function test_openFor_whenTermsBreakACap_reverts() external {
        for (uint256 i = 5; i < 10; ++i) {
            IEscrowTypes.Order memory order = _order();
            IEscrowTypes.OrderRule rule = IEscrowTypes.OrderRule(i);
            if (rule == IEscrowTypes.OrderRule.HardwareClass) order.hardwareClass = "other";
            if (rule == IEscrowTypes.OrderRule.PricePerSegment) {
                order.maxPricePerSegment = PRICE - 1;
            }
            if (rule == IEscrowTypes.OrderRule.Bond) order.minStake = BOND + 1;
            if (rule == IEscrowTypes.OrderRule.MaxDuration) order.maxDurationS = MAX_DURATION - 1;
            if (rule == IEscrowTypes.OrderRule.Window) order.minWindow = WINDOW + 1;
            _expectBroken(order, rule);
        }
    }

    function test_openFor_whenArbiterHasNoTime_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.disputeTimeout = WINDOW - 1;
        _expectBrokenBy(terms, IEscrowTypes.OrderRule.DisputeTimeout);
        terms.disputeTimeout = WINDOW;
        _openFor(terms, _order(), _none);
    }

    function test_openFor_whenGraceIsLongerThanWindow_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.commitGrace = WINDOW + 1;
        _expectBrokenBy(terms, IEscrowTypes.OrderRule.CommitGrace);
        terms.commitGrace = WINDOW;
        _openFor(terms, _order(), _none);
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
        _openFor(_terms(), order, _none);
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
        _openFor(_terms(), order, _none);
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
        escrow.openFor(
            terms, signature, order, orderSignature, IEscrowTypes.Source.Allowance, _none
        );
        vm.assertEq(token.balanceOf(renter), before - COST, "paid by the renter");
        _assertUse(digest, COST, SEGMENTS, false);
    }

    function test_openFor_givenCredit_spendsIt() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        _close(PROVIDER, terms);
        terms.nonce = 2;
        IEscrowTypes.Order memory order = _order();
        bytes memory signature = _sign(terms);
        bytes memory orderSignature = _signature(RENTER_KEY, escrow.orderDigest(order));
        _expectEmit();
        emit IEscrowTypes.CreditSpent(address(token), renter, COST);
        vm.prank(STRANGER);
        escrow.openFor(terms, signature, order, orderSignature, IEscrowTypes.Source.Credit, _none);
        vm.assertEq(_credits().renter, 0, "credit");
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

    function test_openFor_givenClosedPredecessor_usesTheRestOnce() external {
        (IEscrowTypes.Terms memory first, IEscrowTypes.Order memory order) = _failedLease(4);
        IEscrowTypes.Terms memory second = _successor(first, SEGMENTS - 4, 2);
        _openFor(second, order, _one(first));
        // Ten segments in all: four paid by the first, six held by the second.
        _assertUse(escrow.orderDigest(order), COST, SEGMENTS, false);
        IEscrowTypes.Terms memory third = _successor(first, 1, 3);
        _expectRefusal(
            third,
            order,
            abi.encodeWithSelector(
                IEscrowTypes.PredecessorOfOtherOrder.selector, second.predecessor, bytes32(0)
            ),
            _one(first)
        );
    }

    function test_openFor_givenClosedPredecessor_takesNoMoreThanTheRest() external {
        (IEscrowTypes.Terms memory first, IEscrowTypes.Order memory order) = _failedLease(4);
        _expectRefusal(
            _successor(first, SEGMENTS - 3, 2),
            order,
            abi.encodeWithSelector(IEscrowTypes.BudgetExceeded.selector, COST + PRICE, COST),
            _one(first)
        );
    }

    function test_openFor_givenLivePredecessor_reverts() external {
        IEscrowTypes.Order memory order = _order();
        bytes32 leaseId = _openFor(_terms(), order, _none);
        _expectRefusal(
            _successor(_terms(), 1, 2),
            order,
            abi.encodeWithSelector(
                IEscrowTypes.PredecessorNotClosed.selector,
                leaseId,
                IEscrowTypes.LeaseStatus.Active
            ),
            _one(_terms())
        );
    }

    function test_openFor_givenPredecessorWithoutItsTerms_reverts() external {
        (IEscrowTypes.Terms memory first, IEscrowTypes.Order memory order) = _failedLease(4);
        IEscrowTypes.Terms memory second = _successor(first, 1, 2);
        _expectRefusal(
            second,
            order,
            abi.encodeWithSelector(IEscrowTypes.PredecessorMissing.selector, second.predecessor)
        );
        IEscrowTypes.Terms memory other = _terms();
        other.nonce = 77;
        _expectRefusal(
            second,
            order,
            abi.encodeWithSelector(
                IEscrowTypes.PredecessorDiffers.selector,
                second.predecessor,
                escrow.leaseIdOf(other)
            ),
            _one(other)
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
            ),
            _one(first)
        );
    }

    function test_openFor_givenPredecessorThatADisputeSplit_givesNothingBack() external {
        IEscrowTypes.Order memory order = _order();
        order.budget = uint96(2 * COST);
        order.segments = 2 * SEGMENTS;
        _openFor(_terms(), order, _none);
        vm.warp(START + 50);
        _commit(_terms(), 4);
        _challenge(CHALLENGER, _terms(), 2);
        vm.warp(START + 50 + DISPUTE_TIMEOUT);
        escrow.timeoutDispute(_terms());
        _openFor(_successor(_terms(), 1, 2), order, _one(_terms()));
        _assertUse(escrow.orderDigest(order), COST + PRICE, SEGMENTS + 1, false);
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

    function _order() private view returns (IEscrowTypes.Order memory) {
        return IEscrowTypes.Order({
            renter: renter,
            token: address(token),
            arbiter: ARBITER,
            jobHash: keccak256("job"),
            listingId: listingId,
            offer: keccak256("offer"),
            hardwareClass: CLASS,
            maxPricePerHour: 1,
            maxPricePerSegment: PRICE,
            budget: uint96(COST),
            minStake: BOND,
            maxDurationS: MAX_DURATION,
            minWindow: WINDOW,
            segments: SEGMENTS,
            verification: 1,
            expiresAt: uint40(START + 900),
            nonce: 1
        });
    }

    /// @dev A lease under an order that ends after `paid` segments.
    function _failedLease(uint16 paid)
        private
        returns (IEscrowTypes.Terms memory terms, IEscrowTypes.Order memory order)
    {
        (terms, order) = (_terms(), _order());
        _openFor(terms, order, _none);
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

    function _one(IEscrowTypes.Terms memory terms)
        private
        pure
        returns (IEscrowTypes.Terms[] memory all)
    {
        all = new IEscrowTypes.Terms[](1);
        all[0] = terms;
    }

    function _openFor(
        IEscrowTypes.Terms memory terms,
        IEscrowTypes.Order memory order,
        IEscrowTypes.Terms[] memory predecessor
    ) private returns (bytes32) {
        bytes memory signature = _sign(terms);
        bytes memory orderSignature = _signature(RENTER_KEY, escrow.orderDigest(order));
        vm.prank(STRANGER);
        return escrow.openFor(
            terms, signature, order, orderSignature, IEscrowTypes.Source.Allowance, predecessor
        );
    }

    function _expectRefusal(
        IEscrowTypes.Terms memory terms,
        IEscrowTypes.Order memory order,
        bytes memory reason
    ) private {
        _expectRefusal(terms, order, reason, _none);
    }

    function _expectRefusal(
        IEscrowTypes.Terms memory terms,
        IEscrowTypes.Order memory order,
        bytes memory reason,
        IEscrowTypes.Terms[] memory predecessor
    ) private {
        bytes memory signature = _sign(terms);
        bytes memory orderSignature = _signature(RENTER_KEY, escrow.orderDigest(order));
        vm.expectRevert(reason);
        vm.prank(STRANGER);
        escrow.openFor(
            terms, signature, order, orderSignature, IEscrowTypes.Source.Allowance, predecessor
        );
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
