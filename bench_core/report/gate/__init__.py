"""Shows a gate in the terminal, as Markdown, as annotations of GitHub and as JUnit XML. All text is made from the
record and its verdict, so a stored file gives the same text."""

from bench_core.report.gate.ci import Place, junit, workflow_commands
from bench_core.report.gate.markdown import markdown
from bench_core.report.gate.terminal import self_test, summary
from bench_core.report.gate.words import GateCommands, effect, reproducing

__all__ = [
    "GateCommands",
    "Place",
    "effect",
    "junit",
    "markdown",
    "reproducing",
    "self_test",
    "summary",
    "workflow_commands",
]
