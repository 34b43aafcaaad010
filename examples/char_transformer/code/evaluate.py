"""Prints a checkpoint's loss on the validation text, as one JSON line."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from gpt import CharTransformer, load_text, validation_loss

from gridlease import training


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint folder or file")
    parser.add_argument("--data", type=Path, required=True, help="folder with the data by name")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = CharTransformer()
    training.load_model(model, arguments.checkpoint)
    (path,) = [p for p in arguments.data.iterdir() if p.stem == "stdlib"]
    loss = validation_loss(model, load_text(path)[1], num_windows=512)
    report = {"validation_loss": round(loss, 4), "bits_per_character": round(loss / math.log(2), 4)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
