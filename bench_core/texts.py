"""Makes any text safe for an output: one function for each kind of output.

Names, parameters, units, errors, commits, branches and files are the texts of others. They may contain markup, control
characters, commands of a CI service, or a megabyte. Each function returns text that shows all of it, and that does
nothing else in its output. Imports nothing else of bench_core.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

LONGEST = 4_000
"""The most characters of a text that are shown. Names have a limit of their own, see `bench_core.errors.brief`."""


def visible(text: str) -> str:
    r"""The text on one line, with every character that a screen does not show as its escape in Python: ``\n``,
    ``\x1b``, ``\u202e``. These are the characters that `repr` escapes: controls, marks of direction, line ends, halves
    of surrogate pairs, and all spaces but the usual one."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def line(text: str, longest: int = LONGEST) -> str:
    """`visible`, and cut after `longest` characters. What is cut ends in a part of the hash of the whole text, so that
    two texts that differ look different."""
    if len(text) > longest or len(shown := visible(text)) > longest:
        return f"{visible(text[: longest // 2])[: longest // 2]}...{digest(text)}"
    return shown


def digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


# ------------------------------------------------------------------------------------------------- terminals and logs


def logged(text: str) -> str:
    """Text as one line of a log."""
    return harmless(line(text))


def lines(text: str) -> str:
    """Text of several lines for a terminal or a log. Its line ends are ours."""
    return harmless("\n".join(line(each.expandtabs()) for each in text.split("\n")))


_COMMANDS = re.compile(r"(?m)^(?:[^\S\n]|\x1b\[[\d;]*m)*:(?=:)|##\w*(?=\[)")
r"""The beginnings of a command to a CI service. GitHub's runner takes a line as one if it begins with ``::`` after any
white space, or has ``##[`` anywhere; Azure's and TeamCity's take ``##vso[`` and ``##teamcity[``. Our own colours may
stand before it."""


def harmless(text: str, before: str = "") -> str:
    r"""Text for a log in which no line is a command to a CI service: ``::error::`` becomes ``:\x3aerror::``. `before`
    is what the current line already has."""
    pieces, end = [], len(before)
    whole = before + text
    for found in _COMMANDS.finditer(whole):
        place = found.end()
        if place >= len(before):
            pieces += [whole[end:place], f"\\x{ord(whole[place]):02x}"]
            end = place + 1
    return "".join([*pieces, whole[end:]])


def workflow_command(kind: str, *said: str, **properties: str) -> str:
    """A workflow command of GitHub, such as an annotation. Print it with `bench_core.cli.terminal.say_command`.

    Args:
        kind: ``error``, ``warning`` or ``notice``.
        said: the lines of the text.
        properties: ``title``, ``file``, ``line`` and so on.
    """
    shown = ",".join(f"{name}={_property(text)}" for name, text in properties.items())
    return f"::{kind}{' ' if shown else ''}{shown}::{'%0A'.join(map(_data, said))}"


def _data(text: str) -> str:
    return line(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# ----------------------------------------------------------------------------------------------------------- Markdown

_APART = "\u200b"
"""A space without width. GitHub makes links of addresses, names and numbers after it has read the Markdown, so that an
escape does not keep it from doing so, but another character inside them does."""

_LINKED = re.compile(r"(?i)@(?=\w)|#(?=\w)|\bGH-(?=\d)|:(?=//)|\bwww(?=\.)|:(?!\d\d[:+])(?=[\w+-]+:)")
"""After what `_APART` stands, so that GitHub makes no link, no mention and no emoji of it."""

_MARKUP = re.compile(r"[\\`*_\[\]|~#]")

_BLOCK = re.compile(r"^(\d{1,9}(?=[.)])|(?=[-+=]))(.)(?=\s|[\s=-]*$)")
"""The beginning of a line that is an item of a list, a ruler, or an underline that makes the line above a heading."""

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "<span>$</span>", _APART: "&#8203;"})
"""HTML, the invisible space, and dollars, as GitHub's manual writes them where they are no mathematics."""


def plain(text: str) -> str:
    """Text as Markdown that has no markup, also in tables and at the beginning of a line."""
    shown = _LINKED.sub(rf"\g<0>{_APART}", line(text).strip(" "))
    shown = _BLOCK.sub(r"\1\\\2", _MARKUP.sub(r"\\\g<0>", shown))
    return shown.translate(_ENTITIES)


def code(text: str) -> str:
    """Text as code in a line of Markdown, also in tables. GitHub makes no links in it."""
    shown = line(text)
    if "|" in shown:  # ends a cell of a table even in code, and only in a table an escape can keep it from that
        return f"<code>{plain(shown)}</code>"
    fence = "`" * (_longest_fence(shown) + 1)
    return f"{fence} {shown} {fence}" if len(fence) > 1 else f"`{shown or ' '}`"


def fenced(shown: Sequence[str], language: str = "") -> list[str]:
    """The lines of a block of code in Markdown."""
    inside = [line(each) for each in shown]
    fence = "`" * max(3, _longest_fence("".join(inside)) + 1)
    return [f"{fence}{language}", *inside, fence]


def prose(text: str) -> str:
    """A sentence as Markdown: what is between backticks becomes code, and everything else is `plain`."""
    return "".join(code(part) if index % 2 else _kept_apart(part) for index, part in enumerate(text.split("`")))


def _kept_apart(text: str) -> str:
    """`plain` with the spaces at both ends, which `plain` would strip."""
    before, after = " " * text.startswith(" "), " " * text.endswith(" ")
    return f"{before}{plain(text)}{after}" if text.strip() else text


def link(text: str, to: str) -> str:
    """Text as a link of Markdown; as `code` if the address is none of the web."""
    if not (found := address(to)):
        return code(text)
    shown = re.sub(r"([\\`*_\[\]|~])", r"\\\1", line(text)).translate(_ENTITIES)  # GitHub makes no link inside another
    return f"[{shown}]({found})"


def address(url: str) -> str:
    """An address of the web in which every character is legal, or "" if it is none."""
    try:
        known = urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return ""
    return quote(url, safe="%/:?#[]@!$&'*+,;=~", errors="replace") if known else ""


def _longest_fence(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


# ---------------------------------------------------------------------------------------------------------- asv's pages

_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def untagged(text: str) -> str:
    """Text that looks the same on a page that takes it for HTML and on one that takes it for text. asv's pages do both
    with one text. A ``<`` that would begin a tag gets a space without width behind it."""
    return _TAG.sub(f"<{_APART}", text)


# ------------------------------------------------------------------------------------------------------------ XML, CSV


def xml(text: str) -> str:
    """Text of several lines without the characters that XML does not allow, which not even an entity can express."""
    return "\n".join(map(line, text.split("\n")))


LONGEST_FIELD = 30_000
"""The most characters of a text in a table for spreadsheets. Excel takes 32,767."""

_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
"""How the formulas of a spreadsheet begin, also in full width."""


def field(value: object) -> object:
    """A value for Python's writer of CSV. None, NaN and infinity are empty. A text that a spreadsheet would take for a
    formula begins with an apostrophe, which spreadsheets take for the mark of a text."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if not isinstance(value, str):
        return value
    shown = line(value, LONGEST_FIELD)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
