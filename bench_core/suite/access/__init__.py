"""Jobs on the parameters of any model, each in several ways, with a check of the outcome of each way."""

from bench_core.suite.access import passes, reading, training
from bench_core.suite.access.jobs import Job, NotHereError, Ready, Subject

JOBS: dict[str, Job] = {**reading.JOBS, **training.JOBS, **passes.JOBS}

__all__ = ["JOBS", "Job", "NotHereError", "Ready", "Subject"]
