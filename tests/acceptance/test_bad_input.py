"""Bad input of every kind is refused before money moves, with what to do next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk import inputs, sealing
from client_sdk.chain.sender import Sender
from client_sdk.chain.signing import sign
from client_sdk.chain.wallet import load_key_file, new_key
from client_sdk.embedded.keys import key_file
from client_sdk.errors import (
    BudgetTooSmall,
    GridleaseError,
    InsufficientFunds,
    OfferRejected,
    OrderDeclined,
    TermsRejected,
)
from client_sdk.markets import VerifiedOffer
from client_sdk.policy import Rule
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.terms import Terms
from contracts.events import Listed
from tests.support.forger import TamperingNode, forging_node
from tests.support.stack import DIGITS, Renter, Stack, gridlease

pytestmark = pytest.mark.timeout(600)


@contextmanager
def nothing_spent(renter: Renter, error: type[GridleaseError], text: str) -> Iterator[Any]:
    """The block fails with this error, and the renter's money is where it was."""
    before = (renter.balance(), renter.allowance())
    with pytest.raises(error, match=text) as caught:
        yield caught
    assert (renter.balance(), renter.allowance()) == before
    assert caught.value.what_to_do


def operator(stack: Stack) -> Any:
    return load_key_file(key_file(stack.folder.keys, "operator"))


def real_offer(renter: Renter) -> VerifiedOffer:
    (offer,) = renter.client.offers().offers
    return offer


def served(stack: Stack, renter: Renter, offer: Offer, machine: Any) -> dict[str, Any]:
    """An offer signed with the provider's own operator key, as a node serves it."""
    domain = renter.client.chain.domain
    return {
        "digest": to_hex(offer.offer_id(domain)),
        "offer": offer.to_json(),
        "signature": to_hex(sign(offer, domain, operator(stack))),
        "listing": {"document": machine.to_json()},
    }


def test_when_the_bundle_has_a_wrong_hash_then_the_provider_declines(
    tester: Renter, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = inputs.seal

    def swapped(packed: Any, manifest: Any, folder: Path) -> inputs.SealedInputs:
        sealed = honest(packed, manifest, folder)
        other = folder / "other.tar"
        other.write_bytes(bytes(1024))
        address = sealing.encrypt_file(sealed.job_key, other, folder / "swapped", b"bundle")
        files = {**sealed.files, address: folder / "swapped"}
        return replace(sealed, bundle=address, files=files)

    monkeypatch.setattr(inputs, "seal", swapped)
    with nothing_spent(tester, OrderDeclined, "bad_inputs"):
        tester.client.run(DIGITS)


def test_when_the_spec_is_over_its_budget_then_the_least_cost_is_said(tester: Renter) -> None:
    with nothing_spent(tester, BudgetTooSmall, "costs at least"):
        tester.client.run(DIGITS, budget="0.0001")


def test_when_the_wallet_has_no_funds_then_it_is_said(
    make_renter: Callable[..., Renter],
) -> None:
    poor = make_renter(funded=False)
    with nothing_spent(poor, InsufficientFunds, "holds 0"):
        poor.client.run(DIGITS)


def test_when_the_wallet_has_no_funds_then_the_exit_code_says_so(
    stack: Stack, make_renter: Callable[..., Renter]
) -> None:
    poor = make_renter(funded=False)
    done = gridlease("run", str(DIGITS), environ=poor.environ(stack))
    assert done.returncode == 5
    assert poor.client.address in done.stderr


def test_when_the_offer_has_expired_then_it_is_refused(
    stack: Stack, tester: Renter, make_renter: Callable[..., Renter]
) -> None:
    found = real_offer(tester)
    now = int(time.time())
    expired = replace(found.offer, issued_at=now - 1000, expires_at=now - 100, nonce=1)
    with forging_node([served(stack, tester, expired, found.machine)]) as url:
        victim = make_renter(account=tester.client.account, markets=(url,))
        with nothing_spent(victim, OfferRejected, "expired"):
            victim.client.run(DIGITS, offer_id=expired.offer_id(victim.client.chain.domain))


def test_when_the_offer_was_tampered_with_then_it_is_refused(
    stack: Stack, tester: Renter, make_renter: Callable[..., Renter]
) -> None:
    found = real_offer(tester)
    raw = served(stack, tester, found.offer, found.machine)
    raw["offer"] |= {"price_per_hour": "1"}
    with forging_node([raw]) as url:
        victim = make_renter(account=tester.client.account, markets=(url,))
        offers = victim.client.offers()
        assert [offer.offer for offer in offers.offers] == [found.offer]
        (refused,) = offers.refused
        assert refused.node == url
        assert {finding.rule for finding in refused.findings} == {Rule.DIGEST, Rule.SIGNATURE}


def test_when_a_second_node_forges_offers_then_the_job_goes_to_the_honest_one(
    stack: Stack, tester: Renter, make_renter: Callable[..., Renter]
) -> None:
    """The forger's own key signs an offer that is far cheaper, for the real listing."""
    found = real_offer(tester)
    forger = new_key()
    cheap = replace(found.offer, operator=str(forger.address), price_per_hour=1, nonce=2)
    raw = served(stack, tester, cheap, found.machine)
    raw["signature"] = to_hex(sign(cheap, tester.client.chain.domain, forger))
    with forging_node([raw]) as url:
        victim = make_renter(account=tester.client.account, markets=(url,))
        offers = victim.client.offers()
        assert [offer.offer_id for offer in offers.offers] == [found.offer_id]
        assert {finding.rule for finding in offers.refused[0].findings} == {Rule.OPERATOR}
        with nothing_spent(victim, OfferRejected, "operator"):
            victim.client.run(DIGITS, offer_id=cheap.offer_id(victim.client.chain.domain))


def test_when_the_machine_was_delisted_then_its_offer_is_refused(
    stack: Stack, tester: Renter, make_renter: Callable[..., Renter]
) -> None:
    found = real_offer(tester)
    chain = tester.client.chain
    machine = replace(found.machine, region="elsewhere")
    owner = load_key_file(key_file(stack.folder.keys, "owner"))
    sender = Sender(chain, owner, tester.home / "owner.sqlite")
    call = chain.escrow.list_machine(
        machine.hardware_class,
        found.offer.token,
        found.offer.price_per_hour,
        found.offer.operator,
        machine.canonical(),
    )
    receipt = sender.send(call, "list")
    (listed,) = [event for event in receipt.events if isinstance(event, Listed)]
    offer = replace(
        found.offer, listing_id=listed.listing_id, machine_hash=machine.machine_hash(), nonce=3
    )
    with forging_node([served(stack, tester, offer, machine)]) as url:
        victim = make_renter(account=tester.client.account, markets=(url,))
        assert len(victim.client.offers().offers) == 2
        sender.send(chain.escrow.delist(listed.listing_id), "delist")
        with nothing_spent(victim, OfferRejected, "delisted"):
            victim.client.run(DIGITS, offer_id=offer.offer_id(chain.domain))


def change_terms(**changes: Any) -> Callable[[str, Any], Any]:
    """A node that alters the terms on their way to the renter."""

    def change(path: str, body: Any) -> Any:
        if path.startswith("/v1/orders/") and body.get("terms"):
            terms = replace(Terms.from_json(body["terms"]), **changes)
            return body | {"terms": terms.to_json()}
        return body

    return change


def test_when_the_node_tampers_with_the_terms_then_they_are_refused(
    tester: Renter, make_renter: Callable[..., Renter]
) -> None:
    tampering = TamperingNode(change_terms(arbiter="0x" + "11" * 20))
    victim = make_renter(account=tester.client.account, transport=tampering)
    with nothing_spent(victim, TermsRejected, "terms refused") as caught:
        victim.client.run(DIGITS)
    assert {finding.rule for finding in caught.value.findings} == {Rule.SIGNATURE, Rule.ARBITER}


def test_when_the_node_holds_terms_back_until_they_expire_then_they_are_refused(
    tester: Renter, make_renter: Callable[..., Renter]
) -> None:
    expired = int(time.time()) - 60
    tampering = TamperingNode(change_terms(open_by=expired))
    victim = make_renter(account=tester.client.account, transport=tampering)
    with nothing_spent(victim, TermsRejected, "must be opened within") as caught:
        victim.client.run(DIGITS)
    assert {finding.rule for finding in caught.value.findings} == {Rule.SIGNATURE, Rule.EXPIRY}
