"""Vision Transformer (Dosovitskiy et al. 2021, arXiv:2010.11929), with the names and initializers of torchvision."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from bench_core.suite.layouts.model import Model

EPSILON = 1e-6
"""Of the layer normalizations."""


@dataclass(frozen=True)
class ViTConfig:
    """The size of a Vision Transformer.

    Attributes:
        image, patch: the sides of the square image and of its square patches, in pixels.
        layers, heads, width: of the encoder.
        hidden: the width between the two linear layers of a block.
        classes: the number of outputs.
    """

    image: int = 224
    patch: int = 16
    layers: int = 12
    heads: int = 12
    width: int = 768
    hidden: int = 3072
    classes: int = 1000


class MlpBlock(nn.Sequential):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden, width), nn.Dropout(0.0)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for module in self:
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.normal_(module.bias, std=1e-6)


class EncoderBlock(nn.Module):
    """Attention and an MLP, each behind a normalization."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width, eps=EPSILON)
        self.self_attention = nn.MultiheadAttention(config.width, config.heads, batch_first=True)
        self.dropout = nn.Dropout(0.0)
        self.ln_2 = nn.LayerNorm(config.width, eps=EPSILON)
        self.mlp = MlpBlock(config.width, config.hidden)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        normed = self.ln_1(inputs)
        attended, _ = self.self_attention(normed, normed, normed, need_weights=False)
        hidden = self.dropout(attended) + inputs
        outputs: torch.Tensor = hidden + self.mlp(self.ln_2(hidden))
        return outputs


class Encoder(nn.Module):
    """Positions, blocks, and a last normalization."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        tokens = (config.image // config.patch) ** 2 + 1
        self.pos_embedding = nn.Parameter(torch.empty(1, tokens, config.width).normal_(std=0.02))
        self.dropout = nn.Dropout(0.0)
        self.layers = nn.Sequential(
            OrderedDict((f"encoder_layer_{index}", EncoderBlock(config)) for index in range(config.layers))
        )
        self.ln = nn.LayerNorm(config.width, eps=EPSILON)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.ln(self.layers(self.dropout(tokens + self.pos_embedding)))
        return outputs


class ViT(Model):
    """From images of 3 channels to logits."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.conv_proj = nn.Conv2d(3, config.width, config.patch, stride=config.patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.encoder = Encoder(config)
        self.heads = nn.Sequential(OrderedDict(head=nn.Linear(config.width, config.classes)))
        self._init_ends()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(patches), -1, -1), patches], dim=1)
        logits: torch.Tensor = self.heads(self.encoder(tokens)[:, 0])
        return logits

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.zeros_(self.class_token)
        nn.init.normal_(self.encoder.pos_embedding, std=0.02)
        self._init_ends()

    def _init_ends(self) -> None:
        """The first and the last layer, which the constructors of their own draw otherwise."""
        fan_in = self.conv_proj.in_channels * math.prod(self.conv_proj.kernel_size)
        nn.init.trunc_normal_(self.conv_proj.weight, std=math.sqrt(1 / fan_in))
        assert self.conv_proj.bias is not None
        nn.init.zeros_(self.conv_proj.bias)
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.MultiheadAttention):
            module.out_proj.reset_parameters()
            module._reset_parameters()
        elif isinstance(module, (nn.LayerNorm, MlpBlock)):
            module.reset_parameters()
