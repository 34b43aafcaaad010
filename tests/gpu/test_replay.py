"""On a GPU: the same segment gives the same bits in another process, and a cheat gives others."""

from __future__ import annotations

import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client_sdk.training.checkpoint import read_folder
from client_sdk.training.options import LocalOptions
from client_sdk.training.replay_check import ReplayReport, check_replay
from tests.gpu import trainings
from tests.gpu.conftest import CHEATED, Executions

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("case", trainings.CASES)
def test_when_a_job_is_executed_again_in_a_new_process_then_every_bit_is_the_same(
    case: str, executions: dict[str, Executions]
) -> None:
    first, second = executions["first"], executions["second"]
    for segment in range(trainings.NUM_SEGMENTS):
        assert second.work(case, segment) == first.work(case, segment)


@pytest.mark.parametrize("case", trainings.CASES)
def test_when_a_job_goes_on_from_a_checkpoint_then_every_bit_is_that_of_the_uninterrupted_run(
    case: str, executions: dict[str, Executions]
) -> None:
    first, resumed = executions["first"], executions["resumed"]
    for segment in range(1, trainings.NUM_SEGMENTS):
        assert resumed.work(case, segment) == first.work(case, segment)


@pytest.mark.parametrize("case", trainings.CASES)
def test_when_a_job_trains_then_its_weights_move_in_every_segment(
    case: str, executions: dict[str, Executions]
) -> None:
    # Otherwise the tests above would compare runs that do nothing.
    first = executions["first"]
    hashes = {first.work(case, n)["state_hash"] for n in range(trainings.NUM_SEGMENTS)}
    assert len(hashes) == trainings.NUM_SEGMENTS
    state, _ = read_folder(first.out_dir(case) / "segments/2")
    earlier, _ = read_folder(first.out_dir(case) / "segments/1")
    moved = [n for n, t in state.tensors.items() if not t.equal(earlier.tensors[n])]
    assert any(name.startswith("model.param.") for name in moved)
    assert "random.cuda.0" in moved


@pytest.mark.parametrize("cheat", trainings.CHEATS)
@pytest.mark.parametrize("case", CHEATED)
def test_when_a_segment_is_computed_wrongly_then_its_state_hash_differs(
    case: str, cheat: str, executions: dict[str, Executions]
) -> None:
    honest = executions["first"].work(case, 1)
    wrong = executions["cheats"].work(f"{case}-{cheat}", 1)
    assert wrong["state_hash"] != honest["state_hash"]


def test_when_the_examples_are_checked_then_they_can_be_replayed_on_this_gpu(
    tmp_path: Path,
) -> None:
    transformer = trainings.EXAMPLES / "char_transformer"
    digits = trainings.EXAMPLES / "digits_cnn"
    text = runpy.run_path(str(transformer / "prepare.py"))["standard_library_text"](200_000)
    (tmp_path / "stdlib").write_text(text)
    (tmp_path / "digits").symlink_to(digits / "data/digits.safetensors")
    options = LocalOptions(segment_steps=5, data_dir=tmp_path)

    def check(example: Path) -> ReplayReport:
        return check_replay(example / "code/train.py", options=options)

    with ThreadPoolExecutor() as pool:
        reports = list(pool.map(check, (transformer, digits)))

    assert reports == [ReplayReport(same=True, differences=())] * 2
