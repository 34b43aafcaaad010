"""One audit as auditor or arbiter: what the chain says of it, and inputs that were checked."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client_sdk import sealing
from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.draw import Draw
from client_sdk.protocol.errors import ProofError
from client_sdk.protocol.manifest import JobManifest
from client_sdk.protocol.records import BoundaryOpening
from client_sdk.protocol.seed import job_seed
from client_sdk.protocol.states import AuditKind
from contracts.bindings import LeaseStatus, LeaseView
from worker_agent.checkpoints import checkpoint_hash
from worker_agent.context import Context
from worker_agent.errors import BadArtifact, BadDraw, BadOpening, MarketRefused, RejectedInput
from worker_agent.exchange import AuditView
from worker_agent.history import Commit, LeaseHistory, read_history, recompute_draw
from worker_agent.inputs import Allowance, JobInputs, fetch_checkpoint, fetch_inputs, unbounded
from worker_agent.market import Market
from worker_agent.ports import ChainPort

#: Least and most block time, in seconds, that is kept for a transaction before a deadline.
MARGIN_S: Final = (6, 900)
#: Largest checkpoint that is re-executed from, or written by a re-execution.
MAX_CHECKPOINT_BYTES: Final = 64 << 30
_DEFAULT_SAMPLES: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """An audit that the chain confirms."""

    audit: AuditView
    history: LeaseHistory
    commit: Commit

    @property
    def short(self) -> str:
        """Name for the log."""
        return (
            f"{self.audit.kind} of 0x{self.audit.lease_id.hex()[:8]} segment {self.audit.segment}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseInputs:
    """Checked inputs of a case."""

    job: JobInputs
    seed: int
    checkpoint: Path | None
    """State before the segment; ``None`` for segment 0."""
    first_step: int
    """Step at which the segment starts, as committed."""
    state_before: bytes | None
    """Committed state before the segment; ``None`` for segment 0."""

    @property
    def manifest(self) -> JobManifest:
        """The job's manifest."""
        return self.job.manifest


def margin_of(period: int) -> int:
    """What of a window, or of a ruling's time, is kept for the last transaction, in seconds."""
    return min(max(period // 4, MARGIN_S[0]), MARGIN_S[1])


def samples_of(market: Market) -> int:
    """How many segments of each commit this market audits."""
    policy = market.facts().get("policy")
    number = policy.get("audit_samples") if isinstance(policy, dict) else None
    return number if type(number) is int and 0 <= number <= 65_535 else _DEFAULT_SAMPLES


def check_case(context: Context, market: Market, audit: AuditView, opened_block: int) -> Case:
    """Hold an audit against the chain: its commit is there, and it was drawn or challenged.

    Parameters
    ----------
    opened_block:
        A block at or before the lease's opening; only bounds the search.

    Raises
    ------
    RejectedInput
        The market asks for something that the chain does not show.
    """
    history = read_history(context.chain, audit.lease_id, opened_block)
    return confirm_case(context.chain, market, audit, history)


def confirm_case(chain: ChainPort, market: Market, audit: AuditView, history: LeaseHistory) -> Case:
    """Hold an audit against its lease's history; raises as `check_case` does."""
    commit = history.commit_with_root(audit.commit_root)
    if audit.kind is AuditKind.ARBITRATION:
        _check_challenge(history, audit)
    else:
        draws = recompute_draw(chain, history, commit, audit.pool or (), samples_of(market))
        if Draw(audit.segment, audit.auditor) not in draws:
            raise BadDraw(f"segment {audit.segment} was not drawn for {audit.auditor}")
    return Case(audit=audit, history=history, commit=commit)


def _check_challenge(history: LeaseHistory, audit: AuditView) -> None:
    if not same_address(history.terms.arbiter, audit.auditor):
        raise BadDraw(f"{audit.auditor} is not the arbiter of this lease")
    if audit.segment not in {event.segment for event in history.challenges}:
        raise BadDraw(f"nobody challenged segment {audit.segment} or demanded its data")


def opened_block_hint(market: Market, lease_id: bytes) -> int:
    """Block from which to look for a lease's events, as the market says; zero if it does not."""
    try:
        opened = market.get(f"/v1/leases/0x{lease_id.hex()}").get("opened")
    except MarketRefused as error:
        if error.status == 404:
            return 0
        raise
    block = opened.get("block_number") if isinstance(opened, dict) else None
    return block if type(block) is int and block >= 0 else 0


def open_to_challenge(lease: LeaseView, segment: int) -> bool:
    """Whether a segment is committed and not paid yet, so that an audit still matters."""
    live = lease.status in {LeaseStatus.ACTIVE, LeaseStatus.DISPUTED}
    return live and lease.paid <= segment < lease.pending


def fetch_case_inputs(
    context: Context, market: Market, case: Case, allowed: Allowance = unbounded
) -> CaseInputs:
    """Fetch and check everything that a re-execution starts from.

    Parameters
    ----------
    allowed:
        How much more of the disk it may take, in bytes.

    Raises
    ------
    RejectedInput
        Key, artifacts or opening are not what they must be.
    NetworkFailed
        The market does not serve them.
    """
    audit, terms = case.audit, case.history.terms
    if audit.inputs is None:
        raise RejectedInput("there are no inputs yet")
    try:
        job_key = sealing.unwrap_key(
            audit.inputs.sealed_key, context.encryption_key, terms.job_hash
        )
    except sealing.SealingError as error:
        raise BadArtifact(f"the job key cannot be unwrapped: {error}") from error
    audits = context.folder("audits")
    folder = audits / audit.lease_id.hex()
    folder.mkdir(exist_ok=True, mode=0o700)
    artifacts = audit.inputs.artifacts
    layers = context.folder("layers")
    job = fetch_inputs(
        market, artifacts, job_key, terms.job_hash, folder / "inputs", layers, allowed
    )
    beacon = context.chain.beacon(case.history.opened.block_number)
    if beacon is None:
        raise RejectedInput("the beacon after the opening is not known")
    checkpoint, first_step, state_before = None, 0, None
    if audit.segment > 0:
        opening = check_opening(case, audit.inputs.opening, audit.segment - 1)
        first_step, state_before = opening.end_step, opening.state_hash
        if artifacts.checkpoint is None:
            raise BadArtifact("there is no checkpoint among the inputs")
        # The case's own: what another market hands over for the same segment takes it from no run.
        target = checkpoint_folder(context, case)
        limit = min(MAX_CHECKPOINT_BYTES, job.manifest.disk_bytes)
        checkpoint = fetch_checkpoint(
            market, artifacts.checkpoint, job_key, audit.segment - 1, target, limit, allowed
        )
        if checkpoint_hash(checkpoint) != opening.state_hash:
            shutil.rmtree(target, ignore_errors=True)
            raise BadArtifact("the checkpoint does not have the committed state")
    return CaseInputs(
        job=job,
        seed=job_seed(audit.lease_id, beacon),
        checkpoint=checkpoint,
        first_step=first_step,
        state_before=state_before,
    )


def checkpoint_folder(context: Context, case: Case) -> Path:
    """Where the checkpoint before a case's segment lies."""
    return context.folder("audits") / f"{case.audit.case_id}-before"


def check_opening(case: Case, opening: BoundaryOpening | None, segment: int) -> BoundaryOpening:
    """Hold an opening against the commit on the chain.

    Raises
    ------
    BadOpening
        It is missing, or does not lead to the committed root.
    """
    if opening is None:
        raise BadOpening("the opening is missing")
    if opening.segment != segment or opening.up_to != case.commit.up_to:
        raise BadOpening(f"the opening is not of segment {segment} in this commit")
    try:
        opening.verify(case.audit.lease_id, case.commit.trace_root)
    except ProofError as error:
        raise BadOpening(str(error)) from error
    return opening
