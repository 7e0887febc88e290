"""A class a kind, as other projects write their asv suites."""

import plants


class Walk:
    params = list(plants.SIZES["walk"])
    param_names = ["us"]

    def setup(self, us):
        self.job = plants.make("walk", us)

    def time_walk(self, us):
        self.job()


class Add:
    params = list(plants.SIZES["add"])
    param_names = ["us"]

    def setup(self, us):
        self.job = plants.make("add", us)

    def time_add(self, us):
        self.job()


class Allocate:
    params = list(plants.SIZES["allocate"])
    param_names = ["us"]

    def setup(self, us):
        self.job = plants.make("allocate", us)

    def time_allocate(self, us):
        self.job()


class Read:
    params = list(plants.SIZES["read"])
    param_names = ["mib"]

    def setup(self, mib):
        self.job = plants.make("read", mib)

    def time_read(self, mib):
        self.job()


class Write:
    params = list(plants.SIZES["write"])
    param_names = ["mib"]

    def setup(self, mib):
        self.job = plants.make("write", mib)

    def time_write(self, mib):
        self.job()
