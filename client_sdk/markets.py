"""Several marketplace nodes seen as one market.

Every node is a stranger: what it serves counts when a signature, a digest or the chain confirms
it. Offers of all nodes are merged by their digest, so a node can hide offers (ask another one) but
can neither forge nor alter one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from client_sdk.chain.errors import SignatureInvalid
from client_sdk.chain.signing import recover
from client_sdk.errors import InputRejected, MarketRefused, MarketUnreachable, NetworkFailed
from client_sdk.facts import ChainFacts
from client_sdk.policy import Finding, ListingFacts, MarketFacts, Policy, Rule, check_offer
from client_sdk.protocol.canonical import hash_from_hex
from client_sdk.protocol.eip712 import Domain, Typed
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.machine import MachineDocument
from client_sdk.protocol.offers import Offer
from client_sdk.transports import MarketNode

LOG = logging.getLogger("gridlease")
MAX_OFFERS = 1_000
SIGNATURE_BYTES = 65


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedOffer:
    """An offer that kept every rule."""

    offer_id: bytes
    offer: Offer
    signature: bytes
    machine: MachineDocument
    listing: ListingFacts
    nodes: tuple[MarketNode, ...]
    """Nodes that serve it, in the order in which they were named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedOffer:
    """An offer that a node served and that must not be used."""

    node: str
    offer_id: str
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        broken = "; ".join(str(finding) for finding in self.findings)
        return f"{self.node} served the offer {self.offer_id[:18]}: {broken}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Answer to one search over all nodes."""

    offers: tuple[VerifiedOffer, ...]
    refused: tuple[RefusedOffer, ...]
    silent: tuple[str, ...]
    """URLs of nodes that did not answer."""
    hint: str | None
    """A node's advice when nothing matched."""


class Markets:
    """The nodes that the renter named."""

    def __init__(
        self,
        nodes: Sequence[MarketNode],
        *,
        facts: ChainFacts,
        domain: Domain,
        market: MarketFacts,
        policy: Policy,
    ) -> None:
        if not nodes:
            raise InputRejected("no marketplace node", what_to_do="Name one with --market.")
        self.nodes = tuple(nodes)
        self._facts = facts
        self._domain = domain
        self._market = market
        self._policy = policy

    def close(self) -> None:
        """Close all connections."""
        for node in self.nodes:
            node.close()

    def node(self, url: str) -> MarketNode:
        """The node with this URL; the first one when it is not among those named now."""
        return next((node for node in self.nodes if node.url == url), self.nodes[0])

    def offers(self, query: str, *, order: str | None, limit: int) -> Found:
        """Verified offers of all nodes that answer, merged by digest.

        Raises
        ------
        InputRejected
            The query is malformed; all nodes speak the same grammar.
        MarketUnreachable
            No node answers.
        """
        params: dict[str, str | int] = {"q": query, "limit": min(limit, MAX_OFFERS)}
        if order is not None:
            params["order"] = order
        merged: dict[bytes, VerifiedOffer] = {}
        refused: list[RefusedOffer] = []
        silent: list[str] = []
        hint: str | None = None
        for node in self.nodes:
            answer = self._ask(node, params)
            if answer is None:
                silent.append(node.url)
                continue
            hint = hint or _text(answer.get("hint"))
            for raw in _items(answer)[:MAX_OFFERS]:
                found = self._verify(node, raw)
                if isinstance(found, RefusedOffer):
                    LOG.warning("refused: %s", found)
                    refused.append(found)
                elif (known := merged.get(found.offer_id)) is not None:
                    merged[found.offer_id] = replace(known, nodes=(*known.nodes, node))
                else:
                    merged[found.offer_id] = found
        if len(silent) == len(self.nodes):
            raise MarketUnreachable("no marketplace node answers: " + ", ".join(silent))
        return Found(
            offers=tuple(merged.values())[:limit],
            refused=tuple(refused),
            silent=tuple(silent),
            hint=hint,
        )

    def _ask(self, node: MarketNode, params: dict[str, str | int]) -> dict[str, Any] | None:
        try:
            return node.get("/v1/offers", params, anonymous=True)
        except MarketRefused as error:
            if error.status in (400, 422):
                raise InputRejected(error.message, what_to_do=error.what_to_do) from error
            LOG.warning("%s: %s", node.url, error)
        except NetworkFailed as error:
            LOG.warning("%s", error)
        return None

    def _verify(self, node: MarketNode, raw: Any) -> VerifiedOffer | RefusedOffer:
        """Check one served offer against its signature and the chain."""
        claimed = str(raw.get("digest", "?")) if isinstance(raw, dict) else "?"
        try:
            offer = Offer.from_json(raw["offer"])
            signature = signature_from_hex(raw["signature"])
            claimed_id = hash_from_hex(raw["digest"])
            machine = MachineDocument.from_json(raw["listing"]["document"])
        except (ProtocolError, KeyError, TypeError, ValueError) as error:
            finding = Finding(Rule.DIGEST, f"malformed: {error}")
            return RefusedOffer(node=node.url, offer_id=claimed, findings=(finding,))
        offer_id = offer.offer_id(self._domain)
        listing = self._facts.listing(offer.listing_id, machine)
        findings = check_offer(
            offer,
            signer=signer_of(offer, self._domain, signature),
            claimed_id=claimed_id,
            offer_id=offer_id,
            listing=listing,
            market=self._market,
            policy=self._policy,
            now=self._facts.now(),
        )
        if findings or listing is None:
            return RefusedOffer(node=node.url, offer_id=claimed, findings=tuple(findings))
        return VerifiedOffer(
            offer_id=offer_id,
            offer=offer,
            signature=signature,
            machine=machine,
            listing=listing,
            nodes=(node,),
        )


def signature_from_hex(value: object) -> bytes:
    """The 65 bytes of a signature in 0x-hexadecimal.

    Raises
    ------
    ValueError
        It is anything else.
    """
    if not isinstance(value, str) or len(value) != 2 + 2 * SIGNATURE_BYTES or value[:2] != "0x":
        raise ValueError("not a 65-byte signature")
    return bytes.fromhex(value[2:])


def signer_of(obj: Typed, domain: Domain, signature: bytes) -> str | None:
    """Account that signed an object; None when the signature is none."""
    try:
        return recover(obj, domain, signature)
    except SignatureInvalid:
        return None


def _items(answer: dict[str, Any]) -> list[Any]:
    offers = answer.get("offers")
    return offers if isinstance(offers, list) else []


def _text(value: object) -> str | None:
    return value[:500] if isinstance(value, str) and value else None
