"""One job as its renter sees it: status, logs, money, artifacts, receipt, cancel."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client_sdk import fetching
from client_sdk.accounting import Account, account_of
from client_sdk.chain.errors import CallReverted, ChainError
from client_sdk.chain.signing import sign
from client_sdk.errors import (
    JobFailed,
    MarketRefused,
    NetworkFailed,
    NotFound,
    ProviderFailed,
)
from client_sdk.facts import chain_errors
from client_sdk.home import JobRecord, write_private
from client_sdk.metering import payable_segments
from client_sdk.protocol.canonical import hash_from_hex, to_hex
from client_sdk.protocol.states import JobState
from client_sdk.protocol.terms import Terms, Voucher
from client_sdk.protocol.verdicts import (
    CONSEQUENCES,
    Family,
    Verdict,
    close_cause,
    final_verdict,
)
from client_sdk.watch import Frame, FrameKind, FrameReader, read_frames
from contracts.bindings import LeaseStatus

if TYPE_CHECKING:
    from client_sdk.client import Client

LOG = logging.getLogger("gridlease")
CHAIN_POLL_S = 1.0
CONFIRMATIONS = 2
RECEIPT_TIMEOUT_S = 60.0
VERDICT_PATIENCE_S = 30.0
"""How long after the closing a worker's verdict is waited for; the chain's own is the default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """Where a job is. Money and paid segments are the chain's word, the rest the node's."""

    job_id: str
    lease_id: str
    state: str
    """State as the marketplace node tells it, or as the chain implies when no node answers."""
    verdict: Verdict | None
    """Cause of the ending; None while the job runs."""
    verdict_reported: bool
    """Whether the worker has told the cause; until then `verdict` is what the chain implies."""
    segments: int
    """Most segments of the lease."""
    segments_done: int
    """Segments that the worker says it has finished."""
    account: Account
    confirmed: bool
    """Whether the closing is deep enough in the chain to stay."""

    @property
    def ended(self) -> bool:
        """Whether the lease is closed and the money split, for good."""
        return self.account.cause is not None and self.confirmed

    def to_json(self) -> dict[str, Any]:
        """For `--json`; amounts are decimal strings in the token's smallest unit."""
        account = self.account
        return {
            "schema": "gridlease/status/1",
            "job_id": self.job_id,
            "lease_id": self.lease_id,
            "state": self.state,
            "verdict": None if self.verdict is None else str(self.verdict),
            "segments": self.segments,
            "segments_done": self.segments_done,
            "segments_committed": account.committed_segments,
            "segments_paid": account.paid_segments,
            "funded": str(account.funded),
            "relay_fee": str(account.relay_fee),
            "paid": str(account.paid),
            "refunded": str(account.refunded),
            "slashed": str(account.slashed),
            "closed": None if account.cause is None else str(close_cause(account.cause)),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """One thing that happened while watching: a frame, a new status, or nothing for a second."""

    frame: Frame | None = None
    status: Status | None = None


class Job:
    """A job that this renter ordered.

    `status`, `logs`, `wait`, `artifacts`, `receipt` and `cancel` may be called at any time, also
    from another process than the one that ran it.
    """

    def __init__(self, client: Client, record: JobRecord) -> None:
        assert record.terms is not None
        assert record.lease_id is not None
        self._client = client
        self.record = record
        self.id = record.job_id
        self.lease_id = record.lease_id
        self.terms = Terms.from_json(record.terms)
        self.job_key = bytes.fromhex(record.job_key)
        self._node = client.markets.node(record.market)
        self._voucher = 0

    def __repr__(self) -> str:
        return f"Job({self.id}, lease={self.lease_id})"

    def account(self) -> Account:
        """What happened to the money so far, from the chain alone."""
        return self._read_account()[0]

    def _read_account(self) -> tuple[Account, int]:
        """The account, and the newest block that it was read at."""
        chain = self._client.chain
        with chain_errors("reading the lease"):
            head = chain.head()
            first, lease_id = chain.deployment.start_block, hash_from_hex(self.lease_id)
            return account_of(self.terms, chain.events(first, head, topic=lease_id)), head

    def status(self) -> Status:
        """Where the job is; works without any marketplace node."""
        account, head = self._read_account()
        view = self._view()
        progress = view.get("progress")
        done = progress.get("segments", 0) if isinstance(progress, dict) else 0
        reported = view.get("verdict")
        known = reported if reported in set(Verdict) else None
        verdict = None
        if account.cause is not None:
            verdict = final_verdict(
                close_cause(account.cause), None if known is None else Verdict(known)
            )
        return Status(
            job_id=self.id,
            lease_id=self.lease_id,
            state=_state_of(account, str(view.get("state", "")), verdict),
            verdict=verdict,
            verdict_reported=known is not None,
            segments=self.terms.segments,
            segments_done=max(done if isinstance(done, int) else 0, account.committed_segments),
            account=account,
            confirmed=account.closed_block is not None
            and head - account.closed_block >= CONFIRMATIONS,
        )

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """Text that the job's program wrote; with `follow` until the job ends."""
        for frame in read_frames(
            self._node, self.id, self.job_key, follow=follow, stopped=lambda: False
        ):
            if frame.kind is FrameKind.LOG:
                yield frame.text

    def watch(self) -> Iterator[Update]:
        """Frames as they come, and the status about once a second, until the lease is closed.

        Signs vouchers of a metered job on the way: each covers the segments that the worker has
        reported finished, so at most one unpaid segment is at risk on either side.
        """
        reader = FrameReader(self._node, self.id, self.job_key)
        reader.start()
        next_look, last = 0.0, None
        patience = VERDICT_PATIENCE_S / CHAIN_POLL_S
        try:
            while last is None or not last.ended or (not last.verdict_reported and patience > 0):
                item = reader.get(0.2)
                if isinstance(item, Frame):
                    yield Update(frame=item)
                if time.monotonic() < next_look:
                    continue
                next_look = time.monotonic() + CHAIN_POLL_S
                self._maintain()
                status = self._status_patiently()
                patience -= status is not None and status.ended
                if status is not None:
                    self._pay_metered(status)  # each time: a voucher may wait for the clock
                if status is None or status == last:
                    yield Update()  # so that a caller can look at its clock
                    continue
                last = status
                yield Update(status=status)
            while isinstance(item := reader.get(0.2), Frame):
                yield Update(frame=item)
        finally:
            reader.stop()

    def wait(
        self, *, timeout_s: float | None = None, on_update: Callable[[Update], None] | None = None
    ) -> Status:
        """Wait until the job has ended and the money is split.

        Raises
        ------
        TimeoutError
            It still runs after `timeout_s`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        last: Status | None = None
        for update in self.watch():
            last = update.status or last
            if on_update is not None:
                on_update(update)
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"{self.id} still runs after {timeout_s:.0f} s")
        return last or self.status()

    def result(self, *, timeout_s: float | None = None) -> Status:
        """As `wait`, but a job that did not complete raises.

        Raises
        ------
        JobFailed
            The renter's code, budget or stop ended it.
        ProviderFailed
            The network or the provider did.
        """
        status = self.wait(timeout_s=timeout_s)
        raise_unless_completed(status)
        return status

    def cancel(self) -> bytes:
        """Stop the lease on the chain; finished segments and at most the running one are paid.

        Returns
        -------
        bytes
            Hash of the stopping transaction.
        """
        chain = self._client.chain
        with chain_errors("stopping the lease"):
            lease = chain.lease(hash_from_hex(self.lease_id))
            if lease.status is LeaseStatus.CLOSED:
                raise NotFound(
                    f"{self.id} has ended already", what_to_do="There is nothing to stop."
                )
            call = chain.escrow.stop(self.terms.abi_tuple())
            try:
                if self._client.relays.wanted:
                    return self._client.relays.stop(self.terms, first=self._node)
                return self._client.sender.send(call, f"stop:{self.lease_id}").tx_hash
            except CallReverted as error:
                raise NotFound(
                    f"{self.id} cannot be stopped any more: {error}",
                    what_to_do="It is ending by itself; see `gridlease status`.",
                ) from error

    def receipt(self, *, timeout_s: float = RECEIPT_TIMEOUT_S) -> Path:
        """Fetch the receipt; returns the file that it was saved to.

        The node makes it once the closing is confirmed, so it may take some seconds.
        """
        path = self._client.home.receipt(self.lease_id)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                content = self._node.get(f"/v1/jobs/{self.id}/receipt")
                break
            except MarketRefused as error:
                if error.code != "receipt_pending" or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)
        write_private(path, json.dumps(content, indent=1).encode())
        return path

    def artifacts(self, folder: Path | None = None) -> list[Path]:
        """Download and open checkpoint, outputs and trace; returns what was written.

        Everything is checked: ciphertext against its address, plaintext against its key. In the
        home folder an earlier download is replaced; in a `folder` of yours nothing ever is.

        Raises
        ------
        InputRejected
            Something lies where an artifact belongs; nothing was downloaded.
        """
        target = folder or self._client.home.artifacts(self.id)
        return fetching.fetch_artifacts(
            self._node, self.id, self.job_key, target, replace=folder is None
        )

    def _view(self) -> dict[str, Any]:
        """The node's view of the job; empty when it does not answer."""
        try:
            return self._node.get(f"/v1/jobs/{self.id}")
        except NetworkFailed:
            return {}

    def _status_patiently(self) -> Status | None:
        """The status; None while the chain is being restarted."""
        try:
            return self.status()
        except NetworkFailed:
            return None

    def _maintain(self) -> None:
        """Send again what the chain lost of the renter's own transactions."""
        try:
            self._client.sender.maintain()
        except ChainError:
            LOG.debug("the chain does not answer", exc_info=True)

    def _pay_metered(self, status: Status) -> None:
        """Sign a voucher for what was finished; the money is in the escrow already."""
        if not self.terms.metered or status.ended or status.segments_done <= self._voucher:
            return
        segments = self._payable(status.segments_done)
        if segments <= self._voucher:
            return
        voucher = Voucher(lease_id=hash_from_hex(self.lease_id), segments=segments)
        signature = sign(voucher, self._client.chain.domain, self._client.account)
        body = {"voucher": voucher.to_json(), "signature": to_hex(signature)}
        try:
            self._node.post(f"/v1/leases/{self.lease_id}/vouchers", body)
        except NetworkFailed:
            return
        self._voucher = segments

    def _payable(self, reported: int) -> int:
        """What of a metered job's reported segments can have run by the chain's clock."""
        chain = self._client.chain
        try:
            elapsed_s = chain.now() - chain.lease(hash_from_hex(self.lease_id)).opened_at
        except ChainError:
            return 0  # asked again with the next status
        return payable_segments(
            reported,
            elapsed_s=elapsed_s,
            segment_seconds=int(self.record.manifest.get("segment_seconds", 0)),
            max_segments=self.terms.segments,
        )

    def with_record(self, **changes: Any) -> Job:
        """The same job with a changed record, saved."""
        record = replace(self.record, **changes)
        self._client.home.save_job(record)
        return Job(self._client, record)


def raise_unless_completed(status: Status) -> None:
    """Raise the error that a verdict stands for; nothing for a completed job."""
    verdict = status.verdict
    if verdict in (None, Verdict.COMPLETED, Verdict.RENTER_STOPPED):
        return
    consequence = CONSEQUENCES[verdict]
    text = f"{status.job_id}: {verdict}: {consequence.text}"
    raise JobFailed(text) if consequence.family is Family.JOB else ProviderFailed(text)


def _state_of(account: Account, told: str, verdict: Verdict | None) -> str:
    """State for people: the chain's where it decides, the node's where it is one."""
    if account.cause is None:
        return told if told in set(JobState) else str(JobState.RUNNING)
    if verdict is Verdict.COMPLETED:
        return str(JobState.COMPLETED)
    return str(JobState.CANCELLED if verdict is Verdict.RENTER_STOPPED else JobState.FAILED)
