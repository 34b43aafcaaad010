"""One job, watched, stopped and judged; with a scripted node and a scripted chain."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from client_sdk import job as job_module
from client_sdk.chain.errors import CallReverted, ChainUnreachable
from client_sdk.chain.signing import is_signed_by
from client_sdk.errors import JobFailed, NotFound, ProviderFailed
from client_sdk.home import JobRecord, RenterHome
from client_sdk.job import Job, raise_unless_completed
from client_sdk.markets import Markets
from client_sdk.policy import Policy
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.terms import Voucher
from client_sdk.protocol.verdicts import Verdict
from client_sdk.transports import MarketNode, Timeouts
from contracts.bindings import LeaseEscrow, LeaseStatus
from contracts.events import CloseCause, Closed, Committed
from tests.support.sdk import DOMAIN, ESCROW, MARKET_FACTS, RENTER, FakeFacts
from tests.unit.client_sdk.test_accounting import Log, opened, settled
from tests.unit.client_sdk.test_ordering import TERMS

JOB_ID = "job_" + "0" * 26
LEASE_ID = TERMS.lease_id(DOMAIN)


class Deployment:
    start_block = 1


class Chain:
    """A chain whose events are scripted; every look adds one block."""

    domain = DOMAIN
    escrow = LeaseEscrow(ESCROW)
    deployment = Deployment()

    def __init__(self, *events) -> None:
        self.number = 100
        self.log = list(events)
        self.status = LeaseStatus.ACTIVE
        self.down = 0

    def head(self):
        if self.down:
            self.down -= 1
            raise ChainUnreachable("http://c.test", "refused")
        self.number += 1
        return self.number

    def events(self, first, head, *, topic):
        assert topic == LEASE_ID
        return self.log

    opened_at = 1_000

    def now(self):
        return self.opened_at + 60

    def lease(self, lease_id):
        return self


class Sender:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.maintained = 0
        self.refuses = False

    def send(self, call, key):
        if self.refuses:
            raise CallReverted(call.name, "DeadlinePassed", {})
        self.sent.append((call.name, key))
        return type("Receipt", (), {"tx_hash": b"\x0d" * 32})

    def maintain(self):
        self.maintained += 1


@dataclass
class Carriers:
    """Nodes that carry calls, for a wallet that needs it."""

    wanted: bool = False
    stopped: list[Any] = field(default_factory=list)

    def stop(self, terms, *, first):
        self.stopped.append((terms, first))
        return b"\x0e" * 32


@dataclass
class Client:
    home: RenterHome
    chain: Chain
    sender: Sender
    markets: Markets
    relays: Carriers
    account = RENTER


class Node:
    """A node's view of the job."""

    def __init__(self) -> None:
        self.view = {"state": "running", "verdict": None, "progress": None}
        self.vouchers: list[dict] = []
        self.receipts: list[httpx.Response] = []
        self.node = MarketNode(
            "http://m.test", Timeouts(patience_s=0), httpx.MockTransport(self.handle)
        )

    def handle(self, request):
        path = request.url.path
        if path == f"/v1/jobs/{JOB_ID}":
            return httpx.Response(200, json=self.view)
        if path.endswith("/vouchers"):
            self.vouchers.append(json.loads(request.content))
            return httpx.Response(200, json={})
        if path.endswith("/receipt"):
            return self.receipts.pop(0)
        return httpx.Response(200, text='event: end\ndata: {"state": "completed"}\n\n')


def make(tmp_path, chain, terms=TERMS):
    node = Node()
    markets = Markets(
        [node.node], facts=FakeFacts(), domain=DOMAIN, market=MARKET_FACTS, policy=Policy()
    )
    client = Client(RenterHome(tmp_path), chain, Sender(), markets, Carriers())
    record = JobRecord(
        job_id=JOB_ID,
        order_id="ord_1",
        market="http://m.test",
        name="digits",
        created_at="",
        chain_id=31337,
        escrow=ESCROW,
        job_key="01" * 32,
        spec_folder="",
        code="",
        data={},
        manifest={"segment_seconds": 20},
        order={},
        offer={},
        terms=terms.to_json(),
        lease_id=to_hex(LEASE_ID),
    )
    return Job(client, record), node, client


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(job_module, "CHAIN_POLL_S", 0.001)
    monkeypatch.setattr(job_module, "VERDICT_PATIENCE_S", 0.003)


def ending(cause=CloseCause.PROVIDER_CLOSED, paid=20):
    log = Log()
    return [
        opened(log),
        log(Committed, up_to=20, trace_root=b"", root=b""),
        settled(log, paid, 19_000, 400, 600),
        log(Closed, cause=cause, paid_segments=paid, refund=10_000),
    ]


def test_when_the_job_runs_then_the_chain_says_what_was_paid(tmp_path):
    job, node, _ = make(tmp_path, Chain(*ending()[:3]))
    node.view["progress"] = {"segments": 22}
    status = job.status()
    assert (status.state, status.verdict, status.ended) == ("running", None, False)
    assert (status.segments_done, status.account.paid_segments) == (22, 20)
    assert json.loads(json.dumps(status.to_json()))["paid"] == "20000"


def test_when_the_node_is_dead_then_the_chain_alone_tells(tmp_path):
    job, node, _ = make(tmp_path, Chain(*ending()))
    node.handle = None
    job._node = MarketNode(
        "http://dead.test",
        Timeouts(patience_s=0),
        httpx.MockTransport(lambda request: httpx.Response(503)),
    )
    status = job.status()
    assert (status.ended, status.verdict) == (True, Verdict.PROVIDER_FAULT)
    assert not status.verdict_reported
    assert status.segments_done == 20


def test_when_the_lease_is_closed_then_waiting_ends_with_the_reported_verdict(tmp_path):
    job, node, client = make(tmp_path, Chain(*ending()))
    node.view["verdict"] = "completed"
    updates = []
    status = job.wait(timeout_s=10, on_update=updates.append)
    assert (status.verdict, status.state) == (Verdict.COMPLETED, "completed")
    assert updates[0].status == status
    assert client.sender.maintained > 0


def test_when_the_chain_contradicts_the_reported_verdict_then_the_chain_wins(tmp_path):
    job, node, _ = make(tmp_path, Chain(*ending(CloseCause.FRAUD)))
    node.view["verdict"] = "completed"
    status = job.wait(timeout_s=10)
    assert (status.verdict, status.state) == (Verdict.PROOF_REJECTED, "failed")


def test_when_no_verdict_is_reported_then_the_chains_is_taken_after_a_while(tmp_path):
    job, _, _ = make(tmp_path, Chain(*ending(CloseCause.RENTER_STOPPED)))
    status = job.wait(timeout_s=10)
    assert (status.verdict, status.state) == (Verdict.RENTER_STOPPED, "cancelled")


def test_when_the_chain_is_restarted_then_waiting_goes_on(tmp_path):
    chain = Chain(*ending())
    chain.down = 3
    job, node, _ = make(tmp_path, chain)
    node.view["verdict"] = "completed"
    assert job.wait(timeout_s=10).verdict is Verdict.COMPLETED
    assert chain.down == 0


def test_when_the_closing_is_too_young_then_it_is_not_the_end(tmp_path):
    log = Log()
    chain = Chain(opened(log), replace(ending()[-1], block_number=102))
    job, _, _ = make(tmp_path, chain)
    assert not job.status().ended
    job.status()
    job.status()
    assert job.status().ended


def test_when_the_job_outlasts_the_patience_then_it_is_said(tmp_path):
    job, _, _ = make(tmp_path, Chain(opened(Log())))
    with pytest.raises(TimeoutError, match="still runs"):
        job.wait(timeout_s=0)


def test_when_the_job_is_metered_then_each_finished_segment_gets_one_voucher(tmp_path):
    metered = replace(TERMS, window=0, bond=0)
    job, node, _ = make(tmp_path, Chain(opened(Log())), metered)
    node.view["progress"] = {"segments": 3}
    job._pay_metered(job.status())
    job._pay_metered(job.status())
    (posted,) = node.vouchers
    voucher = Voucher.from_json(posted["voucher"])
    assert voucher == Voucher(lease_id=LEASE_ID, segments=3)
    signature = bytes.fromhex(posted["signature"][2:])
    assert is_signed_by(voucher, DOMAIN, signature, RENTER.address)


def test_when_the_job_is_verified_then_no_voucher_is_signed(tmp_path):
    job, node, _ = make(tmp_path, Chain(opened(Log())))
    node.view["progress"] = {"segments": 3}
    job._pay_metered(job.status())
    assert node.vouchers == []


def test_when_the_job_is_cancelled_then_the_lease_is_stopped_once(tmp_path):
    job, _, client = make(tmp_path, Chain())
    assert job.cancel() == b"\x0d" * 32
    assert client.sender.sent == [("LeaseEscrow.stop", f"stop:{to_hex(LEASE_ID)}")]


def test_when_the_wallet_cannot_pay_the_chain_then_a_node_carries_the_stop(tmp_path):
    job, node, client = make(tmp_path, Chain())
    client.relays.wanted = True
    assert job.cancel() == b"\x0e" * 32
    assert client.relays.stopped == [(TERMS, node.node)]
    assert client.sender.sent == []


def test_when_the_job_has_ended_then_there_is_nothing_to_cancel(tmp_path):
    job, _, client = make(tmp_path, Chain())
    client.sender.refuses = True
    with pytest.raises(NotFound, match="DeadlinePassed"):
        job.cancel()
    client.chain.status = LeaseStatus.CLOSED
    with pytest.raises(NotFound, match="has ended already"):
        job.cancel()


def test_when_the_receipt_is_not_made_yet_then_it_is_asked_for_again(tmp_path, monkeypatch):
    monkeypatch.setattr(job_module.time, "sleep", lambda seconds: None)
    job, node, _ = make(tmp_path, Chain())
    pending = {"error": {"code": "receipt_pending", "message": "wait", "what_to_do": ""}}
    node.receipts = [httpx.Response(404, json=pending), httpx.Response(200, json={"a": 1})]
    path = job.receipt()
    assert json.loads(path.read_text()) == {"a": 1}
    assert path.name == f"{to_hex(LEASE_ID)}.json"


@pytest.mark.parametrize(
    ("verdict", "error"),
    [
        (Verdict.JOB_FAILED, JobFailed),
        (Verdict.BUDGET_EXHAUSTED, JobFailed),
        (Verdict.PROVIDER_LOST, ProviderFailed),
        (Verdict.ACCEPTANCE_FAILED, ProviderFailed),
        (Verdict.PROOF_REJECTED, ProviderFailed),
    ],
)
def test_when_a_job_did_not_complete_then_its_family_of_errors_is_raised(tmp_path, verdict, error):
    job, _, _ = make(tmp_path, Chain())
    with pytest.raises(error, match=str(verdict)):
        raise_unless_completed(replace(job.status(), verdict=verdict))


@pytest.mark.parametrize("verdict", [None, Verdict.COMPLETED, Verdict.RENTER_STOPPED])
def test_when_a_job_ended_as_wished_then_nothing_is_raised(tmp_path, verdict):
    job, _, _ = make(tmp_path, Chain())
    raise_unless_completed(replace(job.status(), verdict=verdict))
