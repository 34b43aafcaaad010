"""What the SDK takes from the chain before it believes a node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client_sdk.chain.errors import ChainUnreachable
from client_sdk.chain.errors import InsufficientFunds as NoGas
from client_sdk.errors import ChainFailed, InsufficientFunds
from client_sdk.facts import ChainFacts, chain_errors
from client_sdk.protocol.addresses import ZERO_ADDRESS
from contracts.bindings import LeaseEscrow, ListingView, StakeView
from tests.support.sdk import ESCROW, LISTING, LISTING_ID, MACHINE, NOW

VIEW = ListingView(
    provider=LISTING.provider,
    active=True,
    token=LISTING.token,
    operator=LISTING.operator,
    max_price_per_hour=LISTING.max_price_per_hour,
    machine_hash=MACHINE.machine_hash(),
)
NO_VIEW = ListingView(ZERO_ADDRESS, False, ZERO_ADDRESS, ZERO_ADDRESS, 0, bytes(32))


class OneListing:
    """A chain with one listing and its provider's stake."""

    escrow = LeaseEscrow(ESCROW)

    def __init__(self, view: ListingView = VIEW, *, away: bool = False) -> None:
        self._views = {
            "LeaseEscrow.listingOf": view,
            "LeaseEscrow.stakeOf": StakeView(90, 20, 30, 0),
        }
        self._away = away

    def view(self, view):
        return self._views[view.name]

    def now(self) -> int:
        if self._away:
            raise ChainUnreachable("http://node.example", "the node is restarted")
        return NOW


def test_when_the_served_document_is_the_chains_then_all_of_the_listing_counts():
    # Of a stake of 90, 20 are locked and 30 are leaving: a new lease can lock 40.
    assert ChainFacts(OneListing()).listing(LISTING_ID, MACHINE) == replace(
        LISTING, stake_total=90, stake_free=40
    )


@pytest.mark.parametrize("document", [None, replace(MACHINE, hardware_class=b"\x01" * 32)])
def test_when_the_served_document_is_another_then_its_hardware_class_does_not_count(document):
    listing = ChainFacts(OneListing()).listing(LISTING_ID, document)
    assert listing == replace(LISTING, stake_total=90, stake_free=40, hardware_class=b"")


def test_when_the_chain_has_no_such_listing_then_there_is_none():
    assert ChainFacts(OneListing(NO_VIEW)).listing(LISTING_ID, MACHINE) is None


def test_when_the_chain_answers_then_its_block_time_is_the_clock():
    assert ChainFacts(OneListing()).now() == NOW


def test_when_the_chain_does_not_answer_then_the_error_says_what_was_being_done():
    with pytest.raises(ChainFailed, match=r"^reading the chain's time: .*restarted"):
        ChainFacts(OneListing(away=True)).now()


def test_when_the_wallet_cannot_pay_for_gas_then_it_is_no_failure_of_the_chain():
    with (
        pytest.raises(InsufficientFunds, match=r"^opening the lease: "),
        chain_errors("opening the lease"),
    ):
        raise NoGas("0x" + "11" * 20, 1, 2)
