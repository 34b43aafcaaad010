// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {ITestToken} from "./utils/Interfaces.sol";
import {MarketHandler} from "./utils/MarketHandler.sol";
import {vm} from "./utils/Vm.sol";

// What must hold after any sequence of calls, by anybody, with time passing in between.
//
// Money
// - Conservation: the token balance of the escrow is what live leases hold in escrow, plus all
//   credits, all stakes, the bonds of open challenges and the shares that have accrued. Nothing is
//   created, nothing is lost.
// - A live lease holds exactly the price of its unpaid segments, a closed one nothing.
// - Locked stake is the sum of the bonds of live leases. It and what is unbonding together are
//   never more than the stake: what backs a live lease is not on its way out.
// Progress
// - paid <= pending <= segments.
// - paid never decreases, and pending by the arbiter's attestation only, after which nothing is
//   committed; pending grows by a commit or a voucher only, and what is paid in reserve needs a
//   final checkpoint; the root chains all commits and nothing else. (checked by the handler after
//   each step)
// - Nothing is paid while its window is open, except what the arbiter ruled good. (handler)
// - Commits are in time, at most as fast as segments can be computed, once after a stop. (handler)
// - A dispute stops the clock: after an honest ruling or an attestation, window and deadlines have
//   the time left that they had before it. (handler)
// - A machine is rejected only before any work, by the arbiter or the operator's key, and all is
//   refunded. (handler)
// - Fraud is ruled at most once for a lease, also after its end; a late ruling takes the bond once,
//   at once or later, and nothing that backs a live lease (handler). What a provider owes is the
//   sum over its leases.
// - Closed is final: not a field changes any more, and no terms can be opened twice. (handler)
// - An order never pays for more than its budget and its segments (handler), and is used by exactly
//   what its closed leases were paid and what its live ones may cost.
// - Reputation is the sum of what was paid for segments that could be challenged, and counts
//   exactly the leases with a bond that completed, and those that were slashed.
// - A listing's places are taken by live leases only, and are all free in the end.
// - An honest ruling gives the provider half of each challenge's bond, and nothing of a demand's.
//   (handler)
// - A dispute exists exactly while the lease says so; a challenge succeeds only for a committed,
//   unpaid segment in its window, and lower ones in the first half of the arbiter's time; rulings
//   come before, timeouts after all of it. (handler)
// Way out
// - Drain: with arbiter, renters and providers' machines silent for ever, time alone lets a
//   stranger close every lease; then everybody can take out all that is theirs, and the escrow is
//   empty.
//
// "A4 #n" numbers the properties that docs/escrow/properties.md lists.
abstract contract MarketInvariants is EscrowTest {
    uint256 private constant WEALTH = 1e30;

    MarketHandler private _handler;

    function setUp() public override {
        vm.warp(START);
        token = _coin();
        address[] memory tokens = new address[](1);
        tokens[0] = address(token);
        escrow = _newEscrow(tokens);
        address[] memory receivers = new address[](4);
        (receivers[0], receivers[1]) = (TREASURY, address(0x4001));
        (receivers[2], receivers[3]) = (AUDIT_POOL, address(0x4002));
        _handler = new MarketHandler(escrow, token, OWNER, receivers);
        for (uint256 i = 0; i < 7; ++i) {
            if (address(token) == address(0)) vm.deal(_handler.accounts(i), WEALTH);
            else token.mint(_handler.accounts(i), WEALTH);
        }
        _handler.begin();
    }

    /// @dev Token of the market; zero for the chain's own coin.
    function _coin() internal virtual returns (ITestToken);

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_moneyAndProgress() external view {
        _checkConservation();
        _checkLeases();
        _checkPlaces();
        _checkOrders();
        _checkReputation();
    }

    function afterInvariant() external {
        _drain();
    }

    /// @dev The random walk is worth something only if it gets everywhere.
    function test_handler_reachesEveryKindOfStep() external {
        // More steps than a block has gas for.
        vm.pauseGasMetering();
        _walk(3600);
        if (address(token) != address(0)) {
            vm.assertGe(_handler.count("openWithPermit"), 1, "openWithPermit");
            vm.assertGe(_handler.count("openWithAuthorization"), 1, "openWithAuthorization");
        }
        string[31] memory steps = [
            "stake",
            "unbond",
            "claimUnbond",
            "open",
            "openFrom",
            "openFor",
            "stopFor",
            "capacity",
            "cancelNonces",
            "successor",
            "revokeOrder",
            "commit",
            "settle",
            "settleMany",
            "settleVoucher",
            "stop",
            "close",
            "challenge",
            "fraud",
            "honest",
            "timeoutDispute",
            "demand",
            "answered demand",
            "attest",
            "attest in a dispute",
            "reject",
            "late",
            "payLate",
            "withdraw",
            "collect",
            "configure"
        ];
        for (uint256 i = 0; i < steps.length; ++i) {
            vm.assertGe(_handler.count(steps[i]), 1, steps[i]);
        }
        _checkConservation();
        _checkLeases();
        _checkOrders();
        _checkReputation();
        _drain();
    }

    // ------------------------------------------------------------------------------------ checks

    // A4 #1, A4 #11
    function _checkConservation() private view {
        (uint256 fees, uint256 auditShares) = escrow.accruedOf(address(token));
        uint256 owed = fees + auditShares;
        for (uint256 i = 0; i < _handler.numAccounts(); ++i) {
            address account = _handler.accounts(i);
            (uint256 total, uint256 locked, uint256 unbonding,, uint256 debt) =
                escrow.stakeOf(account, address(token));
            vm.assertLe(locked + unbonding, total, "locked and unbonding within the stake");
            (uint256 bonds, uint256 debts) =
                i == 2 || i == 3 ? _dueOf(account) : (uint256(0), uint256(0));
            vm.assertEq(locked, bonds, "locked = bonds of live leases");
            vm.assertEq(debt, debts, "owed = sum over leases");
            owed += escrow.creditOf(address(token), account) + total;
        }
        for (uint256 i = 0; i < _handler.numLeases(); ++i) {
            bytes32 id = _handler.leaseId(i);
            owed += escrow.leaseOf(id).escrow;
            IEscrowTypes.Dispute memory dispute = escrow.disputeOf(id);
            uint256 bond = escrow.challengeBond(_handler.termsOf(i));
            if (dispute.challenger != address(0)) owed += bond;
            if (dispute.lowerChallenger != address(0)) owed += bond;
        }
        vm.assertEq(_balanceOf(address(escrow)), owed, "balance = all that is owed");
        _checkFlows(owed);
    }

    // A4 #2
    /// @dev What the parties do not have is in the escrow: nothing came from or went elsewhere.
    function _checkFlows(uint256 held) private view {
        uint256 outside;
        for (uint256 i = 0; i < _handler.numAccounts(); ++i) {
            outside += _balanceOf(_handler.accounts(i));
        }
        vm.assertEq(outside + held, 7 * WEALTH, "deposits - withdrawals = balance");
    }

    function _balanceOf(address account) private view returns (uint256) {
        return address(token) == address(0) ? account.balance : token.balanceOf(account);
    }

    // A4 #4, A4 #5, A4 #7, A4 #9
    function _checkLeases() private view {
        for (uint256 i = 0; i < _handler.numLeases(); ++i) {
            IEscrowTypes.Terms memory terms = _handler.termsOf(i);
            IEscrowTypes.Lease memory lease = escrow.leaseOf(_handler.leaseId(i));
            vm.assertLe(lease.paid, lease.pending, "paid <= pending");
            vm.assertLe(lease.pending, terms.segments, "pending <= segments");
            bool isClosed = lease.status == IEscrowTypes.LeaseStatus.Closed;
            uint256 held =
                isClosed ? 0 : uint256(terms.pricePerSegment) * (terms.segments - lease.paid);
            vm.assertEq(lease.escrow, held, "escrow = price of unpaid segments");
            bool isDisputed = lease.status == IEscrowTypes.LeaseStatus.Disputed;
            bool hasDispute = escrow.disputeOf(_handler.leaseId(i)).challenger != address(0);
            vm.assertEq(isDisputed, hasDispute, "dispute");
        }
    }

    /// @dev A listing counts exactly its live leases that were opened under a limit, and no more
    /// than there are.
    function _checkPlaces() private view {
        for (uint256 j = 0; j < 2; ++j) {
            bytes32 listing = _handler.listings(j);
            uint256 live;
            for (uint256 i = 0; i < _handler.numLeases(); ++i) {
                IEscrowTypes.LeaseStatus status = escrow.leaseOf(_handler.leaseId(i)).status;
                if (status == IEscrowTypes.LeaseStatus.Closed) continue;
                if (_handler.termsOf(i).listingId == listing) ++live;
            }
            vm.assertLe(escrow.listingOf(listing).live, live, "counted leases are live");
        }
    }

    /// @dev An order is used by what its closed leases were paid, and by all of its live ones.
    function _checkOrders() private view {
        for (uint256 j = 0; j < _handler.numOrders(); ++j) {
            bytes32 digest = _handler.orders(j);
            uint256 money = _handler.usedMoney(digest);
            uint256 segments = _handler.usedSegments(digest);
            for (uint256 i = 0; i < _handler.numLeases(); ++i) {
                bytes32 id = _handler.leaseId(i);
                if (_handler.orderOf(id) != digest) continue;
                IEscrowTypes.Lease memory lease = escrow.leaseOf(id);
                if (lease.status == IEscrowTypes.LeaseStatus.Closed) continue;
                // What was paid of it is counted already.
                money += lease.escrow;
                segments += _handler.termsOf(i).segments;
            }
            (uint256 spent, uint256 used,) = escrow.orderUseOf(digest);
            vm.assertEq(spent, money, "spent of an order");
            vm.assertEq(used, segments, "segments of an order");
        }
    }

    function _checkReputation() private view {
        for (uint256 i = 2; i < 4; ++i) {
            address provider = _handler.accounts(i);
            (uint256 proved, uint256 completed,, uint256 slashed) =
                escrow.reputationOf(provider, address(token));
            vm.assertEq(proved, _handler.proved(provider), "proved");
            vm.assertEq(completed, _handler.completed(provider), "completed");
            vm.assertEq(slashed, _handler.slashed(provider), "slashed");
        }
    }

    function _dueOf(address provider) private view returns (uint256 bonds, uint256 debts) {
        for (uint256 i = 0; i < _handler.numLeases(); ++i) {
            IEscrowTypes.Terms memory terms = _handler.termsOf(i);
            if (terms.provider != provider) continue;
            IEscrowTypes.LeaseStatus status = escrow.leaseOf(_handler.leaseId(i)).status;
            if (status != IEscrowTypes.LeaseStatus.Closed) bonds += terms.bond;
            debts += escrow.owedOf(_handler.leaseId(i));
        }
    }

    // ------------------------------------------------------------------------------------- drain

    // A4 #3, A4 #18
    function _drain() private {
        // Later than every deadline of every lease that the handler opens.
        vm.warp(vm.getBlockTimestamp() + 5000);
        for (uint256 i = 0; i < _handler.numLeases(); ++i) {
            IEscrowTypes.Terms memory terms = _handler.termsOf(i);
            IEscrowTypes.LeaseStatus status = escrow.leaseOf(_handler.leaseId(i)).status;
            if (status == IEscrowTypes.LeaseStatus.Closed) continue;
            vm.prank(STRANGER);
            if (status == IEscrowTypes.LeaseStatus.Disputed) escrow.timeoutDispute(terms);
            else escrow.close(terms);
        }
        _payDebts();
        for (uint256 i = 2; i < 4; ++i) {
            _takeStake(_handler.accounts(i));
        }
        _handler.collect();
        for (uint256 i = 0; i < _handler.numAccounts(); ++i) {
            address account = _handler.accounts(i);
            if (escrow.creditOf(address(token), account) == 0) continue;
            vm.prank(STRANGER);
            escrow.withdrawTo(address(token), account);
        }
        vm.assertEq(_balanceOf(address(escrow)), 0, "the escrow is empty");
        for (uint256 i = 0; i < 2; ++i) {
            vm.assertEq(escrow.listingOf(_handler.listings(i)).live, 0, "no place is taken");
        }
    }

    function _payDebts() private {
        for (uint256 i = 0; i < _handler.numLeases(); ++i) {
            IEscrowTypes.Terms memory terms = _handler.termsOf(i);
            (uint256 total,,,,) = escrow.stakeOf(terms.provider, address(token));
            if (total == 0 || escrow.owedOf(_handler.leaseId(i)) == 0) continue;
            vm.prank(STRANGER);
            escrow.payLate(terms);
        }
    }

    function _takeStake(address provider) private {
        (uint256 total,, uint256 unbonding,,) = escrow.stakeOf(provider, address(token));
        if (total > unbonding) {
            vm.prank(provider);
            escrow.unbond(address(token), total - unbonding);
        }
        vm.warp(vm.getBlockTimestamp() + UNBONDING);
        if (total == 0) return;
        vm.prank(provider);
        escrow.claimUnbond(address(token));
    }

    // -------------------------------------------------------------------------------------- walk

    function _walk(uint256 steps) private {
        for (uint256 i = 0; i < steps; ++i) {
            uint256 r = uint256(keccak256(abi.encode("walk", i)));
            if (i % 2 == 0) _walkMoney(r >> 8, uint8(r));
            else _walkLease(r >> 8, uint8(r));
        }
    }

    function _walkMoney(uint256 r, uint8 small) private {
        uint256 kind = r % 8;
        r >>= 3;
        if (kind < 2) _handler.pass(uint16(r));
        else if (kind == 2) _handler.stake(small, uint64(r));
        else if (kind == 3) _handler.unbond(small, uint64(r));
        else if (kind == 4) _handler.claimUnbond(small);
        else if (kind == 5 && small % 8 == 0) _handler.collect();
        else if (kind == 5) _handler.withdraw(small, uint64(r), small % 2 == 0);
        else if (kind == 6) _walkSettings(r, small);
        else _handler.open(r, small, uint64(r), uint32(r), small % 4 == 0);
    }

    function _walkSettings(uint256 r, uint8 small) private {
        if (small % 8 == 0) _handler.setCapacity(small >> 3, uint8(r));
        else if (small % 16 == 2) _handler.revokeOrder(r % 2 == 0);
        else if (small % 8 == 1) _handler.cancelNonces(small >> 3, uint8(r));
        else _handler.configure(uint16(r), small);
    }

    function _walkLease(uint256 r, uint8 small) private {
        _walkDispute(r, small);
        uint256 kind = r % 8;
        r = uint256(keccak256(abi.encode(r)));
        if (kind < 2) _handler.commit(r, uint16(r >> 64), bytes32(r));
        else if (kind == 2) _handler.settle(r);
        else if (kind == 3) _handler.settleMany(small, uint8(r));
        else if (kind == 4) _handler.settleVoucher(r, uint16(r >> 64));
        else if (kind == 5) _handler.close(r, small);
        else if (kind == 6) _handler.openAgain(r);
        else if (small % 4 == 0) _handler.stop(r);
    }

    function _walkDispute(uint256 r, uint8 small) private {
        uint256 kind = r % 16;
        r = uint256(keccak256(abi.encode(r, "dispute")));
        if (kind < 4) _handler.challenge(r, small, uint16(r >> 64));
        else if (kind < 7) _handler.rule(r, small % 4 == 0, uint16(r >> 64));
        else if (kind == 7) _handler.timeoutDispute(r);
        else if (kind == 8 || kind == 13) _handler.attestUnretrievable(r, uint16(r >> 64));
        else if (kind == 9) _handler.rejectMachine(r, small);
        else if (kind == 10 || kind > 13) _handler.ruleLate(r, uint16(r >> 64));
        else _handler.payLate(r);
    }
}

contract InvariantsTest is MarketInvariants {
    function _coin() internal override returns (ITestToken) {
        return _newToken();
    }
}

/// @dev The same market in the chain's own coin. Fewer runs: what differs is how money moves.
/// forge-config: default.invariant.runs = 16
/// forge-config: lite.invariant.runs = 2
/// forge-config: ci.invariant.runs = 50
/// forge-config: soak.invariant.runs = 100
contract CoinInvariantsTest is MarketInvariants {
    function _coin() internal pure override returns (ITestToken) {
        return ITestToken(address(0));
    }
}
