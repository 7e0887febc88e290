"""Everything that runs in another process, and what crosses the border between processes."""
