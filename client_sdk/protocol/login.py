"""The message with which an account logs in (EIP-4361, "Sign-In with Ethereum").

Covered: building, strict parsing, and every check that needs no signature: domain, URI, chain,
nonce, times. Not covered: recovering the signer (``client_sdk.chain.signing``), and remembering
which nonces were used (the market).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from client_sdk.protocol.addresses import checksum_address
from client_sdk.protocol.errors import LoginError, ProtocolError

VERSION: Final = "1"
#: Largest accepted message in characters.
MAX_MESSAGE: Final = 4096
#: How far the clock of the signer may be ahead.
MAX_SKEW: Final = timedelta(minutes=2)

_TIME: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_URI: Final = r"[a-z][a-z0-9+.-]*:[!-~]+"
_MESSAGE: Final = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<domain>[!-.0-~]+)"
    r" wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9a-fA-F]{40})\n"
    r"\n"
    r"(?:(?P<statement>[ -~]+)\n)?"
    r"\n"
    rf"URI: (?P<uri>{_URI})\n"
    r"Version: (?P<version>[0-9]+)\n"
    r"Chain ID: (?P<chain_id>[1-9][0-9]{0,18})\n"
    r"Nonce: (?P<nonce>[A-Za-z0-9]{8,128})\n"
    rf"Issued At: (?P<issued_at>{_TIME})"
    rf"(?:\nExpiration Time: (?P<expires_at>{_TIME}))?"
    rf"(?:\nNot Before: (?P<not_before>{_TIME}))?"
    r"(?:\nRequest ID: (?P<request_id>[!-~]*))?"
    rf"(?:\nResources:(?P<resources>(?:\n- {_URI})*))?"
)


@dataclass(frozen=True, kw_only=True)
class LoginMessage:
    """One login message; times are aware UTC."""

    #: Host and port of the service that asks.
    domain: str
    address: str
    #: What the login is for.
    uri: str
    chain_id: int
    #: The service's own random text; good for one login.
    nonce: str
    issued_at: datetime
    expires_at: datetime | None = None
    not_before: datetime | None = None
    statement: str | None = None
    request_id: str | None = None
    resources: tuple[str, ...] = ()
    scheme: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", checksum_address(self.address))
        times = (self.issued_at, self.expires_at, self.not_before)
        if any(moment is not None and moment.tzinfo is None for moment in times):
            raise LoginError("times need a time zone")
        if _MESSAGE.fullmatch(self.text()) is None:
            raise LoginError("a field holds what a login message cannot carry")

    def text(self) -> str:
        """Return the text to sign."""
        origin = f"{self.scheme}://{self.domain}" if self.scheme else self.domain
        lines = [f"{origin} wants you to sign in with your Ethereum account:", self.address, ""]
        if self.statement is not None:
            lines.append(self.statement)
        lines += ["", f"URI: {self.uri}", f"Version: {VERSION}", f"Chain ID: {self.chain_id}"]
        lines += [f"Nonce: {self.nonce}", f"Issued At: {_format_time(self.issued_at)}"]
        if self.expires_at is not None:
            lines.append(f"Expiration Time: {_format_time(self.expires_at)}")
        if self.not_before is not None:
            lines.append(f"Not Before: {_format_time(self.not_before)}")
        if self.request_id is not None:
            lines.append(f"Request ID: {self.request_id}")
        if self.resources:
            lines += ["Resources:", *(f"- {resource}" for resource in self.resources)]
        return "\n".join(lines)


def parse_login(text: str) -> LoginMessage:
    """Return the login message that ``text`` is, to the letter.

    The signature is over the text that came in, not over :meth:`LoginMessage.text`.

    Raises
    ------
    LoginError
        When it is not one, in any detail.
    """
    if len(text) > MAX_MESSAGE:
        raise LoginError(f"longer than {MAX_MESSAGE} characters")
    match = _MESSAGE.fullmatch(text)
    if match is None:
        raise LoginError("not an EIP-4361 message")
    found = match.groupdict()
    if found["version"] != VERSION:
        raise LoginError(f"version {found['version'][:8]} is not known")
    resources = (found["resources"] or "").split("\n- ")[1:]
    try:
        address = checksum_address(found["address"])
    except ProtocolError as error:
        raise LoginError(str(error)) from error
    if address != found["address"]:
        raise LoginError("the address is not in its EIP-55 form")
    return LoginMessage(
        domain=found["domain"],
        address=address,
        uri=found["uri"],
        chain_id=int(found["chain_id"]),
        nonce=found["nonce"],
        issued_at=_parse_time(found["issued_at"]),
        expires_at=_parse_time(found["expires_at"]) if found["expires_at"] else None,
        not_before=_parse_time(found["not_before"]) if found["not_before"] else None,
        statement=found["statement"],
        request_id=found["request_id"],
        resources=tuple(resources),
        scheme=found["scheme"],
    )


def check_login(
    message: LoginMessage, *, domain: str, uri: str, chain_id: int, nonce: str, now: datetime
) -> None:
    """Check that a message is meant for this service, chain, nonce and moment.

    Raises
    ------
    LoginError
        With the first thing that is wrong.
    """
    if message.domain != domain:
        raise LoginError(f"the message is for {message.domain[:80]}, not for {domain}")
    if message.uri != uri:
        raise LoginError(f"the message is for {message.uri[:80]}, not for {uri}")
    if message.chain_id != chain_id:
        raise LoginError(f"the message is for chain {message.chain_id}, not for {chain_id}")
    if message.nonce != nonce:
        raise LoginError("the nonce is not the one that was given out")
    if message.issued_at > now + MAX_SKEW:
        raise LoginError("the message is from the future: check your clock")
    if message.not_before is not None and now < message.not_before:
        raise LoginError("the message is not valid yet")
    if message.expires_at is not None and now >= message.expires_at:
        raise LoginError("the message has expired: ask for a new nonce and sign again")


def _format_time(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _parse_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise LoginError(f"{text} is not a time") from error
