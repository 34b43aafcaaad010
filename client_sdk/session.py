"""Logging in at marketplace nodes with a signed Ethereum message (EIP-4361).

Covered: the message names the node that it is for, so one node cannot replay it at another; the
token is kept in a private file and sent to that node only. Not covered: whoever reads the file
can act as the renter at the node until the token expires; the node never gets to move money.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from client_sdk.errors import MarketMisbehaved
from client_sdk.home import write_private
from client_sdk.protocol.errors import LoginError
from client_sdk.protocol.login import LoginMessage
from client_sdk.transports import MarketNode

MESSAGE_LIFETIME = timedelta(minutes=5)
RENEW_BEFORE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class SessionFile:
    """Tokens by node and address; `path` None keeps them in memory."""

    path: Path | None

    def load(self) -> dict[str, dict[str, str]]:
        """All tokens; a damaged file counts as none, as a new login costs nothing."""
        if self.path is None:
            return {}
        try:
            content = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def save(self, content: dict[str, dict[str, str]]) -> None:
        """Keep the tokens."""
        if self.path is not None:
            write_private(self.path, json.dumps(content, indent=1).encode())


class Login:
    """Gives a node's bearer token, logging in when there is none or it has expired."""

    def __init__(
        self,
        *,
        address: str,
        chain_id: int,
        sign_text: Callable[[str], bytes],
        sessions: SessionFile,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._address = address
        self._chain_id = chain_id
        self._sign_text = sign_text
        self._sessions = sessions
        self._now = now
        self._tokens = sessions.load()

    def token(self, node: MarketNode, *, renew: bool) -> str:
        """The token for requests to this node."""
        known = self._tokens.get(self._key(node))
        if known is not None and not renew and self._valid(known):
            return known["token"]
        known = self._log_in(node)
        self._tokens[self._key(node)] = known
        self._sessions.save(self._tokens)
        return known["token"]

    def _key(self, node: MarketNode) -> str:
        return f"{node.url} {self._address.lower()}"

    def _valid(self, known: dict[str, str]) -> bool:
        try:
            return datetime.fromisoformat(known["expires_at"]) - RENEW_BEFORE > self._now()
        except (KeyError, ValueError, TypeError):
            return False

    def _log_in(self, node: MarketNode) -> dict[str, str]:
        market = node.get("/v1/market", anonymous=True)
        nonce = node.post("/v1/auth/nonce", {}, anonymous=True).get("nonce")
        domain, uri = _login_names(market, node.url)
        issued = self._now().replace(microsecond=0)
        try:
            text = LoginMessage(
                domain=domain,
                address=self._address,
                uri=uri,
                chain_id=self._chain_id,
                nonce=str(nonce),
                issued_at=issued,
                expires_at=issued + MESSAGE_LIFETIME,
            ).text()
        except LoginError as error:
            raise MarketMisbehaved(f"{node.url}: its login cannot be signed: {error}") from error
        signature = "0x" + self._sign_text(text).hex()
        body = {"message": text, "signature": signature}
        answer = node.post("/v1/auth/login", body, anonymous=True)
        token, expires_at = answer.get("token"), answer.get("expires_at")
        if not isinstance(token, str) or not isinstance(expires_at, str):
            raise MarketMisbehaved(f"{node.url}: the login's answer has no token")
        return {"token": token, "expires_at": expires_at}


def _login_names(market: dict[str, Any], url: str) -> tuple[str, str]:
    """Domain and URI for the message: those of the node that is asked, or none.

    A node that names another domain wants a message that it could replay there.
    """
    login = market.get("login")
    login = login if isinstance(login, dict) else {}
    domain, uri = str(login.get("domain", "")), str(login.get("uri", ""))
    ours = urlsplit(url).netloc
    if domain != ours:
        raise MarketMisbehaved(
            f"{url} wants a login for {domain!r}, which is not its own name",
            what_to_do=f"Use the node under its own name, or another node; {ours} was asked for.",
        )
    return domain, uri
