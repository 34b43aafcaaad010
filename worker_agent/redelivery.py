"""Names the inputs of a job that a market has, and delivers the others anew from own copies.

What the market already holds is handed over as it lies there, in a dispute as in an audit: else
whoever starts a dispute would choose how much the provider has to send before half of the arbiter's
time is over. A market that the order did not come through holds nothing at first, and any market
may have lost what it had. A ciphertext cannot be made again, so what is delivered anew has a new
address: the job key opens it, and ``jobHash`` binds what is inside. The journal keeps the address,
so that the next audit, or this one after a failure or a restart, sends only what is still missing.

Not covered: a market that says that it has what it does not serve; it could keep back a new copy
just as well. Nor wheels: only their unpacked layer is kept here, so their ciphertext is passed on
from the order's market.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from client_sdk import sealing
from client_sdk.protocol.bundle import Archive, pack_data, pack_folder
from client_sdk.protocol.places import artifact_place
from client_sdk.protocol.wheels import MAX_PACKED_BYTES
from worker_agent.errors import NetworkFailed, ProviderFault
from worker_agent.exchange import Artifacts, parse_artifacts
from worker_agent.inputs import JobInputs, load_inputs, sealed_limit
from worker_agent.journal import Journal
from worker_agent.market import Market
from worker_agent.records import LeaseRecord
from worker_agent.store import LeaseStore

log = logging.getLogger(__name__)
REDELIVERY: Final = "redelivery"
"""Kind of the journal's rows; their keys begin with the lease's id."""
Pack = Callable[[BinaryIO], Archive]
Write = Callable[[BinaryIO], object]


class Redelivery:
    """Inputs of jobs at the markets where they are asked for.

    Parameters
    ----------
    markets:
        Market connections by base URL.
    journal:
        Keeps what was delivered anew, and where.
    """

    def __init__(self, markets: Mapping[str, Market], journal: Journal) -> None:
        self._markets = markets
        self._journal = journal

    def deliver(
        self, record: LeaseRecord, store: LeaseStore, market: Market, before: int | None
    ) -> Artifacts:
        """Name manifest, code, data and wheels, and a checkpoint; deliver what is missing there.

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
            extra = self._pass_on(record, market, folder)
            sender = _Sender(self._journal, record, market, folder)
            artifacts = sender.inputs(inputs, extra)
            if before is None:
                return artifacts
            checkpoint = sender.checkpoint(store.segment(before), before)
            return replace(artifacts, checkpoint=checkpoint)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _pass_on(self, record: LeaseRecord, market: Market, folder: Path) -> Mapping[str, str]:
        extra = parse_artifacts(record.artifacts).extra
        for address in extra.values() if market.url != record.market else ():
            if market.has_artifact(address):
                continue
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
    """Names the parts of one job at one market; packs, seals and stores what is not there."""

    def __init__(self, journal: Journal, record: LeaseRecord, market: Market, folder: Path) -> None:
        self._journal = journal
        self._market = market
        self._job_key = bytes.fromhex(record.job_key)
        self._folder = folder
        self._prefix = f"{record.lease_id}:{market.url}:"
        at_home = market.url == record.market
        self._ordered = _by_place(parse_artifacts(record.artifacts)) if at_home else {}

    def inputs(self, inputs: JobInputs, extra: Mapping[str, str]) -> Artifacts:
        manifest = inputs.manifest
        code = _exactly(partial(pack_folder, inputs.code), manifest.bundle_hash)
        data = {}
        for item in manifest.data:
            pack = partial(pack_data, item.kind, inputs.data / item.name, item.name)
            place = artifact_place("data", name=item.name)
            data[item.name] = self._part(place, _exactly(pack, item.hash))
        return Artifacts(
            manifest=self._part(
                artifact_place("manifest"), lambda out: out.write(manifest.canonical())
            ),
            bundle=self._part(artifact_place("bundle"), code),
            data=data,
            extra=extra,
        )

    def checkpoint(self, checkpoint: Path, segment: int) -> str:
        place = artifact_place("checkpoint", segment=segment)
        return self._part(place, partial(pack_folder, checkpoint))

    def _part(self, place: str, write: Write) -> str:
        """Address of a part that the market has, or has from now on."""
        row = self._journal.get(REDELIVERY, self._prefix + place)
        known = self._ordered.get(place) if row is None else str(row["address"])
        if known is not None and self._market.has_artifact(known):
            return known
        plain, sealed = self._folder / "plain", self._folder / "sealed"
        with plain.open("wb") as out:
            write(out)
        address = sealing.encrypt_file(self._job_key, plain, sealed, place.encode())
        plain.unlink()
        self._market.put_artifact(address, sealed)
        self._journal.put(REDELIVERY, self._prefix + place, {"address": address})
        log.info("lease %s: %s delivered to %s", self._prefix[:10], place, self._market.url)
        return address


def _by_place(artifacts: Artifacts) -> dict[str, str]:
    data = {artifact_place("data", name=name): item for name, item in artifacts.data.items()}
    return {
        artifact_place("manifest"): artifacts.manifest,
        artifact_place("bundle"): artifacts.bundle,
        **data,
    }


def _exactly(pack: Pack, expected: bytes) -> Write:
    """Pack, and see that it is what the job's hash binds."""

    def write(out: BinaryIO) -> None:
        if pack(out).hash != expected:
            raise ProviderFault("this machine's copy of the job's inputs is damaged")

    return write
