"""Faults of the ways into a lease, of its reserve, and of the escrow's two halves."""

from __future__ import annotations

from typing import Final

from contracts.mutation.faults import Fault

_FUNDING: Final = "test/Funding.t.sol"
_ORDERS: Final = "test/OpenFor.t.sol"
_CONSENTS: Final = "test/Consents.t.sol"
_CAPACITY: Final = "test/Capacity.t.sol"
_RESERVE: Final = "test/Reserve.t.sol"

ENTRY_FAULTS: Final = (
    Fault(
        "an authorization is for these terms alone",
        "                leaseId,\n                authorization.v,",
        "                bytes32(uint256(leaseId) ^ 1),\n                authorization.v,",
        _FUNDING,
    ),
    Fault(
        "credit that is spent is debited",
        "_debit(token, from, amount);\n        emit CreditSpent",
        "emit CreditSpent",
        _FUNDING,
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
    Fault("a predecessor comes back once", "delete _orderOf[id];", "", _ORDERS),
    Fault(
        "a live lease gives nothing back",
        "if (lease.status != LeaseStatus.Closed) revert PredecessorNotClosed",
        "if (false) revert PredecessorNotClosed",
        _ORDERS,
    ),
    Fault("what a dispute split stays spent", "if (lease.flags & SPLIT != 0) return;", "", _ORDERS),
    Fault("a consent is used once", "_used[use] = true;", "", _CONSENTS),
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
