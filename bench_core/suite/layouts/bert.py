"""BERT (Devlin et al. 2019, arXiv:1810.04805), with the names and initializers of transformers' `BertModel`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from bench_core.suite.layouts.model import Model

STD = 0.02
"""The standard deviation of the initial weights (`initializer_range`)."""

EPSILON = 1e-12
"""Of the layer normalizations."""

DROPOUT = 0.1


@dataclass(frozen=True)
class BertConfig:
    """The size of a BERT: the defaults are those of the base model without capital letters."""

    vocabulary: int = 30522
    positions: int = 512
    kinds: int = 2
    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072


class Embeddings(nn.Module):
    """The sum of three embeddings. Two buffers that no state dict holds say which rows are taken by default."""

    position_ids: torch.Tensor
    token_type_ids: torch.Tensor

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocabulary, config.width, padding_idx=0)
        self.position_embeddings = nn.Embedding(config.positions, config.width)
        self.token_type_embeddings = nn.Embedding(config.kinds, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=EPSILON)
        self.dropout = nn.Dropout(DROPOUT)
        for name in ("position_ids", "token_type_ids"):
            self.register_buffer(name, torch.empty(1, config.positions, dtype=torch.long), persistent=False)
        self.reset_buffers()

    def reset_buffers(self) -> None:
        self.position_ids.copy_(torch.arange(self.position_ids.shape[1]))
        self.token_type_ids.zero_()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        hidden = (
            self.word_embeddings(tokens)
            + self.token_type_embeddings(self.token_type_ids[:, :length])
            + self.position_embeddings(self.position_ids[:, :length])
        )
        outputs: torch.Tensor = self.dropout(self.LayerNorm(hidden))
        return outputs


class SelfAttention(nn.Module):
    """Attention of every token to every token."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer(inputs).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        attended = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout.p if self.training else 0.0
        )
        return attended.transpose(1, 2).flatten(2)


class Output(nn.Module):
    """A linear layer, the residual connection and a normalization."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, hidden: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.LayerNorm(self.dropout(self.dense(hidden)) + residual)
        return outputs


class Attention(nn.Module):
    """`SelfAttention` with its output layer. The name `self` is the original's."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Output(config.width, config.width)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.output(self.self(inputs), inputs)
        return outputs


class Intermediate(nn.Module):
    """A linear layer and a GELU."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.hidden)
        self.intermediate_act_fn = nn.GELU()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.intermediate_act_fn(self.dense(inputs))
        return outputs


class Layer(nn.Module):
    """Attention and an MLP, each followed by a normalization."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Output(config.hidden, config.width)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        attended = self.attention(inputs)
        outputs: torch.Tensor = self.output(self.intermediate(attended), attended)
        return outputs


class Encoder(nn.Module):
    """The layers in a row."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for layer in self.layer:
            hidden = layer(hidden)
        return hidden


class Pooler(nn.Module):
    """A linear layer on the first token, and tanh."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.activation = nn.Tanh()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.activation(self.dense(hidden[:, 0]))
        return outputs


class Bert(Model):
    """From tokens to the pooled output."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config)
        self.init_weights()  # as in transformers: each layer's constructor has drawn already

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.pooler(self.encoder(self.embeddings(tokens)))
        return pooled

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=STD)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=STD)
            if module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, nn.LayerNorm):
            module.reset_parameters()
        elif isinstance(module, Embeddings):
            module.reset_buffers()
