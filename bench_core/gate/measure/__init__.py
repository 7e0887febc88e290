"""Which cells there are, which pair comes next, and what two workers report as an effect."""
