"""Writing results by way of asv, and reading asv's result files."""
