from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from client_sdk.chain.signing import recover_text, sign_text
from client_sdk.errors import MarketMisbehaved
from client_sdk.protocol.login import parse_login
from client_sdk.session import Login, SessionFile
from client_sdk.transports import MarketNode, Timeouts
from tests.support.sdk import RENTER, transport

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Node:
    """A marketplace node's login."""

    def __init__(self, domain: str = "m.test") -> None:
        self.domain = domain
        self.logins: list[dict[str, str]] = []
        routes = {
            "/v1/market": {"login": {"domain": domain, "uri": f"http://{domain}"}},
            "/v1/auth/nonce": {"nonce": "abcdefgh12345678"},
            "/v1/auth/login": self.log_in,
        }
        self.node = MarketNode("http://m.test", Timeouts(patience_s=0), transport(routes))

    def log_in(self, request: httpx.Request) -> httpx.Response:
        self.logins.append(json.loads(request.content))
        expires = (NOW + timedelta(hours=1)).isoformat()
        return httpx.Response(200, json={"token": f"t{len(self.logins)}", "expires_at": expires})


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


def login(path=None, clock=None) -> Login:
    return Login(
        address=RENTER.address,
        chain_id=31337,
        sign_text=lambda text: sign_text(text, RENTER),
        sessions=SessionFile(path),
        now=clock or Clock(),
    )


def test_when_logging_in_then_the_message_names_the_node_and_is_signed():
    server = Node()
    assert login().token(server.node, renew=False) == "t1"
    (body,) = server.logins
    message = parse_login(body["message"])
    assert (message.domain, message.chain_id, message.nonce) == (
        "m.test",
        31337,
        "abcdefgh12345678",
    )
    assert message.expires_at == NOW + timedelta(minutes=5)
    signature = bytes.fromhex(body["signature"][2:])
    assert recover_text(body["message"], signature) == RENTER.address


def test_when_logged_in_then_the_token_is_kept_privately(tmp_path):
    server, path = Node(), tmp_path / "sessions.json"
    login(path).token(server.node, renew=False)
    assert login(path).token(server.node, renew=False) == "t1"
    assert len(server.logins) == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_when_the_token_expires_or_was_refused_then_a_new_one_is_asked():
    server, clock = Node(), Clock()
    session = login(clock=clock)
    session.token(server.node, renew=False)
    assert session.token(server.node, renew=True) == "t2"
    clock.now = NOW + timedelta(minutes=59, seconds=30)
    assert session.token(server.node, renew=False) == "t3"


def test_when_the_node_wants_a_login_for_another_name_then_nothing_is_signed():
    server = Node(domain="bank.test")
    with pytest.raises(MarketMisbehaved, match=r"bank\.test"):
        login().token(server.node, renew=False)
    assert server.logins == []


@pytest.mark.parametrize("content", ["{", "[]", '{"http://m.test x": {}}'])
def test_when_the_file_is_damaged_then_a_new_login_is_made(tmp_path, content):
    path = tmp_path / "sessions.json"
    path.write_text(content)
    server = Node()
    assert login(path).token(server.node, renew=False) == "t1"
