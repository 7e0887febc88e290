"""A small asv suite that knows nothing of bench_core or torch, written as the public suites of array libraries are."""
