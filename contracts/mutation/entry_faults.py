"""Faults of the ways into a lease, of its reserve, and of the escrow's two halves."""

from __future__ import annotations

from typing import Final

from contracts.mutation.faults import Fault

_FUNDING: Final = "test/Funding.t.sol"
_ORDERS: Final = "test/OpenFor.t.sol"
_CONSENTS: Final = "test/Consents.t.sol"
_CAPACITY: Final = "test/Capacity.t.sol"
_RESERVE: Final = "test/Reserve.t.sol"
_FORK: Final = "test/Fork.t.sol"
_REPUTATION: Final = "test/Reputation.t.sol"

ENTRY_FAULTS: Final = (
    Fault(
        "an authorization is for these terms alone",
        "                leaseId,\n                authorization.v,",
        "                bytes32(uint256(leaseId) ^ 1),\n                authorization.v,",
        _FUNDING,
    ),
    Fault(
        "credit that is spent is debited",
        "_debit(token, from, spent);\n        emit CreditSpent",
        "emit CreditSpent",
        _FUNDING,
    ),
    Fault(
        "the rest comes out of the allowance",
        "if (amount != 0) _pull(token, from, amount);",
        "if (source == Source.Allowance) _pull(token, from, amount);",
        _FUNDING,
    ),
    Fault(
        "what credit pays is not taken again",
        "amount -= _spendCredit(token, from, amount);",
        "_spendCredit(token, from, amount);",
        _FUNDING,
    ),
    Fault(
        "an order takes credit first",
        "_take(Source.Credit, terms.token, terms.renter, cost);",
        "_take(Source.Allowance, terms.token, terms.renter, cost);",
        _ORDERS,
    ),
    Fault(
        "consent names the relay fee",
        "_openingDigest(leaseId, source, relayFee), consent",
        "_openingDigest(leaseId, source, 0), consent",
        _FUNDING,
    ),
    Fault(
        "the relay fee is paid by the renter",
        "terms.renter, cost + relayFee);",
        "terms.renter, cost);",
        _FUNDING,
    ),
    Fault(
        "coins come in the right number",
        "if (msg.value != value) revert ReceivedAmountDiffers(NATIVE, value, msg.value);",
        "",
        _FUNDING,
    ),
    Fault("an order lets nobody open unless it says so", "order.minWindow == 0", "false", _ORDERS),
    Fault("an order expires", "block.timestamp >= order.expiresAt", "false", _ORDERS),
    Fault(
        "an order is the renter's",
        "_checkSignature(order.renter, digest, signature);\n        OrderUse",
        "if (signature.length == 0) revert OrderIsRevoked(digest);\n        OrderUse",
        _ORDERS,
    ),
    Fault("a revoked order is void", "if (used.isRevoked)", "if (false)", _ORDERS),
    Fault("an order's budget holds", "if (spent > order.budget)", "if (false)", _ORDERS),
    Fault("an order's segments hold", "if (segments > order.segments)", "if (false)", _ORDERS),
    Fault("what is spent is kept", "used.spent = uint96(spent);", "", _ORDERS),
    Fault("a predecessor is continued once", "delete _orderOf[predecessor];", "", _ORDERS),
    Fault(
        "a live lease is not continued",
        "if (status != LeaseStatus.Closed) revert PredecessorNotClosed",
        "if (false) revert PredecessorNotClosed",
        _ORDERS,
    ),
    Fault(
        "a predecessor is of the same order",
        "if (ofOrder != digest) revert",
        "if (ofOrder == 0) revert",
        _ORDERS,
    ),
    Fault(
        "unused money of an order comes back",
        "used.spent -= lease.escrow;",
        "",
        _ORDERS,
    ),
    Fault(
        "unused segments of an order come back",
        "used.segments -= terms.segments - lease.paid;",
        "",
        _ORDERS,
    ),
    Fault(
        "what was paid of an order stays spent",
        "used.segments -= terms.segments - lease.paid;",
        "used.segments -= terms.segments;",
        _ORDERS,
    ),
    Fault(
        "a lease of an order is told from others",
        "_open(terms, signature, ORDERED)",
        "_open(terms, signature, 0)",
        _ORDERS,
    ),
    Fault(
        "an order bounds the bond by the cost",
        "terms.bond * BPS >= cost * order.minBondBps",
        "terms.bond * BPS >= order.minBondBps",
        _ORDERS,
    ),
    Fault(
        "an order bounds the auditors' share",
        "terms.auditBps >= order.minAuditBps",
        "terms.auditBps + 1 >= order.minAuditBps",
        _ORDERS,
    ),
    Fault(
        "an order bounds the window from above",
        "terms.window <= order.maxWindow",
        "terms.window <= order.maxWindow + 1",
        _ORDERS,
    ),
    Fault(
        "an order bounds disputes from above",
        "terms.disputeTimeout <= order.maxDisputeTimeout",
        "terms.disputeTimeout <= order.maxDisputeTimeout + 1",
        _ORDERS,
    ),
    Fault(
        "an order leaves time to point lower",
        "terms.disputeTimeout / 2 >= order.minWindow",
        "terms.disputeTimeout >= order.minWindow",
        _ORDERS,
    ),
    Fault(
        "an order bounds the first commit",
        "terms.firstCommitWithin <= order.maxFirstCommit",
        "terms.firstCommitWithin <= order.maxFirstCommit + 1",
        _ORDERS,
    ),
    Fault(
        "an order bounds the rate of segments",
        "terms.minSegmentSeconds >= order.minSegmentSeconds",
        "terms.minSegmentSeconds + 1 >= order.minSegmentSeconds",
        _ORDERS,
    ),
    Fault("a consent is used once", "_used[use] = true;", "", _CONSENTS),
    Fault(
        "a consent expires",
        "block.timestamp >= expiresAt",
        "block.timestamp > expiresAt",
        _CONSENTS,
    ),
    Fault(
        "a consent is for one commit",
        "leaseId, _roots[leaseId], segment, source",
        "leaseId, bytes32(uint256(_roots[leaseId]) & 0), segment, source",
        _CONSENTS,
    ),
    Fault(
        "metered terms leave time for a voucher",
        "terms.window == 0 && terms.commitGrace == 0",
        "false",
        "test/Open.t.sol",
    ),
    Fault(
        "nothing is opened on a fork",
        "_checkHome();\n        uint88 cost",
        "uint88 cost",
        _FORK,
    ),
    Fault(
        "nothing is staked on a fork",
        "_checkHome();\n        _checkToken(token);\n        if (amount",
        "_checkToken(token);\n        if (amount",
        _FORK,
    ),
    Fault(
        "nothing is listed on a fork",
        "_checkHome();\n        _checkToken(token);\n        if (operator",
        "_checkToken(token);\n        if (operator",
        _FORK,
    ),
    Fault(
        "digests are the home chain's also in the extension",
        "_separatorOf(address(this), _homeChainId)",
        "_separatorOf(address(this), block.chainid)",
        _FORK,
    ),
    Fault(
        "a new receiver gets nothing of before",
        "_collectAll();\n        _setTreasury",
        "_setTreasury",
        "test/Owner.t.sol",
    ),
    Fault(
        "a new audit pool gets nothing of before",
        "_collectAll();\n        _setAuditPool",
        "_setAuditPool",
        "test/Owner.t.sol",
    ),
    Fault(
        "the unbonding period is bounded",
        "unbondingPeriod_ == 0 || unbondingPeriod_ > MAX_UNBONDING",
        "unbondingPeriod_ > MAX_UNBONDING",
        "test/Owner.t.sol",
    ),
    Fault(
        "vouchers prove nothing",
        "terms.window == 0 ? 0 : amount",
        "amount",
        _REPUTATION,
    ),
    Fault(
        "credit and what was proved are two numbers",
        "toProvider | proved << 128",
        "toProvider | proved << 127",
        _REPUTATION,
    ),
    Fault(
        "a debit leaves what was proved",
        "_accounts[token][account] -= amount;",
        "_accounts[token][account] = credit - amount;",
        _REPUTATION,
    ),
    Fault(
        "only complete leases count as completed",
        "if (cause == CloseCause.Completed) held",
        "if (cause != CloseCause.NeverCommitted) held",
        _REPUTATION,
    ),
    Fault(
        "giving up costs what waiting does",
        "if (lease.committedAt == 0 && terms.window != 0) return",
        "if (over && lease.committedAt == 0 && terms.window != 0) return",
        _REPUTATION,
    ),
    Fault(
        "a slash is counted",
        "held.total -= uint88(bond);\n        _countSlash(provider, token);",
        "held.total -= uint88(bond);",
        _REPUTATION,
    ),
    Fault(
        "a late slash is counted",
        "if (terms.bond != 0) _countSlash(terms.provider, terms.token);",
        "",
        _REPUTATION,
    ),
    Fault(
        "counters do not start again",
        "return count == type(uint24).max ? count : count + 1;",
        "unchecked {\n            return count + 1;\n        }",
        _REPUTATION,
    ),
    Fault(
        "a stop is the renter's",
        "_checkSignature(terms.renter, _stopDigest(_leaseIdOf(terms)), signature);",
        "if (signature.length == 0) revert AlreadyStopped(0);",
        _CONSENTS,
    ),
    Fault(
        "a full listing opens nothing", "if (live >= capacity)", "if (live > capacity)", _CAPACITY
    ),
    Fault(
        "a place is free again",
        "if (lease.flags & COUNTED != 0) --_listings[terms.listingId].live;",
        "",
        _CAPACITY,
    ),
    Fault(
        "cancelled terms do not open",
        "if (listing.hasCancelled && _isCancelled(terms.listingId, terms.nonce)) {",
        "if (false) {",
        _CAPACITY,
    ),
    Fault("the reserve is held", "if (upTo > free) upTo = free;", "", _RESERVE),
    Fault(
        "a stop releases the reserve",
        "upTo == terms.segments || lease.stoppedAt != 0",
        "upTo == terms.segments",
        _RESERVE,
    ),
    Fault(
        "shares are collected once",
        "delete _accrued[token];",
        "_accrued[token] += 0;",
        "test/Collect.t.sol",
    ),
    Fault(
        "the extension refuses direct calls",
        "if (address(this) == _self) revert DirectCall();",
        "",
        "test/Extension.t.sol",
    ),
)
