"""Texts of others, in every output: they arrive whole, and as nothing but text."""

import csv
import io
import re
from xml.etree import ElementTree

import pytest
from hostile import FRAGMENTS, Elements, commands, linked, tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Group
from rich.table import Table
from rich.text import Text

from bench_core import texts
from bench_core.cli.outlet import Outlet, Terminal
from bench_core.errors import brief
from bench_core.records.gate import Cause, Change
from bench_core.report import cause
from bench_core.report.page import breakable, prose
from bench_core.report.page.findings import anchor

HOSTILE = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=12).map("".join)
quickly = settings(max_examples=150, deadline=None, derandomize=True)


@quickly
@given(HOSTILE)
def test_a_line_is_printable_and_says_what_every_character_is(text):
    shown = texts.line(text)
    assert shown.isprintable()
    named = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[nrt])")
    assert named.sub("", shown) == named.sub("", "".join(sign for sign in text if sign.isprintable()))


def test_a_long_text_is_cut_and_two_that_differ_look_different():
    long, other = "a" * 1_000_000, "a" * 999_999 + "b"
    assert len(texts.line(long)) < 2_100
    assert texts.line(long) != texts.line(other)
    assert len(brief(long)) < 120
    assert len({brief(long), brief(other), brief("\n" * 300)}) == 3
    assert all(len(made(long)) < 5_000 for made in (texts.plain, texts.code, texts.prose, texts.xml, texts.lines))
    assert len(texts.workflow_command("error", long, title=long)) < 5_000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\x1b[1m", r"a\nb\x1b[1m"),
        ("\u202ex\ud800", r"\u202ex\ud800"),
        ("µ ± → Ünïcode", "µ ± → Ünïcode"),
    ],
)
def test_what_a_screen_does_not_show_is_written_as_in_python(text, shown):
    assert texts.line(text) == shown


@quickly
@given(HOSTILE)
def test_no_line_of_a_log_is_a_command(text):
    assert commands(texts.lines(text)) == []


@pytest.mark.parametrize("text", ["::error::x", "  \u3000::set-env name=a::b", "done ##[error]x", "##vso[task.x]y"])
def test_a_command_is_told_from_other_text(text):
    assert commands(text)
    assert commands(texts.lines(text)) == []
    assert texts.lines("a::b ## [c] :: d") == "a::b ## [c] :: d"


@quickly
@given(HOSTILE, st.randoms(use_true_random=False))
def test_a_command_cannot_be_written_in_pieces(text, chance):
    out = io.StringIO()
    stream = Outlet(out)
    while text:
        length = chance.randint(1, len(text))
        stream.write(text[:length])
        text = text[length:]
    assert commands(out.getvalue()) == []
    assert all(sign.isprintable() or sign == "\n" for sign in out.getvalue())


@pytest.mark.parametrize("spaces", [0, 1, 100])
def test_a_command_after_white_space_cannot_be_written_letter_by_letter(spaces):
    out = io.StringIO()
    stream = Outlet(out)
    for sign in " " * spaces + "::error::x\n" + "a" * 50 + "##[error]x\n":
        stream.write(sign)
    assert out.getvalue().split() == [r":\x3aerror::x", "a" * 50 + r"##\x5berror]x"]


@pytest.mark.parametrize("colours", [True, False])
@quickly
@given(text=HOSTILE)
def test_a_terminal_gets_no_control_but_our_own(colours, text):
    printed, raw = shown_on_terminal(text, colours=colours)
    assert commands(printed) == []
    assert all(sign.isprintable() or sign == "\n" for sign in printed)
    assert colours or raw == printed
    said = texts.harmless(f"x {texts.visible(Text(text).plain)}")  # rich itself drops a few controls
    assert printed.splitlines()[0].rstrip() == said.rstrip()


def shown_on_terminal(text, *, colours):
    """What is printed, without the colours that rich sets, and with them."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        patch.delenv("NO_COLOR", raising=False)
        terminal = Terminal(width=2_000, force_terminal=colours, color_system="standard" if colours else None)
        terminal.print(Text.assemble("x ", (text, "bold red")), soft_wrap=True)
        terminal.print(Text(text), text, soft_wrap=True)
        table = Table(title=text, box=None)
        table.add_column(text)
        table.add_row(text)
        terminal.print(Group(Text(text), table))
    raw = out.getvalue()
    return re.sub(r"\x1b\[[\d;]*m", "", raw) if colours else raw, raw


CAUSE = Cause("a.time_a", "2 more f (1 → 3)", calls=(Change("f", "calls", 1, 3),), without="valgrind is not installed")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_line_ends_in_blanks_only_on_a_screen(monkeypatch, is_terminal):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    monkeypatch.setattr("sys.stdout", stream)
    Terminal(width=80, color_system=None).print(Group(*cause.lines(CAUSE), Text("")))
    lines = stream.getvalue().split("\n")
    assert lines[0].rstrip() == f"    {CAUSE.sentence}"
    assert any(line.endswith(" ") for line in lines) == is_terminal


def test_styles_stay_where_they_were_beside_an_escape():
    printed, raw = shown_on_terminal("\nx", colours=True)
    assert r"x \nx" in printed
    assert "x \x1b[1;31m\\nx\x1b[0m" in raw


@quickly
@given(HOSTILE)
def test_markdown_has_the_text_and_no_markup_of_it(text):
    wanted = texts.line(text)
    for page, inline in (
        (texts.plain(text), "plain"),
        (f"- x: **{texts.plain(text)}**", "plain"),
        ("\n".join(("| a | b |", "| --- | --- |", f"| {texts.plain(text)} | end |")), "plain"),
        (texts.code(text), "code"),
        ("\n".join(("| a | b |", "| --- | --- |", f"| {texts.code(text)} | end |")), "code"),
        (f"x\n\n{texts.prose(text)}", "prose"),
    ):
        found = list(tokens(page))
        kinds = {token.type for token in found}
        ours = {"paragraph_open", "paragraph_close", "inline", "text", "text_special", "html_inline", "code_inline"}
        ours |= {f"{part}_{end}" for part in ("table", "thead", "tbody", "tr", "th", "td") for end in ("open", "close")}
        ours |= {
            "bullet_list_open",
            "bullet_list_close",
            "list_item_open",
            "list_item_close",
            "strong_open",
            "strong_close",
        }
        assert kinds <= ours, page
        assert (kinds & {"bullet_list_open"} == {"bullet_list_open"}) == page.startswith("- x")
        assert {token.content for token in found if token.type == "html_inline"} <= {
            *("<span>", "</span>", "<code>", "</code>")
        }
        assert sum(token.type == "td_open" for token in found) in (0, 2)
        said = "".join(token.content for token in found if token.type in ("text", "text_special", "code_inline"))
        assert not any(linked(token.content) for token in found if token.type in ("text", "text_special"))
        if inline != "prose":
            assert wanted.strip(" ") in said.replace("\u200b", "")


@quickly
@given(st.lists(HOSTILE, max_size=3))
def test_a_block_of_code_ends_where_it_should(commands):
    (block,) = list(tokens("\n".join(texts.fenced(commands, "sh"))))
    assert (block.type, block.info) == ("fence", "sh")
    assert block.content.splitlines() == list(map(texts.line, commands))


@quickly
@given(HOSTILE, HOSTILE)
def test_a_link_goes_where_it_says(text, rest):
    url = f"https://example.org/{rest}"
    found = [token for token in tokens(f"x {texts.link(text, url)} y") if token.type != "text_special"]
    kinds = [token.type for token in found if token.type != "html_inline"]
    assert kinds.count("link_open") == kinds.count("link_close") == 1
    (link,) = (token for token in found if token.type == "link_open")
    assert link.attrs["href"].startswith("https://example.org/")
    assert texts.address(url).isascii()


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//e.example", "", "https://[x", "file:///x"]
)
def test_only_an_address_of_the_web_becomes_a_link(url):
    assert texts.address(url) == ""
    assert texts.link("a", url) == "`a`"


@quickly
@given(HOSTILE)
def test_a_workflow_command_is_one_line_and_says_the_text(text):
    made = texts.workflow_command("error", text, "second", title=text, file="a,b:c")
    assert len(SEPARATED.split(made)) == 1
    kind, properties, *data = made[2:].replace(" ", "\0", 1).replace("::", "\0", 1).split("\0", 2)
    assert kind == "error"
    known = dict(each.split("=", 1) for each in properties.split(","))
    assert known.keys() == {"title", "file"}
    assert unescaped(known["title"]) == texts.line(text)
    assert unescaped(known["file"]) == "a,b:c"
    assert unescaped("\0".join(data)) == f"{texts.line(text)}\nsecond"


SEPARATED = re.compile("[\r\n]")


def unescaped(text):
    """As GitHub's runner."""
    for code, sign in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, sign)
    return text


@quickly
@given(HOSTILE)
def test_xml_holds_the_text(text):
    case = ElementTree.Element("testcase", name=texts.xml(text))
    case.text = texts.xml(text)
    read = ElementTree.fromstring(ElementTree.tostring(case, encoding="unicode"))
    assert read.get("name") == read.text == "\n".join(map(texts.line, text.split("\n"))) or not text
    assert len(read) == 0


@quickly
@given(HOSTILE)
def test_a_text_without_tags_reads_alike_as_html_and_as_text(text):
    page = Elements(f"<p>{texts.untagged(text)}</p>")
    assert page.tags == ["p"]
    assert texts.untagged(text).replace("\u200b", "") == text.replace("\u200b", "")


def test_a_text_that_begins_no_tag_is_kept():
    assert texts.untagged("a < b <= c << 3 -> d & e") == "a < b <= c << 3 -> d & e"


@quickly
@given(HOSTILE)
def test_a_field_of_a_table_is_no_formula(text):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(map(texts.field, [text, -0.5, None, float("nan"), True]))
    ((read, *others),) = csv.reader(io.StringIO(out.getvalue()))
    assert others == ["-0.5", "", "", "true"]
    assert read.removeprefix("'") == texts.line(text).removeprefix("'")
    assert not read.startswith(("=", "+", "-", "@"))


@quickly
@given(HOSTILE)
def test_html_has_the_text_and_no_element_of_it(text):
    page = Elements(f"<p>{breakable(text)}</p>")
    assert set(page.tags) <= {"p", "wbr"}
    assert page.text == brief(text)
    page = Elements(f"<p>{prose(text)}</p>")
    assert set(page.tags) <= {"p", "code", "wbr"}
    page = Elements(f'<p id="{anchor(text)}" title="x"></p>')
    assert (page.tags, page.attributes) == (["p"], {"id", "title"})
