"""A job's own wheels, from the renter's lock file to an import in the real sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client_sdk import inputs as sdk
from client_sdk.jobfile import load_job_file
from tests.fakes import parties
from tests.fakes.chain import FakeChain
from tests.fakes.market import FakeMarket
from tests.fakes.sandbox import CLASS_DIGEST
from tests.support.wheels import sha256, write_wheel
from worker_agent.errors import BadArtifact
from worker_agent.exchange import parse_artifacts
from worker_agent.execution import Control, Outcome, OutcomeKind, follow
from worker_agent.inputs import JobInputs, fetch_inputs, load_inputs
from worker_agent.jobs import Jobs, Work
from worker_agent.runtime.task import Mode
from worker_agent.sandbox.base import Sandbox
from worker_agent.sandbox.detect import detect
from worker_agent.sandbox.settings import SandboxSettings

LIMIT_S = 120.0
SPEC = """\
name: with-wheels
code: code
entry: train.py
image: {{wheels: wheels.lock}}
resources: {{cpu: 1, memory: 2GB, disk: 1GB}}
verification: {verification}
segments: {segments}
budget: 1.00
max_duration: 10m
"""
TRAIN = """
import importlib.metadata
import tiny_scale
from tiny_scale import factor
assert tiny_scale.__file__ == "/image/tiny_scale/__init__.py"
assert importlib.metadata.version("tiny-scale") == "1.0"
try:
    open("/image/new", "w")
except OSError:
    pass
else:
    raise SystemExit("the layer is writable")
import torch
from gridlease import training
assert not torch.__file__.startswith("/image"), torch.__file__

training.begin()
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
run = training.Run(model=model, optimizer=optimizer)
data = torch.randn(32, 4, generator=torch.Generator().manual_seed(1)) * factor()
for indices in run.batches(len(data), batch_size=8):
    loss = model(data[indices]).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    run.record(loss=loss)
"""
INIT = "from tiny_scale.values import FACTOR\n\n\ndef factor():\n    return FACTOR\n"
PLAIN = """
import tiny_scale, gridlease
assert tiny_scale.__file__ == "/image/tiny_scale/__init__.py"
assert gridlease.__file__.startswith("/opt/gridlease")
print("factor", tiny_scale.factor())
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    settings = SandboxSettings(state_dir=tmp_path_factory.mktemp("sandbox"), allow_weak=True)
    made = detect(settings)
    yield made
    made.close()


@dataclass
class World:
    """A market, and a provider with the real sandbox."""

    market: FakeMarket
    provider: parties.Provider

    def fetch(self, job: parties.Job, folder: Path) -> JobInputs:
        context = self.provider.context
        return fetch_inputs(
            context.markets[self.market.url],
            parse_artifacts(job.artifacts),
            job.key,
            job.manifest.job_hash(),
            folder,
            context.folder("layers"),
        )


@pytest.fixture
def world(tmp_path: Path, sandbox: Sandbox) -> Iterator[World]:
    chain = FakeChain(parties.ARBITER.address)
    market = FakeMarket(chain)
    provider = parties.make_provider(tmp_path / "provider", chain, market, sandbox)
    yield World(market, provider)
    provider.context.journal.close()


def make_job(folder: Path, market: FakeMarket, code: str, **spec: str) -> parties.Job:
    """A renter's job with one wheel, packed and sealed by the SDK."""
    (folder / "code").mkdir(parents=True)
    (folder / "code/train.py").write_text(code)
    wheel = write_wheel(
        folder / "wheels",
        "tiny_scale",
        "1.0",
        {
            "tiny_scale/__init__.py": INIT,
            "tiny_scale-1.0.data/platlib/tiny_scale/values.py": "FACTOR = 2.0\n",
        },
    )
    (folder / "wheels.lock").write_text(f"tiny-scale==1.0 \\\n  --hash=sha256:{sha256(wheel)}\n")
    (folder / "job.yaml").write_text(SPEC.format(**spec))
    private = folder / "private"
    private.mkdir()
    packed = sdk.pack(load_job_file(folder / "job.yaml"), private)
    manifest = packed.manifest(CLASS_DIGEST)
    sealed = sdk.seal(packed, manifest, private)
    for path in sealed.files.values():
        market.put(path.read_bytes())
    return parties.Job(manifest, sealed.job_key, sealed.addresses())


def run(sandbox: Sandbox, inputs: JobInputs, mode: Mode, **changes: Any) -> tuple[Outcome, str]:
    work = Work(
        mode=mode,
        inputs=inputs,
        lease_id=bytes(32),
        seed=1,
        clock_s=1,
        wall_time_s=LIMIT_S,
        **changes,
    )
    with Jobs(sandbox).start(work) as process:
        outcome = follow(
            process, lambda _event: None, Control(), start_limit_s=LIMIT_S, step_limit_s=LIMIT_S
        )
        return outcome, process.output_tail().decode()


def test_when_a_job_brings_wheels_then_its_code_imports_them_in_every_mode(
    world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    job = make_job(
        tmp_path / "replay",
        world.market,
        TRAIN,
        verification="replay",
        segments="{steps: 4, max: 2}",
    )
    order_id = parties.place(world.provider, world.market, job)
    world.provider.orders.tick()  # the probe imports the wheel
    assert world.market.orders[order_id]["state"] == "terms_signed", world.market.orders
    store = world.provider.context.folder("leases") / world.provider.record.lease_id
    inputs = load_inputs(store / "inputs", job.manifest.job_hash())
    assert inputs is not None
    assert inputs.image is not None
    layer = world.provider.context.folder("layers") / job.manifest.image_digest.hex()
    assert layer.is_dir()
    for mode in (Mode.TRAIN, Mode.AUDIT):
        outcome, output = run(sandbox, inputs, mode)
        assert outcome.kind is OutcomeKind.FINISHED, (outcome, output)

    metered = make_job(
        tmp_path / "metered",
        world.market,
        PLAIN,
        verification="metered",
        segments="{seconds: 60, max: 2}",
    )
    assert metered.manifest.image_digest == job.manifest.image_digest
    fetched = world.fetch(metered, tmp_path / "metered-inputs")
    outcome, output = run(sandbox, fetched, Mode.METERED)
    assert outcome.kind is OutcomeKind.FINISHED, (outcome, output)
    assert "factor 2.0" in output


def test_when_the_wheels_are_not_the_pinned_ones_then_the_inputs_are_refused(
    world: World, tmp_path: Path
) -> None:
    spec = {"verification": "replay", "segments": "{steps: 4, max: 2}"}
    job = make_job(tmp_path / "job", world.market, TRAIN, **spec)
    wheels = job.artifacts.pop("extra")
    with pytest.raises(BadArtifact, match="brings no wheels"):
        world.fetch(job, tmp_path / "none")
    other = make_job(tmp_path / "other", world.market, TRAIN, **spec)
    job.artifacts["extra"] = other.artifacts["extra"]  # sealed under another job's key
    with pytest.raises(BadArtifact):
        world.fetch(job, tmp_path / "foreign")
    job.artifacts["extra"] = {"wheels": job.artifacts["bundle"]}
    with pytest.raises(BadArtifact):
        world.fetch(job, tmp_path / "bundle")
    assert list(world.provider.context.folder("layers").iterdir()) == []
    job.artifacts["extra"] = wheels
    assert world.fetch(job, tmp_path / "good").image is not None
