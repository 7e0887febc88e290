"""The benchmarks of a gate on a model: start-up, access, a training step, and size.

They are an asv suite that comes with bench_core. The model is named by an environment variable, so the same few cells
work on any model (`bench_core.suite.chosen`).
"""
