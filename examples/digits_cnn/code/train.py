"""Trains a small CNN on real handwritten digits; the gridlease lines are marked.

Under a lease: ``gridlease run job.yaml``. By itself, for debugging::

    python code/train.py            # four segments, into ./gridlease-run
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from digits import DigitsNet, accuracy, load_splits

from gridlease import training

BATCH_SIZE = 128
NUM_STEPS = 1_500  # steps x max of `segments:` in the job file: the schedule's length
LEARNING_RATE = 0.05
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
NOISE = 0.05  # standard deviation of the noise added to pixels
SHIFT = 1  # largest shift of an image, in pixels
TARGET_ACCURACY = 0.98  # on the validation images
LEAST_SEGMENTS = 20  # before the run may end early


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift the batch by up to SHIFT pixels each way and add noise."""
    down, right = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
    moved = F.pad(images, [SHIFT] * 4)
    top, left = SHIFT + down, SHIFT + right
    moved = moved[:, :, top : top + images.shape[2], left : left + images.shape[3]]
    return moved + NOISE * torch.randn(moved.shape, generator=generator)


def main() -> None:
    device = training.begin().device  # gridlease: seeds, deterministic kernels; GPU if granted
    splits = load_splits(training.data_path("digits"))  # gridlease: the job file's `data:`
    train = splits["train"]
    model = DigitsNet().to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=NUM_STEPS)
    run = training.Run(model=model, optimizer=optimizer, scheduler=scheduler)  # gridlease

    for indices in run.batches(len(train.labels), batch_size=BATCH_SIZE):  # gridlease
        images = augment(train.images[indices], run.generator)
        loss = F.cross_entropy(model(images.to(device)), train.labels[indices].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        run.record(loss=loss)  # gridlease: live metrics, bound by the trace
        if run.ends_segment:
            reached = accuracy(model, splits["validation"])
            run.record(validation_accuracy=reached)
            if reached >= TARGET_ACCURACY and run.segment + 1 >= LEAST_SEGMENTS:
                run.finish()  # gridlease: what is not run is not paid

    run.save_output("model/digits.safetensors", dict(model.state_dict()))  # gridlease
    print(f"test accuracy {accuracy(model, splits['test']):.4f} after {run.step} steps")


if __name__ == "__main__":
    main()
