// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {ConsentTest} from "./utils/ConsentTest.sol";
import {
    AnsweringSigner,
    ContractSigner,
    GreedyAccount,
    GreedySigner,
    RefusingAccount
} from "./utils/Signers.sol";
import {vm} from "./utils/Vm.sol";

// signatures of contract accounts (EIP-1271), of every kind that the escrow takes
// ├── given an account that follows a key: each should count as the account's
// └── given one that reverts, burns all gas or answers with garbage
//     ├── each should be refused
//     └── its leases should end by time, and pay everybody else
// receivers of coins
// └── given one that refuses them, or burns all gas: nobody else should be hurt
//
// A4 #25 and #29. Calls from within a signer or a receiver: Reentrancy.t.sol.
contract HostileAccountsTest is ConsentTest {
    uint256 private constant ENOUGH_GAS = 2_000_000;
    uint256 private constant NUM_HOSTILE = 8;
    IEscrowTypes.Source private constant ALLOWANCE = IEscrowTypes.Source.Allowance;

    // ----------------------------------------------------------------------------------- signers

    function test_everyConsent_ofAContractAccount_counts() external {
        address wallet = address(new ContractSigner(vm.addr(RENTER_KEY)));
        _fund(wallet);
        (IEscrowTypes.Terms memory live, IEscrowTypes.Terms memory metered) = _leasesOf(wallet);
        (string[7] memory kinds, bytes[7] memory calls) = _consents(wallet, live, metered);
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.prank(STRANGER);
            (bool done,) = address(escrow).call(calls[i]);
            vm.assertTrue(done, kinds[i]);
        }
        vm.assertTrue(escrow.leaseOf(escrow.leaseIdOf(live)).stoppedAt != 0, "stopped");
        vm.assertEq(escrow.leaseOf(escrow.leaseIdOf(metered)).paid, 2, "paid");
        vm.assertEq(escrow.disputeOf(escrow.leaseIdOf(live)).challenger, wallet, "challenger");
    }

    // A4 #25
    function test_everyConsent_ofAHostileAccount_isRefused() external {
        for (uint256 n = 0; n < NUM_HOSTILE; ++n) {
            uint256 before = vm.snapshotState();
            address wallet = _hostileSigner(n);
            _fund(wallet);
            (IEscrowTypes.Terms memory live, IEscrowTypes.Terms memory metered) = _leasesOf(wallet);
            (string[7] memory kinds, bytes[7] memory calls) = _consents(wallet, live, metered);
            uint256 balance = token.balanceOf(wallet);
            for (uint256 i = 0; i < calls.length; ++i) {
                vm.prank(STRANGER);
                (bool done,) = address(escrow).call{gas: ENOUGH_GAS}(calls[i]);
                vm.assertTrue(!done, kinds[i]);
            }
            vm.assertEq(token.balanceOf(wallet), balance, "nothing taken");
            _endByTime(wallet, live, metered);
            vm.revertToState(before);
        }
    }

    /// @dev A wrong answer is named as what it is, also one that begins with the right four bytes.
    function test_stopFor_givenAnAccountThatAnswersWrong_namesTheSigner() external {
        for (uint256 n = 1; n < NUM_HOSTILE; ++n) {
            address wallet = _hostileSigner(n);
            _fund(wallet);
            IEscrowTypes.Terms memory terms = _terms();
            (terms.renter, terms.bond, terms.nonce) = (wallet, 0, uint64(n));
            bytes32 digest = escrow.stopDigest(_open(terms));
            vm.expectRevert(
                abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, wallet, digest)
            );
            escrow.stopFor(terms, "");
        }
    }

    /// @dev The operator is the provider's own choice; a bad one opens nothing.
    function test_open_givenAHostileOperator_isRefused() external {
        for (uint256 n = 0; n < NUM_HOSTILE; ++n) {
            address signer = _hostileSigner(n);
            vm.prank(PROVIDER);
            escrow.setOperator(listingId, signer);
            IEscrowTypes.Terms memory terms = _terms();
            terms.operator = signer;
            vm.prank(renter);
            (bool done,) =
                address(escrow).call{gas: ENOUGH_GAS}(abi.encodeCall(escrow.open, (terms, "")));
            vm.assertTrue(!done, "refused");
        }
    }

    /// @dev Nor does it end a lease that is open by a report of a failed probe.
    function test_rejectMachine_givenAHostileOperator_isRefused() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        bytes memory call = abi.encodeCall(escrow.rejectMachine, (terms, bytes32(uint256(1)), ""));
        for (uint256 n = 0; n < NUM_HOSTILE; ++n) {
            address signer = _hostileSigner(n);
            vm.prank(PROVIDER);
            escrow.setOperator(listingId, signer);
            vm.prank(STRANGER);
            (bool done,) = address(escrow).call{gas: ENOUGH_GAS}(call);
            vm.assertTrue(!done, "refused");
        }
        vm.assertTrue(escrow.leaseOf(leaseId).status == IEscrowTypes.LeaseStatus.Active, "goes on");
    }

    // --------------------------------------------------------------------------------- receivers

    // A4 #29
    function test_withdraw_givenAccountThatTakesNoCoins_harmsNobodyElse() external {
        address[2] memory accounts = [address(new RefusingAccount()), address(new GreedyAccount())];
        for (uint256 i = 0; i < accounts.length; ++i) {
            uint256 before = vm.snapshotState();
            IEscrowTypes.Terms memory terms = _coinLease(accounts[i]);
            vm.warp(START + 50);
            _commit(terms, 3);
            vm.warp(START + 50 + WINDOW);
            _close(PROVIDER, terms);
            uint256 refund = COST - 3 * uint256(PRICE);
            (bool done,) = address(escrow).call{gas: ENOUGH_GAS}(
                abi.encodeCall(escrow.withdrawTo, (address(0), accounts[i]))
            );
            vm.assertTrue(!done, "refused");
            vm.assertEq(escrow.creditOf(address(0), accounts[i]), refund, "kept");
            escrow.withdrawTo(address(0), PROVIDER);
            vm.prank(accounts[i]);
            escrow.withdraw(address(0), OTHER, refund);
            vm.assertEq(OTHER.balance, refund, "sent elsewhere");
            vm.revertToState(before);
        }
    }

    // ------------------------------------------------------------------------------------- tools

    /// @dev The first burns gas, so its refusal carries no reason of ours.
    function _hostileSigner(uint256 n) private returns (address) {
        bytes4 magic = ContractSigner.isValidSignature.selector;
        if (n == 0) return address(new GreedySigner());
        if (n == 1) return address(new AnsweringSigner("no", true));
        // Even the right answer does not count when it comes as a refusal.
        if (n == 2) return address(new AnsweringSigner(abi.encode(magic), true));
        if (n == 3) return address(new AnsweringSigner("", false));
        if (n == 4) return address(new AnsweringSigner(abi.encodePacked(magic), false));
        if (n == 5) return address(new AnsweringSigner(abi.encode(bytes4(0xffffffff)), false));
        if (n == 6) return address(new AnsweringSigner(abi.encode(uint256(1)), false));
        // Begins with the magic value, and is not it.
        return
            address(new AnsweringSigner(abi.encode(bytes32(magic) | bytes32(uint256(1))), false));
    }

    /// @dev An ordinary lease that has committed, and a metered one.
    function _leasesOf(address wallet)
        private
        returns (IEscrowTypes.Terms memory live, IEscrowTypes.Terms memory metered)
    {
        (live, metered) = (_terms(), _meteredTerms());
        (live.renter, live.bond, live.nonce) = (wallet, 0, 11);
        (metered.renter, metered.bond, metered.nonce) = (wallet, 0, 12);
        _open(live);
        _open(metered);
        vm.warp(START + 50);
        _commit(live, 4);
    }

    /// @dev One call for each kind of signature of a renter; sent by a stranger.
    function _consents(
        address wallet,
        IEscrowTypes.Terms memory live,
        IEscrowTypes.Terms memory metered
    ) private view returns (string[7] memory kinds, bytes[7] memory calls) {
        kinds = ["opening", "order", "revocation", "challenge", "voucher", "stop", "stop, metered"];
        IEscrowTypes.Terms memory terms = _terms();
        (terms.renter, terms.bond) = (wallet, 0);
        bytes32 digest = escrow.openingDigest(escrow.leaseIdOf(terms), ALLOWANCE, 7);
        calls[0] = abi.encodeCall(
            escrow.openFrom, (terms, _sign(terms), ALLOWANCE, 7, _signature(RENTER_KEY, digest))
        );
        terms.nonce = 2;
        IEscrowTypes.Order memory order = _order();
        (order.renter, order.minBond, order.minBondBps) = (wallet, 0, 0);
        calls[1] = _openForCall(terms, _sign(terms), order, _signOrder(order));
        digest = escrow.revocationDigest(escrow.orderDigest(order));
        calls[2] = abi.encodeCall(escrow.revokeOrder, (order, _signature(RENTER_KEY, digest)));
        bytes32 leaseId = escrow.leaseIdOf(live);
        digest = _challengeDigest(leaseId, 1, ALLOWANCE);
        calls[3] = _challengeFromCall(live, 1, ALLOWANCE, wallet, _signature(RENTER_KEY, digest));
        calls[4] = abi.encodeCall(escrow.settleVoucher, (metered, 2, _voucher(metered, 2)));
        digest = escrow.stopDigest(leaseId);
        calls[5] = abi.encodeCall(escrow.stopFor, (live, _signature(RENTER_KEY, digest)));
        digest = escrow.stopDigest(escrow.leaseIdOf(metered));
        calls[6] = abi.encodeCall(escrow.stopFor, (metered, _signature(RENTER_KEY, digest)));
    }

    function _endByTime(
        address wallet,
        IEscrowTypes.Terms memory live,
        IEscrowTypes.Terms memory metered
    ) private {
        vm.warp(START + MAX_DURATION + GRACE + 1);
        _close(STRANGER, live);
        _close(STRANGER, metered);
        vm.assertEq(_credits().provider, _paid(4, 0).provider, "the provider is paid");
        uint256 refund = escrow.creditOf(address(token), wallet);
        vm.assertEq(refund, 2 * COST - 4 * uint256(PRICE), "the rest is refunded");
    }

    function _coinLease(address wallet) private returns (IEscrowTypes.Terms memory terms) {
        escrow = _newEscrow(new address[](1));
        vm.prank(PROVIDER);
        listingId = escrow.list(CLASS, address(0), 1, operator, DOCUMENT);
        terms = _terms();
        (terms.token, terms.renter, terms.bond) = (address(0), wallet, 0);
        vm.deal(wallet, COST);
        bytes memory signature = _sign(terms);
        vm.prank(wallet);
        escrow.open{value: COST}(terms, signature);
    }
}
