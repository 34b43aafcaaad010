"""Terms for one order: pure arithmetic on the order, the offer, the settings and what was measured.

Rounding: a segment's price is rounded up once, from its measured duration; the bond is rounded up.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from typing import Final

from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.canonical import ZERO_HASH
from client_sdk.protocol.manifest import JobManifest
from client_sdk.protocol.money import BPS, price_per_segment_up
from client_sdk.protocol.offers import Offer
from client_sdk.protocol.orders import Order
from client_sdk.protocol.terms import Terms
from client_sdk.protocol.units import format_duration, format_size
from worker_agent.errors import OrderRejected
from worker_agent.execution import Pace
from worker_agent.records import LeaseRecord
from worker_agent.settings import WorkerSettings

#: Part of the measured duration of a segment that no segment undercuts; protocol: at most half.
_MIN_SEGMENT_PART: Final = 0.4
_START_SPARE_S: Final = 120
_SETUP_SPARE_S: Final = 60
_SETUP_FACTOR: Final = 3
_RULING_SPARE_S: Final = 15
#: Longest that a dispute may last without a ruling; source: ``Opening.MAX_DISPUTE_TIMEOUT``.
_MAX_DISPUTE_S: Final = 90 * 86_400

STATE_FACTOR: Final = 4
"""A checkpoint may outgrow the one that was measured: optimizers make state at their first step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What the probe found."""

    step_s: float
    """Median seconds of an optimizer step; zero for a metered job."""
    boundary_s: float
    """Seconds for state hash and checkpoint at a segment's end."""
    state_bytes: int
    probe_s: float = 0.0
    """Seconds of the whole probe, by this worker's clock; what the probe says of steps and state is
    the program's word."""
    input_bytes: int = 0
    """Size of code, data and unpacked wheels."""

    def segment_s(self, manifest: JobManifest) -> float:
        """Seconds of one segment."""
        if manifest.metered:
            return float(manifest.segment_seconds)
        return self.step_s * manifest.segment_steps + self.boundary_s

    def delivery_s(self, manifest: JobManifest, num_checkpoints: int, bytes_per_s: int) -> float:
        """Seconds in which the inputs and so many checkpoints are uploaded."""
        checkpoint_bytes = min(STATE_FACTOR * self.state_bytes, manifest.disk_bytes)
        return (self.input_bytes + num_checkpoints * checkpoint_bytes) / bytes_per_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What this worker can give to one job."""

    memory_bytes: int
    disk_bytes: int
    cpu_cores: int
    gpu_name: str
    gpu_count: int


def pace_of(record: LeaseRecord, slowdown_limit: float) -> Pace:
    """How long the program of a lease may take for what is paid.

    The price comes from a step time that the program itself reported in the probe. One that
    reported too little is stopped before it has used much more than its price pays for.
    """
    return Pace(
        setup_s=_SETUP_SPARE_S + _SETUP_FACTOR * record.probe_s,
        segment_s=slowdown_limit * record.segment_s,
    )


def check_order(order: Order, offer: Offer, now: int, total_stake: int, renter_funds: int) -> None:
    """Refuse an order that does not fit our offer, before anything is fetched.

    Parameters
    ----------
    renter_funds:
        What the renter holds in the offer's token, and its credit in the escrow, in the smallest
        unit. Leases are paid from both; the allowance is given when the lease is opened.

    Raises
    ------
    OrderRejected
        With a code and what the renter can do.
    """
    if order.expired(now):
        raise OrderRejected("expired", "The order has expired; place it again.")
    if offer.expired(now):
        raise OrderRejected("expired", "The offer has expired; take a fresh one.")
    if order.listing_id not in (ZERO_HASH, offer.listing_id):
        raise OrderRejected("not_mine", "The order is for another listing.")
    if not same_address(order.token, offer.token):
        raise OrderRejected("unsupported", f"This worker is paid in {offer.token}.")
    if not same_address(order.arbiter, offer.arbiter):
        raise OrderRejected("unsupported", f"This worker's arbiter is {offer.arbiter}.")
    if order.max_price_per_hour < offer.price_per_hour:
        raise OrderRejected("over_budget", "The offer is dearer per hour than the order allows.")
    if len(order.verifications) != 1 or not order.verifications <= offer.verifications:
        names = ", ".join(sorted(offer.verifications))
        raise OrderRejected("unsupported", f"This worker carries out: {names}.")
    if order.min_bond > total_stake:
        raise OrderRejected("over_budget", f"This worker's stake is {total_stake}.")
    if renter_funds < order.budget:
        raise OrderRejected(
            "unfunded",
            f"The renter's account holds {renter_funds}, less than the budget of {order.budget}: "
            "fund it, or order with a smaller budget.",
        )


def check_manifest(
    manifest: JobManifest, order: Order, offer: Offer, machine: Machine, max_duration_s: int
) -> None:
    """Refuse a job that this machine cannot run as its manifest says.

    Raises
    ------
    OrderRejected
        With a code and what the renter can do.
    """
    if manifest.verification not in order.verifications:
        raise OrderRejected("bad_inputs", "Order and manifest name different verification modes.")
    if not manifest.metered and manifest.hardware_class != offer.hardware_class:
        raise OrderRejected("wrong_class", "The manifest is for another hardware class.")
    if manifest.memory_bytes > machine.memory_bytes:
        limit = format_size(machine.memory_bytes)
        raise OrderRejected("too_large", f"A job gets at most {limit} of memory here.")
    if manifest.disk_bytes > machine.disk_bytes:
        limit = format_size(machine.disk_bytes)
        raise OrderRejected("too_large", f"A job gets at most {limit} of disk here.")
    if manifest.threads > machine.cpu_cores:
        raise OrderRejected("too_large", f"This machine gives a job {machine.cpu_cores} cores.")
    if manifest.gpu_count > machine.gpu_count:
        raise OrderRejected("too_large", f"This machine has {machine.gpu_count} GPUs.")
    if order.max_duration_s > max_duration_s:
        limit = format_duration(max_duration_s)
        raise OrderRejected("too_long", f"A lease lasts at most {limit} here.")


def make_terms(
    order: Order,
    offer: Offer,
    manifest: JobManifest,
    measured: Measured,
    settings: WorkerSettings,
    now: int,
    free_stake: int,
) -> Terms:
    """Compute the terms that this worker will keep.

    Parameters
    ----------
    order, offer:
        What the renter wants, and what this worker promised.
    manifest:
        The checked job.
    measured:
        Result of the probe.
    settings:
        Windows and bond.
    now:
        Time of the latest block.
    free_stake:
        Stake that a new lease can lock.

    Raises
    ------
    OrderRejected
        The job does not fit budget or duration, or the stake does not carry its bond.
    """
    segment_s = measured.segment_s(manifest)
    segments = min(order.segments, manifest.max_segments)
    price = max(1, price_per_segment_up(offer.price_per_hour, segment_s))
    bond = 0 if manifest.metered else -(-price * segments * settings.bond_bps // BPS)
    _check_segment(manifest, offer, settings, segment_s)
    _check_fit(order, offer, segment_s, segments, price)
    if bond > free_stake:
        raise OrderRejected("busy", "This worker's free stake does not carry the bond.")
    terms = Terms(
        renter=order.renter,
        provider=offer.provider,
        operator=offer.operator,
        token=offer.token,
        arbiter=offer.arbiter,
        listing_id=offer.listing_id,
        machine_hash=offer.machine_hash,
        job_hash=order.job_hash,
        price_per_segment=price,
        bond=bond,
        segments=segments,
        fee_bps=offer.fee_bps,
        audit_bps=offer.audit_bps,
        open_by=now + settings.open_within_s,
        max_duration=order.max_duration_s,
        predecessor=ZERO_HASH,
        nonce=secrets.randbits(64),
        **_periods(order, manifest, measured, segments, settings),
    )
    return _within_caps(order, terms, offer)


def _within_caps(order: Order, terms: Terms, offer: Offer) -> Terms:
    """Refuse an order whose leases others open, when the contract would not take our terms."""
    if order.openable and (broken := order.broken_rule(terms, offer.hardware_class)):
        raise OrderRejected("unsupported", f"This worker's terms do not keep your {broken}.")
    return terms


def _check_segment(
    manifest: JobManifest, offer: Offer, settings: WorkerSettings, segment_s: float
) -> None:
    """Refuse segments that are too short or too long."""
    if manifest.metered and segment_s < offer.min_segment_seconds:
        raise OrderRejected("unsupported", f"Segments last {offer.min_segment_seconds} s or more.")
    if segment_s > settings.max_segment_s:
        longest = format_duration(settings.max_segment_s)
        raise OrderRejected("too_long", f"Segments last at most {longest} here; use shorter ones.")


def _check_fit(order: Order, offer: Offer, segment_s: float, segments: int, price: int) -> None:
    """Refuse a job that is too long or too dear."""
    if segments > offer.max_segments:
        raise OrderRejected("too_long", f"At most {offer.max_segments} segments; use longer ones.")
    if segments * segment_s > order.max_duration_s:
        needed = format_duration(math.ceil(segments * segment_s))
        raise OrderRejected("too_long", f"{segments} segments take {needed} here; allow longer.")
    if price * segments > order.budget:
        raise OrderRejected("over_budget", f"The job costs {price * segments} here; raise budget.")


def _periods(
    order: Order, manifest: JobManifest, measured: Measured, segments: int, settings: WorkerSettings
) -> dict[str, int]:
    """Periods that leave time for segments of this length, and are no shorter than our own."""
    segment_s = measured.segment_s(manifest)
    first = max(settings.first_commit_within_s, math.ceil(3 * segment_s) + _START_SPARE_S)
    # An audit executes a segment twice in the worst case.
    window = 0 if manifest.metered else max(settings.window_s, math.ceil(3 * segment_s) + 10)
    most_unpaid = _most_unpaid(segments, segment_s, window)
    return {
        "window": window,
        "dispute_timeout": _dispute_timeout(
            order, manifest, measured, segments, most_unpaid, settings
        ),
        "commit_grace": max(settings.commit_grace_s, math.ceil(1.5 * segment_s) + 10),
        "first_commit_within": min(first, order.max_duration_s),
        "min_segment_seconds": int(segment_s * _MIN_SEGMENT_PART),
    }


def _most_unpaid(segments: int, segment_s: float, window: int) -> int:
    """How many segments can wait for their pay at once, at the pace that was measured.

    A commit comes when what was committed before it has matured, and the last one earlier: so no
    more than what is finished within two windows.
    """
    if segments * segment_s <= 2 * window:
        return segments
    return min(segments, math.ceil(2 * window / segment_s) + 1)


def _dispute_timeout(
    order: Order,
    manifest: JobManifest,
    measured: Measured,
    segments: int,
    most_unpaid: int,
    settings: WorkerSettings,
) -> int:
    """Time to deliver the job and to execute it again; refuse a job that wants more than may be."""
    if manifest.metered:
        return settings.dispute_timeout_s
    # The arbiter runs the challenged segment, then the job from its start, and in the worst case
    # that segment once more. It can be pointed at lower segments in half of its time, down to the
    # lowest unpaid one, and has the other half for those. What it then asks for must be there
    # within half of that half, and a market that the order did not come through has none of it.
    runs_s = max(1.5 * segments, segments + 2) * measured.segment_s(manifest) + _RULING_SPARE_S
    delivery_s = measured.delivery_s(manifest, most_unpaid, settings.upload_bytes_per_s)
    whole_s = 2 * math.ceil(delivery_s + max(runs_s, delivery_s))
    allowed_s = order.max_dispute_timeout if order.openable else _MAX_DISPUTE_S
    if whole_s > min(allowed_s, _MAX_DISPUTE_S):
        raise OrderRejected(
            "too_large",
            f"Disputes must last {format_duration(whole_s)} here, to upload data and checkpoints "
            f"({format_duration(math.ceil(delivery_s))}) and to execute the job again "
            f"({format_duration(math.ceil(runs_s))}): bring less, or allow longer disputes.",
        )
    return max(settings.dispute_timeout_s, whole_s)
