"""Where the embedded market keeps its files, and the checks on that folder."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from client_sdk.errors import FolderBroken
from client_sdk.home import write_private

SCHEMA = "gridlease/embedded/1"
PRIVATE_DIR = 0o700


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports on the loopback interface, kept so that a second start uses the same."""

    api: int
    rpc: int


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The folder of one embedded market.

    Everything the market keeps lies below `root`; deleting the folder forgets the market. Secrets
    are in `keys/` only, readable by their owner alone.
    """

    root: Path

    @property
    def marker(self) -> Path:
        """File that says which release wrote the folder."""
        return self.root / "embedded.json"

    @property
    def run_file(self) -> Path:
        """Present while a supervisor runs: its pid and those of its children."""
        return self.root / "run.json"

    @property
    def lock_file(self) -> Path:
        """Held by the running supervisor."""
        return self.root / "up.lock"

    @property
    def deployment(self) -> Path:
        """Addresses of the contracts on the development chain."""
        return self.root / "deployments.json"

    @property
    def chain_state(self) -> Path:
        """Last dump of the development chain."""
        return self.root / "chain" / "state.json"

    @property
    def keys(self) -> Path:
        """Private keys of the market's own parties."""
        return self.root / "keys"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.root / "logs"

    @property
    def market(self) -> Path:
        """Database and artifact store of the marketplace node."""
        return self.root / "market"

    @property
    def config(self) -> Path:
        """Configuration files that the supervisor writes for its children."""
        return self.root / "config"

    @property
    def valkey(self) -> Path:
        """Append-only file of the queue server."""
        return self.root / "valkey"

    def worker(self, name: str) -> Path:
        """Data of one worker process, by child name."""
        return self.root / "workers" / name

    def valkey_socket(self) -> Path:
        """Unix socket of the queue server.

        A socket path may be at most 107 bytes long, so a deep folder gets one in the temporary
        directory, named by the folder, in a directory that only its owner can enter.
        """
        near = self.root / "valkey" / "valkey.sock"
        if len(os.fsencode(near)) < 100:
            return near
        folder = Path(tempfile.gettempdir()) / f"gridlease-{os.getuid()}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=PRIVATE_DIR)
        # Not followed: in a folder that all may write, anybody can have put a link there.
        found = folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
        if found.st_uid != os.getuid() or not private:
            raise FolderBroken(
                f"{folder} is not a folder that only you can enter",
                what_to_do="Remove it, or name a folder with a shorter path with --home.",
            )
        name = blake2b(os.fsencode(self.root), digest_size=8).hexdigest()
        return folder / f"{name}.sock"


def prepare(root: Path) -> DataFolder:
    """Create or check the data folder.

    Raises
    ------
    FolderBroken
        It is not a folder, cannot be written, was written by another release, or a file in it is
        damaged.
    """
    folder = DataFolder(root.resolve())
    try:
        folder.root.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    except OSError as error:
        raise FolderBroken(
            f"cannot create the data folder {folder.root}: {error.strerror}",
            what_to_do="Name a folder that you may write, with --home.",
        ) from error
    if not os.access(folder.root, os.R_OK | os.W_OK | os.X_OK):
        raise FolderBroken(
            f"the data folder {folder.root} cannot be written",
            what_to_do="Mend its owner and mode, or name another folder with --home.",
        )
    _check_marker(folder)
    _check_chain_state(folder)
    for path in (folder.keys, folder.logs, folder.market, folder.config, folder.valkey):
        path.mkdir(mode=PRIVATE_DIR, exist_ok=True)
    folder.chain_state.parent.mkdir(mode=PRIVATE_DIR, exist_ok=True)
    return folder


def load_ports(folder: DataFolder) -> Ports | None:
    """Ports of the last start, or None for a new folder."""
    marker = read_json(folder.marker)
    if marker is None:
        return None
    return Ports(api=int(marker["api_port"]), rpc=int(marker["rpc_port"]))


def save_ports(folder: DataFolder, ports: Ports) -> None:
    """Remember the ports, and mark the folder as ours."""
    content = {"schema": SCHEMA, "api_port": ports.api, "rpc_port": ports.rpc}
    write_private(folder.marker, json.dumps(content, indent=1).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file; None when there is no file.

    Raises
    ------
    FolderBroken
        The file is there and is not a JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FolderBroken(
            f"{path} is damaged: {error}",
            what_to_do=f"Restore it from a copy, or start anew: move {path.parent} away.",
        ) from error
    if not isinstance(content, dict):
        raise FolderBroken(f"{path} is damaged: not a JSON object")
    return content


def _check_marker(folder: DataFolder) -> None:
    marker = read_json(folder.marker)
    if marker is None:
        return
    if marker.get("schema") != SCHEMA:
        raise FolderBroken(
            f"{folder.root} was written by another release (schema {marker.get('schema')!r})",
            what_to_do="Use that release, or name another folder with --home.",
        )
    for key in ("api_port", "rpc_port"):
        if not isinstance(marker.get(key), int):
            raise FolderBroken(
                f"{folder.marker} is damaged: {key!r} is missing",
                what_to_do="Delete that file; the next start writes it anew.",
            )


def _check_chain_state(folder: DataFolder) -> None:
    """A chain without contracts, or contracts without a chain, is a half-deleted folder."""
    deployed, dumped = folder.deployment.exists(), folder.chain_state.exists()
    if deployed and not dumped:
        raise FolderBroken(
            f"{folder.chain_state} is missing, but contracts were deployed in {folder.root}",
            what_to_do=f"Restore the file, or start anew: move {folder.root} away.",
        )
    if dumped:
        read_json(folder.chain_state)
