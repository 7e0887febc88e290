"""How cells are found, opened and sampled."""
