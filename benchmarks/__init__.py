"""What is timed: one module a family, plain asv classes. How to add a case: CONTRIBUTING.md."""

import bench_core.suite  # noqa: F401 - says what is missing before a module imports it
