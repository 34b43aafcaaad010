// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// reserve
// ├── given a commit of less than all segments: its reserve should stay in escrow
// │   ├── when only reserve is left: settle should revert, settleMany skip
// │   ├── when the lease ends so: the reserve should go back to the renter
// │   └── when the renter stops the lease: all that is committed should be paid
// ├── given a commit of all segments: everything should be paid
// └── given a dispute: fraud and timeout should not pay the reserve
contract ReserveTest is EscrowTest {
    uint16 private constant RESERVE = 3;
    uint16 private constant FREE = SEGMENTS - RESERVE;

    function test_settle_givenPartOfTheSegments_holdsTheReserve() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _commits(SEGMENTS - 1);
        vm.warp(START + 100 + WINDOW);
        escrow.settle(terms);
        _assertCredits(_paid(FREE, 0));
        vm.assertEq(escrow.leaseOf(leaseId).escrow, COST - FREE * uint256(PRICE), "escrow");
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.NothingToSettle.selector, leaseId));
        escrow.settle(terms);
        IEscrowTypes.Terms[] memory all = new IEscrowTypes.Terms[](1);
        all[0] = terms;
        vm.assertEq(escrow.settleMany(all), 0, "skipped");
    }

    function test_commit_givenReserveAlone_paysNothingYet() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _commits(SEGMENTS - 1);
        vm.warp(START + 100 + WINDOW);
        escrow.settle(terms);
        _commit(terms, SEGMENTS);
        vm.assertEq(escrow.leaseOf(leaseId).paid, FREE, "paid");
        vm.warp(START + 100 + 2 * WINDOW);
        escrow.settle(terms);
        Credits memory credits = _credits();
        vm.assertEq(credits.provider + credits.treasury + credits.auditPool, COST, "all paid");
        vm.assertTrue(_status(leaseId) == IEscrowTypes.LeaseStatus.Closed, "closed");
    }

    function test_close_givenNoFinalCommit_refundsTheReserve(bool expires) external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _commits(SEGMENTS - 1);
        vm.warp(expires ? START + MAX_DURATION + WINDOW : START + 100 + WINDOW);
        _expectEmit();
        emit IEscrowTypes.Closed(
            leaseId,
            expires ? IEscrowTypes.CloseCause.Expired : IEscrowTypes.CloseCause.ProviderClosed,
            FREE,
            RESERVE * uint256(PRICE)
        );
        _close(expires ? STRANGER : PROVIDER, terms);
        _assertCredits(_paid(FREE, RESERVE * uint256(PRICE)));
    }

    function test_settle_givenStop_paysAllThatIsCommitted() external {
        (IEscrowTypes.Terms memory terms,) = _commits(SEGMENTS - 1);
        _stop(terms);
        vm.warp(START + 100 + WINDOW);
        escrow.settle(terms);
        _assertCredits(_paid(SEGMENTS - 1, 0));
    }

    function test_rule_whenFraud_doesNotPayTheReserve(uint16 good) external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _commits(SEGMENTS);
        good = good % SEGMENTS;
        _challenge(CHALLENGER, terms, SEGMENTS - 1);
        _rule(terms, true, good);
        vm.assertEq(escrow.leaseOf(leaseId).paid, good < FREE ? good : FREE, "paid");
        uint256 paid = (good < FREE ? good : FREE) * uint256(PRICE);
        vm.assertEq(_credits().renter, COST - paid + BOND - 2 * uint256(PRICE), "renter");
    }

    function test_timeoutDispute_doesNotSplitTheReserve() external {
        (IEscrowTypes.Terms memory terms,) = _commits(SEGMENTS);
        _challenge(CHALLENGER, terms, SEGMENTS - 1);
        vm.warp(START + 100 + DISPUTE_TIMEOUT);
        escrow.timeoutDispute(terms);
        uint256 half = FREE * uint256(PRICE) / 2;
        vm.assertEq(_credits().renter, COST - half, "renter");
    }

    // ------------------------------------------------------------------------------------- tools

    function _commits(uint16 upTo)
        private
        returns (IEscrowTypes.Terms memory terms, bytes32 leaseId)
    {
        terms = _terms();
        terms.reserveSegments = RESERVE;
        terms.firstCommitWithin = 200;
        leaseId = _open(terms);
        vm.warp(START + 100);
        _commit(terms, upTo);
    }
}
