// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {ILeaseEscrow} from "../../src/interfaces/ILeaseEscrow.sol";
import {ConsentTest} from "../utils/ConsentTest.sol";
import {vm} from "../utils/Vm.sol";

// Attacks with an order that a renter signed: replay and over-spend. Each test says what a simpler
// rule would give.
contract OrderAttacksTest is ConsentTest {
    address private constant THIEF = STRANGER;

    /// @dev Naive: a signature over an order is authority for each lease that keeps its caps. The
    /// thief would open one after the other until the allowance is gone.
    function test_orderReplay_spendsTheBudgetOnce() external {
        IEscrowTypes.Order memory order = _order();
        order.segments = 10 * SEGMENTS;
        uint256 before = token.balanceOf(renter);
        _send(THIEF, _call(1, SEGMENTS, order));
        bytes memory again = _call(2, SEGMENTS, order);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.BudgetExceeded.selector, 2 * COST, COST)
        );
        _send(THIEF, again);
        vm.assertEq(token.balanceOf(renter), before - COST, "one budget");
    }

    /// @dev Naive: budget and segments are compared with one lease at a time. Small ones would each
    /// be within them.
    function test_orderReplay_inSmallLeases_isCountedTogether() external {
        IEscrowTypes.Order memory order = _order();
        order.budget = uint96(100 * COST);
        _send(THIEF, _call(1, SEGMENTS / 2, order));
        bytes memory more = _call(2, SEGMENTS / 2 + 1, order);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.OrderSegmentsExceeded.selector, SEGMENTS + 1, SEGMENTS
            )
        );
        _send(THIEF, more);
    }

    /// @dev Naive: a renter takes an order back at the marketplace. Who kept the signature would
    /// still use it here.
    function test_orderReplay_afterItWasTakenBack_isRefused() external {
        IEscrowTypes.Order memory order = _order();
        bytes memory kept = _call(1, SEGMENTS, order);
        vm.prank(renter);
        escrow.revokeOrder(order, "");
        bytes32 digest = escrow.orderDigest(order);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.OrderIsRevoked.selector, digest));
        _send(THIEF, kept);
    }

    /// @dev Naive: the order does not name the contract. It would be spent once in each.
    function test_orderReplay_atAnotherContract_isRefused() external {
        IEscrowTypes.Order memory order = _order();
        bytes memory signed = _signOrder(order);
        address[] memory tokens = new address[](1);
        tokens[0] = address(token);
        ILeaseEscrow first = escrow;
        escrow = _newEscrow(tokens);
        _allow(type(uint256).max);
        vm.prank(PROVIDER);
        listingId = escrow.list(CLASS, address(token), 1, operator, DOCUMENT);
        vm.prank(PROVIDER);
        token.approve(address(escrow), type(uint256).max);
        vm.prank(PROVIDER);
        escrow.stake(address(token), STAKE);
        order.listingId = 0;
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 digest = escrow.orderDigest(order);
        vm.assertNotEq(digest, first.orderDigest(order), "digest");
        bytes memory data = _openForCall(terms, _sign(terms), order, signed);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, renter, digest)
        );
        _send(THIEF, data);
    }

    function _call(uint64 nonce, uint16 segments, IEscrowTypes.Order memory order)
        private
        view
        returns (bytes memory)
    {
        IEscrowTypes.Terms memory terms = _terms();
        (terms.nonce, terms.segments) = (nonce, segments);
        return _openForCall(terms, _sign(terms), order, _signOrder(order));
    }
}
