"""The program `bench-core`, and `python -m bench_core`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Ctrl-C while its modules are imported ends it with one line too, which takes 0.1 s."""
    try:
        from bench_core.platforms import refusal

        if said := refusal():
            sys.stderr.write(f"bench-core: {said}\n")
            sys.exit(2)
        from bench_core.cli import main as commands

        commands()
    except KeyboardInterrupt:
        sys.stderr.write("bench-core: interrupted.\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
