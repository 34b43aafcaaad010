"""Typed bindings of the auditor registry, and the events of the quorums that it creates; see
`contracts.bindings` and `contracts.quorum`.

`IAuditorRegistry.sol` and `IArbiterQuorum.sol` say what each function and event means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

from contracts.bindings import Call, Contract, View
from contracts.codec import BadChainData, Item, load_artifact
from contracts.events import Event
from contracts.logs import Log, event_values


class AuditFault(IntEnum):
    """What an auditor did wrong, as the contract numbers it."""

    WRONG_REPORT = 0  # it reported another result than the segment gives
    NO_REPORT = 1  # it was drawn and did not report in time


@dataclass(frozen=True, slots=True)
class AuditorView:
    """An account under one quorum; amounts in the bond token's smallest unit."""

    bonded: int
    unbonding: int
    claimable_at: int
    hardware_class: bytes
    encryption_key: bytes
    """X25519; zero, as the class, before it enrolled."""


@dataclass(frozen=True, slots=True)
class PayView:
    """Audit pay in one token, in its smallest unit."""

    received: int
    claimed: int
    root: bytes
    total: int
    next_root: bytes
    next_total: int
    counts_from: int
    """Block time from which `next_root` counts."""


class AuditorRegistry(Contract):
    """Bonds, the record for the draw, and audit pay."""

    _artifact_name = "AuditorRegistry"

    def create_quorum(self, judges: Sequence[str], threshold: int, min_bond: int) -> Call:
        """`judges` ascending by address, `min_bond` in the bond token's smallest unit."""
        return self._call("createQuorum", list(judges), threshold, min_bond)

    def bond(self, quorum: str, amount: int) -> Call:
        return self._call("bond", quorum, amount)

    def unbond(self, quorum: str, amount: int) -> Call:
        return self._call("unbond", quorum, amount)

    def claim_unbond(self, quorum: str) -> Call:
        return self._call("claimUnbond", quorum)

    def enroll(self, quorum: str, hardware_class: bytes, encryption_key: bytes) -> Call:
        return self._call("enroll", quorum, hardware_class, encryption_key)

    def collect(self, token: str) -> Call:
        return self._call("collect", token)

    def post_pay_root(self, token: str, root: bytes, total: int) -> Call:
        return self._call("postPayRoot", token, root, total)

    def reject_pay_root(self, token: str) -> Call:
        return self._call("rejectPayRoot", token)

    def claim_pay(self, token: str, account: str, cumulative: int, proof: Sequence[bytes]) -> Call:
        return self._call("claimPay", token, account, cumulative, list(proof))

    def withdraw_to(self, token: str, account: str) -> Call:
        return self._call("withdrawTo", token, account)

    def withdraw(self, token: str, to: str, amount: int) -> Call:
        return self._call("withdraw", token, to, amount)

    def set_distributor(self, distributor: str) -> Call:
        return self._call("setDistributor", distributor)

    def transfer_ownership(self, owner: str) -> Call:
        """First of two steps: `owner` has to accept."""
        return self._call("transferOwnership", owner)

    def accept_ownership(self) -> Call:
        return self._call("acceptOwnership")

    # Views

    def auditor_of(self, quorum: str, account: str) -> View[AuditorView]:
        return self._view("auditorOf", quorum, account, build=lambda fields: AuditorView(*fields))

    def is_bonded(self, quorum: str, account: str) -> View[bool]:
        return self._view("isBonded", quorum, account, build=bool)

    def bond_at(
        self, quorum: str, hardware_class: bytes, account: str, block_number: int
    ) -> View[int]:
        return self._view("bondAt", quorum, hardware_class, account, block_number, build=int)

    def auditors_at(
        self, quorum: str, hardware_class: bytes, block_number: int, first: int, count: int
    ) -> View[dict[str, int]]:
        """One page of who can be drawn after that block: bond by address."""
        arguments = (quorum, hardware_class, block_number, first, count)
        return self._view("auditorsAt", *arguments, build=_bonds)

    def num_enrolled(self, quorum: str, hardware_class: bytes) -> View[int]:
        return self._view("numEnrolled", quorum, hardware_class, build=int)

    def slash_of(self, quorum: str, fault: AuditFault) -> View[int]:
        return self._view("slashOf", quorum, int(fault), build=int)

    def is_quorum(self, account: str) -> View[bool]:
        return self._view("isQuorum", account, build=bool)

    def pay_of(self, token: str) -> View[PayView]:
        return self._view("payOf", token, build=lambda fields: PayView(*fields))

    def claimed_of(self, token: str, account: str) -> View[int]:
        return self._view("claimedOf", token, account, build=int)

    def credit_of(self, token: str, account: str) -> View[int]:
        return self._view("creditOf", token, account, build=int)

    def escrow(self) -> View[str]:
        return self._view("escrow", build=str)

    def bond_token(self) -> View[str]:
        return self._view("bondToken", build=str)

    def distributor(self) -> View[str]:
        return self._view("distributor", build=str)

    def unbonding_period(self) -> View[int]:
        """Seconds between `unbond` and `claim_unbond`."""
        return self._view("unbondingPeriod", build=int)

    def pay_delay(self) -> View[int]:
        """Seconds between `post_pay_root` and the first claim under that root."""
        return self._view("payDelay", build=int)

    def owner(self) -> View[str]:
        return self._view("owner", build=str)


def _bonds(auditors: Sequence[str], bonds: Sequence[int]) -> dict[str, int]:
    if len(auditors) != len(bonds):
        raise BadChainData(f"{len(auditors)} auditors with {len(bonds)} bonds")
    return dict(zip(auditors, bonds, strict=True))


# Events


@dataclass(frozen=True, kw_only=True)
class QuorumCreated(Event):
    quorum: str
    judges: tuple[str, ...]
    threshold: int
    min_bond: int


@dataclass(frozen=True, kw_only=True)
class AuditorBonded(Event):
    quorum: str
    auditor: str
    amount: int
    bonded: int


@dataclass(frozen=True, kw_only=True)
class AuditorUnbondStarted(Event):
    quorum: str
    auditor: str
    amount: int
    bonded: int
    unbonding: int
    claimable_at: int


@dataclass(frozen=True, kw_only=True)
class AuditorUnbonded(Event):
    quorum: str
    auditor: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class AuditorEnrolled(Event):
    quorum: str
    auditor: str
    hardware_class: bytes
    encryption_key: bytes


@dataclass(frozen=True, kw_only=True)
class AuditorSlashed(Event):
    quorum: str
    auditor: str
    lease_id: bytes
    segment: int
    fault: AuditFault
    renter: str
    amount: int
    bonded: int
    unbonding: int


@dataclass(frozen=True, kw_only=True)
class DistributorSet(Event):
    distributor: str


@dataclass(frozen=True, kw_only=True)
class PayCollected(Event):
    token: str
    amount: int
    received: int


@dataclass(frozen=True, kw_only=True)
class PayRootPosted(Event):
    token: str
    root: bytes
    total: int
    counts_from: int


@dataclass(frozen=True, kw_only=True)
class PayRootRejected(Event):
    token: str
    root: bytes


@dataclass(frozen=True, kw_only=True)
class PayClaimed(Event):
    token: str
    account: str
    amount: int
    cumulative: int


@dataclass(frozen=True, kw_only=True)
class CreditWithdrawn(Event):
    token: str
    account: str
    to: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class VerdictGiven(Event):
    lease_id: bytes
    root: bytes
    disputed_at: int
    fraud: bool
    segment: int
    judges: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RetrievalGiven(Event):
    lease_id: bytes
    root: bytes
    committed_at: int
    good_segments: int
    judges: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RejectionGiven(Event):
    lease_id: bytes
    report: bytes
    judges: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AuditVerdictGiven(Event):
    lease_id: bytes
    segment: int
    auditor: str
    fault: AuditFault
    judges: tuple[str, ...]


REGISTRY_EVENTS: Final[Mapping[str, type[Event]]] = {
    kind.__name__: kind
    for kind in (
        QuorumCreated,
        AuditorBonded,
        AuditorUnbondStarted,
        AuditorUnbonded,
        AuditorEnrolled,
        AuditorSlashed,
        DistributorSet,
        PayCollected,
        PayRootPosted,
        PayRootRejected,
        PayClaimed,
        CreditWithdrawn,
        VerdictGiven,
        RetrievalGiven,
        RejectionGiven,
        AuditVerdictGiven,
    )
}


def decode_registry_event(log: Log) -> Event | None:
    """Decode a log of the registry or of one of its quorums; `None` for an unknown event.

    The caller has checked that `log.address` is the registry, or a quorum that it created.

    Raises
    ------
    BadChainData
        The log claims to be a known event, but its content does not fit.
    """
    item = _known_events().get(bytes(log.topics[0])) if log.topics else None
    if item is None:
        return None
    values: dict[str, Any] = event_values(item, log)
    if "fault" in values:
        try:
            values["fault"] = AuditFault(values["fault"])
        except ValueError as error:
            raise BadChainData(f"unknown fault of an auditor: {values['fault']}") from error
    return REGISTRY_EVENTS[item.name](
        **values,
        block_number=log.block_number,
        block_hash=log.block_hash,
        tx_hash=log.tx_hash,
        log_index=log.log_index,
    )


@lru_cache(maxsize=1)
def _known_events() -> dict[bytes, Item]:
    return {
        topic: item
        for name in ("AuditorRegistry", "ArbiterQuorum")
        for topic, item in load_artifact(name).events.items()
        if item.name in REGISTRY_EVENTS
    }
