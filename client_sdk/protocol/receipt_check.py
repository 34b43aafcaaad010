"""Checking a receipt against what the chain says; pure, so that anyone can do it anywhere.

Covered: the terms hash to the lease id; every event is on chain, and none of the lease's is left
out; commits chain to the stored root; segment roots lead to the committed trace root; amounts are
the sums of the events and add up to the escrow; the verdict is one that the chain allows; audit
reports are about this lease; the report on a failed probe is the one of the chain.
Not covered: signatures (the caller recovers them, ``client_sdk.chain.signing``) and the content of
artifacts (the caller fetches, hashes and decrypts them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from client_sdk.protocol.canonical import ZERO_HASH, hash_from_hex, to_hex
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.merkle import MerkleBuilder
from client_sdk.protocol.money import BPS, split_payment
from client_sdk.protocol.receipt import Amounts, AuditResult, ChainEvent, Receipt
from client_sdk.protocol.terms import chained_root
from client_sdk.protocol.verdicts import CAUSE_VERDICTS, CloseCause, close_cause


class FindingCode(StrEnum):
    """What does not hold."""

    #: The receipt is about another chain or contract than the one that was asked.
    OTHER_CONTRACT = "other_contract"
    #: The terms do not hash to the lease id.
    TERMS_DIFFER = "terms_differ"
    #: An event of the receipt is not on chain, or differs there.
    EVENT_NOT_ON_CHAIN = "event_not_on_chain"
    #: An event of the lease is on chain and not in the receipt.
    EVENT_LEFT_OUT = "event_left_out"
    #: The lease was never opened, or is not closed.
    NOT_CLOSED = "not_closed"
    #: A commit does not follow from the one before.
    COMMITS_BROKEN = "commits_broken"
    #: The segment roots do not lead to the committed trace root.
    TRACE_DIFFERS = "trace_differs"
    #: The amounts are not the sums of the events.
    AMOUNTS_DIFFER = "amounts_differ"
    #: Money came out of nowhere or vanished.
    MONEY_LOST = "money_lost"
    #: A settlement was not split as the terms say.
    SPLIT_DIFFERS = "split_differs"
    #: The chain contradicts the verdict.
    VERDICT_IMPOSSIBLE = "verdict_impossible"
    #: The segment records do not lead to the committed roots.
    RECORDS_DIFFER = "records_differ"
    #: An audit is not of committed work, shows no report, or is by a party to the lease.
    AUDIT_DIFFERS = "audit_differs"
    #: The report on a failed probe is not what the chain has, or shows no failure.
    PROBE_DIFFERS = "probe_differs"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a receipt."""

    code: FindingCode
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class ChainFacts:
    """What the checker read from the chain itself."""

    chain_id: int
    #: Address of the escrow contract.
    escrow: str
    #: Every event of the lease, in chain order.
    events: tuple[ChainEvent, ...]


def amounts_of(funded: int, events: Iterable[ChainEvent]) -> Amounts:
    """Return where the money of a lease went, from its events.

    Parameters
    ----------
    funded
        What the renter put in escrow: ``terms.cost`` once the lease is open.
    events
        The lease's events.
    """
    sums = dict.fromkeys(_SUMMED, 0)
    for event in events:
        for name, (names, key) in _SUMMED.items():
            if event.name in names:
                sums[name] += event.integer(key)
    return Amounts(funded=funded, **sums)


_PAYMENTS: Final = ("Settled", "DisputeTimedOut")
_SUMMED: Final = {
    "to_provider": (_PAYMENTS, "to_provider"),
    "to_treasury": (_PAYMENTS, "to_treasury"),
    "to_audit_pool": (_PAYMENTS, "to_audit_pool"),
    "refunded": (("Closed",), "refund"),
    "slashed_to_renter": (("Ruled", "LateFraud", "LatePaid"), "slashed_to_renter"),
    "slashed_to_challenger": (("Ruled",), "slashed_to_challenger"),
}


def check_receipt(receipt: Receipt, facts: ChainFacts) -> list[Finding]:
    """Return everything in a receipt that the chain contradicts; empty when it holds.

    Parameters
    ----------
    receipt
        From anybody.
    facts
        Read from a chain that the checker trusts.
    """
    checks: tuple[Callable[[Receipt, ChainFacts], Iterator[Finding]], ...] = (
        _check_identity,
        _check_events,
        _check_commits,
        _check_trace,
        _check_money,
        _check_verdict,
        _check_audits,
        _check_probe,
    )
    return [finding for check in checks for finding in check(receipt, facts)]


def _check_identity(receipt: Receipt, facts: ChainFacts) -> Iterator[Finding]:
    domain = receipt.domain
    if domain.chain_id != facts.chain_id or (
        domain.verifying_contract.lower() != facts.escrow.lower()
    ):
        yield Finding(
            FindingCode.OTHER_CONTRACT,
            f"it is about {domain.verifying_contract} on chain {domain.chain_id}, not about "
            f"{facts.escrow} on chain {facts.chain_id}",
        )
    if receipt.terms.lease_id(domain) != receipt.lease_id:
        yield Finding(
            FindingCode.TERMS_DIFFER, f"the terms are not those of lease {to_hex(receipt.lease_id)}"
        )


def _check_events(receipt: Receipt, facts: ChainFacts) -> Iterator[Finding]:
    lease_id = to_hex(receipt.lease_id)
    for event in facts.events:
        if event.fields.get("lease_id") != lease_id:
            yield Finding(FindingCode.EVENT_NOT_ON_CHAIN, f"{_name(event)} is of another lease")
    on_chain = {(event.tx_hash, event.log_index): event for event in facts.events}
    for event in receipt.events:
        # Taken out when found, so that an event which the receipt repeats is not found again.
        if on_chain.pop((event.tx_hash, event.log_index), None) != event:
            yield Finding(FindingCode.EVENT_NOT_ON_CHAIN, f"{_name(event)} is not on chain so")
    for event in on_chain.values():
        yield Finding(FindingCode.EVENT_LEFT_OUT, f"{_name(event)} is left out")


def _check_commits(receipt: Receipt, facts: ChainFacts) -> Iterator[Finding]:
    root, up_to = ZERO_HASH, 0
    for event in _named(facts.events, "Committed"):
        trace, stored = _hash(event, "trace_root"), _hash(event, "root")
        if event.integer("up_to") <= up_to or trace is None:
            yield Finding(FindingCode.COMMITS_BROKEN, f"{_name(event)} does not go forward")
            return
        up_to = event.integer("up_to")
        root = chained_root(root, up_to, trace)
        if root != stored:
            yield Finding(
                FindingCode.COMMITS_BROKEN, f"{_name(event)} does not chain to the one before"
            )
            return


def _check_trace(receipt: Receipt, facts: ChainFacts) -> Iterator[Finding]:
    commits = _named(facts.events, "Committed")
    if not commits:
        if receipt.segment_roots or receipt.trace_root is not None:
            yield Finding(FindingCode.TRACE_DIFFERS, "it shows a trace, but nothing was committed")
        return
    if receipt.trace_root != _hash(commits[-1], "trace_root"):
        yield Finding(FindingCode.TRACE_DIFFERS, "its trace root is not the last committed one")
    tree = MerkleBuilder()
    for event in commits:
        up_to = event.integer("up_to")
        if not tree.size < up_to <= len(receipt.segment_roots):
            yield Finding(
                FindingCode.TRACE_DIFFERS, f"it lacks segment roots: {up_to} were committed"
            )
            return
        for root in receipt.segment_roots[tree.size : up_to]:
            tree.append(root)
        if tree.root() != _hash(event, "trace_root"):
            yield Finding(
                FindingCode.TRACE_DIFFERS,
                f"segment roots 0 to {up_to - 1} do not lead to the root committed in "
                f"{_name(event)}",
            )
    if len(receipt.segment_roots) > commits[-1].integer("up_to"):
        yield Finding(FindingCode.TRACE_DIFFERS, "it shows segments that were never committed")


def _check_money(receipt: Receipt, facts: ChainFacts) -> Iterator[Finding]:
    terms = receipt.terms
    expected = amounts_of(terms.cost, facts.events)
    for name, value in expected.to_json().items():
        if receipt.amounts.to_json()[name] != value:
            yield Finding(
                FindingCode.AMOUNTS_DIFFER,
                f"{name} is {value} on chain, {receipt.amounts.to_json()[name]} in the receipt",
            )
    if _named(facts.events, "Closed") and expected.paid + expected.refunded != terms.cost:
        yield Finding(
            FindingCode.MONEY_LOST,
            f"{expected.paid} paid and {expected.refunded} refunded are not the {terms.cost} in "
            "escrow",
        )
    if terms.fee_bps + terms.audit_bps > BPS:
        yield Finding(FindingCode.SPLIT_DIFFERS, "the shares in the terms are more than the price")
        return
    paid = 0
    for event in _named(facts.events, "Settled"):
        amount = (event.integer("paid_segments") - paid) * terms.price_per_segment
        paid = event.integer("paid_segments")
        split = split_payment(max(amount, 0), terms.fee_bps, terms.audit_bps)
        found = tuple(event.integer(k) for k in ("to_provider", "to_treasury", "to_audit_pool"))
        if found != (split.to_provider, split.to_treasury, split.to_audit_pool):
            yield Finding(
                FindingCode.SPLIT_DIFFERS, f"{_name(event)} is not split as the terms say"
            )


def _check_verdict(receipt: Receipt, facts: ChainFacts) -> Iterator[Finding]:
    if not _named(facts.events, "Opened"):
        yield Finding(FindingCode.NOT_CLOSED, "the lease was never opened")
        return
    closed = _named(facts.events, "Closed")
    if not closed:
        yield Finding(FindingCode.NOT_CLOSED, "the lease is not closed")
        return
    number = closed[-1].integer("cause")
    if number >= len(CloseCause):
        yield Finding(FindingCode.VERDICT_IMPOSSIBLE, f"closing cause {number} is not known")
    elif receipt.verdict not in CAUSE_VERDICTS[close_cause(number)]:
        yield Finding(
            FindingCode.VERDICT_IMPOSSIBLE,
            f"the chain closed the lease as {close_cause(number)}, which does not allow the "
            f"verdict {receipt.verdict}",
        )


def _check_audits(receipt: Receipt, facts: ChainFacts) -> Iterator[Finding]:
    commits = _named(facts.events, "Committed")
    committed = commits[-1].integer("up_to") if commits else 0
    for audit in receipt.audits:
        if audit.segment >= committed:
            yield Finding(
                FindingCode.AUDIT_DIFFERS, f"segment {audit.segment} was audited, never committed"
            )
        report, terms = audit.report, receipt.terms
        if audit.auditor in (terms.renter, terms.provider, terms.operator):
            yield Finding(
                FindingCode.AUDIT_DIFFERS,
                f"segment {audit.segment} was audited by {audit.auditor}, a party to the lease",
            )
        if report is None and audit.result in (AuditResult.AGREED, AuditResult.MISMATCH):
            yield Finding(
                FindingCode.AUDIT_DIFFERS,
                f"segment {audit.segment} is called {audit.result}, but no report is shown",
            )
        if report is not None and (report.lease_id, report.segment) != (
            receipt.lease_id,
            audit.segment,
        ):
            yield Finding(
                FindingCode.AUDIT_DIFFERS,
                f"the report on segment {audit.segment} is about something else",
            )


def _check_probe(receipt: Receipt, facts: ChainFacts) -> Iterator[Finding]:
    report, rejected = receipt.probe_report, _named(facts.events, "MachineRejected")
    if report is None:
        return
    if not rejected or _hash(rejected[-1], "report") != report.digest():
        yield Finding(FindingCode.PROBE_DIFFERS, "its probe report is not the one on chain")
    if (report.lease_id, report.machine_hash) != (receipt.lease_id, receipt.terms.machine_hash):
        yield Finding(FindingCode.PROBE_DIFFERS, "its probe report is of another lease or machine")
    if not report.is_failure:
        yield Finding(FindingCode.PROBE_DIFFERS, "its probe report shows the machine of the terms")


def _named(events: Iterable[ChainEvent], name: str) -> list[ChainEvent]:
    return [event for event in events if event.name == name]


def _hash(event: ChainEvent, key: str) -> bytes | None:
    try:
        return hash_from_hex(event.fields.get(key))
    except ProtocolError:
        return None


def _name(event: ChainEvent) -> str:
    return f"{event.name} in transaction {to_hex(event.tx_hash)}"
