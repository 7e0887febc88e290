"""A performance benchmark suite for PyTorch parameter operations, and what times, judges and shows it."""

__version__ = "0.1.0"
