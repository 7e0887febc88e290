"""GPT-2 (Radford et al. 2019), with the names and initializers of transformers' `GPT2LMHeadModel`.

The weights of its `Conv1D` are (inputs, outputs): the transpose of those of `nn.Linear`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from bench_core.suite.layouts.model import Model

STD = 0.02
"""The standard deviation of the initial weights (`initializer_range`)."""

DROPOUT = 0.1


@dataclass(frozen=True)
class Gpt2Config:
    """The size of a GPT-2: the defaults are those of the small one."""

    vocabulary: int = 50257
    positions: int = 1024
    width: int = 768
    layers: int = 12
    heads: int = 12


class Conv1D(nn.Module):
    """A linear layer whose weight is (inputs, outputs)."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.weight, std=STD)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.weight + self.bias


class Attention(nn.Module):
    """Causal self-attention. The mask is a buffer that no state dict holds, as in transformers 4; transformers 5 has
    none."""

    bias: torch.Tensor

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.heads = config.heads
        mask = torch.empty(1, 1, config.positions, config.positions, dtype=torch.bool)
        self.register_buffer("bias", mask, persistent=False)
        self.reset_buffers()
        self.c_attn = Conv1D(3 * config.width, config.width)
        self.c_proj = Conv1D(config.width, config.width)
        self.attn_dropout = nn.Dropout(DROPOUT)
        self.resid_dropout = nn.Dropout(DROPOUT)

    def reset_buffers(self) -> None:
        self.bias.fill_(True).tril_()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = inputs.shape
        split = self.c_attn(inputs).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=self.bias[:, :, :tokens, :tokens],
            dropout_p=self.attn_dropout.p if self.training else 0.0,
        )
        outputs: torch.Tensor = self.resid_dropout(self.c_proj(attended.transpose(1, 2).reshape(inputs.shape)))
        return outputs


class Mlp(nn.Module):
    """Two linear layers with a GELU, in its approximation by tanh, between them."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.c_fc = Conv1D(4 * config.width, config.width)
        self.c_proj = Conv1D(config.width, 4 * config.width)
        self.act = nn.GELU(approximate="tanh")
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.dropout(self.c_proj(self.act(self.c_fc(inputs))))
        return outputs


class Block(nn.Module):
    """Attention and an MLP, each behind a normalization."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.width)
        self.mlp = Mlp(config)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = inputs + self.attn(self.ln_1(inputs))
        outputs: torch.Tensor = hidden + self.mlp(self.ln_2(hidden))
        return outputs


class Transformer(nn.Module):
    """From tokens to hidden states."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocabulary, config.width)
        self.wpe = nn.Embedding(config.positions, config.width)
        self.drop = nn.Dropout(DROPOUT)
        self.h = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.ln_f = nn.LayerNorm(config.width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        hidden = self.drop(self.wte(tokens) + self.wpe(positions))
        for block in self.h:
            hidden = block(hidden)
        outputs: torch.Tensor = self.ln_f(hidden)
        return outputs


class Gpt2(Model):
    """From tokens to logits. The weight of the last layer is that of the embedding."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.layers = config.layers
        # As in transformers: the constructors draw, all is drawn again, and so is the last layer before it is tied.
        self.transformer = Transformer(config)
        self.transformer.apply(self._init_weights)
        self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)
        self._init_weights(self.lm_head)
        self.tie_weights()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.lm_head(self.transformer(tokens))
        return logits

    def tie_weights(self) -> None:
        self.lm_head.weight = self.transformer.wte.weight

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding, Conv1D)):
            nn.init.normal_(module.weight, std=STD)
        if isinstance(module, Conv1D):
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            module.reset_parameters()
        elif isinstance(module, Attention):
            module.reset_buffers()
        if isinstance(module, (Attention, Mlp)):
            # The last layer of each residual branch: "scaled by 1/sqrt(N)" for N residual layers, section 2.3.
            nn.init.normal_(module.c_proj.weight, std=STD / math.sqrt(2 * self.layers))
