"""One class per job. Some have a `setup`, whose object serves one call."""

import jobs
import torch


class Walk:
    model = jobs.Layers(20, 4)

    def time_walk(self):
        jobs.weights(self.model)


class Cache:
    model = jobs.Layers(20, 4)

    def time_cache(self):
        jobs.bounds(self.model)


class Temporary:
    weight, gradient = torch.ones(512, 512), torch.ones(512, 512)

    def time_temporary(self):
        jobs.step(self.weight, self.gradient)


class View:
    weight = torch.ones(512, 512)

    def time_view(self):
        jobs.turned(self.weight)


class Foreach:
    def setup(self):
        self.parameters = [torch.ones(64, 64) for _ in range(50)]

    def time_foreach(self):
        jobs.decay(self.parameters)


class Wait:
    weight = torch.ones(64, 64)

    def time_wait(self):
        jobs.clip(self.weight)


class Convert:
    weight, saved = torch.zeros(512, 512), torch.ones(512, 512)

    def time_convert(self):
        jobs.load(self.weight, self.saved)


class Hook:
    model, values = jobs.watched(10, 16), torch.ones(4, 16)

    def time_hook(self):
        self.model(self.values)


class Draw:
    def setup(self):
        self.weight = torch.empty(256, 256)

    def time_draw(self):
        jobs.initialize(self.weight)


class Buffer:
    def time_buffer(self):
        jobs.scratch()
