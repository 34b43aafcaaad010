"""Ready-made parties for tests: keys, a renter with an encrypted job, and daemons on fakes."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eth_account import Account

from client_sdk import sealing
from client_sdk.chain.signing import sign
from client_sdk.protocol.bundle import pack_folder
from client_sdk.protocol.canonical import ZERO_HASH
from client_sdk.protocol.jobspec import Audit
from client_sdk.protocol.machine import Isolation, MachineDocument
from client_sdk.protocol.manifest import JobManifest
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.orders import Order
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.verification import Verification
from client_sdk.sealing import EncryptionKey
from tests.fakes.chain import TOKEN, FakeChain, FakeSender
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import CLASS_DIGEST
from worker_agent.attest import Listing, register
from worker_agent.context import Context
from worker_agent.delivery import Deliverer
from worker_agent.heartbeat import Heartbeat
from worker_agent.jobs import Jobs
from worker_agent.journal import Journal
from worker_agent.lease import LeaseLoop
from worker_agent.orders import Orders
from worker_agent.payments import Payments
from worker_agent.quotes import Machine
from worker_agent.records import LeaseRecord, Leases
from worker_agent.runner import Runners
from worker_agent.sandbox.base import Sandbox
from worker_agent.serve import ServeAudits
from worker_agent.settings import Role, WorkerSettings
from worker_agent.stages.attempt import Machinery

GIB = 1 << 30


def account(name: str) -> Any:
    """A key made from a name."""
    return Account.from_key(name.encode().ljust(32, b"\1"))


OWNER, OPERATOR = account("owner"), account("operator")
RENTER, AUDITOR, ARBITER = account("renter"), account("auditor"), account("arbiter")


def make_settings(folder: Path, role: Role = Role.PROVIDER, **changes: Any) -> WorkerSettings:
    """Settings with short times."""
    values: dict[str, Any] = {
        "role": role,
        "data_dir": folder,
        "rpc_url": "http://chain.test",
        "deployments_file": folder / "deployments.json",
        "chain_id": 31337,
        "markets": ("http://market.test",),
        "operator_key_file": folder / "operator.key",
        "provider": OWNER.address,
        "poll_interval_s": 0.05,
        "window_s": 20,
    }
    return WorkerSettings(**{**values, **changes})


def make_context(
    folder: Path, chain: FakeChain, market: FakeMarket, key: Any, settings: WorkerSettings
) -> Context:
    """A daemon's context on fakes; made again over the same folder it is a restarted daemon."""
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / "encryption.key"
    if not own.exists():
        EncryptionKey.generate().save(own)
    return Context(
        settings=settings,
        account=key,
        encryption_key=EncryptionKey.load(own),
        chain=chain,
        sender=FakeSender(chain, key.address),
        owner_sender=FakeSender(chain, OWNER.address) if settings.role is Role.PROVIDER else None,
        markets={market.url: market.connect(key.address)},
        journal=Journal(folder / "journal.db"),
        token=TOKEN,
    )


@dataclass
class Provider:
    """A provider's daemon whose loops are turned by hand."""

    context: Context
    sandbox: Sandbox
    document: MachineDocument
    listing: Listing
    leases: Leases
    deliverer: Deliverer
    runners: Runners
    loop: LeaseLoop
    orders: Orders
    heartbeat: Heartbeat
    serve: ServeAudits

    def turn(self) -> None:
        """One turn of every loop, in the order in which the daemon starts them."""
        self.loop.guard()
        self.context.sender.maintain()
        self.loop.tick()
        self.deliverer.tick()
        self.serve.tick()

    @property
    def record(self) -> LeaseRecord:
        """Its one lease."""
        (record,) = self.leases.all()
        return record


def machine_document(public: bytes) -> MachineDocument:
    """A machine of the fake class."""
    return MachineDocument(
        cpu_name="fake",
        cpu_count=2,
        memory_bytes=8 * GIB,
        disk_bytes=8 * GIB,
        torch="2.0-fake",
        isolation=Isolation.STRONG,
        hardware_class=CLASS_DIGEST,
        encryption_key=public,
    )


def make_provider(
    folder: Path,
    chain: FakeChain,
    market: FakeMarket,
    sandbox: Sandbox,
    **changes: Any,
) -> Provider:
    """A provider's daemon; made again over the same folder it is a restarted one."""
    settings = make_settings(folder, **changes)
    context = make_context(folder, chain, market, OPERATOR, settings)
    document = machine_document(context.encryption_key.public)
    listing = register(context, document)
    leases = Leases(context.journal)
    deliverer = Deliverer(
        context.journal,
        leases,
        context.markets,
        context.folder("leases"),
        OPERATOR,
        chain.domain,
        60,
    )
    jobs = Jobs(sandbox)
    machinery = Machinery(
        context=context, leases=leases, deliverer=deliverer, sandbox=sandbox, jobs=jobs
    )
    runners = Runners(machinery, document)
    heartbeat = Heartbeat(context, listing)
    payments = Payments(chain, context.sender, leases)
    machine = Machine(
        memory_bytes=4 * GIB, disk_bytes=4 * GIB, cpu_cores=2, gpu_name="", gpu_count=0
    )
    return Provider(
        context=context,
        sandbox=sandbox,
        document=document,
        listing=listing,
        leases=leases,
        deliverer=deliverer,
        runners=runners,
        loop=LeaseLoop(chain, leases, payments, runners, deliverer, settings.confirmations),
        orders=Orders(context, leases, jobs, heartbeat, machine),
        heartbeat=heartbeat,
        serve=ServeAudits(context, leases, deliverer, CLASS_DIGEST),
    )


@dataclass
class Job:
    """A renter's encrypted job."""

    manifest: JobManifest
    key: bytes
    artifacts: dict[str, Any]


def make_job(
    folder: Path, market: FakeMarket, code_text: str = "print('secret code')\n", **changes: Any
) -> Job:
    """Pack, encrypt and store a job."""
    code = folder / "renter-code"
    code.mkdir(parents=True, exist_ok=True)
    (code / "train.py").write_text(code_text)
    packed = io.BytesIO()
    archive = pack_folder(code, packed)
    values: dict[str, Any] = {
        "name": "job",
        "bundle_hash": archive.hash,
        "entry": "train.py",
        "verification": Verification.REPLAY,
        "segment_steps": 4,
        "segment_seconds": 0,
        "max_segments": 5,
        "threads": 1,
        "hardware_class": CLASS_DIGEST,
        "memory_bytes": GIB,
        "disk_bytes": GIB,
        "max_duration_s": 3600,
        "keep_s": 3600,
        "output_paths": ("model/**",),
        "audit": Audit.MARKET,
        "blinding": bytes(range(32)),
    }
    if changes.get("verification") is Verification.METERED:
        metered = {"segment_steps": 0, "segment_seconds": 1, "hardware_class": ZERO_HASH}
        values.update(metered, deterministic=False)
    manifest = JobManifest(**{**values, **changes})
    key = sealing.new_job_key()
    artifacts = {
        "manifest": market.put(sealing.encrypt(key, manifest.canonical(), b"manifest")),
        "bundle": market.put(sealing.encrypt(key, packed.getvalue(), b"bundle")),
        "data": {},
    }
    return Job(manifest, key, artifacts)


def make_order(
    job: Job, promised: Offer, chain: FakeChain, key: Any = RENTER, **changes: Any
) -> tuple[Order, str]:
    """A renter's signed order for an offer."""
    order = Order(
        renter=RENTER.address,
        token=TOKEN.address,
        arbiter=ARBITER.address,
        job_hash=job.manifest.job_hash(),
        listing_id=promised.listing_id,
        offer=promised.offer_id(chain.domain),
        max_price_per_hour=10**9,
        budget=10**9,
        max_duration_s=3600,
        segments=job.manifest.max_segments,
        verification=job.manifest.verification.bit,
        expires_at=chain.now() + 3600,
        nonce=1,
    )
    order = replace(order, **changes)
    return order, "0x" + sign(order, chain.domain, key).hex()


def place(provider: Provider, market: FakeMarket, job: Job, **changes: Any) -> str:
    """Publish an offer and place an order that answers it; returns the order's id."""
    provider.heartbeat.tick()
    (posted,) = list(market.offers.values())[-1:]
    offer = Offer.from_json(posted["offer"])
    order, signature = make_order(job, offer, provider.context.chain, **changes)  # type: ignore[arg-type]
    sealed = sealing.wrap_key(job.key, offer.encryption_key, order.job_hash)
    return market.place_order(order.to_json(), signature, job.artifacts, sealed)


def open_lease(chain: FakeChain, market: FakeMarket, order_id: str) -> bytes:
    """The renter opens the lease of signed terms; returns its id."""
    view = market.orders[order_id]
    terms = Terms.from_json(view["terms"])
    signature = bytes.fromhex(view["terms_signature"][2:])
    chain.execute(chain.escrow.open(terms.abi_tuple(), signature), RENTER.address)
    return terms.lease_id(chain.domain)
