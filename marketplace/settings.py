"""The settings of one marketplace process: read once, validated, passed as an argument."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

CONFIG_VARIABLE = "GRIDLEASE_MARKET_CONFIG"


class FolderStore(BaseModel):
    """Artifacts in a local folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["folder"] = "folder"
    path: Path


class S3Store(BaseModel):
    """Artifacts in an S3-compatible bucket."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["s3"]
    bucket: str
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None
    prefix: str = "artifacts"


class RelayRates(BaseModel):
    """For what this node carries renters' calls in one token; in the token's smallest unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    open_fee: int = Field(ge=0, lt=1 << 96)
    """Paid with each lease that this node opens for its renter; should cover the gas. Stops and
    withdrawals are free."""
    min_withdrawal: int = Field(default=1, ge=1)
    """Least credit that this node sends to its owner."""
    min_collect: int | None = Field(default=None, ge=1)
    """Fees and audit shares that are worth the gas of collecting them, and relay fees that are
    worth withdrawing; by default this node leaves both to others."""


ArtifactStoreSettings = Annotated[FolderStore | S3Store, Field(discriminator="kind")]


class Settings(BaseSettings):
    """Everything a marketplace process can be told, from the environment or one JSON file.

    A value of the environment (prefix ``GRIDLEASE_MARKET_``, ``__`` between levels) wins over the
    file that ``GRIDLEASE_MARKET_CONFIG`` names. Times end in ``_s`` and are seconds, sizes end in
    ``_bytes``.
    """

    model_config = SettingsConfigDict(
        env_prefix="GRIDLEASE_MARKET_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
    )

    database_url: str
    rpc_url: str
    deployments_file: Path
    chain_id: int
    escrow: str | None = None
    """Contract address; may be left out where the file holds one deployment of the chain."""
    data_dir: Path
    """Folder for the sender's journal and for uploads on their way."""
    artifact_store: ArtifactStoreSettings

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    host: str = "127.0.0.1"
    port: int = Field(default=8700, ge=1, le=65535)
    public_url: str = "http://127.0.0.1:8700"
    """Where clients reach this node; the domain of the login message comes from it."""
    publish_rpc_url: bool = False
    """Whether ``GET /v1/market`` names the RPC endpoint; for the development chain."""
    broker_url: str = "redis://127.0.0.1:6379/0"
    relayer_key_file: Path | None = None
    faucet_key_file: Path | None = None

    confirmations: int = Field(default=2, ge=0)
    """Blocks on top of an event before it is acted on."""
    reorg_depth: int = Field(default=128, ge=1)
    """Blocks whose hashes are kept and re-checked; a deeper fork re-reads the whole chain."""
    index_chunk_blocks: int = Field(default=2_000, ge=1)
    index_poll_s: float = Field(default=0.5, gt=0)
    sweep_interval_s: float = Field(default=0.5, gt=0)
    relay_grace_s: float = Field(default=20.0, ge=0)
    """How long after a lease could be settled or closed the node does it itself."""
    relay: dict[str, RelayRates] = Field(default_factory=dict)
    """By the symbol of a token of the deployment: what is not named is not relayed."""
    relays_per_hour: int = Field(default=120, gt=0)
    """Calls that this node carries for one account."""
    all_relays_per_hour: int = Field(default=1_000, gt=0)
    """Calls of each kind (openings, stops, withdrawals) that this node carries for all accounts
    together; what costs no gas does not count."""
    unasked_relays_per_hour: int = Field(default=1_000, gt=0)
    """Calls that this node makes for leases whose parties did not; what costs no gas does not
    count."""
    collect_interval_s: int = Field(default=3_600, gt=0)
    """How often this node looks whether shares are worth collecting."""
    outbox_lock_s: float = Field(default=30.0, gt=0)
    """A delivery that has not ended after this time is taken over by another worker."""

    token_ttl_s: int = Field(default=7 * 86_400, gt=0)
    nonce_ttl_s: int = Field(default=600, gt=0)
    claim_s: float = Field(default=180.0, gt=0)
    """How long a worker may hold a claimed order before it has to sign terms."""
    audit_samples: int = Field(default=1, ge=0)
    auditor_ttl_s: int = Field(default=3_600, gt=0)

    max_body_bytes: int = Field(default=1 << 20, gt=0)
    max_artifact_bytes: int = Field(default=4 << 30, gt=0)
    max_account_bytes: int = Field(default=64 << 30, gt=0)
    """What one account may store, uploads on their way included. As much again does not count where
    it was given as inputs of audits and arbitrations of the account's own leases."""
    max_store_bytes: int = Field(default=1 << 40, gt=0)
    """What all accounts together may store."""
    max_account_uploads: int = Field(default=8, gt=0)
    """Uploads of one account that may be on their way at one time."""
    max_uploads: int = Field(default=64, gt=0)
    """Uploads of all accounts that may be on their way at one time."""
    artifact_ttl_s: int = Field(default=30 * 86_400, gt=0)
    """How long an artifact is kept after it was stored, or last needed by an order, a lease or an
    audit that has ended since."""
    upload_s: float = Field(default=3_600.0, gt=0)
    """How long one upload may take."""
    max_frame_bytes: int = Field(default=64 << 10, gt=0)
    max_frames_per_request: int = Field(default=512, gt=0)
    max_job_frames: int = Field(default=1_000_000, gt=0)
    max_open_orders: int = Field(default=100, gt=0)
    requests_per_minute: int = Field(default=3_000, gt=0)
    """Requests one account or one anonymous address may send."""
    logins_per_minute: int = Field(default=120, gt=0)
    faucet_per_hour: int = Field(default=30, gt=0)
    faucet_tokens: int = Field(default=1_000_000_000, gt=0)
    """What one faucet request pays, in the token's smallest unit."""
    faucet_wei: int = Field(default=10**18, gt=0)

    @model_validator(mode="after")
    def _database_has_an_async_driver(self) -> Settings:
        if not self.database_url.startswith(("sqlite+aiosqlite://", "postgresql+psycopg://")):
            raise ValueError(
                "database_url must start with sqlite+aiosqlite:// or postgresql+psycopg://"
            )
        return self

    @property
    def login_domain(self) -> str:
        """Host and port that a login message must name (EIP-4361 ``domain``)."""
        return self.public_url.split("://", 1)[-1].split("/", 1)[0]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before the file's values, which arrive as arguments."""
        return env_settings, init_settings


def load(config: Path | None = None) -> Settings:
    """Read the settings of this process.

    Parameters
    ----------
    config
        JSON file; by default the one that ``GRIDLEASE_MARKET_CONFIG`` names, if any.

    Raises
    ------
    pydantic.ValidationError
        A value is missing, unknown or out of range.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    path = config or (Path(named) if named else None)
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path else {}
    return Settings(**values)
