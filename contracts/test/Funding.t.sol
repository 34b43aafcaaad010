// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {ConsentTest} from "./utils/ConsentTest.sol";
import {RefusingAccount} from "./utils/Signers.sol";
import {vm} from "./utils/Vm.sol";

// openWithPermit
// ├── when the caller is not the renter: it should revert
// ├── given a permit and no allowance: it should open
// └── given a permit that somebody used already: it should open all the same
// openWithAuthorization
// ├── when the authorization is for other terms, another value or somebody else: it should revert
// ├── given an authorization that was used elsewhere: it should revert
// └── when all is well: anybody should open, and get the relay fee
// openFrom
// ├── when the caller is somebody else without consent, or with another's: it should revert
// ├── given too little credit: it should take the rest from the allowance
// ├── given too little of both, or coins and too little credit: it should revert
// ├── when the renter calls: it should open out of credit or allowance
// └── when anybody calls with consent: it should open, pay the relay fee, and do so once
// the chain's own coin
// ├── when the value differs from the cost, or a token is meant: it should revert
// ├── when all is well: a whole lease should work in it
// └── given an account that refuses coins: it should harm nobody else
contract FundingTest is ConsentTest {
    address private constant RELAYER = address(0x1009);
    uint96 private constant FEE = 30_011;

    // ----------------------------------------------------------------------------------- permit

    function test_openWithPermit_whenCallerIsNotRenter_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        IEscrowTypes.Permit memory permit;
        bytes memory signature = _sign(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.NotRenter.selector, OTHER, renter));
        vm.prank(OTHER);
        escrow.openWithPermit(terms, signature, permit);
    }

    function test_openWithPermit_givenNoAllowance_opens() external {
        _allow(0);
        IEscrowTypes.Terms memory terms = _terms();
        IEscrowTypes.Permit memory permit = _permit(COST);
        bytes memory signature = _sign(terms);
        vm.prank(renter);
        bytes32 leaseId = escrow.openWithPermit(terms, signature, permit);
        vm.assertEq(escrow.leaseOf(leaseId).escrow, COST, "escrow");
        vm.assertEq(token.allowance(renter, address(escrow)), 0, "allowance is used up");
    }

    function test_openWithPermit_givenUsedPermit_opens() external {
        _allow(0);
        IEscrowTypes.Permit memory permit = _permit(COST);
        // A stranger saw it on its way, and used it first.
        token.permit(renter, address(escrow), COST, permit.deadline, permit.v, permit.r, permit.s);
        bytes memory signature = _sign(_terms());
        vm.prank(renter);
        bytes32 leaseId = escrow.openWithPermit(_terms(), signature, permit);
        vm.assertEq(escrow.leaseOf(leaseId).escrow, COST, "escrow");
    }

    function test_openWithPermit_givenVoidPermit_revertsForTheAllowance() external {
        _allow(7);
        IEscrowTypes.Permit memory permit = _permit(COST);
        permit.r = bytes32(uint256(1));
        bytes memory signature = _sign(_terms());
        vm.expectRevert(
            abi.encodeWithSignature(
                "ERC20InsufficientAllowance(address,uint256,uint256)", escrow, 7, COST
            )
        );
        vm.prank(renter);
        escrow.openWithPermit(_terms(), signature, permit);
    }

    // ---------------------------------------------------------------------------- authorization

    function test_openWithAuthorization_whenAllIsWell_paysTheRelayer(uint96 fee) external {
        fee = uint96(fee % 1e9);
        _allow(0);
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        IEscrowTypes.Authorization memory authorization = _authorization(terms, fee);
        bytes memory signature = _sign(terms);
        uint256 before = token.balanceOf(renter);
        _expectEmit();
        emit IEscrowTypes.Opened(leaseId, renter, PROVIDER, terms);
        if (fee != 0) {
            _expectEmit();
            emit IEscrowTypes.RelayerPaid(leaseId, RELAYER, fee);
        }
        vm.prank(RELAYER);
        escrow.openWithAuthorization(terms, signature, authorization);
        vm.assertEq(token.balanceOf(renter), before - COST - fee, "balance of renter");
        vm.assertEq(escrow.creditOf(address(token), RELAYER), fee, "credit of relayer");
        vm.assertEq(escrow.leaseOf(leaseId).escrow, COST, "escrow");
        vm.assertTrue(token.authorizationState(renter, leaseId), "authorization is used");
    }

    function test_openWithAuthorization_whenRelayerTakesMore_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        IEscrowTypes.Authorization memory authorization = _authorization(terms, FEE);
        authorization.relayFee = FEE + 1;
        _expectNoAuthorization(terms, authorization);
    }

    function test_openWithAuthorization_whenForOtherTerms_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        IEscrowTypes.Authorization memory authorization = _authorization(terms, FEE);
        terms.nonce = 2;
        _expectNoAuthorization(terms, authorization);
    }

    // A4 #22
    function test_openWithAuthorization_givenLostRace_opensOnceOnly() external {
        IEscrowTypes.Terms memory terms = _terms();
        IEscrowTypes.Authorization memory authorization = _authorization(terms, FEE);
        bytes memory signature = _sign(terms);
        vm.prank(OTHER);
        bytes32 leaseId = escrow.openWithAuthorization(terms, signature, authorization);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseExists.selector, leaseId));
        vm.prank(RELAYER);
        escrow.openWithAuthorization(terms, signature, authorization);
    }

    // -------------------------------------------------------------------------- credit, consent

    function test_openFrom_whenCallerHasNoConsent_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        bytes32 digest = escrow.openingDigest(leaseId, IEscrowTypes.Source.Allowance, FEE);
        bytes[3] memory consents = [
            bytes(""),
            _signature(OPERATOR_KEY, digest),
            // Consent to another fee.
            _consent(leaseId, IEscrowTypes.Source.Allowance, FEE - 1)
        ];
        bytes memory signature = _sign(terms);
        for (uint256 i = 0; i < consents.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, renter, digest)
            );
            vm.prank(RELAYER);
            escrow.openFrom(terms, signature, IEscrowTypes.Source.Allowance, FEE, consents[i]);
        }
    }

    /// @dev Anybody may send an account its credit; that must not make its calls fail.
    function test_openFrom_givenCreditThatWasSentOut_takesTheAllowance() external {
        _earnCredit();
        vm.prank(STRANGER);
        escrow.withdrawTo(address(token), renter);
        uint256 before = token.balanceOf(renter);
        IEscrowTypes.Terms memory terms = _terms();
        terms.nonce = 2;
        bytes memory signature = _sign(terms);
        vm.prank(renter);
        escrow.openFrom(terms, signature, IEscrowTypes.Source.Credit, 0, "");
        vm.assertEq(token.balanceOf(renter), before - COST, "balance");
    }

    function test_openFrom_givenTooLittleCredit_takesTheRestFromTheAllowance() external {
        uint256 credit = _earnCredit();
        _allow(SEGMENTS);
        IEscrowTypes.Terms memory terms = _terms();
        terms.nonce = 2;
        terms.pricePerSegment = PRICE + 1;
        bytes memory signature = _sign(terms);
        uint256 before = token.balanceOf(renter);
        _expectEmit();
        emit IEscrowTypes.CreditSpent(address(token), renter, credit);
        vm.prank(renter);
        bytes32 leaseId = escrow.openFrom(terms, signature, IEscrowTypes.Source.Credit, 0, "");
        vm.assertEq(escrow.creditOf(address(token), renter), 0, "credit");
        vm.assertEq(token.balanceOf(renter), before - SEGMENTS, "balance");
        vm.assertEq(escrow.leaseOf(leaseId).escrow, COST + SEGMENTS, "escrow");
    }

    function test_openFrom_givenTooLittleOfBoth_reverts() external {
        _earnCredit();
        _allow(SEGMENTS - 1);
        IEscrowTypes.Terms memory terms = _terms();
        terms.nonce = 2;
        terms.pricePerSegment = PRICE + 1;
        bytes memory signature = _sign(terms);
        vm.expectRevert(
            abi.encodeWithSignature(
                "ERC20InsufficientAllowance(address,uint256,uint256)",
                escrow,
                SEGMENTS - 1,
                SEGMENTS
            )
        );
        vm.prank(renter);
        escrow.openFrom(terms, signature, IEscrowTypes.Source.Credit, 0, "");
    }

    function test_openFrom_givenCoinAndTooLittleCredit_reverts() external {
        IEscrowTypes.Terms memory terms = _coinMarket();
        bytes memory signature = _sign(terms);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.CreditTooLow.selector, address(0), renter, COST, 0)
        );
        vm.prank(renter);
        escrow.openFrom(terms, signature, IEscrowTypes.Source.Credit, 0, "");
    }

    function test_openFrom_whenRenterCalls_spendsCredit() external {
        _earnCredit();
        _allow(0);
        IEscrowTypes.Terms memory terms = _terms();
        terms.nonce = 2;
        bytes memory signature = _sign(terms);
        _expectEmit();
        emit IEscrowTypes.CreditSpent(address(token), renter, COST);
        vm.prank(renter);
        bytes32 leaseId = escrow.openFrom(terms, signature, IEscrowTypes.Source.Credit, 0, "");
        vm.assertEq(escrow.creditOf(address(token), renter), 0, "credit");
        vm.assertEq(escrow.leaseOf(leaseId).escrow, COST, "escrow");
    }

    function test_openFrom_whenAnybodyHasConsent_opensOnceAndIsPaid(bool fromCredit) external {
        IEscrowTypes.Source source =
            fromCredit ? IEscrowTypes.Source.Credit : IEscrowTypes.Source.Allowance;
        _earnCredit();
        IEscrowTypes.Terms memory terms = _terms();
        terms.nonce = 2;
        terms.segments = SEGMENTS - 1;
        bytes32 leaseId = escrow.leaseIdOf(terms);
        bytes memory consent = _consent(leaseId, source, FEE);
        bytes memory signature = _sign(terms);
        uint256 wealth = token.balanceOf(renter) + escrow.creditOf(address(token), renter);
        _expectEmit();
        emit IEscrowTypes.RelayerPaid(leaseId, RELAYER, FEE);
        vm.prank(RELAYER);
        escrow.openFrom(terms, signature, source, FEE, consent);
        vm.assertEq(
            token.balanceOf(renter) + escrow.creditOf(address(token), renter),
            wealth - (COST - PRICE) - FEE,
            "wealth of renter"
        );
        vm.assertEq(escrow.creditOf(address(token), RELAYER), FEE, "relayer");
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseExists.selector, leaseId));
        vm.prank(RELAYER);
        escrow.openFrom(terms, signature, source, FEE, consent);
    }

    // --------------------------------------------------------------------------------- own coin

    function test_open_givenCoinAndOtherValue_reverts() external {
        IEscrowTypes.Terms memory terms = _coinMarket();
        bytes memory signature = _sign(terms);
        uint256[3] memory values = [0, COST - 1, COST + 1];
        for (uint256 i = 0; i < values.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IEscrowTypes.ReceivedAmountDiffers.selector, address(0), COST, values[i]
                )
            );
            vm.prank(renter);
            escrow.open{value: values[i]}(terms, signature);
        }
    }

    function test_deposits_givenTokenAndCoins_revert() external {
        bytes memory reason =
            abi.encodeWithSelector(IEscrowTypes.ReceivedAmountDiffers.selector, address(0), 0, 1);
        vm.deal(renter, 1);
        bytes memory signature = _sign(_terms());
        vm.expectRevert(reason);
        vm.prank(renter);
        escrow.open{value: 1}(_terms(), signature);
        vm.deal(PROVIDER, 1);
        vm.expectRevert(reason);
        vm.prank(PROVIDER);
        escrow.stake{value: 1}(address(token), 1);
    }

    function test_wholeLease_givenCoin_works() external {
        IEscrowTypes.Terms memory terms = _coinMarket();
        bytes memory signature = _sign(terms);
        vm.prank(renter);
        escrow.open{value: COST}(terms, signature);
        vm.warp(START + 50);
        _commit(terms, 3);
        vm.deal(CHALLENGER, CHALLENGE_BOND);
        vm.prank(CHALLENGER);
        escrow.challenge{value: CHALLENGE_BOND}(terms, 2);
        _rule(terms, true, 2);
        escrow.collect(address(0));
        address[5] memory accounts = [renter, PROVIDER, CHALLENGER, TREASURY, AUDIT_POOL];
        for (uint256 i = 0; i < accounts.length; ++i) {
            uint256 credit = escrow.creditOf(address(0), accounts[i]);
            uint256 before = accounts[i].balance;
            _expectEmit();
            emit IEscrowTypes.Withdrawn(address(0), accounts[i], accounts[i], credit);
            escrow.withdrawTo(address(0), accounts[i]);
            vm.assertEq(accounts[i].balance, before + credit, "received");
        }
        vm.assertEq(address(escrow).balance, STAKE - BOND, "what stays is stake");
    }

    function test_withdraw_givenAccountThatRefusesCoins_harmsNobodyElse() external {
        IEscrowTypes.Terms memory terms = _coinMarket();
        terms.renter = address(new RefusingAccount());
        vm.deal(terms.renter, COST);
        bytes memory signature = _sign(terms);
        vm.prank(terms.renter);
        escrow.open{value: COST}(terms, signature);
        vm.warp(START + 50);
        _commit(terms, 3);
        vm.warp(START + 50 + WINDOW);
        _close(PROVIDER, terms);
        vm.expectRevert(abi.encodeWithSelector(RefusingAccount.NoCoins.selector));
        escrow.withdrawTo(address(0), terms.renter);
        escrow.withdrawTo(address(0), PROVIDER);
        vm.prank(terms.renter);
        escrow.withdraw(address(0), OTHER, COST - 3 * uint256(PRICE));
        vm.assertEq(OTHER.balance, COST - 3 * uint256(PRICE), "sent elsewhere");
    }

    // ------------------------------------------------------------------------------------- tools

    function _earnCredit() private returns (uint256 credit) {
        _open(_terms());
        _close(PROVIDER, _terms());
        return escrow.creditOf(address(token), renter);
    }

    function _expectNoAuthorization(
        IEscrowTypes.Terms memory terms,
        IEscrowTypes.Authorization memory authorization
    ) private {
        bytes memory signature = _sign(terms);
        // The token recovers some other account from what was signed for other values.
        vm.expectPartialRevert(bytes4(keccak256("ERC3009InvalidSignature()")));
        vm.prank(RELAYER);
        escrow.openWithAuthorization(terms, signature, authorization);
    }

    /// @dev A market whose only token is the chain's own coin; returns terms in it.
    function _coinMarket() private returns (IEscrowTypes.Terms memory terms) {
        address[] memory tokens = new address[](1);
        escrow = _newEscrow(tokens);
        vm.deal(renter, 10 * COST);
        vm.deal(PROVIDER, STAKE);
        vm.prank(PROVIDER);
        listingId = escrow.list(CLASS, address(0), 1, operator, DOCUMENT);
        vm.prank(PROVIDER);
        escrow.stake{value: STAKE}(address(0), STAKE);
        terms = _terms();
        terms.token = address(0);
        terms.listingId = listingId;
    }
}
