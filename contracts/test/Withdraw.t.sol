// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// withdrawTo
// ├── given no credit: it should revert
// └── given credit: it should send all of it to the account itself, whoever calls
// withdraw
// ├── when the amount is zero, or above the credit: it should revert
// ├── when the recipient is missing or the escrow itself: it should revert
// └── when all is well: it should send the amount and keep the rest
contract WithdrawTest is EscrowTest {
    function setUp() public override {
        super.setUp();
        _open(_terms());
        _close(PROVIDER, _terms());
    }

    function test_withdrawTo_givenNoCredit_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AmountMissing.selector));
        escrow.withdrawTo(address(token), OTHER);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AmountMissing.selector));
        escrow.withdrawTo(address(secondToken), renter);
    }

    function test_withdrawTo_givenCredit_sendsAllToTheAccount(address caller) external {
        uint256 before = token.balanceOf(renter);
        _expectEmit();
        emit IEscrowTypes.Withdrawn(address(token), renter, renter, COST);
        vm.prank(caller);
        escrow.withdrawTo(address(token), renter);
        vm.assertEq(token.balanceOf(renter), before + COST, "balance");
        vm.assertEq(_credits().renter, 0, "credit");
    }

    function test_withdraw_whenAmountIsZero_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AmountMissing.selector));
        vm.prank(renter);
        escrow.withdraw(address(token), OTHER, 0);
    }

    function test_withdraw_whenAboveCredit_reverts() external {
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.CreditTooLow.selector, token, renter, COST + 1, COST
            )
        );
        vm.prank(renter);
        escrow.withdraw(address(token), OTHER, COST + 1);
    }

    function test_withdraw_whenCallerIsSomebodyElse_reverts(address caller) external {
        vm.assume(caller != renter && caller != address(0) && caller != address(escrow));
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.CreditTooLow.selector, token, caller, 1, 0)
        );
        vm.prank(caller);
        escrow.withdraw(address(token), caller, 1);
    }

    function test_withdraw_whenRecipientIsNotAllowed_reverts() external {
        address[2] memory recipients = [address(0), address(escrow)];
        for (uint256 i = 0; i < recipients.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IEscrowTypes.RecipientNotAllowed.selector, recipients[i])
            );
            vm.prank(renter);
            escrow.withdraw(address(token), recipients[i], 1);
        }
    }

    function test_withdraw_whenAllIsWell_sendsAndKeepsTheRest(uint64 amount) external {
        amount = 1 + uint64(amount % COST);
        uint256 before = token.balanceOf(OTHER);
        _expectEmit();
        emit IEscrowTypes.Withdrawn(address(token), renter, OTHER, amount);
        vm.prank(renter);
        escrow.withdraw(address(token), OTHER, amount);
        vm.assertEq(token.balanceOf(OTHER), before + amount, "balance");
        vm.assertEq(_credits().renter, COST - amount, "credit");
    }
}
