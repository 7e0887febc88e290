"""Analyses of stored results: pure functions of records, without torch and without a clock."""
