"""What the machine draws: terms and orders, most of them good, and every way to get them wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from client_sdk.protocol.addresses import ZERO_ADDRESS, checksum_address
from client_sdk.protocol.terms import Terms
from tests.integration.contracts.model.ledger import NATIVE
from tests.integration.contracts.model.openings import DAY, MAX_COST
from tests.integration.contracts.model.twin import NAMES, RENTERS, START

UNKNOWN: Final = b"\xee" * 32
UNLISTED: Final = checksum_address("0x" + "ee" * 20)
"""A token that the escrow does not know."""

Change: TypeAlias = Callable[[Terms], dict[str, Any]]

# Picks one of the leases or listings, whatever their number.
WHICH = st.integers(0, 7)
SEGMENT = st.integers(0, 6)
AMOUNT = st.one_of(st.integers(0, 300), st.integers(0, 3_000))


def rarely(*values: Any) -> st.SearchStrategy[Any]:
    """One of `values` in one case of ten, else None."""
    return st.integers(0, 9).flatmap(lambda i: st.sampled_from(values) if i == 9 else st.none())


SOMEBODY = st.sampled_from(NAMES)
SOMEBODY_ELSE = rarely(*NAMES)

_WRONG_TERMS: tuple[Change, ...] = (
    lambda t: {"segments": 0},
    lambda t: {"price_per_segment": 0},
    lambda t: {"price_per_segment": MAX_COST // t.segments + 1},
    lambda t: {"price_per_segment": MAX_COST // t.segments},
    lambda t: {"fee_bps": t.fee_bps + 1},
    lambda t: {"audit_bps": 2001},
    lambda t: {"reserve_segments": t.segments + 1},
    lambda t: {"reserve_segments": 1, "window": 0},
    lambda t: {"open_by": t.open_by - 61},
    lambda t: {"open_by": t.open_by - 60},
    lambda t: {"window": 30 * DAY + 1},
    lambda t: {"window": 30 * DAY, "commit_grace": 30 * DAY, "dispute_timeout": 90 * DAY},
    lambda t: {"commit_grace": 30 * DAY + 1},
    lambda t: {"commit_grace": 0, "window": 0, "reserve_segments": 0},
    lambda t: {"max_duration": 0},
    lambda t: {"max_duration": 1096 * DAY + 1},
    lambda t: {"max_duration": 1096 * DAY},
    lambda t: {"arbiter": ZERO_ADDRESS},
    lambda t: {"arbiter": t.renter},
    lambda t: {"arbiter": t.provider},
    lambda t: {"arbiter": t.operator},
    lambda t: {"dispute_timeout": 0},
    lambda t: {"dispute_timeout": 90 * DAY + 1},
    lambda t: {"listing_id": UNKNOWN},
    lambda t: {"operator": t.renter},
    lambda t: {"provider": t.operator},
    lambda t: {"token": NATIVE if t.token != NATIVE else t.operator},
    lambda t: {"machine_hash": UNKNOWN},
    lambda t: {"predecessor": UNKNOWN},
    lambda t: {"bond": 100_000},
)
_WRONG_ORDERS: tuple[Change, ...] = (
    lambda t: {"min_window": 0},
    lambda t: {"max_price_per_segment": 0},
    lambda t: {"expires_at": START + 50},
    lambda t: {"renter": t.provider},
    lambda t: {"token": t.provider},
    lambda t: {"arbiter": t.provider},
    lambda t: {"job_hash": UNKNOWN},
    lambda t: {"listing_id": t.listing_id},
    lambda t: {"listing_id": UNKNOWN},
    lambda t: {"hardware_class": UNKNOWN},
    lambda t: {"max_price_per_segment": max(1, t.price_per_segment - 1)},
    lambda t: {"min_bond": t.bond},
    lambda t: {"min_bond": t.bond + 1},
    lambda t: {"max_duration_s": max(0, t.max_duration - 1)},
    lambda t: {"min_window": t.window + 1},
    lambda t: {"min_window": t.dispute_timeout // 2 + 1},
    lambda t: {"min_window": max(1, t.commit_grace - 1)},
    lambda t: {"min_bond_bps": min(t.bond * 10_000 // max(1, t.cost), 2**16 - 1)},
    lambda t: {"min_bond_bps": min(t.bond * 10_000 // max(1, t.cost) + 1, 2**16 - 1)},
    lambda t: {"min_audit_bps": t.audit_bps},
    lambda t: {"min_audit_bps": t.audit_bps + 1},
    lambda t: {"max_window": max(0, t.window - 1)},
    lambda t: {"max_dispute_timeout": max(0, t.dispute_timeout - 1)},
    lambda t: {"max_first_commit": max(0, t.first_commit_within - 1)},
    lambda t: {"min_segment_seconds": t.min_segment_seconds},
    lambda t: {"min_segment_seconds": t.min_segment_seconds + 1},
    lambda t: {"budget": max(0, t.cost - 1)},
    lambda t: {"segments": max(0, t.segments - 1)},
)


@dataclass(frozen=True)
class Wish:
    """What a lease shall be like; the machine makes terms of it that fit the time and a listing."""

    listing: int
    renter: str
    fields: dict[str, Any]
    wrong: Change | None


def _fields(**others: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    usual: dict[str, st.SearchStrategy[Any]] = {
        "price_per_segment": st.integers(1, 60),
        "bond": st.sampled_from((300, 0, 1, 99, 700, 1_500)),
        "segments": st.integers(1, 6),
        "audit_bps": st.sampled_from((333, 0, 2000)),
        "reserve_segments": st.sampled_from((0, 0, 1, 2)),
        "window": st.sampled_from((20, 40, 20, 0)),
        "commit_grace": st.sampled_from((10, 0, 30)),
        "dispute_timeout": st.sampled_from((25, 1, 60)),
        "first_commit_within": st.sampled_from((100, 5, 500)),
        "max_duration": st.sampled_from((200, 60, 1_000)),
        "min_segment_seconds": st.sampled_from((0, 0, 4)),
        "nonce": st.integers(0, 260),
    }
    return st.fixed_dictionaries(usual | others)


def _wishes(fields: st.SearchStrategy[dict[str, Any]], *wrong: Any) -> st.SearchStrategy[Wish]:
    return st.builds(Wish, WHICH, st.sampled_from(RENTERS), fields, rarely(*wrong))


GOOD_WISH = _wishes(_fields(), None)
WISH = _wishes(_fields(), *_WRONG_TERMS)
# Within what `Market.order` allows.
ORDERED = _wishes(
    _fields(
        window=st.sampled_from((20, 40)),
        max_duration=st.sampled_from((200, 60)),
        commit_grace=st.sampled_from((10, 0)),
        dispute_timeout=st.sampled_from((25, 60)),
    ),
    *_WRONG_TERMS,
)
WRONG_ORDER = st.integers(0, 2).flatmap(
    lambda i: st.sampled_from(_WRONG_ORDERS) if i == 2 else st.none()
)
