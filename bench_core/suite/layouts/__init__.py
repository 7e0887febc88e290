"""Layouts of well-known models, built from code: names, shapes, initializers and buffers as the originals have them.

The code is our own; nothing is downloaded. Each layout has a tiny form, with the same names and the same kinds of
tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from bench_core.suite.layouts.bert import Bert, BertConfig
from bench_core.suite.layouts.gpt2 import Gpt2, Gpt2Config
from bench_core.suite.layouts.llama import Llama, LlamaConfig
from bench_core.suite.layouts.model import Model
from bench_core.suite.layouts.resnet import ResNet, ResNetConfig
from bench_core.suite.layouts.vit import ViT, ViTConfig

__all__ = ["FULL", "LAYOUTS", "TINY", "Layout", "Model", "on_meta"]

Inputs = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Layout:
    """A model that is built from code.

    Attributes:
        name: its name in `LAYOUTS`.
        build: constructs it, initialized, on the device and in the dtype of torch's context.
        example: inputs for a forward pass of the given model, on its device and in its dtype.
        elements: the elements of its parameters; those that several names share count once.
        tiny: the name of its tiny form, which may be itself.
        ties: groups of names that share one parameter.
        source: where the number of elements, the names and the shapes are published; "" for a tiny form, whose sizes
            are made up.
    """

    name: str
    build: Callable[[], nn.Module]
    example: Callable[[nn.Module], Inputs]
    elements: int
    tiny: str
    ties: tuple[tuple[str, ...], ...] = ()
    source: str = ""


def images(side: int) -> Callable[[nn.Module], Inputs]:
    """Two square images: batch normalization needs more than one value of each channel."""

    def example(model: nn.Module) -> Inputs:
        parameter = next(model.parameters())
        return (torch.rand(2, 3, side, side, device=parameter.device, dtype=parameter.dtype),)

    return example


def tokens(vocabulary: int, length: int = 8) -> Callable[[nn.Module], Inputs]:
    """One sequence of tokens."""

    def example(model: nn.Module) -> Inputs:
        return (torch.randint(vocabulary, (1, length), device=next(model.parameters()).device),)

    return example


def rows(features: int) -> Callable[[nn.Module], Inputs]:
    """Two rows of features."""

    def example(model: nn.Module) -> Inputs:
        parameter = next(model.parameters())
        return (torch.rand(2, features, device=parameter.device, dtype=parameter.dtype),)

    return example


def _by_name(*layouts: Layout) -> Mapping[str, Layout]:
    return {layout.name: layout for layout in layouts}


def _resnet(
    name: str, config: ResNetConfig, elements: int, tiny: str = "", source: str = "", side: int = 224
) -> Layout:
    return Layout(name, lambda: ResNet(config), images(side), elements, tiny or name, source=source)


def _vit(name: str, config: ViTConfig, elements: int, tiny: str = "", source: str = "") -> Layout:
    return Layout(name, lambda: ViT(config), images(config.image), elements, tiny or name, source=source)


def _gpt2(name: str, config: Gpt2Config, elements: int, tiny: str = "", source: str = "") -> Layout:
    ties = (("transformer.wte.weight", "lm_head.weight"),)
    return Layout(name, lambda: Gpt2(config), tokens(config.vocabulary), elements, tiny or name, ties, source)


def _bert(name: str, config: BertConfig, elements: int, tiny: str = "", source: str = "") -> Layout:
    return Layout(name, lambda: Bert(config), tokens(config.vocabulary), elements, tiny or name, source=source)


def _llama(name: str, config: LlamaConfig, elements: int, tiny: str = "", source: str = "") -> Layout:
    ties = (("model.embed_tokens.weight", "lm_head.weight"),) if config.tied else ()
    return Layout(name, lambda: Llama(config), tokens(config.vocabulary), elements, tiny or name, ties, source)


FULL: Mapping[str, Layout] = _by_name(
    Layout(
        "mlp",
        lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)),
        rows(4),
        49,
        tiny="mlp",
        source="the notebook of 'Dive into Deep Learning' on parameters, materialized: docs/notebook.md",
    ),
    _resnet(
        "resnet50",
        ResNetConfig(),
        25_557_032,
        "resnet50-tiny",
        "https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.resnet50.html",
    ),
    _vit(
        "vit-b16",
        ViTConfig(),
        86_567_656,
        "vit-b16-tiny",
        "https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.vit_b_16.html",
    ),
    _gpt2("gpt2", Gpt2Config(), 124_439_808, "gpt2-tiny", "https://huggingface.co/openai-community/gpt2"),
    _bert(
        "bert-base", BertConfig(), 109_482_240, "bert-base-tiny", "https://huggingface.co/google-bert/bert-base-uncased"
    ),
    _llama(
        "llama-135m",
        LlamaConfig(49_152, 576, 1536, layers=30, heads=9, key_heads=3, tied=True, base=10_000.0),
        134_515_008,
        "llama-1b-tiny",
        "https://huggingface.co/HuggingFaceTB/SmolLM-135M",
    ),
    _llama(
        "llama-1b",
        LlamaConfig(128_256, 2048, 8192, layers=16, heads=32, key_heads=8, tied=True, factor=32.0),
        1_235_814_400,
        "llama-1b-tiny",
        "https://huggingface.co/meta-llama/Llama-3.2-1B",
    ),
    _llama(
        "llama-3b",
        LlamaConfig(128_256, 3072, 8192, layers=28, heads=24, key_heads=8, tied=True, factor=32.0),
        3_212_749_824,
        "llama-1b-tiny",
        "https://huggingface.co/meta-llama/Llama-3.2-3B",
    ),
    _llama(
        "llama-8b",
        LlamaConfig(128_256, 4096, 14_336, layers=32, heads=32, key_heads=8, tied=False, factor=8.0),
        8_030_261_248,
        "llama-8b-tiny",
        "https://huggingface.co/meta-llama/Llama-3.1-8B",
    ),
)

TINY: Mapping[str, Layout] = _by_name(
    _resnet("resnet50-tiny", ResNetConfig(blocks=(2, 1, 1, 1), channels=4, classes=10), 34_606, side=64),
    _vit("vit-b16-tiny", ViTConfig(image=32, layers=2, heads=2, width=32, hidden=64, classes=10), 42_282),
    _gpt2("gpt2-tiny", Gpt2Config(vocabulary=256, positions=32, width=32, layers=2, heads=2), 34_688),
    _bert("bert-base-tiny", BertConfig(vocabulary=256, positions=32, width=32, layers=2, heads=2, hidden=64), 27_488),
    _llama("llama-1b-tiny", LlamaConfig(256, 32, 64, layers=2, heads=4, key_heads=2, tied=True, factor=32.0), 26_784),
    _llama("llama-8b-tiny", LlamaConfig(256, 32, 64, layers=2, heads=4, key_heads=2, tied=False, factor=8.0), 34_976),
)
"""The tiny forms, which tests run in milliseconds. Their sizes are made up."""

LAYOUTS: Mapping[str, Layout] = {**FULL, **TINY}


def on_meta(layout: Layout) -> nn.Module:
    """The layout's shapes, without memory."""
    with torch.device("meta"):
        return layout.build()
