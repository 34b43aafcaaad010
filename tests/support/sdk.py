"""Offers, terms and a market without a network, for tests of the SDK."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import httpx
from eth_account import Account

from client_sdk.chain.signing import sign
from client_sdk.policy import ListingFacts, MarketFacts
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.eip712 import Domain
from client_sdk.protocol.machine import Isolation, MachineDocument
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.verification import Verification

NOW = 1_800_000_000
OPERATOR = Account.from_key(b"\x01" * 32)
RENTER = Account.from_key(b"\x02" * 32)
STRANGER = Account.from_key(b"\x03" * 32)
PROVIDER, TOKEN, ARBITER, ESCROW = (f"0x{digit * 40}" for digit in "2456")
DOMAIN = Domain(31337, ESCROW)
LISTING_ID = b"\x07" * 32
MARKET_FACTS = MarketFacts(arbiter=ARBITER, tokens=frozenset({TOKEN}))
MACHINE = MachineDocument(
    cpu_name="a processor",
    cpu_count=2,
    memory_bytes=8 << 30,
    disk_bytes=8 << 30,
    region="local",
    torch="2.13.0",
    isolation=Isolation.STRONG,
    hardware_class=b"\x08" * 32,
    encryption_key=b"\x09" * 32,
)
OFFER = Offer(
    provider=PROVIDER,
    operator=OPERATOR.address,
    token=TOKEN,
    arbiter=ARBITER,
    listing_id=LISTING_ID,
    machine_hash=MACHINE.machine_hash(),
    hardware_class=MACHINE.hardware_class,
    encryption_key=MACHINE.encryption_key,
    price_per_hour=600_000,
    fee_bps=200,
    audit_bps=300,
    max_segments=100,
    min_segment_seconds=1,
    verification=Verification.REPLAY.bit | Verification.METERED.bit,
    issued_at=NOW - 10,
    expires_at=NOW + 600,
    nonce=1,
)
LISTING = ListingFacts(
    provider=PROVIDER,
    operator=OPERATOR.address,
    token=TOKEN,
    machine_hash=MACHINE.machine_hash(),
    hardware_class=MACHINE.hardware_class,
    max_price_per_hour=1_200_000,
    active=True,
    stake_total=100_000_000,
    stake_free=100_000_000,
)


class FakeFacts:
    """A chain that knows one listing."""

    def __init__(self, listing: ListingFacts | None = LISTING) -> None:
        self.known = listing

    def now(self) -> int:
        return NOW

    def listing(self, listing_id: bytes, machine: MachineDocument | None) -> ListingFacts | None:
        if self.known is None or listing_id != LISTING_ID:
            return None
        bound = machine is not None and machine.machine_hash() == self.known.machine_hash
        return self.known if bound else replace(self.known, hardware_class=b"")


def served(
    offer: Offer = OFFER, *, key: Any = OPERATOR, machine: MachineDocument = MACHINE, **changes: Any
) -> dict[str, Any]:
    """An offer as a node serves it; `changes` overwrite what an honest node would say."""
    return {
        "digest": to_hex(offer.offer_id(DOMAIN)),
        "offer": offer.to_json(),
        "signature": to_hex(sign(offer, DOMAIN, key)),
        "state": "active",
        "listing": {"document": machine.to_json()},
        "fields": {},
        **changes,
    }


def transport(
    routes: Mapping[str, Any] | Callable[[httpx.Request], httpx.Response],
) -> httpx.MockTransport:
    """A node that answers by path; a callable answers itself, anything else is JSON."""
    if callable(routes):
        return httpx.MockTransport(routes)

    def handle(request: httpx.Request) -> httpx.Response:
        answer = routes.get(f"{request.method} {request.url.path}", routes.get(request.url.path))
        if answer is None:
            error = {"error": {"code": "not_found", "message": "no such thing", "what_to_do": ""}}
            return httpx.Response(404, json=error)
        if callable(answer):
            return answer(request)
        return httpx.Response(200, content=json.dumps(answer))

    return httpx.MockTransport(handle)
