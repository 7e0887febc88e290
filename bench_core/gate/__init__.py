"""The gate: two versions, sampled in turn, and one verdict."""
