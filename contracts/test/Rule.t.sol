// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// rule
// ├── given a lease that is not disputed: it should revert
// ├── when the caller is not the arbiter of the terms: it should revert
// ├── when the arbiter's time is over: it should revert
// ├── when fraud is ruled on a segment that does not wait for its window: it should revert
// ├── when honest, and another segment than the lowest disputed one is named: it should revert
// ├── when fraud
// │   ├── it should pay the good segments, slash the whole bond, refund the rest, close
// │   ├── it should return all challengers' bonds and reward the first with a tenth at most
// │   ├── it should leave other leases' bonds and the rest of the stake alone
// │   └── given a provider that challenged itself: it should still lose nine tenths of the bond
// └── when honest
//     ├── it should pay nothing from escrow, and half of the bonds to provider and audit pool each
//     │   (of demands: Demand.t.sol)
//     ├── given a provider that freezes a refund by challenging itself: it should cost half a bond
//     ├── it should go on with the time that the window and all deadlines had left
//     ├── it should allow a new challenge in the window
//     └── given a friendly challenge of a late segment: it should not shorten the window
contract RuleTest is EscrowTest {
    function test_rule_givenActiveLease_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(2);
        _expectNotDisputed(leaseId, IEscrowTypes.LeaseStatus.Active);
        _rule(terms, false, 1);
    }

    function test_rule_givenClosedLease_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(2, 0);
        _rule(terms, true, 0);
        _expectNotDisputed(leaseId, IEscrowTypes.LeaseStatus.Closed);
        _rule(terms, true, 0);
    }

    // A4 #16
    function test_rule_whenCallerIsNotArbiter_reverts(address caller) external {
        vm.assume(caller != ARBITER);
        (IEscrowTypes.Terms memory terms,) = _disputed(2, 0);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.NotArbiter.selector, caller, ARBITER));
        vm.prank(caller);
        escrow.rule(terms, true, 0);
    }

    function test_rule_whenArbiterNamesItselfInOtherTerms_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _disputed(2, 0);
        terms.arbiter = STRANGER;
        _expectNotDisputed(escrow.leaseIdOf(terms), IEscrowTypes.LeaseStatus.None);
        vm.prank(STRANGER);
        escrow.rule(terms, true, 0);
    }

    function test_rule_whenTooLate_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _disputed(2, 0);
        uint256 deadline = START + 70 + DISPUTE_TIMEOUT;
        vm.warp(deadline);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.AfterDisputeTimeout.selector, deadline, deadline)
        );
        _rule(terms, true, 0);
        vm.warp(deadline - 1);
        _rule(terms, true, 0);
    }

    function test_rule_whenTheSegmentDoesNotFit_reverts(bool fraud, uint16 segment) external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.warp(START + 50 + WINDOW);
        _commit(terms, 4);
        _challenge(CHALLENGER, terms, 3);
        vm.assume(fraud ? segment < 2 || segment >= 4 : segment != 3);
        bytes memory refusal = fraud
            ? abi.encodeWithSelector(IEscrowTypes.SegmentOutOfRange.selector, segment, 2, 4)
            : abi.encodeWithSelector(IEscrowTypes.NotLowestSegment.selector, segment, 3);
        vm.expectRevert(refusal);
        _rule(terms, fraud, segment);
    }

    // ------------------------------------------------------------------------------------- fraud

    // A4 #15
    function test_rule_whenFraud_paysGoodSlashesAndRefunds(uint16 good) external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(5, 2);
        good = good % 5;
        uint256 reward = 2 * uint256(PRICE);
        uint256 refund = COST - good * uint256(PRICE);
        _expectEmit();
        emit IEscrowTypes.Ruled(leaseId, CHALLENGER, true, good, BOND - reward, reward, 0, 0);
        if (good != 0) {
            (uint256 a, uint256 b, uint256 c) = _split(good * uint256(PRICE));
            _expectEmit();
            emit IEscrowTypes.Settled(leaseId, good, a, b, c);
        }
        _expectEmit();
        emit IEscrowTypes.BondReturned(leaseId, CHALLENGER, CHALLENGE_BOND);
        _expectEmit();
        emit IEscrowTypes.Closed(leaseId, IEscrowTypes.CloseCause.Fraud, good, refund);
        _rule(terms, true, good);
        Credits memory expected = _paid(good, refund + BOND - reward);
        expected.challenger = CHALLENGE_BOND + reward;
        _assertCredits(expected);
        _assertStake(STAKE - BOND, 0, 0);
        vm.assertEq(escrow.leaseOf(leaseId).escrow, 0, "escrow");
        IEscrowTypes.Dispute memory none;
        _assertDispute(leaseId, none);
    }

    function test_rule_whenFraudAndSmallBond_rewardsATenth() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.bond = 5_000_019;
        _open(terms);
        vm.warp(START + 50);
        _commit(terms, 2);
        _challenge(CHALLENGER, terms, 0);
        vm.assertEq(escrow.challengeReward(terms), 500_001, "reward");
        _rule(terms, true, 0);
        vm.assertEq(_credits().challenger, CHALLENGE_BOND + 500_001, "challenger");
        vm.assertEq(_credits().renter, COST + 5_000_019 - 500_001, "renter");
    }

    function test_rule_whenFraudAndNoBond_refundsOnly() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.bond = 0;
        _open(terms);
        vm.warp(START + 50);
        _commit(terms, 2);
        _challenge(CHALLENGER, terms, 0);
        _rule(terms, true, 0);
        vm.assertEq(_credits().challenger, CHALLENGE_BOND, "challenger");
        vm.assertEq(_credits().renter, COST, "renter");
        _assertStake(STAKE, 0, 0);
    }

    function test_rule_whenFraudAndPointedLower_returnsBothBonds() external {
        (IEscrowTypes.Terms memory terms,) = _disputed(5, 4);
        _challenge(OTHER, terms, 1);
        _rule(terms, true, 3);
        Credits memory expected = _paid(3, COST - 3 * PRICE + BOND - 2 * PRICE);
        expected.challenger = CHALLENGE_BOND + 2 * uint256(PRICE);
        expected.other = CHALLENGE_BOND;
        _assertCredits(expected);
    }

    // A4 #12
    function test_rule_whenFraud_leavesOtherBondsAlone() external {
        IEscrowTypes.Terms memory second = _terms();
        second.nonce = 2;
        _open(second);
        (IEscrowTypes.Terms memory terms,) = _disputed(2, 0);
        _rule(terms, true, 0);
        _assertStake(STAKE - BOND, BOND, 0);
        _close(PROVIDER, second);
        _assertStake(STAKE - BOND, 0, 0);
    }

    /// @dev Deterrence is counted with what this leaves: the provider paid the challenge itself.
    function test_rule_givenProviderThatChallengesItself_losesNineTenths(uint96 bond, uint96 price)
        external
    {
        IEscrowTypes.Terms memory terms = _terms();
        terms.bond = uint96(bond % STAKE);
        terms.pricePerSegment = 1 + uint96(price % 1e10);
        _open(terms);
        vm.warp(START + 50);
        _commit(terms, 5);
        uint256 before = _wealth(PROVIDER);
        _challenge(PROVIDER, terms, 4);
        _rule(terms, true, 0);
        vm.assertLe(_wealth(PROVIDER), before - (uint256(terms.bond) * 9 / 10), "loss");
        vm.assertEq(
            _credits().renter,
            uint256(terms.pricePerSegment) * SEGMENTS + terms.bond - escrow.challengeReward(terms),
            "renter gets the rest"
        );
    }

    // ------------------------------------------------------------------------------------ honest

    function test_rule_whenHonest_paysNothingFromEscrow() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(4, 3);
        _challenge(OTHER, terms, 1);
        vm.warp(START + 170);
        _expectEmit();
        emit IEscrowTypes.Ruled(
            leaseId, CHALLENGER, false, 4, 0, 0, CHALLENGE_BOND, CHALLENGE_BOND
        );
        _rule(terms, false, 1);
        Credits memory expected;
        (expected.provider, expected.auditPool) = (CHALLENGE_BOND, CHALLENGE_BOND);
        _assertCredits(expected);
        _assertStake(STAKE, BOND, 0);
        IEscrowTypes.Dispute memory none;
        _assertDispute(leaseId, none);
        _assertLease(
            leaseId,
            IEscrowTypes.Lease({
                status: IEscrowTypes.LeaseStatus.Active,
                paid: 0,
                pending: 4,
                openedAt: uint40(START + 100),
                committedAt: uint40(START + 150),
                stoppedAt: 0,
                escrow: uint96(COST),
                root: _root(0, 4, TRACE),
                isUnretrievable: false
            })
        );
    }

    /// @dev Were the whole bond the provider's, it could freeze the renter's refund for nothing.
    function test_rule_givenProviderThatFreezesARefund_paysForIt() external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        uint256 before = _wealth(PROVIDER);
        _challenge(PROVIDER, terms, 3);
        vm.warp(START + 50 + DISPUTE_TIMEOUT - 1);
        _ruleHonest(terms);
        vm.assertEq(_wealth(PROVIDER), before - PRICE, "half of the bond is gone");
        (, uint256 auditShares) = escrow.accruedOf(address(token));
        vm.assertEq(auditShares, PRICE, "to the audit pool");
    }

    function test_rule_whenHonest_goesOnWithTheRestOfTheWindow(uint8 used, uint8 length) external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        used = used % uint8(WINDOW);
        length = length % uint8(DISPUTE_TIMEOUT);
        vm.warp(START + 50 + used);
        _challenge(CHALLENGER, terms, 0);
        vm.warp(START + 50 + used + length);
        _ruleHonest(terms);
        uint256 maturesAt = START + 50 + length + WINDOW;
        vm.warp(maturesAt - 1);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.WindowOpen.selector, maturesAt - 1, maturesAt)
        );
        escrow.settle(terms);
        vm.warp(maturesAt);
        escrow.settle(terms);
        vm.assertEq(_credits().provider - PRICE, _paid(4, 0).provider, "paid once");
    }

    function test_rule_whenHonest_movesTheEndOfTheLease() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(2);
        vm.warp(START + MAX_DURATION - 10);
        _commit(terms, 4);
        _challenge(CHALLENGER, terms, 3);
        vm.warp(START + MAX_DURATION + 100);
        _ruleHonest(terms);
        // Ten seconds were left when the clock stopped.
        vm.warp(START + MAX_DURATION + 110);
        _commit(terms, 5);
        vm.assertEq(escrow.leaseOf(leaseId).pending, 5, "pending");
    }

    function test_rule_whenHonest_movesTheStop() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(2);
        _stop(terms);
        vm.warp(START + 70);
        _challenge(CHALLENGER, terms, 0);
        vm.warp(START + 170);
        _ruleHonest(terms);
        vm.assertEq(escrow.leaseOf(leaseId).stoppedAt, START + 150, "stopped at");
        // Of the grace 20 seconds had passed when the clock stopped.
        vm.warp(START + 150 + GRACE);
        _commit(terms, 3);
        vm.assertEq(escrow.leaseOf(leaseId).pending, 3, "pending");
    }

    function test_rule_whenHonest_allowsAnotherChallenge() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(4, 3);
        vm.warp(START + 100);
        _ruleHonest(terms);
        _challenge(OTHER, terms, 0);
        vm.assertEq(escrow.disputeOf(leaseId).challenger, OTHER, "challenger");
        _rule(terms, true, 0);
        vm.assertTrue(_status(leaseId) == IEscrowTypes.LeaseStatus.Closed, "closed");
    }

    /// @dev Were an honest ruling to pay at once, an accomplice could launder the segments below
    /// the one it challenged.
    function test_rule_givenFriendlyChallenge_leavesTheFakeOpenToOthers() external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        _challenge(OTHER, terms, 3);
        _ruleHonest(terms);
        vm.warp(START + 50 + WINDOW - 1);
        _challenge(CHALLENGER, terms, 0);
        _rule(terms, true, 0);
        vm.assertEq(_credits().renter, COST + BOND - 2 * PRICE, "refunded");
    }

    // ------------------------------------------------------------------------------------- tools

    function _wealth(address account) private view returns (uint256) {
        (uint256 staked,,,,) = escrow.stakeOf(account, address(token));
        return token.balanceOf(account) + staked + escrow.creditOf(address(token), account);
    }

    function _expectNotDisputed(bytes32 leaseId, IEscrowTypes.LeaseStatus status) private {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.LeaseNotDisputed.selector, leaseId, status)
        );
    }
}
