"""torch inside the sandbox computes the same bits as outside."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from worker_agent.sandbox.base import GIB, SandboxSpec
from worker_agent.sandbox.bubblewrap import BubblewrapSandbox
from worker_agent.sandbox.mounts import runtime_mounts

SCRIPT = """
import hashlib, torch
torch.manual_seed(7)
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Flatten(),
    torch.nn.Dropout(0.2), torch.nn.Linear(8 * 36, 10),
)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
for _ in range(5):
    x, y = torch.randn(16, 1, 8, 8), torch.randint(10, (16,))
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
digest = hashlib.sha256()
for name, value in sorted(model.state_dict().items()):
    digest.update(name.encode() + value.numpy().tobytes())
print(digest.hexdigest())
"""


def test_when_a_model_is_trained_inside_then_the_bits_are_those_of_outside(
    sandbox: BubblewrapSandbox, python_job: Callable[..., SandboxSpec]
) -> None:
    env = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    runtime = runtime_mounts()
    outside = subprocess.run(
        [*runtime.python, "-c", SCRIPT],
        env={"PATH": "/usr/bin", **env},
        capture_output=True,
        check=True,
    )
    spec = python_job(SCRIPT, env=env, limits={"memory_bytes": 2 * GIB, "wall_time_s": 120})
    with sandbox.start(spec) as job:
        ended = job.wait(150)
        assert ended is not None
        assert ended.ok, job.output_tail()
        assert job.output_tail() == outside.stdout
    assert len(outside.stdout.strip()) == 64
