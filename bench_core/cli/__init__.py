"""The command line. It may import every module, and no module imports it. Only it prints and exits."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress
from typing import Any, NoReturn

import click

from bench_core import version
from bench_core.cli.agree import agree
from bench_core.cli.bisect import bisect
from bench_core.cli.ci import ci
from bench_core.cli.compare import compare
from bench_core.cli.completion import completion
from bench_core.cli.doctor import doctor
from bench_core.cli.gate import gate
from bench_core.cli.gpu import gpu
from bench_core.cli.init import init
from bench_core.cli.known import known
from bench_core.cli.list import list_cells
from bench_core.cli.model import model
from bench_core.cli.outlet import outlets
from bench_core.cli.report import report
from bench_core.cli.run import run
from bench_core.cli.show import show
from bench_core.cli.terminal import hold_everything, say
from bench_core.errors import BUG, READER_GONE, BenchCoreError


class Commands(click.Group):
    """Turns every exception into a message on standard error and an exit code: a BenchCoreError into its own, and any
    other one, which is a bug, into `BUG`."""

    def main(self, *args: Any, **options: Any) -> Any:
        hold_everything(sys.stdout, sys.stderr)
        with outlets():
            return super().main(*args, **options)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)  # prints the help
        except KeyboardInterrupt:
            _interrupted()
        except BrokenPipeError:
            _reader_gone()
        except OSError as error:
            _refused_by_the_system(error)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BenchCoreError as error:
            _complain(f"bench-core: {error}")
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            _interrupted()
        except BrokenPipeError:
            _reader_gone()
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:  # noqa: BLE001 - shown whole
            if isinstance(error, OSError) and error.errno in OF_THE_SYSTEM:
                _refused_by_the_system(error)
            _complain("".join(traceback.format_exception(error)).rstrip("\n"))
            _complain("bench-core: this is a bug in bench-core: please report it with the lines above.")
            ctx.exit(BUG)


OF_THE_SYSTEM = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
}
"""Errors of the system for which no code of ours is to blame: a full or read-only disk, a limit on files, memory."""


def _complain(text: str) -> None:
    """Write to standard error, if that is possible."""
    with suppress(OSError):
        say(text, err=True)


def _refused_by_the_system(error: OSError) -> NoReturn:
    """End after an error of the system that nothing else has explained."""
    place = "the output" if error.filename is None else error.filename
    _complain(f"bench-core: {place} cannot be written: {error.strerror}.")
    _write_no_more()
    raise SystemExit(BenchCoreError.exit_code)


def _interrupted() -> NoReturn:
    """End after Ctrl-C. click would exit 1, which means a regression."""
    _complain("bench-core: interrupted.")
    raise SystemExit(130)


def _reader_gone() -> NoReturn:
    """End without a word, since nobody reads it. click would exit 1."""
    _write_no_more()
    raise SystemExit(READER_GONE)


def _write_no_more() -> None:
    """Discard what Python still writes to standard output when it ends. If it could not, it would exit with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked:
        say(f"bench-core {version()}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def main() -> None:
    """Time the benchmarks of any asv suite, and find out whether a change made them slower.

    \b
    Example:
      bench-core gate main --quick
    """


COMMANDS = (
    *(init, list_cells, run, show, gate, bisect, compare, report, model, known, agree, doctor, gpu, ci, completion),
)

for command in COMMANDS:
    main.add_command(command)
