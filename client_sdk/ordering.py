"""From an offer to a funded lease: order, terms, checks, money.

The steps, in this order, with nothing spent before the last one:

1. the order is signed and sent to a marketplace node together with the sealed job key;
2. the provider's worker fetches and checks the inputs, probes, and signs terms;
3. the terms are held against order, offer, chain and policy (`client_sdk.policy`);
4. approval and opening, each sent once, whatever dies in between.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount

from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import CallReverted
from client_sdk.chain.sender import Sender
from client_sdk.chain.signing import sign
from client_sdk.errors import (
    ChainFailed,
    InsufficientFunds,
    MarketMisbehaved,
    OrderDeclined,
    OrderTimedOut,
    TermsRejected,
)
from client_sdk.facts import ChainFacts, chain_errors
from client_sdk.inputs import SealedInputs
from client_sdk.markets import VerifiedOffer, signature_from_hex, signer_of
from client_sdk.policy import MarketFacts, Policy, TermsFacts, check_terms
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.money import format_amount
from client_sdk.protocol.orders import Order
from client_sdk.protocol.states import OrderState
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.verification import Verification
from client_sdk.transports import MarketNode
from contracts.bindings import LeaseStatus, Source, Token

POLL_S = 0.5
ORDER_LIFETIME_S = 900
TERMS_TIMEOUT_S = 600.0
GAS_RESERVE_WEI = 10**15
"""Native coin that approval and opening may take together, held against the balance beforehand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """What the renter wants, in the token's smallest unit and in seconds."""

    job_hash: bytes
    token: str
    decimals: int
    symbol: str
    budget: int
    max_duration_s: int
    segments: int
    verification: Verification
    min_bond: int = 0
    audit: Mapping[str, Any] | None = None
    """Who may audit, as the marketplace takes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """An order that a marketplace node took."""

    node: MarketNode
    order_id: str
    job_id: str
    order: Order


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreed:
    """Terms that the provider signed and that the renter's policy accepts."""

    terms: Terms
    signature: bytes
    lease_id: bytes
    step_seconds: float | None
    """Step time that the worker measured in its probe."""


class Ordering:
    """Makes leases for one account."""

    def __init__(
        self,
        *,
        account: LocalAccount,
        chain: Chain,
        facts: ChainFacts,
        sender: Sender,
        market: MarketFacts,
        policy: Policy,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self._chain = chain
        self._facts = facts
        self._sender = sender
        self._market = market
        self._policy = policy
        self._sleep = sleep
        self._clock = clock

    def check_funds(
        self, token: str, needed: int, *, decimals: int, symbol: str, relayed: bool = False
    ) -> None:
        """Make sure that the account can pay, before anything is uploaded or signed.

        Parameters
        ----------
        needed:
            Relay fee included.
        relayed:
            Whether somebody else pays the chain's fees.

        Raises
        ------
        InsufficientFunds
            With what is missing and where to send it.
        """
        address = str(self._account.address)
        with chain_errors("reading the wallet's balance"):
            held = self._chain.token_balance(token, address)
            if not relayed:
                # A node sends an authorization over the whole price, of which credit pays no part.
                held += self._chain.view(self._chain.escrow.credit_of(token, address))
            gas = self._chain.balance(address)
        if held < needed:
            has, wants = (format_amount(amount, decimals) for amount in (held, needed))
            raise InsufficientFunds(
                f"the wallet {address} holds {has} {symbol}; this lease may take {wants}",
                what_to_do=f"Send {symbol} to {address}; nothing has been spent.",
            )
        if gas < GAS_RESERVE_WEI and not relayed:
            raise InsufficientFunds(
                f"the wallet {address} cannot pay the chain's fees ({gas} wei)",
                what_to_do=f"Send the chain's own coin to {address}; nothing has been spent.",
            )

    def place(
        self, node: MarketNode, found: VerifiedOffer, demand: Demand, inputs: SealedInputs
    ) -> Placed:
        """Sign the order and hand it to a node, with the job key sealed for the provider."""
        order = Order(
            renter=str(self._account.address),
            token=demand.token,
            arbiter=self._market.arbiter,
            job_hash=demand.job_hash,
            listing_id=found.offer.listing_id,
            offer=found.offer_id,
            max_price_per_hour=found.offer.price_per_hour,
            budget=demand.budget,
            min_bond=demand.min_bond,
            max_duration_s=demand.max_duration_s,
            segments=demand.segments,
            verification=demand.verification.bit,
            expires_at=self._facts.now() + ORDER_LIFETIME_S,
            nonce=secrets.randbits(63),
        )
        body: dict[str, Any] = {
            "order": order.to_json(),
            "signature": to_hex(sign(order, self._chain.domain, self._account)),
            "offer": to_hex(found.offer_id),
            "artifacts": inputs.addresses(),
            "sealed_key": base64.b64encode(inputs.key_for(found.offer.encryption_key)).decode(),
        }
        if demand.audit is not None:
            body["audit"] = dict(demand.audit)
        answer = node.post("/v1/orders", body)
        try:
            order_id, job_id = str(answer["order_id"]), str(answer["job_id"])
        except KeyError as error:
            raise MarketMisbehaved(f"{node.url}: an order without {error}") from error
        return Placed(node=node, order_id=order_id, job_id=job_id, order=order)

    def await_terms(
        self,
        placed: Placed,
        found: VerifiedOffer,
        verification: Verification,
        *,
        on_state: Callable[[str], None] = lambda state: None,
    ) -> Agreed:
        """Wait for the provider's terms and hold them against the policy.

        Raises
        ------
        OrderDeclined, OrderTimedOut
            No terms will come.
        TermsRejected
            They break the policy; the order is withdrawn.
        """
        view = self._await_signed(placed, on_state)
        agreed = self._read_terms(view, placed.node)
        listing = self._facts.listing(agreed.terms.listing_id, found.machine)
        facts = TermsFacts(
            order=placed.order,
            offer=found.offer,
            signer=signer_of(agreed.terms, self._chain.domain, agreed.signature),
            listing=listing,
            market=self._market,
            verification=verification,
            now=self._facts.now(),
        )
        findings = check_terms(agreed.terms, facts, self._policy)
        if findings:
            self.withdraw(placed)
            raise TermsRejected(findings)
        return agreed

    def withdraw(self, placed: Placed) -> None:
        """Take an order back, so that no worker waits for it."""
        placed.node.delete(f"/v1/orders/{placed.order_id}")

    def open(self, agreed: Agreed) -> bytes:
        """Fund the lease: approve the exact cost, then open, out of credit and then the wallet.

        The whole cost is approved, also when credit covers it: anybody can send the account its
        credit in between, and the opening then takes all from the wallet.

        Safe to repeat after a crash: each transaction is journaled under the lease's id.

        Returns
        -------
        bytes
            Hash of the opening transaction.
        """
        terms, lease = agreed.terms, agreed.lease_id.hex()
        escrow = self._chain.escrow
        with chain_errors("opening the lease"):
            known = self._chain.lease(agreed.lease_id)
            token = Token(terms.token)
            view = token.allowance(str(self._account.address), escrow.address)
            if known.status is LeaseStatus.NONE and self._chain.view(view) < terms.cost:
                self._sender.send(token.approve(escrow.address, terms.cost), f"approve:{lease}")
            call = escrow.open_from(terms.abi_tuple(), agreed.signature, Source.CREDIT, 0, b"")
            try:
                receipt = self._sender.send(call, f"open:{lease}")
            except CallReverted as error:
                raise opening_refused(error) from error
        return receipt.tx_hash

    def _await_signed(self, placed: Placed, on_state: Callable[[str], None]) -> dict[str, Any]:
        deadline = self._clock() + TERMS_TIMEOUT_S
        last = ""
        while self._clock() < deadline:
            view = placed.node.get(f"/v1/orders/{placed.order_id}")
            state = str(view.get("state"))
            if state != last:
                on_state(state)
                last = state
            if state == OrderState.TERMS_SIGNED:
                return view
            if state not in (OrderState.PENDING, OrderState.CLAIMED):
                raise _no_terms(state, view)
            self._sleep(POLL_S)
        self.withdraw(placed)
        raise OrderTimedOut(f"no terms came within {TERMS_TIMEOUT_S:.0f} s; the order is withdrawn")

    def _read_terms(self, view: dict[str, Any], node: MarketNode) -> Agreed:
        try:
            terms = Terms.from_json(view["terms"])
            signature = signature_from_hex(view["terms_signature"])
            probe = view.get("probe") or {}
            step = probe.get("step_seconds")
            step_seconds = float(step) if step is not None else None
        except (ProtocolError, KeyError, TypeError, ValueError) as error:
            raise MarketMisbehaved(f"{node.url}: malformed terms: {error}") from error
        return Agreed(
            terms=terms,
            signature=signature,
            lease_id=terms.lease_id(self._chain.domain),
            step_seconds=step_seconds,
        )


def opening_refused(error: CallReverted) -> ChainFailed:
    """The error of an opening that the contract does not take."""
    return ChainFailed(
        f"the contract refuses to open the lease: {error}",
        what_to_do="Nothing has been spent. Choose another offer, or order anew.",
    )


def _no_terms(state: str, view: dict[str, Any]) -> Exception:
    decline = view.get("decline")
    if state == OrderState.DECLINED and isinstance(decline, dict):
        code, reason = str(decline.get("code"))[:64], str(decline.get("reason"))[:500]
        return OrderDeclined(f"the provider declined the order ({code}): {reason}")
    return OrderTimedOut(f"the order is {state}; no terms were signed")
