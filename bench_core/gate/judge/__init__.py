"""Verdicts from evidence: pure functions that give the same result during a gate and for its stored record."""
