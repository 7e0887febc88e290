"""Finds the cells that the change from base to head cannot reach. They are not measured."""
