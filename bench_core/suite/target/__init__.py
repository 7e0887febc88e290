"""The model that `bench-core model` measures: how it is found, built, described, and compared with another."""

from bench_core.suite.target.checkpoints import Checkpoint
from bench_core.suite.target.comparing import differences
from bench_core.suite.target.describing import describe, lost_ties
from bench_core.suite.target.loading import Example, Target, load, seed

__all__ = ["Checkpoint", "Example", "Target", "describe", "differences", "load", "lost_ties", "seed"]
