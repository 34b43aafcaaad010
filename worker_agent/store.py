"""Where a lease's files lie on the worker's disk, and how a checkpoint gets there.

::

    <data_dir>/leases/<lease id>/
        inputs/      decrypted and checked: code/, data/, image/, manifest.json, complete
        segments/<i>/   checkpoint.safetensors, state.json, record.json
        outputs/     collected files of the job
        upload/      ciphertexts on their way to a market

A folder under its final name is complete: it was written under another name, forced to disk, and
renamed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

from client_sdk.protocol.records import MAX_RECORD_BYTES
from worker_agent.checkpoints import (
    MAX_STATE_BYTES,
    RECORD_NAME,
    STATE_NAME,
    TENSORS_NAME,
)
from worker_agent.sandbox.base import SandboxProcess

_UNFINISHED: Final = ".unfinished"


class LeaseStore:
    """Files of one lease (or of one audit, which looks the same).

    Parameters
    ----------
    folder:
        Created with mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def inputs(self) -> Path:
        """Folder of the job's checked inputs."""
        return self.folder / "inputs"

    @property
    def outputs(self) -> Path:
        """Folder of the job's collected outputs."""
        return self.folder / "outputs"

    @property
    def upload(self) -> Path:
        """Folder for ciphertexts; created when missing."""
        path = self.folder / "upload"
        path.mkdir(exist_ok=True, mode=0o700)
        return path

    def segment(self, index: int) -> Path:
        """Folder of the checkpoint at the end of a segment."""
        return self.folder / "segments" / str(index)

    def take_segment(self, process: SandboxProcess, index: int, max_bytes: int) -> Path:
        """Copy a finished segment out of the sandbox while its program goes on.

        Parameters
        ----------
        process:
            The running program.
        index:
            Segment whose folder the program has renamed to its final name.
        max_bytes:
            Largest accepted tensor file.

        Returns
        -------
        Path
            The folder, complete and on disk.
        """
        source = f"out/segments/{index}"
        unfinished = self._fresh(f"segments/{index}")
        limits = {TENSORS_NAME: max_bytes, STATE_NAME: MAX_STATE_BYTES}
        for name, limit in {**limits, RECORD_NAME: MAX_RECORD_BYTES}.items():
            process.copy_file(f"{source}/{name}", unfinished / name, limit)
        return self._finish(unfinished, self.segment(index))

    def _fresh(self, name: str) -> Path:
        """Make an empty folder next to where ``name`` will be."""
        final = self.folder / name
        unfinished = final.with_name(f".{final.name}{_UNFINISHED}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        return unfinished

    @staticmethod
    def _finish(unfinished: Path, final: Path) -> Path:
        for path in unfinished.iterdir():
            _sync(path)
        shutil.rmtree(final, ignore_errors=True)
        unfinished.rename(final)
        _sync(final.parent)
        return final

    def drop_segments(self) -> None:
        """Remove all checkpoints: a reorganisation changed the job's seed."""
        shutil.rmtree(self.folder / "segments", ignore_errors=True)

    def drop_segments_before(self, first: int, keep: Collection[int]) -> None:
        """Remove the checkpoints of segments below ``first``, less those in ``keep``."""
        for path in (self.folder / "segments").glob("[0-9]*"):
            if int(path.name) < first and int(path.name) not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def remove(self) -> None:
        """Remove everything; the lease is over."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
