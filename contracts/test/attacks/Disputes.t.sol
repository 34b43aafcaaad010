// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {RegistryTest} from "../utils/RegistryTest.sol";
import {vm} from "../utils/Vm.sol";

// Attacks on and by disputes. Each test says what a simpler rule would give.
// ├── friendly challenge: an accomplice points at a good segment to get a fake one through
// ├── late lower challenges: a renter points lower until the arbiter has no time left
// ├── withholding for income: the provider answers the arbiter only, and auditors' demands pay it
// ├── self-challenge: the provider challenges its own fake, to get back what it loses
// ├── dead arbiter: nobody rules
// └── dead auditors: no judge signs, nobody draws, nobody distributes pay
contract DisputeAttacksTest is RegistryTest {
    /// @dev Segment 1 is the fake, 3 the good one that the accomplice points at.
    uint16 private constant FAKE = 1;
    address private constant ACCOMPLICE = OTHER;

    // ------------------------------------------------------------------------ friendly challenge

    /// @dev Naive: a ruling is about the challenged segment, and "honest" pays what is committed.
    /// The fake below would be paid at once, and no challenge could reach it any more.
    function test_friendlyChallenge_ruledHonest_leavesTheFakeOpenToOthers() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(4);
        _challenge(ACCOMPLICE, terms, 3);
        _ruleHonest(terms);
        vm.assertEq(escrow.leaseOf(leaseId).paid, 0, "an honest ruling pays nothing");
        _challenge(CHALLENGER, terms, FAKE);
        _rule(terms, true, FAKE);
        vm.assertEq(escrow.leaseOf(leaseId).paid, FAKE, "paid below the fake only");
        uint256 unpaid = COST - uint256(FAKE) * PRICE;
        vm.assertEq(_credits().renter, unpaid + BOND - 2 * PRICE, "refund and slash");
    }

    /// @dev Naive: windows run on during a dispute. The accomplice would keep the lease disputed
    /// until the window of the fake is over, and the ruling would end in its payment.
    function test_friendlyChallenge_thatOutlastsTheWindow_leavesItsRestToOthers() external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        vm.warp(START + 50 + WINDOW - 1);
        _challenge(ACCOMPLICE, terms, 3);
        vm.warp(START + 50 + WINDOW - 2 + DISPUTE_TIMEOUT);
        _ruleHonest(terms);
        vm.expectPartialRevert(IEscrowTypes.WindowOpen.selector);
        escrow.settle(terms);
        _challenge(CHALLENGER, terms, FAKE);
        _rule(terms, true, FAKE);
        vm.assertEq(escrow.leaseOf(escrow.leaseIdOf(terms)).paid, FAKE, "the fake is not paid");
    }

    /// @dev Naive: one dispute at a time, and its timeout splits all that is committed. With an
    /// arbiter that does not rule, half of the fake and of all after it would be paid.
    function test_friendlyChallenge_timedOut_splitsNothingOfTheFake() external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        _challenge(ACCOMPLICE, terms, 3);
        _challenge(CHALLENGER, terms, FAKE);
        vm.warp(START + 50 + DISPUTE_TIMEOUT);
        escrow.timeoutDispute(terms);
        uint256 half = uint256(FAKE) * PRICE / 2;
        vm.assertEq(_credits().renter, COST - half, "all from the fake on is refunded");
    }

    /// @dev Naive: an honest ruling is about whatever is disputed when it lands. The challenge of
    /// the fake that comes in front of it would be swept away unseen, and its bond with it.
    function test_friendlyChallenge_ruledBeforeALowerOneWasSeen_isNoRuling() external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        _challenge(ACCOMPLICE, terms, 3);
        _challenge(CHALLENGER, terms, FAKE);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.NotLowestSegment.selector, 3, FAKE));
        _rule(terms, false, 3);
        _rule(terms, true, FAKE);
        vm.assertEq(_credits().challenger, CHALLENGE_BOND, "the bond comes back");
    }

    // ------------------------------------------------------------------------ late lower challenge

    /// @dev Naive: segments are added while the arbiter may rule. Each costs it two runs, so a
    /// renter that adds one in the last second lets an honest lease time out: all from the lowest
    /// unpaid segment on is refunded, and the bonds come back.
    function test_lateLowerChallenge_leavesTheArbiterHalfOfItsTime() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(4, 3);
        uint256 half = START + 70 + DISPUTE_TIMEOUT / 2;
        vm.warp(half - 1);
        _challenge(ACCOMPLICE, terms, 1);
        uint256[3] memory times = [half, half + 1, START + 70 + DISPUTE_TIMEOUT - 1];
        for (uint256 i = 0; i < times.length; ++i) {
            vm.warp(times[i]);
            vm.expectRevert(
                abi.encodeWithSelector(IEscrowTypes.AfterLowerDeadline.selector, times[i], half)
            );
            _challenge(renter, terms, 0);
        }
        // The last second of the arbiter stays its own.
        _ruleHonest(terms);
        vm.assertTrue(_status(leaseId) == IEscrowTypes.LeaseStatus.Active, "ruled honest");
    }

    // -------------------------------------------------------------------------- withholding

    /// @dev Naive: half of every bond that an honest ruling takes is the provider's. One that
    /// serves nobody but the arbiter would earn a segment's price with each demand of an auditor,
    /// who has no other way to do its work.
    function test_withholdingForIncome_earnsTheProviderNothing() external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        uint256 before = _wealth(PROVIDER);
        for (uint16 i = 0; i < 4; ++i) {
            vm.prank(CHALLENGER);
            escrow.demandData(terms, 3);
            vm.prank(OTHER);
            escrow.demandData(terms, i % 3);
            _ruleHonest(terms);
        }
        vm.assertEq(_wealth(PROVIDER), before, "answered demands are no income");
        // An auditor that asks in vain is out of half a bond, not of all of it.
        vm.assertEq(_credits().challenger, 4 * CHALLENGE_BOND / 2, "first demander");
        vm.assertEq(_credits().other, 4 * CHALLENGE_BOND / 2, "lower demander");
    }

    /// @dev Naive: a demand that is answered costs nothing. The provider would freeze the renter's
    /// refund with its own.
    function test_withholdingForIncome_byItsOwnDemand_costsTheProvider() external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        uint256 before = _wealth(PROVIDER);
        vm.prank(PROVIDER);
        escrow.demandData(terms, 3);
        _ruleHonest(terms);
        vm.assertEq(_wealth(PROVIDER), before - CHALLENGE_BOND / 2, "half of a bond is gone");
    }

    // ---------------------------------------------------------------------------- self-challenge

    /// @dev Naive: half of the slash, or all of it, is the challenger's. A provider that is about
    /// to be caught would challenge itself first, and a fake would cost it half of what the
    /// deterrence counts with, or nothing.
    function test_selfChallenge_givenFraud_losesNineTenthsOfTheBond(uint96 bond, uint96 price)
        external
    {
        IEscrowTypes.Terms memory terms = _terms();
        terms.bond = uint96(bond % STAKE);
        terms.pricePerSegment = 1 + uint96(price % 1e10);
        _open(terms);
        vm.warp(START + 50);
        _commit(terms, 5);
        uint256 before = _wealth(PROVIDER) + _wealth(ACCOMPLICE);
        _challenge(ACCOMPLICE, terms, 4);
        _challenge(PROVIDER, terms, 0);
        _rule(terms, true, 0);
        uint256 lost = before - _wealth(PROVIDER) - _wealth(ACCOMPLICE);
        vm.assertGe(lost, uint256(terms.bond) * 9 / 10, "what a self-challenge leaves lost");
        vm.assertGe(
            _credits().renter,
            uint256(terms.pricePerSegment) * SEGMENTS + lost,
            "the renter has it"
        );
    }

    // ------------------------------------------------------------------------------ dead arbiter

    /// @dev Naive: only a ruling ends a dispute. With an arbiter that is dead, escrow, bond and
    /// challengers' bonds would stay for ever.
    function test_deadArbiter_everythingComesOutByTime() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(4, 2);
        vm.warp(START + 70 + DISPUTE_TIMEOUT);
        vm.prank(STRANGER);
        escrow.timeoutDispute(terms);
        vm.assertTrue(_status(leaseId) == IEscrowTypes.LeaseStatus.Closed, "closed");
        _assertStake(STAKE, 0, 0);
        _takeOut();
    }

    /// @dev Naive: an arbiter that comes back late still rules. Whoever is faster, it or the one
    /// who calls the timeout, would decide the outcome.
    function test_deadArbiter_thatComesBackTooLate_isNotHeard() external {
        (IEscrowTypes.Terms memory terms,) = _disputed(4, 2);
        uint256 deadline = START + 70 + DISPUTE_TIMEOUT;
        vm.warp(deadline);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.AfterDisputeTimeout.selector, deadline, deadline)
        );
        _rule(terms, true, 0);
    }

    // ----------------------------------------------------------------------------- dead auditors

    /// @dev Naive: a segment is paid once an auditor has approved it. With none alive, no provider
    /// would ever be paid.
    function test_deadAuditors_settlementNeedsNone() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        _open(terms);
        vm.warp(START + 50);
        _commit(terms, 5);
        vm.warp(START + 50 + WINDOW);
        vm.prank(STRANGER);
        escrow.settle(terms);
        _assertCredits(_paid(5, 0));
    }

    /// @dev Naive: a quorum that cannot be reached blocks its disputes, and the audit share waits
    /// for somebody to take it before anybody else is paid.
    function test_deadAuditors_disputesAndSharesDoNotWait() external {
        (IEscrowTypes.Terms memory terms,) = _disputedBefore(CHALLENGER);
        vm.warp(START + 70 + DISPUTE_TIMEOUT);
        vm.prank(STRANGER);
        escrow.timeoutDispute(terms);
        _assertStake(STAKE, 0, 0);
        // The share of audits goes to the registry, whoever calls, and stays there unclaimed.
        escrow.collect(address(token));
        uint256 share = escrow.creditOf(address(token), address(registry));
        vm.assertGe(share, 1, "share");
        _takeOut();
    }

    /// @dev Naive: bonds are let go by the distributor, or by the judges' own quorum.
    function test_deadAuditors_thatWakeUp_getTheirBondsWithoutAnybody() external {
        for (uint256 i = 0; i < judges.length; ++i) {
            _unbond(judges[i], MIN_BOND);
        }
        vm.warp(START + AUDIT_UNBONDING);
        for (uint256 i = 0; i < judges.length; ++i) {
            vm.prank(judges[i]);
            registry.claimUnbond(address(quorum));
            uint256 before = token.balanceOf(judges[i]);
            vm.prank(judges[i]);
            registry.withdraw(address(token), judges[i], MIN_BOND);
            vm.assertEq(token.balanceOf(judges[i]), before + MIN_BOND, "bond");
        }
    }

    // ------------------------------------------------------------------------------------- tools

    function _wealth(address account) private view returns (uint256) {
        (uint256 staked,,,,) = escrow.stakeOf(account, address(token));
        return token.balanceOf(account) + staked + escrow.creditOf(address(token), account);
    }

    /// @dev Everybody takes out what is theirs, called by a stranger where that can be; then the
    /// escrow is empty.
    function _takeOut() private {
        vm.prank(PROVIDER);
        escrow.unbond(address(token), STAKE);
        vm.warp(vm.getBlockTimestamp() + UNBONDING);
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
        (uint256 fees, uint256 auditShares) = escrow.accruedOf(address(token));
        if (fees + auditShares != 0) escrow.collect(address(token));
        address[6] memory accounts =
            [renter, PROVIDER, CHALLENGER, TREASURY, AUDIT_POOL, address(registry)];
        for (uint256 i = 0; i < accounts.length; ++i) {
            if (escrow.creditOf(address(token), accounts[i]) == 0) continue;
            vm.prank(STRANGER);
            escrow.withdrawTo(address(token), accounts[i]);
        }
        vm.assertEq(token.balanceOf(address(escrow)), 0, "the escrow is empty");
    }
}
