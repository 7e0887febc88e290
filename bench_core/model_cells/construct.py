"""Constructing the model: time, and the memory of the process."""

from bench_core.suite import OfModel


class Construct(OfModel):
    """Call the builder, as a program does when it starts."""

    def setup(self):
        super().setup()
        # The builder's module is imported here. What its first call prepares is done by the untimed call that every
        # process makes.
        self.model = None

    def time_construct(self):
        self.model = self.target.ready()

    def check_construct(self):
        self.time_construct()
        self.require_ready(self.model)

    def peakmem_construct(self):
        self.model = self.target.ready()
