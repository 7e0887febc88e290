"""Makes text from a pull request safe for a comment, which GitHub reads as Markdown with HTML inside.

A comment is one HTML block: its lines hold no blank one, so GitHub reads none of it as Markdown. What is left are HTML,
and the links that GitHub makes of text afterwards: mentions, issues, emoji. It makes none inside ``<code>``.
"""

from __future__ import annotations

import html
import re

from bench_core.texts import line

LONGEST = 400
"""The most characters of a text that are shown."""


def code(text: str, longest: int = LONGEST) -> str:
    """Text as code, in HTML."""
    return f"<code>{html.escape(line(text, longest))}</code>"


_LINKED = re.compile(r"[@#:](?=\S)|(?<=\bGH)-|(?<=\bgh)-")
"""Where GitHub begins a mention, an issue, or an emoji."""


def prose(text: str, longest: int = LONGEST) -> str:
    """Text in HTML of which GitHub makes neither links nor formulas. A space without width stands where a link would
    begin."""
    parts = [html.escape(part) for part in _LINKED.sub("\\g<0>\0", line(text, longest)).split("\0")]
    return "&#8203;".join(parts).replace("$", "<span>$</span>")
