"""Renters without the chain's own coin: marketplace nodes carry their calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from client_sdk.chain.wallet import load_key_file
from client_sdk.embedded.keys import PARTIES, key_file
from client_sdk.embedded.services import RELAY
from client_sdk.job import Job
from client_sdk.protocol.verdicts import Verdict
from client_sdk.verify import load_receipt, verify
from contracts.bindings import Token
from contracts.events import RelayerPaid
from tests.support.forger import LyingRelayer
from tests.support.stack import DIGITS, Renter, Stack, finish, gridlease, read_json

pytestmark = pytest.mark.timeout(900)
STOP_AFTER_SEGMENTS = 3
FEE = RELAY["tUSD"]["open_fee"]


@dataclass(frozen=True)
class Money:
    """What everybody holds, in the token's smallest unit, and what the relayer has of the coin."""

    tokens: dict[str, int]
    """Wallet and credit of each party; `shares` have accrued in the escrow."""
    relayer_wei: int

    @property
    def total(self) -> int:
        return sum(self.tokens.values())

    def gained(self, before: Money, party: str) -> int:
        return self.tokens[party] - before.tokens[party]


@pytest.fixture
def poor(make_renter: Callable[..., Renter]) -> Renter:
    """A new renter with tokens and nothing else."""
    renter = make_renter(coin=False)
    assert renter.client.chain.balance(renter.client.address) == 0
    return renter


def look(stack: Stack, renter: Renter) -> Money:
    """Read the money of all parties from the chain: twice the same, for the node collects shares
    when it likes.
    """
    found = read_money(stack, renter)
    while (again := read_money(stack, renter)) != found:
        found = again
    return found


def read_money(stack: Stack, renter: Renter) -> Money:
    chain = renter.client.chain
    token = renter.client.connection.deployment.tokens[0].address
    parties = {p: load_key_file(key_file(stack.folder.keys, p)).address for p in PARTIES}
    parties["renter"] = renter.client.address

    def held(address: str) -> int:
        credit = chain.view(chain.escrow.credit_of(token, address))
        return chain.token_balance(token, address) + credit

    tokens = {party: held(address) for party, address in parties.items()}
    tokens["shares"] = sum(chain.view(chain.escrow.accrued_of(token)))
    return Money(tokens, chain.balance(parties["relayer"]))


def assert_relayed(renter: Renter, before: Money, after: Money, paid: int) -> None:
    chain, token = renter.client.chain, renter.client.connection.deployment.tokens[0].address
    assert chain.balance(renter.client.address) == 0, "nobody needed the coin"
    assert chain.view(Token(token).allowance(renter.client.address, chain.escrow.address)) == 0
    assert after.gained(before, "renter") == -(paid + FEE)
    assert after.gained(before, "relayer") == FEE
    assert after.relayer_wei < before.relayer_wei, "it paid the chain's fees"
    assert after.total == before.total, "nothing was lost, and nothing came from nowhere"


def assert_receipt_holds(renter: Renter, job: Job) -> None:
    report = verify(
        load_receipt(job.receipt()),
        renter.client.chain,
        artifacts=renter.client.home.artifacts(job.id),
        record=job.record,
    )
    assert report.holds, report.findings


def test_when_a_renter_holds_tokens_only_then_its_job_completes_and_is_paid(
    stack: Stack, poor: Renter
) -> None:
    """The first node that it asks takes every call, says that it is done, and does nothing."""
    before = look(stack, poor)
    liar = LyingRelayer(poor.client.connection.deployment.tokens[0].address)
    with liar.serve() as url:
        nodes = ["--market", url, "--market", poor.client.connection.markets[0]]
        done = gridlease(
            "run", str(DIGITS), "--json", *nodes, environ=poor.environ(stack), timeout_s=800
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert liar.asked == ["/v1/relays/openings", "/v1/relays/withdrawals"]
    assert "for a relay fee of at most 0.001 tUSD" in " ".join(done.stderr.split())
    status = read_json(done.stdout)
    assert status["verdict"] == Verdict.COMPLETED
    assert status["relay_fee"] == str(FEE)

    job = poor.client.job("last")
    (paid,) = (
        event
        for event in poor.client.chain.events(
            poor.client.chain.deployment.start_block,
            poor.client.chain.head(),
            topic=bytes.fromhex(job.lease_id[2:]),
        )
        if isinstance(event, RelayerPaid)
    )
    assert job.record.open_tx == "0x" + paid.tx_hash.hex()
    assert_receipt_holds(poor, job)
    done = gridlease("wallet", "withdraw", environ=poor.environ(stack))
    assert done.returncode == 0, done.stderr
    assert poor.client.credit(job.terms.token) == 0
    assert_relayed(poor, before, look(stack, poor), int(status["paid"]))


def test_when_a_renter_holds_tokens_only_then_it_stops_a_lease_and_withdraws_the_rest(
    stack: Stack, poor: Renter
) -> None:
    before = look(stack, poor)
    job = poor.client.run(DIGITS)
    for update in job.watch():
        if update.status is not None and update.status.segments_done >= STOP_AFTER_SEGMENTS:
            break
    done = gridlease("cancel", job.id, environ=poor.environ(stack))
    assert done.returncode == 0, done.stderr
    assert "a marketplace node sent the stop, free of charge" in done.stdout
    status = finish(job)

    account = status.account
    assert status.verdict is Verdict.RENTER_STOPPED
    assert account.refunded == job.terms.cost - account.paid > 0
    assert poor.client.credit(job.terms.token) == account.refunded
    done = gridlease("wallet", "withdraw", environ=poor.environ(stack))
    assert done.returncode == 0, done.stderr
    assert "sent by a marketplace node, free of charge" in done.stdout
    assert poor.client.credit(job.terms.token) == 0
    assert_relayed(poor, before, look(stack, poor), account.paid)
    job.artifacts()
    assert_receipt_holds(poor, job)
