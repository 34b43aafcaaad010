// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {ConsentTest} from "./utils/ConsentTest.sol";
import {GasRecord} from "./utils/GasRecord.sol";
import {IOwnable} from "./utils/Interfaces.sol";
import {vm} from "./utils/Vm.sol";

/// @notice Gas of every verb, each call its own transaction, with its base cost and call data.
/// "steady" is what a market in use pays: its parties have credits, and the slots are not new.
/// The figures are kept in `snapshots/GasTest.json`, and a change of any of them fails the test;
/// `npm run gas` prints and rewrites them. Their limits are in tests/bench/escrow_gas.py.
/// forge-config: default.isolate = true
/// forge-config: lite.isolate = true
/// forge-config: ci.isolate = true
/// forge-config: soak.isolate = true
contract GasTest is ConsentTest, GasRecord {
    function test_gas_listing() external {
        vm.prank(PROVIDER);
        bytes32 id = escrow.list(CLASS, address(token), 1, operator, new bytes(1024));
        _measure("list, document of 1 KiB");
        vm.prank(PROVIDER);
        escrow.reprice(id, 2);
        _measure("reprice");
        vm.prank(PROVIDER);
        escrow.setOperator(id, OTHER);
        _measure("setOperator");
        vm.prank(PROVIDER);
        escrow.setCapacity(id, 2);
        _measure("setCapacity");
        vm.prank(PROVIDER);
        escrow.cancelNonces(id, 0, 1);
        _measure("cancelNonces, first of its 256");
        vm.prank(PROVIDER);
        escrow.cancelNonces(id, 0, 2);
        _measure("cancelNonces, steady");
        vm.prank(PROVIDER);
        escrow.delist(id);
        _measure("delist");
    }

    function test_gas_stake() external {
        vm.prank(PROVIDER);
        escrow.stake(address(token), 1);
        _measure("stake, steady");
        vm.prank(PROVIDER);
        escrow.unbond(address(token), 1);
        _measure("unbond");
        vm.warp(START + UNBONDING);
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
        _measure("claimUnbond, first credit");
    }

    function test_gas_owner() external {
        _warmCredits();
        vm.prank(OWNER);
        escrow.setTreasury(OTHER);
        _measure("setTreasury, shares of a token have accrued");
        vm.prank(OWNER);
        escrow.setAuditPool(OTHER);
        _measure("setAuditPool, nothing has accrued");
        vm.prank(OWNER);
        escrow.setFee(1);
        _measure("setFee");
        vm.prank(OWNER);
        escrow.pause();
        _measure("pause");
        vm.prank(OWNER);
        escrow.unpause();
        _measure("unpause");
        IOwnable owned = IOwnable(address(escrow));
        vm.prank(OWNER);
        owned.transferOwnership(OTHER);
        _measure("transferOwnership");
        vm.prank(OTHER);
        owned.acceptOwnership();
        _measure("acceptOwnership");
        vm.prank(OTHER);
        owned.renounceOwnership();
        _measure("renounceOwnership");
    }

    function test_gas_lease() external {
        _commits(1);
        _measure("commit that pays the one before, first credits");
        _settles(1);
        _commits(2);
        _measure("commit that pays the one before, steady");
        _settles(2);
        vm.prank(STRANGER);
        escrow.withdrawTo(address(token), PROVIDER);
        _measure("withdrawTo");
    }

    function test_gas_metered() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        _warmCredits();
        _open(terms);
        bytes memory signature = _voucher(terms, 2);
        escrow.settleVoucher(terms, 2, signature);
        _measure("settleVoucher, steady");
        vm.prank(renter);
        escrow.stop(terms);
        _measure("stop");
        vm.prank(operator);
        escrow.close(terms);
        _measure("close with refund, steady");
        terms.nonce = 2;
        _open(terms);
        vm.warp(START + MAX_DURATION + GRACE + 1);
        vm.prank(STRANGER);
        escrow.close(terms);
        _measure("close with refund by a stranger, steady");
        escrow.collect(address(token));
        _measure("collect");
        vm.prank(renter);
        escrow.withdraw(address(token), OTHER, 1);
        _measure("withdraw of a part");
    }

    function test_gas_coin() external {
        address[] memory tokens = new address[](1);
        escrow = _newEscrow(tokens);
        vm.deal(renter, 2 * COST);
        vm.deal(PROVIDER, STAKE);
        vm.prank(PROVIDER);
        listingId = escrow.list(CLASS, address(0), 1, operator, DOCUMENT);
        vm.prank(PROVIDER);
        escrow.stake{value: STAKE}(address(0), STAKE);
        IEscrowTypes.Terms memory terms = _terms();
        terms.token = address(0);
        for (uint64 i = 1; i < 3; ++i) {
            terms.nonce = i;
            bytes memory signature = _sign(terms);
            vm.prank(renter);
            escrow.open{value: COST}(terms, signature);
        }
        _measure("open, the chain's own coin");
    }

    function test_gas_openings() external {
        _warmCredits();
        IEscrowTypes.Terms memory terms = _terms();
        terms.segments = 5;
        bytes32 leaseId = escrow.leaseIdOf(terms);
        IEscrowTypes.Source source = IEscrowTypes.Source.Credit;
        bytes memory signature = _sign(terms);
        bytes memory consent = _signature(RENTER_KEY, escrow.openingDigest(leaseId, source, 0));
        vm.prank(STRANGER);
        escrow.openFrom(terms, signature, source, 0, consent);
        _measure("openFrom credit, with consent");
        terms.nonce = 2;
        signature = _sign(terms);
        IEscrowTypes.Authorization memory authorization = _authorization(terms, 0);
        vm.prank(STRANGER);
        escrow.openWithAuthorization(terms, signature, authorization);
        _measure("openWithAuthorization");
    }

    function test_gas_permit() external {
        _warmCredits();
        IEscrowTypes.Terms memory terms = _terms();
        // The second: the token's counter of permits is not new.
        for (uint64 i = 1; i < 3; ++i) {
            terms.nonce = i;
            _allow(0);
            bytes memory signature = _sign(terms);
            IEscrowTypes.Permit memory permit = _permit(COST);
            vm.prank(renter);
            escrow.openWithPermit(terms, signature, permit);
        }
        _measure("openWithPermit, steady");
    }

    function test_gas_order() external {
        _warmCredits();
        IEscrowTypes.Terms memory terms = _terms();
        IEscrowTypes.Order memory order = _order();
        (order.budget, order.segments) = (uint96(2 * COST), 2 * SEGMENTS);
        bytes memory consent = _signOrder(order);
        for (uint64 i = 1; i < 3; ++i) {
            terms.nonce = i;
            _send(STRANGER, _openForCall(terms, _sign(terms), order, consent));
            _measure(i == 1 ? "openFor, first of the order" : "openFor, steady");
        }
        vm.prank(renter);
        escrow.revokeOrder(order, "");
        _measure("revokeOrder, of an order in use");
    }

    function test_gas_consents() external {
        _warmCredits();
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(4);
        IEscrowTypes.Source source = IEscrowTypes.Source.Credit;
        bytes memory consent = _signature(RENTER_KEY, _challengeDigest(leaseId, 3, source));
        _send(STRANGER, _challengeFromCall(terms, 3, source, renter, consent));
        _measure("challengeFrom credit, with consent");
        consent = _signature(RENTER_KEY, escrow.stopDigest(leaseId));
        vm.prank(STRANGER);
        escrow.stopFor(terms, consent);
        _measure("stopFor, while disputed");
    }

    function test_gas_settleMany() external {
        IEscrowTypes.Terms[] memory all = _oneProvider();
        _commitAll(all, 4);
        _settleAll(all);
        _measure("settleMany of 10, steady");
    }

    /// @dev Opened, committed once, settled and closed among ten: all that a lease needs.
    function test_gas_wholeLife() external {
        IEscrowTypes.Terms[] memory all = _oneProvider();
        uint256 opening = _measure("open, one of ten");
        _commitAll(all, SEGMENTS);
        uint256 committing = _measure("commit, one of ten");
        _settleAll(all);
        uint256 settling = _measure("settleMany of 10 that completes, one provider");
        string memory name = "open, commit, and a tenth of settleMany that completes";
        uint256 life = opening + committing + settling / all.length;
        vm.snapshotValue(name, life);
        emit GasUsed(name, life);
    }

    function test_gas_tenProviders() external {
        IEscrowTypes.Terms[] memory all = new IEscrowTypes.Terms[](10);
        for (uint160 i = 0; i < all.length; ++i) {
            address provider = address(0x5000 + i);
            _fund(provider);
            vm.prank(provider);
            bytes32 listed = escrow.list(CLASS, address(token), 1, operator, DOCUMENT);
            vm.prank(provider);
            escrow.stake(address(token), STAKE);
            all[i] = _meteredTerms();
            (all[i].provider, all[i].listingId) = (provider, listed);
            _earnFirst(all[i]);
            (all[i].window, all[i].firstCommitWithin) = (WINDOW, 200);
            _open(all[i]);
        }
        _commitAll(all, SEGMENTS);
        _settleAll(all);
        _measure("settleMany of 10 that completes, ten providers");
    }

    function test_gas_dispute() external {
        _warmCredits();
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        vm.prank(CHALLENGER);
        escrow.challenge(terms, 3);
        _measure("challenge");
        vm.prank(OTHER);
        escrow.challenge(terms, 1);
        _measure("challenge, pointing lower");
        vm.prank(ARBITER);
        escrow.rule(terms, false, 1);
        _measure("rule, honest");
        vm.prank(CHALLENGER);
        escrow.challenge(terms, 3);
        vm.prank(ARBITER);
        escrow.rule(terms, true, 2);
        _measure("rule, fraud");
    }

    function test_gas_findings() external {
        _warmCredits();
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        vm.prank(CHALLENGER);
        escrow.demandData(terms, 3);
        _measure("demandData");
        vm.prank(ARBITER);
        escrow.attestUnretrievable(terms, 2);
        _measure("attestUnretrievable, ending a demand");
        vm.warp(START + 50 + WINDOW);
        _close(STRANGER, terms);
        vm.prank(ARBITER);
        escrow.ruleLate(terms, 0);
        _measure("ruleLate");
        terms.nonce = 2;
        bytes32 leaseId = _open(terms);
        bytes memory signature = _signature(OPERATOR_KEY, escrow.failedProbeDigest(leaseId, TRACE));
        vm.prank(STRANGER);
        escrow.rejectMachine(terms, TRACE, signature);
        _measure("rejectMachine, with the operator's signature");
    }

    /// @dev Another lease kept all stake when the first was ruled to be fraud.
    function test_gas_late() external {
        _warmCredits();
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        vm.warp(START + 50 + WINDOW);
        _close(PROVIDER, terms);
        IEscrowTypes.Terms memory other = _terms();
        (other.nonce, other.bond) = (2, uint96(escrow.freeStakeOf(PROVIDER, address(token))));
        _open(other);
        vm.prank(ARBITER);
        escrow.ruleLate(terms, 0);
        _measure("ruleLate that leaves it owed");
        _close(PROVIDER, other);
        vm.prank(STRANGER);
        escrow.payLate(terms);
        _measure("payLate of all");
    }

    function test_gas_timeout() external {
        _warmCredits();
        (IEscrowTypes.Terms memory terms,) = _disputed(4, 3);
        vm.warp(START + 70 + DISPUTE_TIMEOUT);
        vm.prank(STRANGER);
        escrow.timeoutDispute(terms);
        _measure("timeoutDispute");
    }

    function _commits(uint64 nonce) private {
        IEscrowTypes.Terms memory terms = _lease(nonce);
        uint256 begin = vm.getBlockTimestamp();
        _open(terms);
        _measure("open");
        vm.warp(begin + 100);
        _commit(terms, 4);
        _measure("commit, first of the lease");
        vm.warp(begin + 100 + WINDOW);
        _commit(terms, 8);
    }

    function _settles(uint64 nonce) private {
        IEscrowTypes.Terms memory terms = _lease(nonce);
        vm.warp(vm.getBlockTimestamp() + WINDOW);
        escrow.settle(terms);
        _measure("settle, steady");
        _commit(terms, SEGMENTS);
        vm.warp(vm.getBlockTimestamp() + WINDOW);
        escrow.settle(terms);
        _measure("settle that completes, steady");
    }

    function _lease(uint64 nonce) private view returns (IEscrowTypes.Terms memory terms) {
        terms = _terms();
        terms.nonce = nonce;
        terms.firstCommitWithin = 200;
    }

    /// @dev Gives every receiver a credit.
    function _warmCredits() private {
        _earnFirst(_meteredTerms());
    }

    /// @dev A lease of its own that pays something to each of its parties.
    function _earnFirst(IEscrowTypes.Terms memory terms) private {
        uint64 nonce = terms.nonce;
        terms.nonce = 1000;
        _open(terms);
        escrow.settleVoucher(terms, 1, _voucher(terms, 1));
        _close(terms.provider, terms);
        terms.nonce = nonce;
    }

    function _oneProvider() private returns (IEscrowTypes.Terms[] memory all) {
        vm.prank(PROVIDER);
        escrow.stake(address(token), 20 * uint256(BOND));
        _warmCredits();
        all = new IEscrowTypes.Terms[](10);
        for (uint64 i = 0; i < all.length; ++i) {
            all[i] = _terms();
            (all[i].nonce, all[i].firstCommitWithin) = (10 + i, 200);
            _open(all[i]);
        }
    }

    function _commitAll(IEscrowTypes.Terms[] memory all, uint16 upTo) private {
        vm.warp(START + 100);
        for (uint256 i = 0; i < all.length; ++i) {
            _commit(all[i], upTo);
        }
    }

    function _settleAll(IEscrowTypes.Terms[] memory all) private {
        vm.warp(START + 100 + WINDOW);
        vm.assertEq(escrow.settleMany(all), all.length, "settled");
    }
}
