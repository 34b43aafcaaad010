"""Settings and random states that make the same code give the same bits again.

Covered: the same build of torch, instruction set, thread count and device class. An operation
that torch has no deterministic kernel for raises, see `explain`.
Not covered: another thread count, instruction set, GPU model or torch build; these change bits.
"""

from __future__ import annotations

import os
import random
import re
from typing import Any

import numpy as np
import torch

from client_sdk.protocol.seed import stream_seed
from client_sdk.training.errors import CheckpointMismatchError, NotBegunError

# cuBLAS reads this when its handle is made; without it some products are not reproducible.
CUBLAS_WORKSPACE_CONFIG = ":4096:8"

# How torch refuses an operation without a deterministic kernel.
_REFUSED = re.compile(r"(\S+) does not have a deterministic implementation")

# Python's Mersenne Twister: 624 words and a position.
_NUM_PYTHON_WORDS = 625


def gpu_in_use() -> bool:
    """Whether this process has used a GPU."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]  # torch's own lack


def apply(*, seed: int, num_threads: int) -> None:
    """Set deterministic kernels and the thread count, and seed every global generator.

    Side effects: changes process-wide settings of torch, numpy and `random`.

    Parameters
    ----------
    seed
        The run's seed.
    num_threads
        Threads of torch's CPU kernels.

    Raises
    ------
    NotBegunError
        When the GPU is in use already: cuBLAS has read its settings by then.
    """
    before = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    if gpu_in_use() and before != CUBLAS_WORKSPACE_CONFIG:
        raise NotBegunError(
            "the GPU was used before training.begin(), so that its products may not be "
            "reproducible: call begin() first"
        )
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = CUBLAS_WORKSPACE_CONFIG
    torch.set_num_threads(num_threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # TF32 keeps 10 bits of the mantissa, and whether a kernel uses it depends on the GPU.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    seed_everything(seed)


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy's global generator and `random`."""
    torch.manual_seed(stream_seed(seed, "torch"))
    # The renter's code may use numpy's global generator, so it is seeded as well.
    np.random.seed(stream_seed(seed, "numpy") % 2**32)
    random.seed(stream_seed(seed, "python"))


def explain(error: BaseException) -> str | None:
    """What to do about an operation that torch has no deterministic kernel for.

    Returns
    -------
    str or None
        Names the operation and the ways out; None when `error` is about something else.
    """
    found = _REFUSED.match(str(error)) if isinstance(error, RuntimeError) else None
    if found is None:
        return None
    return (
        f"{found[1]} gives other bits each time it runs, so that no segment with it can be "
        "replayed. Use an operation in its place that torch can do deterministically (the list is "
        "in the documentation of torch.use_deterministic_algorithms), do this one on the CPU, or "
        "order the job with `verification: metered`."
    )


def capture_random_state() -> dict[str, Any]:
    """State of every global generator, as values that `encoding.encode` takes."""
    version, words, gauss = random.getstate()
    # The legacy form is a tuple; its documented dict form names the parts.
    legacy: Any = np.random.get_state(legacy=False)
    captured: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": {
            "version": version,
            "words": np.array(words, dtype=np.int64),
            "gauss": gauss,
        },
        "numpy": {
            "key": legacy["state"]["key"].astype(np.int64),
            "pos": legacy["state"]["pos"],
            "has_gauss": legacy["has_gauss"],
            "gauss": legacy["gauss"],
        },
    }
    if torch.cuda.is_available():
        captured["cuda"] = list(torch.cuda.get_rng_state_all())
    return captured


def restore_random_state(state: dict[str, Any]) -> None:
    """Set every global generator to what `capture_random_state` gave.

    Raises
    ------
    CheckpointMismatchError
        When this process sees another number of GPUs.
    """
    saved_gpus = len(state.get("cuda", []))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if saved_gpus != gpus:
        raise CheckpointMismatchError(
            f"the checkpoint was written with {saved_gpus} GPUs in sight, here are {gpus}"
        )
    torch.set_rng_state(state["torch"])
    python = state["python"]
    words = tuple(int(word) for word in python["words"])
    if len(words) != _NUM_PYTHON_WORDS:
        raise ValueError("the state of Python's generator has a wrong length")
    random.setstate((python["version"], words, python["gauss"]))
    numpy = state["numpy"]
    np.random.set_state(
        {
            "bit_generator": "MT19937",
            "state": {"key": numpy["key"].astype(np.uint32), "pos": numpy["pos"]},
            "has_gauss": numpy["has_gauss"],
            "gauss": numpy["gauss"],
        }
    )
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])
