"""Transactions that the node orders and sends for leases whose parties went away."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from client_sdk.protocol.terms import Voucher
from contracts.bindings import Call
from marketplace.clock import now
from marketplace.indexer import repository as chain_rows
from marketplace.leases import tasks
from marketplace.leases.relay import due, order_due
from marketplace.models import OutboxItem
from marketplace.outbox.kinds import RELAY_CLOSE, RELAY_SETTLE, RELAY_TIMEOUT
from marketplace.outbox.service import Done, Outcome
from tests.support.market import RENTER, Rented, World, hex32, open_world, rent


async def ordered(world: World, head_after_s: float) -> list[str]:
    """Kinds of what is ordered when the chain's clock stands so long after the opening."""
    (lease,) = (await world.client.get("/v1/leases")).json()["leases"]
    await set_clock(world, lease["lease_id"], head_after_s)
    async with world.market.database.writing() as session:
        await order_due(session, world.market, now())
        found = await session.scalars(select(OutboxItem.kind))
        return [kind for kind in found if kind.startswith("relay.")]


async def set_clock(world: World, lease_id: str, after_s: float) -> None:
    """Let the chain's clock stand so long after the opening."""
    head_at = (await world.lease_facts(lease_id)).opened_at + timedelta(seconds=after_s)
    async with world.market.database.writing() as session:
        start = {"next_block": 0, "head_block": 0, "head_at": head_at, "confirmed_block": 0}
        await chain_rows.create_cursor(session, world.market.scope, start)
        await chain_rows.move_cursor(session, world.market.scope, 0, start)


async def commit(world: World, rented: Rented, up_to: int) -> None:
    values = {"up_to": up_to, "trace_root": hex32(7), "root": hex32(8)}
    await world.apply(world.event("Committed", lease_id=rented.lease_id, **values))


async def challenge(world: World, rented: Rented) -> None:
    values = {"challenger": RENTER.address.lower(), "segment": 2, "bond": "5"}
    await world.apply(world.event("Challenged", lease_id=rented.lease_id, **values))


async def test_when_the_chains_clock_is_behind_then_it_decides_and_not_ours(
    tmp_path: Path,
) -> None:
    key = tmp_path / "relayer.key"
    async with open_world(tmp_path, relayer_key_file=key, relay_grace_s=20) as world:
        await rent(world)
        assert await ordered(world, 320) == []
        assert await ordered(world, 321) == [RELAY_CLOSE]
        assert await ordered(world, 400) == [RELAY_CLOSE], "once"


async def test_when_the_node_has_no_relayer_then_it_orders_nothing(world: World) -> None:
    await rent(world)
    assert await ordered(world, 4_000) == []


async def test_when_more_is_committed_later_then_it_is_settled_again(world: World) -> None:
    rented = await rent(world)
    lease = await world.lease_facts(rented.lease_id)
    keys = set()
    for paid, pending, seconds in ((0, 3, 100), (3, 6, 100), (3, 6, 200)):
        lease = replace(
            lease,
            paid_segments=paid,
            pending_segments=pending,
            committed_at=lease.opened_at + timedelta(seconds=seconds),
        )
        call = due(lease)[0]
        assert call.kind == RELAY_SETTLE
        keys.add(call.key)
    assert len(keys) == 3


class Relay:
    """Keeps what it is asked to send; the chain refuses what it is told to."""

    def __init__(self, refused: str) -> None:
        self.sent: list[tuple[str, str]] = []
        self._refused = refused

    async def send(self, call: Call, key: str, *, try_first: bool) -> Outcome:
        assert try_first, "a refusal holds up nobody"
        name = call.name.partition(".")[2]
        self.sent.append((name, key))
        return Done({"refused": "SignatureInvalid"} if name == self._refused else {})


async def send(world: World, rented: Rented, kind: str, refused: str = "") -> list[tuple[str, str]]:
    relay = Relay(refused)
    given: Any = relay
    outcome = await tasks.handlers(world.market, given)[kind]({"lease_id": rented.lease_id})
    assert isinstance(outcome, Done)
    if not relay.sent:
        assert "refused" in outcome.result
    return relay.sent


@pytest.mark.parametrize(
    ("kind", "name", "num_pending", "is_disputed"),
    [
        (RELAY_SETTLE, "settle", 4, False),
        (RELAY_CLOSE, "close", 0, False),
        (RELAY_TIMEOUT, "timeoutDispute", 4, True),
    ],
)
async def test_when_an_item_is_done_then_this_is_called(
    world: World, kind: str, name: str, num_pending: int, is_disputed: bool
) -> None:
    rented = await rent(world)
    if num_pending:
        await commit(world, rented, num_pending)
    if is_disputed:
        await challenge(world, rented)
    await set_clock(world, rented.lease_id, 400)
    key = f"{kind}:{rented.lease_id}:0:{num_pending}"
    assert await send(world, rented, kind) == [(name, key)]


async def test_when_another_commit_came_first_then_its_window_is_not_waited_for_by_asking(
    world: World,
) -> None:
    rented = await rent(world)
    await commit(world, rented, 4)
    await set_clock(world, rented.lease_id, 21)
    assert len(await send(world, rented, RELAY_SETTLE)) == 1
    await commit(world, rented, 6)
    assert await send(world, rented, RELAY_SETTLE) == []
    await set_clock(world, rented.lease_id, 22)
    assert len(await send(world, rented, RELAY_SETTLE)) == 1


async def test_when_what_was_due_is_done_or_put_off_then_nothing_is_asked(world: World) -> None:
    rented = await rent(world)
    await commit(world, rented, 4)
    await set_clock(world, rented.lease_id, 400)
    assert await send(world, rented, RELAY_CLOSE) == [], "it may settle, not close"
    assert await send(world, rented, RELAY_TIMEOUT) == [], "there is no dispute"
    await challenge(world, rented)
    assert await send(world, rented, RELAY_SETTLE) == []


async def test_when_the_renter_signed_for_more_then_it_is_claimed_before_the_rest_goes_back(
    world: World,
) -> None:
    rented = await rent(world, window=0)
    voucher = Voucher(lease_id=bytes.fromhex(rented.lease_id[2:]), segments=4)
    body = {"voucher": voucher.to_json(), "signature": world.signed(voucher, RENTER)}
    path = f"/leases/{rented.lease_id}/vouchers"
    assert (await world.request(RENTER, "POST", path, json=body)).status_code == 200
    key = f"voucher:{rented.lease_id}:0:0:4"
    await set_clock(world, rented.lease_id, 4_000)
    assert await send(world, rented, RELAY_CLOSE) == [("settleVoucher", key)]
    disowned = await send(world, rented, RELAY_CLOSE, refused="settleVoucher")
    assert [name for name, _ in disowned] == ["settleVoucher", "close"]
    settled = {"to_provider": "1", "to_treasury": "0", "to_audit_pool": "0"}
    await world.apply(world.event("Settled", lease_id=rented.lease_id, paid_segments=4, **settled))
    ((name, _),) = await send(world, rented, RELAY_CLOSE)
    assert name == "close"


async def test_when_the_chain_took_the_lease_back_then_nothing_is_sent(world: World) -> None:
    rented = await rent(world, opened=False)
    assert await send(world, rented, RELAY_CLOSE) == []
