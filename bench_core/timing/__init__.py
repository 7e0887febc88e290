"""Finds, opens and samples cells."""
