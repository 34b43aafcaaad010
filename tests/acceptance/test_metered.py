"""An unmodified script, paid by vouchers."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_sdk.protocol.verdicts import Verdict
from tests.support.stack import Renter, finish

pytestmark = pytest.mark.timeout(600)
SCRIPT = """
import time
import torch

weights = torch.zeros(3)
for step in range(40):
    weights += 1
    print("step", step, float(weights.sum()), flush=True)
    time.sleep(0.25)
open("result.txt", "w").write("done")
"""
SPEC = """
name: script
entry: train.py
segments: {seconds: 3, max: 20}
verification: metered
audit: none
budget: "0.05"
max_duration: 10m
outputs: {paths: ["*.txt"]}
"""


def test_when_a_plain_script_runs_then_its_vouchers_pay_for_it(
    renter: Renter, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "job.yaml").write_text(SPEC)
    job = renter.client.run(tmp_path / "job.yaml")
    status = finish(job)
    assert status.verdict is Verdict.COMPLETED
    account = status.account
    assert 1 <= account.paid_segments < job.terms.segments
    assert account.paid == account.paid_segments * job.terms.price_per_segment
    assert account.refunded == job.terms.cost - account.paid
    assert "step 39 120.0" in "".join(job.logs())
    job.artifacts()
    output = renter.client.home.artifacts(job.id) / "output" / "result.txt"
    assert output.read_text() == "done"
