"""Settings of one worker process: read once, validated, frozen, passed as an argument.

The file is JSON. Secrets are never in it: it names key files, which must not be readable by others.
"""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from contracts.deployments import DEV_CHAIN_ID
from worker_agent.errors import SettingsError

SCHEMA = "gridlease/worker-config/1"
_MAX_FILE_BYTES = 64 * 1024
_URL = re.compile(r"https?://[^\s/]+(/[^\s]*)?")
_AMOUNT = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")


class Role(StrEnum):
    """What one daemon does."""

    PROVIDER = "provider"  # rents out this machine
    AUDITOR = "auditor"  # re-executes drawn segments of others
    ARBITER = "arbiter"  # rules on challenged segments


class Cheat(StrEnum):
    """Ways to lie, for showing on the development chain that lies are caught."""

    SKIP_STEPS = "skip_steps"  # computes one segment, then reports made-up states


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """Everything one worker process may be told.

    Times are whole seconds unless the name says otherwise; amounts are decimal strings in units of
    the token ("0.60" is sixty cents of a dollar token).
    """

    role: Role
    """What this daemon does."""
    data_dir: Path
    """Folder for the journal, inputs and checkpoints of leases; created with mode 0700."""
    rpc_url: str
    """JSON-RPC endpoint of the chain."""
    deployments_file: Path
    """deployments.json that names the escrow contract and its tokens."""
    chain_id: int
    """Chain that the deployment and all signatures must belong to."""
    markets: tuple[str, ...]
    """Base URLs of the markets to publish at, without ``/v1``; one whose orders still run belongs
    here, since nothing is delivered to it otherwise."""
    operator_key_file: Path
    """Key of the account that signs offers, terms, commits, reports and rulings."""
    owner_key_file: Path | None = None
    """Key of the provider's owner, needed only to list and stake; may live elsewhere."""
    password_file: Path | None = None
    """Password of encrypted key files; ``None`` for raw development keys."""
    encryption_key_file: Path | None = None
    """X25519 key that job keys are wrapped to; default: ``data_dir/encryption.key``."""
    provider: str | None = None
    """Owner's address, when its key is not on this machine."""
    token: str = "tUSD"  # noqa: S105 - the symbol of a currency, not a secret
    """Symbol or address of the token this worker is paid in."""
    price_per_hour: str = "0.60"
    """Quoted price per hour."""
    max_price_per_hour: str | None = None
    """Cap written into the listing; default: twice the quoted price."""
    stake: str = "100"
    """Stake to hold at least, topped up from the owner's balance at start."""
    bond_bps: int = 10_000
    """Bond per lease, in basis points of the lease's cost."""
    audit_bps: int = 300
    """Share of each payment for the auditors, in basis points."""
    allow_weak_isolation: bool = False
    """Provider's consent to sandboxes whose memory limit cannot be enforced."""
    machine_file: Path | None = None
    """File in which daemons of one machine share its measured class; default: each measures."""
    region: str = "local"
    """Where the machine is, as shown to renters."""
    cpu_cores: float | None = None
    """Cores that one job may use; default: all."""
    memory_bytes: int | None = None
    """Memory that one job may use; default: three quarters of the machine's."""
    disk_bytes: int = 4 * 1024**3
    """Size of a job's work folder."""
    max_segments: int = 1000
    """Most segments in one lease."""
    confirmations: int = 2
    """Blocks on top of an event before the worker acts on it."""
    window_s: int = 20
    """Time in which committed segments can be challenged before they are paid."""
    commit_grace_s: int = 15
    """Time after a stop in which one last commit counts."""
    dispute_timeout_s: int = 20
    """Least time after which a dispute without a ruling can be ended by anyone; more for most jobs,
    which the arbiter executes from their start within half of it."""
    open_within_s: int = 120
    """How long signed terms can be opened."""
    first_commit_within_s: int = 600
    """Longest time from the opening to the first commit."""
    max_duration_s: int = 24 * 3600
    """Longest duration of a lease."""
    offer_lifetime_s: int = 600
    """How long a published offer is valid; refreshed at half of it."""
    poll_interval_s: float = 1.0
    """Pause between two looks at chain and market."""
    prepare_limit_s: float = 600.0
    """Deadline of fetching and checking a job's inputs."""
    accept_limit_s: float = 300.0
    """Deadline of the own acceptance probe."""
    segment_limit_factor: float = 20.0
    """A segment may take this many times its measured duration before it counts as hung."""
    slowdown_limit: float = 3.0
    """Times its measured duration that each segment may take, over all segments of an attempt; then
    the job is stopped, since the price comes from what was measured."""
    max_segment_s: int = 3600
    """Longest segment, as measured: what a job that fails late costs this worker at most.
    Auditor and arbiter: longest time for each segment of a re-execution."""
    loss_allowance_s: int = 600
    """Time in failed segments that one renter may cost this worker within a day."""
    upload_bytes_per_s: int = 2_500_000
    """Upload rate that this worker can count on, in bytes a second (20 Mbit/s): disputes last long
    enough to deliver a job's inputs and its unpaid segments' checkpoints at this rate."""
    upload_limit_s: float = 600.0
    """Deadline of delivering artifacts to the market."""
    audit_patience_s: int = 5
    """Time that a provider has at least for its inputs or opening, before an auditor demands them
    or the arbiter attests that they cannot be fetched."""
    cheat: Cheat | None = None
    """Development chain only: lie in this way, to show that it is caught."""

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise SettingsError("; ".join(problems))

    @property
    def encryption_key_path(self) -> Path:
        """File of the X25519 key."""
        return self.encryption_key_file or self.data_dir / "encryption.key"


def load_settings(path: Path, role: str | None = None) -> WorkerSettings:
    """Read a configuration file.

    Parameters
    ----------
    path:
        JSON file; relative paths in it are relative to its folder.
    role:
        Role given on the command line; must agree with the file when the file names one.

    Raises
    ------
    SettingsError
        The file cannot be read, has an unknown key, a wrong type or an impossible value.
    """
    try:
        text = path.read_bytes()
        if len(text) > _MAX_FILE_BYTES:
            raise SettingsError(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
        document = json.loads(text)
    except OSError as error:
        raise SettingsError(
            f"cannot read {path}: {error.strerror}. "
            "Write one with: gridlease worker init --config FILE"
        ) from error
    except ValueError as error:
        raise SettingsError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path} must hold one JSON object")
    values = {key: value for key, value in document.items() if key != "schema"}
    if document.get("schema", SCHEMA) != SCHEMA:
        raise SettingsError(f"{path} has schema {document['schema']!r}; this worker reads {SCHEMA}")
    if role is not None and values.setdefault("role", role) != role:
        raise SettingsError(f"{path} is for role {values['role']!r}, not {role!r}")
    # Absolute: the sandbox mounts what lies there from other working folders.
    return parse_settings(values, base=path.absolute().parent)


def parse_settings(values: dict[str, Any], base: Path) -> WorkerSettings:
    """Turn a JSON object into settings; relative paths are relative to ``base``."""
    known = {field.name: field for field in fields(WorkerSettings)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise SettingsError(f"unknown settings: {', '.join(unknown)}")
    missing = sorted(
        name for name, field in known.items() if field.default is MISSING and name not in values
    )
    if missing:
        raise SettingsError(f"missing settings: {', '.join(missing)}")
    return WorkerSettings(
        **{
            name: _convert(name, str(known[name].type), value, base)
            for name, value in values.items()
        }
    )


def _convert(name: str, kind: str, value: object, base: Path) -> Any:
    """Check one value against its field's type and build the Python value."""
    if value is None and kind.endswith("| None"):
        return None
    kind = kind.removesuffix(" | None")
    if kind == "Path" and isinstance(value, str) and value:
        return base / Path(value).expanduser()
    if kind == "tuple[str, ...]" and isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return tuple(str(item).rstrip("/") for item in value)
    elif kind in {"Role", "Cheat"} and isinstance(value, str):
        choices: type[StrEnum] = Role if kind == "Role" else Cheat
        try:
            return choices(value)
        except ValueError:
            raise SettingsError(
                f"{name}: {value!r} is not one of {', '.join(sorted(choices))}"
            ) from None
    elif kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif kind in {"int", "bool", "str"} and type(value).__name__ == kind:
        return value
    raise SettingsError(f"{name}: expected {kind}, got {value!r}")


def _problems(settings: WorkerSettings) -> list[str]:
    """Rules between and within settings."""
    found = []
    if settings.cheat is not None and settings.chain_id != DEV_CHAIN_ID:
        found.append(f"cheat is refused unless chain_id is {DEV_CHAIN_ID}")
    if settings.cheat is not None and settings.role is not Role.PROVIDER:
        found.append("cheat is for role provider")
    if not settings.markets:
        found.append("markets: name at least one")
    found += [
        f"markets: {url!r} is not an http URL"
        for url in (*settings.markets, settings.rpc_url)
        if not _URL.fullmatch(url)
    ]
    if settings.role is Role.PROVIDER and not (settings.owner_key_file or settings.provider):
        found.append("a provider needs owner_key_file, or provider (the owner's address)")
    found += [
        f"{name}: {value!r} is not a decimal amount"
        for name in ("price_per_hour", "max_price_per_hour", "stake")
        if (value := getattr(settings, name)) is not None and not _AMOUNT.fullmatch(value)
    ]
    found += [
        f"{name}: must be at least {least}, not {getattr(settings, name)}"
        for name, least in _LEAST.items()
        if getattr(settings, name) < least
    ]
    if settings.max_segments > 65_535:
        found.append("max_segments: at most 65535")
    return found


_LEAST: dict[str, float] = {
    "chain_id": 1,
    "bond_bps": 0,
    "audit_bps": 0,
    "disk_bytes": 1024**2,
    "max_segments": 1,
    "confirmations": 1,
    "window_s": 1,
    "commit_grace_s": 1,
    "dispute_timeout_s": 1,
    "open_within_s": 10,
    "first_commit_within_s": 1,
    "max_duration_s": 1,
    "offer_lifetime_s": 20,
    "poll_interval_s": 0.05,
    "prepare_limit_s": 1,
    "accept_limit_s": 1,
    "segment_limit_factor": 2,
    "slowdown_limit": 1.5,
    "max_segment_s": 1,
    "loss_allowance_s": 0,
    "upload_bytes_per_s": 1,
    "upload_limit_s": 1,
    "audit_patience_s": 1,
}
