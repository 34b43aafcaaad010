"""Delivers a job's inputs to a market anew, from this machine's own copies.

An audit at a market that the order did not come through needs them there; so does a dispute, in
which a market may have lost or kept back what it had. A ciphertext cannot be made again, so these
have new addresses: the job key opens them, and ``jobHash`` binds what is inside.

Not covered: wheels. Only their unpacked layer is kept here, so their ciphertext is passed on from
the order's market.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from client_sdk import sealing
from client_sdk.protocol.bundle import Archive, pack_data, pack_folder
from client_sdk.protocol.places import artifact_place
from client_sdk.protocol.wheels import MAX_PACKED_BYTES
from worker_agent.errors import NetworkFailed, ProviderFault
from worker_agent.exchange import Artifacts, parse_artifacts
from worker_agent.inputs import JobInputs, load_inputs, sealed_limit
from worker_agent.market import Market
from worker_agent.records import LeaseRecord
from worker_agent.store import LeaseStore

log = logging.getLogger(__name__)
Pack = Callable[[BinaryIO], Archive]


class Redelivery:
    """Inputs delivered anew; those of one job go to one market once in a process's life.

    Parameters
    ----------
    markets:
        Market connections by base URL.
    """

    def __init__(self, markets: Mapping[str, Market]) -> None:
        self._markets = markets
        self._done: dict[tuple[str, str], Artifacts] = {}

    def deliver(
        self, record: LeaseRecord, store: LeaseStore, market: Market, before: int | None
    ) -> Artifacts:
        """Deliver manifest, code, data and wheels, and a checkpoint.

        Parameters
        ----------
        before:
            Segment whose end the re-execution starts from; ``None`` for the job's start.

        Raises
        ------
        ProviderFault
            This machine's copies are gone or damaged, or the order's market does not give the
            wheels.
        NetworkFailed
            The market does not take them.
        """
        inputs = load_inputs(store.inputs, record.parsed_terms.job_hash)
        if inputs is None:
            raise ProviderFault("the job's inputs are not here any more")
        folder = Path(tempfile.mkdtemp(prefix="again-", dir=store.upload))
        try:
            sender = _Sender(market, bytes.fromhex(record.job_key), folder)
            key = (record.lease_id, market.url)
            known = self._done.get(key)
            if known is None:
                extra = self._pass_on(record, market, folder)
                known = self._done[key] = sender.inputs(inputs, extra)
                log.info("lease %s: inputs delivered to %s", record.lease_id[:10], market.url)
            if before is None:
                return known
            return sender.with_checkpoint(known, store.segment(before), before)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _pass_on(self, record: LeaseRecord, market: Market, folder: Path) -> Mapping[str, str]:
        extra = parse_artifacts(record.artifacts).extra
        for address in extra.values() if market.url != record.market else ():
            path = folder / "passed-on"
            self._fetch_home(record.market, address, path)
            market.put_artifact(address, path)
        return extra

    def _fetch_home(self, url: str, address: str, path: Path) -> None:
        """Fetch from the order's market; its failure must not count as that of the other one."""
        home = self._markets.get(url)
        if home is None:
            raise ProviderFault(f"this worker does not use {url} any more, which has the wheels")
        try:
            home.fetch_artifact(address, path, sealed_limit(MAX_PACKED_BYTES))
        except NetworkFailed as error:
            raise ProviderFault(f"{url} does not give the wheels: {error}") from error


class _Sender:
    """Packs, seals and stores the parts of one job at one market."""

    def __init__(self, market: Market, job_key: bytes, folder: Path) -> None:
        self._market = market
        self._job_key = job_key
        self._folder = folder

    def inputs(self, inputs: JobInputs, extra: Mapping[str, str]) -> Artifacts:
        manifest = inputs.manifest
        plain = self._folder / "manifest"
        plain.write_bytes(manifest.canonical())
        return Artifacts(
            manifest=self._put(plain, artifact_place("manifest")),
            bundle=self._packed(
                lambda out: pack_folder(inputs.code, out),
                artifact_place("bundle"),
                manifest.bundle_hash,
            ),
            data={
                item.name: self._packed(
                    partial(pack_data, item.kind, inputs.data / item.name, item.name),
                    artifact_place("data", name=item.name),
                    item.hash,
                )
                for item in manifest.data
            },
            extra=extra,
        )

    def with_checkpoint(self, artifacts: Artifacts, checkpoint: Path, segment: int) -> Artifacts:
        place = artifact_place("checkpoint", segment=segment)
        address = self._packed(lambda out: pack_folder(checkpoint, out), place, None)
        return replace(artifacts, checkpoint=address)

    def _packed(self, pack: Pack, place: str, expected: bytes | None) -> str:
        plain = self._folder / "plain"
        with plain.open("wb") as out:
            archive = pack(out)
        if expected not in (None, archive.hash):
            raise ProviderFault(f"this machine's copy of {place} is damaged")
        return self._put(plain, place)

    def _put(self, plain: Path, place: str) -> str:
        sealed = self._folder / "sealed"
        address = sealing.encrypt_file(self._job_key, plain, sealed, place.encode())
        plain.unlink()
        self._market.put_artifact(address, sealed)
        return address
