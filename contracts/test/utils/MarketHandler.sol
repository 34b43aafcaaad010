// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {ILeaseEscrow} from "../../src/interfaces/ILeaseEscrow.sol";
import {IOwnable, ITestToken} from "./Interfaces.sol";
import {MarketRecords} from "./MarketRecords.sol";
import {TokenMessages} from "./TokenMessages.sol";
import {vm} from "./Vm.sol";

/// @notice Drives a market of several parties at random, and checks after each step that no lease
/// moved in a way that the step does not allow. Calls that the escrow refuses are part of the game.
contract MarketHandler is MarketRecords {
    constructor(ILeaseEscrow escrow_, ITestToken token_, address owner, address[] memory receivers)
        MarketRecords(escrow_, token_, owner, receivers)
    {}

    // ------------------------------------------------------------------------------------- steps

    function pass(uint16 duration) external {
        // Mostly short: the windows and deadlines below are of this size.
        vm.warp(vm.getBlockTimestamp() + (duration % 16 == 0 ? duration % 2000 : duration % 40));
        _check(Step.Other);
    }

    function stake(uint8 who, uint64 amount) external {
        bytes memory data = abi.encodeCall(escrow.stake, (address(token), amount));
        _call(_provider(who), _valueOf(amount), data, "stake");
        _check(Step.Other);
    }

    function unbond(uint8 who, uint64 amount) external {
        (uint256 total,, uint256 unbonding,,) = escrow.stakeOf(_provider(who), address(token));
        // Each call starts the period again; left alone, it comes to its end.
        if (unbonding != 0 && amount % 8 != 0) return;
        uint256 part = total == 0 ? 0 : amount % (total + total / 4);
        _call(_provider(who), abi.encodeCall(escrow.unbond, (address(token), part)), "unbond");
        _check(Step.Other);
    }

    function claimUnbond(uint8 who) external {
        _call(_provider(who), abi.encodeCall(escrow.claimUnbond, (address(token))), "claimUnbond");
        _check(Step.Other);
    }

    function open(uint256 seed, uint8 who, uint64 price, uint64 bond, bool isMetered) external {
        uint256 i = _freePlace();
        if (i == MAX_LEASES) return;
        IEscrowTypes.Terms memory terms = _draw(seed, who, price, bond, isMetered);
        if (_way(seed >> 96) == Way.Order) _fitOrder(terms);
        bytes32 id = escrow.leaseIdOf(terms);
        bytes memory signature = _sign(OPERATOR_KEY + who / 2 % 2, id);
        if (!_fundedOpen(seed >> 96, terms, id, signature)) return;
        bool isCancelled = escrow.isCancelled(terms.listingId, terms.nonce);
        vm.assertTrue(!isCancelled, "cancelled terms are void");
        if (terms.predecessor != 0) ++count["successor"];
        if (i == _terms.length) {
            _terms.push();
            _ids.push();
            _seen.push();
            _maturesAt.push();
            _disputedAt.push();
        }
        (_terms[i], _ids[i], _seen[i]) = (terms, id, escrow.leaseOf(id));
        (_maturesAt[i], _disputedAt[i]) = (0, 0);
        _check(Step.Other);
    }

    /// @dev Opens by one of the ways to pay; whatever way, the lease is the same.
    function _fundedOpen(
        uint256 seed,
        IEscrowTypes.Terms memory terms,
        bytes32 id,
        bytes memory signature
    ) private returns (bool) {
        address relayer = accounts[4 + seed % 3];
        uint256 cost = uint256(terms.pricePerSegment) * terms.segments;
        uint256 key = RENTER_KEY + (terms.renter == accounts[0] ? 0 : 1);
        Way way = _way(seed);
        if (way == Way.Plain) {
            bytes memory plain = abi.encodeCall(escrow.open, (terms, signature));
            return _call(terms.renter, _valueOf(cost), plain, "open");
        }
        if (way == Way.Permit) return _openWithPermit(terms, signature, cost, key);
        uint96 fee = uint96((seed >> 8) % 1000);
        if (way == Way.Authorization) {
            return _openWithAuthorization(terms, signature, fee, key, relayer);
        }
        _spender = terms.renter;
        if (way == Way.Order) return _openFor(seed >> 8, terms, signature, relayer, key);
        IEscrowTypes.Source source = IEscrowTypes.Source(way == Way.Allowance ? 0 : 1);
        bytes memory consent = _sign(key, escrow.openingDigest(id, source, fee));
        bytes memory data =
            abi.encodeCall(escrow.openFrom, (terms, signature, source, fee, consent));
        return _call(relayer, data, "openFrom");
    }

    /// @dev The chain's own coin knows neither permits nor authorizations.
    function _way(uint256 seed) private view returns (Way way) {
        way = Way(seed % (uint256(type(Way).max) + 1));
        bool isOfTokens = way == Way.Permit || way == Way.Authorization;
        if (isOfTokens && address(token) == address(0)) return Way.Plain;
    }

    /// @dev Periods that the renter's orders allow; a metered lease is never opened by others.
    function _fitOrder(IEscrowTypes.Terms memory terms) private pure {
        if (terms.window == 0) return;
        terms.window = 20 + terms.window % 80;
        terms.disputeTimeout = 20 + terms.disputeTimeout % 60;
        terms.commitGrace %= 20;
    }

    function _openWithPermit(
        IEscrowTypes.Terms memory terms,
        bytes memory signature,
        uint256 cost,
        uint256 key
    ) private returns (bool done) {
        IEscrowTypes.Permit memory permit;
        (permit.value, permit.deadline) = (cost, type(uint256).max);
        bytes32 digest = TokenMessages.permit(
            token, terms.renter, address(escrow), permit.value, permit.deadline
        );
        (permit.v, permit.r, permit.s) = vm.sign(key, digest);
        bytes memory data = abi.encodeCall(escrow.openWithPermit, (terms, signature, permit));
        done = _call(terms.renter, data, "openWithPermit");
        // It took the place of what the renter had allowed, and is used up.
        if (!done) return false;
        vm.assertEq(token.allowance(terms.renter, address(escrow)), 0, "permit");
        _allowAll(terms.renter);
    }

    function _openWithAuthorization(
        IEscrowTypes.Terms memory terms,
        bytes memory signature,
        uint96 fee,
        uint256 key,
        address relayer
    ) private returns (bool done) {
        IEscrowTypes.Authorization memory given;
        (given.relayFee, given.validBefore) = (fee, type(uint256).max);
        uint256 value = uint256(terms.pricePerSegment) * terms.segments + fee;
        bytes32 id = escrow.leaseIdOf(terms);
        bytes32 digest = TokenMessages.receiving(
            token, terms.renter, address(escrow), value, given.validBefore, id
        );
        (given.v, given.r, given.s) = vm.sign(key, digest);
        uint256 credit = escrow.creditOf(address(token), relayer);
        bytes memory data = abi.encodeCall(escrow.openWithAuthorization, (terms, signature, given));
        done = _call(relayer, data, "openWithAuthorization");
        if (done) _checkCredit(relayer, credit + fee);
    }

    /// @dev Few orders, so that their budgets run out and their leases have successors.
    function _openFor(
        uint256 seed,
        IEscrowTypes.Terms memory terms,
        bytes memory signature,
        address relayer,
        uint256 key
    ) private returns (bool) {
        IEscrowTypes.Order memory order = _order(seed, terms);
        _lastOrder = order;
        bytes32 digest = escrow.orderDigest(order);
        (uint256 spent,,) = escrow.orderUseOf(digest);
        bytes memory data =
            abi.encodeCall(escrow.openFor, (terms, signature, order, _sign(key, digest)));
        if (!_call(relayer, data, "openFor")) return false;
        _remember(escrow.leaseIdOf(terms), digest);
        _checkUse(order, spent + uint256(terms.pricePerSegment) * terms.segments);
        return true;
    }

    function _checkUse(IEscrowTypes.Order memory order, uint256 expected) private view {
        (uint256 spent, uint256 segments, bool isRevoked) =
            escrow.orderUseOf(escrow.orderDigest(order));
        vm.assertLe(spent, order.budget, "within the budget");
        vm.assertLe(segments, order.segments, "within the segments");
        vm.assertTrue(!isRevoked && spent == expected, "order use");
    }

    function _order(uint256 seed, IEscrowTypes.Terms memory terms)
        private
        view
        returns (IEscrowTypes.Order memory order)
    {
        (order.renter, order.token, order.arbiter) = (terms.renter, terms.token, terms.arbiter);
        (order.budget, order.segments) = (type(uint64).max, 24);
        (order.maxDurationS, order.minWindow) = (1000, 20);
        (order.maxWindow, order.maxDisputeTimeout) = (100, 160);
        order.maxFirstCommit = 220;
        order.maxPricePerSegment = type(uint64).max;
        (order.expiresAt, order.nonce) = (type(uint40).max, uint64(seed % 2) + _ordersRevoked);
    }

    function _remember(bytes32 id, bytes32 digest) private {
        if (!_isKnown[digest]) orders.push(digest);
        _isKnown[digest] = true;
        orderOf[id] = digest;
    }

    function revokeOrder(bool bySignature) external {
        IEscrowTypes.Order memory order = _lastOrder;
        if (order.renter == address(0)) return;
        uint256 key = RENTER_KEY + (order.renter == accounts[0] ? 0 : 1);
        bytes32 digest = escrow.orderDigest(order);
        bytes memory consent = _sign(key, escrow.revocationDigest(digest));
        bytes memory data = abi.encodeCall(escrow.revokeOrder, (order, consent));
        if (_call(bySignature ? address(this) : order.renter, data, "revokeOrder")) {
            (,, bool isRevoked) = escrow.orderUseOf(digest);
            vm.assertTrue(isRevoked, "revoked");
            // The renters go on with new ones.
            ++_ordersRevoked;
        }
        _check(Step.Other);
    }

    // A4 #6
    function openAgain(uint256 which) external {
        if (_terms.length == 0) return;
        IEscrowTypes.Terms memory terms = _terms[which % _terms.length];
        uint256 key = OPERATOR_KEY + (terms.provider == accounts[2] ? 0 : 1);
        bytes memory data =
            abi.encodeCall(escrow.open, (terms, _sign(key, escrow.leaseIdOf(terms))));
        vm.assertTrue(!_call(terms.renter, data, "openAgain"), "no lease opens twice");
    }

    // A4 #32
    function commit(uint256 which, uint16 upTo, bytes32 traceRoot) external {
        if (_terms.length == 0) return;
        uint256 i = _pick(which, Wanted.Active);
        if (upTo % 8 == 0) upTo = upTo % (_terms[i].segments + 2);
        else upTo = _seen[i].pending + 1 + upTo % 3;
        address caller = upTo % 2 == 0 ? _terms[i].provider : _terms[i].operator;
        if (_call(caller, abi.encodeCall(escrow.commit, (_terms[i], upTo, traceRoot)), "commit")) {
            vm.assertTrue(!_isUnretrievable[_ids[i]], "no commit after an attestation");
            IEscrowTypes.Lease memory lease = escrow.leaseOf(_ids[i]);
            bytes32 root = keccak256(abi.encode(_seen[i].root, upTo, traceRoot));
            vm.assertEq(lease.root, root, "root chains the commits");
            _checkCommit(i, lease, upTo);
            _check(Step.Commit);
            _maturesAt[i] = uint256(lease.committedAt) + _terms[i].window;
        }
    }

    function settle(uint256 which) external {
        if (_terms.length == 0) return;
        uint256 i = _pick(which, Wanted.Mature);
        _call(address(this), abi.encodeCall(escrow.settle, (_terms[i])), "settle");
        _check(Step.Other);
    }

    function settleMany(uint8 from, uint8 number) external {
        if (_terms.length == 0) return;
        IEscrowTypes.Terms[] memory all = new IEscrowTypes.Terms[](number % 6);
        for (uint256 i = 0; i < all.length; ++i) {
            all[i] = _terms[(from + i) % _terms.length];
        }
        bool done = _call(address(this), abi.encodeCall(escrow.settleMany, (all)), "settleMany");
        vm.assertTrue(done, "settleMany skips, it does not revert");
        _check(Step.Other);
    }

    function settleVoucher(uint256 which, uint16 segments) external {
        if (_terms.length == 0) return;
        IEscrowTypes.Terms memory terms = _terms[_pick(which, Wanted.Metered)];
        segments = segments % (terms.segments + 2);
        bytes32 digest = escrow.voucherDigest(escrow.leaseIdOf(terms), segments);
        uint256 key = RENTER_KEY + (terms.renter == accounts[0] ? 0 : 1);
        bytes memory data =
            abi.encodeCall(escrow.settleVoucher, (terms, segments, _sign(key, digest)));
        _call(address(this), data, "settleVoucher");
        _check(Step.Voucher);
    }

    function stop(uint256 which) external {
        if (_terms.length == 0) return;
        uint256 i = _pick(which, Wanted.Active);
        if (which >> 8 & 1 == 0) {
            _call(_terms[i].renter, abi.encodeCall(escrow.stop, (_terms[i])), "stop");
        } else {
            uint256 key = RENTER_KEY + (_terms[i].renter == accounts[0] ? 0 : 1);
            bytes memory consent = _sign(key, escrow.stopDigest(_ids[i]));
            _call(address(this), abi.encodeCall(escrow.stopFor, (_terms[i], consent)), "stopFor");
        }
        _check(Step.Other);
    }

    function close(uint256 which, uint8 who) external {
        if (_terms.length == 0) return;
        uint256 i = _pick(which, Wanted.Active);
        // Seldom the provider's side: it may close early, and few leases would grow old.
        address caller = who % 16 < 7 ? accounts[who % 16] : address(this);
        _call(caller, abi.encodeCall(escrow.close, (_terms[i])), "close");
        _check(Step.Other);
    }

    // A4 #13
    function challenge(uint256 which, uint8 who, uint16 segment) external {
        if (_terms.length == 0) return;
        uint256 i = _pick(which, segment % 3 == 0 ? Wanted.Disputed : Wanted.Pending);
        segment = segment % (_seen[i].pending + 1);
        IEscrowTypes.Lease memory before = escrow.leaseOf(_ids[i]);
        address challenger = accounts[who % 7];
        bytes memory data = abi.encodeCall(escrow.challenge, (_terms[i], segment));
        bool isDemand = which >> 12 & 3 == 0;
        if (isDemand) {
            data = abi.encodeCall(escrow.demandData, (_terms[i], segment));
        } else if (which >> 8 & 3 == 0) {
            IEscrowTypes.Source source = IEscrowTypes.Source(which >> 10 & 1);
            data = abi.encodeCall(
                escrow.challengeFrom, (_terms[i], segment, source, challenger, 0, 0, "")
            );
        }
        uint256 value = _valueOf(escrow.challengeBond(_terms[i]));
        if (bytes4(data) == escrow.challengeFrom.selector) (value, _spender) = (0, challenger);
        if (!_call(challenger, value, data, isDemand ? "demand" : "challenge")) return;
        vm.assertTrue(before.paid <= segment && segment < before.pending, "challenged segment");
        if (before.status == IEscrowTypes.LeaseStatus.Active) {
            vm.assertLt(vm.getBlockTimestamp(), _maturesAt[i], "challenged within the window");
            _disputedAt[i] = vm.getBlockTimestamp();
        } else {
            uint256 deadline = _disputedAt[i] + _terms[i].disputeTimeout / 2;
            vm.assertLt(vm.getBlockTimestamp(), deadline, "pointed lower in the first half");
        }
        _check(Step.Other);
    }

    function rule(uint256 which, bool fraud, uint16 good) external {
        if (_terms.length == 0) return;
        uint256 i = _pick(which, Wanted.Disputed);
        IEscrowTypes.Lease memory before = escrow.leaseOf(_ids[i]);
        uint16 span = before.pending - before.paid + 1;
        good = fraud
            ? before.paid + good % span
            : escrow.disputeOf(_ids[i]).lowestSegment + (good == 7 ? 1 : 0);
        bytes memory data = abi.encodeCall(escrow.rule, (_terms[i], fraud, good));
        (uint256 share, bool isAnswered) = _providersShare(i);
        uint256 credit = escrow.creditOf(address(token), _terms[i].provider);
        if (!_call(_terms[i].arbiter, data, fraud ? "fraud" : "honest")) return;
        if (!fraud) _checkCredit(_terms[i].provider, credit + share);
        if (!fraud && isAnswered) ++count["answered demand"];
        vm.assertLt(
            vm.getBlockTimestamp(), _disputedAt[i] + _terms[i].disputeTimeout, "ruled in time"
        );
        IEscrowTypes.Lease memory lease = escrow.leaseOf(_ids[i]);
        vm.assertEq(
            lease.paid, fraud ? _payable(i, before, good) : before.paid, "paid by a ruling"
        );
        if (fraud && _terms[i].bond != 0) ++slashed[_terms[i].provider];
        if (!fraud) _checkClock(i, before, lease);
        else _isProven[_ids[i]] = true;
        _check(Step.Ruling);
    }

    /// @dev What an honest ruling gives the provider: half of each challenge's bond, and of a
    /// demand's only when it is its own. And whether there is a demand.
    function _providersShare(uint256 i) private view returns (uint256 share, bool isAnswered) {
        IEscrowTypes.Dispute memory dispute = escrow.disputeOf(_ids[i]);
        address provider = _terms[i].provider;
        uint256 half = _terms[i].pricePerSegment;
        if (!dispute.isDemand || dispute.challenger == provider) share += half;
        if (dispute.lowerChallenger != address(0)) {
            if (!dispute.isLowerDemand || dispute.lowerChallenger == provider) share += half;
        }
        isAnswered = dispute.isDemand || dispute.isLowerDemand;
    }

    function attestUnretrievable(uint256 which, uint16 good) external {
        if (_terms.length == 0) return;
        uint256 i = _pick(which, which >> 8 & 1 == 0 ? Wanted.Pending : Wanted.Disputed);
        IEscrowTypes.Lease memory before = escrow.leaseOf(_ids[i]);
        bool isDisputed = before.status == IEscrowTypes.LeaseStatus.Disputed;
        uint16 lowest = escrow.disputeOf(_ids[i]).lowestSegment;
        good = before.paid + good % (before.pending - before.paid + 1);
        bytes memory data = abi.encodeCall(escrow.attestUnretrievable, (_terms[i], good));
        if (_call(_terms[i].arbiter, data, isDisputed ? "attest in a dispute" : "attest")) {
            IEscrowTypes.Lease memory lease = escrow.leaseOf(_ids[i]);
            vm.assertTrue(lease.pending == good && lease.isUnretrievable, "attested");
            _isUnretrievable[_ids[i]] = true;
            if (isDisputed) {
                uint256 deadline = _disputedAt[i] + _terms[i].disputeTimeout;
                vm.assertLt(vm.getBlockTimestamp(), deadline, "attested in time");
                vm.assertLe(good, lowest, "what was challenged does not stay");
                _checkClock(i, before, lease);
            } else {
                vm.assertLt(vm.getBlockTimestamp(), _maturesAt[i], "attested within the window");
            }
        }
        _check(Step.Attest);
    }

    /// @dev By the arbiter or, with some key's signature, by anybody: the operator's alone counts.
    function rejectMachine(uint256 which, uint8 who) external {
        if (_terms.length == 0) return;
        uint256 i = _pick(which, who % 4 == 0 ? Wanted.Metered : Wanted.Active);
        IEscrowTypes.Terms memory terms = _terms[i];
        IEscrowTypes.Lease memory before = escrow.leaseOf(_ids[i]);
        uint256 key = who >> 2 & 3 == 0 ? RENTER_KEY : OPERATOR_KEY;
        if (terms.provider != accounts[2]) ++key;
        bytes memory signature = _sign(key, escrow.failedProbeDigest(_ids[i], bytes32(which)));
        bool byArbiter = who >> 4 & 1 == 0;
        address caller = byArbiter ? terms.arbiter : accounts[who % 7];
        bytes memory data =
            abi.encodeCall(escrow.rejectMachine, (terms, bytes32(which), signature));
        uint256 credit = escrow.creditOf(address(token), terms.renter);
        if (_call(caller, data, "reject")) {
            vm.assertEq(before.committedAt, 0, "rejected before any work");
            bool isSigned = vm.addr(key) == terms.operator;
            vm.assertTrue(isSigned || (byArbiter && terms.window != 0), "who may reject");
            _checkCredit(terms.renter, credit + uint256(terms.pricePerSegment) * terms.segments);
        }
        _check(Step.Other);
    }

    function ruleLate(uint256 which, uint16 good) external {
        if (_terms.length == 0) return;
        uint256 i = _pick(which, Wanted.Closed);
        IEscrowTypes.Terms memory terms = _terms[i];
        // A provider that sees the ruling come locks what is free in front of it. (_draw)
        uint256 all = which & ~(uint256(1) << 152);
        uint8 who = terms.provider == accounts[2] ? 0 : 2;
        if (which % 4 != 0 && _isRulable(i)) this.open(all, who, uint64(which), 0, false);
        good = good % (_seen[i].paid + 1);
        (uint256 before, uint256 locked,,, uint256 debt) =
            escrow.stakeOf(terms.provider, address(token));
        uint256 credit = escrow.creditOf(address(token), terms.renter);
        // Of the bond, what earlier rulings do not wait for already.
        uint256 due = before - (debt < locked ? debt : locked);
        if (terms.bond < due) due = terms.bond;
        bytes memory data = abi.encodeCall(escrow.ruleLate, (terms, good));
        if (_call(terms.arbiter, data, "late")) {
            vm.assertTrue(!_isProven[_ids[i]], "fraud is ruled once");
            _isProven[_ids[i]] = true;
            vm.assertLt(good, _seen[i].paid, "a paid segment");
            _checkTaken(i, before, locked, credit, due);
            if (terms.bond != 0) ++slashed[terms.provider];
        }
        _check(Step.Other);
    }

    function payLate(uint256 which) external {
        if (_terms.length == 0) return;
        uint256 i = _pick(which, Wanted.Owed);
        IEscrowTypes.Terms memory terms = _terms[i];
        (uint256 before, uint256 locked,,,) = escrow.stakeOf(terms.provider, address(token));
        uint256 credit = escrow.creditOf(address(token), terms.renter);
        uint256 owed = escrow.owedOf(_ids[i]);
        if (_call(address(this), abi.encodeCall(escrow.payLate, (terms)), "payLate")) {
            _checkTaken(i, before, locked, credit, owed);
        }
        _check(Step.Other);
    }

    /// @dev A late ruling takes all of `owed` that backs no live lease, for the renter.
    function _checkTaken(uint256 i, uint256 stake_, uint256 locked, uint256 credit, uint256 owed)
        private
        view
    {
        IEscrowTypes.Terms memory terms = _terms[i];
        (uint256 total, uint256 lockedAfter,,,) = escrow.stakeOf(terms.provider, address(token));
        vm.assertEq(lockedAfter, locked, "bonds of live leases");
        uint256 taken = owed < stake_ - locked ? owed : stake_ - locked;
        vm.assertEq(total, stake_ - taken, "what is free, up to what is owed");
        vm.assertEq(escrow.owedOf(_ids[i]), owed - taken, "the rest stays owed");
        _checkCredit(terms.renter, credit + taken);
    }

    // A4 #17
    function timeoutDispute(uint256 which) external {
        if (_terms.length == 0) return;
        uint256 i = _pick(which, Wanted.Disputed);
        bytes memory data = abi.encodeCall(escrow.timeoutDispute, (_terms[i]));
        uint16 upTo = _payable(i, _seen[i], escrow.disputeOf(_ids[i]).lowestSegment);
        if (_call(address(this), data, "timeoutDispute")) {
            uint256 split = uint256(_terms[i].pricePerSegment) * (upTo - _seen[i].paid);
            usedMoney[orderOf[_ids[i]]] += split / 2;
            vm.assertGe(
                vm.getBlockTimestamp(), _disputedAt[i] + _terms[i].disputeTimeout, "timed out"
            );
        }
        _check(Step.Other);
    }

    // A4 #21
    function withdraw(uint8 who, uint64 amount, bool isAll) external {
        address account = accounts[who % accounts.length];
        uint256 credit = escrow.creditOf(address(token), account);
        uint256 before = _balanceOf(account);
        bytes memory data = isAll
            ? abi.encodeCall(escrow.withdrawTo, (address(token), account))
            : abi.encodeCall(escrow.withdraw, (address(token), account, amount));
        _spender = account;
        if (_call(account, data, "withdraw")) {
            uint256 sent = isAll ? credit : amount;
            vm.assertEq(_balanceOf(account), before + sent, "sent");
            vm.assertEq(escrow.creditOf(address(token), account), credit - sent, "debited");
        }
        _check(Step.Withdrawal);
    }

    /// @dev Of the next few terms that are drawn.
    function cancelNonces(uint8 who, uint8 ahead) external {
        uint64 nonce = _nonce + 1 + ahead % 4;
        bytes memory data = abi.encodeCall(
            escrow.cancelNonces, (listings[who % 2], nonce >> 8, 1 << (nonce & 255))
        );
        _call(_provider(who), data, "cancelNonces");
        _check(Step.Other);
    }

    function setCapacity(uint8 who, uint8 capacity) external {
        bytes32 id = listings[who % 2];
        _call(_provider(who), abi.encodeCall(escrow.setCapacity, (id, capacity % 6)), "capacity");
        _check(Step.Other);
    }

    function collect() external {
        (uint256 fees, uint256 auditShares) = escrow.accruedOf(address(token));
        uint256 toTreasury = escrow.creditOf(address(token), escrow.treasury());
        uint256 toAuditPool = escrow.creditOf(address(token), escrow.auditPool());
        if (_call(address(this), abi.encodeCall(escrow.collect, (address(token))), "collect")) {
            _checkCredit(escrow.treasury(), toTreasury + fees);
            _checkCredit(escrow.auditPool(), toAuditPool + auditShares);
        }
        _check(Step.Other);
    }

    function configure(uint16 feeBps, uint8 what) external {
        bytes memory data;
        if (what % 4 == 0) data = abi.encodeCall(escrow.setFee, (feeBps % 1001));
        if (what % 4 == 1) data = abi.encodeCall(escrow.setTreasury, (accounts[7 + feeBps % 2]));
        if (what % 4 == 2) data = abi.encodeCall(escrow.setAuditPool, (accounts[9 + feeBps % 2]));
        if (what % 4 == 3) {
            bool isPaused = IOwnable(address(escrow)).paused();
            data = isPaused ? abi.encodeCall(escrow.unpause, ()) : abi.encodeCall(escrow.pause, ());
            if (!isPaused && feeBps % 4 != 0) return;
        }
        _call(_owner, data, "configure");
        _check(Step.Other);
    }

    // ------------------------------------------------------------------------------------ checks

    // A4 #8, A4 #14
    /// @dev No lease may have moved otherwise than this step allows.
    function _check(Step step) private {
        _checkMoney(step);
        for (uint256 i = 0; i < _terms.length; ++i) {
            IEscrowTypes.Lease memory before = _seen[i];
            IEscrowTypes.Lease memory lease = escrow.leaseOf(_ids[i]);
            _checkStatus(before, lease);
            vm.assertGe(lease.paid, before.paid, "paid never decreases");
            if (step != Step.Attest) {
                vm.assertGe(lease.pending, before.pending, "pending never decreases");
            }
            if (step != Step.Commit) vm.assertEq(lease.root, before.root, "root");
            if (step != Step.Commit && step != Step.Voucher && step != Step.Attest) {
                vm.assertEq(lease.pending, before.pending, "pending moves by commit or voucher");
            }
            if (step != Step.Ruling && step != Step.Attest) {
                vm.assertEq(lease.openedAt, before.openedAt, "the clock moves by a ruling");
            }
            bool isEarly = vm.getBlockTimestamp() < _maturesAt[i];
            if (isEarly && step != Step.Voucher && step != Step.Ruling) {
                vm.assertEq(lease.paid, before.paid, "nothing is paid within the window");
            }
            _count(i, before, lease);
            _seen[i] = lease;
        }
    }

    function _count(uint256 i, IEscrowTypes.Lease memory before, IEscrowTypes.Lease memory lease)
        private
    {
        IEscrowTypes.Terms memory terms = _terms[i];
        uint256 paid = uint256(terms.pricePerSegment) * (lease.paid - before.paid);
        if (terms.window != 0) proved[terms.provider] += paid;
        usedMoney[orderOf[_ids[i]]] += paid;
        bool isOver = lease.status == IEscrowTypes.LeaseStatus.Closed;
        if (!isOver || before.status == IEscrowTypes.LeaseStatus.Closed) return;
        usedSegments[orderOf[_ids[i]]] += lease.paid;
        if (lease.paid == terms.segments && terms.bond != 0) ++completed[terms.provider];
    }

    // A4 #20, A4 #21
    /// @dev Money leaves by withdrawals alone, and nobody's credit shrinks without its consent.
    function _checkMoney(Step step) private {
        uint256 held = _balanceOf(address(escrow));
        if (step != Step.Withdrawal) vm.assertGe(held, _heldBefore, "nothing is sent");
        _heldBefore = held;
        for (uint256 i = 0; i < accounts.length; ++i) {
            uint256 credit = escrow.creditOf(address(token), accounts[i]);
            if (accounts[i] != _spender) {
                vm.assertGe(credit, _creditBefore[accounts[i]], "nobody spends another's credit");
            }
            _creditBefore[accounts[i]] = credit;
        }
        _spender = address(0);
    }

    // A4 #6
    function _checkStatus(IEscrowTypes.Lease memory before, IEscrowTypes.Lease memory lease)
        private
        pure
    {
        if (before.status == IEscrowTypes.LeaseStatus.Closed) {
            bool isSame = keccak256(abi.encode(before)) == keccak256(abi.encode(lease));
            vm.assertTrue(isSame, "closed is final");
        }
        vm.assertTrue(lease.status != IEscrowTypes.LeaseStatus.None, "never unopened");
    }

    function _checkCredit(address account, uint256 credit) private view {
        vm.assertEq(escrow.creditOf(address(token), account), credit, "credit");
    }

    /// @dev A dispute that ends honest has stopped every clock of its lease.
    function _checkClock(
        uint256 i,
        IEscrowTypes.Lease memory before,
        IEscrowTypes.Lease memory lease
    ) private {
        uint256 frozen = vm.getBlockTimestamp() - _disputedAt[i];
        vm.assertEq(lease.openedAt, before.openedAt + frozen, "openedAt");
        vm.assertEq(lease.committedAt, before.committedAt + frozen, "committedAt");
        uint256 stoppedAt = before.stoppedAt == 0 ? 0 : before.stoppedAt + frozen;
        vm.assertEq(lease.stoppedAt, stoppedAt, "stoppedAt");
        _maturesAt[i] += frozen;
    }

    /// @dev The reserve is held until there is a final checkpoint.
    function _payable(uint256 i, IEscrowTypes.Lease memory lease, uint16 upTo)
        private
        view
        returns (uint16)
    {
        IEscrowTypes.Terms memory terms = _terms[i];
        bool isFinal = lease.stoppedAt != 0 || upTo == terms.segments;
        if (isFinal && !_isUnretrievable[_ids[i]]) return upTo;
        uint16 free = terms.segments - terms.reserveSegments;
        if (upTo > free) upTo = free;
        return upTo > lease.paid ? upTo : lease.paid;
    }

    // A4 #33
    /// @dev Commits come in time and not faster than segments can be computed.
    function _checkCommit(uint256 i, IEscrowTypes.Lease memory lease, uint16 upTo) private view {
        IEscrowTypes.Terms memory terms = _terms[i];
        uint256 until = lease.stoppedAt == 0
            ? vm.getBlockTimestamp()
            : uint256(lease.stoppedAt) + terms.minSegmentSeconds;
        vm.assertLe(
            uint256(upTo) * terms.minSegmentSeconds, until - lease.openedAt, "rate of commits"
        );
        uint256 end = lease.stoppedAt == 0
            ? uint256(lease.openedAt) + terms.maxDuration
            : uint256(lease.stoppedAt) + terms.commitGrace;
        vm.assertLe(vm.getBlockTimestamp(), end, "commit in time");
        if (lease.stoppedAt != 0) {
            vm.assertLe(_seen[i].committedAt, lease.stoppedAt, "one commit after a stop");
        }
    }
}
