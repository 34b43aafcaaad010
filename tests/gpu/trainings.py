"""``python -m tests.gpu.trainings PLAN``: execute a list of trainings in this process.

The models are those of the examples: a convolutional network with batch norm and dropout, and a
transformer with attention and dropout. `PLAN` is a JSON file with one object for each training,
the arguments of `train`. A training that fails leaves ``error.txt`` in its folder.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from client_sdk import training
from client_sdk.training import session as sessions

EXAMPLES = Path(__file__).parents[2] / "examples"
SEGMENT_STEPS = 4
NUM_SEGMENTS = 3
NUM_EXAMPLES, BATCH_SIZE = 64, 16

MODELS = ("cnn", "transformer")
OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2),
}
# float16 comes with a gradient scaler, as it must.
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
CASES = tuple("-".join(case) for case in itertools.product(MODELS, OPTIMIZERS, PRECISIONS))

CHEATS = ("skipped_step", "tf32", "lr", "other_random")


def train(
    case: str,
    out_dir: str,
    *,
    resume_from: str | None = None,
    stop_after: int | None = None,
    cheat: str = "",
) -> None:
    """Train one case from its start, or from segment 1 on; `cheat` is what segment 1 does wrong.

    Parameters
    ----------
    case
        One of `CASES`.
    out_dir
        Where its segments go.
    resume_from
        Checkpoint that ends segment 0.
    stop_after
        Last segment to execute.
    cheat
        One of `CHEATS`.
    """
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    sessions.uninstall()
    session = sessions.Session(
        lease_id=bytes(32),
        seed=11,
        segment_steps=SEGMENT_STEPS,
        max_segments=NUM_SEGMENTS,
        out_dir=folder,
        data_dir=folder,
        observer=sessions.LocalObserver(folder / "metrics.jsonl"),
        start_segment=0 if resume_from is None else 1,
        resume_dir=None if resume_from is None else Path(resume_from),
        stop_after_segment=stop_after,
    )
    sessions.install(session, num_threads=1)
    with contextlib.suppress(sessions.RunStopped):
        _loop(*case.split("-"), device=session.device, cheat=cheat)


def _loop(
    model_name: str, optimizer_name: str, precision: str, *, device: torch.device, cheat: str
) -> None:
    model, loss_of = _cnn(device) if model_name == "cnn" else _transformer(device)
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
    dtype = PRECISIONS[precision]
    scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
    run = training.Run(model=model, optimizer=optimizer, scheduler=scheduler, scaler=scaler)
    for indices in run.batches(NUM_EXAMPLES, batch_size=BATCH_SIZE):
        first_of_segment_1 = run.step == SEGMENT_STEPS
        if first_of_segment_1:
            _cheat(cheat, optimizer)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            loss = loss_of(indices)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        if not (first_of_segment_1 and cheat == "skipped_step"):
            scaler.step(optimizer)
            scaler.update()
        scheduler.step()
        run.record(loss=loss)


def _cheat(cheat: str, optimizer: torch.optim.Optimizer) -> None:
    match cheat:
        case "tf32":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        case "lr":
            for group in optimizer.param_groups:
                group["lr"] *= 1.001
        case "other_random":
            torch.cuda.manual_seed_all(99)


def _cnn(device: torch.device) -> tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    model = _example("digits_cnn", "digits").DigitsNet().to(device)
    images = torch.randn(NUM_EXAMPLES, 1, 8, 8)
    labels = torch.randint(10, (NUM_EXAMPLES,))

    def loss_of(indices: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(images[indices].to(device)), labels[indices].to(device))

    return model, loss_of


def _transformer(device: torch.device) -> tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    gpt = _example("char_transformer", "gpt")
    model = gpt.CharTransformer().to(device)
    text = torch.randint(gpt.VOCABULARY, (NUM_EXAMPLES, gpt.CONTEXT + 1))

    def loss_of(indices: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = model.loss(text[indices].to(device))
        return loss

    return model, loss_of


def _example(name: str, module: str) -> Any:
    folder = str(EXAMPLES / name / "code")
    if folder not in sys.path:
        sys.path.append(folder)
    return __import__(module)


def main(path: str) -> int:
    """Execute a plan; returns 0, also when single trainings failed."""
    for arguments in json.loads(Path(path).read_text()):
        try:
            train(**arguments)
        except Exception:  # the edge: the other trainings are executed all the same
            (Path(arguments["out_dir"]) / "error.txt").write_text(traceback.format_exc())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
