"""The exchange between a worker and an auditor (or the arbiter), as markets pass it on.

Order of messages: the market assigns; the worker gives inputs; the auditor signs its result, blind;
the worker opens; the auditor says what came of it. Both sides recompute everything that a market
could lie about: the draw, the commit, the keys' owners.

*Not covered:* markets that all relay nothing. A worker answers at every market that shows it an
audit, and delivers the inputs there; an auditor that found a segment right through one of them
demands nothing at another. Where each market that both sides use keeps them back, an honest
provider looks silent, and is not paid from the demanded segment on (nor slashed).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from client_sdk.protocol.addresses import checksum_address
from client_sdk.protocol.canonical import canonical_digest, hash_from_hex
from client_sdk.protocol.errors import MessageError, ProtocolError
from client_sdk.protocol.ids import IdKind, check_id
from client_sdk.protocol.messages import AuditorKey
from client_sdk.protocol.records import BoundaryOpening
from client_sdk.protocol.states import LIVE_AUDITS, AuditKind, AuditState
from client_sdk.protocol.wire import Reader, check_text
from worker_agent.errors import RejectedInput
from worker_agent.market import Json, Market

MAX_SEALED_KEY_BYTES: Final = 1024
_MAX_DATA_ITEMS: Final = 256
_PAGE_ROWS: Final = 20
"""Rows of the largest inputs stay well below ``worker_agent.market.MAX_JSON_BYTES``."""
_MAX_ROWS: Final = 10_000
"""A market that never comes to an end is not followed further."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifacts:
    """Addresses of the encrypted inputs of a job."""

    manifest: str
    bundle: str
    data: Mapping[str, str]
    extra: Mapping[str, str]
    checkpoint: str | None = None
    """Encrypted checkpoint to resume from; ``None`` for segment 0."""

    def to_json(self) -> Json:
        """JSON form."""
        return {
            "manifest": self.manifest,
            "bundle": self.bundle,
            "data": dict(self.data),
            "extra": dict(self.extra),
            "checkpoint": self.checkpoint,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditInputs:
    """What the worker hands over."""

    sealed_key: bytes
    """Job key, wrapped to the auditor."""
    artifacts: Artifacts
    opening: BoundaryOpening | None
    """Opening of the segment before; ``None`` for segment 0."""

    def to_json(self) -> Json:
        """JSON form."""
        return {
            "sealed_key": base64.b64encode(self.sealed_key).decode(),
            "artifacts": self.artifacts.to_json(),
            "opening": self.opening.to_json() if self.opening else None,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditView:
    """One row of a market's audits, as one party sees it."""

    market: str
    """Base URL of the market that shows it."""
    audit_id: str
    """The market's name of it, for messages to that market."""
    kind: AuditKind
    state: AuditState
    lease_id: bytes
    segment: int
    auditor: str
    auditor_key: AuditorKey
    """The auditor's encryption key; nothing is wrapped to it before `require_auditor_key`."""
    auditor_key_signature: bytes
    commit_root: bytes
    """Root that the contract stored after the commit in question."""
    pool: tuple[str, ...] | None
    """Addresses that the market drew from, when it says so."""
    inputs: AuditInputs | None
    reported: bool
    opening: BoundaryOpening | None
    """Opening of the segment itself."""

    @property
    def case_id(self) -> str:
        """Name under which everything about it is kept here; the same in all its states.

        A market may show something else under the same ``audit_id``, or another market's id. What
        came of one claim would then be held against another, and so the name binds the whole claim.
        """
        claim = [self.market, self.audit_id, self.kind.value, self.lease_id.hex()]
        claim += [str(self.segment), self.commit_root.hex()]
        return f"{self.audit_id}.{canonical_digest(claim).hex()[:32]}"


def live_audits(market: Market, role: str) -> list[object]:
    """Rows of this account's audits that wait for somebody, all pages of them.

    Whoever makes many that cannot be finished hides no later one behind them.

    Parameters
    ----------
    role:
        ``auditor`` (the arbiter is one here), or ``operator`` of the audited machine.
    """
    rows: list[object] = []
    after = None
    while len(rows) < _MAX_ROWS:
        page = market.get(
            "/v1/audits", role=role, state=sorted(LIVE_AUDITS), limit=_PAGE_ROWS, after=after
        )
        found, after = page.get("audits"), page.get("next")
        if isinstance(found, list):
            rows += found
        if not found or not isinstance(after, str):
            break
    return rows


def parse_audit(value: object, market: str) -> AuditView:
    """Read one audit.

    Parameters
    ----------
    market:
        Base URL of the market that shows it.

    Raises
    ------
    RejectedInput
        The market's row is malformed.
    """
    try:
        reader = Reader(value, "audit")
        commit = reader.inner("commit")
        pool = None
        if reader.has("draw") and (draw := reader.inner("draw")).has("auditors"):
            pool = draw.items("auditors", checksum_address)
        return AuditView(
            market=market,
            audit_id=check_id(reader.raw("audit_id"), IdKind.AUDIT, "audit_id"),
            kind=AuditKind(reader.text("kind", max_length=32)),
            state=AuditState(reader.text("state", max_length=32)),
            lease_id=reader.digest("lease_id"),
            segment=reader.integer("segment", high=65_534),
            auditor=checksum_address(reader.raw("auditor"), "auditor"),
            auditor_key=AuditorKey.from_json(reader.raw("auditor_key"), reader.at("auditor_key")),
            auditor_key_signature=bytes.fromhex(
                reader.text("auditor_key_signature", max_length=132).removeprefix("0x")
            ),
            commit_root=commit.digest("root"),
            pool=pool,
            inputs=_parse_inputs(reader.inner("inputs")) if reader.has("inputs") else None,
            reported=reader.flag("reported"),
            opening=_parse_opening(reader),
        )
    except (ProtocolError, ValueError) as error:
        raise RejectedInput(f"a market sent a malformed audit: {error}") from error


def parse_artifacts(value: object, path: str = "artifacts") -> Artifacts:
    """Read addresses of artifacts.

    Raises
    ------
    MessageError
        They are malformed.
    """
    reader = Reader(value, path)
    extra = {}
    if reader.has("extra"):
        extra = reader.mapping("extra", _address, max_items=_MAX_DATA_ITEMS)
    return Artifacts(
        manifest=_address(reader.raw("manifest"), reader.at("manifest")),
        bundle=_address(reader.raw("bundle"), reader.at("bundle")),
        data=reader.mapping("data", _address, max_items=_MAX_DATA_ITEMS),
        extra=extra,
        checkpoint=_address(reader.raw("checkpoint"), reader.at("checkpoint"))
        if reader.has("checkpoint")
        else None,
    )


def parse_base64(value: object, path: str, max_bytes: int) -> bytes:
    """Read bounded base64 text."""
    text = check_text(value, path, max_length=max_bytes * 2)
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise MessageError(path, "expected base64") from error
    if len(data) > max_bytes:
        raise MessageError(path, f"longer than {max_bytes} bytes")
    return data


def give_inputs(market: Market, audit_id: str, inputs: AuditInputs) -> None:
    """Hand the inputs over; again is harmless."""
    market.post(f"/v1/audits/{audit_id}/inputs", inputs.to_json())


def give_opening(market: Market, audit_id: str, opening: BoundaryOpening) -> None:
    """Open the audited segment; only after the report is posted."""
    market.post(f"/v1/audits/{audit_id}/opening", {"opening": opening.to_json()})


def give_report(market: Market, audit_id: str, report: Json, signature: bytes) -> None:
    """Post an auditor's signed result."""
    market.post(
        f"/v1/audits/{audit_id}/report",
        {"report": report, "signature": "0x" + signature.hex()},
    )


def give_outcome(market: Market, audit_id: str, agreed: bool, evidence: Mapping[str, Any]) -> None:
    """Say what came of an audit."""
    result = "agreed" if agreed else "mismatch"
    market.post(f"/v1/audits/{audit_id}/outcome", {"result": result, "evidence": dict(evidence)})


def _address(value: object, path: str) -> str:
    """An artifact's address: 64 hexadecimal digits."""
    return hash_from_hex(f"0x{check_text(value, path, 64, 64)}", path).hex()


def _parse_inputs(reader: Reader) -> AuditInputs:
    sealed = parse_base64(reader.raw("sealed_key"), "sealed_key", MAX_SEALED_KEY_BYTES)
    return AuditInputs(
        sealed_key=sealed,
        artifacts=parse_artifacts(reader.raw("artifacts"), reader.at("artifacts")),
        opening=_parse_opening(reader),
    )


def _parse_opening(reader: Reader) -> BoundaryOpening | None:
    if not reader.has("opening"):
        return None
    return BoundaryOpening.from_json(reader.raw("opening"), reader.at("opening"))
