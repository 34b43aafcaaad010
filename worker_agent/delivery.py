"""Brings a lease's results to its market: frames, progress, checkpoints, outputs, the ending.

Each delivery is journaled before it is tried and again when it is done, and storing the same
ciphertext twice changes nothing; so deliveries go on after a kill. A market that is away holds up
nothing but its own deliveries: money moves on the chain. To a market that left the settings nothing
is delivered any more, and its leases' files go when other leases' files would.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from eth_account.signers.local import LocalAccount

from client_sdk import sealing
from client_sdk.chain.signing import sign
from client_sdk.protocol.bundle import pack_folder
from client_sdk.protocol.canonical import ZERO_HASH, canonical_json
from client_sdk.protocol.eip712 import Domain
from client_sdk.protocol.ids import IdKind, new_id
from client_sdk.protocol.messages import Progress
from client_sdk.protocol.places import artifact_place
from client_sdk.protocol.records import SegmentRecord
from client_sdk.protocol.trace_document import TraceDocument
from worker_agent.errors import MarketRefused, ProviderFault
from worker_agent.frames import post_frames
from worker_agent.journal import Journal
from worker_agent.market import Market
from worker_agent.records import LeasePhase, LeaseRecord, Leases
from worker_agent.redelivery import REDELIVERY
from worker_agent.store import LeaseStore
from worker_agent.tracebook import TraceBook, salt_of
from worker_agent.vouchers import refresh_voucher

log = logging.getLogger(__name__)
_KIND: Final = "delivery"
_DROPPED: Final = "the lease was started over or closed while this was delivered"


class Deliverer:
    """Deliveries of all leases.

    Parameters
    ----------
    journal, leases:
        What is to be delivered, and what has been.
    markets:
        Market connections by base URL.
    folder:
        Folder of all leases' files.
    account, domain:
        The operator's key, and what its signatures are for.
    patience_s:
        How long after a job's end deliveries are tried before the lease goes on without them.
    """

    def __init__(
        self,
        journal: Journal,
        leases: Leases,
        markets: Mapping[str, Market],
        folder: Path,
        account: LocalAccount,
        domain: Domain,
        patience_s: float,
    ) -> None:
        self._journal = journal
        self._leases = leases
        self._markets = markets
        self._folder = folder
        self._account = account
        self._domain = domain
        self._patience_s = patience_s
        self._progress: dict[str, int] = {}
        self._skipped: set[str] = set()
        self._lock = threading.Lock()
        self._item_locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def store(self, lease_id: str) -> LeaseStore:
        """Files of a lease."""
        return LeaseStore(self._folder / lease_id)

    def committed(self, record: LeaseRecord, up_to: int) -> None:
        """Deliver the checkpoint that a commit ends with."""
        if not record.parsed_terms.metered:
            self._want(record, "checkpoint", up_to - 1)

    def paid(self, record: LeaseRecord, num_segments: int) -> None:
        """Drop the checkpoints that nobody needs once so many segments are paid for good.

        What stays: all that an unpaid segment's audit or dispute starts from, what the job goes on
        from, what the renter is still to get.
        """
        waiting = {item["segment"] for item in self._items(record) if not item["done"]}
        self.store(record.lease_id).drop_segments_before(num_segments - 1, waiting)

    def finish(self, record: LeaseRecord) -> None:
        """Deliver all that is left of an ended lease, or give up after some time."""
        if record.delivered:
            return
        for kind, segment in self._final_items(record):
            self._want(record, kind, segment)
        waiting = [item for item in self._items(record) if not item["done"]]
        if waiting and time.time() < (record.ended_at or 0) + self._patience_s:
            return
        if waiting:
            log.warning("lease %s: %d artifacts not delivered", record.lease_id[:10], len(waiting))
        self._leases.update(record.lease_id, delivered=True)

    def forget(self, record: LeaseRecord) -> None:
        """Drop deliveries and files of an attempt that a reorganisation made worthless."""
        self._drop_rows(record)
        self._progress.pop(record.lease_id, None)
        store = self.store(record.lease_id)
        store.drop_segments()
        shutil.rmtree(store.upload, ignore_errors=True)
        shutil.rmtree(store.outputs, ignore_errors=True)

    def remove(self, record: LeaseRecord) -> None:
        """Remove the files of a lease that is over."""
        self._drop_rows(record)
        self.store(record.lease_id).remove()

    def _drop_rows(self, record: LeaseRecord) -> None:
        for kind in (_KIND, REDELIVERY):
            self._journal.remove(kind, f"{record.lease_id}:")

    def tick(self) -> None:
        """Deliver what waits; one lease's failure does not hold up the others."""
        failure: Exception | None = None
        for record in self._leases.active():
            if record.phase in {LeasePhase.SIGNED, LeasePhase.OPENED}:
                continue
            try:
                self._deliver(record)
            except Exception as error:  # the edge of one lease: raised again after the others
                log.debug("lease %s", record.lease_id[:10], exc_info=True)
                failure = error
        if failure is not None:
            raise failure

    def checkpoint_address(self, record: LeaseRecord, segment: int, market: Market) -> str:
        """Deliver the checkpoint at the end of a segment to its market now, unless it has it there.

        Returns its address.

        Raises
        ------
        ProviderFault
            The lease was started over or closed meanwhile.
        """
        self._want(record, "checkpoint", segment)
        return self._deliver_item(record, "checkpoint", segment, market)

    def _deliver(self, record: LeaseRecord) -> None:
        market = self._markets.get(record.market)
        if market is None:
            self._skip(record)
            return
        post_frames(self._journal, market, record.lease_id)
        self._post_progress(record, market)
        if record.parsed_terms.metered:
            refresh_voucher(market, self._leases, record, self._domain)
        for item in self._items(record):
            if not item["done"]:
                self._deliver_item(record, item["kind"], item["segment"], market)
        if record.delivered and not record.ending_posted:
            self._post_ending(record, market)

    def _skip(self, record: LeaseRecord) -> None:
        """Deliver nothing; nor wait for it once the lease is over."""
        if record.lease_id not in self._skipped:
            self._skipped.add(record.lease_id)
            log.warning(
                "lease %s: nothing is delivered, since `markets` does not name %s any more",
                record.lease_id[:10],
                record.market,
            )
        if record.delivered and not record.ending_posted:
            self._leases.update(record.lease_id, ending_posted=True)

    def _final_items(self, record: LeaseRecord) -> list[tuple[str, int | None]]:
        items: list[tuple[str, int | None]] = []
        rows = self._leases.segments(record.lease_id)
        if rows and not record.parsed_terms.metered:
            items += [("trace", None), ("checkpoint", rows[-1].index)]
        outputs = self.store(record.lease_id).outputs
        if outputs.is_dir() and any(outputs.iterdir()):
            items += [("output", None)]
        return items

    def _items(self, record: LeaseRecord) -> list[dict[str, Any]]:
        return self._journal.all(_KIND, f"{record.lease_id}:")

    def _want(self, record: LeaseRecord, kind: str, segment: int | None) -> None:
        key = _key(record, kind, segment)
        item = {"kind": kind, "segment": segment, "address": None, "size": 0, "done": False}
        with self._journal.transaction():
            if self._journal.get(_KIND, key) is None:
                self._journal.put(_KIND, key, item)

    def _deliver_item(
        self, record: LeaseRecord, kind: str, segment: int | None, market: Market
    ) -> str:
        """Bring one artifact to its market, unless it has it there; returns its address.

        The loops of deliveries and of audits may want the same one at once, and share its files:
        one of them brings it, and the other waits for that.
        """
        key = _key(record, kind, segment)
        with self._lock:
            item_lock = self._item_locks.setdefault(key, threading.Lock())
        with item_lock:
            item = self._journal.get(_KIND, key)
            if item is None:
                raise ProviderFault(_DROPPED)
            if not (item["done"] and market.has_artifact(item["address"])):
                item = self._bring(record, item, market)
            return str(item["address"])

    def _bring(self, record: LeaseRecord, item: dict[str, Any], market: Market) -> dict[str, Any]:
        kind, segment = str(item["kind"]), item["segment"]
        key = _key(record, kind, segment)
        path = self.store(record.lease_id).upload / (
            kind if segment is None else f"{kind}-{segment}"
        )
        if item["address"] is None or not path.is_file():
            address = self._encrypt(record, kind, segment, path)
            item = self._change(key, item, address=address, size=path.stat().st_size)
        market.put_artifact(str(item["address"]), path)
        announced = {
            "kind": kind,
            "segment": segment,
            "name": None,
            "hash": item["address"],
            "size": item["size"],
        }
        market.post(f"/v1/leases/0x{record.lease_id}/artifacts", {"artifacts": [announced]})
        item = self._change(key, item, done=True)
        path.unlink(missing_ok=True)
        return item

    def _change(self, key: str, item: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Journal a change, unless the lease was started over meanwhile: a row made since then
        must not name the void attempt's artifact."""
        changed = {**item, **changes}
        with self._journal.transaction():
            if self._journal.get(_KIND, key) != item:
                raise ProviderFault(_DROPPED)
            self._journal.put(_KIND, key, changed)
        return changed

    def _encrypt(self, record: LeaseRecord, kind: str, segment: int | None, path: Path) -> str:
        """Write the ciphertext of one artifact; returns its address."""
        store = self.store(record.lease_id)
        plain = path.with_name(path.name + ".plain")
        aad = artifact_place(kind, segment=segment)
        try:
            if kind == "trace":
                plain.write_bytes(canonical_json(self._trace(record).to_json()))
            elif kind == "checkpoint":
                assert segment is not None
                _pack(store.segment(segment), plain)
            else:
                _pack(store.outputs, plain)
            return sealing.encrypt_file(bytes.fromhex(record.job_key), plain, path, aad.encode())
        finally:
            plain.unlink(missing_ok=True)

    def _trace(self, record: LeaseRecord) -> TraceDocument:
        """Everything that ties the final checkpoint to the root on the chain."""
        rows = self._leases.segments(record.lease_id)
        return TraceDocument(
            records=tuple(SegmentRecord.from_json(row.record) for row in rows),
            salts=tuple(salt_of(record, row.index) for row in rows),
        )

    def _post_progress(self, record: LeaseRecord, market: Market) -> None:
        rows = self._leases.segments(record.lease_id)
        if not rows or self._progress.get(record.lease_id) == len(rows):
            return
        metered = record.parsed_terms.metered
        root = ZERO_HASH if metered else TraceBook(record, rows).trace_root(len(rows))
        progress = Progress(
            lease_id=record.digest, segments=len(rows), trace_root=root, at=int(time.time())
        )
        signature = sign(progress, self._domain, self._account)
        self._post(
            market,
            f"/v1/leases/0x{record.lease_id}/progress",
            {
                "progress": progress.to_json(),
                "signature": "0x" + signature.hex(),
                "attempt": record.attempt,
            },
        )
        self._progress[record.lease_id] = len(rows)

    def _post_ending(self, record: LeaseRecord, market: Market) -> None:
        rows = self._leases.segments(record.lease_id)
        self._post(
            market,
            f"/v1/leases/0x{record.lease_id}/ending",
            {
                "verdict": record.verdict,
                "attempt": record.attempt or new_id(IdKind.ATTEMPT),
                "evidence": record.evidence,
                "segment_roots": [f"0x{row.segment_root}" for row in rows],
            },
        )
        self._leases.update(record.lease_id, ending_posted=True)

    @staticmethod
    def _post(market: Market, path: str, body: dict[str, Any]) -> None:
        """Post; what a market refuses for good is logged and not tried again."""
        try:
            market.post(path, body)
        except MarketRefused as error:
            # 404: its index has not seen the lease yet, or lost it for a moment.
            if error.status in {404, 429} or error.status >= 500:
                raise
            log.warning("%s: %s", path, error)


def _pack(folder: Path, target: Path) -> None:
    with target.open("wb") as out:
        pack_folder(folder, out)


def _key(record: LeaseRecord, kind: str, segment: int | None) -> str:
    return f"{record.lease_id}:{kind}:{0 if segment is None else segment:06d}"
