"""For wallets without the chain's own coin: marketplace nodes carry their calls to the chain.

The renter signs; whoever has the signature may send it. An opening carries an EIP-3009
authorization over cost and relay fee whose nonce is the lease's id, a stop carries Stop(leaseId),
and a withdrawal needs no signature at all: the escrow sends credit to its owner only.

Covered: a node that asks too much (refused before anything is signed), that does nothing, that
refuses, or that says it has done what it has not: what counts is the chain, and the next node is
asked. A signature is good for one lease, so that two nodes who both send it do no harm.
Not covered: a node that holds an authorization back and uses it later. It can until
`AUTHORIZATION_S` are over, and the lease is then open as it was wanted; so this waits until the
authorization is void before it says that nothing was spent, unless every node refused it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from eth_account.signers.local import LocalAccount

from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import ChainError
from client_sdk.chain.signing import sign
from client_sdk.chain.token_domain import token_domain
from client_sdk.errors import MarketMisbehaved, NetworkFailed, NoRelay, RelayFailed
from client_sdk.facts import chain_errors
from client_sdk.ordering import GAS_RESERVE_WEI, Agreed
from client_sdk.policy import Policy
from client_sdk.protocol.addresses import address_bytes, same_address
from client_sdk.protocol.authorizations import ReceiveWithAuthorization
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.consents import Stop
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.money import format_amount
from client_sdk.protocol.states import RelayState
from client_sdk.protocol.terms import Terms
from client_sdk.transports import MarketNode
from contracts.bindings import LeaseStatus
from contracts.events import Event, Opened, Stopped, Withdrawn

LOG = logging.getLogger("gridlease")
AUTHORIZATION_S = 300
"""How long an authorization is good for, by the chain's clock."""
CALL_TIMEOUT_S = 120.0
"""How long a stop or a withdrawal is waited for, all nodes together."""
NODE_PATIENCE_S = 10.0
"""How long a node that does not answer is asked again, before the next one is."""
LATE_S = 10.0
"""How long the renter's node of the chain may be behind the one of a marketplace node."""
CONFIRM_S = 60.0
"""How much longer is waited for what is in a block already."""
POLL_S = 0.5
CONFIRMATIONS = 2
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


@dataclass(frozen=True, slots=True)
class _Call:
    """One call, as each node gets it."""

    path: str
    asks: Sequence[tuple[MarketNode, dict[str, Any]]]
    find: Callable[[int], Event | None]
    """Looks for the call's effect on the chain, up to a block."""
    until: float
    """When to stop waiting, by the monotonic clock."""


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
        self._chain = chain
        self._nodes = tuple(nodes)
        self._policy = policy
        self._relay = relay
        self._sleep = sleep
        self._clock = clock

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
        RelayFailed
            No node did it.
        """
        terms, lease_id = agreed.terms, agreed.lease_id
        with chain_errors("opening the lease"):
            now, head = self._chain.now(), self._chain.head()
            domain = token_domain(self._chain, terms.token)
            is_open = self._chain.lease(lease_id).status is not LeaseStatus.NONE
        valid_before = min(terms.open_by + 1, now + AUTHORIZATION_S)

        def body(carrier: Carrier) -> dict[str, Any]:
            authorization = ReceiveWithAuthorization(
                from_=terms.renter,
                to=self._chain.escrow.address,
                value=terms.cost + carrier.open_fee,
                valid_after=0,
                valid_before=valid_before,
                nonce=lease_id,
            )
            return {
                "terms": terms.to_json(),
                "terms_signature": to_hex(agreed.signature),
                "authorization": {
                    "relay_fee": str(carrier.open_fee),
                    "valid_after": 0,
                    "valid_before": valid_before,
                    "signature": to_hex(sign(authorization, domain, self._account)),
                },
            }

        call = _Call(
            "/v1/relays/openings",
            [] if is_open else [(carrier.node, body(carrier)) for carrier in way.carriers],
            self._finder(Opened, lease_id, 0 if is_open else head - _LOOK_BACK_BLOCKS),
            self._clock() + max(0, valid_before - now),
        )
        end = datetime.fromtimestamp(valid_before, UTC).isoformat(timespec="seconds")
        advice = (
            f"Nothing has been spent. A node that kept the authorization can use it until {end}"
        )
        return self._carry(call, f"{advice}: see `gridlease jobs` then.").tx_hash

    def stop(self, terms: Terms, *, first: MarketNode) -> bytes:
        """Have a lease stopped; returns the transaction's hash, as the chain has it.

        Raises
        ------
        RelayFailed
            No node did it; the lease goes on.
        """
        lease_id = terms.lease_id(self._chain.domain)
        with chain_errors("stopping the lease"):
            head = self._chain.head()
            is_stopped = self._chain.lease(lease_id).stopped_at != 0
        signature = sign(Stop(lease_id=lease_id), self._chain.domain, self._account)
        body = {"terms": terms.to_json(), "signature": to_hex(signature)}
        nodes = [first, *(node for node in self._nodes if node is not first)]
        call = _Call(
            "/v1/relays/stops",
            [] if is_stopped else [(node, body) for node in nodes],
            self._finder(Stopped, lease_id, 0 if is_stopped else head - _LOOK_BACK_BLOCKS),
            self._clock() + CALL_TIMEOUT_S,
        )
        return self._carry(call, "See `gridlease status`, and stop it again.").tx_hash

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

        body = {"token": token, "key": key}
        asks = [(node, body) for node in self._nodes]
        call = _Call("/v1/relays/withdrawals", asks, find, self._clock() + CALL_TIMEOUT_S)
        event = self._carry(call, "The credit is safe in the escrow; try again later.")
        assert isinstance(event, Withdrawn)
        return event.amount

    @property
    def _address(self) -> str:
        return str(self._account.address)

    def _finder(
        self, kind: type[Event], lease_id: bytes, start: int
    ) -> Callable[[int], Event | None]:
        first = max(start, self._chain.deployment.start_block)

        def find(head: int) -> Event | None:
            events = self._chain.events(first, head, topic=lease_id)
            return next((event for event in events if isinstance(event, kind)), None)

        return find

    def _carry(self, call: _Call, advice: str) -> Event:
        """Ask node after node until the chain shows what was asked for."""
        if not call.asks:  # it was done before: only its confirmations are waited for
            return self._wait(call, lambda: None, call.until, "the chain")
        reasons = []
        for number, (node, body) in enumerate(call.asks):
            now = self._clock()
            until = now + (call.until - now) / (len(call.asks) - number)
            try:
                return self._ask(call, node, body, until)
            except NetworkFailed as error:
                reasons.append(error.message)
        raise RelayFailed(
            f"no marketplace node carried the call to the chain: {'; '.join(reasons)}",
            what_to_do=advice,
        )

    def _ask(self, call: _Call, node: MarketNode, body: dict[str, Any], until: float) -> Event:
        answer = node.post(call.path, body, patience_s=NODE_PATIENCE_S)
        request = f"/v1/relays/{answer.get('request_id')}"
        ended_at: float | None = None

        def look() -> None:
            nonlocal ended_at
            try:
                told = node.get(request, patience_s=0)
            except NetworkFailed:
                return  # what it was given may still come to the chain
            state = told.get("state")
            if state not in (RelayState.CONFIRMED, RelayState.REFUSED, RelayState.FAILED):
                return
            # Its chain may be ahead of ours: another node may have been faster than this one.
            ended_at = ended_at or self._clock()
            if self._clock() - ended_at < LATE_S:
                return
            if state == RelayState.CONFIRMED:
                raise MarketMisbehaved(f"{node.url} says it is done, the chain does not")
            why = str(told.get("refusal") or told.get("problem"))[:80]
            raise RelayFailed(f"{node.url}: {state} ({why})")

        return self._wait(call, look, until, node.url)

    def _wait(self, call: _Call, look: Callable[[], None], until: float, who: str) -> Event:
        """Watch the chain until it shows the effect under enough blocks.

        What is in a block already needs nobody's word; only before that the node is looked at.
        """
        while True:
            found: Event | None = None
            try:
                head = self._chain.head()
                found = call.find(head)
                if found is not None and head - found.block_number >= CONFIRMATIONS:
                    return found
            except ChainError:
                LOG.debug("the chain does not answer", exc_info=True)
            if found is None:
                look()
            if self._clock() >= until + (CONFIRM_S if found is not None else 0):
                raise RelayFailed(f"{who} did not confirm it in time")
            self._sleep(POLL_S)


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
