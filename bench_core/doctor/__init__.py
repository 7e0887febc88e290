"""Finds out what disturbs timings on this machine: gathers facts, judges them, and shows the findings."""
