"""Downloading a job's artifacts, and opening them.

Covered: a ciphertext is what its address says, a plaintext is what the job's key authenticates for
its place, archives are unpacked without links or ways out, sizes are bounded by what the node
announced and by the limits here. Not covered: what the outputs contain; a worker wrote them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from client_sdk import sealing
from client_sdk.errors import InputRejected, MarketMisbehaved, NotFound, VerificationFailed
from client_sdk.protocol.bundle import BundleLimits, unpack
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.places import artifact_place
from client_sdk.protocol.receipt import ArtifactKind, ReceiptArtifact
from client_sdk.transports import MarketNode

MAX_ARTIFACT_BYTES = 64 << 30
RESULTS = (ArtifactKind.CHECKPOINT, ArtifactKind.OUTPUT, ArtifactKind.TRACE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an artifact belongs: what it was sealed as, and where it is put."""

    aad: str
    target: str
    """Path below the artifacts' folder."""
    is_archive: bool


def place_of(artifact: ReceiptArtifact) -> Place:
    """Place of an artifact; its names are checked, as they become paths."""
    kind = artifact.kind
    if kind is ArtifactKind.CHECKPOINT:
        segment = artifact.segment or 0
        return Place(
            aad=artifact_place(kind, segment=segment),
            target=f"checkpoint-{segment}",
            is_archive=True,
        )
    if kind is ArtifactKind.TRACE:
        return Place(aad=artifact_place(kind), target="trace.json", is_archive=False)
    if kind is ArtifactKind.MANIFEST:
        return Place(aad=artifact_place(kind), target="manifest.json", is_archive=False)
    if kind is ArtifactKind.DATA:
        name = artifact.name or ""
        if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise MarketMisbehaved(f"a data set named {name[:40]!r}")
        return Place(
            aad=artifact_place(kind, name=name), target=f"data/{name}.tar", is_archive=False
        )
    target = "output" if kind is ArtifactKind.OUTPUT else "code"
    return Place(aad=artifact_place(kind), target=target, is_archive=True)


def listed(node: MarketNode, job_id: str) -> list[ReceiptArtifact]:
    """Artifacts that the node has of a job."""
    answer = node.get(f"/v1/jobs/{job_id}/artifacts").get("artifacts")
    if not isinstance(answer, list):
        raise MarketMisbehaved(f"{node.url}: a list of artifacts that is none")
    try:
        return [ReceiptArtifact.from_json(entry) for entry in answer]
    except ProtocolError as error:
        raise MarketMisbehaved(f"{node.url}: a malformed artifact: {error}") from error


def fetch_artifacts(
    node: MarketNode, job_id: str, job_key: bytes, folder: Path, *, replace: bool = False
) -> list[Path]:
    """Download and open the job's results: the last checkpoint, the outputs, the trace.

    Parameters
    ----------
    replace:
        Remove what lies at their places; only for a folder that holds nothing but downloads.

    Raises
    ------
    NotFound
        Nothing has been stored yet.
    VerificationFailed
        An artifact is not what its address or its key says.
    InputRejected
        Something lies where an artifact belongs; nothing was downloaded.
    """
    found = [entry for entry in listed(node, job_id) if entry.kind in RESULTS]
    checkpoints = [entry for entry in found if entry.kind is ArtifactKind.CHECKPOINT]
    last = max((entry.segment or 0 for entry in checkpoints), default=None)
    wanted = [
        entry
        for entry in found
        if entry.kind is not ArtifactKind.CHECKPOINT or (entry.segment or 0) == last
    ]
    if not wanted:
        raise NotFound(
            f"{job_id} has stored no artifacts yet",
            what_to_do="The first commit brings a checkpoint; a job that ended before it has none.",
        )
    if not replace:
        _require_free(folder, wanted)
    return [fetch(node, entry, job_key, folder) for entry in wanted]


def _require_free(folder: Path, wanted: list[ReceiptArtifact]) -> None:
    """Refuse to take the place of files that may be the user's own."""
    targets = [folder / place_of(entry).target for entry in wanted]
    taken = [str(target) for target in targets if os.path.lexists(target)]
    if taken:
        raise InputRejected(
            f"{', '.join(taken)}: there already; nothing was downloaded",
            what_to_do="Name another folder with -o, or move what lies there out of the way.",
        )


def fetch(node: MarketNode, artifact: ReceiptArtifact, job_key: bytes, folder: Path) -> Path:
    """Download one artifact, check it, open it and put it in its place."""
    place = place_of(artifact)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as name:
        sealed = Path(name) / "sealed"
        limit = min(artifact.size, MAX_ARTIFACT_BYTES)
        with sealed.open("xb") as out:
            node.get_file(f"/v1/artifacts/{artifact.hash}", out, max_bytes=limit)
        if sealing.address_of_file(sealed) != artifact.hash:
            raise VerificationFailed(f"{node.url} served other bytes than {artifact.hash}")
        return open_sealed(sealed, place, job_key, folder)


def open_sealed(sealed: Path, place: Place, job_key: bytes, folder: Path) -> Path:
    """Decrypt, unpack where it is an archive, and replace what an earlier download left."""
    target = folder / place.target
    plain, opened = sealed.with_name("plain"), sealed.with_name("opened")
    try:
        sealing.decrypt_file(job_key, sealed, plain, place.aad.encode())
        if place.is_archive:
            limits = BundleLimits(total_bytes=plain.stat().st_size)
            with plain.open("rb") as source:
                unpack(source, opened, limits=limits)
    except (sealing.SealingError, ProtocolError) as error:
        raise VerificationFailed(f"{place.target}: {error}") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    (opened if place.is_archive else plain).replace(target)
    return target
