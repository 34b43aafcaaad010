"""Receipts: JSON form, and every lie that the chain contradicts."""

from __future__ import annotations

import dataclasses

import pytest

from client_sdk.protocol.canonical import ZERO_HASH, canonical_json, parse_json, to_hex
from client_sdk.protocol.eip712 import Domain
from client_sdk.protocol.errors import MessageError
from client_sdk.protocol.messages import AuditReport
from client_sdk.protocol.money import split_payment
from client_sdk.protocol.receipt import (
    Amounts,
    ArtifactKind,
    AuditResult,
    ChainEvent,
    Receipt,
    ReceiptArtifact,
    ReceiptAudit,
)
from client_sdk.protocol.receipt_check import (
    ChainFacts,
    Finding,
    FindingCode,
    amounts_of,
    check_receipt,
)
from client_sdk.protocol.terms import chained_root
from client_sdk.protocol.trace import trace_root
from client_sdk.protocol.verdicts import Verdict
from contracts import events as chain

AUDITOR = "0x" + "0b" * 20
ROOTS = tuple(bytes([i]) * 32 for i in range(1, 6))


def place(index: int) -> dict:
    return {
        "block_number": 100 + index,
        "block_hash": bytes([index]) * 32,
        "tx_hash": bytes([0x70 + index]) * 32,
        "log_index": index % 3,
    }


@pytest.fixture
def terms(make_terms):
    return make_terms()


@pytest.fixture
def lease_id(terms, domain):
    return terms.lease_id(domain)


@pytest.fixture
def chain_events(terms, lease_id):
    """A lease of 30 segments: 2 and then 5 committed, all five paid, closed by the provider."""
    root_1 = chained_root(ZERO_HASH, 2, trace_root(ROOTS[:2]))
    root_2 = chained_root(root_1, 5, trace_root(ROOTS))
    paid = [split_payment(n * terms.price_per_segment, 200, 300) for n in (2, 3)]
    commits = [
        {"up_to": 2, "trace_root": trace_root(ROOTS[:2]), "root": root_1},
        {"up_to": 5, "trace_root": trace_root(ROOTS), "root": root_2},
    ]
    settled = [
        {
            "paid_segments": total,
            "to_provider": split.to_provider,
            "to_treasury": split.to_treasury,
            "to_audit_pool": split.to_audit_pool,
        }
        for total, split in zip((2, 5), paid, strict=True)
    ]
    refund = 25 * terms.price_per_segment
    made = [
        chain.Opened(
            lease_id=lease_id,
            renter=terms.renter,
            provider=terms.provider,
            terms=terms.abi_tuple(),
            **place(0),
        ),
        chain.Committed(lease_id=lease_id, **commits[0], **place(1)),
        chain.Settled(lease_id=lease_id, **settled[0], **place(2)),
        chain.Committed(lease_id=lease_id, **commits[1], **place(3)),
        chain.Settled(lease_id=lease_id, **settled[1], **place(4)),
        chain.Closed(
            lease_id=lease_id,
            cause=chain.CloseCause.PROVIDER_CLOSED,
            paid_segments=5,
            refund=refund,
            **place(5),
        ),
    ]
    return tuple(ChainEvent.from_chain(event) for event in made)


@pytest.fixture
def facts(domain, chain_events):
    return ChainFacts(
        chain_id=domain.chain_id, escrow=domain.verifying_contract, events=chain_events
    )


@pytest.fixture
def receipt(terms, lease_id, domain, chain_events):
    return Receipt(
        domain=domain,
        lease_id=lease_id,
        job_id="job_" + "0" * 26,
        terms=terms,
        signature=b"\x05" * 65,
        verdict=Verdict.COMPLETED,
        events=chain_events,
        segment_roots=ROOTS,
        trace_root=trace_root(ROOTS),
        audits=(
            ReceiptAudit(
                segment=1,
                auditor=AUDITOR,
                result=AuditResult.AGREED,
                report=AuditReport(lease_id=lease_id, segment=1, state_hash=ROOTS[0], at=5),
                signature=b"\x06" * 65,
            ),
            ReceiptAudit(segment=4, auditor=AUDITOR, result=AuditResult.EXPIRED),
        ),
        artifacts=(
            ReceiptArtifact(kind=ArtifactKind.CHECKPOINT, hash="ab" * 32, size=9, segment=4),
            ReceiptArtifact(kind=ArtifactKind.DATA, hash="cd" * 32, size=9, name="digits"),
        ),
        amounts=amounts_of(terms.cost, chain_events),
        issued_at=1_800_000_000,
    )


def codes(receipt: Receipt, facts: ChainFacts) -> set[FindingCode]:
    return {finding.code for finding in check_receipt(receipt, facts)}


def with_event(events, index: int, **fields):
    changed = dataclasses.replace(events[index], fields={**events[index].fields, **fields})
    return (*events[:index], changed, *events[index + 1 :])


def test_when_a_receipt_is_honest_then_nothing_is_found(receipt, facts):
    assert check_receipt(receipt, facts) == []
    assert receipt.amounts.paid == 5 * 250_000
    assert receipt.amounts.refunded == 25 * 250_000
    assert receipt.amounts.slashed == 0


def test_when_a_receipt_travels_then_it_arrives_equal(receipt):
    assert Receipt.from_json(parse_json(canonical_json(receipt.to_json()))) == receipt


def test_when_an_event_is_taken_from_the_chain_then_its_fields_are_plain(chain_events, lease_id):
    assert "terms" not in chain_events[0].fields
    assert chain_events[1].fields["up_to"] == "2"
    assert chain_events[5].fields == {
        "lease_id": to_hex(lease_id),
        "cause": "1",
        "paid_segments": "5",
        "refund": "6250000",
    }
    assert chain_events[5].integer("refund") == 6_250_000
    assert chain_events[5].integer("unknown") == 0
    assert chain_events[5].integer("lease_id") == 0


def test_when_flags_are_in_an_event_then_they_stay_flags():
    ruled = chain.Ruled(
        lease_id=ZERO_HASH,
        fraud=True,
        good_segments=1,
        slashed_to_renter=90,
        challenger=AUDITOR,
        slashed_to_challenger=10,
        bonds_to_provider=0,
        bonds_to_audit_pool=0,
        **place(1),
    )
    event = ChainEvent.from_chain(ruled)
    assert event.fields["fraud"] is True
    assert ChainEvent.from_json(event.to_json()) == event
    amounts = amounts_of(0, [event])
    assert (amounts.slashed_to_renter, amounts.slashed) == (90, 100)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"domain": Domain(1, "0x" + "0a" * 20)}, FindingCode.OTHER_CONTRACT),
        ({"domain": Domain(31337, "0x" + "0b" * 20)}, FindingCode.OTHER_CONTRACT),
        ({"lease_id": b"\x09" * 32}, FindingCode.TERMS_DIFFER),
        ({"segment_roots": ROOTS[:4]}, FindingCode.TRACE_DIFFERS),
        ({"segment_roots": ROOTS[::-1]}, FindingCode.TRACE_DIFFERS),
        ({"segment_roots": (*ROOTS, ROOTS[0])}, FindingCode.TRACE_DIFFERS),
        ({"segment_roots": ()}, FindingCode.TRACE_DIFFERS),
        ({"trace_root": None}, FindingCode.TRACE_DIFFERS),
        ({"trace_root": ROOTS[0]}, FindingCode.TRACE_DIFFERS),
        ({"amounts": Amounts()}, FindingCode.AMOUNTS_DIFFER),
        ({"verdict": Verdict.PROOF_REJECTED}, FindingCode.VERDICT_IMPOSSIBLE),
        ({"verdict": Verdict.RENTER_STOPPED}, FindingCode.VERDICT_IMPOSSIBLE),
    ],
)
def test_when_a_receipt_lies_then_it_is_found(receipt, facts, changes, code):
    assert code in codes(dataclasses.replace(receipt, **changes), facts)


def test_when_terms_are_changed_then_they_are_found(receipt, facts):
    terms = dataclasses.replace(receipt.terms, bond=1)
    assert codes(dataclasses.replace(receipt, terms=terms), facts) == {FindingCode.TERMS_DIFFER}
    greedy = dataclasses.replace(receipt.terms, fee_bps=9000, audit_bps=9000)
    found = codes(dataclasses.replace(receipt, terms=greedy), facts)
    assert FindingCode.SPLIT_DIFFERS in found


def test_when_events_differ_from_the_chain_then_each_is_named(receipt, facts):
    left_out = dataclasses.replace(receipt, events=receipt.events[1:])
    assert codes(left_out, facts) == {FindingCode.EVENT_LEFT_OUT}
    changed = dataclasses.replace(receipt, events=with_event(receipt.events, 5, refund="1"))
    assert codes(changed, facts) == {FindingCode.EVENT_NOT_ON_CHAIN}
    twice = dataclasses.replace(receipt, events=(*receipt.events, receipt.events[0]))
    assert codes(twice, facts) == {FindingCode.EVENT_NOT_ON_CHAIN}


def changed_facts(facts, index, **fields):
    return dataclasses.replace(facts, events=with_event(facts.events, index, **fields))


@pytest.mark.parametrize(
    ("index", "fields", "code"),
    [
        (1, {"root": to_hex(ROOTS[0])}, FindingCode.COMMITS_BROKEN),
        (1, {"trace_root": "0x"}, FindingCode.COMMITS_BROKEN),
        (3, {"up_to": "2"}, FindingCode.COMMITS_BROKEN),
        (3, {"trace_root": to_hex(ROOTS[0])}, FindingCode.TRACE_DIFFERS),
        (3, {"lease_id": to_hex(ROOTS[0])}, FindingCode.EVENT_NOT_ON_CHAIN),
        (5, {"refund": "1"}, FindingCode.MONEY_LOST),
        (4, {"to_provider": "1"}, FindingCode.SPLIT_DIFFERS),
        (4, {"paid_segments": "1"}, FindingCode.SPLIT_DIFFERS),
        (5, {"cause": "9"}, FindingCode.VERDICT_IMPOSSIBLE),
        (5, {"cause": "5"}, FindingCode.VERDICT_IMPOSSIBLE),
    ],
)
def test_when_the_chain_itself_says_otherwise_then_it_is_found(receipt, facts, index, fields, code):
    other = changed_facts(facts, index, **fields)
    assert code in codes(dataclasses.replace(receipt, events=other.events), other)


def test_when_the_lease_is_not_closed_or_never_opened_then_it_is_found(receipt, facts):
    running = dataclasses.replace(facts, events=facts.events[:-1])
    assert FindingCode.NOT_CLOSED in codes(receipt, running)
    unknown = dataclasses.replace(facts, events=())
    found = codes(receipt, unknown)
    assert FindingCode.NOT_CLOSED in found
    assert FindingCode.TRACE_DIFFERS in found


def test_when_a_metered_lease_is_closed_then_no_trace_is_asked_for(receipt, facts):
    events = tuple(event for event in facts.events if event.name != "Committed")
    metered = dataclasses.replace(
        receipt, events=events, segment_roots=(), trace_root=None, audits=()
    )
    assert check_receipt(metered, dataclasses.replace(facts, events=events)) == []
    shown = dataclasses.replace(metered, segment_roots=ROOTS)
    assert codes(shown, dataclasses.replace(facts, events=events)) == {FindingCode.TRACE_DIFFERS}


def test_when_an_audit_is_about_something_else_then_it_is_found(receipt, facts, lease_id):
    late = ReceiptAudit(segment=5, auditor=AUDITOR, result=AuditResult.EXPIRED)
    silent = ReceiptAudit(segment=1, auditor=AUDITOR, result=AuditResult.AGREED)
    own = ReceiptAudit(segment=4, auditor=receipt.terms.operator, result=AuditResult.EXPIRED)
    report = AuditReport(lease_id=ROOTS[0], segment=1, state_hash=ROOTS[0], at=5)
    other = ReceiptAudit(segment=1, auditor=AUDITOR, result=AuditResult.AGREED, report=report)
    moved = dataclasses.replace(
        other, report=AuditReport(lease_id=lease_id, segment=2, state_hash=ROOTS[0], at=5)
    )
    for audit in (late, other, moved, silent, own):
        changed = dataclasses.replace(receipt, audits=(audit,))
        assert codes(changed, facts) == {FindingCode.AUDIT_DIFFERS}


@pytest.mark.parametrize("party", ["renter", "provider", "operator"])
def test_when_a_party_to_the_lease_audited_it_then_it_is_found(receipt, facts, party):
    account = getattr(receipt.terms, party)
    own = ReceiptAudit(segment=4, auditor=account, result=AuditResult.EXPIRED)
    assert check_receipt(dataclasses.replace(receipt, audits=(own,)), facts) == [
        Finding(
            FindingCode.AUDIT_DIFFERS,
            f"segment 4 was audited by {account}, a party to the lease",
        )
    ]


@pytest.mark.parametrize("result", [AuditResult.AGREED, AuditResult.MISMATCH])
def test_when_an_audit_has_an_answer_but_no_report_then_it_is_found(receipt, facts, result):
    silent = ReceiptAudit(segment=4, auditor=AUDITOR, result=result)
    assert codes(dataclasses.replace(receipt, audits=(silent,)), facts) == {
        FindingCode.AUDIT_DIFFERS
    }


def test_when_a_trace_root_is_shown_without_a_commit_then_it_is_found(receipt, facts):
    events = tuple(event for event in facts.events if event.name != "Committed")
    shown = dataclasses.replace(receipt, events=events, segment_roots=(), audits=())
    assert codes(shown, dataclasses.replace(facts, events=events)) == {FindingCode.TRACE_DIFFERS}


@pytest.mark.parametrize("up_to", [1, 2])
def test_when_a_commit_goes_nowhere_or_back_then_it_is_found_though_it_chains(
    receipt, facts, up_to
):
    first = chained_root(ZERO_HASH, 2, trace_root(ROOTS[:2]))
    root = to_hex(chained_root(first, up_to, trace_root(ROOTS)))
    other = changed_facts(facts, 3, up_to=str(up_to), root=root)
    found = check_receipt(dataclasses.replace(receipt, events=other.events), other)
    text = f"Committed in transaction 0x{'73' * 32} does not go forward"
    assert Finding(FindingCode.COMMITS_BROKEN, text) in found


@pytest.mark.parametrize("refund", [6_249_999, 6_250_001])
def test_when_the_parts_are_not_the_escrow_then_money_is_lost(receipt, facts, refund):
    other = changed_facts(facts, 5, refund=str(refund))
    changed = dataclasses.replace(
        receipt, events=other.events, amounts=amounts_of(receipt.terms.cost, other.events)
    )
    assert codes(changed, other) == {FindingCode.MONEY_LOST}


def test_when_the_cause_is_one_more_than_the_last_then_it_is_not_known(receipt, facts):
    other = changed_facts(facts, 5, cause=str(len(chain.CloseCause)))
    assert codes(dataclasses.replace(receipt, events=other.events), other) == {
        FindingCode.VERDICT_IMPOSSIBLE
    }


def test_when_only_the_opening_is_missing_then_the_lease_was_never_opened(receipt, facts):
    other = dataclasses.replace(facts, events=facts.events[1:])
    assert codes(dataclasses.replace(receipt, events=other.events), other) == {
        FindingCode.NOT_CLOSED
    }


def test_when_an_unruled_dispute_pays_then_its_parts_count():
    event = chain.DisputeTimedOut(
        lease_id=ZERO_HASH,
        lowest_segment=1,
        to_provider=70,
        to_treasury=20,
        to_audit_pool=10,
        **place(1),
    )
    amounts = amounts_of(200, [ChainEvent.from_chain(event)])
    assert amounts == Amounts(funded=200, to_provider=70, to_treasury=20, to_audit_pool=10)


def test_when_something_is_found_then_it_is_said_in_words():
    finding = Finding(FindingCode.NOT_CLOSED, "the lease is not closed")
    assert str(finding) == "not_closed: the lease is not closed"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("extra",), 1),
        (("schema",), "gridlease/receipt/2"),
        (("verdict",), "fine"),
        (("signature",), "0x5"),
        (("signature",), "0x" + "00" * 2049),
        (("escrow",), "0x"),
        (("chain_id",), "31337"),
        (("terms", "bond"), -1),
        (("events", 0, "name"), "opened"),
        (("events", 0, "fields", "renter"), 5),
        (("events", 0, "fields", "renter"), "x" * 5000),
        (("segment_roots", 0), "0x"),
        (("audits", 0, "result"), "great"),
        (("audits", 0, "report", "segment"), "1"),
        (("audits", 1, "auditor"), None),
        (("artifacts", 0, "kind"), "virus"),
        (("artifacts", 0, "hash"), "../../etc/passwd"),
        (("artifacts", 0, "size"), -1),
        (("amounts", "funded"), 5),
        (("metrics",), {"loss": 0.5}),  # sealed: no market knows them
        (("probe_report",), {}),
        (("issued_at",), 1.5),
    ],
)
def test_when_json_of_a_receipt_is_hostile_then_it_is_refused(receipt, path, value):
    body = parse_json(canonical_json(receipt.to_json()))
    spot = body
    for key in path[:-1]:
        spot = spot[key]
    spot[path[-1]] = value
    with pytest.raises(MessageError):
        Receipt.from_json(body)
    for key in receipt.to_json():
        body = receipt.to_json()
        del body[key]
        if key not in ("trace_root", "probe_report"):
            with pytest.raises(MessageError):
                Receipt.from_json(body)
