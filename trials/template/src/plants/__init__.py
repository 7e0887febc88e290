"""Forty jobs, each a number of equal units of work. How many is a version's own affair: see `plants.amounts`."""

from plants.work import SIZES, Job, make

__all__ = ["SIZES", "Job", "make"]
