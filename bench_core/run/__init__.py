"""Times the cells of one version: the ways to do a job in turn, in rounds over all cells."""
