"""Finds the cells, schedules pairs of workers, and turns their reports into effects."""
