"""Choosing an offer for a job, and what to demand of it.

Pure, but for the token table that the caller passes in. Amounts are in the token's smallest unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from client_sdk.errors import BudgetTooSmall, InputRejected, NoOffer, OfferRejected
from client_sdk.jobfile import JobFile
from client_sdk.markets import Found, VerifiedOffer
from client_sdk.ordering import Demand
from client_sdk.protocol.errors import MoneyError
from client_sdk.protocol.jobspec import JobSpec
from client_sdk.protocol.money import format_amount, parse_decimal, price_per_segment_up
from client_sdk.protocol.units import format_size
from client_sdk.protocol.verification import Verification

TokenInfo = Callable[[str], tuple[int, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialDemand:
    """A demand before the job hash is known."""

    token: str
    decimals: int
    symbol: str
    budget: int
    max_duration_s: int
    segments: int
    verification: Verification
    audit: Mapping[str, Any]

    def for_job(self, job_hash: bytes) -> Demand:
        """The demand for one sealed job."""
        return Demand(
            job_hash=job_hash,
            token=self.token,
            decimals=self.decimals,
            symbol=self.symbol,
            budget=self.budget,
            max_duration_s=self.max_duration_s,
            segments=self.segments,
            verification=self.verification,
            audit=self.audit,
        )


def with_budget(job: JobFile, budget: str | None) -> JobFile:
    """The job with another budget: decimal text in whole tokens.

    Raises
    ------
    InputRejected
        It is not an amount above zero.
    """
    if budget is None:
        return job
    try:
        if parse_decimal(budget) <= 0:
            raise InputRejected("a budget of nothing", what_to_do="Give an amount such as 5.00.")
    except MoneyError as error:
        raise InputRejected(f"budget: {error}", what_to_do="Write it as 5.00.") from error
    return replace(job, spec=replace(job.spec, budget=budget))


def full_query(spec: JobSpec, query: str) -> str:
    """The caller's query and what the spec demands, in the market's grammar."""
    parts = [query] if query else []
    if spec.resources.gpu:
        parts.append(f"gpu_name={spec.resources.gpu.replace(' ', '_')}")
        parts.append(f"num_gpus>={spec.resources.gpu_count}")
    return " ".join(parts)


def unfit(spec: JobSpec, found: VerifiedOffer) -> str | None:
    """Why a machine cannot run the job; None when it can. Its document is bound by the chain."""
    machine, wants = found.machine, spec.resources
    if spec.verification not in found.offer.verifications:
        return f"does not offer verification: {spec.verification}"
    if found.offer.max_segments < spec.segments.max:
        return f"takes at most {found.offer.max_segments} segments"
    if machine.gpu_count < wants.gpu_count:
        return f"has {machine.gpu_count} GPUs, {wants.gpu_count} are wanted"
    if wants.gpu and _plain(machine.gpu_name) != _plain(wants.gpu):
        return f"has the GPU {machine.gpu_name or 'none'}, {wants.gpu} is wanted"
    if machine.cpu_count < wants.cpu:
        return f"has {machine.cpu_count} cores, {wants.cpu} are wanted"
    if machine.memory_bytes < wants.memory_bytes:
        return f"has {format_size(machine.memory_bytes)} of memory"
    if machine.disk_bytes < wants.disk_bytes:
        return f"has {format_size(machine.disk_bytes)} of disk"
    return None


def choose(
    spec: JobSpec, found: Found, offer_id: bytes | None, token_info: TokenInfo
) -> VerifiedOffer:
    """The cheapest offer that fits, or the one that is named.

    Raises
    ------
    OfferRejected
        The named offer failed its checks or does not fit.
    NoOffer
        None is there, or none fits; the message says why.
    BudgetTooSmall
        Offers fit, but none within the budget.
    """
    if offer_id is not None:
        found = _only(found, offer_id)
    reasons: list[str] = [str(refused) for refused in found.refused]
    fitting = []
    for candidate in found.offers:
        reason = unfit(spec, candidate)
        if reason is None:
            fitting.append(candidate)
        else:
            reasons.append(f"the offer 0x{candidate.offer_id.hex()[:16]} {reason}")
    if not fitting:
        if offer_id is not None:
            raise OfferRejected("; ".join(reasons) or "the offer is not there any more")
        why = "; ".join(reasons) or found.hint or "no machine is offered"
        raise NoOffer(f"no offer fits {spec.name}: {why}")
    fitting.sort(key=lambda candidate: (candidate.offer.price_per_hour, candidate.offer_id))
    affordable = [
        candidate
        for candidate in fitting
        if least_cost(spec, candidate) <= _budget(spec, candidate, token_info)
    ]
    if not affordable:
        decimals, symbol = token_info(fitting[0].offer.token)
        least = format_amount(least_cost(spec, fitting[0]), decimals)
        raise BudgetTooSmall(
            f"{spec.name} costs at least {least} {symbol}; its budget is {spec.budget}"
        )
    return affordable[0]


def least_cost(spec: JobSpec, found: VerifiedOffer) -> int:
    """What all segments cost at least: exact for a metered job, a lower bound for a replayed one.

    The real length of a replayed segment is known only after the worker's probe.
    """
    seconds = spec.segments.seconds or max(found.offer.min_segment_seconds, 1)
    return price_per_segment_up(found.offer.price_per_hour, seconds) * spec.segments.max


def demand(spec: JobSpec, found: VerifiedOffer, token_info: TokenInfo) -> PartialDemand:
    """What to write into the order."""
    decimals, symbol = token_info(found.offer.token)
    return PartialDemand(
        token=found.offer.token,
        decimals=decimals,
        symbol=symbol,
        budget=_budget(spec, found, token_info),
        max_duration_s=spec.max_duration_s,
        segments=spec.segments.max,
        verification=spec.verification,
        audit={"mode": str(spec.audit), "auditors": list(spec.auditors)},
    )


def _budget(spec: JobSpec, found: VerifiedOffer, token_info: TokenInfo) -> int:
    decimals, symbol = token_info(found.offer.token)
    try:
        return spec.budget_amount(decimals)
    except MoneyError as error:
        raise InputRejected(
            f"budget: {error}", what_to_do=f"{symbol} has {decimals} decimals."
        ) from error


def _only(found: Found, offer_id: bytes) -> Found:
    name = "0x" + offer_id.hex()
    return replace(
        found,
        offers=tuple(offer for offer in found.offers if offer.offer_id == offer_id),
        refused=tuple(refused for refused in found.refused if refused.offer_id == name),
    )


def _plain(name: str) -> str:
    """GPU names as people write them: RTX_4090, NVIDIA GeForce RTX 4090, rtx 4090."""
    words = name.lower().replace("_", " ").replace("-", " ").split()
    return " ".join(word for word in words if word not in ("nvidia", "geforce", "tesla"))
