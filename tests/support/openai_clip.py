"""OpenAI's CLIP in PyTorch, as far as it concerns images, with the names of its arrays.

After its `model.py` (github.com/openai/CLIP); open_clip has the same names.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class QuickGELU(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, act: type):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, hidden))
        self.mlp.add_module("gelu", act())
        self.mlp.add_module("c_proj", nn.Linear(hidden, width))

    def forward(self, x: Any) -> Any:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, act: type):
        super().__init__()
        self.resblocks = nn.Sequential(*(Block(width, heads, 2 * width, act) for _ in range(depth)))


class VisionTransformer(nn.Module):
    def __init__(self, size: int, patch: int, width: int, heads: int, act: type, out: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros((size // patch) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, 2, heads, act)
        self.proj = nn.Parameter(torch.zeros(width, out))

    def forward(self, images: Any) -> Any:
        x = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(x), 1, -1)
        x = self.ln_pre(torch.cat([first, x], dim=1) + self.positional_embedding)
        x = self.transformer.resblocks(x)
        return self.ln_post(x[:, 0]) @ self.proj


class CLIP(nn.Module):
    """Both towers; only that of the images computes here."""

    def __init__(self, act: type = QuickGELU):
        super().__init__()
        self.visual = VisionTransformer(32, 8, 48, 4, act, 7)
        self.transformer = Transformer(16, 1, 2, act)
        self.token_embedding = nn.Embedding(8, 16)
        self.positional_embedding = nn.Parameter(torch.zeros(5, 16))
        self.ln_final = nn.LayerNorm(16)
        self.text_projection = nn.Parameter(torch.zeros(16, 7))
        self.logit_scale = nn.Parameter(torch.zeros(()))
