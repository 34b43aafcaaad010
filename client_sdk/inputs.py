"""Packing, sealing and uploading what a job needs.

Everything leaves the renter's machine encrypted under a key made for this job alone, named by the
hash of its ciphertext. The job key itself goes to the chosen provider, wrapped to its key; the
provider wraps it to drawn auditors.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from client_sdk import sealing
from client_sdk.errors import InputRejected
from client_sdk.jobfile import JobFile
from client_sdk.protocol.bundle import CODE_EXCLUDES, Archive, pack_data, pack_folder
from client_sdk.protocol.canonical import ZERO_HASH
from client_sdk.protocol.errors import BundleError
from client_sdk.protocol.manifest import DataItem, DataKind, JobManifest
from client_sdk.protocol.places import artifact_place
from client_sdk.transports import MarketNode
from client_sdk.wheels import pack_wheels

BLINDING_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedInputs:
    """Archives of a job's code, data and wheels, in plain, in a private folder of this machine."""

    job: JobFile
    bundle: Path
    bundle_archive: Archive
    data: Mapping[str, Path]
    items: tuple[DataItem, ...]
    wheels: Path | None
    image_digest: bytes

    def manifest(self, hardware_class: bytes) -> JobManifest:
        """The manifest for machines of one hardware class; blinded anew each time."""
        return JobManifest.from_spec(
            self.job.spec,
            bundle_hash=self.bundle_archive.hash,
            data=self.items,
            hardware_class=hardware_class,
            blinding=secrets.token_bytes(BLINDING_BYTES),
            image_digest=self.image_digest,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedInputs:
    """Encrypted inputs of one job, ready for upload."""

    job_key: bytes
    job_hash: bytes
    manifest: str
    bundle: str
    data: Mapping[str, str]
    extra: Mapping[str, str]
    files: Mapping[str, Path]
    """Ciphertext by address."""

    def addresses(self) -> dict[str, Any]:
        """The order's `artifacts`: addresses of the ciphertexts."""
        listed: dict[str, Any] = {
            "manifest": self.manifest,
            "bundle": self.bundle,
            "data": dict(self.data),
        }
        return listed | ({"extra": dict(self.extra)} if self.extra else {})

    def key_for(self, recipient: bytes) -> bytes:
        """The job key, wrapped to the provider's X25519 key and bound to the job."""
        return sealing.wrap_key(self.job_key, recipient, self.job_hash)

    def upload(self, node: MarketNode) -> None:
        """Put every ciphertext into the node's store."""
        for address, path in self.files.items():
            node.put_file(f"/v1/artifacts/{address}", path)


def pack(job: JobFile, folder: Path) -> PackedInputs:
    """Pack code, data and wheels into a private folder.

    Raises
    ------
    InputRejected
        A file cannot be packed; the message names it.
    """
    bundle = folder / "bundle.tar"
    # Wheels beside the code travel once, as wheels.
    exclude = CODE_EXCLUDES if job.wheels_path is None else (*CODE_EXCLUDES, "*.whl")
    with bundle.open("xb") as out:
        archive = _packed("code", lambda: pack_folder(job.code_folder, out, exclude=exclude))
    data: dict[str, Path] = {}
    items: list[DataItem] = []
    for index, (name, source) in enumerate(sorted(job.data_paths.items())):
        target = folder / f"data-{index}.tar"
        kind = DataKind.FOLDER if source.is_dir() else DataKind.FILE
        with target.open("xb") as out:
            packed = _packed(f"data.{name}", partial(pack_data, kind, source, name, out))
        data[name] = target
        items.append(DataItem(name=name, kind=kind, hash=packed.hash, size=packed.size))
    wheels, image_digest = None, ZERO_HASH
    if job.wheels_path is not None:
        wheels = folder / "wheels.tar"
        image_digest = pack_wheels(job.wheels_path, wheels)
    return PackedInputs(
        job=job,
        bundle=bundle,
        bundle_archive=archive,
        data=data,
        items=tuple(items),
        wheels=wheels,
        image_digest=image_digest,
    )


def seal(packed: PackedInputs, manifest: JobManifest, folder: Path) -> SealedInputs:
    """Encrypt everything under a new job key into a private folder."""
    key = sealing.new_job_key()
    files: dict[str, Path] = {}

    def seal_file(source: Path, place: str) -> str:
        target = folder / f"sealed-{len(files)}"
        address = sealing.encrypt_file(key, source, target, place.encode())
        files[address] = target
        return address

    plain = folder / "manifest.json"
    plain.write_bytes(manifest.canonical())
    return SealedInputs(
        job_key=key,
        job_hash=manifest.job_hash(),
        manifest=seal_file(plain, artifact_place("manifest")),
        bundle=seal_file(packed.bundle, artifact_place("bundle")),
        data={
            name: seal_file(path, artifact_place("data", name=name))
            for name, path in packed.data.items()
        },
        extra={}
        if packed.wheels is None
        else {"wheels": seal_file(packed.wheels, artifact_place("extra", name="wheels"))},
        files=files,
    )


def _packed(what: str, run: Any) -> Archive:
    try:
        archive: Archive = run()
    except BundleError as error:
        raise InputRejected(f"{what}: {error}") from error
    except OSError as error:
        raise InputRejected(f"{what}: {error.filename}: {error.strerror}") from error
    return archive
