// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {ILeaseEscrow} from "../src/interfaces/ILeaseEscrow.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {IOwnable, ITestToken} from "./utils/Interfaces.sol";
import {Vm, vm} from "./utils/Vm.sol";

// constructor
// ├── when an address is missing, the fee too high, the list of tokens too long or the period out
// │   of range: it should revert
// └── when all is well: it should set and emit everything, a token named twice once
// setFee, setTreasury, setAuditPool, pause, unpause
// ├── when the caller is not the owner: it should revert
// ├── when the value breaks a rule: it should revert
// ├── given shares that accrued: a new receiver should leave them to the old ones
// └── when all is well: it should set and emit it
// pause
// └── it should stop open and list, and none of the ways out
// ownership
// ├── it should move in two steps
// └── given up while paused: it should keep openings stopped, and every way out open
contract OwnerTest is EscrowTest {
    function test_constructor_whenAValueBreaksARule_reverts() external {
        address[] memory tokens = new address[](1);
        tokens[0] = address(token);
        bytes memory missing = abi.encodeWithSelector(IEscrowTypes.AddressMissing.selector);
        _expectNoDeployment(abi.encode(OWNER, address(0), AUDIT_POOL, 0, tokens, 1), missing);
        _expectNoDeployment(abi.encode(OWNER, TREASURY, address(0), 0, tokens, 1), missing);
        _expectNoDeployment(
            abi.encode(OWNER, TREASURY, AUDIT_POOL, 1001, tokens, 1),
            abi.encodeWithSelector(IEscrowTypes.FeeTooHigh.selector, 1001, 1000)
        );
        _expectNoDeployment(
            abi.encode(OWNER, TREASURY, AUDIT_POOL, 0, new address[](17), 1),
            abi.encodeWithSelector(IEscrowTypes.TooManyTokens.selector, 17, 16)
        );
        uint32[2] memory periods = [0, uint32(180 days) + 1];
        for (uint256 i = 0; i < periods.length; ++i) {
            _expectNoDeployment(
                abi.encode(OWNER, TREASURY, AUDIT_POOL, 0, tokens, periods[i]),
                abi.encodeWithSelector(
                    IEscrowTypes.UnbondingPeriodOutOfRange.selector, periods[i], 180 days
                )
            );
        }
    }

    function test_constructor_whenAllIsWell_setsAndEmits() external {
        address[] memory tokens = new address[](3);
        (tokens[0], tokens[1], tokens[2]) = (address(token), address(secondToken), address(token));
        vm.recordLogs();
        ILeaseEscrow fresh = _newEscrow(tokens);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        // The second is the extension's, about an owner that it never asks.
        vm.assertEq(logs[1].emitter, fresh.extension(), "emitter");
        bytes32[7] memory topics = [
            keccak256("OwnershipTransferred(address,address)"),
            keccak256("OwnershipTransferred(address,address)"),
            IEscrowTypes.TokenAllowed.selector,
            IEscrowTypes.TokenAllowed.selector,
            IEscrowTypes.FeeSet.selector,
            IEscrowTypes.TreasurySet.selector,
            IEscrowTypes.AuditPoolSet.selector
        ];
        vm.assertEq(logs.length, topics.length, "events");
        for (uint256 i = 0; i < topics.length; ++i) {
            vm.assertEq(logs[i].topics[0], topics[i], "event");
        }
        vm.assertEq(fresh.allowedTokens().length, 2, "tokens");
        vm.assertEq(fresh.allowedTokens()[1], address(secondToken), "second token");
        vm.assertEq(fresh.feeBps(), FEE_BPS, "fee");
        vm.assertEq(fresh.treasury(), TREASURY, "treasury");
        vm.assertEq(fresh.auditPool(), AUDIT_POOL, "audit pool");
        vm.assertEq(fresh.unbondingPeriod(), UNBONDING, "unbonding period");
        vm.assertEq(IOwnable(address(fresh)).owner(), OWNER, "owner");
    }

    function test_settings_whenCallerIsNotOwner_revert(address caller) external {
        vm.assume(caller != OWNER);
        bytes[5] memory calls = [
            abi.encodeCall(escrow.setFee, (1)),
            abi.encodeCall(escrow.setTreasury, (caller)),
            abi.encodeCall(escrow.setAuditPool, (caller)),
            abi.encodeCall(escrow.pause, ()),
            abi.encodeCall(escrow.unpause, ())
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.prank(caller);
            (bool done, bytes memory result) = address(escrow).call(calls[i]);
            vm.assertTrue(!done, "refused");
            vm.assertEq(
                result,
                abi.encodeWithSelector(IOwnable.OwnableUnauthorizedAccount.selector, caller),
                "reason"
            );
        }
    }

    function test_setFee_whenTooHigh_reverts(uint16 feeBps) external {
        vm.assume(feeBps > 1000);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.FeeTooHigh.selector, feeBps, 1000));
        vm.prank(OWNER);
        escrow.setFee(feeBps);
    }

    // A4 #10
    function test_setFee_whenAllIsWell_sets() external {
        _expectEmit();
        emit IEscrowTypes.FeeSet(1000);
        vm.prank(OWNER);
        escrow.setFee(1000);
        vm.assertEq(escrow.feeBps(), 1000, "fee");
    }

    function test_setTreasury_whenMissing_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AddressMissing.selector));
        vm.prank(OWNER);
        escrow.setTreasury(address(0));
    }

    function test_setAuditPool_whenMissing_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AddressMissing.selector));
        vm.prank(OWNER);
        escrow.setAuditPool(address(0));
    }

    function test_setReceivers_whenAllIsWell_payFromThenOn() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        _expectEmit();
        emit IEscrowTypes.TreasurySet(OTHER);
        vm.prank(OWNER);
        escrow.setTreasury(OTHER);
        _expectEmit();
        emit IEscrowTypes.AuditPoolSet(CHALLENGER);
        vm.prank(OWNER);
        escrow.setAuditPool(CHALLENGER);
        vm.warp(START + 50 + WINDOW);
        escrow.settle(terms);
        escrow.collect(address(token));
        (uint256 a, uint256 b, uint256 c) = _split(2 * uint256(PRICE));
        _assertCredits(
            Credits({renter: 0, provider: a, treasury: 0, auditPool: 0, challenger: c, other: b})
        );
    }

    /// @dev A new receiver gets nothing of what was earned before it was named, in any token.
    function test_setReceivers_creditTheOldOnesFirst(bool isTreasury) external {
        vm.prank(PROVIDER);
        listingId = escrow.list(CLASS, address(secondToken), 1, operator, DOCUMENT);
        _payVoucher(secondToken, 0);
        vm.prank(PROVIDER);
        listingId = escrow.list(CLASS, address(token), 1, operator, DOCUMENT);
        _payVoucher(token, 1);
        (, uint256 b, uint256 c) = _split(PRICE);
        _expectEmit();
        emit IEscrowTypes.Collected(address(token), TREASURY, b, AUDIT_POOL, c);
        _expectEmit();
        emit IEscrowTypes.Collected(address(secondToken), TREASURY, b, AUDIT_POOL, c);
        vm.prank(OWNER);
        if (isTreasury) escrow.setTreasury(OTHER);
        else escrow.setAuditPool(OTHER);
        ITestToken[2] memory tokens = [token, secondToken];
        for (uint256 i = 0; i < 2; ++i) {
            vm.assertEq(escrow.creditOf(address(tokens[i]), TREASURY), b, "treasury");
            vm.assertEq(escrow.creditOf(address(tokens[i]), AUDIT_POOL), c, "audit pool");
            vm.assertEq(escrow.creditOf(address(tokens[i]), OTHER), 0, "new receiver");
            (uint256 fees, uint256 auditShares) = escrow.accruedOf(address(tokens[i]));
            vm.assertEq(fees + auditShares, 0, "accrued");
        }
    }

    function _payVoucher(ITestToken paidIn, uint96 bond) private {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        (terms.token, terms.bond, terms.listingId) = (address(paidIn), bond, listingId);
        paidIn.mint(renter, COST);
        vm.prank(renter);
        paidIn.approve(address(escrow), type(uint256).max);
        _open(terms);
        escrow.settleVoucher(terms, 1, _voucher(terms, 1));
    }

    // ------------------------------------------------------------------------------------- pause

    // A4 #31
    function test_pause_stopsNoWayOut() external {
        vm.prank(PROVIDER);
        escrow.stake(address(token), 4 * uint256(BOND));
        IEscrowTypes.Terms[] memory all = new IEscrowTypes.Terms[](5);
        for (uint64 i = 0; i < 5; ++i) {
            all[i] = _terms();
            all[i].nonce = i;
            if (i == 4) all[i].window = 0;
            _open(all[i]);
        }
        vm.prank(OWNER);
        escrow.pause();

        vm.warp(START + 50);
        for (uint256 i = 0; i < 4; ++i) {
            _commit(all[i], 2);
        }
        escrow.settleVoucher(all[4], 1, _voucher(all[4], 1));
        _challenge(CHALLENGER, all[0], 1);
        _challenge(CHALLENGER, all[1], 1);
        _rule(all[0], true, 1);
        vm.prank(PROVIDER);
        escrow.stake(address(token), 1);
        vm.prank(PROVIDER);
        escrow.unbond(address(token), 1);
        vm.prank(PROVIDER);
        escrow.reprice(listingId, 2);
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, OTHER);
        vm.prank(PROVIDER);
        escrow.delist(listingId);
        _stop(all[2]);
        vm.warp(START + 50 + UNBONDING);
        escrow.timeoutDispute(all[1]);
        escrow.settle(all[2]);
        IEscrowTypes.Terms[] memory rest = new IEscrowTypes.Terms[](1);
        rest[0] = all[3];
        vm.assertEq(escrow.settleMany(rest), 1, "settled");
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
        escrow.collect(address(token));
        _close(renter, all[2]);
        _close(PROVIDER, all[3]);
        _close(PROVIDER, all[4]);
        escrow.withdrawTo(address(token), renter);
        vm.prank(PROVIDER);
        escrow.withdraw(address(token), OTHER, 1);
    }

    function test_unpause_opensAgain() external {
        vm.prank(OWNER);
        escrow.pause();
        vm.assertTrue(_ownable().paused(), "paused");
        vm.prank(OWNER);
        escrow.unpause();
        _open(_terms());
    }

    // --------------------------------------------------------------------------------- ownership

    function test_transferOwnership_needsTwoSteps() external {
        vm.prank(OWNER);
        _ownable().transferOwnership(OTHER);
        vm.assertEq(_ownable().owner(), OWNER, "owner before");
        vm.assertEq(_ownable().pendingOwner(), OTHER, "pending owner");
        vm.prank(OTHER);
        _ownable().acceptOwnership();
        vm.assertEq(_ownable().owner(), OTHER, "owner after");
    }

    function test_renounceOwnership_givenPause_leavesTheWaysOut() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes memory signature = _sign(terms);
        vm.prank(OWNER);
        escrow.pause();
        vm.expectRevert(
            abi.encodeWithSelector(IOwnable.OwnableUnauthorizedAccount.selector, OTHER)
        );
        vm.prank(OTHER);
        _ownable().renounceOwnership();
        vm.prank(OWNER);
        _ownable().renounceOwnership();
        vm.assertEq(_ownable().owner(), address(0), "owner");
        vm.expectRevert(
            abi.encodeWithSelector(IOwnable.OwnableUnauthorizedAccount.selector, OWNER)
        );
        vm.prank(OWNER);
        escrow.unpause();
        vm.expectRevert(abi.encodeWithSelector(IOwnable.EnforcedPause.selector));
        vm.prank(renter);
        escrow.open(terms, signature);
        vm.prank(PROVIDER);
        escrow.unbond(address(token), STAKE);
        vm.warp(START + UNBONDING);
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
        escrow.withdrawTo(address(token), PROVIDER);
        vm.assertEq(token.balanceOf(address(escrow)), 0, "left in the escrow");
    }

    // ------------------------------------------------------------------------------------- tools

    /// @dev Deploys by hand: the cheat code hides why a constructor reverted.
    function _expectNoDeployment(bytes memory arguments, bytes memory reason) private {
        bytes memory code = abi.encodePacked(vm.getCode("LeaseEscrow.sol:LeaseEscrow"), arguments);
        address deployed;
        assembly ("memory-safe") {
            deployed := create(0, add(code, 32), mload(code))
        }
        bytes memory result;
        assembly ("memory-safe") {
            result := mload(0x40)
            mstore(result, returndatasize())
            returndatacopy(add(result, 32), 0, returndatasize())
            mstore(0x40, add(result, and(add(returndatasize(), 63), not(31))))
        }
        vm.assertEq(deployed, address(0), "deployed");
        vm.assertEq(result, reason, "reason");
    }
}
