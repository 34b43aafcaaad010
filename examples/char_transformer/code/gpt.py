"""A small GPT over single characters, and its data.

Shapes: B batch, T time (characters), D width, V vocabulary (128 ASCII codes).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

VOCABULARY = 128
CONTEXT = 96  # characters that the model sees
WIDTH = 96
NUM_HEADS = 4
NUM_LAYERS = 4
DROPOUT = 0.1
VALIDATION_PART = 0.05  # the end of the text


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, both with a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.project = nn.Linear(WIDTH, WIDTH)
        self.norm_2 = nn.LayerNorm(WIDTH)
        self.feed = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x_BTD.shape
        heads = self.qkv(self.norm_1(x_BTD)).view(batch, length, 3, NUM_HEADS, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        attended = attended.transpose(1, 2).reshape(batch, length, WIDTH)
        x_BTD = x_BTD + self.dropout(self.project(attended))
        result: torch.Tensor = x_BTD + self.dropout(self.feed(self.norm_2(x_BTD)))
        return result


class CharTransformer(nn.Module):
    """Predicts the next character; about 0.5 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(NUM_LAYERS)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, text_BT: torch.Tensor) -> torch.Tensor:
        """Logits (B, T, V) of characters (B, T) int64."""
        positions = self.positions.weight[: text_BT.shape[1]]
        x_BTD = self.blocks(self.characters(text_BT) + positions)
        logits: torch.Tensor = self.head(self.norm(x_BTD))
        return logits

    def loss(self, text_BT: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy in nats per character of (B, CONTEXT + 1) characters."""
        logits = self(text_BT[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), text_BT[:, 1:].flatten())


def load_text(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a text file; returns (training, validation) characters, int64."""
    text = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8).long()
    num_validation = int(len(text) * VALIDATION_PART)
    return text[:-num_validation], text[-num_validation:]


def windows(text: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """Pieces of CONTEXT + 1 characters from each of the starts (B,); shape (B, CONTEXT + 1)."""
    return text[starts[:, None] + torch.arange(CONTEXT + 1)]


@torch.no_grad()
def validation_loss(model: CharTransformer, text: torch.Tensor, num_windows: int = 64) -> float:
    """Loss in nats per character on evenly spaced windows of the validation text."""
    was_training = model.training
    model.eval()
    starts = torch.linspace(0, len(text) - CONTEXT - 1, num_windows).long()
    loss = model.loss(windows(text, starts).to(model.positions.weight.device)).item()
    model.train(was_training)
    return loss
