// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// settle
// ├── given a lease that is not active (never opened, disputed, closed): it should revert
// ├── given nothing committed, or all of it paid: it should revert
// ├── when the window is open: it should revert
// ├── when the window is over: it should pay, whoever calls, and leave the lease active
// └── when that was all: it should close the lease as completed and free the bond
// settleMany
// ├── given items that settle would refuse (unknown, closed, disputed, open window, nothing
// │   pending, twice the same): it should skip them
// ├── given an empty list: it should do nothing
// └── it should pay the others as settle does, in any order
// shares
// └── they should be rounded down, add up to the price, and stay those of the terms
contract SettleTest is EscrowTest {
    function test_settle_givenNoLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _expectNotActive(escrow.leaseIdOf(terms), IEscrowTypes.LeaseStatus.None);
        escrow.settle(terms);
    }

    function test_settle_givenDisputedLease_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _disputed(2, 0);
        vm.warp(START + 1000);
        _expectNotActive(leaseId, IEscrowTypes.LeaseStatus.Disputed);
        escrow.settle(terms);
    }

    function test_settle_givenClosedLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        _close(PROVIDER, terms);
        _expectNotActive(leaseId, IEscrowTypes.LeaseStatus.Closed);
        escrow.settle(terms);
    }

    function test_settle_givenNothingPending_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        _expectNothing(leaseId);
        escrow.settle(terms);
        vm.warp(START + 50);
        _commit(terms, 2);
        vm.warp(START + 50 + WINDOW);
        escrow.settle(terms);
        _expectNothing(leaseId);
        escrow.settle(terms);
    }

    function test_settle_whenWindowIsOpen_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(2);
        vm.warp(START + 50 + WINDOW - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.WindowOpen.selector, START + 50 + WINDOW - 1, START + 50 + WINDOW
            )
        );
        escrow.settle(terms);
    }

    function test_settle_whenWindowIsOver_pays(address caller) external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(3);
        vm.warp(START + 50 + WINDOW);
        (uint256 a, uint256 b, uint256 c) = _split(3 * uint256(PRICE));
        _expectEmit();
        emit IEscrowTypes.Settled(leaseId, 3, a, b, c);
        vm.prank(caller);
        escrow.settle(terms);
        _assertCredits(_paid(3, 0));
        _assertStake(STAKE, BOND, 0);
        IEscrowTypes.Lease memory lease = escrow.leaseOf(leaseId);
        vm.assertTrue(lease.status == IEscrowTypes.LeaseStatus.Active, "active");
        vm.assertEq(lease.paid, 3, "paid");
        vm.assertEq(lease.escrow, COST - 3 * PRICE, "escrow");
    }

    function test_settle_whenThatWasAll_closes() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.firstCommitWithin = 200;
        bytes32 leaseId = _open(terms);
        vm.warp(START + 100);
        _commit(terms, SEGMENTS);
        vm.warp(START + 100 + WINDOW);
        _expectEmit();
        emit IEscrowTypes.Closed(leaseId, IEscrowTypes.CloseCause.Completed, SEGMENTS, 0);
        escrow.settle(terms);
        _assertCredits(_paid(SEGMENTS, 0));
        _assertStake(STAKE, 0, 0);
        vm.assertTrue(_status(leaseId) == IEscrowTypes.LeaseStatus.Closed, "closed");
        vm.assertEq(escrow.leaseOf(leaseId).escrow, 0, "escrow");
    }

    // -------------------------------------------------------------------------------- settleMany

    function test_settleMany_givenEmptyList_doesNothing() external {
        vm.assertEq(escrow.settleMany(new IEscrowTypes.Terms[](0)), 0, "settled");
    }

    // A4 #30
    function test_settleMany_skipsWhatSettleRefuses() external {
        IEscrowTypes.Terms[] memory all = _mixedLeases();
        vm.assertEq(escrow.settleMany(all), 1, "settled");
        _assertCredits(_paid(2, COST));
        vm.assertEq(escrow.settleMany(all), 0, "settled again");
        _assertCredits(_paid(2, COST));
    }

    // A4 #30
    function test_settleMany_inAnyOrder_isTheSame(uint256 seed) external {
        IEscrowTypes.Terms[] memory all = _mixedLeases();
        for (uint256 i = all.length - 1; i > 0; --i) {
            uint256 j = uint256(keccak256(abi.encode(seed, i))) % (i + 1);
            (all[i], all[j]) = (all[j], all[i]);
        }
        vm.assertEq(escrow.settleMany(all), 1, "settled");
        _assertCredits(_paid(2, COST));
    }

    function test_settleMany_paysAsSettleDoes() external {
        vm.prank(PROVIDER);
        escrow.stake(address(token), 10 * BOND);
        IEscrowTypes.Terms[] memory all = new IEscrowTypes.Terms[](4);
        for (uint16 i = 0; i < 4; ++i) {
            all[i] = _terms();
            all[i].nonce = 100 + i;
            _open(all[i]);
        }
        vm.warp(START + 50);
        for (uint16 i = 0; i < 4; ++i) {
            _commit(all[i], i + 1);
        }
        vm.warp(START + 50 + WINDOW);
        uint256 state = vm.snapshotState();
        for (uint256 i = 0; i < 4; ++i) {
            escrow.settle(all[i]);
        }
        Credits memory expected = _credits();
        vm.revertToState(state);
        vm.assertEq(escrow.settleMany(all), 4, "settled");
        _assertCredits(expected);
    }

    // ------------------------------------------------------------------------------------ shares

    // A4 #9, A4 #10, A4 #27
    function test_settle_sharesAddUpToThePrice(uint96 price, uint16 feeBps, uint16 auditBps)
        external
    {
        IEscrowTypes.Terms memory terms = _terms();
        terms.pricePerSegment = 1 + uint96(price % 1e18);
        terms.feeBps = feeBps % 1001;
        terms.auditBps = auditBps % 2001;
        vm.prank(OWNER);
        escrow.setFee(terms.feeBps);
        token.mint(renter, SEGMENTS * uint256(terms.pricePerSegment));
        _open(terms);
        vm.warp(START + 50);
        _commit(terms, 3);
        // Later changes of the owner do not reach a running lease.
        vm.prank(OWNER);
        escrow.setFee(0);
        vm.warp(START + 50 + WINDOW);
        escrow.settle(terms);
        uint256 amount = 3 * uint256(terms.pricePerSegment);
        Credits memory credits = _credits();
        vm.assertEq(credits.treasury, amount * terms.feeBps / 10_000, "fee, rounded down");
        vm.assertEq(credits.auditPool, amount * terms.auditBps / 10_000, "audit share");
        vm.assertEq(credits.provider + credits.treasury + credits.auditPool, amount, "sum");
    }

    // ------------------------------------------------------------------------------------- tools

    /// @dev One lease that can be settled (two segments), twice in the list, among six that cannot.
    function _mixedLeases() private returns (IEscrowTypes.Terms[] memory all) {
        vm.prank(PROVIDER);
        escrow.stake(address(token), 10 * BOND);
        all = new IEscrowTypes.Terms[](7);
        for (uint64 i = 0; i < 5; ++i) {
            all[i] = _terms();
            all[i].nonce = 100 + i;
            _open(all[i]);
        }
        all[5] = _terms();
        all[5].nonce = 999;
        all[6] = all[0];
        vm.warp(START + 50);
        _commit(all[0], 2);
        _commit(all[1], 2);
        _challenge(CHALLENGER, all[1], 0);
        _close(PROVIDER, all[2]);
        _commit(all[3], 1);
        vm.warp(START + 51);
        _commit(all[3], 2);
        vm.warp(START + 50 + WINDOW);
    }

    function _expectNothing(bytes32 leaseId) private {
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.NothingToSettle.selector, leaseId));
    }
}
