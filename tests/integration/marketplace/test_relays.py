"""Relayed calls on a real chain: once each, whatever dies, and no gas for what cannot be."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from client_sdk.chain.signing import sign, split
from client_sdk.chain.token_domain import token_domain
from client_sdk.chain.wallet import save_key_file
from client_sdk.protocol.authorizations import ReceiveWithAuthorization
from client_sdk.protocol.consents import Stop
from client_sdk.protocol.terms import Terms
from contracts.bindings import Token
from contracts.events import Opened, RelayerPaid
from marketplace.clock import now
from marketplace.context import Market
from marketplace.models import OutboxItem
from marketplace.outbox.relay import Relay
from marketplace.outbox.service import deliver
from marketplace.relays import service
from marketplace.relays.schemas import AuthorizationBody, RelayAnswer
from marketplace.relays.tasks import handlers
from tests.support.delivery import Worker, sweeping, until, write_config
from tests.support.market import key
from tests.support.market_story import DEPLOYER, WORKER, Story

FEE = 500
POOR = key(301)
"""Holds tokens and nothing else."""
_relayers = itertools.count(401)


@dataclass
class Relayer:
    """A node that carries calls, and its account."""

    story: Story
    market: Market
    address: str

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget everything that is not on disk, as after kill -9."""
        chain = self.story.chain
        relay = Relay(self.market, chain, self.market.settings.relayer_key_file)
        self.handlers = handlers(self.market, chain, relay)

    async def add(self, asked: service.Asked) -> RelayAnswer:
        async with self.market.database.writing() as session:
            return await service.add(session, self.market, asked, now())

    async def open(self, terms: Terms, **values: Any) -> RelayAnswer:
        given = authorize(self.story, terms, **values)
        signature = "0x" + sign(terms, self.story.chain.domain, WORKER).hex()
        account = POOR.address.lower()
        return await self.add(service.opening(self.market, terms, signature, given, account, now()))

    async def stop(self, terms: Terms) -> RelayAnswer:
        consent = Stop(lease_id=terms.lease_id(self.story.chain.domain))
        signature = "0x" + sign(consent, self.story.chain.domain, POOR).hex()
        return await self.add(service.stop(self.market, terms, signature, POOR.address.lower()))

    async def withdraw(self, name: str) -> RelayAnswer:
        account = POOR.address.lower()
        return await self.add(service.withdrawal(self.market, self.story.token, name, account))

    async def step(self) -> None:
        """Deliver what waits, due or not, and mine a block."""
        async with self.market.database.writing() as session:
            items = (await session.scalars(select(OutboxItem))).all()
            for item in items:
                item.due_at = now()
        for item in items:
            await deliver(self.market, self.handlers, item.item_id)
        self.story.mine()

    async def until(self, asked: RelayAnswer, *states: str) -> RelayAnswer:
        for _ in range(20):
            async with self.market.database.reading() as session:
                told = await service.state(session, asked.request_id, POOR.address.lower())
            if told.state in states:
                return told
            await self.step()
        raise AssertionError(told)

    @property
    def num_sent(self) -> int:
        return self.story.chain.nonce(self.address)


def authorize(story: Story, terms: Terms, **values: Any) -> AuthorizationBody:
    """What the renter signs; `values` are changed before, and `tampered` after signing."""
    tampered = values.pop("tampered", {})
    fields = {
        "from_": POOR.address,
        "to": story.deployment.escrow,
        "value": terms.cost + FEE,
        "valid_after": 0,
        "valid_before": story.chain.now() + 300,
        "nonce": terms.lease_id(story.chain.domain),
    }
    signed = ReceiveWithAuthorization(**(fields | values))
    signature = sign(signed, token_domain(story.chain, story.token), POOR)
    body = {
        "relay_fee": str(FEE),
        "valid_after": signed.valid_after,
        "valid_before": signed.valid_before,
        "signature": "0x" + signature.hex(),
    }
    return AuthorizationBody(**(body | tampered))


@pytest.fixture
def terms(story: Story) -> Terms:
    story.do(DEPLOYER, Token(story.token).mint(POOR.address, 10**9))
    story.stake()
    return story.terms(story.list_machine(), renter=POOR.address)


@pytest.fixture
async def relayer(story: Story, open_node: Callable[..., Any], tmp_path: Path) -> Relayer:
    account = key(next(_relayers))
    story.anvil.fund(account)
    save_key_file(tmp_path / "relayer.key", account)
    node = await open_node(
        "node",
        relayer_key_file=tmp_path / "relayer.key",
        relay={story.deployment.tokens[0].symbol: {"open_fee": FEE, "min_collect": 100}},
    )
    return Relayer(story, node, account.address)


def opened(story: Story, terms: Terms) -> list[Any]:
    lease_id = terms.lease_id(story.chain.domain)
    events = story.chain.events(0, story.chain.head(), topic=lease_id)
    return [event for event in events if isinstance(event, Opened | RelayerPaid)]


async def test_when_a_renter_has_no_coin_then_a_lease_is_opened_stopped_and_paid_out(
    story: Story, relayer: Relayer, terms: Terms
) -> None:
    chain, escrow = story.chain, story.escrow
    held = chain.token_balance(story.token, POOR.address)
    told = await relayer.until(await relayer.open(terms), "confirmed")
    _, paid = opened(story, terms)
    assert told.transactions == ["0x" + paid.tx_hash.hex()]
    assert (paid.relayer, paid.amount) == (relayer.address, FEE)
    assert chain.view(escrow.credit_of(story.token, relayer.address)) == FEE

    await relayer.until(await relayer.stop(terms), "confirmed")
    story.pass_time(terms.commit_grace + 1)
    story.close(terms)
    assert chain.view(escrow.credit_of(story.token, POOR.address)) == terms.cost
    await relayer.until(await relayer.withdraw("first"), "confirmed")
    told = await relayer.until(await relayer.withdraw("second"), "refused")
    assert told.refusal == "BelowMinWithdrawal"
    assert chain.token_balance(story.token, POOR.address) == held - FEE
    assert chain.balance(POOR.address) == chain.nonce(POOR.address) == 0
    assert relayer.num_sent == 3


@pytest.mark.parametrize(
    ("values", "refusal"),
    [
        ({"tampered": {"relay_fee": str(10 * FEE)}}, "ERC3009InvalidSignature"),
        ({"tampered": {"signature": "0x" + "11" * 64 + "1b"}}, None),
        ({"nonce": bytes([9]) * 32}, "ERC3009InvalidSignature"),
        ({"to": WORKER.address}, "ERC3009InvalidSignature"),
        ({"value": 1}, "ERC3009InvalidSignature"),
        ({"valid_after": 1 << 40}, "ERC3009InvalidAuthorizationTime"),
    ],
    ids=["fee", "signature", "lease", "receiver", "value", "too early"],
)
async def test_when_the_contract_would_refuse_then_no_gas_is_spent(
    story: Story, relayer: Relayer, terms: Terms, values: dict[str, Any], refusal: str | None
) -> None:
    told = await relayer.until(await relayer.open(terms, **values), "refused")
    assert refusal in (None, told.refusal)
    assert (told.transactions, relayer.num_sent) == ([], 0)
    assert opened(story, terms) == []


async def test_when_it_expires_before_it_is_sent_then_no_gas_is_spent(
    story: Story, relayer: Relayer, terms: Terms
) -> None:
    asked = await relayer.open(terms)
    story.pass_time(400)
    told = await relayer.until(asked, "refused")
    assert told.refusal == "ERC3009InvalidAuthorizationTime"
    assert relayer.num_sent == 0


async def test_when_a_lease_is_asked_for_twice_then_it_is_opened_once(
    story: Story, relayer: Relayer, terms: Terms
) -> None:
    first = await relayer.open(terms)
    again = await relayer.open(terms, valid_before=story.chain.now() + 200)
    assert first == again, "both would pass the trial, and one cost gas for nothing"
    await relayer.until(first, "confirmed")
    late = await relayer.open(terms, valid_before=story.chain.now() + 100)
    assert (await relayer.until(late, "refused")).refusal == "LeaseExists"
    assert len(opened(story, terms)) == 2, "opened once, and one fee"
    assert relayer.num_sent == 1


async def test_when_the_node_dies_between_sending_and_writing_back_then_it_is_sent_once(
    story: Story, relayer: Relayer, terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    from marketplace.outbox import service as outbox

    asked = await relayer.open(terms)
    write_back = outbox._write_back

    async def die(*_: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(outbox, "_write_back", die)
    with pytest.raises(asyncio.CancelledError):
        await relayer.step()
    assert len(opened(story, terms)) == 2, "it was sent"
    monkeypatch.setattr(outbox, "_write_back", write_back)
    async with relayer.market.database.writing() as session:
        item = await session.get(OutboxItem, asked.request_id)
        assert item is not None
        item.lock_expires_at = now()  # the lock of the dead runs out
    relayer.restart()
    await relayer.until(asked, "confirmed")
    assert len(opened(story, terms)) == 2
    assert relayer.num_sent == 1


async def test_when_the_process_is_killed_again_and_again_then_each_lease_is_opened_once(
    story: Story,
    relayer: Relayer,
    terms: Terms,
    valkey: Any,
    tmp_path: Path,
    workers: Callable[[Path], Worker],
) -> None:
    before = relayer.market.settings
    # The openings alone are counted here: no fees are withdrawn when they come to enough.
    rates = {
        symbol: known.model_copy(update={"min_collect": None})
        for symbol, known in before.relay.items()
    }
    settings = before.model_copy(
        update={
            "broker_url": valkey.url,
            "outbox_lock_s": 2.0,
            "sweep_interval_s": 0.2,
            "collect_interval_s": 1,
            "relay": rates,
        }
    )
    market = replace(relayer.market, settings=settings)
    worker = workers(await write_config(market, tmp_path / "config.json"))
    leases = [replace(terms, nonce=terms.nonce + number) for number in range(1, 4)]

    async def told(asked: RelayAnswer) -> RelayAnswer:
        async with market.database.reading() as session:
            return await service.state(session, asked.request_id, POOR.address.lower())

    async def is_sent() -> bool:
        return (await told(asked)).state in ("sent", "confirmed")

    async def is_taken() -> bool:
        async with market.database.reading() as session:
            item = await session.get(OutboxItem, asked.request_id)
        assert item is not None
        return bool(item.lock_token or item.result)

    async def is_over() -> bool:
        return {(await told(one)).state for one in all_asked} == {"confirmed"}

    all_asked = []
    async with sweeping(market, story):
        for lease in leases:
            asked = await relayer.open(lease)
            all_asked.append(asked)
            worker.start()
            await until(is_taken if lease is leases[0] else is_sent)
            worker.kill()
        worker.start()
        await until(is_over)
    assert [len(opened(story, lease)) for lease in leases] == [2, 2, 2]
    assert relayer.num_sent == len(leases)


async def test_when_a_reorganisation_loses_the_opening_then_it_is_sent_again(
    story: Story, relayer: Relayer, terms: Terms
) -> None:
    asked = await relayer.open(terms)
    await relayer.step()
    assert len(opened(story, terms)) == 2
    story.reorganise(2)
    assert opened(story, terms) == []
    relayer.restart()
    await relayer.until(asked, "confirmed")
    assert len(opened(story, terms)) == 2
    assert relayer.num_sent == 1


async def test_when_the_relayer_has_no_gas_then_the_call_waits_for_it(
    story: Story, relayer: Relayer, terms: Terms
) -> None:
    story.anvil.rpc("anvil_setBalance", relayer.address, "0x0")
    asked = await relayer.open(terms)
    for _ in range(3):
        await relayer.step()
    async with relayer.market.database.reading() as session:
        told = await service.state(session, asked.request_id, POOR.address.lower())
    assert (told.state, told.problem) == ("queued", "InsufficientFunds")
    assert opened(story, terms) == []
    story.anvil.rpc("anvil_setBalance", relayer.address, hex(10**18))
    await relayer.until(asked, "confirmed")


async def test_when_another_relayer_is_faster_then_this_one_spends_nothing(
    story: Story, relayer: Relayer, terms: Terms
) -> None:
    asked = await relayer.open(terms)
    given = authorize(story, terms)
    packed = (FEE, 0, given.valid_before, *split(bytes.fromhex(given.signature[2:])))
    call = story.escrow.open_with_authorization(
        terms.abi_tuple(), sign(terms, story.chain.domain, WORKER), packed
    )
    story.do(DEPLOYER, call)
    told = await relayer.until(asked, "refused")
    assert (told.refusal, relayer.num_sent) == ("LeaseExists", 0)


async def test_when_shares_have_accrued_then_they_are_collected_once_they_are_worth_it(
    story: Story, relayer: Relayer, terms: Terms
) -> None:
    from marketplace.outbox import repository as outbox
    from marketplace.outbox.kinds import RELAY_COLLECT

    async def collect(slot: int) -> None:
        async with relayer.market.database.writing() as session:
            name = f"{RELAY_COLLECT}:{slot}"
            await outbox.add(session, RELAY_COLLECT, name, {"slot": slot}, now=now())
        for _ in range(4):
            await relayer.step()

    await collect(1)
    assert relayer.num_sent == 0, "there is nothing"
    await relayer.until(await relayer.open(terms), "confirmed")
    story.commit(terms, terms.segments)
    story.pass_time(terms.window + 1)
    story.settle(terms)
    fees, shares = story.chain.view(story.escrow.accrued_of(story.token))
    assert fees + shares >= 100
    await collect(2)
    assert story.chain.view(story.escrow.accrued_of(story.token)) == (0, 0)
    treasury = story.chain.view(story.escrow.treasury())
    assert story.chain.view(story.escrow.credit_of(story.token, treasury)) == fees
    assert story.chain.token_balance(story.token, relayer.address) == FEE
    assert relayer.num_sent == 3, "opening, collecting, its own fee"


async def test_when_a_stop_is_for_a_lease_that_is_over_then_no_gas_is_spent(
    story: Story, relayer: Relayer, terms: Terms
) -> None:
    never = replace(terms, nonce=terms.nonce + 1)
    told = await relayer.until(await relayer.stop(never), "refused")
    assert (told.refusal, relayer.num_sent) == ("LeaseNotLive", 0)
