// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {ConsentTest} from "./utils/ConsentTest.sol";
import {IOwnable, ITestToken} from "./utils/Interfaces.sol";
import {
    DenyingToken,
    MoodyToken,
    PlainToken,
    RebasingToken,
    SilentToken,
    SmallToken
} from "./utils/Tokens.sol";
import {vm} from "./utils/Vm.sol";

// given a token that moves another amount than asked, says no, pauses or burns gas
// ├── every way in that moves tokens should be refused, with the state that was before
// ├── every way in out of credit should work: no token is asked
// ├── ways out should either debit and send, or fail and keep the credit
// └── a lease in another token should not notice
// given a token that refuses one account: only that account should be hurt
// given a token that returns nothing, or holds 96 bits only: whole leases should work
// given a token whose balances change by themselves: only that token should be hurt
// calls from within a token: Reentrancy.t.sol
contract HostileTokensTest is ConsentTest {
    uint256 private constant NUM_MOVING = 9;
    uint256 private constant ENOUGH_GAS = 2_000_000;

    MoodyToken private _moody;
    IEscrowTypes.Terms private _live;

    // ------------------------------------------------------------------------------------ ways in

    function test_everyWayIn_givenTokenThatMisbehaves_isRefused() external {
        _useMoody();
        (address[] memory callers, bytes[] memory calls) = _movingCalls();
        for (uint256 mood = 1; mood <= uint256(type(MoodyToken.Mood).max); ++mood) {
            _moody.setMood(MoodyToken.Mood(mood));
            for (uint256 i = 0; i < calls.length; ++i) {
                vm.prank(callers[i]);
                (bool done,) = address(escrow).call{gas: ENOUGH_GAS}(calls[i]);
                vm.assertTrue(!done, "refused");
            }
        }
        // What was refused was the token, not the call.
        _moody.setMood(MoodyToken.Mood.Plain);
        for (uint256 i = 0; i < calls.length; ++i) {
            uint256 before = vm.snapshotState();
            vm.prank(callers[i]);
            (bool done,) = address(escrow).call{gas: ENOUGH_GAS}(calls[i]);
            vm.assertTrue(done, "accepted");
            vm.revertToState(before);
        }
    }

    function test_stake_givenTokenThatMovesAnotherAmount_saysHowMuch() external {
        _expectDifference(MoodyToken.Mood.Fee, 99);
        _expectDifference(MoodyToken.Mood.Generous, 101);
        _expectDifference(MoodyToken.Mood.Thieving, 0);
    }

    function test_stake_givenTokenThatReturnsFalse_reverts() external {
        _useMoody();
        _moody.setMood(MoodyToken.Mood.ReturnsFalse);
        vm.expectRevert(abi.encodeWithSelector(IOwnable.SafeERC20FailedOperation.selector, _moody));
        vm.prank(PROVIDER);
        escrow.stake(address(_moody), 100);
    }

    /// @dev EIP-3009 has no answer to look at: what counts is what arrived.
    function test_openWithAuthorization_givenTokenThatMovesNothing_reverts() external {
        _useMoody();
        _moody.setMood(MoodyToken.Mood.ReturnsFalse);
        IEscrowTypes.Terms memory terms = _moodyTerms(2);
        IEscrowTypes.Authorization memory authorization;
        bytes memory signature = _sign(terms);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.ReceivedAmountDiffers.selector, _moody, COST, 0)
        );
        escrow.openWithAuthorization(terms, signature, authorization);
    }

    function test_waysInOutOfCredit_givenTokenThatMisbehaves_work() external {
        _useMoody();
        IEscrowTypes.Source credit = IEscrowTypes.Source.Credit;
        for (uint256 mood = 1; mood <= uint256(type(MoodyToken.Mood).max); ++mood) {
            uint256 before = vm.snapshotState();
            _moody.setMood(MoodyToken.Mood(mood));
            IEscrowTypes.Terms memory terms = _moodyTerms(2);
            terms.segments = 1;
            bytes memory signature = _sign(terms);
            vm.prank(renter);
            escrow.openFrom(terms, signature, credit, 0, "");
            _send(renter, _challengeFromCall(_live, 1, credit, renter, ""));
            vm.assertTrue(escrow.disputeOf(escrow.leaseIdOf(_live)).challenger == renter, "bond");
            vm.revertToState(before);
        }
    }

    // ----------------------------------------------------------------------------------- ways out

    function test_waysOut_givenTokenThatMisbehaves_debitWhatTheySendOrFail() external {
        _useMoody();
        for (uint256 mood = 1; mood <= uint256(type(MoodyToken.Mood).max); ++mood) {
            uint256 before = vm.snapshotState();
            uint256 credit = escrow.creditOf(address(_moody), renter);
            uint256 held = _moody.balanceOf(address(escrow));
            _moody.setMood(MoodyToken.Mood(mood));
            vm.prank(renter);
            (bool done,) = address(escrow).call{gas: ENOUGH_GAS}(
                abi.encodeCall(escrow.withdraw, (address(_moody), renter, 1))
            );
            (bool doneToo,) = address(escrow).call{gas: ENOUGH_GAS}(
                abi.encodeCall(escrow.withdrawTo, (address(_moody), renter))
            );
            vm.assertEq(done, doneToo, "both ways are one");
            vm.assertEq(
                escrow.creditOf(address(_moody), renter), done ? 0 : credit, "debited as sent"
            );
            // What leaves is never more than the credit of the one who takes it.
            vm.assertGe(_moody.balanceOf(address(escrow)), held - credit, "of others");
            vm.revertToState(before);
        }
    }

    function test_otherTokens_givenTokenThatMisbehaves_doNotNotice() external {
        _useMoody();
        for (uint256 mood = 1; mood <= uint256(type(MoodyToken.Mood).max); ++mood) {
            uint256 before = vm.snapshotState();
            _moody.setMood(MoodyToken.Mood(mood));
            _runWholeLease();
            vm.revertToState(before);
        }
    }

    // A4 #29
    function test_withdrawTo_givenDeniedAccount_failsForThatAccountOnly() external {
        DenyingToken denying = new DenyingToken();
        _useToken(address(denying));
        vm.prank(PROVIDER);
        escrow.stake(address(denying), STAKE);
        IEscrowTypes.Terms memory terms = _termsIn(address(denying));
        _open(terms);
        vm.warp(START + 50);
        _commit(terms, 2);
        denying.deny(renter);
        vm.warp(START + 50 + WINDOW);
        _close(PROVIDER, terms);
        vm.expectRevert(abi.encodeWithSelector(DenyingToken.Denied.selector, renter));
        escrow.withdrawTo(address(denying), renter);
        escrow.withdrawTo(address(denying), PROVIDER);
        escrow.collect(address(denying));
        escrow.withdrawTo(address(denying), TREASURY);
        vm.prank(renter);
        escrow.withdraw(address(denying), OTHER, COST - 2 * PRICE);
    }

    /// @dev The issuer can hold back what is in the escrow; the other token comes out.
    function test_otherTokens_whenTheEscrowIsDenied_doNotNotice() external {
        DenyingToken denying = new DenyingToken();
        _useToken(address(denying));
        vm.prank(PROVIDER);
        escrow.stake(address(denying), STAKE);
        denying.deny(address(escrow));
        vm.expectRevert(abi.encodeWithSelector(DenyingToken.Denied.selector, escrow));
        vm.prank(PROVIDER);
        escrow.stake(address(denying), 1);
        _runWholeLease();
    }

    // ----------------------------------------------------------------------------- odd, but good

    function test_wholeLease_givenTokenThatReturnsNothing_works() external {
        _wholeLeaseIn(address(new SilentToken()));
    }

    function test_wholeLease_givenTokenOf96Bits_works() external {
        _wholeLeaseIn(address(new SmallToken()));
    }

    function test_stake_givenTokenOf96BitsAndMore_reverts() external {
        SmallToken small = new SmallToken();
        _useToken(address(small));
        small.mint(PROVIDER, 1 << 97);
        vm.expectRevert(
            abi.encodeWithSignature(
                "SafeCastOverflowedUintDowncast(uint8,uint256)", uint8(88), 1 << 96
            )
        );
        vm.prank(PROVIDER);
        escrow.stake(address(small), 1 << 96);
    }

    // ----------------------------------------------------------------------------------- rebasing

    /// @dev Must not be on the list; when it is, those who take out last in that token lose.
    function test_rebasingToken_thatShrinks_hurtsThatTokenOnly() external {
        RebasingToken rebasing = new RebasingToken();
        _useToken(address(rebasing));
        vm.prank(PROVIDER);
        escrow.stake(address(rebasing), STAKE);
        IEscrowTypes.Terms memory terms = _termsIn(address(rebasing));
        _open(terms);
        rebasing.rebase(address(escrow), 1, 2);
        _close(PROVIDER, terms);
        escrow.withdrawTo(address(rebasing), renter);
        vm.assertEq(escrow.creditOf(address(rebasing), renter), 0, "first come, first served");
        vm.prank(PROVIDER);
        escrow.unbond(address(rebasing), STAKE);
        vm.warp(START + UNBONDING);
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(rebasing));
        vm.expectPartialRevert(bytes4(0x4e487b71));
        escrow.withdrawTo(address(rebasing), PROVIDER);
        vm.assertEq(escrow.creditOf(address(rebasing), PROVIDER), STAKE, "still owed");
        _runWholeLease();
    }

    /// @dev What a token adds belongs to nobody: nobody can take more than is theirs.
    function test_rebasingToken_thatGrows_paysWhatIsOwed() external {
        RebasingToken rebasing = new RebasingToken();
        _useToken(address(rebasing));
        IEscrowTypes.Terms memory terms = _termsIn(address(rebasing));
        terms.bond = 0;
        _open(terms);
        rebasing.rebase(address(escrow), 3, 2);
        _close(PROVIDER, terms);
        uint256 before = rebasing.balanceOf(renter);
        escrow.withdrawTo(address(rebasing), renter);
        vm.assertEq(rebasing.balanceOf(renter), before + COST, "the refund, and no more");
    }

    // ------------------------------------------------------------------------------------- tools

    /// @dev A market in `hostile` and in the token of EscrowTest, with a machine in each, and
    /// funded parties.
    function _useToken(address hostile) private returns (address) {
        address[] memory tokens = new address[](2);
        (tokens[0], tokens[1]) = (hostile, address(token));
        escrow = _newEscrow(tokens);
        address[3] memory accounts = [renter, PROVIDER, CHALLENGER];
        for (uint256 i = 0; i < accounts.length; ++i) {
            _fund(accounts[i]);
            PlainToken(hostile).mint(accounts[i], 10 * STAKE);
            vm.prank(accounts[i]);
            // Not through an interface: one of these tokens returns nothing.
            (bool approved,) = hostile.call(
                abi.encodeCall(ITestToken.approve, (address(escrow), type(uint256).max))
            );
            vm.assertTrue(approved, "approved");
        }
        vm.prank(PROVIDER);
        listingId = escrow.list(CLASS, hostile, 1, operator, DOCUMENT);
        return hostile;
    }

    /// @dev With stake, a lease that has committed, and a small credit of the renter.
    function _useMoody() private {
        _moody = new MoodyToken();
        _useToken(address(_moody));
        vm.prank(PROVIDER);
        escrow.stake(address(_moody), STAKE);
        IEscrowTypes.Terms memory spent = _moodyTerms(20);
        spent.segments = 3;
        _open(spent);
        _close(PROVIDER, spent);
        _live = _moodyTerms(21);
        _open(_live);
        vm.warp(START + 50);
        _commit(_live, 4);
    }

    function _termsIn(address coin) private view returns (IEscrowTypes.Terms memory terms) {
        terms = _terms();
        terms.token = coin;
    }

    function _moodyTerms(uint64 nonce) private view returns (IEscrowTypes.Terms memory terms) {
        terms = _termsIn(address(_moody));
        (terms.bond, terms.nonce) = (0, nonce);
    }

    /// @dev All ways in that ask the token to move something.
    function _movingCalls() private view returns (address[] memory callers, bytes[] memory calls) {
        IEscrowTypes.Terms memory terms = _moodyTerms(1);
        bytes32 leaseId = escrow.leaseIdOf(terms);
        IEscrowTypes.Source allowance = IEscrowTypes.Source.Allowance;
        IEscrowTypes.Permit memory permit;
        permit.value = type(uint256).max;
        IEscrowTypes.Authorization memory authorization;
        IEscrowTypes.Order memory order = _order();
        (order.token, order.minBond, order.minBondBps) = (address(_moody), 0, 0);
        bytes memory consent = _consent(leaseId, allowance, 0);
        bytes memory challengeIt =
            _signature(RENTER_KEY, _challengeDigest(escrow.leaseIdOf(_live), 1, allowance));
        callers = new address[](NUM_MOVING);
        calls = new bytes[](NUM_MOVING);
        (callers[0], callers[1], callers[2]) = (PROVIDER, renter, renter);
        (callers[3], callers[4], callers[5]) = (STRANGER, STRANGER, STRANGER);
        (callers[6], callers[7], callers[8]) = (CHALLENGER, STRANGER, CHALLENGER);
        calls[0] = abi.encodeCall(escrow.stake, (address(_moody), 100));
        calls[1] = abi.encodeCall(escrow.open, (terms, _sign(terms)));
        calls[2] = abi.encodeCall(escrow.openWithPermit, (terms, _sign(terms), permit));
        calls[3] =
            abi.encodeCall(escrow.openWithAuthorization, (terms, _sign(terms), authorization));
        calls[4] = abi.encodeCall(escrow.openFrom, (terms, _sign(terms), allowance, 0, consent));
        calls[5] = _openForCall(terms, _sign(terms), order, _signOrder(order));
        calls[6] = abi.encodeCall(escrow.challenge, (_live, 1));
        calls[7] = _challengeFromCall(_live, 1, allowance, renter, challengeIt);
        calls[8] = abi.encodeCall(escrow.demandData, (_live, 1));
    }

    function _expectDifference(MoodyToken.Mood mood, uint256 received) private {
        _useMoody();
        _moody.setMood(mood);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.ReceivedAmountDiffers.selector, _moody, 100, received
            )
        );
        vm.prank(PROVIDER);
        escrow.stake(address(_moody), 100);
        vm.warp(START);
    }

    function _wholeLeaseIn(address coin) private {
        _useToken(coin);
        _finishLease(coin);
        vm.assertEq(PlainToken(coin).balanceOf(address(escrow)), 0, "all is out");
    }

    /// @dev Beside the hostile token, in the good one: from stake to the last withdrawal.
    function _runWholeLease() private {
        vm.prank(PROVIDER);
        listingId = escrow.list(CLASS, address(token), 1, operator, DOCUMENT);
        _finishLease(address(token));
        vm.assertEq(token.balanceOf(address(escrow)), 0, "all is out");
    }

    function _finishLease(address coin) private {
        uint256 begin = vm.getBlockTimestamp();
        vm.prank(PROVIDER);
        escrow.stake(coin, STAKE);
        IEscrowTypes.Terms memory terms = _termsIn(coin);
        _open(terms);
        vm.warp(begin + 50);
        _commit(terms, 4);
        _challenge(CHALLENGER, terms, 2);
        _rule(terms, true, 2);
        escrow.collect(coin);
        vm.prank(PROVIDER);
        escrow.unbond(coin, STAKE - BOND);
        vm.warp(begin + 50 + UNBONDING);
        vm.prank(PROVIDER);
        escrow.claimUnbond(coin);
        address[5] memory accounts = [renter, PROVIDER, CHALLENGER, TREASURY, AUDIT_POOL];
        for (uint256 i = 0; i < accounts.length; ++i) {
            escrow.withdrawTo(coin, accounts[i]);
        }
    }
}
