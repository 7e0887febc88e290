"""ResNet with bottleneck blocks (He et al. 2016, arXiv:1512.03385), with the names and initializers of torchvision.

Each block strides in its 3x3 convolution, as in torchvision ("ResNet v1.5").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bench_core.suite.layouts.model import Model

EXPANSION = 4
"""The channels that a block returns, over those of its 3x3 convolution."""


@dataclass(frozen=True)
class ResNetConfig:
    """The size of a ResNet.

    Attributes:
        blocks: the number of blocks of each of the four stages.
        channels: the channels of the first stage's 3x3 convolutions. Each later stage doubles them.
        classes: the number of outputs.
    """

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    channels: int = 64
    classes: int = 1000


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * channels
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.relu(self.bn1(self.conv1(inputs)))
        hidden = self.relu(self.bn2(self.conv2(hidden)))
        hidden = self.bn3(self.conv3(hidden))
        shortcut = inputs if self.downsample is None else self.downsample(inputs)
        outputs: torch.Tensor = self.relu(hidden + shortcut)
        return outputs


class ResNet(Model):
    """From images of 3 channels to logits."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        channels = config.channels
        self.conv1 = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(channels, channels, config.blocks[0], stride=1)
        self.layer2 = _stage(EXPANSION * channels, 2 * channels, config.blocks[1], stride=2)
        self.layer3 = _stage(EXPANSION * 2 * channels, 4 * channels, config.blocks[2], stride=2)
        self.layer4 = _stage(EXPANSION * 4 * channels, 8 * channels, config.blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(EXPANSION * 8 * channels, config.classes)
        self.apply(self._init_weights)  # `fc` stays as its constructor drew it

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            hidden = stage(hidden)
        logits: torch.Tensor = self.fc(self.avgpool(hidden).flatten(1))
        return logits

    def init_weights(self) -> None:
        self.fc.reset_parameters()
        super().init_weights()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # scale 1 and shift 0; the statistics, too


def _stage(inputs: int, channels: int, blocks: int, *, stride: int) -> nn.Sequential:
    later = (Bottleneck(EXPANSION * channels, channels, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(inputs, channels, stride), *later)
