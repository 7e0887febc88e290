"""`bench-core doctor`."""

from __future__ import annotations

import click

from bench_core.cli.terminal import console


@click.command()
@click.option("--markdown", is_flag=True, help="Only what goes into a bug report, ready to paste.")
def doctor(markdown: bool) -> None:
    """Say what on this machine disturbs timings, most important first, and what to do about it."""
    from bench_core.doctor import machine, text

    here = machine.read()
    if markdown:
        click.echo(text.markdown(here), nl=False)
    else:
        console().print(text.report(here))
