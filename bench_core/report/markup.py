"""Escapes text for Markdown."""

from __future__ import annotations

import re


def plain(text: str) -> str:
    """Text as Markdown without markup, also in tables."""
    escaped = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", escaped)


def code(text: str) -> str:
    """Text as Markdown code, also in tables. Bars are escaped, since a bar ends a table's cell even in code."""
    line = one_line(text).replace("|", "\\|")
    fence = "`" * (longest_fence(line) + 1)
    return f"{fence} {line} {fence}" if len(fence) > 1 else f"`{line}`"


def longest_fence(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def one_line(text: str) -> str:
    return " ".join(text.split())
