"""The data, cut into training, validation and test images, and the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

NUM_TEST = 300
NUM_VALIDATION = 200
SPLIT_SEED = 7  # the split is the same in every run; only training is seeded by the lease


@dataclass(frozen=True)
class Split:
    """Images (N, 1, 8, 8) float32 from 0 to 1, and their labels (N,) int64."""

    images: torch.Tensor
    labels: torch.Tensor


def load_splits(path: Path) -> dict[str, Split]:
    """Read the data file: 1,297 images to train on, 200 to validate with, 300 held out."""
    data = load_file(path)
    images = data["images"].float().div(16).unsqueeze(1)
    labels = data["labels"].long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    test, validation, train = order.split(
        [NUM_TEST, NUM_VALIDATION, len(labels) - NUM_TEST - NUM_VALIDATION]
    )
    parts = {"train": train, "validation": validation, "test": test}
    return {name: Split(images[part], labels[part]) for name, part in parts.items()}


class DigitsNet(nn.Module):
    """Three convolutions with batch norm, then two linear layers with dropout; 8x8 images in."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(1, width),
            *_convolution(width, width),
            nn.MaxPool2d(2),
            *_convolution(width, 2 * width),
            nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.4),
            nn.Linear(2 * width * 4, 128),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(128, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, 10) of images (N, 1, 8, 8)."""
        logits: torch.Tensor = self.head(self.features(images))
        return logits


def accuracy(model: nn.Module, split: Split) -> float:
    """Share of a split's images that the model classifies right, from 0 to 1."""
    was_training = model.training
    model.eval()
    images = split.images.to(next(model.parameters()).device)
    with torch.no_grad():
        right = (model(images).argmax(1).cpu() == split.labels).float().mean().item()
    model.train(was_training)
    return right


def _convolution(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    ]
