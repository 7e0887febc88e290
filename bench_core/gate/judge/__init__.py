"""From evidence to verdicts: pure functions, the same while a gate runs and whenever its record is read again."""
