// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// timeoutDispute
// ├── given a lease that is not disputed: it should revert
// ├── when the arbiter still has time: it should revert
// └── when the time is over
//     ├── it should pay half of what lies below the lowest challenged segment, rounded down
//     ├── it should refund everything else, free the bond and return the challengers' bonds
//     ├── given an accomplice's late challenge: pointing lower should make it worthless
//     └── whoever calls, the result should be the same
contract TimeoutDisputeTest is EscrowTest {
    uint256 private constant DEADLINE = START + 70 + DISPUTE_TIMEOUT;

    function test_timeoutDispute_givenActiveLease_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(2);
        vm.warp(DEADLINE);
        _expectNotDisputed(leaseId, IEscrowTypes.LeaseStatus.Active);
        escrow.timeoutDispute(terms);
    }

    function test_timeoutDispute_givenClosedLease_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(2, 0);
        vm.warp(DEADLINE);
        escrow.timeoutDispute(terms);
        _expectNotDisputed(leaseId, IEscrowTypes.LeaseStatus.Closed);
        escrow.timeoutDispute(terms);
    }

    function test_timeoutDispute_whenArbiterStillHasTime_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _disputed(2, 0);
        vm.warp(DEADLINE - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.BeforeDisputeTimeout.selector, DEADLINE - 1, DEADLINE
            )
        );
        escrow.timeoutDispute(terms);
    }

    // A4 #17, A4 #27
    function test_timeoutDispute_splitsBelowTheLowestAndRefundsTheRest(
        uint16 segment,
        address caller
    ) external {
        segment = segment % 5;
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(5, segment);
        uint256 half = uint256(PRICE) * segment / 2;
        (uint256 a, uint256 b, uint256 c) = _split(half);
        vm.warp(DEADLINE);
        _expectEmit();
        emit IEscrowTypes.DisputeTimedOut(leaseId, segment, a, b, c);
        _expectEmit();
        emit IEscrowTypes.BondReturned(leaseId, CHALLENGER, CHALLENGE_BOND);
        _expectEmit();
        emit IEscrowTypes.Closed(leaseId, IEscrowTypes.CloseCause.DisputeTimedOut, 0, COST - half);
        vm.prank(caller);
        escrow.timeoutDispute(terms);
        _assertCredits(
            Credits({
                renter: COST - half,
                provider: a,
                treasury: b,
                auditPool: c,
                challenger: CHALLENGE_BOND,
                other: 0
            })
        );
        _assertStake(STAKE, 0, 0);
        IEscrowTypes.Dispute memory none;
        _assertDispute(leaseId, none);
    }

    function test_timeoutDispute_givenPaidSegments_leavesThemPaid() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(2);
        vm.warp(START + 50 + WINDOW);
        _commit(terms, 6);
        _challenge(CHALLENGER, terms, 5);
        vm.warp(START + 50 + WINDOW + DISPUTE_TIMEOUT);
        escrow.timeoutDispute(terms);
        uint256 half = 3 * uint256(PRICE) / 2;
        vm.assertEq(_credits().renter, COST - 2 * PRICE - half, "renter");
        vm.assertEq(escrow.leaseOf(leaseId).paid, 2, "paid");
    }

    function test_timeoutDispute_givenAccomplice_isWorthlessOncePointedLower() external {
        (IEscrowTypes.Terms memory terms,) = _disputed(5, 4);
        _challenge(renter, terms, 0);
        vm.warp(DEADLINE);
        escrow.timeoutDispute(terms);
        Credits memory expected;
        expected.renter = COST + CHALLENGE_BOND;
        expected.challenger = CHALLENGE_BOND;
        _assertCredits(expected);
    }

    function _expectNotDisputed(bytes32 leaseId, IEscrowTypes.LeaseStatus status) private {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.LeaseNotDisputed.selector, leaseId, status)
        );
    }
}
