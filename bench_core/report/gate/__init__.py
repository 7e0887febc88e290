"""A gate as a person reads it: in the terminal, as Markdown, as annotations of GitHub and as JUnit's XML.

Everything is drawn from the record and its verdict, so the same text comes out whenever the file is read again.
"""

from bench_core.report.gate.ci import junit, workflow_commands
from bench_core.report.gate.markdown import markdown
from bench_core.report.gate.terminal import self_test, summary
from bench_core.report.gate.words import Commands, effect, reproducing, value

__all__ = [
    "Commands",
    "effect",
    "junit",
    "markdown",
    "reproducing",
    "self_test",
    "summary",
    "value",
    "workflow_commands",
]
