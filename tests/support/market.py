"""A marketplace node on a made-up chain: real keys and signatures, events written by hand."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from blake3 import blake3
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI

from client_sdk.chain.signing import sign, sign_text
from client_sdk.chain.wallet import account_from
from client_sdk.protocol.login import LoginMessage
from client_sdk.protocol.machine import Isolation, MachineDocument
from client_sdk.protocol.messages import AuditorKey
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.orders import Order
from client_sdk.protocol.terms import Terms
from contracts.deployments import (
    BeaconInfo,
    BeaconKind,
    Deployment,
    TokenInfo,
    save_deployment,
)
from marketplace import clock
from marketplace.app import create
from marketplace.audits import assignments as audits
from marketplace.context import Market, open_market
from marketplace.domain.events import EventRecord
from marketplace.indexer import repository as chain_rows
from marketplace.indexer.service import Changes, apply_events
from marketplace.jobs import service as jobs
from marketplace.leases import relay
from marketplace.models import Base
from marketplace.offers import service as offers
from marketplace.search.index import OfferIndex
from marketplace.settings import FolderStore, Settings
from marketplace.web.limits import LocalRateLimiter

ESCROW = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
TOKEN = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
CHAIN_ID = 31337
HARDWARE_CLASS = bytes([7]) * 32
ENCRYPTION_KEY = bytes([9]) * 32
TUSD = 10**6


def key(number: int) -> LocalAccount:
    """A fixed key."""
    return account_from(number.to_bytes(32, "big"))


RENTER, OTHER, PROVIDER, OPERATOR, AUDITOR, ARBITER, STRANGER = (key(n) for n in range(11, 18))


def hex32(number: int) -> str:
    return f"0x{number:064x}"


def content(data: bytes) -> str:
    """The name of an artifact."""
    return blake3(data).hexdigest()


def make_deployment() -> Deployment:
    return Deployment(
        chain_id=CHAIN_ID,
        escrow=ESCROW,
        tokens=(TokenInfo(symbol="tUSD", address=TOKEN, decimals=6),),
        start_block=1,
        abi_version=3,
        arbiter=ARBITER.address,
        audit_pool=key(99).address,
        beacon=BeaconInfo(kind=BeaconKind.DEV, delay_blocks=2),
    )


def make_settings(folder: Path, **values: Any) -> Settings:
    """Settings of a node with everything in one folder."""
    deployments = folder / "deployments.json"
    if not deployments.exists():
        save_deployment(deployments, make_deployment())
    defaults: dict[str, Any] = {
        "database_url": f"sqlite+aiosqlite:///{folder}/market.db",
        "rpc_url": "http://127.0.0.1:1",
        "deployments_file": deployments,
        "chain_id": CHAIN_ID,
        "data_dir": folder / "data",
        "artifact_store": FolderStore(path=folder / "artifacts"),
        "public_url": "http://market.test",
        "broker_url": "redis://127.0.0.1:1/0",
    }
    return Settings(**(defaults | values))


def machine(**values: Any) -> MachineDocument:
    defaults: dict[str, Any] = {
        "gpu_name": "RTX 4090",
        "gpu_count": 2,
        "gpu_memory_bytes": 24 << 30,
        "cpu_name": "EPYC",
        "cpu_count": 32,
        "memory_bytes": 128 << 30,
        "disk_bytes": 500 << 30,
        "region": "eu-west",
        "driver": "570",
        "torch": "2.13.0",
        "isolation": Isolation.STRONG,
        "hardware_class": HARDWARE_CLASS,
        "encryption_key": ENCRYPTION_KEY,
    }
    return MachineDocument(**(defaults | values))


@dataclass
class World:
    """One node, the clock of its chain, and everybody's requests to it."""

    market: Market
    client: httpx.AsyncClient
    block: int = 10
    tokens: dict[str, str] = field(default_factory=dict)
    log_index: int = 0

    # The chain

    def event(self, name: str, **args: Any) -> EventRecord:
        """Make the next event, a block later than the last."""
        self.block += 1
        self.log_index += 1
        return EventRecord(
            name=name,
            args=args,
            block_number=self.block,
            block_hash=hex32(self.block),
            block_at=datetime.fromtimestamp(1_800_000_000 + self.block, UTC),
            tx_hash=hex32(10_000 + self.block),
            log_index=self.log_index,
        )

    async def apply(self, *events: EventRecord) -> Changes:
        """Index events as the follower does."""
        async with self.market.database.writing() as session:
            changes = await apply_events(session, self.market.scope, events)
            await offers.follow_chain(session, self.market.scope, changes)
            await jobs.follow_chain(session, self.market.scope, changes.leases, datetime.now(UTC))
            await relay.follow_chain(session, self.market.scope, changes.leases)
            await audits.follow_windows(session, self.market.scope, changes.leases)
        return changes

    async def list_machine(
        self, number: int = 1, *, cap: int = 2 * TUSD, document: MachineDocument | None = None
    ) -> str:
        """Put a machine on the chain, staked; returns the listing's id."""
        described = document or machine()
        listing_id = hex32(number)
        await self.apply(
            self.event("Staked", provider=PROVIDER.address.lower(), token=TOKEN.lower(),
                       amount=str(100 * TUSD)),
            self.event(
                "Listed",
                listing_id=listing_id,
                provider=PROVIDER.address.lower(),
                operator=OPERATOR.address.lower(),
                hardware_class="0x" + described.hardware_class.hex(),
                machine_hash="0x" + described.machine_hash().hex(),
                token=TOKEN.lower(),
                max_price_per_hour=str(cap),
                document="0x" + described.canonical().hex(),
            ),
        )  # fmt: skip
        return listing_id

    async def open(self, terms: Terms) -> str:
        """Open a lease on the chain; returns its id."""
        lease_id = "0x" + terms.lease_id(self.market.domain).hex()
        await self.apply(
            self.event(
                "Opened",
                lease_id=lease_id,
                renter=terms.renter.lower(),
                provider=terms.provider.lower(),
                terms=terms.to_json(),
            )
        )
        return lease_id

    async def lease_facts(self, lease_id: str) -> Any:
        async with self.market.database.reading() as session:
            return await chain_rows.lease(session, self.market.scope, lease_id)

    async def register_auditor(
        self,
        account: LocalAccount,
        *,
        role: str = "auditor",
        signer: LocalAccount | None = None,
        **values: Any,
    ) -> httpx.Response:
        """Register with a key that the account, or somebody else, signed."""
        now = int(datetime.now(UTC).timestamp())
        defaults: dict[str, Any] = {
            "auditor": account.address,
            "encryption_key": bytes(31) + b"\3",
            "hardware_class": HARDWARE_CLASS,
            "issued_at": now,
            "expires_at": now + 3_600,
        }
        key = AuditorKey(**(defaults | values))
        signature = self.signed(key, signer or account)
        body = {"key": key.to_json(), "signature": signature, "role": role}
        return await self.request(account, "POST", "/auditors", json=body)

    # Signed objects

    def offer(self, listing_id: str, **values: Any) -> Offer:
        now = int(datetime.now(UTC).timestamp())
        described = machine()
        defaults: dict[str, Any] = {
            "provider": PROVIDER.address,
            "operator": OPERATOR.address,
            "token": TOKEN,
            "arbiter": ARBITER.address,
            "listing_id": bytes.fromhex(listing_id[2:]),
            "machine_hash": described.machine_hash(),
            "hardware_class": described.hardware_class,
            "encryption_key": ENCRYPTION_KEY,
            "price_per_hour": TUSD // 2,
            "fee_bps": 200,
            "audit_bps": 300,
            "max_segments": 100,
            "min_segment_seconds": 1,
            "verification": 9,
            "issued_at": now,
            "expires_at": now + 3_600,
            "nonce": 1,
        }
        return Offer(**(defaults | values))

    def order(self, offer: Offer, renter: LocalAccount = RENTER, **values: Any) -> Order:
        defaults: dict[str, Any] = {
            "renter": renter.address,
            "token": TOKEN,
            "arbiter": ARBITER.address,
            "job_hash": bytes([5]) * 32,
            "listing_id": offer.listing_id,
            "offer": offer.offer_id(self.market.domain),
            "max_price_per_hour": TUSD,
            "budget": 5 * TUSD,
            "max_duration_s": 3_600,
            "segments": 20,
            "verification": 1,
            "expires_at": int(datetime.now(UTC).timestamp()) + 600,
            "nonce": 1,
        }
        return Order(**(defaults | values))

    def terms(self, order: Order, offer: Offer, **values: Any) -> Terms:
        defaults: dict[str, Any] = {
            "renter": order.renter,
            "provider": offer.provider,
            "operator": offer.operator,
            "token": offer.token,
            "arbiter": order.arbiter,
            "listing_id": offer.listing_id,
            "machine_hash": offer.machine_hash,
            "job_hash": order.job_hash,
            "price_per_segment": TUSD // 10,
            "bond": TUSD,
            "segments": 20,
            "fee_bps": offer.fee_bps,
            "audit_bps": offer.audit_bps,
            "window": 20,
            "commit_grace": 15,
            "dispute_timeout": 20,
            "open_by": int(datetime.now(UTC).timestamp()) + 300,
            "first_commit_within": 300,
            "max_duration": 3_000,
            "min_segment_seconds": 1,
            "nonce": 1,
        }
        return Terms(**(defaults | values))

    def signed(self, obj: Any, account: LocalAccount) -> str:
        return "0x" + sign(obj, self.market.domain, account).hex()

    # Requests

    async def login(self, account: LocalAccount) -> dict[str, str]:
        """Headers of an account that is logged in."""
        if account.address not in self.tokens:
            nonce = (await self.client.post("/v1/auth/nonce")).json()["nonce"]
            text = LoginMessage(
                domain=self.market.settings.login_domain,
                address=account.address,
                uri=self.market.settings.public_url,
                chain_id=CHAIN_ID,
                nonce=nonce,
                issued_at=datetime.now(UTC),
            ).text()
            answer = await self.client.post(
                "/v1/auth/login",
                json={"message": text, "signature": "0x" + sign_text(text, account).hex()},
            )
            assert answer.status_code == 200, answer.text
            self.tokens[account.address] = answer.json()["token"]
        return {"authorization": f"Bearer {self.tokens[account.address]}"}

    async def request(
        self, account: LocalAccount | None, method: str, path: str, **options: Any
    ) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if account is not None:
            headers |= await self.login(account)
        return await self.client.request(method, f"/v1{path}", headers=headers, **options)

    async def put(self, account: LocalAccount, data: bytes) -> str:
        """Store an artifact; returns its hash."""
        answer = await self.request(account, "PUT", f"/artifacts/{content(data)}", content=data)
        assert answer.status_code == 201, answer.text
        return content(data)

    async def publish(self, offer: Offer, signer: LocalAccount = OPERATOR) -> httpx.Response:
        body = {"offer": offer.to_json(), "signature": self.signed(offer, signer)}
        return await self.request(OPERATOR, "POST", "/offers", json=body)

    async def place(
        self, order: Order, offer: Offer, renter: LocalAccount = RENTER, **values: Any
    ) -> httpx.Response:
        """Place an order with fresh artifacts."""
        name = renter.address.encode() + order.nonce.to_bytes(8, "big")
        body = {
            "order": order.to_json(),
            "signature": self.signed(order, renter),
            "offer": "0x" + offer.offer_id(self.market.domain).hex(),
            "artifacts": {
                "manifest": await self.put(renter, b"manifest" + name),
                "bundle": await self.put(renter, b"bundle" + name),
                "data": {"digits": await self.put(renter, b"data" + name)},
            },
            "sealed_key": base64.b64encode(b"sealed to the operator").decode(),
        }
        return await self.request(renter, "POST", "/orders", json=body | values)


@dataclass(frozen=True)
class Rented:
    """A job from its offer to its open lease."""

    offer: Offer
    order: Order
    terms: Terms
    order_id: str
    job_id: str
    lease_id: str
    lock_token: str


async def rent(
    world: World, *, renter: LocalAccount = RENTER, listing: int = 1, opened: bool = True,
    **terms_values: Any,
) -> Rented:  # fmt: skip
    """Take a job through offer, order, claim, terms and (unless told otherwise) opening."""
    listing_id = await world.list_machine(listing)
    offer = world.offer(listing_id)
    assert (await world.publish(offer)).status_code in (200, 201)
    metered = terms_values.get("window") == 0
    order = world.order(offer, renter, verification=8 if metered else 1)
    placed = (await world.place(order, offer, renter)).json()
    claim = await world.request(OPERATOR, "POST", f"/orders/{placed['order_id']}/claim")
    assert claim.status_code == 200, claim.text
    terms = world.terms(order, offer, **terms_values)
    answer = await world.request(
        OPERATOR,
        "POST",
        f"/orders/{placed['order_id']}/terms",
        json={
            "lock_token": claim.json()["lock_token"],
            "terms": terms.to_json(),
            "signature": world.signed(terms, OPERATOR),
            "probe": {"step_seconds": 0.1},
        },
    )
    assert answer.status_code == 200, answer.text
    lease_id = answer.json()["lease_id"]
    if opened:
        await world.open(terms)
    return Rented(
        offer,
        order,
        terms,
        placed["order_id"],
        placed["job_id"],
        lease_id,
        claim.json()["lock_token"],
    )


_apps: list[FastAPI] = []


def app_of(settings: Settings) -> FastAPI:
    """The application on another node; building its routes anew takes half a second."""
    if settings.max_body_bytes != 1 << 20 or settings.max_artifact_bytes != 4 << 30:
        return create(settings, LocalRateLimiter())
    if not _apps:
        _apps.append(create(settings, LocalRateLimiter()))
    app = _apps[0]
    app.state.market = open_market(settings)
    app.state.limiter = LocalRateLimiter()
    app.state.offers = OfferIndex(app.state.market, clock.now)
    return app


@asynccontextmanager
async def open_world(folder: Path, **values: Any) -> AsyncIterator[World]:
    """Start a node in this process, with its tables and no chain behind it."""
    settings = make_settings(folder, **values)
    app = app_of(settings)
    market: Market = app.state.market
    try:
        async with market.database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://market.test") as client:
            yield World(market, client)
    finally:
        await market.close()


def replaced(obj: Any, **values: Any) -> Any:
    """A changed copy of a frozen object."""
    return dataclasses.replace(obj, **values)
