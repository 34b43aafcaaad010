"""Trains a small GPT on the standard library's sources; the gridlease lines are marked.

Under a lease: ``gridlease run job.yaml``. By itself, for debugging::

    python code/train.py            # four segments, into ./gridlease-run
"""

from __future__ import annotations

import math

import torch
from gpt import CONTEXT, CharTransformer, load_text, validation_loss, windows

from gridlease import training

BATCH_SIZE = 16
NUM_STEPS = 960  # steps x max of `segments:` in the job file: the schedule's length
WARMUP_STEPS = 50
LEARNING_RATE = 2e-3
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1
MAX_GRADIENT_NORM = 1.0


def schedule(step: int) -> float:
    """Factor on the learning rate: linear warm-up, then a cosine down to a tenth."""
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    progress = min(1.0, (step - WARMUP_STEPS) / (NUM_STEPS - WARMUP_STEPS))
    return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))


def main() -> None:
    device = training.begin().device  # gridlease: seeds, deterministic kernels; GPU if granted
    text, validation = load_text(training.data_path("stdlib"))  # gridlease: `data:`
    model = CharTransformer().to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    run = training.Run(model=model, optimizer=optimizer, scheduler=scheduler)  # gridlease

    for starts in run.batches(len(text) - CONTEXT, batch_size=BATCH_SIZE):  # gridlease
        loss = model.loss(windows(text, starts).to(device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        scheduler.step()
        run.record(loss=loss)  # gridlease: live metrics, bound by the trace
        if run.ends_segment:
            run.record(validation_loss=validation_loss(model, validation))

    run.save_output("model/char_transformer.safetensors", dict(model.state_dict()))  # gridlease
    reached = validation_loss(model, validation, num_windows=512)
    print(f"validation loss {reached:.3f} nats per character after {run.step} steps")


if __name__ == "__main__":
    main()
