"""Escapes text for Markdown."""

from __future__ import annotations

import re


def plain(text: str) -> str:
    """Text in which nothing is markup, for a table or elsewhere."""
    escaped = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", escaped)


def code(text: str) -> str:
    """Text as code, for a table or elsewhere. Bars are escaped, since a table ends a cell at a bar even in code."""
    line = one_line(text).replace("|", "\\|")
    fence = "`" * (longest_fence(line) + 1)
    return f"{fence} {line} {fence}" if len(fence) > 1 else f"`{line}`"


def longest_fence(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def one_line(text: str) -> str:
    return " ".join(text.split())
