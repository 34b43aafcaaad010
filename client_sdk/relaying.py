"""For wallets without the chain's own coin: marketplace nodes carry their calls to the chain.

The renter signs; whoever has the signature may send it. An opening carries an EIP-3009
authorization over cost and relay fee whose nonce is the lease's id, a stop carries Stop(leaseId),
and a withdrawal needs no signature at all: the escrow sends credit to its owner only.

Covered: a node that asks too much (refused before anything is signed), that does nothing, that
refuses, or that says it has done what it has not (:mod:`client_sdk.carrying`). A signature is good
for one lease, so that two nodes who both send it do no harm.
Not covered: a node that holds an authorization back and uses it later. It can until
`AUTHORIZATION_S` are over, and the lease is then open as it was wanted; so this waits until the
authorization is void before it says that nothing was spent, unless every node refused it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from eth_account.signers.local import LocalAccount

from client_sdk.carrying import NODE_PATIENCE_S, Carrying, Errand
from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import CallReverted
from client_sdk.chain.signing import sign, split
from client_sdk.chain.token_domain import token_domain
from client_sdk.errors import MarketMisbehaved, NetworkFailed, NoRelay
from client_sdk.facts import chain_errors
from client_sdk.ordering import GAS_RESERVE_WEI, Agreed, opening_refused
from client_sdk.policy import Policy
from client_sdk.protocol.addresses import address_bytes, same_address
from client_sdk.protocol.authorizations import ReceiveWithAuthorization
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.consents import Stop
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.money import format_amount
from client_sdk.protocol.terms import Terms
from client_sdk.transports import MarketNode
from contracts.bindings import Call, LeaseEscrow, LeaseStatus
from contracts.events import Event, Opened, Stopped, Withdrawn

AUTHORIZATION_S = 300
"""How long an authorization is good for, by the chain's clock."""
CALL_TIMEOUT_S = 120.0
"""How long a stop or a withdrawal is waited for, all nodes together."""
_LOOK_BACK_BLOCKS = 64
"""A call that a reorganisation moves to an earlier block is still found."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """A node that carries calls in one token; amounts are in the token's smallest unit."""

    node: MarketNode
    open_fee: int


@dataclass(frozen=True, slots=True)
class Way:
    """How this wallet's opening gets to the chain."""

    carriers: tuple[Carrier, ...] = ()
    """Nodes to ask, in the order in which they were named; none: the wallet sends it itself."""

    @property
    def relayed(self) -> bool:
        """Whether a node sends it."""
        return bool(self.carriers)

    @property
    def fee(self) -> int:
        """Most that it costs besides the lease."""
        return max((carrier.open_fee for carrier in self.carriers), default=0)

    def text(self, decimals: int, symbol: str) -> str:
        """For people: which way, and what it costs."""
        if not self.relayed:
            return "this wallet opens the lease itself and pays the chain's fees"
        fee = f"{format_amount(self.fee, decimals)} {symbol}"
        return f"a marketplace node opens the lease, for a relay fee of at most {fee}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedOpening:
    """An opening that anybody may send, for the fee in it."""

    agreed: Agreed
    relay_fee: int
    valid_before: int
    signature: bytes
    """The renter's, of the authorization."""

    def call(self, escrow: LeaseEscrow) -> Call:
        """The transaction that a node would send."""
        authorization = (self.relay_fee, 0, self.valid_before, *split(self.signature))
        terms = self.agreed.terms.abi_tuple()
        return escrow.open_with_authorization(terms, self.agreed.signature, authorization)

    def body(self) -> dict[str, Any]:
        """What a node is sent."""
        return {
            "terms": self.agreed.terms.to_json(),
            "terms_signature": to_hex(self.agreed.signature),
            "authorization": {
                "relay_fee": str(self.relay_fee),
                "valid_after": 0,
                "valid_before": self.valid_before,
                "signature": to_hex(self.signature),
            },
        }


class Relays:
    """The nodes that carry one account's calls.

    Parameters
    ----------
    nodes:
        In the order in which they are asked.
    relay:
        Whether calls go through them; by default when the wallet cannot pay the chain's fees.
    """

    def __init__(
        self,
        *,
        account: LocalAccount,
        chain: Chain,
        nodes: Sequence[MarketNode],
        policy: Policy,
        relay: bool | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self._address = str(account.address)
        self._chain = chain
        self._nodes = tuple(nodes)
        self._policy = policy
        self._relay = relay
        self._carrying = Carrying(chain, sleep=sleep, clock=clock)

    @property
    def wanted(self) -> bool:
        """Whether this wallet's calls go through marketplace nodes."""
        if self._relay is not None:
            return self._relay
        with chain_errors("reading the wallet's balance"):
            return self._chain.balance(self._address) < GAS_RESERVE_WEI

    def way(self, token: str) -> Way:
        """How to open a lease that is paid in this token.

        Raises
        ------
        NoRelay
            A node would have to, and none does for what the policy allows; nothing was signed.
        """
        if not self.wanted:
            return Way()
        found, reasons = [], []
        for node in self._nodes:
            try:
                fee = _open_fee(node, token)
            except NetworkFailed as error:
                reasons.append(error.message)
                continue
            if fee is None:
                reasons.append(f"{node.url} carries no calls in this token")
            elif fee > self._policy.max_relay_fee:
                most = self._policy.max_relay_fee
                reasons.append(f"{node.url} asks a relay fee of {fee} units; allowed are {most}")
            else:
                found.append(Carrier(node, fee))
        if not found:
            raise NoRelay(
                f"the wallet {self._address} cannot pay the chain's fees, and no marketplace node"
                f" opens the lease for it: {'; '.join(reasons)}"
            )
        return Way(tuple(found))

    def open(self, agreed: Agreed, way: Way) -> bytes:
        """Have a lease opened; returns the transaction's hash, as the chain has it.

        Safe to repeat after a crash: a lease is opened once.

        Raises
        ------
        ChainFailed
            The contract would refuse it; no node was asked.
        RelayFailed
            No node did it.
        """
        with chain_errors("opening the lease"):
            now, head = self._chain.now(), self._chain.head()
            was_open = self._chain.lease(agreed.lease_id).status is not LeaseStatus.NONE
            valid_before = min(agreed.terms.open_by + 1, now + AUTHORIZATION_S)
            openings = self._sign(agreed, way, valid_before)
            if not was_open:
                # Before anybody else gets the signature.
                try:
                    self._chain.simulate(openings[0].call(self._chain.escrow), self._address)
                except CallReverted as error:
                    raise opening_refused(error) from error
        asks = [(c.node, signed.body()) for c, signed in zip(way.carriers, openings, strict=True)]
        errand = Errand(
            "/v1/relays/openings",
            [] if was_open else asks,
            self._finder(Opened, agreed.lease_id, 0 if was_open else head - _LOOK_BACK_BLOCKS),
            max(0, valid_before - now),
        )
        end = datetime.fromtimestamp(valid_before, UTC).isoformat(timespec="seconds")
        kept = f"A node that kept the authorization can use it until {end}"
        advice = f"Nothing has been spent. {kept}: see `gridlease jobs` then."
        return self._carrying.carry(errand, advice=advice).tx_hash

    def stop(self, terms: Terms, *, first: MarketNode) -> bytes:
        """Have a lease stopped; returns the transaction's hash, as the chain has it.

        Raises
        ------
        CallReverted
            The contract would refuse it; no node was asked.
        RelayFailed
            No node did it; the lease goes on.
        """
        lease_id = terms.lease_id(self._chain.domain)
        signature = sign(Stop(lease_id=lease_id), self._chain.domain, self._account)
        head = self._chain.head()
        was_stopped = self._chain.lease(lease_id).stopped_at != 0
        if not was_stopped:
            call = self._chain.escrow.stop_for(terms.abi_tuple(), signature)
            self._chain.simulate(call, self._address)
        body = {"terms": terms.to_json(), "signature": to_hex(signature)}
        nodes = [first, *(node for node in self._nodes if node is not first)]
        errand = Errand(
            "/v1/relays/stops",
            [] if was_stopped else [(node, body) for node in nodes],
            self._finder(Stopped, lease_id, 0 if was_stopped else head - _LOOK_BACK_BLOCKS),
            CALL_TIMEOUT_S,
        )
        advice = "See `gridlease status`, and stop it again."
        return self._carrying.carry(errand, advice=advice).tx_hash

    def withdraw(self, token: str, key: str) -> int:
        """Have this account's credit sent to it; returns the amount.

        Raises
        ------
        RelayFailed
            No node did it; the credit stays as it is.
        """
        with chain_errors("reading the credit"):
            start = self._chain.head() + 1

        def find(head: int) -> Event | None:
            topic = address_bytes(token).rjust(32, b"\0")
            for event in self._chain.events(start, head, topic=topic):
                if isinstance(event, Withdrawn) and same_address(event.account, self._address):
                    return event
            return None

        asks = [(node, {"token": token, "key": key}) for node in self._nodes]
        errand = Errand("/v1/relays/withdrawals", asks, find, CALL_TIMEOUT_S)
        advice = "The credit is safe in the escrow; try again later."
        event = self._carrying.carry(errand, advice=advice)
        assert isinstance(event, Withdrawn)
        return event.amount

    def _sign(self, agreed: Agreed, way: Way, valid_before: int) -> list[SignedOpening]:
        """The opening for each carrier: they differ in the fee."""
        terms, domain = agreed.terms, token_domain(self._chain, agreed.terms.token)
        found = []
        for fee in (carrier.open_fee for carrier in way.carriers):
            authorization = ReceiveWithAuthorization(
                from_=terms.renter,
                to=self._chain.escrow.address,
                value=terms.cost + fee,
                valid_after=0,
                valid_before=valid_before,
                nonce=agreed.lease_id,
            )
            signature = sign(authorization, domain, self._account)
            found.append(
                SignedOpening(
                    agreed=agreed, relay_fee=fee, valid_before=valid_before, signature=signature
                )
            )
        return found

    def _finder(
        self, kind: type[Event], lease_id: bytes, start: int
    ) -> Callable[[int], Event | None]:
        first = max(start, self._chain.deployment.start_block)

        def find(head: int) -> Event | None:
            events = self._chain.events(first, head, topic=lease_id)
            return next((event for event in events if isinstance(event, kind)), None)

        return find


def _open_fee(node: MarketNode, token: str) -> int | None:
    """Fee that a node asks for an opening; None where it carries no calls in this token."""
    market = node.get("/v1/market", anonymous=True, patience_s=NODE_PATIENCE_S)
    try:
        for rates in market.get("relay", []):
            if same_address(rates["token"], token):
                fee = int(rates["open_fee"])
                if not 0 <= fee < 1 << 96:
                    raise ValueError(fee)
                return fee
    except (KeyError, TypeError, ValueError, ProtocolError) as error:
        raise MarketMisbehaved(f"{node.url}: malformed relay rates: {error}") from error
    return None
