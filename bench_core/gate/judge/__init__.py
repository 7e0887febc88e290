"""Verdicts from evidence. These are pure functions, with the same result during a gate and for its stored record."""
