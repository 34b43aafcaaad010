// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// demandData
// ├── given a lease that is neither active nor disputed, or metered: it should revert
// ├── when the caller is the arbiter: it should revert
// ├── when the segment is paid or not committed, or the window is over: it should revert
// ├── when all is well: it should take the bond, open the dispute and emit DataDemanded
// ├── given a disputed lease: it should point lower, as a challenge does, and no later
// └── its ends
//     ├── honest: the checkpoint can be fetched; half of the bond comes back, the provider has none
//     ├── attested: the demander gets its bond back
//     ├── fraud: the demander gets the challenger's reward
//     └── no answer: what lies below is split, and the bond comes back
contract DemandTest is EscrowTest {
    function test_demandData_givenWrongLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _expectNotActive(escrow.leaseIdOf(terms), IEscrowTypes.LeaseStatus.None);
        _demand(CHALLENGER, terms, 0);
        IEscrowTypes.Terms memory metered = _meteredTerms();
        bytes32 leaseId = _open(metered);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseMetered.selector, leaseId));
        _demand(CHALLENGER, metered, 0);
    }

    function test_demandData_whenCallerIsArbiter_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.ArbiterMayNotChallenge.selector, ARBITER)
        );
        _demand(ARBITER, terms, 0);
    }

    function test_demandData_whenSegmentIsOutOfRange_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.warp(START + 50 + WINDOW);
        _commit(terms, 4);
        uint16[2] memory given = [uint16(1), 4];
        for (uint256 i = 0; i < given.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IEscrowTypes.SegmentOutOfRange.selector, given[i], 2, 4)
            );
            _demand(CHALLENGER, terms, given[i]);
        }
    }

    function test_demandData_whenWindowIsOver_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        uint256 maturesAt = START + 50 + WINDOW;
        vm.warp(maturesAt);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.AfterWindow.selector, maturesAt, maturesAt)
        );
        _demand(CHALLENGER, terms, 0);
    }

    function test_demandData_whenAllIsWell_opensTheDispute() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(3);
        uint256 before = token.balanceOf(address(escrow));
        vm.warp(START + 70);
        _expectEmit();
        emit IEscrowTypes.DataDemanded(leaseId, CHALLENGER, 2, CHALLENGE_BOND);
        _demand(CHALLENGER, terms, 2);
        vm.assertEq(token.balanceOf(address(escrow)), before + CHALLENGE_BOND, "balance");
        vm.assertTrue(_status(leaseId) == IEscrowTypes.LeaseStatus.Disputed, "disputed");
        _assertDispute(
            leaseId,
            IEscrowTypes.Dispute({
                challenger: CHALLENGER,
                disputedAt: uint40(START + 70),
                lowestSegment: 2,
                isDemand: true,
                lowerChallenger: address(0),
                isLowerDemand: false
            })
        );
        // Frozen: nobody settles over what is demanded.
        vm.warp(START + 50 + WINDOW);
        _expectNotActive(leaseId, IEscrowTypes.LeaseStatus.Disputed);
        escrow.settle(terms);
    }

    function test_demandData_withTheChainsCoin_takesTheExactValue() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.deal(CHALLENGER, 1);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.ReceivedAmountDiffers.selector, address(0), 0, 1)
        );
        vm.prank(CHALLENGER);
        escrow.demandData{value: 1}(terms, 0);
    }

    function test_demandData_givenDispute_pointsLower() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(4, 2);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.SegmentOutOfRange.selector, 2, 0, 2));
        _demand(OTHER, terms, 2);
        uint256 deadline = START + 70 + DISPUTE_TIMEOUT / 2;
        vm.warp(deadline);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.AfterLowerDeadline.selector, deadline, deadline)
        );
        _demand(OTHER, terms, 1);
        vm.warp(deadline - 1);
        _demand(OTHER, terms, 1);
        IEscrowTypes.Dispute memory expected = IEscrowTypes.Dispute({
            challenger: CHALLENGER,
            disputedAt: uint40(START + 70),
            lowestSegment: 1,
            isDemand: false,
            lowerChallenger: OTHER,
            isLowerDemand: true
        });
        _assertDispute(leaseId, expected);
        // And a challenge below a demand.
        _challenge(STRANGER, terms, 0);
        vm.assertEq(_credits().other, CHALLENGE_BOND, "replaced");
        (expected.lowestSegment, expected.lowerChallenger) = (0, STRANGER);
        expected.isLowerDemand = false;
        _assertDispute(leaseId, expected);
    }

    // -------------------------------------------------------------------------------------- ends

    function test_rule_givenDemandAndHonest_costsTheDemanderHalfOfItsBond() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _demanded();
        _expectEmit();
        emit IEscrowTypes.Ruled(leaseId, CHALLENGER, false, 4, 0, 0, 0, PRICE);
        _expectEmit();
        emit IEscrowTypes.BondReturned(leaseId, CHALLENGER, PRICE);
        _rule(terms, false, 2);
        Credits memory expected;
        (expected.challenger, expected.auditPool) = (PRICE, PRICE);
        _assertCredits(expected);
        vm.assertTrue(_status(leaseId) == IEscrowTypes.LeaseStatus.Active, "goes on");
        IEscrowTypes.Dispute memory none;
        _assertDispute(leaseId, none);
    }

    function test_rule_givenChallengeBelowADemandAndHonest_splitsEachByItsClaim() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _demanded();
        _challenge(OTHER, terms, 1);
        Credits memory expected;
        expected.challenger = PRICE;
        _assertSplitByClaim(terms, leaseId, CHALLENGER, expected);
    }

    function test_rule_givenDemandBelowAChallengeAndHonest_splitsEachByItsClaim() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(4, 2);
        _demand(OTHER, terms, 1);
        Credits memory expected;
        expected.other = PRICE;
        _assertSplitByClaim(terms, leaseId, OTHER, expected);
    }

    /// @dev What a demand was is forgotten with its dispute.
    function test_rule_givenDemandBeforeAChallengeAndHonest_splitsTheChallenge() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _demanded();
        _demand(OTHER, terms, 1);
        _ruleHonest(terms);
        _challenge(CHALLENGER, terms, 3);
        _challenge(OTHER, terms, 2);
        _expectEmit();
        emit IEscrowTypes.Ruled(
            leaseId, CHALLENGER, false, 4, 0, 0, CHALLENGE_BOND, CHALLENGE_BOND
        );
        _rule(terms, false, 2);
    }

    function test_attestUnretrievable_givenDemand_returnsItsBond() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _demanded();
        vm.prank(ARBITER);
        escrow.attestUnretrievable(terms, 2);
        vm.assertEq(_credits().challenger, CHALLENGE_BOND, "bond");
        vm.assertEq(escrow.leaseOf(leaseId).pending, 2, "pending");
    }

    function test_rule_givenDemandAndFraud_rewardsTheDemander() external {
        (IEscrowTypes.Terms memory terms,) = _demanded();
        _rule(terms, true, 1);
        Credits memory expected = _paid(1, COST - PRICE + BOND - 2 * PRICE);
        expected.challenger = CHALLENGE_BOND + 2 * uint256(PRICE);
        _assertCredits(expected);
    }

    function test_timeoutDispute_givenDemand_splitsBelow() external {
        (IEscrowTypes.Terms memory terms,) = _demanded();
        vm.warp(START + 70 + DISPUTE_TIMEOUT);
        escrow.timeoutDispute(terms);
        vm.assertEq(_credits().renter, COST - PRICE, "half of two segments is paid");
        vm.assertEq(_credits().challenger, CHALLENGE_BOND, "bond");
    }

    // ------------------------------------------------------------------------------------- tools

    /// @dev Four committed, and the checkpoint of segment 2 demanded at START + 70.
    /// @dev Rules honest on one challenge and one demand, whichever is lower.
    /// @param expected What the demander has then; the rest is the same for both.
    function _assertSplitByClaim(
        IEscrowTypes.Terms memory terms,
        bytes32 leaseId,
        address demander,
        Credits memory expected
    ) private {
        _expectEmit();
        emit IEscrowTypes.Ruled(leaseId, CHALLENGER, false, 4, 0, 0, PRICE, CHALLENGE_BOND);
        _expectEmit();
        emit IEscrowTypes.BondReturned(leaseId, demander, PRICE);
        _rule(terms, false, 1);
        (expected.provider, expected.auditPool) = (PRICE, CHALLENGE_BOND);
        _assertCredits(expected);
    }

    function _demanded() private returns (IEscrowTypes.Terms memory terms, bytes32 leaseId) {
        (terms, leaseId) = _committed(4);
        vm.warp(START + 70);
        _demand(CHALLENGER, terms, 2);
    }

    function _demand(address account, IEscrowTypes.Terms memory terms, uint16 segment) private {
        vm.prank(account);
        escrow.demandData(terms, segment);
    }
}
