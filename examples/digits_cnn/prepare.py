"""Writes data/digits.safetensors from scikit-learn's copy of the handwritten digits.

The file is part of the example; run this only to see where it comes from::

    pip install scikit-learn
    python prepare.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

DESTINATION = Path(__file__).parent / "data" / "digits.safetensors"


def digits() -> dict[str, torch.Tensor]:
    """All 1,797 digits: `images` (N, 8, 8) uint8 from 0 to 16, `labels` (N,) uint8."""
    source = load_digits()
    return {
        "images": torch.from_numpy(source.images).to(torch.uint8),
        "labels": torch.from_numpy(source.target).to(torch.uint8),
    }


if __name__ == "__main__":
    DESTINATION.parent.mkdir(exist_ok=True)
    save_file(digits(), DESTINATION)
    print(f"wrote {DESTINATION}")
