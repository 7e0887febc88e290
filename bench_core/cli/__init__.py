"""The command line. It may import every module, and no module imports it. Only it prints and exits."""

from __future__ import annotations

from typing import Any

import click

from bench_core import __version__
from bench_core.cli.agree import agree
from bench_core.cli.bisect import bisect
from bench_core.cli.compare import compare
from bench_core.cli.doctor import doctor
from bench_core.cli.gate import gate
from bench_core.cli.gpu import gpu
from bench_core.cli.known import known
from bench_core.cli.list import list_cells
from bench_core.cli.report import report
from bench_core.cli.run import run
from bench_core.cli.show import show
from bench_core.errors import BenchCoreError


class Commands(click.Group):
    """Turns a BenchCoreError into a message on standard error and an exit code. Any other exception is a bug."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BenchCoreError as error:
            click.echo(f"bench-core: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:  # click would exit 1, which means a regression
            click.echo("bench-core: interrupted.", err=True)
            ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bench-core")
def main() -> None:
    """What PyTorch parameter operations cost, and whether a change made them slower."""


for command in (list_cells, run, show, gate, bisect, compare, report, known, agree, doctor, gpu):
    main.add_command(command)
