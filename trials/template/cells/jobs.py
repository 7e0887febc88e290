"""One class per kind, as other projects write their asv suites.

There is no `setup`: with one, asv and tools with its rules time single calls. The time of short calls would then
include the clock, which does not grow with the units.
"""

import plants


class Walk:
    params = list(plants.SIZES["walk"])
    param_names = ["us"]
    jobs = {size: plants.make("walk", size) for size in params}

    def time_walk(self, us):
        self.jobs[us]()


class Add:
    params = list(plants.SIZES["add"])
    param_names = ["us"]
    jobs = {size: plants.make("add", size) for size in params}

    def time_add(self, us):
        self.jobs[us]()


class Allocate:
    params = list(plants.SIZES["allocate"])
    param_names = ["us"]
    jobs = {size: plants.make("allocate", size) for size in params}

    def time_allocate(self, us):
        self.jobs[us]()


class Read:
    params = list(plants.SIZES["read"])
    param_names = ["mib"]
    jobs = {size: plants.make("read", size) for size in params}

    def time_read(self, mib):
        self.jobs[mib]()


class Write:
    params = list(plants.SIZES["write"])
    param_names = ["mib"]
    jobs = {size: plants.make("write", size) for size in params}

    def time_write(self, mib):
        self.jobs[mib]()
