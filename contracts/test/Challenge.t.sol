// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// challenge
// ├── given a lease that is neither active nor disputed: it should revert
// ├── given a metered lease: it should revert
// ├── when the caller is the arbiter: it should revert
// ├── given an active lease
// │   ├── when the segment is paid or not committed: it should revert
// │   ├── when the window is over: it should revert, up to the very second at which it pays
// │   ├── given no allowance for the bond: it should revert
// │   └── when all is well: it should take the bond, open the dispute and emit Challenged
// └── given a disputed lease
//     ├── when the segment is paid, or not below the lowest: it should revert
//     ├── when half of the arbiter's time is over: it should revert
//     ├── when it is lower: it should take its place and keep the first challenger
//     └── given an earlier one that pointed lower: it should return that one's bond
contract ChallengeTest is EscrowTest {
    function test_challenge_givenNoLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _expectNotActive(escrow.leaseIdOf(terms), IEscrowTypes.LeaseStatus.None);
        _challenge(CHALLENGER, terms, 0);
    }

    function test_challenge_givenClosedLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        _close(PROVIDER, terms);
        _expectNotActive(leaseId, IEscrowTypes.LeaseStatus.Closed);
        _challenge(CHALLENGER, terms, 0);
    }

    function test_challenge_givenMeteredLease_reverts() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        bytes32 leaseId = _open(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseMetered.selector, leaseId));
        _challenge(CHALLENGER, terms, 0);
    }

    function test_challenge_whenCallerIsArbiter_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.ArbiterMayNotChallenge.selector, ARBITER)
        );
        _challenge(ARBITER, terms, 0);
    }

    // ------------------------------------------------------------------------------ active lease

    // A4 #13
    function test_challenge_whenSegmentIsOutOfRange_reverts(uint16 segment) external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.warp(START + 50 + WINDOW);
        _commit(terms, 4);
        vm.assume(segment < 2 || segment >= 4);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.SegmentOutOfRange.selector, segment, 2, 4)
        );
        _challenge(CHALLENGER, terms, segment);
    }

    function test_challenge_whenNothingIsCommitted_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.SegmentOutOfRange.selector, 0, 0, 0));
        _challenge(CHALLENGER, terms, 0);
    }

    function test_challenge_whenWindowIsOver_reverts(uint32 late) external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.warp(START + 50 + WINDOW + late);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.AfterWindow.selector, START + 50 + WINDOW + late, START + 50 + WINDOW
            )
        );
        _challenge(CHALLENGER, terms, 0);
        escrow.settle(terms);
    }

    function test_challenge_givenNoAllowance_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.prank(CHALLENGER);
        token.approve(address(escrow), CHALLENGE_BOND - 1);
        vm.expectRevert(
            abi.encodeWithSignature(
                "ERC20InsufficientAllowance(address,uint256,uint256)",
                escrow,
                CHALLENGE_BOND - 1,
                CHALLENGE_BOND
            )
        );
        _challenge(CHALLENGER, terms, 0);
    }

    function test_challenge_whenAllIsWell_opensTheDispute() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(3);
        uint256 before = token.balanceOf(address(escrow));
        vm.warp(START + 50 + WINDOW - 1);
        vm.assertEq(escrow.challengeBond(terms), CHALLENGE_BOND, "bond");
        _expectEmit();
        emit IEscrowTypes.Challenged(leaseId, CHALLENGER, 2, CHALLENGE_BOND);
        _challenge(CHALLENGER, terms, 2);
        vm.assertEq(token.balanceOf(address(escrow)), before + CHALLENGE_BOND, "balance");
        vm.assertTrue(_status(leaseId) == IEscrowTypes.LeaseStatus.Disputed, "disputed");
        _assertDispute(
            leaseId,
            IEscrowTypes.Dispute({
                challenger: CHALLENGER,
                disputedAt: uint40(START + 50 + WINDOW - 1),
                lowestSegment: 2,
                isDemand: false,
                lowerChallenger: address(0),
                isLowerDemand: false
            })
        );
        _assertCredits(_paid(0, 0));
    }

    // ---------------------------------------------------------------------------- disputed lease

    function test_challenge_givenDisputeAndNotLower_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _disputed(4, 2);
        uint16[3] memory given = [uint16(2), 3, 4];
        for (uint256 i = 0; i < given.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IEscrowTypes.SegmentOutOfRange.selector, given[i], 0, 2)
            );
            _challenge(OTHER, terms, given[i]);
        }
    }

    function test_challenge_givenDisputeAndPaidSegment_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.warp(START + 50 + WINDOW);
        _commit(terms, 4);
        _challenge(CHALLENGER, terms, 3);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.SegmentOutOfRange.selector, 1, 2, 3));
        _challenge(OTHER, terms, 1);
    }

    function test_challenge_givenDisputeWhoseHalfIsOver_reverts(uint16 late, uint16 timeout)
        external
    {
        IEscrowTypes.Terms memory terms = _terms();
        terms.disputeTimeout = 1 + uint32(timeout);
        _open(terms);
        vm.warp(START + 50);
        _commit(terms, 4);
        _challenge(CHALLENGER, terms, 2);
        uint256 deadline = START + 50 + terms.disputeTimeout / 2;
        vm.warp(deadline + late);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.AfterLowerDeadline.selector, deadline + late, deadline
            )
        );
        _challenge(OTHER, terms, 0);
    }

    function test_challenge_givenDisputeAndLower_takesItsPlace() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(4, 3);
        vm.warp(START + 70 + DISPUTE_TIMEOUT / 2 - 1);
        _expectEmit();
        emit IEscrowTypes.Challenged(leaseId, OTHER, 1, CHALLENGE_BOND);
        _challenge(OTHER, terms, 1);
        _assertDispute(
            leaseId,
            IEscrowTypes.Dispute({
                challenger: CHALLENGER,
                disputedAt: uint40(START + 70),
                lowestSegment: 1,
                isDemand: false,
                lowerChallenger: OTHER,
                isLowerDemand: false
            })
        );
        _assertCredits(_paid(0, 0));
    }

    function test_challenge_givenAnotherLowerOne_returnsItsBond() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(4, 3);
        _challenge(OTHER, terms, 2);
        _expectEmit();
        emit IEscrowTypes.BondReturned(leaseId, OTHER, CHALLENGE_BOND);
        _expectEmit();
        emit IEscrowTypes.Challenged(leaseId, STRANGER, 0, CHALLENGE_BOND);
        _challenge(STRANGER, terms, 0);
        vm.assertEq(_credits().other, CHALLENGE_BOND, "returned");
        vm.assertEq(escrow.disputeOf(leaseId).lowerChallenger, STRANGER, "lower challenger");
    }
}
