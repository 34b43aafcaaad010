"""A job's inputs: fetched, decrypted, and held against every hash before anything looks inside.

*Covered:* the manifest is the one that ``jobHash`` names; code and data are the ones that the
manifest names, wheels the ones that its list names; sizes are bounded by what the manifest says and
by this worker's limits; archives are unpacked without links, devices or ways out. *Not covered:*
what the code does; that is the sandbox's business.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client_sdk import sealing
from client_sdk.protocol.bundle import BundleLimits, unpack
from client_sdk.protocol.canonical import ZERO_HASH
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.manifest import MAX_MANIFEST_BYTES, DataKind, JobManifest
from client_sdk.protocol.places import artifact_place
from client_sdk.protocol.records import MAX_RECORD_BYTES
from client_sdk.protocol.wheels import MAX_PACKED_BYTES
from worker_agent.checkpoints import MAX_STATE_BYTES
from worker_agent.errors import ArtifactTooLarge, BadArtifact, NoRoom, OtherBytes
from worker_agent.exchange import Artifacts
from worker_agent.layers import check_wheels, link_layer
from worker_agent.market import Market
from worker_agent.sandbox.files import make_readable

#: Largest code bundle, in bytes.
MAX_BUNDLE_BYTES: Final = 1 << 30
_SPARE_BYTES: Final = 2 * MAX_BUNDLE_BYTES
_COMPLETE: Final = "complete"
_IMAGE: Final = "image"
_MANIFEST: Final = "manifest.json"

Allowance = Callable[[], float]


def unbounded() -> float:
    """No limit but the disk."""
    return math.inf


@dataclass(frozen=True, slots=True)
class JobInputs:
    """Checked inputs of one job on this machine's disk."""

    manifest: JobManifest
    code: Path
    """Folder shown as ``/code``."""
    data: Path
    """Folder whose entries are shown under ``/data``."""
    image: Path | None = None
    """Folder shown as ``/image``: unpacked wheels; ``None`` when the job brings none."""

    def size_bytes(self) -> int:
        """Size of code and wheels as they lie here, and of the data's archives."""
        folders = [self.code] if self.image is None else [self.code, self.image]
        files = (path for folder in folders for path in folder.rglob("*"))
        own = sum(path.lstat().st_size for path in files if path.is_file())
        return own + sum(item.size for item in self.manifest.data)


def sealed_limit(plain_bytes: int) -> int:
    """Largest ciphertext of a plaintext: header, and a tag for each piece of a MiB."""
    return plain_bytes + 64 * (plain_bytes // (1 << 20) + 2) + 1024


def load_inputs(folder: Path, job_hash: bytes) -> JobInputs | None:
    """Find inputs that were fetched before and are complete."""
    try:
        marker = (folder / _COMPLETE).read_text(encoding="ascii")
        if marker != job_hash.hex():
            return None
        manifest = JobManifest.from_bytes((folder / _MANIFEST).read_bytes(), job_hash)
    except (OSError, ProtocolError):
        return None
    return _inputs_in(folder, manifest)


def fetch_inputs(
    market: Market,
    artifacts: Artifacts,
    job_key: bytes,
    job_hash: bytes,
    folder: Path,
    layers: Path,
    allowed: Allowance = unbounded,
) -> JobInputs:
    """Fetch, decrypt, check and unpack a job's inputs; what is there already is not fetched again.

    Parameters
    ----------
    market:
        Serves the ciphertexts, and is not trusted.
    artifacts:
        Addresses of the ciphertexts.
    job_key:
        The job's 32-byte key.
    job_hash:
        What the manifest must hash to.
    folder:
        Where the inputs will lie.
    layers:
        Folder of unpacked wheels, shared by jobs; on the same disk.
    allowed:
        How much more of the disk it may take, in bytes.

    Raises
    ------
    BadArtifact
        Something is not what its hash says, or passes a limit.
    NetworkFailed
        The market does not serve it.
    """
    found = load_inputs(folder, job_hash)
    if found is not None:
        return found
    with _filling(folder):
        fetcher = _Fetcher(market, job_key, folder)
        raw = fetcher.plain(
            artifact_place("manifest"), artifacts.manifest, MAX_MANIFEST_BYTES
        ).read_bytes()
        manifest = JobManifest.from_bytes(raw, job_hash)
        _check_room(manifest, _room(folder, allowed))
        _fetch_code(fetcher, artifacts, manifest)
        _fetch_data(fetcher, artifacts, manifest)
        _fetch_wheels(fetcher, artifacts, manifest, layers, _room(folder, allowed))
    inputs = _inputs_in(folder, manifest)
    for path in (inputs.code, inputs.data):
        make_readable(path)
    (folder / _MANIFEST).write_bytes(raw)
    _write_durably(folder / _COMPLETE, job_hash.hex())
    return inputs


def fetch_checkpoint(
    market: Market,
    address: str,
    job_key: bytes,
    segment: int,
    folder: Path,
    max_bytes: int,
    allowed: Allowance = unbounded,
) -> Path:
    """Fetch a checkpoint that another machine wrote; its state is still to be checked.

    Parameters
    ----------
    allowed:
        How much more of the disk it may take, in bytes.

    Raises
    ------
    BadArtifact
        It cannot be decrypted or unpacked, or (``NoRoom``) has no room here.
    """
    limit = max_bytes + MAX_STATE_BYTES + MAX_RECORD_BYTES
    place, target = artifact_place("checkpoint", segment=segment), folder / "checkpoint"
    with _filling(folder):
        fetcher = _Fetcher(market, job_key, folder)
        plain = fetcher.plain_in(_room(folder, allowed), place, address, limit)
        _unpack(plain, target, None, BundleLimits(num_files=8, total_bytes=limit, depth=0))
    make_readable(target)
    return target


@contextmanager
def _filling(folder: Path) -> Iterator[None]:
    """Make the folder anew; of a fetch that fails nothing stays on the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ProtocolError | sealing.SealingError):
            raise BadArtifact(str(error)) from error
        raise


def _room(folder: Path, allowed: Allowance) -> float:
    """How much may still be written there, in bytes; something is left to what runs."""
    return min(shutil.disk_usage(folder).free - _SPARE_BYTES, allowed())


class _Fetcher:
    """Fetches ciphertexts and decrypts them, each bound to its place by its aad."""

    def __init__(self, market: Market, job_key: bytes, folder: Path) -> None:
        self._market = market
        self._job_key = job_key
        self._folder = folder

    def plain(
        self,
        place: str,
        address: str,
        max_bytes: int,
        too_large: type[BadArtifact] = BadArtifact,
    ) -> Path:
        """Fetch one artifact and return the file with its plaintext."""
        sealed, plain = self._folder / ".sealed", self._folder / ".plain"
        try:
            self._market.fetch_artifact(address, sealed, sealed_limit(max_bytes))
            if sealing.address_of_file(sealed) != address:
                raise OtherBytes(f"{place}: the market served other bytes than {address}")
            sealing.decrypt_file(self._job_key, sealed, plain, place.encode())
        except ArtifactTooLarge as error:
            raise too_large(f"{place}: {error}") from error
        finally:
            sealed.unlink(missing_ok=True)
        return plain

    def plain_in(self, room: float, place: str, address: str, max_bytes: int) -> Path:
        """Fetch one artifact as far as there is room: ciphertext and plaintext lie there together.

        Raises
        ------
        NoRoom
            There is too little for it.
        """
        half = max(0, int(min(room, 2 * max_bytes)) // 2)
        return self.plain(place, address, half, NoRoom if half < max_bytes else BadArtifact)


def _check_room(manifest: JobManifest, room: float) -> None:
    """Refuse data that would fill this machine's disk: an order costs its sender nothing."""
    # Ciphertext and plaintext, or plaintext and unpacked files, lie there together for a moment.
    needed = 2 * sum(item.size for item in manifest.data)
    if needed > room:
        raise NoRoom(f"the job's data need {needed} bytes of disk; there are {room:.0f} for them")


def _fetch_code(fetcher: _Fetcher, artifacts: Artifacts, manifest: JobManifest) -> None:
    plain = fetcher.plain(artifact_place("bundle"), artifacts.bundle, MAX_BUNDLE_BYTES)
    limits = BundleLimits(total_bytes=MAX_BUNDLE_BYTES)
    target = fetcher._folder / "code"
    _unpack(plain, target, manifest.bundle_hash, limits)
    for program in (manifest.entry, manifest.evaluate):
        if program and not (target / program).is_file():
            raise BadArtifact(f"the bundle holds no {program[:80]}")


def _fetch_data(fetcher: _Fetcher, artifacts: Artifacts, manifest: JobManifest) -> None:
    folder = fetcher._folder / "data"
    folder.mkdir(mode=0o755)
    for item in manifest.data:
        address = artifacts.data.get(item.name)
        if address is None:
            raise BadArtifact(f"the order brings no data {item.name!r}")
        plain = fetcher.plain(artifact_place("data", name=item.name), address, item.size)
        limits = BundleLimits(total_bytes=item.size)
        if item.kind is DataKind.FOLDER:
            _unpack(plain, folder / item.name, item.hash, limits)
            continue
        single = fetcher._folder / ".single"
        shutil.rmtree(single, ignore_errors=True)
        _unpack(plain, single, item.hash, limits)
        if [entry.name for entry in single.iterdir()] != [item.name]:
            raise BadArtifact(f"data {item.name!r} is not one file of that name")
        (single / item.name).rename(folder / item.name)
        single.rmdir()


def _fetch_wheels(
    fetcher: _Fetcher, artifacts: Artifacts, manifest: JobManifest, layers: Path, room: float
) -> None:
    if manifest.image_digest == ZERO_HASH:
        return
    address = artifacts.extra.get("wheels")
    if address is None:
        raise BadArtifact("the order brings no wheels")
    place = artifact_place("extra", name="wheels")
    plain = fetcher.plain_in(room, place, address, MAX_PACKED_BYTES)
    packed = fetcher._folder / ".wheels"
    _unpack(plain, packed, None, BundleLimits(total_bytes=MAX_PACKED_BYTES, depth=0))
    # Even when the layer is there: auditors will need what the market serves.
    wheels = check_wheels(packed, manifest.image_digest)
    link_layer(layers, manifest.image_digest, wheels, fetcher._folder / _IMAGE)
    shutil.rmtree(packed)


def _inputs_in(folder: Path, manifest: JobManifest) -> JobInputs:
    image = None if manifest.image_digest == ZERO_HASH else folder / _IMAGE
    return JobInputs(manifest, folder / "code", folder / "data", image)


def _unpack(plain: Path, target: Path, expected: bytes | None, limits: BundleLimits) -> None:
    try:
        with plain.open("rb") as source:
            unpack(source, target, expected_hash=expected, limits=limits)
    finally:
        plain.unlink(missing_ok=True)


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
