"""Texts that try to be more than text in an output, and what finds them there."""

import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt

FRAGMENTS = (
    *("\n", "\r", "\t", "\0", "\x07", "\x85", "\u2028", "\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\ud800", "\udc1b"),
    *("\u202e", "\u2066", "\u200f", "\u200b", "\ufeff", "\U000e0001", "\xa0"),
    *("::", ":", "::error::boom", "::set-output name=a::b", "##", "[", "##[error]", "##vso[task.x]", "#"),
    *("<img src=x onerror=alert(1)>", "</script>", "<!--", "&lt;", "&#60;", "]]>", "<b>", '"', "'"),
    *(
        "|",
        "\\",
        "`",
        "``",
        "*",
        "**",
        "_",
        "~~",
        "$",
        "$x$",
        "[a](http://e.example)",
        "![a](x)",
        "[a]:",
        "<http://e.example>",
    ),
    *("- ", "+ ", "1. ", "1) ", "# ", "> ", "---", "===", "    ", "- [x] ", "```"),
    *("@octocat", "fixes #1", "o/r#2", "GH-3", "https://e.example", "www.e.example", ":tada:", "a@e.example"),
    *("[bold red]", "[/]", "{{ 1 }}", "${x}", "%0A", "%", ",", "../", "/", "=1+1", "+1", "@a", "-a"),
    *("a", "b", " ", "time_x", "(8x4)"),
)
"""Pieces of hostile texts. Put together at random, they also make what is in none of them."""

SEPARATORS = re.compile(r"\r\n|\r|\n")
"""Between the lines of a log, as GitHub's runner reads it."""


def commands(log):
    """The lines of a log that GitHub's runner, or another CI service, takes for a command: as `ActionCommand.cs` in
    github.com/actions/runner, for commands of any name."""
    found = []
    for line in SEPARATORS.split(log):
        second = line.lstrip().startswith("::") and "::" in line.lstrip()[2:]
        if second or re.search(r"##\w*\[.*\]", line):
            found.append(line)
    return found


def tokens(page):
    """The inline tokens of a page of Markdown, and the blocks around them."""
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page):
        yield token
        yield from token.children or ()


def linked(text):
    """What GitHub makes links, mentions or emoji of in a text without markup."""
    return re.findall(r"@\w|#\w|\bGH-\d|://|\bwww\.|:(?!\d\d[:+])[\w+-]+:", text, re.IGNORECASE)


class Elements(HTMLParser):
    """The tags, the attributes and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.said = [], set(), []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.said.append(data)

    def handle_comment(self, data):
        self.tags.append("!--")

    @property
    def text(self):
        return "".join(self.said)
