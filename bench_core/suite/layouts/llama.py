"""Llama (Touvron et al. 2023, arXiv:2302.13971; Llama team 2024, arXiv:2407.21783), with the names and initializers of
transformers' `LlamaForCausalLM`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from bench_core.suite.layouts.model import Model

STD = 0.02
"""The standard deviation of the initial weights (`initializer_range`)."""

EPSILON = 1e-5
"""Of the normalizations."""

TRAINED_POSITIONS = 8192
"""The context that Llama 3 was trained on, before its frequencies were scaled for longer ones."""

LOW_FREQUENCY, HIGH_FREQUENCY = 1.0, 4.0
"""Turns within the trained context: at most so many for frequencies that are divided by the whole factor, and at least
so many for those that are kept (`low_freq_factor` and `high_freq_factor`)."""


@dataclass(frozen=True)
class LlamaConfig:
    """The size of a Llama.

    Attributes:
        hidden: the width between the linear layers of an MLP.
        key_heads: the heads of keys and of values, each of which serves several heads of queries.
        tied: whether the last layer has the weight of the embedding.
        base: the base of the rotary frequencies (`rope_theta`).
        factor: how many times longer the context is than the one that the model was trained on; 1 if it is not.
    """

    vocabulary: int
    width: int
    hidden: int
    layers: int
    heads: int
    key_heads: int
    tied: bool
    base: float = 500_000.0
    factor: float = 1.0


class RotaryEmbedding(nn.Module):
    """The cosines and sines of the positions. The frequencies are a buffer that no state dict holds."""

    inv_freq: torch.Tensor

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.base, self.factor = config.base, config.factor
        frequencies = torch.empty(config.width // config.heads // 2, dtype=torch.float32)
        self.register_buffer("inv_freq", frequencies, persistent=False)
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """Frequencies that fall geometrically, the low ones scaled as in Llama 3.1 ("llama3" of transformers)."""
        pairs = len(self.inv_freq)
        exponents = torch.arange(0, 2 * pairs, 2, dtype=torch.float32, device=self.inv_freq.device) / (2 * pairs)
        frequencies = 1.0 / self.base**exponents
        turns = TRAINED_POSITIONS * frequencies / (2 * math.pi)
        kept = ((turns - LOW_FREQUENCY) / (HIGH_FREQUENCY - LOW_FREQUENCY)).clamp(0, 1)
        self.inv_freq.copy_((1 - kept) * frequencies / self.factor + kept * frequencies)

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        positions = torch.arange(hidden.shape[1], device=hidden.device, dtype=torch.float32)
        angles = torch.outer(positions, self.inv_freq.float()).repeat(1, 2)
        return angles.cos().to(hidden.dtype), angles.sin().to(hidden.dtype)


def rotated(heads: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """Each pair of features, one of the first half and one of the second, turned by its angle."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cosines + torch.cat([-second, first], dim=-1) * sines


class Attention(nn.Module):
    """Causal attention whose keys and values have fewer heads than its queries."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.per_head = config.width // config.heads
        keys = config.key_heads * self.per_head
        self.q_proj = nn.Linear(config.width, config.width, bias=False)
        self.k_proj = nn.Linear(config.width, keys, bias=False)
        self.v_proj = nn.Linear(config.width, keys, bias=False)
        self.o_proj = nn.Linear(config.width, config.width, bias=False)

    def forward(self, inputs: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        query, key, value = (
            layer(inputs).unflatten(-1, (-1, self.per_head)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = functional.scaled_dot_product_attention(
            rotated(query, *turns), rotated(key, *turns), value, is_causal=True, enable_gqa=True
        )
        outputs: torch.Tensor = self.o_proj(attended.transpose(1, 2).flatten(2))
        return outputs


class Mlp(nn.Module):
    """A gated MLP (SwiGLU)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.up_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.down_proj = nn.Linear(config.hidden, config.width, bias=False)
        self.act_fn = nn.SiLU()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.down_proj(self.act_fn(self.gate_proj(inputs)) * self.up_proj(inputs))
        return outputs


class Layer(nn.Module):
    """Attention and an MLP, each behind a normalization."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = Mlp(config)
        self.input_layernorm = nn.RMSNorm(config.width, eps=EPSILON)
        self.post_attention_layernorm = nn.RMSNorm(config.width, eps=EPSILON)

    def forward(self, inputs: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        hidden = inputs + self.self_attn(self.input_layernorm(inputs), turns)
        outputs: torch.Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return outputs


class Stack(nn.Module):
    """From tokens to hidden states."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=EPSILON)
        self.rotary_emb = RotaryEmbedding(config)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.embed_tokens(tokens)
        turns = self.rotary_emb(hidden)
        for layer in self.layers:
            hidden = layer(hidden, turns)
        outputs: torch.Tensor = self.norm(hidden)
        return outputs


class Llama(Model):
    """From tokens to logits."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.tied = config.tied
        # As in transformers: the constructors draw, all is drawn again, and so is the last layer before it is tied.
        self.model = Stack(config)
        self.model.apply(self._init_weights)
        self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)
        self._init_weights(self.lm_head)
        self.tie_weights()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.lm_head(self.model(tokens))
        return logits

    def tie_weights(self) -> None:
        if self.tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=STD)
        elif isinstance(module, nn.RMSNorm):
            module.reset_parameters()
        elif isinstance(module, RotaryEmbedding):
            module.reset_buffers()
