// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {IOwnable, ITestToken} from "./utils/Interfaces.sol";
import {
    DenyingToken,
    FeeToken,
    GenerousToken,
    PlainToken,
    ReentrantToken,
    RefusingToken,
    SilentToken,
    ThievingToken
} from "./utils/Tokens.sol";
import {vm} from "./utils/Vm.sol";

// deposits (stake, open, challenge)
// ├── given a token that moves less or more than asked, or takes instead: they should revert
// ├── given a token that returns false: they should revert
// └── given a token that returns nothing: they should work
// withdrawals
// ├── given a token that refuses one account: only that account's withdrawal should fail
// └── given a token that returns false: it should revert and keep the credit
// calls from within the token
// └── every function that changes state should be closed to them
contract HostileTokensTest is EscrowTest {
    function test_stake_givenTokenThatMovesAnotherAmount_reverts() external {
        _expectDifference(address(new FeeToken()), 99);
        _expectDifference(address(new GenerousToken()), 101);
        _expectDifference(address(new ThievingToken()), 0);
    }

    function test_stake_givenTokenThatReturnsFalse_reverts() external {
        address hostile = _useToken(address(new RefusingToken()));
        vm.expectRevert(
            abi.encodeWithSelector(IOwnable.SafeERC20FailedOperation.selector, hostile)
        );
        vm.prank(PROVIDER);
        escrow.stake(hostile, 100);
    }

    function test_open_givenTokenWithFee_reverts() external {
        address hostile = _useToken(address(new FeeToken()));
        IEscrowTypes.Terms memory terms = _hostileTerms(hostile);
        terms.bond = 0;
        bytes memory signature = _sign(terms);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.ReceivedAmountDiffers.selector, hostile, COST, COST - 1
            )
        );
        vm.prank(renter);
        escrow.open(terms, signature);
        vm.assertTrue(
            _status(escrow.leaseIdOf(terms)) == IEscrowTypes.LeaseStatus.None, "nothing opened"
        );
    }

    function test_wholeLease_givenTokenThatReturnsNothing_works() external {
        address silent = _useToken(address(new SilentToken()));
        vm.prank(PROVIDER);
        escrow.stake(silent, STAKE);
        IEscrowTypes.Terms memory terms = _hostileTerms(silent);
        _open(terms);
        vm.warp(START + 50);
        _commit(terms, 2);
        _challenge(CHALLENGER, terms, 0);
        _rule(terms, true, 0);
        escrow.withdrawTo(silent, CHALLENGER);
        escrow.withdrawTo(silent, renter);
    }

    // ------------------------------------------------------------------------------- withdrawals

    function test_withdrawTo_givenDeniedAccount_failsForThatAccountOnly() external {
        DenyingToken denying = new DenyingToken();
        _useToken(address(denying));
        vm.prank(PROVIDER);
        escrow.stake(address(denying), STAKE);
        IEscrowTypes.Terms memory terms = _hostileTerms(address(denying));
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

    // --------------------------------------------------------------------- calls from the token

    function test_everyFunction_whenCalledFromWithinAToken_reverts() external {
        ReentrantToken reentrant = new ReentrantToken();
        _useToken(address(reentrant));
        IEscrowTypes.Terms memory terms = _hostileTerms(address(reentrant));
        IEscrowTypes.Terms[] memory all = new IEscrowTypes.Terms[](1);
        all[0] = terms;
        address hostile = address(reentrant);
        IEscrowTypes.Order memory order;
        IEscrowTypes.Permit memory permit;
        IEscrowTypes.Authorization memory authorization;
        IEscrowTypes.Source credit = IEscrowTypes.Source.Credit;
        bytes[31] memory calls = [
            abi.encodeCall(escrow.list, (CLASS, hostile, 1, operator, DOCUMENT)),
            abi.encodeCall(escrow.reprice, (listingId, 1)),
            abi.encodeCall(escrow.delist, (listingId)),
            abi.encodeCall(escrow.setOperator, (listingId, OTHER)),
            abi.encodeCall(escrow.stake, (hostile, 1)),
            abi.encodeCall(escrow.unbond, (hostile, 1)),
            abi.encodeCall(escrow.claimUnbond, (hostile)),
            abi.encodeCall(escrow.open, (terms, "")),
            abi.encodeCall(escrow.commit, (terms, 1, TRACE)),
            abi.encodeCall(escrow.settle, (terms)),
            abi.encodeCall(escrow.settleMany, (all)),
            abi.encodeCall(escrow.settleVoucher, (terms, 1, "")),
            abi.encodeCall(escrow.stop, (terms)),
            abi.encodeCall(escrow.close, (terms)),
            abi.encodeCall(escrow.challenge, (terms, 0)),
            abi.encodeCall(escrow.rule, (terms, true, 0)),
            abi.encodeCall(escrow.timeoutDispute, (terms)),
            abi.encodeCall(escrow.collect, (hostile)),
            abi.encodeCall(escrow.setCapacity, (listingId, 1)),
            abi.encodeCall(escrow.cancelNonces, (listingId, 0, 1)),
            abi.encodeCall(escrow.openWithPermit, (terms, "", permit)),
            abi.encodeCall(escrow.openWithAuthorization, (terms, "", authorization)),
            abi.encodeCall(escrow.openFrom, (terms, "", credit, 0, "")),
            abi.encodeCall(escrow.openFor, (terms, "", order, "", credit, all)),
            abi.encodeCall(escrow.stopFor, (terms, "")),
            abi.encodeCall(escrow.challengeFrom, (terms, 0, credit, OTHER, 1, "")),
            abi.encodeCall(escrow.revokeOrder, (order, "")),
            abi.encodeCall(escrow.attestUnretrievable, (terms, 0)),
            abi.encodeCall(escrow.withdrawTo, (hostile, PROVIDER)),
            abi.encodeCall(escrow.withdraw, (hostile, PROVIDER, 1)),
            abi.encodeCall(escrow.stake, (address(token), 1))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            reentrant.arm(address(escrow), calls[i]);
            vm.prank(PROVIDER);
            escrow.stake(hostile, 100);
            vm.assertTrue(reentrant.called() && !reentrant.succeeded(), "closed");
            vm.assertEq(
                reentrant.result(),
                abi.encodeWithSelector(IOwnable.ReentrancyGuardReentrantCall.selector),
                "reason"
            );
        }
    }

    /// @dev A reader within the token's call sees the state after it: nothing to trade on.
    function test_withdraw_whenReadFromWithinTheToken_showsTheCreditGone() external {
        ReentrantToken reentrant = new ReentrantToken();
        address hostile = _useToken(address(reentrant));
        IEscrowTypes.Terms memory terms = _hostileTerms(hostile);
        terms.bond = 0;
        _open(terms);
        _close(PROVIDER, terms);
        reentrant.arm(address(escrow), abi.encodeCall(escrow.creditOf, (hostile, renter)));
        escrow.withdrawTo(hostile, renter);
        vm.assertTrue(reentrant.succeeded(), "read");
        vm.assertEq(abi.decode(reentrant.result(), (uint256)), 0, "credit");
    }

    // ------------------------------------------------------------------------------------- tools

    /// @dev A market that allows `hostile`, with a machine listed in it and funded parties.
    function _useToken(address hostile) private returns (address) {
        address[] memory tokens = new address[](2);
        (tokens[0], tokens[1]) = (hostile, address(token));
        escrow = _newEscrow(tokens);
        address[3] memory accounts = [renter, PROVIDER, CHALLENGER];
        for (uint256 i = 0; i < accounts.length; ++i) {
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

    function _hostileTerms(address hostile)
        private
        view
        returns (IEscrowTypes.Terms memory terms)
    {
        terms = _terms();
        terms.token = hostile;
    }

    function _expectDifference(address hostile, uint256 received) private {
        _useToken(hostile);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.ReceivedAmountDiffers.selector, hostile, 100, received
            )
        );
        vm.prank(PROVIDER);
        escrow.stake(hostile, 100);
    }
}
