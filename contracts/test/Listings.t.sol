// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {IOwnable} from "./utils/Interfaces.sol";
import {vm} from "./utils/Vm.sol";

// list
// ├── when the contract is paused: it should revert
// ├── when the token is not on the allow-list: it should revert
// ├── when the operator is missing: it should revert
// ├── when the document is empty or longer than 1024 bytes: it should revert
// └── when all is well: it should store the listing, emit Listed with the document, and give a
//     fresh id, also for the same machine listed again
// reprice, delist, setOperator
// ├── when the caller is not the listing's provider: it should revert
// ├── when there is no such listing: it should revert
// ├── reprice: it should set the limit
// ├── delist
// │   ├── given an active listing: it should end it
// │   └── given an ended listing: it should revert
// └── setOperator
//     ├── when the operator is missing: it should revert
//     └── given an active or an ended listing: it should replace the operator
contract ListingsTest is EscrowTest {
    bytes32 private constant UNKNOWN = keccak256("unknown");

    // ------------------------------------------------------------------------------------- list

    function test_list_whenPaused_reverts() external {
        vm.prank(OWNER);
        escrow.pause();
        vm.expectRevert(abi.encodeWithSelector(IOwnable.EnforcedPause.selector));
        escrow.list(CLASS, address(token), 1, operator, DOCUMENT);
    }

    function test_list_whenTokenIsNotAllowed_reverts(address unknown) external {
        vm.assume(unknown != address(token) && unknown != address(secondToken));
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.TokenNotAllowed.selector, unknown));
        escrow.list(CLASS, unknown, 1, operator, DOCUMENT);
    }

    function test_list_whenOperatorIsMissing_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AddressMissing.selector));
        escrow.list(CLASS, address(token), 1, address(0), DOCUMENT);
    }

    function test_list_whenDocumentIsEmpty_reverts() external {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.DocumentSizeOutOfRange.selector, 0, 1024)
        );
        escrow.list(CLASS, address(token), 1, operator, "");
    }

    function test_list_whenDocumentIsTooLong_reverts() external {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.DocumentSizeOutOfRange.selector, 1025, 1024)
        );
        escrow.list(CLASS, address(token), 1, operator, new bytes(1025));
    }

    function test_list_whenDocumentIsOfGreatestSize_stores() external {
        bytes memory document = new bytes(1024);
        bytes32 id = escrow.list(CLASS, address(token), 1, operator, document);
        vm.assertEq(escrow.listingOf(id).machineHash, keccak256(document), "machineHash");
    }

    function test_list_whenAllIsWell_storesAndEmits() external {
        bytes32 expected = keccak256(
            abi.encode(
                block.chainid,
                address(escrow),
                OTHER,
                address(token),
                keccak256(DOCUMENT),
                uint256(2)
            )
        );
        _expectEmit();
        emit IEscrowTypes.Listed(
            expected, OTHER, operator, CLASS, keccak256(DOCUMENT), address(token), 7, DOCUMENT
        );
        vm.prank(OTHER);
        bytes32 id = escrow.list(CLASS, address(token), 7, operator, DOCUMENT);
        vm.assertEq(id, expected, "listing id");
        IEscrowTypes.Listing memory listing = escrow.listingOf(id);
        vm.assertEq(listing.provider, OTHER, "provider");
        vm.assertTrue(listing.active, "active");
        vm.assertEq(listing.token, address(token), "token");
        vm.assertEq(listing.operator, operator, "operator");
        vm.assertEq(listing.maxPricePerHour, 7, "limit");
        vm.assertEq(listing.machineHash, keccak256(DOCUMENT), "machineHash");
    }

    function test_list_whenMachineIsListedAgain_givesAFreshId() external {
        vm.prank(PROVIDER);
        escrow.delist(listingId);
        vm.prank(PROVIDER);
        bytes32 again = escrow.list(CLASS, address(token), 5_000_000, operator, DOCUMENT);
        vm.assertNotEq(again, listingId, "listing id");
        vm.assertTrue(!escrow.listingOf(listingId).active, "the old one stays ended");
    }

    // -------------------------------------------------------------- reprice, delist, setOperator

    function test_reprice_whenCallerIsNotProvider_reverts(address caller) external {
        vm.assume(caller != PROVIDER);
        _expectNotListingProvider(caller, PROVIDER);
        vm.prank(caller);
        escrow.reprice(listingId, 1);
    }

    function test_reprice_whenListingIsUnknown_reverts() external {
        _expectNotListingProvider(PROVIDER, address(0));
        vm.prank(PROVIDER);
        escrow.reprice(UNKNOWN, 1);
    }

    function test_reprice_setsTheLimit(uint96 limit) external {
        _expectEmit();
        emit IEscrowTypes.Repriced(listingId, limit);
        vm.prank(PROVIDER);
        escrow.reprice(listingId, limit);
        vm.assertEq(escrow.listingOf(listingId).maxPricePerHour, limit, "limit");
    }

    function test_delist_whenCallerIsNotProvider_reverts() external {
        _expectNotListingProvider(operator, PROVIDER);
        vm.prank(operator);
        escrow.delist(listingId);
    }

    function test_delist_whenListingIsUnknown_reverts() external {
        _expectNotListingProvider(PROVIDER, address(0));
        vm.prank(PROVIDER);
        escrow.delist(UNKNOWN);
    }

    function test_delist_givenActiveListing_endsIt() external {
        _expectEmit();
        emit IEscrowTypes.Delisted(listingId);
        vm.prank(PROVIDER);
        escrow.delist(listingId);
        vm.assertTrue(!escrow.listingOf(listingId).active, "ended");
    }

    function test_delist_givenEndedListing_reverts() external {
        vm.prank(PROVIDER);
        escrow.delist(listingId);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.ListingInactive.selector, listingId));
        vm.prank(PROVIDER);
        escrow.delist(listingId);
    }

    function test_setOperator_whenCallerIsNotProvider_reverts() external {
        _expectNotListingProvider(operator, PROVIDER);
        vm.prank(operator);
        escrow.setOperator(listingId, OTHER);
    }

    function test_setOperator_whenOperatorIsMissing_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AddressMissing.selector));
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, address(0));
    }

    function test_setOperator_givenActiveListing_replacesIt() external {
        _expectEmit();
        emit IEscrowTypes.OperatorSet(listingId, OTHER);
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, OTHER);
        vm.assertEq(escrow.listingOf(listingId).operator, OTHER, "operator");
    }

    function test_setOperator_givenEndedListing_replacesIt() external {
        vm.prank(PROVIDER);
        escrow.delist(listingId);
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, OTHER);
        vm.assertEq(escrow.listingOf(listingId).operator, OTHER, "operator");
    }

    function _expectNotListingProvider(address caller, address provider) private {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.NotListingProvider.selector, caller, provider)
        );
    }
}
