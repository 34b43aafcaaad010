// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {ConsentTest} from "./utils/ConsentTest.sol";
import {IOwnable} from "./utils/Interfaces.sol";
import {ReentrantAccount, ReentrantSigner} from "./utils/Signers.sol";
import {ReentrantToken} from "./utils/Tokens.sol";
import {vm} from "./utils/Vm.sol";

// calls from within a token, a receiver of coins or a signer
// ├── every function that changes state should be closed to them, whichever way they came in
// ├── what they interrupt should end as if they had not called
// └── what they read should be the state after it
//
// A4 #28. That the list of functions is whole is held by
// tests/unit/repository/test_contract_tests.py.
contract ReentrancyTest is ConsentTest {
    ReentrantToken private _hostile;

    // ------------------------------------------------------------------------------------- tokens

    function test_everyFunction_whenCalledFromATransferIn_isClosed() external {
        _useHostile();
        bytes[] memory calls = _everyCall(address(_hostile));
        for (uint256 i = 0; i < calls.length; ++i) {
            _hostile.arm(address(escrow), calls[i]);
            vm.prank(PROVIDER);
            escrow.stake(address(_hostile), 100);
            _assertClosed();
        }
        _assertHostileStake(STAKE + 100 * calls.length);
    }

    // A4 #28
    function test_everyFunction_whenCalledFromATransferOut_isClosed() external {
        _useHostile();
        bytes[] memory calls = _everyCall(address(_hostile));
        _earn();
        for (uint256 i = 0; i < calls.length; ++i) {
            _hostile.arm(address(escrow), calls[i]);
            uint256 credit = escrow.creditOf(address(_hostile), renter);
            uint256 balance = _hostile.balanceOf(renter);
            vm.prank(renter);
            escrow.withdraw(address(_hostile), renter, 1);
            _assertClosed();
            vm.assertEq(escrow.creditOf(address(_hostile), renter), credit - 1, "debited once");
            vm.assertEq(_hostile.balanceOf(renter), balance + 1, "sent once");
        }
    }

    function test_everyFunction_whenCalledFromAPermit_isClosed() external {
        _useHostile();
        bytes[] memory calls = _everyCall(address(_hostile));
        IEscrowTypes.Permit memory permit;
        permit.value = type(uint256).max;
        for (uint64 i = 0; i < calls.length; ++i) {
            IEscrowTypes.Terms memory terms = _hostileTerms(10 + i);
            bytes memory signature = _sign(terms);
            _hostile.arm(address(escrow), calls[i]);
            vm.prank(renter);
            bytes32 leaseId = escrow.openWithPermit(terms, signature, permit);
            _assertClosed();
            vm.assertEq(escrow.leaseOf(leaseId).escrow, COST, "opened");
        }
    }

    function test_everyFunction_whenCalledFromAnAuthorization_isClosed() external {
        _useHostile();
        bytes[] memory calls = _everyCall(address(_hostile));
        IEscrowTypes.Authorization memory authorization;
        for (uint64 i = 0; i < calls.length; ++i) {
            IEscrowTypes.Terms memory terms = _hostileTerms(10 + i);
            bytes memory signature = _sign(terms);
            _hostile.arm(address(escrow), calls[i]);
            vm.prank(STRANGER);
            bytes32 leaseId = escrow.openWithAuthorization(terms, signature, authorization);
            _assertClosed();
            vm.assertEq(escrow.leaseOf(leaseId).escrow, COST, "opened");
        }
    }

    /// @dev A reader within the token's call sees the state after it: nothing to trade on.
    function test_withdraw_whenReadFromWithinTheToken_showsTheCreditGone() external {
        _useHostile();
        _earn();
        _hostile.arm(address(escrow), abi.encodeCall(escrow.creditOf, (address(_hostile), renter)));
        escrow.withdrawTo(address(_hostile), renter);
        vm.assertTrue(_hostile.succeeded(), "read");
        vm.assertEq(abi.decode(_hostile.result(), (uint256)), 0, "credit");
    }

    // ------------------------------------------------------------------------ receivers, signers

    function test_everyFunction_whenCalledFromAReceiverOfCoins_isClosed() external {
        ReentrantAccount account = new ReentrantAccount();
        _useCoin();
        vm.deal(address(account), COST);
        IEscrowTypes.Terms memory terms = _hostileTerms(1);
        (terms.token, terms.renter, terms.bond) = (address(0), address(account), 0);
        bytes memory signature = _sign(terms);
        vm.prank(address(account));
        escrow.open{value: COST}(terms, signature);
        _close(PROVIDER, terms);
        bytes[] memory calls = _everyCall(address(0));
        for (uint256 i = 0; i < calls.length; ++i) {
            account.arm(address(escrow), calls[i]);
            vm.prank(address(account));
            escrow.withdraw(address(0), address(account), 1);
            vm.assertTrue(!account.succeeded(), "closed");
            _assertByGuard(account.result());
        }
        vm.assertEq(address(account).balance, calls.length, "sent once each");
        account.arm(address(escrow), abi.encodeCall(escrow.withdrawTo, (address(0), PROVIDER)));
        escrow.withdrawTo(address(0), address(account));
        vm.assertEq(address(account).balance, COST, "all of it, once");
    }

    /// @dev A signer is asked by a static call: it can change nothing anywhere, guard or not.
    function test_everyFunction_whenCalledFromASigner_isClosed() external {
        ReentrantSigner signer = new ReentrantSigner();
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, address(signer));
        bytes[] memory calls = _everyCall(address(token));
        for (uint64 i = 0; i < calls.length; ++i) {
            IEscrowTypes.Terms memory terms = _terms();
            (terms.operator, terms.bond, terms.nonce) = (address(signer), 0, 10 + i);
            signer.arm(address(escrow), calls[i]);
            // The signer accepts only when its own call was refused.
            vm.prank(renter);
            escrow.open(terms, "");
        }
        _assertStake(STAKE, 0, 0);
    }

    // ------------------------------------------------------------------------------------- tools

    /// @dev Every function that changes state, but the owner's: with arguments that a caller could
    /// hope something from.
    function _everyCall(address coin) private view returns (bytes[] memory calls) {
        bytes[14] memory leases = _leaseCalls(coin);
        bytes[20] memory others = _otherCalls(coin);
        calls = new bytes[](leases.length + others.length);
        for (uint256 i = 0; i < leases.length; ++i) {
            calls[i] = leases[i];
        }
        for (uint256 i = 0; i < others.length; ++i) {
            calls[leases.length + i] = others[i];
        }
    }

    function _leaseCalls(address coin) private view returns (bytes[14] memory) {
        IEscrowTypes.Terms memory terms = _terms();
        terms.token = coin;
        IEscrowTypes.Terms[] memory all = new IEscrowTypes.Terms[](1);
        all[0] = terms;
        IEscrowTypes.Permit memory permit;
        IEscrowTypes.Authorization memory authorization;
        IEscrowTypes.Source credit = IEscrowTypes.Source.Credit;
        return [
            abi.encodeCall(escrow.open, (terms, "")),
            abi.encodeCall(escrow.openWithPermit, (terms, "", permit)),
            abi.encodeCall(escrow.openWithAuthorization, (terms, "", authorization)),
            abi.encodeCall(escrow.openFrom, (terms, "", credit, 0, "")),
            _openForCall(terms, "", _order(), ""),
            abi.encodeCall(escrow.commit, (terms, 1, TRACE)),
            abi.encodeCall(escrow.settle, (terms)),
            abi.encodeCall(escrow.settleMany, (all)),
            abi.encodeCall(escrow.settleVoucher, (terms, 1, "")),
            abi.encodeCall(escrow.stop, (terms)),
            abi.encodeCall(escrow.stopFor, (terms, "")),
            abi.encodeCall(escrow.close, (terms)),
            abi.encodeCall(escrow.challenge, (terms, 0)),
            _challengeFromCall(terms, 0, credit, OTHER, "")
        ];
    }

    function _otherCalls(address coin) private view returns (bytes[20] memory) {
        IEscrowTypes.Terms memory terms = _terms();
        terms.token = coin;
        return [
            abi.encodeCall(escrow.list, (CLASS, coin, 1, operator, "x")),
            abi.encodeCall(escrow.reprice, (listingId, 2)),
            abi.encodeCall(escrow.delist, (listingId)),
            abi.encodeCall(escrow.setOperator, (listingId, OTHER)),
            abi.encodeCall(escrow.setCapacity, (listingId, 1)),
            abi.encodeCall(escrow.cancelNonces, (listingId, 0, 1)),
            abi.encodeCall(escrow.stake, (coin, 1)),
            abi.encodeCall(escrow.unbond, (coin, 1)),
            abi.encodeCall(escrow.claimUnbond, (coin)),
            abi.encodeCall(escrow.rule, (terms, true, 0)),
            abi.encodeCall(escrow.timeoutDispute, (terms)),
            abi.encodeCall(escrow.attestUnretrievable, (terms, 0)),
            abi.encodeCall(escrow.demandData, (terms, 0)),
            abi.encodeCall(escrow.rejectMachine, (terms, 0, "")),
            abi.encodeCall(escrow.ruleLate, (terms, 0)),
            abi.encodeCall(escrow.payLate, (terms)),
            abi.encodeCall(escrow.revokeOrder, (_order(), "")),
            abi.encodeCall(escrow.collect, (coin)),
            abi.encodeCall(escrow.withdrawTo, (coin, PROVIDER)),
            abi.encodeCall(escrow.withdraw, (coin, PROVIDER, 1))
        ];
    }

    function _useHostile() private {
        _hostile = new ReentrantToken();
        address[] memory tokens = new address[](1);
        tokens[0] = address(_hostile);
        escrow = _newEscrow(tokens);
        address[2] memory accounts = [renter, PROVIDER];
        for (uint256 i = 0; i < accounts.length; ++i) {
            _hostile.mint(accounts[i], 100 * STAKE);
            vm.prank(accounts[i]);
            _hostile.approve(address(escrow), type(uint256).max);
        }
        vm.prank(PROVIDER);
        listingId = escrow.list(CLASS, address(_hostile), 1, operator, DOCUMENT);
        vm.prank(PROVIDER);
        escrow.stake(address(_hostile), STAKE);
    }

    function _useCoin() private {
        escrow = _newEscrow(new address[](1));
        vm.prank(PROVIDER);
        listingId = escrow.list(CLASS, address(0), 1, operator, DOCUMENT);
    }

    function _hostileTerms(uint64 nonce) private view returns (IEscrowTypes.Terms memory terms) {
        terms = _terms();
        (terms.token, terms.bond, terms.nonce) = (address(_hostile), 0, nonce);
    }

    /// @dev Credit of the renter.
    function _earn() private {
        IEscrowTypes.Terms memory terms = _hostileTerms(1);
        _open(terms);
        _close(PROVIDER, terms);
    }

    function _assertClosed() private view {
        vm.assertTrue(_hostile.called() && !_hostile.succeeded(), "closed");
        _assertByGuard(_hostile.result());
    }

    function _assertByGuard(bytes memory reason) private pure {
        vm.assertEq(
            reason,
            abi.encodeWithSelector(IOwnable.ReentrancyGuardReentrantCall.selector),
            "by the guard"
        );
    }

    function _assertHostileStake(uint256 expected) private view {
        (uint256 total,,,,) = escrow.stakeOf(PROVIDER, address(_hostile));
        vm.assertEq(total, expected, "stake");
    }
}
