"""What the parts of one daemon share: settings, keys, chain, markets, journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from eth_account.signers.local import LocalAccount

from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import WalletError
from client_sdk.chain.sender import Sender
from client_sdk.chain.signing import sign_text
from client_sdk.chain.wallet import load_key_file, load_keystore
from client_sdk.protocol.addresses import address_bytes
from client_sdk.protocol.errors import LoginError
from client_sdk.protocol.login import LoginMessage
from client_sdk.sealing import EncryptionKey, SealingError
from contracts.deployments import DeploymentError, TokenInfo, load_deployment
from contracts.events import Event
from worker_agent.errors import MarketUnreachable, SettingsError
from worker_agent.journal import Journal
from worker_agent.market import Json, Market
from worker_agent.ports import ChainPort, SenderPort
from worker_agent.settings import WorkerSettings

_LOGIN_LIFETIME = timedelta(minutes=10)
E = TypeVar("E", bound=Event)


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Everything that is made once per process."""

    settings: WorkerSettings
    account: LocalAccount
    """The operator's (auditor's, arbiter's) key."""
    encryption_key: EncryptionKey
    chain: ChainPort
    sender: SenderPort
    owner_sender: SenderPort | None
    """Transactions of the provider's owner, when its key is on this machine."""
    markets: Mapping[str, Market]
    journal: Journal
    token: TokenInfo

    @property
    def provider(self) -> str:
        """Address of the provider's owner."""
        if self.owner_sender is not None:
            return self.owner_sender.address
        assert self.settings.provider is not None
        return self.settings.provider

    def events_about(self, address: str, kind: type[E]) -> list[E]:
        """All events of a kind whose first indexed argument is this address.

        Their number is in the key of the next call: the same one is never sent twice, a later one
        of the same amount is another one.
        """
        chain, topic = self.chain, address_bytes(address).rjust(32, b"\0")
        found = chain.events(chain.deployment.start_block, chain.head(), topic=topic)
        return [event for event in found if isinstance(event, kind)]

    def close(self) -> None:
        """Close journal and connection; for a command beside the daemon."""
        self.journal.close()
        self.chain.close()

    def folder(self, name: str) -> Path:
        """A folder of this daemon's, created with mode 0700."""
        path = self.settings.data_dir / name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path


def make_context(settings: WorkerSettings) -> Context:
    """Open keys, journal and connections; nothing is sent yet.

    Raises
    ------
    SettingsError
        A key, the deployment or the token cannot be used.
    Unrecoverable
        The journal cannot be used.
    """
    try:
        deployment = load_deployment(settings.deployments_file, chain_id=settings.chain_id)
        token = deployment.token(settings.token)
    except DeploymentError as error:
        raise SettingsError(str(error)) from error
    account = load_account(settings, settings.operator_key_file)
    chain = Chain(settings.rpc_url, deployment)
    data = settings.data_dir
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    owner_sender = None
    if settings.owner_key_file is not None:
        owner = load_account(settings, settings.owner_key_file)
        owner_sender = Sender(
            chain, owner, data / "owner-transactions.db", confirmations=settings.confirmations
        )
    return Context(
        settings=settings,
        account=account,
        encryption_key=load_encryption_key(settings.encryption_key_path),
        chain=chain,
        sender=Sender(
            chain, account, data / "transactions.db", confirmations=settings.confirmations
        ),
        owner_sender=owner_sender,
        markets={
            url: Market(url, MarketLogin(account, settings.chain_id, url))
            for url in settings.markets
        },
        journal=Journal(data / "journal.db"),
        token=token,
    )


def load_account(settings: WorkerSettings, path: Path) -> LocalAccount:
    """Read a key file: encrypted when a password file is named, raw otherwise."""
    try:
        if settings.password_file is None:
            return load_key_file(path)
        password = settings.password_file.read_text(encoding="utf-8").rstrip("\n")
        return load_keystore(path, password)
    except (WalletError, OSError) as error:
        raise SettingsError(f"{path}: {error}") from error


def load_encryption_key(path: Path) -> EncryptionKey:
    """Read the X25519 key; make one when there is none yet."""
    try:
        if path.exists():
            return EncryptionKey.load(path)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = EncryptionKey.generate()
        key.save(path)
    except (SealingError, OSError) as error:
        raise SettingsError(f"{path}: {error}") from error
    return key


class MarketLogin:
    """Signs login messages of one account for one market.

    The message names the host that is asked: a market that wants one for another host wants
    something that it could use there.
    """

    def __init__(self, account: LocalAccount, chain_id: int, url: str) -> None:
        self._account = account
        self._chain_id = chain_id
        self._host = urlsplit(url).netloc

    def __call__(self, facts: Json, nonce: str) -> tuple[str, str]:
        """Message and signature for a market with these facts."""
        if facts.get("chain_id") != self._chain_id:
            raise MarketUnreachable(f"the market is for chain {facts.get('chain_id')!r}")
        login = facts.get("login")
        login = login if isinstance(login, dict) else {}
        if login.get("domain") != self._host:
            raise MarketUnreachable(f"{self._host} wants a login for {login.get('domain')!r}")
        now = datetime.now(UTC)
        try:
            message = LoginMessage(
                domain=self._host,
                address=str(self._account.address),
                uri=str(login.get("uri", "")),
                chain_id=self._chain_id,
                nonce=nonce,
                issued_at=now,
                expires_at=now + _LOGIN_LIFETIME,
            ).text()
        except LoginError as error:
            raise MarketUnreachable(f"the market asks for an impossible login: {error}") from error
        return message, "0x" + sign_text(message, self._account).hex()
