// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {ConsentTest} from "../utils/ConsentTest.sol";
import {vm} from "../utils/Vm.sol";

// Attacks on the way in. Each test says what a simpler rule would give.
// ├── open in the last second before `openBy`
// ├── terms copied from the mempool
// ├── draining a standing allowance
// ├── hostile relayer
// ├── bond recycling over many leases
// └── reorganisation across open and commit (with a chain: tests/integration/contracts)
contract OpeningAttacksTest is ConsentTest {
    address private constant RELAYER = address(0x1009);
    address private constant THIEF = STRANGER;
    uint256 private constant THIEF_KEY = 0xbad;
    uint96 private constant FEE = 30_011;
    IEscrowTypes.Source private constant ALLOWANCE = IEscrowTypes.Source.Allowance;

    // ------------------------------------------------------------------------------- last second

    /// @dev Naive: the terms carry absolute deadlines, as they were meant when they were signed. A
    /// renter that opens in the last second would leave the provider none of them, get its whole
    /// price back, and leave the provider with the mark of one that never came.
    function test_openInTheLastSecond_leavesTheProviderEveryPeriod() external {
        IEscrowTypes.Terms memory terms = _terms();
        vm.warp(terms.openBy);
        bytes32 leaseId = _open(terms);
        vm.warp(terms.openBy + FIRST_COMMIT);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.BeforeCloseTime.selector,
                terms.openBy + FIRST_COMMIT,
                terms.openBy + FIRST_COMMIT
            )
        );
        _close(renter, terms);
        _commit(terms, 5);
        vm.warp(terms.openBy + MAX_DURATION);
        _commit(terms, SEGMENTS);
        vm.warp(terms.openBy + MAX_DURATION + WINDOW);
        escrow.settle(terms);
        vm.assertEq(escrow.leaseOf(leaseId).paid, SEGMENTS, "all is paid");
    }

    /// @dev Naive: signed terms are good until they are used. The renter would hold a free option
    /// on the machine at the old price.
    function test_openAfterTheLastSecond_isRefused() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes memory signature = _sign(terms);
        vm.warp(terms.openBy + 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.AfterOpenBy.selector, terms.openBy + 1, terms.openBy
            )
        );
        vm.prank(renter);
        escrow.open(terms, signature);
    }

    // ---------------------------------------------------------------------------- copied terms

    /// @dev Naive: a signed offer is for whoever presents it first. The thief would take machine,
    /// bond and price that were made for the renter, who would find them gone.
    function test_copiedTerms_areOfNoUseToTheThief() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes memory signature = _sign(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.NotRenter.selector, THIEF, renter));
        vm.prank(THIEF);
        escrow.open(terms, signature);
        IEscrowTypes.Terms memory own = _terms();
        own.renter = THIEF;
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.SignatureInvalid.selector, operator, escrow.leaseIdOf(own)
            )
        );
        vm.prank(THIEF);
        escrow.open(own, signature);
        vm.assertEq(escrow.leaseOf(_open(terms)).escrow, COST, "the renter's opening stands");
    }

    /// @dev Naive: the renter's authorization is one to transfer. The thief would hand it to the
    /// token itself: the money would lie in the escrow, for no lease, and the opening would fail.
    function test_copiedAuthorization_cannotBeUsedAtTheToken() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        IEscrowTypes.Authorization memory given = _authorization(terms, FEE);
        bytes memory signature = _sign(terms);
        vm.expectPartialRevert(bytes4(keccak256("ERC20InvalidReceiver(address)")));
        vm.prank(THIEF);
        token.receiveWithAuthorization(
            renter,
            address(escrow),
            COST + FEE,
            given.validAfter,
            given.validBefore,
            leaseId,
            given.v,
            given.r,
            given.s
        );
        vm.expectPartialRevert(bytes4(keccak256("ERC3009InvalidSignature()")));
        vm.prank(THIEF);
        token.transferWithAuthorization(
            renter,
            address(escrow),
            COST + FEE,
            given.validAfter,
            given.validBefore,
            leaseId,
            given.v,
            given.r,
            given.s
        );
        vm.prank(RELAYER);
        escrow.openWithAuthorization(terms, signature, given);
        vm.assertEq(escrow.leaseOf(leaseId).escrow, COST, "opened");
    }

    /// @dev Naive: the opening fails when its permit does. A thief that uses the permit first would
    /// stop every such opening.
    function test_copiedPermit_doesNotStopTheOpening() external {
        _allow(0);
        IEscrowTypes.Permit memory permit = _permit(COST);
        vm.prank(THIEF);
        token.permit(renter, address(escrow), COST, permit.deadline, permit.v, permit.r, permit.s);
        bytes memory signature = _sign(_terms());
        vm.prank(renter);
        bytes32 leaseId = escrow.openWithPermit(_terms(), signature, permit);
        vm.assertEq(escrow.leaseOf(leaseId).escrow, COST, "opened");
    }

    /// @dev Naive: who commits first owns the commit. The thief would put another root under the
    /// provider's segments, and with it a fake to be slashed for.
    function test_copiedCommit_countsFromTheProvidersSideOnly() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        vm.warp(START + 50);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.NotProviderOrOperator.selector, THIEF, PROVIDER, operator
            )
        );
        vm.prank(THIEF);
        escrow.commit(terms, 5, keccak256("another trace"));
        _commit(terms, 5);
        vm.assertEq(escrow.leaseOf(leaseId).root, _root(0, 5, TRACE), "root");
    }

    // ------------------------------------------------------------------------- standing allowance

    /// @dev Naive: terms that name a renter with an allowance, signed by any listed machine, open a
    /// lease. The thief lists one, signs, takes the price and commits nothing worth it.
    function test_standingAllowance_cannotBeDrainedByAListedThief() external {
        IEscrowTypes.Terms memory terms = _thiefsTerms();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        bytes memory signature = _signature(THIEF_KEY, leaseId);
        IEscrowTypes.Order memory order = _order();
        order.listingId = 0;
        IEscrowTypes.Permit memory permit;
        IEscrowTypes.Authorization memory authorization;
        bytes memory forged = _signature(THIEF_KEY, escrow.openingDigest(leaseId, ALLOWANCE, 0));
        bytes memory forgedOrder = _signature(THIEF_KEY, escrow.orderDigest(order));
        bytes[5] memory calls = [
            abi.encodeCall(escrow.open, (terms, signature)),
            abi.encodeCall(escrow.openWithPermit, (terms, signature, permit)),
            abi.encodeCall(escrow.openWithAuthorization, (terms, signature, authorization)),
            abi.encodeCall(escrow.openFrom, (terms, signature, ALLOWANCE, 0, forged)),
            _openForCall(terms, signature, order, forgedOrder)
        ];
        uint256 before = token.balanceOf(renter);
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.prank(THIEF);
            (bool done,) = address(escrow).call(calls[i]);
            vm.assertTrue(!done, "refused");
        }
        vm.assertEq(token.balanceOf(renter), before, "not a unit is taken");
        // The same with the renter's consent: what was refused was the consent, nothing else.
        bytes memory consent = _consent(leaseId, ALLOWANCE, 0);
        vm.prank(THIEF);
        escrow.openFrom(terms, signature, ALLOWANCE, 0, consent);
    }

    /// @dev Naive: a challenge names its challenger. The thief would spend everybody's allowance on
    /// bonds for its own provider.
    function test_standingAllowance_cannotBeDrainedByChallenges() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(4);
        bytes32 digest = _challengeDigest(leaseId, 1, ALLOWANCE);
        bytes memory forged = _signature(THIEF_KEY, digest);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, renter, digest)
        );
        _send(THIEF, _challengeFromCall(terms, 1, ALLOWANCE, renter, forged));
    }

    // --------------------------------------------------------------------------- hostile relayer

    /// @dev Naive: the relayer names its fee. It would take all that the allowance holds.
    function test_hostileRelayer_getsTheSignedFeeAndNoMore() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        bytes memory consent = _consent(leaseId, ALLOWANCE, FEE);
        bytes memory signature = _sign(terms);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.SignatureInvalid.selector,
                renter,
                escrow.openingDigest(leaseId, ALLOWANCE, FEE + 1)
            )
        );
        vm.prank(RELAYER);
        escrow.openFrom(terms, signature, ALLOWANCE, FEE + 1, consent);
        uint256 before = token.balanceOf(renter);
        vm.prank(RELAYER);
        escrow.openFrom(terms, signature, ALLOWANCE, FEE, consent);
        vm.assertEq(token.balanceOf(renter), before - COST - FEE, "paid once");
        vm.assertEq(escrow.creditOf(address(token), RELAYER), FEE, "fee");
    }

    // A4 #22
    /// @dev Naive: a consent is good as long as its signature is. After the lease is over the
    /// relayer would open it again, and take its fee again.
    function test_hostileRelayer_cannotUseAConsentTwice() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        bytes memory consent = _consent(leaseId, ALLOWANCE, FEE);
        bytes memory signature = _sign(terms);
        vm.prank(RELAYER);
        escrow.openFrom(terms, signature, ALLOWANCE, FEE, consent);
        _close(PROVIDER, terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseExists.selector, leaseId));
        vm.prank(RELAYER);
        escrow.openFrom(terms, signature, ALLOWANCE, FEE, consent);
    }

    /// @dev Naive: whoever holds the renter's message is the only one who can send it. A relayer
    /// that keeps it would keep the renter from its lease, and use the consent when it suits it.
    function test_hostileRelayer_thatKeepsAConsent_holdsUpNobody() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        bytes memory kept = _consent(leaseId, ALLOWANCE, FEE);
        bytes memory signature = _sign(terms);
        vm.prank(renter);
        escrow.open(terms, signature);
        uint256 before = token.balanceOf(renter);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseExists.selector, leaseId));
        vm.prank(RELAYER);
        escrow.openFrom(terms, signature, ALLOWANCE, FEE, kept);
        vm.assertEq(token.balanceOf(renter), before, "no second payment");
    }

    /// @dev Naive: a message says what, not of which lease. The relayer would stop every lease of
    /// the renter with one signature, and pay vouchers of one lease from another.
    function test_hostileRelayer_cannotMoveAMessageToAnotherLease() external {
        IEscrowTypes.Terms memory first = _meteredTerms();
        IEscrowTypes.Terms memory second = _meteredTerms();
        second.nonce = 2;
        bytes32 firstId = _open(first);
        bytes32 secondId = _open(second);
        bytes memory stopIt = _signature(RENTER_KEY, escrow.stopDigest(firstId));
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.SignatureInvalid.selector, renter, escrow.stopDigest(secondId)
            )
        );
        vm.prank(RELAYER);
        escrow.stopFor(second, stopIt);
        bytes memory voucher = _voucher(first, 3);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.SignatureInvalid.selector, renter, escrow.voucherDigest(secondId, 3)
            )
        );
        vm.prank(RELAYER);
        escrow.settleVoucher(second, 3, voucher);
    }

    /// @dev Naive: each voucher pays what is written on it. A relayer that sends old ones too, or
    /// in another order, would have the same segments paid again.
    function test_hostileRelayer_thatSendsOldVouchers_isPaidNothingMore() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        _open(terms);
        bytes memory old = _voucher(terms, 2);
        escrow.settleVoucher(terms, 5, _voucher(terms, 5));
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.VoucherOutOfRange.selector, 2, 5, SEGMENTS)
        );
        vm.prank(RELAYER);
        escrow.settleVoucher(terms, 2, old);
        _assertCredits(_paid(5, 0));
    }

    // ----------------------------------------------------------------------------- bond recycling

    /// @dev Naive: the stake must be as high as the bond, and is not locked by it. One stake would
    /// stand behind any number of leases, and be slashed for one of them.
    function test_bondRecycling_oneStakeBacksOneLeaseAtATime() external {
        IEscrowTypes.Terms[] memory all = new IEscrowTypes.Terms[](4);
        uint256 carried = STAKE / BOND;
        for (uint64 i = 0; i < carried; ++i) {
            all[i] = _terms();
            all[i].nonce = 10 + i;
            _open(all[i]);
        }
        IEscrowTypes.Terms memory more = _terms();
        bytes memory signature = _sign(more);
        bytes memory reason = abi.encodeWithSelector(
            IEscrowTypes.FreeStakeTooLow.selector,
            PROVIDER,
            token,
            BOND,
            STAKE - carried * uint256(BOND)
        );
        vm.expectRevert(reason);
        vm.prank(renter);
        escrow.open(more, signature);
        // Fraud in each of them is paid in full, to each renter.
        vm.warp(START + 50);
        for (uint256 i = 0; i < carried; ++i) {
            _commit(all[i], 5);
            _challenge(CHALLENGER, all[i], 0);
            _rule(all[i], true, 0);
        }
        uint256 slashed = carried * (BOND - escrow.challengeReward(more));
        vm.assertEq(_credits().renter, carried * COST + slashed, "every bond was there");
    }

    /// @dev Naive: stake that is on its way out still counts for new leases, or what backs
    /// old ones comes out. The provider would take out what its leases rely on.
    function test_bondRecycling_throughUnbonding_isRefused() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        vm.prank(PROVIDER);
        escrow.unbond(address(token), STAKE - BOND);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.UnbondTooHigh.selector, 1, 0));
        vm.prank(PROVIDER);
        escrow.unbond(address(token), 1);
        terms.nonce = 2;
        bytes memory signature = _sign(terms);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.FreeStakeTooLow.selector, PROVIDER, token, BOND, 0)
        );
        vm.prank(renter);
        escrow.open(terms, signature);
        vm.warp(START + UNBONDING);
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
        _assertStake(BOND, BOND, 0);
    }

    // ----------------------------------------------------------------------------- reorganisation

    /// @dev Naive: leases are numbered. After the reorganisation another opening takes the number,
    /// and the commit, which is still in the mempool, claims segments of a lease that it is not
    /// about: a fake, and the provider's bond.
    function test_reorganisation_ofTheOpening_voidsTheCommit() external {
        IEscrowTypes.Terms memory terms = _terms();
        IEscrowTypes.Terms memory other = _terms();
        (other.jobHash, other.nonce) = (keccak256("other job"), 2);
        uint256 fork = vm.snapshotState();
        bytes32 leaseId = _open(terms);
        vm.warp(START + 50);
        _commit(terms, 5);
        vm.assertTrue(vm.revertToState(fork), "reorganised");
        vm.warp(START + 40);
        bytes32 otherId = _open(other);
        vm.warp(START + 50);
        _expectNotActive(leaseId, IEscrowTypes.LeaseStatus.None);
        _commit(terms, 5);
        vm.assertEq(escrow.leaseOf(otherId).pending, 0, "the other lease is untouched");
    }

    /// @dev Naive: times come from the terms or from the call. After the reorganisation the lease
    /// is younger than the provider believes, and a commit of more than can be computed would pass.
    function test_reorganisation_thatOpensLater_countsFromTheNewOpening() external {
        IEscrowTypes.Terms memory terms = _terms();
        uint256 fork = vm.snapshotState();
        bytes32 leaseId = _open(terms);
        vm.assertTrue(vm.revertToState(fork), "reorganised");
        vm.warp(START + 20);
        vm.assertEq(_open(terms), leaseId, "same terms, same id");
        vm.warp(START + 50);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.CommitTooFast.selector, 5, 5 * MIN_SEGMENT, 30)
        );
        _commit(terms, 5);
        _commit(terms, 3);
        vm.assertEq(escrow.leaseOf(leaseId).pending, 3, "pending");
    }

    // ------------------------------------------------------------------------------------- tools

    /// @dev Terms of a machine that the thief has listed, for the renter.
    function _thiefsTerms() private returns (IEscrowTypes.Terms memory terms) {
        terms = _terms();
        terms.provider = THIEF;
        terms.operator = vm.addr(THIEF_KEY);
        terms.bond = 0;
        vm.prank(THIEF);
        terms.listingId = escrow.list(CLASS, address(token), 1, terms.operator, DOCUMENT);
    }
}
