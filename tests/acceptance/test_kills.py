"""kill -9 of every process during the demo job: the job finishes, each segment is paid once."""

from __future__ import annotations

import random

import pytest

from client_sdk.job import Update
from client_sdk.protocol.verdicts import Verdict
from client_sdk.verify import load_receipt, verify
from contracts.events import Committed, Settled
from tests.support.stack import DIGITS, Renter, Stack, finish

pytestmark = pytest.mark.timeout(1200)
VICTIMS = ("worker", "auditor", "api", "celery", "valkey", "anvil")
SEGMENTS = 20
NUM_RUNS = 2
NUM_DEEP_RUNS = 8  # with the two of the normal run, ten kills of each process


def kill_points(seed: int) -> list[tuple[int, str]]:
    """A point (finished segments) for each victim, from the seed; in order."""
    chance = random.Random(seed)
    return sorted((chance.randrange(1, SEGMENTS - 1), name) for name in VICTIMS)


def run_with_kills(stack: Stack, renter: Renter, seed: int) -> None:
    points = kill_points(seed)
    killed: list[str] = []
    job = renter.client.run(DIGITS)

    def kill_at_point(update: Update) -> None:
        done = update.status.segments_done if update.status is not None else 0
        # One at a time: what was killed last has been started again before the next one dies.
        if points and done >= points[0][0]:
            _, name = points.pop(0)
            stack.kill(name)
            killed.append(name)

    status = finish(job, kill_at_point)
    story = f"seed {seed}, killed {killed}"
    assert sorted(killed) == sorted(VICTIMS), story
    assert status.verdict is Verdict.COMPLETED, story

    account, terms = status.account, job.terms
    assert account.paid_segments == account.committed_segments >= SEGMENTS, story
    assert account.paid == account.paid_segments * terms.price_per_segment, story
    assert account.refunded == terms.cost - account.paid, story
    assert_each_paid_once(renter, job.lease_id)
    job.artifacts()
    report = verify(
        load_receipt(job.receipt(timeout_s=120)),
        renter.client.chain,
        artifacts=renter.client.home.artifacts(job.id),
        record=job.record,
    )
    assert report.holds, (story, report.findings)
    assert report.metrics["accuracy"] >= 0.97, story


def assert_each_paid_once(renter: Renter, lease_id: str) -> None:
    """Payments and commits only ever move forward, to the same end."""
    chain = renter.client.chain
    events = chain.events(
        chain.deployment.start_block, chain.head(), topic=bytes.fromhex(lease_id[2:])
    )
    paid = [event.paid_segments for event in events if isinstance(event, Settled)]
    committed = [event.up_to for event in events if isinstance(event, Committed)]
    assert paid == sorted(set(paid))
    assert committed == sorted(set(committed))
    assert paid[-1] == committed[-1]


@pytest.mark.parametrize("seed", range(NUM_RUNS))
def test_when_every_process_is_killed_during_the_job_then_it_finishes_and_is_paid_once(
    stack: Stack, renter: Renter, seed: int
) -> None:
    run_with_kills(stack, renter, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 100 + NUM_DEEP_RUNS))
def test_when_every_process_is_killed_at_more_points_then_it_finishes_and_is_paid_once(
    stack: Stack, renter: Renter, seed: int
) -> None:
    run_with_kills(stack, renter, seed)
