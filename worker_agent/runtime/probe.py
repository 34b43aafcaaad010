"""The fixed program whose digest names a machine's hardware class.

Two machines with equal digests compute the same bits for the operations that training is made of,
so that one can check the other bit for bit. Run it twice: a machine whose two digests differ may
take no verified job. ``python -m worker_agent.runtime.probe --threads 1 --device cpu`` prints one
JSON line ``{"schema", "digest", "device", "threads", "torch", "seconds"}``.

*Covered:* convolution with batch norm, attention, embedding, recurrent and normalisation layers,
fp32 and bf16, forward and backward, SGD and AdamW, reductions of awkward sizes.
*Not covered:* operations that are not in here; audits of real jobs show those. Speed.

Determinism: everything is drawn from fixed seeds. The digest covers results, torch's version and
the sources of the program that replays, not the machine's name: workers of two releases are in two
classes, because one that reads the other's checkpoints in another way would call an honest
provider a liar.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

SCHEMA = "gridlease/hardware-probe/1"
_SEED = 20_240_229
_NUM_STEPS = 6
_ROOT = Path(__file__).parents[2]
_PROGRAM = ("client_sdk/protocol", "client_sdk/training", "worker_agent/runtime")
"""What runs beside the job, in job and audit alike."""


def main(argv: list[str] | None = None) -> int:
    """Run the probe and print its digest; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker_agent.runtime.probe")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args(argv)
    threads = str(arguments.threads)
    # Before torch is imported, as for jobs.
    os.environ.update(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads, OMP_WAIT_POLICY="PASSIVE")
    started_s = time.monotonic()
    digest = probe_digest(num_threads=arguments.threads, device_name=arguments.device)
    report = {
        "schema": SCHEMA,
        "digest": f"0x{digest.hex()}",
        "device": arguments.device,
        "threads": arguments.threads,
        "torch": _torch_version(),
        "seconds": round(time.monotonic() - started_s, 3),
    }
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


def probe_digest(*, num_threads: int, device_name: str) -> bytes:
    """Train the probe's models for a few steps; 32 bytes over all that came out.

    Side effects: changes torch's process-wide settings, see `determinism.apply`.

    Parameters
    ----------
    num_threads
        Threads of torch's CPU kernels; part of what is probed.
    device_name
        ``cpu`` or ``cuda``.
    """
    import torch

    from client_sdk.protocol.trace import state_hash
    from client_sdk.training import determinism

    determinism.apply(seed=_SEED, num_threads=num_threads)
    device = torch.device(device_name)
    entries = []
    for name, tensor in sorted(_results(device)):
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        dtype = str(tensor.dtype).removeprefix("torch.")
        entries.append((name, dtype, tuple(tensor.shape), raw))
    facts = {
        "schema": SCHEMA,
        "threads": num_threads,
        "device": device_name,
        "torch": _torch_version(),
        "program": program_digest().hex(),
    }
    return state_hash(entries, facts)


def program_digest(root: Path = _ROOT) -> bytes:
    """32 bytes over the names and sources of the program that executes and replays jobs."""
    import blake3

    digest = blake3.blake3()
    for folder in _PROGRAM:
        for path in sorted((root / folder).rglob("*.py")):
            name, source = path.relative_to(root).as_posix().encode(), path.read_bytes()
            # Lengths before the parts: no two lists of files are the same bytes.
            for part in (name, source):
                digest.update(len(part).to_bytes(8, "big"))
                digest.update(part)
    return digest.digest()


def _results(device: torch.device) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor that the digest covers, by name."""
    import torch

    vision, images, labels = _vision(device)
    sgd = torch.optim.SGD(vision.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    yield from _trained("vision", vision, sgd, images, labels)
    language, tokens, targets = _language(device)
    adamw = torch.optim.AdamW(language.parameters(), lr=1e-3)
    yield from _trained("language", language, adamw, tokens, targets)
    yield from _mixed_precision(device)


def _vision(device: torch.device) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 37, 5, stride=2, padding=2),
        nn.GroupNorm(1, 37),
        nn.GELU(),
        nn.Conv2d(37, 64, 1),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(64 * 16, 131),
        nn.SiLU(),
        nn.Linear(131, 10),
    )
    images = torch.randn(24, 3, 33, 33)
    labels = torch.randint(10, (24,))
    return model.to(device), images.to(device), labels.to(device)


def _language(device: torch.device) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    import torch
    from torch import nn

    class Mixer(nn.Module):
        """Embedding, recurrent layer, causal attention and a head."""

        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(101, 48)
            self.recur = nn.GRU(48, 48, batch_first=True)
            self.norm = nn.LayerNorm(48)
            self.qkv = nn.Linear(48, 144)
            self.mlp = nn.Sequential(nn.Linear(48, 193), nn.GELU(approximate="tanh"))
            self.head = nn.Linear(193, 101)

        def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
            """Logits, shape (batch * time, 101)."""
            x_BTD = self.embed(tokens_BT)
            x_BTD = x_BTD + self.recur(x_BTD)[0]
            batch, length, _ = x_BTD.shape
            heads = self.qkv(self.norm(x_BTD)).view(batch, length, 3, 4, 12).permute(2, 0, 3, 1, 4)
            query, key, value = heads
            attended = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            x_BTD = x_BTD + attended.transpose(1, 2).reshape(batch, length, 48)
            logits: torch.Tensor = self.head(self.mlp(x_BTD)).flatten(0, 1)
            return logits

    tokens = torch.randint(101, (7, 65))
    inputs, targets = tokens[:, :-1], tokens[:, 1:].flatten()
    return Mixer().to(device), inputs.to(device), targets.to(device)


def _trained(
    name: str, model: nn.Module, optimizer: Any, inputs: torch.Tensor, targets: torch.Tensor
) -> Iterator[tuple[str, torch.Tensor]]:
    import torch
    from torch import nn

    for step in range(_NUM_STEPS):
        loss = nn.functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield f"{name}.loss.{step}", loss
    for key, tensor in model.state_dict().items():
        yield f"{name}.{key}", tensor
    for index, state in optimizer.state_dict()["state"].items():
        for key, tensor in state.items():
            yield f"{name}.optimizer.{index}.{key}", tensor


def _mixed_precision(device: torch.device) -> Iterator[tuple[str, torch.Tensor]]:
    """bf16 products and long reductions: where instruction sets differ most."""
    import torch

    left, right = torch.randn(67, 515, device=device), torch.randn(515, 83, device=device)
    yield "bf16.product", left.bfloat16() @ right.bfloat16()
    yield "fp32.product", left @ right
    yield "fp64.product", left.double() @ right.double()
    long = torch.randn(100_003, device=device)
    yield "sum", long.sum()
    yield "variance", long.var()
    yield "softmax", long.softmax(0)
    yield "exponential", (long.exp() + long.tanh() + long.sin() + long.erf()).log1p().nan_to_num()


def _torch_version() -> str:
    import torch

    return str(torch.__version__)


if __name__ == "__main__":
    sys.exit(main())
