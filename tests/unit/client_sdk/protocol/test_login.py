"""EIP-4361 messages: built, parsed to the letter, checked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from client_sdk.protocol.errors import LoginError, ProtocolError
from client_sdk.protocol.login import MAX_MESSAGE, LoginMessage, check_login, parse_login

ADDRESS = "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SERVICE = {
    "domain": "market.example:8443",
    "uri": "https://market.example:8443/v1/auth",
    "chain_id": 31337,
    "nonce": "32891756abcDEF",
}


def make_message(**changes) -> LoginMessage:
    return LoginMessage(**({**SERVICE, "address": ADDRESS, "issued_at": NOW} | changes))


FULL = make_message(
    expires_at=NOW + timedelta(minutes=5),
    not_before=NOW,
    statement="I accept the terms: https://market.example/terms",
    request_id="req-1",
    resources=("ipfs://bafy/1", "https://example.com/a#b"),
    scheme="https",
)


def test_when_the_message_is_full_then_its_text_is_the_one_of_the_standard():
    assert FULL.text() == (
        "https://market.example:8443 wants you to sign in with your Ethereum account:\n"
        f"{ADDRESS}\n"
        "\n"
        "I accept the terms: https://market.example/terms\n"
        "\n"
        "URI: https://market.example:8443/v1/auth\n"
        "Version: 1\n"
        "Chain ID: 31337\n"
        "Nonce: 32891756abcDEF\n"
        "Issued At: 2026-03-01T12:00:00.000Z\n"
        "Expiration Time: 2026-03-01T12:05:00.000Z\n"
        "Not Before: 2026-03-01T12:00:00.000Z\n"
        "Request ID: req-1\n"
        "Resources:\n"
        "- ipfs://bafy/1\n"
        "- https://example.com/a#b"
    )


@pytest.mark.parametrize(
    "message",
    [
        FULL,
        make_message(),
        make_message(statement="Hello"),
        make_message(request_id=""),
        make_message(expires_at=NOW),
        make_message(address=ADDRESS.lower()),
    ],
)
def test_when_a_message_is_written_then_it_is_read_back_equal(message):
    assert parse_login(message.text()) == message


def test_when_times_have_offsets_then_they_are_read_as_utc():
    text = make_message().text().replace("12:00:00.000Z", "13:30:00+01:30")
    assert parse_login(text).issued_at == NOW
    east = NOW.astimezone(timezone(timedelta(hours=2)))
    assert make_message(issued_at=east).text() == make_message().text()


def replaced(old: str, new: str) -> str:
    text = FULL.text()
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    "text",
    [
        "",
        FULL.text() + "\n",
        FULL.text() + "\nExtra: 1",
        "\n" + FULL.text(),
        replaced(ADDRESS, ADDRESS.lower()),
        replaced(ADDRESS, ADDRESS[:-1] + "3"),
        replaced(ADDRESS, ADDRESS[:-1]),
        replaced("Version: 1", "Version: 2"),
        replaced("Chain ID: 31337", "Chain ID: 0"),
        replaced("Chain ID: 31337", "Chain ID: 31337 "),
        replaced("Nonce: 32891756abcDEF", "Nonce: short"),
        replaced("Nonce: 32891756abcDEF", "Nonce: 32891756-bcDEF"),
        replaced("Issued At: 2026-03-01T12:00:00.000Z", "Issued At: 2026-13-01T12:00:00Z"),
        replaced("Issued At: 2026-03-01T12:00:00.000Z", "Issued At: 0001-01-01T00:00:00+23:00"),
        replaced("Issued At: 2026-03-01T12:00:00.000Z", "Issued At: 2026-03-01"),
        replaced("URI: https", "URI: ht tps"),
        replaced("\n\nURI", "\nURI"),
        replaced("Request ID: req-1\n", "Request ID: req-1\nRequest ID: req-2\n"),
        replaced("- ipfs://bafy/1", "- not a uri"),
        replaced("wants you to sign in", "wants you to log in"),
        FULL.text().replace("\n", "\r\n"),
        "x" * (MAX_MESSAGE + 1),
    ],
)
def test_when_a_message_is_off_in_any_detail_then_it_is_refused(text):
    with pytest.raises(LoginError):
        parse_login(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "short"},
        {"statement": "two\nlines"},
        {"statement": ""},
        {"domain": "a b"},
        {"domain": "evil/path"},
        {"uri": "no-scheme"},
        {"chain_id": 0},
        {"issued_at": datetime(2026, 3, 1)},  # noqa: DTZ001  # a naive time is the point
        {"address": "0x"},
        {"resources": ("a\nURI: https://evil",)},
    ],
)
def test_when_a_field_cannot_be_carried_then_no_message_is_made(changes):
    with pytest.raises(ProtocolError):
        make_message(**changes)


def test_when_a_message_is_for_this_service_then_it_passes():
    check_login(FULL, **SERVICE, now=NOW)
    check_login(make_message(), **SERVICE, now=NOW + timedelta(days=1))


@pytest.mark.parametrize(
    ("changes", "now", "reason"),
    [
        ({"domain": "evil.example"}, NOW, "evil.example"),
        ({"uri": "https://evil.example"}, NOW, "evil.example"),
        ({"chain_id": 1}, NOW, "chain 1"),
        ({"nonce": "00000000"}, NOW, "nonce"),
        ({}, NOW - timedelta(minutes=3), "future"),
        ({"not_before": NOW + timedelta(seconds=1)}, NOW, "not valid yet"),
        ({"expires_at": NOW}, NOW, "expired"),
    ],
)
def test_when_a_message_is_for_somebody_else_or_another_time_then_it_is_refused(
    changes, now, reason
):
    with pytest.raises(LoginError, match=reason):
        check_login(make_message(**changes), **SERVICE, now=now)
