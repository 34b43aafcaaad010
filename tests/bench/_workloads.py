"""Trainings that benchmarks time: model, optimizer, schedule and data of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

VOCABULARY, CONTEXT, WIDTH, NUM_HEADS, NUM_LAYERS = 50_304, 1024, 768, 12, 12


class Workload(Protocol):
    """One training; each object has a model of its own."""

    title: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any
    batch_size: int
    num_examples: int

    def step(self, indices: torch.Tensor) -> torch.Tensor:
        """One optimizer step on these examples; returns the loss."""


class Example:
    """The char_transformer example as it is; its code folder has to be importable."""

    title = "char_transformer example, fp32, one CPU thread"

    def __init__(self, folder: Path) -> None:
        import train as example
        from gpt import CONTEXT as CHARACTERS
        from gpt import CharTransformer, load_text

        from tests.bench._text import text_file

        self.model = CharTransformer()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=example.LEARNING_RATE)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, example.schedule)
        self.batch_size = example.BATCH_SIZE
        self._text, _ = load_text(text_file(folder))
        self.num_examples = len(self._text) - CHARACTERS
        self._max_norm = example.MAX_GRADIENT_NORM

    def step(self, indices: torch.Tensor) -> torch.Tensor:
        from gpt import windows

        loss: torch.Tensor = self.model.loss(windows(self._text, indices))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self._max_norm)
        self.optimizer.step()
        self.scheduler.step()
        return loss


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, both with a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.feed = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.dropout = nn.Dropout(0.1)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x_BTD.shape
        heads = self.qkv(self.norm_1(x_BTD)).view(batch, length, 3, NUM_HEADS, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        attended = attended.transpose(1, 2).reshape(batch, length, WIDTH)
        x_BTD = x_BTD + self.dropout(self.project(attended))
        result: torch.Tensor = x_BTD + self.dropout(self.feed(self.norm_2(x_BTD)))
        return result


class Large:
    """A GPT of GPT-2 small's shape on a GPU: 124 million parameters, 1.5 GB of state."""

    title = "GPT of GPT-2 small's shape (124 M parameters), AdamW, bf16 autocast, 16 x 1024 tokens"
    batch_size = 16
    num_examples = 1024

    def __init__(self) -> None:
        device = torch.device("cuda")
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.model = nn.ModuleDict(
            {
                "tokens": self.tokens,
                "positions": nn.Embedding(CONTEXT, WIDTH),
                "blocks": nn.Sequential(*[Block() for _ in range(NUM_LAYERS)]),
                "norm": nn.LayerNorm(WIDTH),
            }
        ).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min(1.0, (step + 1) / 100)
        )
        generator = torch.Generator(device).manual_seed(1)
        shape = (self.num_examples, CONTEXT + 1)
        self._text = torch.randint(VOCABULARY, shape, device=device, generator=generator)

    def step(self, indices: torch.Tensor) -> torch.Tensor:
        text = self._text[indices.to(self._text.device)]
        with torch.autocast("cuda", torch.bfloat16):
            x_BTD = self.tokens(text[:, :-1]) + self.model["positions"].weight
            x_BTD = self.model["norm"](self.model["blocks"](x_BTD))
            logits = F.linear(x_BTD, self.tokens.weight)  # tied, as in GPT-2
            loss = F.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.scheduler.step()
        return loss
