"""The exchange between auditor and worker: blind, in order, and tied to the commit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy.event

from client_sdk.chain.signing import is_signed_by
from client_sdk.protocol.ids import IdKind, new_id
from client_sdk.protocol.messages import AuditorKey, AuditReport
from client_sdk.protocol.records import BoundaryOpening, SegmentRecord, StepDigests, open_boundary
from client_sdk.protocol.states import LIVE_AUDITS, AuditKind, AuditState
from client_sdk.protocol.trace import trace_root
from marketplace.artifacts import repository as artifact_rows
from marketplace.artifacts import service as artifacts
from marketplace.audits import assignments, pages, repository
from marketplace.clock import now
from marketplace.errors import QuotaExceeded
from marketplace.receipts import service as receipts
from tests.support.market import (
    ARBITER,
    AUDITOR,
    OPERATOR,
    RENTER,
    STRANGER,
    Rented,
    World,
    content,
    hex32,
    rent,
    replaced,
)

SALT = bytes([4]) * 32


class Work:
    """Made-up segments with a real trace."""

    def __init__(self, lease_id: str, num_segments: int = 4) -> None:
        self.records = [
            SegmentRecord(
                lease_id=bytes.fromhex(lease_id[2:]),
                segment=number,
                first_step=2 * number,
                steps=(StepDigests(bytes([number]) * 32, bytes(32)),) * 2,
                final=number == num_segments - 1,
                state_hash=bytes([100 + number]) * 32,
            )
            for number in range(num_segments)
        ]
        self.roots = [record.root(SALT) for record in self.records]

    def opening(self, segment: int) -> BoundaryOpening:
        return open_boundary(self.records[segment], SALT, self.roots)


@pytest.fixture
async def drawn(world: World) -> tuple[Rented, Work, dict[str, Any]]:
    """A lease with one commit, audited by the one registered auditor."""
    rented = await rent(world)
    work = Work(rented.lease_id)
    root = "0x" + trace_root(work.roots).hex()
    await world.apply(
        world.event("Committed", lease_id=rented.lease_id, up_to=4, trace_root=root, root=hex32(8))
    )
    for account in (AUDITOR, ARBITER):
        role = "auditor" if account is AUDITOR else "arbiter"
        assert (await world.register_auditor(account, role=role)).status_code == 201
    place = (world.block, world.log_index)
    for _ in range(2):  # a second delivery draws the same
        async with world.market.database.writing() as session:
            args = (session, world.market, place, hex32(world.block), bytes(32), now())
            assert await assignments.draw(*args) == 1
    (audit,) = (await world.request(AUDITOR, "GET", "/audits")).json()["audits"]
    return rented, work, audit


async def post(world: World, account: Any, audit: dict[str, Any], what: str, body: Any) -> Any:
    return await world.request(account, "POST", f"/audits/{audit['audit_id']}/{what}", json=body)


async def hand_inputs(world: World, rented: Rented, audit: dict[str, Any]) -> Any:
    order = (await world.request(OPERATOR, "GET", "/worker/orders?state=opened")).json()
    artifacts = order["orders"][0]["artifacts"]
    given = {key: artifacts[key] for key in ("manifest", "bundle", "data")}
    body = {"sealed_key": "AAAA", "artifacts": given}
    return await post(world, OPERATOR, audit, "inputs", body)


async def test_when_a_provider_gave_bytes_to_an_audit_then_as_many_again_find_room(
    world: World, drawn: Any
) -> None:
    rented, _, audit = drawn
    limited = world.market.settings.model_copy(update={"max_account_bytes": 1_000})
    market = replace(world.market, settings=limited)
    account, moment = OPERATOR.address.lower(), now()

    async def room(size: int) -> bool:
        async with world.market.database.writing() as session:
            try:
                upload = await artifacts.reserve(session, market, "0" * 64, size, account, moment)
            except QuotaExceeded:
                return False
            await artifact_rows.release(session, upload)
            return True

    async def give(*digests: str) -> None:
        names = {f"item{place}": digest for place, digest in enumerate(digests[1:])}
        named = {"manifest": digests[0], "bundle": digests[0], "data": names}
        body = {"sealed_key": "AAAA", "artifacts": named}
        assert (await post(world, OPERATOR, audit, "inputs", body)).status_code == 200

    first = await world.put(OPERATOR, b"a" * 900)
    assert not await room(900)
    others = await world.put(RENTER, b"r" * 900)
    async with world.market.database.writing() as session:
        await artifact_rows.grant(session, [others], account, rented.lease_id, moment)
    await give(others)
    assert not await room(900), "another's bytes make no room"
    await give(first)
    assert await room(1_000)
    second = await world.put(OPERATOR, b"b" * 900)
    await give(first, second)
    assert await room(200)
    assert not await room(201), "no more than as much again"


def report_of(world: World, rented: Rented, audit: dict[str, Any], state_hash: bytes) -> Any:
    message = AuditReport(
        lease_id=bytes.fromhex(rented.lease_id[2:]),
        segment=audit["segment"],
        state_hash=state_hash,
        at=1,
    )
    return {"report": message.to_json(), "signature": world.signed(message, AUDITOR)}


@pytest.mark.parametrize("honest", [True, False])
async def test_when_both_sides_keep_to_the_order_then_the_outcome_is_theirs(
    world: World, drawn: Any, honest: bool
) -> None:
    rented, work, audit = drawn
    segment = audit["segment"]
    assert (await hand_inputs(world, rented, audit)).json()["state"] == "inputs_ready"
    digest = content(b"manifest" + RENTER.address.encode() + (1).to_bytes(8, "big"))
    assert (await world.request(AUDITOR, "GET", f"/artifacts/{digest}")).status_code == 200
    opening = {"opening": work.opening(segment).to_json()}
    early = await post(world, OPERATOR, audit, "opening", opening)
    assert (early.status_code, early.json()["error"]["code"]) == (409, "audit_not_reported")

    mine = work.records[segment].state_hash if honest else bytes([9]) * 32
    body = report_of(world, rented, audit, mine)
    for _ in range(2):
        answer = await post(world, AUDITOR, audit, "report", body)
        assert answer.json()["state"] == "reported"
    seen = (await world.request(OPERATOR, "GET", f"/audits/{audit['audit_id']}")).json()
    assert (seen["reported"], seen["report"]) == (True, None), "blind until it has opened"
    second = report_of(world, rented, audit, bytes([8]) * 32)
    assert (await post(world, AUDITOR, audit, "report", second)).status_code == 409

    again = await hand_inputs(world, rented, audit)
    assert again.json()["error"]["code"] == "audit_over", "other inputs after the report"

    opened = (await post(world, OPERATOR, audit, "opening", opening)).json()
    assert (opened["state"], opened["report"]["state_hash"]) == ("opened", "0x" + mine.hex())
    results = ("agreed", "mismatch") if honest else ("mismatch", "agreed")
    lie = await post(world, AUDITOR, audit, "outcome", {"result": results[1]})
    assert lie.json()["error"]["code"] == "report_refused"
    for _ in range(2):
        answer = await post(world, AUDITOR, audit, "outcome", {"result": results[0]})
        assert answer.json()["state"] == results[0]
    live = "&".join(f"state={state}" for state in LIVE_AUDITS)
    for query, shown in ((live, 0), (f"{live}&state={results[0]}", 1)):
        rows = (await world.request(AUDITOR, "GET", f"/audits?role=auditor&{query}")).json()
        assert len(rows["audits"]) == shown


async def test_when_an_opening_is_forged_then_it_is_refused(world: World, drawn: Any) -> None:
    rented, work, audit = drawn
    await hand_inputs(world, rented, audit)
    await post(world, AUDITOR, audit, "report", report_of(world, rented, audit, bytes(32)))
    right = work.opening(audit["segment"])
    for change in (
        {"state_hash": bytes(32)},
        {"salt": bytes(32)},
        {"end_step": right.end_step + 1},
        {"segment": (right.segment + 1) % 4},
        {"up_to": 3},
    ):
        forged = {"opening": replaced(right, **change).to_json()}
        answer = await post(world, OPERATOR, audit, "opening", forged)
        assert answer.status_code == 400, change
    late = await post(world, STRANGER, audit, "opening", {"opening": right.to_json()})
    assert late.status_code == 404


async def test_when_a_report_is_not_the_auditors_then_it_is_refused(
    world: World, drawn: Any
) -> None:
    rented, _, audit = drawn
    body = report_of(world, rented, audit, bytes(32))
    before = await post(world, AUDITOR, audit, "report", body)
    assert before.json()["error"]["code"] == "audit_over", "no inputs yet"
    await hand_inputs(world, rented, audit)
    stolen = await post(world, STRANGER, audit, "report", body)
    assert stolen.json()["error"]["code"] == "signature_refused"
    other = AuditReport(lease_id=bytes(32), segment=audit["segment"], state_hash=bytes(32), at=1)
    elsewhere = replaced(AuditReport.from_json(body["report"]), segment=(audit["segment"] + 1) % 4)
    for message in (other, elsewhere):
        wrong = {"report": message.to_json(), "signature": world.signed(message, AUDITOR)}
        answer = await post(world, AUDITOR, audit, "report", wrong)
        assert answer.json()["error"]["code"] == "report_refused"


async def test_when_a_commit_is_challenged_then_the_arbiter_gets_the_exchange(
    world: World, drawn: Any
) -> None:
    rented, _, _ = drawn
    challenged = world.event(
        "Challenged",
        lease_id=rented.lease_id,
        challenger=AUDITOR.address.lower(),
        segment=2,
        bond="5",
    )
    await world.apply(challenged)
    market = world.market
    for _ in range(2):
        async with market.database.writing() as session:
            await assignments.follow_disputes(session, market, [challenged], now())
    (audit,) = (await world.request(ARBITER, "GET", "/audits?role=auditor")).json()["audits"]
    assert (audit["kind"], audit["segment"], audit["commit"]["up_to"]) == ("arbitration", 2, 4)
    assert (await world.lease_facts(rented.lease_id)).state == "disputed"
    ruled = world.event(
        "Ruled", lease_id=rented.lease_id, fraud=True, good_segments=2, slashed_to_renter="9",
        challenger=AUDITOR.address.lower(), slashed_to_challenger="1",
        bonds_to_provider="0", bonds_to_audit_pool="0",
    )  # fmt: skip
    closed = world.event("Closed", lease_id=rented.lease_id, cause=5, paid_segments=0, refund="7")
    await world.apply(ruled, closed)
    async with market.database.writing() as session:
        await assignments.follow_disputes(session, market, [ruled], now())
    async with market.database.writing() as session:
        assert await receipts.write(session, market, rented.lease_id, closed.block_hash, now())
    receipt = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}/receipt")).json()
    assert receipt["verdict"] == "proof_rejected"
    assert receipt["amounts"]["slashed_to_renter"] == "9"
    assert {a["result"] for a in receipt["audits"]} == {"ruled_fraud", "expired"}
    assert [e["name"] for e in receipt["events"]][-1] == "Closed"


async def test_when_an_attestation_ends_a_dispute_then_the_arbiter_has_nothing_to_rule(
    world: World, drawn: Any
) -> None:
    rented, _, _ = drawn
    market, lease_id = world.market, rented.lease_id
    auditor = AUDITOR.address.lower()
    challenged = world.event(
        "Challenged", lease_id=lease_id, challenger=auditor, segment=2, bond="5"
    )
    await world.apply(challenged)
    async with market.database.writing() as session:
        await assignments.follow_disputes(session, market, [challenged], now())
    attested = world.event("Unretrievable", lease_id=lease_id, good_segments=1)
    await world.apply(attested)
    async with market.database.writing() as session:
        await assignments.follow_disputes(session, market, [attested], now())
    async with market.database.reading() as session:
        (row,) = [a for a in await repository.of_leases(session, market.scope, [lease_id])
                  if a.kind == AuditKind.ARBITRATION]  # fmt: skip
    assert row.state == AuditState.RULED
    facts = await world.lease_facts(lease_id)
    assert (facts.state, facts.pending_segments, facts.is_unretrievable) == ("active", 1, True)
    answer = (await world.request(RENTER, "GET", f"/leases/{lease_id}")).json()
    assert [(c["ruling"], c["is_demand"]) for c in answer["challenges"]] == [
        ("unretrievable", False)
    ]


async def test_when_data_are_demanded_then_the_arbiter_gets_the_exchange_as_for_a_challenge(
    world: World, drawn: Any
) -> None:
    rented, _, _ = drawn
    lease, account = {"lease_id": rented.lease_id}, AUDITOR.address.lower()
    demanded = world.event("DataDemanded", **lease, demander=account, segment=2, bond="5")
    await world.apply(demanded)
    market = world.market
    async with market.database.writing() as session:
        await assignments.follow_disputes(session, market, [demanded], now())
    (audit,) = (await world.request(ARBITER, "GET", "/audits?role=auditor")).json()["audits"]
    assert (audit["kind"], audit["segment"], audit["commit"]["up_to"]) == ("arbitration", 2, 4)
    assert (audit["draw"]["challenger"], audit["draw"]["is_demand"]) == (account, True)
    attested = world.event("Unretrievable", **lease, good_segments=2)
    closed = world.event("Closed", **lease, cause=7, paid_segments=2, refund="7")
    await world.apply(attested, closed)
    async with market.database.writing() as session:
        await assignments.follow_disputes(session, market, [attested], now())
    async with market.database.writing() as session:
        assert await receipts.write(session, market, rented.lease_id, closed.block_hash, now())
    receipt = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}/receipt")).json()
    assert receipt["verdict"] == "provider_fault"
    assert {a["result"] for a in receipt["audits"]} == {"unretrievable", "expired"}


async def test_when_an_auditor_registers_then_its_signed_key_is_served(world: World) -> None:
    answer = await world.register_auditor(AUDITOR)
    assert answer.status_code == 201
    (row,) = (await world.request(None, "GET", "/auditors")).json()["auditors"]
    assert row == answer.json() | {"seen_at": row["seen_at"]}
    key = AuditorKey.from_json(row["key"])
    assert key.auditor == row["address"] == AUDITOR.address
    signature = bytes.fromhex(row["key_signature"][2:])
    assert is_signed_by(key, world.market.domain, signature, AUDITOR.address)


async def test_when_many_are_registered_then_they_are_read_page_by_page(world: World) -> None:
    for account, role in ((AUDITOR, "auditor"), (AUDITOR, "arbiter"), (ARBITER, "arbiter")):
        assert (await world.register_auditor(account, role=role)).status_code == 201
    found: list[tuple[str, str]] = []
    query = "limit=1"
    for _ in range(3):
        page = (await world.request(None, "GET", f"/auditors?{query}")).json()
        found += [(row["address"].lower(), row["role"]) for row in page["auditors"]]
        query = f"limit=1&after={page['next']}"
    last = (await world.request(None, "GET", f"/auditors?{query}")).json()
    assert last == {"auditors": [], "next": None}
    both = [(AUDITOR.address.lower(), "arbiter"), (AUDITOR.address.lower(), "auditor")]
    assert found == sorted([*both, (ARBITER.address.lower(), "arbiter")])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"signer": STRANGER}, "signature_refused"),
        ({"auditor": STRANGER.address}, "message_refused"),
        ({"expires_at": 1}, "message_refused"),
    ],
)
async def test_when_a_key_is_not_the_auditors_own_then_it_is_refused(
    world: World, change: dict[str, Any], code: str
) -> None:
    answer = await world.register_auditor(AUDITOR, **change)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert (await world.request(None, "GET", "/auditors")).json()["auditors"] == []


async def test_when_nobody_may_audit_then_nobody_is_drawn(world: World) -> None:
    rented = await rent(world)
    event = world.event(
        "Committed", lease_id=rented.lease_id, up_to=1, trace_root=hex32(1), root=hex32(2)
    )
    await world.apply(event)
    async with world.market.database.writing() as session:
        drawn = await assignments.draw(
            session, world.market, event.place, event.block_hash, bytes(32), now()
        )
        gone = await assignments.draw(
            session, world.market, event.place, hex32(1), bytes(32), now()
        )
    assert (drawn, gone) == (0, 0)


async def test_when_the_receipt_is_not_written_then_the_answer_says_so(world: World) -> None:
    rented = await rent(world)
    answer = await world.request(RENTER, "GET", f"/jobs/{rented.job_id}/receipt")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "receipt_pending")


async def test_when_inputs_name_what_the_operator_cannot_read_then_they_are_refused(
    world: World, drawn: Any
) -> None:
    _, _, audit = drawn
    hidden = await world.put(STRANGER, b"somebody else's file")
    given = {"manifest": hidden, "bundle": hidden}
    body = {"sealed_key": "AAAA", "artifacts": given}
    answer = await post(world, OPERATOR, audit, "inputs", body)
    assert answer.json()["error"]["code"] == "artifact_unknown"
    # Nor does the auditor hand itself anything.
    mine = await world.put(AUDITOR, b"my own file")
    body["artifacts"] = {"manifest": mine, "bundle": mine}
    answer = await post(world, AUDITOR, audit, "inputs", body)
    assert answer.json()["error"]["code"] == "audit_unknown"


async def test_when_audits_are_listed_then_each_party_sees_its_own(
    world: World, drawn: Any
) -> None:
    for account, query, seen in (
        (AUDITOR, "", 1),
        (AUDITOR, "?role=operator", 0),
        (OPERATOR, "", 1),
        (OPERATOR, "?role=auditor", 0),
        (STRANGER, "", 0),
        (STRANGER, "?role=auditor", 0),
        (STRANGER, "?role=operator", 0),
    ):
        answer = await world.request(account, "GET", f"/audits{query}")
        assert len(answer.json()["audits"]) == seen, (account.address, query)


async def test_when_more_audits_wait_than_fit_in_a_page_then_the_newest_is_reached(
    world: World, drawn: Any
) -> None:
    _, _, first = drawn
    market = world.market
    async with market.database.writing() as session:
        row = await repository.find(session, market.scope, first["audit_id"])
        assert row is not None
        names = ("kind", "lease_id", "operator", "segment", "auditor", "draw", "state")
        names += ("created_at", "updated_at", "expires_at")
        kept = {name: getattr(row, name) for name in names}
        more = [
            {**kept, "cause": f"cause:{number}", "audit_id": new_id(IdKind.AUDIT)}
            for number in range(210)
        ]
        await repository.add(session, market.scope, more)
    wanted = {first["audit_id"], *(audit["audit_id"] for audit in more)}
    live = "&".join(f"state={state}" for state in LIVE_AUDITS)
    for account, role in ((AUDITOR, "auditor"), (OPERATOR, "operator")):
        seen: list[str] = []
        after = ""
        for num_rows in (200, 11):
            page = await world.request(account, "GET", f"/audits?role={role}&{live}{after}")
            answer = page.json()
            assert len(answer["audits"]) == num_rows
            seen += [audit["audit_id"] for audit in answer["audits"]]
            after = f"&after={answer['next']}"
        assert answer["next"] is None
        assert seen == sorted(wanted)


@pytest.mark.parametrize("account", [AUDITOR, OPERATOR], ids=["auditor", "operator"])
async def test_when_one_lease_has_many_audits_then_those_of_others_come_before_them(
    world: World, drawn: Any, account: Any
) -> None:
    _, _, first = drawn
    market = world.market
    async with market.database.writing() as session:
        row = await repository.find(session, market.scope, first["audit_id"])
        assert row is not None
        names = ("kind", "lease_id", "operator", "auditor", "draw", "state")
        names += ("created_at", "updated_at", "expires_at")
        kept = {name: getattr(row, name) for name in names} | {"cause": "cause", "state": "opened"}
        # Pointed ever lower, as challenges are; and then the first of another lease.
        segments = [(hex32(70), 50 - n) for n in range(50)] + [(hex32(71), 900)]
        more = [
            {**kept, "lease_id": lease_id, "segment": n, "audit_id": new_id(IdKind.AUDIT)}
            for lease_id, n in segments
        ]
        await repository.add(session, market.scope, more)
    seen: list[tuple[str, int]] = []
    after = ""
    while True:
        page = await world.request(account, "GET", f"/audits?state=opened&limit=7{after}")
        rows = page.json()["audits"]
        seen += [(row["lease_id"], row["segment"]) for row in rows]
        # What ends between two pages moves no other row out of the walk.
        async with market.database.writing() as session:
            for done in rows[:3]:
                state = AuditState.EXPIRED
                assert await repository.move(session, done["audit_id"], state, now())
        if page.json()["next"] is None:
            break
        after = f"&after={page.json()['next']}"
    assert set(seen[:2]) == {(hex32(70), 1), (hex32(71), 900)}, "the lowest of each"
    assert sorted(seen) == sorted(segments), "each once"


@pytest.mark.parametrize("role", [None, "auditor", "operator"])
async def test_when_live_audits_are_listed_then_those_that_ended_long_ago_are_not_read(
    world: World, role: str | None
) -> None:
    market, asked = world.market, []

    def keep(_connection: Any, _cursor: Any, text: str, values: Any, *_: Any) -> None:
        asked.append((text, values))

    engine = market.database.engine
    sqlalchemy.event.listen(engine.sync_engine, "before_cursor_execute", keep)
    async with market.database.reading() as session:
        account, after = AUDITOR.address.lower(), pages.Place.start(now())
        await pages.page(
            session, market.scope, account, role=role, states=["opened"], after=after, limit=20
        )
    (text, values) = asked[-1]
    async with engine.connect() as connection:
        steps = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)
        searches = [step.detail for step in steps if " audits " in step.detail]
    assert searches
    found_by = ("=? AND state=?)", "=? AND updated_at>?)", "(audit_id=?)")
    assert [search for search in searches if not search.endswith(found_by)] == []


async def test_when_a_place_is_none_then_it_is_refused(world: World) -> None:
    answer = await world.request(AUDITOR, "GET", "/audits?after=adt_1")
    assert answer.status_code == 422


async def test_when_inputs_come_with_anything_else_than_an_opening_then_they_are_refused(
    world: World, drawn: Any
) -> None:
    # What one party hands over is in the other's list: it must not burst a page of that.
    _, _, audit = drawn
    artifacts = {"manifest": "0" * 64, "bundle": "0" * 64}
    body = {"sealed_key": "AAAA", "artifacts": artifacts, "opening": {"blob": "a" * 500_000}}
    answer = await post(world, OPERATOR, audit, "inputs", body)
    assert answer.json()["error"]["code"] == "message_refused"
