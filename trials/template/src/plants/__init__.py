"""Forty jobs, each of some equal units of work. Each version sets the numbers of units in `plants.amounts`."""

from plants.work import SIZES, Job, make

__all__ = ["SIZES", "Job", "make"]
