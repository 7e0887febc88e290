"""A gate as a person reads it: in the terminal, as Markdown, as annotations of GitHub and as JUnit's XML.

Everything is drawn from the record and its verdict, so the same text is drawn again from a stored file.
"""

from bench_core.report.gate.ci import junit, workflow_commands
from bench_core.report.gate.markdown import markdown
from bench_core.report.gate.terminal import self_test, summary
from bench_core.report.gate.words import GateCommands, effect, reproducing

__all__ = ["GateCommands", "effect", "junit", "markdown", "reproducing", "self_test", "summary", "workflow_commands"]
