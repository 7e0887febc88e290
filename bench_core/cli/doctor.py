"""`bench-core doctor`."""

from __future__ import annotations

import click

from bench_core.cli.terminal import console, say_page


@click.command(short_help="List what disturbs timings on this machine.")
@click.option("--markdown", is_flag=True, help="Print only what a bug report needs, as Markdown.")
def doctor(markdown: bool) -> None:
    """List what disturbs timings on this machine, most important first, and what to do about it.

    \b
    Example:
      bench-core doctor
    """
    from bench_core.doctor import machine, text

    here = machine.read()
    if markdown:
        say_page(text.markdown(here))
    else:
        console().print(text.report(here))
