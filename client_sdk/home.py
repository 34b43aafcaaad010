"""The renter's own folder: wallets, logins, jobs with their keys, receipts.

::

    HOME/wallet.json             the default wallet, an encrypted key file
    HOME/renter/sessions.json    logins at marketplace nodes
    HOME/renter/sent-0x...sqlite journal of the transactions of one account
    HOME/renter/jobs/JOB_ID.json what was ordered, and the key of the job's artifacts
    HOME/receipts/LEASE_ID.json  receipts
    HOME/artifacts/JOB_ID/       downloaded artifacts

Covered: files are private (mode 0600 in folders 0700), written whole or not at all. Not covered:
whoever can read this folder can read the artifacts of its jobs; the wallet alone has a password.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from client_sdk.errors import InputRejected, NotFound

HOME_NAME = ".gridlease"
JOB_SCHEMA = "gridlease/job-record/1"
JOB_ID = re.compile(r"job_[0-9A-HJKMNP-TV-Z]{26}")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRecord:
    """What the renter keeps of one job. JSON forms are those of the protocol's own objects."""

    job_id: str
    order_id: str
    market: str
    """Marketplace node through which it was ordered."""
    name: str
    created_at: str
    """ISO 8601, UTC."""
    chain_id: int
    escrow: str
    job_key: str
    """Key of the job's artifacts and logs, hexadecimal. A secret."""
    spec_folder: str
    """Folder that the job file's paths are relative to."""
    code: str
    """Folder of the code, relative to `spec_folder`."""
    data: Mapping[str, str]
    """Files and folders of the data sets by name, relative to `spec_folder`."""
    manifest: Mapping[str, Any]
    order: Mapping[str, Any]
    offer: Mapping[str, Any]
    terms: Mapping[str, Any] | None = None
    terms_signature: str | None = None
    lease_id: str | None = None
    open_tx: str | None = None
    """Hash of the transaction that opened the lease."""

    def to_json(self) -> dict[str, Any]:
        """The JSON form."""
        return {"schema": JOB_SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read a record of this release."""
        if not isinstance(value, dict) or value.get("schema") != JOB_SCHEMA:
            raise ValueError(f"not a {JOB_SCHEMA}")
        return cls(**{key: item for key, item in value.items() if key != "schema"})


@dataclass(frozen=True, slots=True)
class RenterHome:
    """A home folder, as the renter sees it."""

    root: Path

    @property
    def wallet(self) -> Path:
        """The default wallet."""
        return self.root / "wallet.json"

    @property
    def sessions(self) -> Path:
        """Logins at marketplace nodes."""
        return self.root / "renter" / "sessions.json"

    def journal(self, address: str) -> Path:
        """Journal of the transactions of one account."""
        return self.root / "renter" / f"sent-{address.lower()}.sqlite"

    def job_file(self, job_id: str) -> Path:
        """Record of one job.

        Raises
        ------
        InputRejected
            That is not the id of a job.
        """
        if JOB_ID.fullmatch(job_id) is None:
            raise InputRejected(f"{job_id!r} is not the id of a job (job_ and 26 characters)")
        return self.root / "renter" / "jobs" / f"{job_id}.json"

    def receipt(self, lease_id: str) -> Path:
        """Receipt of one lease."""
        return self.root / "receipts" / f"{lease_id}.json"

    def artifacts(self, job_id: str) -> Path:
        """Folder for one job's artifacts."""
        self.job_file(job_id)
        return self.root / "artifacts" / job_id

    def save_job(self, record: JobRecord) -> None:
        """Write a job's record."""
        write_private(
            self.job_file(record.job_id),
            json.dumps(record.to_json(), indent=1).encode(),
        )

    def load_job(self, job_id: str) -> JobRecord:
        """Read a job's record.

        Raises
        ------
        NotFound
            The job was not ordered from this folder.
        """
        return _read_record(self.job_file(job_id))

    def find_job(self, name: str) -> JobRecord:
        """A job by its id, the start of it, its lease id, or `last` for the newest.

        Raises
        ------
        NotFound
            None fits.
        InputRejected
            Several fit.
        """
        if JOB_ID.fullmatch(name):
            return self.load_job(name)
        records = list(self.jobs())
        if name == "last" and records:
            return records[-1]
        fitting = [
            record
            for record in records
            if record.job_id.startswith(name) or (record.lease_id or "").startswith(name)
        ]
        if not name or not fitting or name == "last":
            raise NotFound(f"no job {name!r} was ordered from {self.root}")
        if len(fitting) > 1:
            raise InputRejected(f"{name!r} fits {len(fitting)} jobs; give more of the id")
        return fitting[0]

    def jobs(self) -> Iterator[JobRecord]:
        """All jobs, the oldest first."""
        for path in sorted((self.root / "renter" / "jobs").glob("job_*.json")):
            yield _read_record(path)


def find_home(home: Path | None) -> Path:
    """Folder to work with: as told, else the nearest `.gridlease` upwards, else the user's own."""
    if home is not None:
        return home.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / HOME_NAME).is_dir():
            return folder / HOME_NAME
    return Path.home() / HOME_NAME


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, under a temporary name first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read_record(path: Path) -> JobRecord:
    try:
        return JobRecord.from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise NotFound(f"no job {path.stem} was ordered from here") from None
    except (OSError, ValueError, TypeError) as error:
        raise InputRejected(f"{path} is damaged: {error}") from error
