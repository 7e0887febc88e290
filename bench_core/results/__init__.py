"""Writes results through asv, and reads results folders."""
