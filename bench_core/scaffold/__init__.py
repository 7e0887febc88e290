"""A first set-up for another repository: what `bench-core init` writes. The project's code is read, and never run."""
