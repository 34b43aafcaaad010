// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAuditorRegistry} from "../src/interfaces/IAuditorRegistry.sol";
import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {IOwnable} from "./utils/Interfaces.sol";
import {RegistryTest} from "./utils/RegistryTest.sol";
import {vm} from "./utils/Vm.sol";

// collect
// ├── given nothing: it should revert
// └── it should take the escrow's credit and what was sent, and leave the bonds
// postPayRoot
// ├── by another, without a root, or with a total out of range: it should revert
// ├── it should collect, replace a root that waits, and keep the one that counts
// └── it should count after the delay, not before
// rejectPayRoot
// ├── by another, or given none that waits: it should revert
// └── it should drop the one that waits and keep the one that counts
// claimPay
// ├── with a leaf that is not in the root: it should revert
// ├── twice, or more than the total allows: it should revert
// └── it should credit the difference to what was claimed before, by anybody
// setDistributor
// └── it should be the owner's, and name an account
contract AuditorRegistryPayTest is RegistryTest {
    uint256 private constant POOL = 1000;
    address private constant FIRST = address(0x5001);
    address private constant SECOND = address(0x5002);

    // ---------------------------------------------------------------------------------- collect

    function test_collect_givenNothing_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.NothingToCollect.selector, token));
        registry.collect(address(token));
    }

    function test_collect_takesTheEscrowsCreditAndWhatWasSent() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        _open(terms);
        vm.warp(START + 50);
        _commit(terms, 4);
        vm.warp(START + 50 + WINDOW);
        escrow.settle(terms);
        (,, uint256 share) = _split(4 * uint256(PRICE));
        (, uint256 accrued) = escrow.accruedOf(address(token));
        vm.assertEq(accrued, share, "audit share");
        vm.prank(OTHER);
        token.transfer(address(registry), 9);
        _expectRegistryEvent();
        emit IAuditorRegistry.PayCollected(address(token), share + 9, share + 9);
        vm.prank(STRANGER);
        vm.assertEq(registry.collect(address(token)), share + 9, "collected");
        vm.assertEq(registry.payOf(address(token)).received, share + 9, "received");
        vm.assertEq(token.balanceOf(address(registry)), 3 * MIN_BOND + share + 9, "balance");
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.NothingToCollect.selector, token));
        registry.collect(address(token));
    }

    function test_collect_takesNativeCoins() external {
        vm.deal(address(this), 50);
        (bool sent,) = address(registry).call{value: 50}("");
        vm.assertTrue(sent, "accepted");
        vm.assertEq(registry.collect(address(0)), 50, "collected");
        bytes32 root = _leaf(address(0), FIRST, 50);
        _post(address(0), root, 50);
        registry.claimPay(address(0), FIRST, 50, new bytes32[](0));
        registry.withdrawTo(address(0), FIRST);
        vm.assertEq(FIRST.balance, 50, "paid");
    }

    // ------------------------------------------------------------------------------ postPayRoot

    function test_postPayRoot_byAnother_reverts() external {
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditorRegistry.NotDistributor.selector, REGISTRY_OWNER, DISTRIBUTOR
            )
        );
        vm.prank(REGISTRY_OWNER);
        registry.postPayRoot(address(token), HARDWARE, 0);
    }

    function test_postPayRoot_whenWrong_reverts() external {
        _fill();
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.PayRootMissing.selector));
        vm.prank(DISTRIBUTOR);
        registry.postPayRoot(address(token), 0, 1);
        _expectTotalRefused(POOL + 1, 0, POOL);
        _post(address(token), HARDWARE, 600);
        _expectTotalRefused(599, 600, POOL);
    }

    function test_postPayRoot_cannotReachTheBonds() external {
        // Nothing came in: the judges' bonds are all that is there.
        _expectTotalRefused(1, 0, 0);
    }

    function test_postPayRoot_countsAfterTheDelay() external {
        _fill();
        uint40 countsFrom = uint40(START + PAY_DELAY);
        _expectRegistryEvent();
        emit IAuditorRegistry.PayCollected(address(token), POOL, POOL);
        _expectRegistryEvent();
        emit IAuditorRegistry.PayRootPosted(address(token), HARDWARE, 600, countsFrom);
        vm.prank(DISTRIBUTOR);
        registry.postPayRoot(address(token), HARDWARE, 600);
        _assertPay(IAuditorRegistry.Pay(POOL, 0, 0, 0, HARDWARE, 600, countsFrom));
        vm.warp(countsFrom - 1);
        _assertPay(IAuditorRegistry.Pay(POOL, 0, 0, 0, HARDWARE, 600, countsFrom));
        vm.warp(countsFrom);
        _assertPay(IAuditorRegistry.Pay(POOL, 0, HARDWARE, 600, 0, 0, 0));
    }

    function test_postPayRoot_replacesTheOneThatWaits() external {
        _fill();
        _post(address(token), HARDWARE, 100);
        vm.prank(DISTRIBUTOR);
        registry.postPayRoot(address(token), CLASS, 300);
        vm.warp(START + 2 * PAY_DELAY - 1);
        vm.prank(DISTRIBUTOR);
        registry.postPayRoot(address(token), TRACE, 200);
        uint40 countsFrom = uint40(START + 3 * PAY_DELAY - 1);
        _assertPay(IAuditorRegistry.Pay(POOL, 0, HARDWARE, 100, TRACE, 200, countsFrom));
        vm.warp(countsFrom);
        _assertPay(IAuditorRegistry.Pay(POOL, 0, TRACE, 200, 0, 0, 0));
    }

    // ---------------------------------------------------------------------------- rejectPayRoot

    function test_rejectPayRoot_byAnother_reverts() external {
        vm.expectRevert(
            abi.encodeWithSelector(IOwnable.OwnableUnauthorizedAccount.selector, DISTRIBUTOR)
        );
        vm.prank(DISTRIBUTOR);
        registry.rejectPayRoot(address(token));
    }

    function test_rejectPayRoot_givenNoneThatWaits_reverts() external {
        bytes memory reason =
            abi.encodeWithSelector(IAuditorRegistry.NoPayRootWaiting.selector, token);
        vm.expectRevert(reason);
        vm.prank(REGISTRY_OWNER);
        registry.rejectPayRoot(address(token));
        _fill();
        _post(address(token), HARDWARE, 100);
        // It counts already: the owner cannot take it back.
        vm.expectRevert(reason);
        vm.prank(REGISTRY_OWNER);
        registry.rejectPayRoot(address(token));
    }

    function test_rejectPayRoot_dropsTheOneThatWaits() external {
        _fill();
        _post(address(token), HARDWARE, 100);
        vm.prank(DISTRIBUTOR);
        registry.postPayRoot(address(token), CLASS, 300);
        _expectRegistryEvent();
        emit IAuditorRegistry.PayRootRejected(address(token), CLASS);
        vm.prank(REGISTRY_OWNER);
        registry.rejectPayRoot(address(token));
        vm.warp(START + 9 * PAY_DELAY);
        _assertPay(IAuditorRegistry.Pay(POOL, 0, HARDWARE, 100, 0, 0, 0));
    }

    // --------------------------------------------------------------------------------- claimPay

    function test_claimPay_creditsWhatWasNotClaimed() external {
        _fill();
        _postTwo(300, 400, 700);
        _expectRegistryEvent();
        emit IAuditorRegistry.PayClaimed(address(token), FIRST, 300, 300);
        vm.prank(STRANGER);
        registry.claimPay(address(token), FIRST, 300, _proof(SECOND, 400));
        vm.assertEq(_registryCredit(FIRST), 300, "credit");
        _postTwo(350, 650, 1000);
        _expectRegistryEvent();
        emit IAuditorRegistry.PayClaimed(address(token), FIRST, 50, 350);
        registry.claimPay(address(token), FIRST, 350, _proof(SECOND, 650));
        registry.claimPay(address(token), SECOND, 650, _proof(FIRST, 350));
        vm.assertEq(registry.claimedOf(address(token), FIRST), 350, "claimed by the first");
        vm.assertEq(_registryCredit(SECOND), 650, "credit of the second");
        vm.assertEq(registry.payOf(address(token)).claimed, POOL, "all claimed");
        registry.withdrawTo(address(token), SECOND);
        vm.assertEq(token.balanceOf(SECOND), 650, "paid");
    }

    function test_claimPay_beforeTheDelay_reverts() external {
        _fill();
        bytes32 root = _leaf(address(token), FIRST, 300);
        vm.prank(DISTRIBUTOR);
        registry.postPayRoot(address(token), root, 300);
        vm.warp(START + PAY_DELAY - 1);
        _expectProofInvalid(FIRST, 300);
        registry.claimPay(address(token), FIRST, 300, new bytes32[](0));
        vm.warp(START + PAY_DELAY);
        registry.claimPay(address(token), FIRST, 300, new bytes32[](0));
    }

    function test_claimPay_withALeafThatIsNotInTheRoot_reverts(uint256 amount) external {
        _fill();
        _postTwo(300, 400, 700);
        vm.assume(amount != 300 && amount != 400);
        bytes32[] memory proof = _proof(SECOND, 400);
        _expectProofInvalid(FIRST, amount);
        registry.claimPay(address(token), FIRST, amount, proof);
        _expectProofInvalid(SECOND, 300);
        registry.claimPay(address(token), SECOND, 300, proof);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditorRegistry.PayProofInvalid.selector, address(secondToken), FIRST, 300
            )
        );
        registry.claimPay(address(secondToken), FIRST, 300, proof);
    }

    function test_claimPay_twice_reverts() external {
        _fill();
        _postTwo(300, 400, 700);
        registry.claimPay(address(token), FIRST, 300, _proof(SECOND, 400));
        bytes32[] memory proof = _proof(SECOND, 400);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditorRegistry.NothingToClaim.selector, token, FIRST, 300, 300
            )
        );
        registry.claimPay(address(token), FIRST, 300, proof);
    }

    function test_claimPay_whenLeavesExceedTheTotal_reverts() external {
        _fill();
        _postTwo(300, 400, 600);
        registry.claimPay(address(token), SECOND, 400, _proof(FIRST, 300));
        bytes32[] memory proof = _proof(SECOND, 400);
        vm.expectRevert(
            abi.encodeWithSelector(IAuditorRegistry.PayExhausted.selector, token, 300, 200)
        );
        registry.claimPay(address(token), FIRST, 300, proof);
    }

    // --------------------------------------------------------------------------- setDistributor

    function test_setDistributor_isTheOwners() external {
        vm.expectRevert(
            abi.encodeWithSelector(IOwnable.OwnableUnauthorizedAccount.selector, STRANGER)
        );
        vm.prank(STRANGER);
        registry.setDistributor(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.AddressMissing.selector));
        vm.prank(REGISTRY_OWNER);
        registry.setDistributor(address(0));
        _expectRegistryEvent();
        emit IAuditorRegistry.DistributorSet(OTHER);
        vm.prank(REGISTRY_OWNER);
        registry.setDistributor(OTHER);
        vm.assertEq(registry.distributor(), OTHER, "distributor");
    }

    // ------------------------------------------------------------------------------------ tools

    function _fill() private {
        vm.prank(OTHER);
        token.transfer(address(registry), POOL);
    }

    /// @dev Posts, and waits until it counts.
    function _post(address asset, bytes32 root, uint256 total) private {
        vm.prank(DISTRIBUTOR);
        registry.postPayRoot(asset, root, total);
        vm.warp(vm.getBlockTimestamp() + PAY_DELAY);
    }

    function _postTwo(uint256 first, uint256 second, uint256 total) private {
        bytes32 a = _leaf(address(token), FIRST, first);
        bytes32 b = _leaf(address(token), SECOND, second);
        bytes32 root = a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
        _post(address(token), root, total);
    }

    function _leaf(address asset, address account, uint256 amount) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(asset, account, amount))));
    }

    /// @dev Of a tree of two: the other leaf.
    function _proof(address other, uint256 amount) private view returns (bytes32[] memory proof) {
        proof = new bytes32[](1);
        proof[0] = _leaf(address(token), other, amount);
    }

    function _expectTotalRefused(uint256 total, uint256 least, uint256 most) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditorRegistry.PayTotalOutOfRange.selector, total, least, most
            )
        );
        vm.prank(DISTRIBUTOR);
        registry.postPayRoot(address(token), HARDWARE, total);
    }

    function _expectProofInvalid(address account, uint256 amount) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditorRegistry.PayProofInvalid.selector, token, account, amount
            )
        );
    }

    function _assertPay(IAuditorRegistry.Pay memory expected) private view {
        IAuditorRegistry.Pay memory pay = registry.payOf(address(token));
        vm.assertEq(abi.encode(pay), abi.encode(expected), "pay");
    }
}
