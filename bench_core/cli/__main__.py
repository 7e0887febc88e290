"""`python -m bench_core.cli`."""

from bench_core.cli import main

if __name__ == "__main__":
    main()
