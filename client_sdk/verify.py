"""Checking a receipt without asking any marketplace node.

What is checked, and against what:

- the receipt against the chain: terms, events, commits, trace root, amounts, verdict
  (`client_sdk.protocol.receipt_check`);
- signatures: the operator's on the terms, each auditor's on its report; a failed probe's report
  against the hash that its operator signed for the chain;
- the artifacts on this disk against the receipt: every segment record and its salt lead to the
  committed segment root, and the last checkpoint's bytes hash to the last record's state;
- the accuracy: the job's `evaluate` program is run on that checkpoint and the held-out data.

Not checked: segments that no auditor re-executed (the receipt says which were), and that the
renter's own evaluation measures what it says.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client_sdk.chain.chain import Chain
from client_sdk.checkpoints import BadCheckpoint, checkpoint_hash
from client_sdk.errors import NotFound, VerificationFailed
from client_sdk.facts import chain_errors
from client_sdk.home import JobRecord
from client_sdk.markets import signer_of
from client_sdk.protocol.canonical import parse_json, to_hex
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.receipt import MAX_RECEIPT_BYTES, AuditResult, ChainEvent, Receipt
from client_sdk.protocol.receipt_check import ChainFacts, check_receipt
from client_sdk.protocol.records import SegmentRecord
from client_sdk.protocol.trace_document import TraceDocument, check_trace

MAX_TRACE_BYTES = 512 << 20
EVALUATE_TIMEOUT_S = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What came out."""

    receipt: Receipt
    findings: tuple[str, ...]
    """Everything that is wrong; empty when the receipt holds."""
    checks: tuple[str, ...]
    """What was checked, one line each."""
    skipped: tuple[str, ...]
    """What could not be checked, and why."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """What the evaluation printed, such as the accuracy."""

    @property
    def holds(self) -> bool:
        """Whether nothing wrong was found."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "schema": "gridlease/verification/1",
            "lease_id": "0x" + self.receipt.lease_id.hex(),
            "holds": self.holds,
            "verdict": str(self.receipt.verdict),
            "findings": list(self.findings),
            "checks": list(self.checks),
            "skipped": list(self.skipped),
            "metrics": self.metrics,
        }


def load_receipt(path: Path) -> Receipt:
    """Read a receipt file.

    Raises
    ------
    NotFound
        There is no such file.
    VerificationFailed
        It is not a receipt.
    """
    try:
        if path.stat().st_size > MAX_RECEIPT_BYTES:
            raise VerificationFailed(f"{path} is too large for a receipt")
        return Receipt.from_json(parse_json(path.read_bytes(), max_bytes=MAX_RECEIPT_BYTES))
    except FileNotFoundError:
        raise NotFound(
            f"there is no receipt at {path}", what_to_do="`gridlease receipt ID` fetches it."
        ) from None
    except (OSError, ProtocolError) as error:
        raise VerificationFailed(f"{path} is not a receipt: {error}") from error


def verify(
    receipt: Receipt,
    chain: Chain,
    *,
    artifacts: Path | None,
    record: JobRecord | None,
    evaluate: bool = True,
    environ: dict[str, str] | None = None,
) -> Report:
    """Check a receipt against the chain, and the artifacts on this disk against the receipt.

    Parameters
    ----------
    artifacts:
        Folder that `gridlease artifacts` wrote; None when there is none.
    record:
        The renter's own record of the job, which names code, data and evaluation.
    environ:
        Environment to start the evaluation from; default: this process's.
    """
    findings: list[str] = []
    checks: list[str] = []
    skipped: list[str] = []
    facts = _chain_facts(receipt, chain)
    wrong = [str(finding) for finding in check_receipt(receipt, facts)]
    findings += wrong
    if not wrong:
        checks.append(f"chain: {len(facts.events)} events, commits, amounts and verdict agree")
    findings += _signatures(receipt, chain, checks, skipped)
    _check_probe(receipt, checks, skipped)
    checkpoint = _check_artifacts(receipt, artifacts, findings, checks, skipped)
    metrics: dict[str, Any] = {}
    if evaluate:
        metrics = _evaluate(record, checkpoint, environ or dict(os.environ), checks, skipped)
    return Report(
        receipt=receipt,
        findings=tuple(findings),
        checks=tuple(checks),
        skipped=tuple(skipped),
        metrics=metrics,
    )


def _chain_facts(receipt: Receipt, chain: Chain) -> ChainFacts:
    deployment = chain.deployment
    with chain_errors("reading the lease's events"):
        chain.check()
        events = chain.events(deployment.start_block, chain.head(), topic=receipt.lease_id)
    return ChainFacts(
        chain_id=deployment.chain_id,
        escrow=deployment.escrow,
        events=tuple(ChainEvent.from_chain(event) for event in events),
    )


def audited_segments(receipt: Receipt) -> tuple[list[int], list[int]]:
    """Segments that an auditor re-executed, and those that were drawn but nobody reported on."""
    drawn = {audit.segment for audit in receipt.audits}
    reported = {audit.segment for audit in receipt.audits if audit.report is not None}
    return sorted(reported), sorted(drawn - reported)


def _signatures(
    receipt: Receipt, chain: Chain, checks: list[str], skipped: list[str]
) -> Iterator[str]:
    terms = receipt.terms
    signer = signer_of(terms, chain.domain, receipt.signature)
    if signer is None or signer.lower() != terms.operator.lower():
        yield f"signature: the terms are not signed by the operator {terms.operator}"
    else:
        checks.append("signature: the terms are signed by the operator")
    reported = [audit for audit in receipt.audits if audit.report is not None]
    for audit in reported:
        assert audit.report is not None
        signer = signer_of(audit.report, chain.domain, audit.signature)
        if signer is None or signer.lower() != audit.auditor.lower():
            yield f"signature: the report on segment {audit.segment} is not the auditor's"
    agreed = sorted({a.segment for a in reported if a.result is AuditResult.AGREED})
    if agreed:
        names = ", ".join(map(str, agreed))
        checks.append(f"audits: segments {names} were re-executed and agree bit for bit")
    unreported = audited_segments(receipt)[1]
    if unreported:
        names = ", ".join(map(str, unreported))
        skipped.append(f"audits: segments {names} were drawn, but no auditor's report came in time")


def _check_probe(receipt: Receipt, checks: list[str], skipped: list[str]) -> None:
    """Say who vouches for a failed probe; that the report is the chain's is checked with it."""
    for event in receipt.events:
        if event.name != "MachineRejected":
            continue
        report = receipt.probe_report
        if report is None:
            skipped.append("probe: the node shows no report; only its hash is on chain")
        elif event.fields["report"] == to_hex(report.digest()):
            who = "the arbiter says so" if event.fields["by_arbiter"] else "its operator signed it"
            checks.append(f"probe: the report on the machine's failure is the chain's; {who}")


def _check_artifacts(
    receipt: Receipt,
    artifacts: Path | None,
    findings: list[str],
    checks: list[str],
    skipped: list[str],
) -> Path | None:
    """Tie records and checkpoint to the committed roots; returns the checkpoint's folder."""
    if receipt.terms.metered:
        skipped.append("artifacts: a metered lease has no trace that they could be held against")
        return None
    if artifacts is None or not (artifacts / "trace.json").is_file():
        skipped.append("artifacts: not on this disk; `gridlease artifacts ID` fetches them")
        return None
    records = _check_records(receipt, artifacts / "trace.json", findings, checks)
    if records is None:
        return None
    count = len(receipt.segment_roots)
    folders = sorted(artifacts.glob("checkpoint-*"), key=lambda path: int(path.name[11:] or 0))
    if not folders:
        skipped.append("checkpoint: none was stored")
        return None
    last = folders[-1]
    segment = int(last.name[11:])
    if segment >= min(count, len(records)):
        skipped.append(f"checkpoint: segment {segment} is not under the committed trace")
        return last
    try:
        found = checkpoint_hash(last)
    except BadCheckpoint as error:
        findings.append(f"checkpoint: {error}")
        return None
    if found != records[segment].state_hash:
        findings.append(f"checkpoint: its bytes are not the state that segment {segment} ended in")
        return None
    checks.append(f"checkpoint: its bytes hash to the committed state of segment {segment}")
    return last


def _check_records(
    receipt: Receipt, path: Path, findings: list[str], checks: list[str]
) -> tuple[SegmentRecord, ...] | None:
    """Tie the segment records to the committed roots; None when they cannot be read."""
    try:
        content = parse_json(path.read_bytes(), max_bytes=MAX_TRACE_BYTES)
        document = TraceDocument.from_json(content)
    except (ProtocolError, OSError) as error:
        findings.append(f"trace: {error}")
        return None
    wrong = [str(finding) for finding in check_trace(receipt, document)]
    findings += wrong
    if not wrong:
        steps = sum(len(record.steps) for record in document.records)
        num = len(document.records)
        checks.append(f"trace: {num} segments, {steps} steps lead to the committed root")
    return document.records


def _evaluate(
    record: JobRecord | None,
    checkpoint: Path | None,
    environ: dict[str, str],
    checks: list[str],
    skipped: list[str],
) -> dict[str, Any]:
    """Run the job's own evaluation on the checkpoint, with the renter's own code and data."""
    entry = str(record.manifest.get("evaluate") or "") if record is not None else ""
    if record is None or not entry:
        skipped.append("evaluation: the job names none, or was not ordered from this folder")
        return {}
    if checkpoint is None:
        skipped.append("evaluation: there is no checked checkpoint")
        return {}
    folder = Path(record.spec_folder)
    code = folder / record.code
    if not (code / entry).is_file():
        skipped.append(f"evaluation: {code / entry} is not there any more")
        return {}
    metrics = _run_evaluation(code, entry, checkpoint, _data_folder(record, checkpoint), environ)
    checks.append("evaluation: " + ", ".join(f"{name}={value}" for name, value in metrics.items()))
    return metrics


def _data_folder(record: JobRecord, checkpoint: Path) -> Path:
    """A folder with the job's data by name, as the job saw it under /data."""
    folder = checkpoint.parent / "data"
    folder.mkdir(exist_ok=True)
    for name, path in record.data.items():
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to((Path(record.spec_folder) / path).resolve())
    return folder


def _run_evaluation(
    code: Path, entry: str, checkpoint: Path, data: Path, environ: dict[str, str]
) -> dict[str, Any]:
    arguments = ["--checkpoint", str(checkpoint.resolve()), "--data", str(data.resolve())]
    try:
        done = subprocess.run(
            [sys.executable, entry, *arguments],
            cwd=code,
            env=environ | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=EVALUATE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise VerificationFailed(f"{entry} did not end within {EVALUATE_TIMEOUT_S} s") from error
    if done.returncode != 0:
        tail = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise VerificationFailed(f"{entry} failed on the final checkpoint:\n{tail}")
    try:
        metrics = parse_json(done.stdout.strip().splitlines()[-1])
    except (ProtocolError, IndexError) as error:
        raise VerificationFailed(f"{entry} did not print one JSON line") from error
    if not isinstance(metrics, dict):
        raise VerificationFailed(f"{entry} printed JSON that is not an object")
    return metrics
