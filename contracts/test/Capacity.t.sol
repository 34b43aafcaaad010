// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// setCapacity
// ├── when the caller is not the provider: it should revert
// ├── given as many live leases as it allows: open should revert
// ├── given a lease that ends, however it ends: its place should be free again
// └── given leases from before it was set: they should not count, nor when they end
// cancelNonces
// ├── when the caller is not the provider: it should revert
// └── when all is well: open should refuse exactly the terms with these nonces
contract CapacityTest is EscrowTest {
    function test_setCapacity_whenCallerIsNotProvider_reverts() external {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.NotListingProvider.selector, operator, PROVIDER)
        );
        vm.prank(operator);
        escrow.setCapacity(listingId, 1);
    }

    function test_open_givenFullListing_revertsUntilALeaseEnds() external {
        _setCapacity(1);
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        vm.assertEq(escrow.listingOf(listingId).live, 1, "live");
        IEscrowTypes.Terms memory second = _terms();
        second.nonce = 2;
        _expectFull(second);
        _close(PROVIDER, terms);
        vm.assertEq(escrow.listingOf(listingId).live, 0, "live after close");
        _open(second);
        vm.warp(START + 50);
        _commit(second, 2);
        _challenge(CHALLENGER, second, 0);
        _rule(second, true, 0);
        vm.assertEq(escrow.listingOf(listingId).live, 0, "live after fraud");
        second.nonce = 3;
        _open(second);
        vm.warp(START + 100);
        _commit(second, 2);
        _challenge(CHALLENGER, second, 1);
        vm.warp(START + 100 + DISPUTE_TIMEOUT);
        escrow.timeoutDispute(second);
        vm.assertEq(escrow.listingOf(listingId).live, 0, "live after timeout");
    }

    function test_setCapacity_givenEarlierLeases_doesNotCountThem() external {
        IEscrowTypes.Terms memory early = _terms();
        _open(early);
        _expectEmit();
        emit IEscrowTypes.CapacitySet(listingId, 1);
        _setCapacity(1);
        IEscrowTypes.Terms memory counted = _terms();
        counted.nonce = 2;
        _open(counted);
        _close(PROVIDER, early);
        vm.assertEq(escrow.listingOf(listingId).live, 1, "the early one was not counted");
        // Without a limit a counted lease still gives its place back.
        _setCapacity(0);
        _close(PROVIDER, counted);
        vm.assertEq(escrow.listingOf(listingId).live, 0, "live");
        vm.assertEq(escrow.listingOf(listingId).capacity, 0, "capacity");
    }

    // ------------------------------------------------------------------------------------ cancel

    function test_cancelNonces_whenCallerIsNotProvider_reverts() external {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.NotListingProvider.selector, operator, PROVIDER)
        );
        vm.prank(operator);
        escrow.cancelNonces(listingId, 0, 1);
    }

    function test_cancelNonces_whenAllIsWell_voidsTheseTermsOnly(uint64 nonce) external {
        vm.assume(nonce != type(uint64).max);
        IEscrowTypes.Terms memory terms = _terms();
        terms.nonce = nonce;
        uint256 mask = uint256(1) << (nonce % 256);
        _expectEmit();
        emit IEscrowTypes.NoncesCancelled(listingId, nonce / 256, mask);
        vm.prank(PROVIDER);
        escrow.cancelNonces(listingId, nonce / 256, mask);
        vm.assertTrue(escrow.isCancelled(listingId, nonce), "cancelled");
        bytes memory signature = _sign(terms);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.NonceIsCancelled.selector, listingId, nonce)
        );
        vm.prank(renter);
        escrow.open(terms, signature);
        terms.nonce = nonce + 1;
        _open(terms);
    }

    function _setCapacity(uint8 capacity) private {
        vm.prank(PROVIDER);
        escrow.setCapacity(listingId, capacity);
    }

    function _expectFull(IEscrowTypes.Terms memory terms) private {
        bytes memory signature = _sign(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.ListingFull.selector, listingId, 1));
        vm.prank(renter);
        escrow.open(terms, signature);
    }
}
