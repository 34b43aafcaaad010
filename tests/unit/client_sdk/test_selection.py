from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from client_sdk import selection
from client_sdk.errors import BudgetTooSmall, InputRejected, NoOffer, OfferRejected
from client_sdk.jobfile import JobFile
from client_sdk.markets import Found, RefusedOffer, VerifiedOffer
from client_sdk.policy import Finding, Rule
from client_sdk.protocol.jobspec import JobSpec
from tests.support.sdk import LISTING, MACHINE, OFFER

SPEC = JobSpec.from_dict(
    {
        "name": "digits",
        "entry": "train.py",
        "segments": {"steps": 50, "max": 30},
        "budget": "1.00",
        "max_duration": "30m",
    }
)


def token_info(address: str) -> tuple[int, str]:
    return 6, "tUSD"


def offered(number: int = 1, *, machine=MACHINE, **changes) -> VerifiedOffer:
    return VerifiedOffer(
        offer_id=bytes([number]) * 32,
        offer=replace(OFFER, **changes),
        signature=b"",
        machine=machine,
        listing=LISTING,
        nodes=(),
    )


def found(*offers, refused=(), hint=None) -> Found:
    return Found(offers=offers, refused=refused, silent=(), hint=hint)


def test_when_several_offers_fit_then_the_cheapest_is_chosen():
    dear, cheap = offered(1, price_per_hour=900_000), offered(2, price_per_hour=500_000)
    assert selection.choose(SPEC, found(dear, cheap), None, token_info) is cheap


def test_when_an_offer_is_named_then_it_is_taken():
    dear, cheap = offered(1, price_per_hour=900_000), offered(2, price_per_hour=500_000)
    assert selection.choose(SPEC, found(dear, cheap), dear.offer_id, token_info) is dear


def test_when_the_named_offer_failed_its_checks_then_the_reason_is_said():
    refused = RefusedOffer(
        node="http://liar.test",
        offer_id="0x" + "07" * 32,
        findings=(Finding(Rule.EXPIRY, "expired 5 s ago"),),
    )
    with pytest.raises(OfferRejected, match="expired 5 s ago"):
        selection.choose(SPEC, found(offered(), refused=(refused,)), b"\x07" * 32, token_info)


def test_when_the_named_offer_is_gone_then_it_is_said():
    with pytest.raises(OfferRejected, match="not there any more"):
        selection.choose(SPEC, found(offered()), b"\x07" * 32, token_info)


def test_when_nothing_is_offered_then_the_hint_is_passed_on():
    with pytest.raises(NoOffer, match="try a cheaper query"):
        selection.choose(SPEC, found(hint="try a cheaper query"), None, token_info)


@pytest.mark.parametrize(
    ("spec", "offer", "reason"),
    [
        ({}, {"verification": 8}, "does not offer verification: replay"),
        ({}, {"max_segments": 29}, "takes at most 29 segments"),
        ({"gpu": "RTX_4090", "gpu_count": 1}, {}, "has 0 GPUs, 1 are wanted"),
        ({"cpu": 3}, {}, "has 2 cores, 3 are wanted"),
        ({"memory_bytes": 9 << 30}, {}, "has 8GiB of memory"),
        ({"disk_bytes": 9 << 30}, {}, "has 8GiB of disk"),
    ],
)
def test_when_a_machine_does_not_fit_then_the_reason_is_said(spec, offer, reason):
    wanted = replace(SPEC, resources=replace(SPEC.resources, **spec))
    with pytest.raises(NoOffer, match=reason):
        selection.choose(wanted, found(offered(**offer)), None, token_info)


def test_when_the_gpu_is_named_as_people_do_then_it_matches():
    machine = replace(MACHINE, gpu_name="NVIDIA GeForce RTX 4090", gpu_count=2)
    for name in ("RTX_4090", "rtx 4090", "RTX-4090"):
        wanted = replace(SPEC, resources=replace(SPEC.resources, gpu=name, gpu_count=1))
        assert selection.unfit(wanted, offered(machine=machine)) is None
    other = replace(SPEC, resources=replace(SPEC.resources, gpu="A100", gpu_count=1))
    assert "A100 is wanted" in selection.unfit(other, offered(machine=machine))


def test_when_no_offer_is_within_the_budget_then_the_least_cost_is_said():
    with pytest.raises(BudgetTooSmall, match=r"at least 0\.00501 tUSD; its budget is 0\.005"):
        selection.choose(replace(SPEC, budget="0.005"), found(offered()), None, token_info)


def test_when_the_job_is_metered_then_its_cost_is_exact():
    metered = JobSpec.from_dict(
        {
            "name": "script",
            "entry": "train.py",
            "segments": {"seconds": 60, "max": 10},
            "verification": "metered",
            "budget": "0.10",
        }
    )
    assert selection.least_cost(metered, offered()) == 100_000
    assert selection.choose(metered, found(offered()), None, token_info)


def test_when_the_demand_is_made_then_it_carries_the_spec():
    part = selection.demand(SPEC, offered(), token_info)
    order = part.for_job(b"\x01" * 32)
    assert (order.budget, order.segments, order.max_duration_s) == (1_000_000, 30, 1800)
    assert order.audit == {"mode": "market", "auditors": []}


@pytest.mark.parametrize("budget", ["0", "-1", "five", "1e3"])
def test_when_the_budget_is_no_amount_then_it_is_refused(budget):
    with pytest.raises(InputRejected, match="budget"):
        selection.with_budget(JobFile(spec=SPEC, folder=Path()), budget)


def test_when_the_budget_is_finer_than_the_token_then_it_is_refused():
    job = selection.with_budget(JobFile(spec=SPEC, folder=Path()), "0.0000001")
    with pytest.raises(InputRejected, match="budget") as caught:
        selection.demand(job.spec, offered(), token_info)
    assert "6 decimals" in caught.value.what_to_do


def test_when_a_budget_is_given_then_it_replaces_the_specs():
    job = JobFile(spec=SPEC, folder=Path())
    assert selection.with_budget(job, "7.5").spec.budget == "7.5"
    assert selection.with_budget(job, None) is job


def test_when_the_spec_names_a_gpu_then_the_query_asks_for_it():
    wanted = replace(SPEC, resources=replace(SPEC.resources, gpu="RTX 4090", gpu_count=2))
    assert selection.full_query(wanted, "dph<1") == "dph<1 gpu_name=RTX_4090 num_gpus>=2"
    assert selection.full_query(SPEC, "") == ""
