"""What is timed: one module a family, plain asv classes. How to add a case: CONTRIBUTING.md."""
