"""Prints the accuracy of a checkpoint on the held-out images, as one JSON line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from digits import DigitsNet, accuracy, load_splits

from gridlease import training


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--data", type=Path, required=True, help="folder with the data by name")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = DigitsNet()
    training.load_model(model, arguments.checkpoint)
    (path,) = [p for p in arguments.data.iterdir() if p.stem == "digits"]
    test = load_splits(path)["test"]
    report = {"accuracy": round(accuracy(model, test), 4), "num_examples": len(test.labels)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
