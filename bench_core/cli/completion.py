"""`bench-core completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from bench_core.cli.terminal import say_page

PROGRAM = "bench-core"

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print the script that lets a shell complete our commands.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that lets SHELL complete the commands and options of bench-core with the Tab key.

    Add the first line to ~/.bashrc or the second to ~/.zshrc (after compinit), or run the third once:

    \b
    Example:
      eval "$(bench-core completion bash)"
      eval "$(bench-core completion zsh)"
      bench-core completion fish > ~/.config/fish/completions/bench-core.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    # click asks the bash that is installed for its version; what another one needs is the same.
    made = kind(ctx.find_root().command, {}, PROGRAM, f"_{PROGRAM.replace('-', '_').upper()}_COMPLETE")
    say_page(made.source_template % made.source_vars())
