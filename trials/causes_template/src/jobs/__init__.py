"""Ten jobs of parameter operations. Another version is slower in each, each time for another reason: see
`trials.causes`."""

import functools

import torch
from torch import nn


class Layers(nn.Module):
    def __init__(self, count, width):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(count))

    def forward(self, values):
        for layer in self.layers:
            values = layer(values)
        return values


def weights(model):
    layers = model.layers
    found = []
    for index in range(len(layers)):
        found.append(layers[index].weight)
    return found


@functools.cache
def fan(shape):
    inputs = outputs = 1
    for size in shape[1:]:
        inputs *= size
    for size in (shape[0], *shape[2:]):
        outputs *= size
    return inputs, outputs


def bounds(model):
    return [(6 / sum(fan(tuple(one.shape)))) ** 0.5 for one in model.parameters() if one.dim() > 1]


@torch.no_grad()
def step(weight, gradient):
    weight.add_(gradient, alpha=-0.1)


def turned(weight):
    return weight.detach().t()


@torch.no_grad()
def decay(parameters):
    torch._foreach_mul_(parameters, 0.99)


@torch.no_grad()
def clip(weight):
    norm = weight.norm()
    weight.mul_(torch.clamp(1 / norm, max=1.0))


@torch.no_grad()
def load(weight, saved):
    weight.copy_(saved)


def watch(module, inputs, output):
    module.seen = tuple(output.shape)


def watched(count, width):
    model = Layers(count, width)
    handles = [layer.register_forward_hook(watch) for layer in model.layers]
    for handle in handles:
        handle.remove()
    return model


@torch.no_grad()
def initialize(weight):
    nn.init.normal_(weight)


ROWS = 512


def scratch():
    return torch.zeros(ROWS, 256)
