"""The lines around the loop: steps, segments, metrics, early finish, outputs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from client_sdk import training
from client_sdk.protocol.records import SegmentRecord
from client_sdk.protocol.trace import indices_digest, metrics_digest, state_hash
from client_sdk.training import session as sessions

Make = Callable[..., "Toy"]


class Toy:
    """A linear model with a run around it."""

    def __init__(self, out_dir: Path, *, begin: dict[str, Any] | None = None, **run: Any) -> None:
        values = {"segment_steps": 2, "max_segments": 3, "output_dir": out_dir, **(begin or {})}
        self.session = training.begin(training.LocalOptions(**values))
        self.model = nn.Linear(4, 2)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.run = training.Run(model=self.model, optimizer=self.optimizer, **run)

    def learn(self) -> torch.Tensor:
        """One optimizer step on random data; returns the loss."""
        loss: torch.Tensor = self.model(torch.randn(3, 4)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def record(self, segment: int) -> SegmentRecord:
        path = self.session.segments_dir / str(segment) / "record.json"
        return SegmentRecord.from_json(json.loads(path.read_text()))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(name: str = "run", **options: Any) -> Toy:
        sessions.uninstall()
        return Toy(tmp_path / name, **options)

    return make


def test_when_begin_was_not_called_then_a_run_says_so() -> None:
    model = nn.Linear(1, 1)

    with pytest.raises(training.NotBegunError, match=r"training\.begin\(\)"):
        training.Run(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))


def test_when_the_loop_runs_then_steps_segments_and_epochs_count_up(make: Make) -> None:
    toy = make()
    seen = []
    for _ in toy.run.batches(10, batch_size=5):
        toy.learn()
        seen.append((toy.run.step, toy.run.segment, toy.run.epoch, toy.run.ends_segment))

    assert seen == [
        (0, 0, 0, False),
        (1, 0, 0, True),
        (2, 1, 1, False),
        (3, 1, 1, True),
        (4, 2, 2, False),
        (5, 2, 2, True),
    ]
    assert toy.run.finished
    assert not toy.run.early
    assert toy.run.num_steps == 6


def test_when_a_segment_ends_then_its_record_binds_indices_metrics_and_state(make: Make) -> None:
    toy = make()
    wanted = []
    for indices in toy.run.batches(10, batch_size=5):
        loss = toy.learn()
        toy.run.record(loss=loss, constant=2)
        wanted.append((indices.tolist(), {"loss": loss.item(), "constant": 2.0}))

    last = toy.record(2)
    assert [(s.indices, s.metrics) for s in last.steps] == [
        (indices_digest(indices), metrics_digest(metrics)) for indices, metrics in wanted[4:]
    ]
    assert (last.first_step, last.end_step, last.final) == (4, 6, True)
    assert last.metrics == wanted[5][1]
    assert not toy.record(1).final


def test_when_only_the_files_are_there_then_the_state_hash_can_be_recomputed(make: Make) -> None:
    toy = make()
    for _ in toy.run.steps():
        toy.learn()

    folder = toy.session.segments_dir / "2"
    raw = (folder / "checkpoint.safetensors").read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    names = {"F32": "float32", "I64": "int64", "U8": "uint8", "F64": "float64"}
    entries = []
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        body = raw[start + first : start + last]
        entries.append((name, names[entry["dtype"]], entry["shape"], body))
    state = json.loads((folder / "state.json").read_text())["state"]
    assert state_hash(entries, state) == toy.record(2).state_hash


def test_when_finish_is_called_then_the_run_ends_with_that_step(make: Make) -> None:
    toy = make()
    for _ in toy.run.batches(10, batch_size=5):
        toy.learn()
        if toy.run.step == 2:
            toy.run.finish()

    assert toy.run.early
    assert (toy.record(1).end_step, toy.record(1).final) == (3, True)
    assert not (toy.session.segments_dir / "2").exists()


def test_when_finish_is_followed_by_break_then_the_segment_is_closed_before_what_follows(
    make: Make,
) -> None:
    toy = make()
    for _ in toy.run.batches(10, batch_size=5):
        toy.learn()
        toy.run.finish()
        break

    assert toy.run.finished
    assert toy.record(0).final


def test_when_the_loop_is_left_without_finish_then_the_run_is_not_finished(make: Make) -> None:
    toy = make()
    for _ in toy.run.batches(10, batch_size=5):
        toy.learn()
        break

    assert not toy.run.finished


def test_when_the_loop_is_entered_again_then_it_goes_on(make: Make) -> None:
    toy = make()
    for _ in toy.run.batches(10, batch_size=5):
        toy.learn()
        break
    for _ in toy.run.batches(10, batch_size=2):
        toy.learn()

    assert toy.run.finished
    assert toy.record(2).end_step == 6


def test_when_metrics_are_recorded_outside_the_loop_then_it_is_refused(make: Make) -> None:
    with pytest.raises(training.TrainingError, match="belongs into the loop"):
        make().run.record(loss=1.0)


def test_when_a_metric_is_no_number_then_it_is_refused(make: Make) -> None:
    toy = make()

    def train() -> None:
        for _ in toy.run.steps():
            toy.learn()
            toy.run.record(loss=torch.zeros(2))

    with pytest.raises(training.OptionError, match="one-element tensors"):
        train()


def test_when_a_step_starts_then_its_generator_depends_on_seed_and_step_only(make: Make) -> None:
    def draws(name: str, *, waste: int) -> list[float]:
        toy = make(name)
        drawn = []
        for _ in toy.run.steps():
            toy.learn()
            drawn.append(torch.rand(1, generator=toy.run.generator).item())
            torch.rand(waste, generator=toy.run.generator)
        return drawn

    first = draws("a", waste=0)
    assert draws("b", waste=7) == first
    assert len(set(first)) == 6


def test_when_a_data_set_is_loaded_then_batches_are_its_examples(make: Make) -> None:
    toy = make()
    data = TensorDataset(torch.arange(10.0), torch.arange(10))
    for values, labels in toy.run.loader(data, batch_size=5):
        toy.learn()
        assert torch.equal(values.long(), labels)
        assert len(labels) == 5


def test_when_several_models_and_optimizers_are_given_then_names_tell_them_apart(
    tmp_path: Path,
) -> None:
    training.begin(training.LocalOptions(segment_steps=1, max_segments=1, output_dir=tmp_path))
    models = {"critic": nn.Linear(2, 1), "actor": nn.Linear(2, 1)}
    optimizers = {n: torch.optim.Adam(m.parameters()) for n, m in models.items()}
    run = training.Run(model=models, optimizer=optimizers)
    for _ in run.steps():
        for name, model in models.items():
            optimizers[name].zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            optimizers[name].step()

    state = json.loads((tmp_path / "segments/0/state.json").read_text())["state"]
    assert sorted(state["modules"]) == ["actor", "critic"]
    assert sorted(state["stateful"]) == ["optimizer.actor", "optimizer.critic"]


def test_when_a_name_is_no_identifier_then_it_is_refused(tmp_path: Path) -> None:
    training.begin(training.LocalOptions(output_dir=tmp_path))
    model = nn.Linear(1, 1)

    with pytest.raises(training.OptionError, match="identifier"):
        training.Run(model={"a.b": model}, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))


def test_when_registered_state_changes_then_a_resumed_run_has_it(make: Make) -> None:
    class Counter:
        def __init__(self) -> None:
            self.value = 0

        def state_dict(self) -> dict[str, int]:
            return {"value": self.value}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.value = state["value"]

    def zeros() -> nn.Module:
        module = nn.Linear(4, 2)
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
        return module

    def train(name: str, *, max_segments: int = 3, resume: bool = False) -> tuple[Any, ...]:
        state: dict[str, Any] = {
            "best": {"loss": 9.0},
            "history": [],
            "mean": torch.zeros(2),
            "numbers": np.random.default_rng(1),
            "python_numbers": random.Random(1),
            "torch_numbers": torch.Generator(),
            "counter": Counter(),
            "average": zeros(),
        }
        toy = make(name, begin={"max_segments": max_segments, "resume": resume}, state=state)
        for _ in toy.run.steps():
            loss = toy.learn().item()
            state["best"]["loss"] = min(loss, state["best"]["loss"])
            state["history"].append(loss)
            state["mean"].add_(loss * state["numbers"].random() * state["python_numbers"].random())
            torch.rand(1, generator=state["torch_numbers"])
            state["counter"].value += 1
            with torch.no_grad():
                for average, now in zip(
                    state["average"].parameters(), toy.model.parameters(), strict=True
                ):
                    average.lerp_(now, 0.1)
        last = toy.record(max_segments - 1).state_hash
        return last, state["best"], state["history"], state["counter"].value

    whole = train("whole")
    train("parts", max_segments=1)
    resumed = train("parts", resume=True)

    assert resumed == whole
    assert whole[3] == 6


def test_when_state_cannot_be_kept_then_registering_it_is_refused(make: Make) -> None:
    with pytest.raises(training.OptionError, match=r"state\['odd'\] is a int"):
        make(state={"odd": 3})


def test_when_outputs_are_saved_then_they_lie_in_the_outputs_folder(make: Make) -> None:
    toy = make()
    toy.run.save_output("model/weights.safetensors", toy.model.state_dict())
    toy.run.save_output("notes.txt", "text")
    toy.run.save_output("raw.bin", b"\0")
    toy.run.save_output("report.json", {"accuracy": 0.5})

    outputs = toy.session.outputs_dir
    assert sorted(str(p.relative_to(outputs)) for p in outputs.rglob("*") if p.is_file()) == [
        "model/weights.safetensors",
        "notes.txt",
        "raw.bin",
        "report.json",
    ]
    assert json.loads((outputs / "report.json").read_text()) == {"accuracy": 0.5}


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", "a\0b"])
def test_when_an_output_name_leads_outside_then_it_is_refused(name: str, make: Make) -> None:
    with pytest.raises(training.OptionError, match="relative path"):
        make().run.save_output(name, "text")


def test_when_an_output_has_no_file_form_then_it_is_refused(make: Make) -> None:
    with pytest.raises(training.OptionError, match="output x"):
        make().run.save_output("x", object())


@pytest.mark.parametrize(
    "options",
    [{"segment_steps": 0}, {"max_segments": 0}, {"num_threads": 0}, {"seed": -1}],
)
def test_when_an_option_cannot_work_then_it_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(training.OptionError, match=next(iter(options))):
        training.LocalOptions(**options)


def test_when_data_are_asked_for_by_name_then_any_suffix_is_found(tmp_path: Path) -> None:
    training.begin(training.LocalOptions(output_dir=tmp_path / "out", data_dir=tmp_path))
    (tmp_path / "digits.npz").touch()
    (tmp_path / "folder").mkdir()

    assert training.data_path("digits") == tmp_path / "digits.npz"
    assert training.data_path("folder") == tmp_path / "folder"
    with pytest.raises(training.OptionError, match="no data named 'other'"):
        training.data_path("other")


def test_when_gradients_are_scaled_then_the_scaler_is_resumed_too(make: Make) -> None:
    def train(name: str, *, max_segments: int = 3, resume: bool = False) -> bytes:
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
        toy = make(name, begin={"max_segments": max_segments, "resume": resume}, scaler=scaler)
        for _ in toy.run.steps():
            loss = toy.model(torch.randn(3, 4)).square().mean()
            toy.optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(toy.optimizer)
            scaler.update()
        assert scaler.get_scale() > 4
        return toy.record(max_segments - 1).state_hash

    whole = train("whole")
    train("parts", max_segments=1)

    assert train("parts", resume=True) == whole
