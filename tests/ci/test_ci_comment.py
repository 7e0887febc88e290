"""The comment on a pull request: its text, and that it stays one."""

import html
import re
from dataclasses import replace

import pytest
from hub import BOT, BROKEN, GREEN, PASSED, RED, SLOWER, TOKEN, UNKNOWN, of, row
from hypothesis import given
from hypothesis import strategies as st

from bench_core.ci import comment
from bench_core.ci.acceptance import Acceptance
from bench_core.ci.comment import Circumstances, body, creates, marker, put, read_stored
from bench_core.ci.github import Api, ApiError
from bench_core.ci.outcome import KINDS
from bench_core.ci.page import page
from bench_core.ci.shown import code, prose
from bench_core.errors import BenchCoreError
from bench_core.records.gate import Asked
from bench_core.records.model import ModelSpec

ABOUT = Circumstances(run="https://github.com/owner/project/actions/runs/1", label="benchmark-ok")
ACCEPTED = Acceptance("maintainer", "2026-01-02T03:04:05Z", "benchmark-ok", "a" * 40)

HOSTILE = [
    "</code></td></table><img src=x onerror=alert(1)>",
    "<!-- bench-core gate 0 -->",
    "-->",
    "a\n\n# markup\n\n[link](https://example.org)",
    "a\r\n::error::forged",
    "\x1b[31mred\x1b[0m",
    "\u202eright to left",
    "@owner #1 GH-1 :tada: owner/project#1",
    "`a` **b** ~~c~~ | d \\| e $$x$$",
    "\ud800",
    "x" * 1000,
]


def test_reds_come_first_and_the_others_fold():
    text = body(RED, ABOUT)
    assert text.splitlines()[0] == marker("")
    assert "❌ bench-core: 1 cell slower" in text
    folded = text.index("<details><summary>2 other cells: 1 inconclusive, 1 pass")
    assert text.index(SLOWER.name) < text.index("64 more calls") < folded < text.index(PASSED.name)
    assert text.index(UNKNOWN.name) < text.index(PASSED.name)


def test_a_cell_that_fails_stands_beside_those_that_are_slower():
    text = body(of(SLOWER, BROKEN, PASSED, verdict="regression", exit_code=1), ABOUT)
    assert "❌ bench-core: 1 cell slower, 1 cell failing with head only" in text
    assert max(text.index(SLOWER.name), text.index(BROKEN.name)) < text.index("<details>")


def test_a_cell_of_memory_is_called_larger_or_smaller():
    larger, smaller = (replace(row(kind, f"a.peakmem_{kind}"), is_timed=False) for kind in ("slower", "faster"))
    text = body(of(SLOWER, larger, smaller, verdict="regression", exit_code=1), ABOUT)
    assert "❌ bench-core: 2 cells slower or larger" in text
    assert "<details><summary>1 other cell: 1 smaller</summary>" in text
    assert re.findall("</code></td><td>(\\w+)</td>", text) == ["slower", "larger", "smaller"]


def test_a_regression_of_no_single_cell_is_told_in_the_words_of_the_gate():
    reason = "since v1.2, 1 of 1 cell slower, most of all: a, at least +3 %"
    assert f"<p>{reason}</p>" in body(of(PASSED, verdict="regression", exit_code=1, reason=reason), ABOUT)
    assert reason not in body(of(SLOWER, verdict="regression", exit_code=1, reason=reason), ABOUT)


def test_what_to_run_locally_is_made_of_hashes_and_quoted_names():
    text = body(replace(RED, rows=(row("slower", "a.time_x('$(id)')"),)), ABOUT)
    (block,) = re.findall("<pre>(.*)</pre>", text)
    fetch, gate = html.unescape(block).split("\n")
    assert fetch == f"git fetch origin {'a' * 40}"
    expected = "bench-core gate bbbbbbbbbbbb aaaaaaaaaaaa --fresh --bench "
    assert gate.startswith(expected)
    assert gate.removeprefix(expected).startswith("'^a\\.time_x\\('\"'\"'\\$\\(id\\)'\"'\"'\\)$'")


@pytest.mark.parametrize(
    ("asked", "is_fork", "options"),
    [
        (Asked(), False, ""),
        (Asked(isolated=True, handed_on=("PROXY",)), False, " --isolated --env PROXY"),
        (Asked(handed_on=("SECRET",)), True, " --isolated"),
    ],
    ids=["usual", "isolated", "of a fork, whose file may say anything"],
)
def test_what_to_run_locally_is_as_confined_as_what_was_run(asked, is_fork, options):
    text = body(replace(RED, asked=asked), replace(ABOUT, is_fork=is_fork))
    (block,) = re.findall("<pre>(.*)</pre>", text)
    assert f"bench-core gate bbbbbbbbbbbb aaaaaaaaaaaa{options} --fresh" in html.unescape(block)


def test_a_model_has_a_comment_and_a_command_of_its_own():
    text = body(replace(RED, model=ModelSpec("nets:build", input="2x4")), ABOUT)
    assert text.splitlines()[0] == marker("", "", ["--model", "nets:build", "--input", "2x4"])
    assert text.splitlines()[0] != marker("")
    assert "bench-core: 1 cell slower in <code>nets:build</code>" in text
    (block,) = re.findall("<pre>(.*)</pre>", text)
    assert "bench-core gate bbbbbbbbbbbb aaaaaaaaaaaa --model nets:build --input 2x4 --fresh" in html.unescape(block)


def test_a_name_that_does_not_print_is_in_no_command():
    text = body(replace(RED, rows=(row("slower", "a.time_\u202ex"),)), ABOUT)
    (block,) = re.findall("<pre>(.*)</pre>", text)
    assert html.unescape(block).split("\n")[1:] == ["bench-core gate bbbbbbbbbbbb aaaaaaaaaaaa"]


TAG = re.compile(r"</?(\w+)[^<>]*>")
OURS = {"h3", "p", "table", "tr", "th", "td", "code", "details", "summary", "pre", "ul", "li", "sub", "a", "b", "span"}


def shapes(text):
    """The lines of a comment without what stands in them: their tags, in order."""
    return [TAG.findall(line) for line in text.splitlines()]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_changes_no_tag_and_no_line(text):
    def comment_of(word):
        cells = [
            row(kind, word, change=word, base=word, head=word, why=word)
            for kind in ("broken", "slower", "unknown", "failed", "faster", "passed")
        ]
        texts = dict.fromkeys(("suite", "job", "bench", "reason"), word)
        found = of(*cells, verdict="regression", exit_code=1, notes=(word, word), **texts)
        about = replace(ABOUT, refused=word, is_fork=True, changed=(word,))
        return body(found, about), page(found), body(replace(found, exit_code=2), about)

    for hostile, plain in zip(comment_of(text), comment_of("plain words"), strict=True):
        ours = re.sub(r"<pre>.*</pre>|</?span>", "", hostile)
        assert shapes(ours) == shapes(re.sub(r"<pre>.*</pre>", "", plain))
        assert {name for line in shapes(hostile) for name in line} <= OURS | {
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
        }
        assert "" not in hostile.splitlines()[:-1]  # a blank line would end the HTML
        assert all(line.isprintable() for line in hostile.splitlines())
        hostile.encode()


@given(st.text(max_size=30))
def test_any_text_is_one_line_of_html_without_links(text):
    for shown in (code(text), prose(text)):
        assert shown.isprintable()
        assert not re.search(r"<(?!/?(code|span)>)", shown)
    assert not re.search(r"[@#]\w", prose(text).replace("&#8203;", "\u200b").replace("&#", ""))


def test_a_comment_is_shorter_than_github_allows():
    cells = [row("slower", "<" * 200, why="<" * 600)] * 500 + [row("passed", "<" * 200, why="&" * 600)] * 500
    text = body(of(*cells, verdict="regression", exit_code=1, notes=("<" * 1000,) * 50), ABOUT)
    assert len(text) <= 65_536
    assert re.search("and [0-9]+ more", text)


def test_an_accepted_regression_names_who_accepted_it_and_is_kept_in_the_comment():
    text = body(RED, replace(ABOUT, accepted=ACCEPTED))
    assert "✅ bench-core: the regression is accepted" in text
    assert "Accepted by <b>maintainer</b>" in text
    kept = read_stored(text)
    assert (kept.by, kept.commit, kept.base, kept.label) == ("maintainer", "a" * 40, "b" * 40, "benchmark-ok")
    assert [(cell.name, cell.change) for cell in kept.cells] == [(SLOWER.name, SLOWER.change)]
    assert read_stored(body(RED, ABOUT)) is None


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_kept_in_the_comment_cannot_end_its_line(text):
    found = replace(RED, rows=(row("slower", text, change=text),))
    second = body(found, replace(ABOUT, accepted=ACCEPTED)).splitlines()[1]
    assert second.count("<") == second.count(">") == 1
    assert second.count("--") == 2
    assert read_stored(f"{marker('')}\n{second}").by == "maintainer"


@pytest.mark.parametrize("text", ["", "x", "<!-- bench-core gate 1 -->\n<!-- bench-core accepted {} -->", "\n\n"])
def test_a_comment_without_an_acceptance_has_none(text):
    assert read_stored(text) is None


def test_how_a_regression_is_accepted_is_said_only_where_a_label_helps():
    assert "the label <code>benchmark-ok</code> accepts it" in body(RED, ABOUT)
    assert "accepts it" not in body(GREEN, ABOUT)
    assert "accepts it" not in body(RED, replace(ABOUT, label=""))
    refused = body(RED, replace(ABOUT, refused="The label was put on an earlier commit."))
    assert "earlier commit" in refused
    assert "❌" in refused


def test_the_code_of_a_stranger_and_a_change_of_the_workflow_are_named():
    text = body(GREEN, replace(ABOUT, is_fork=True, changed=(".github/workflows/a.yml",)))
    assert "a job that runs the code of this pull request" in text
    assert "changes how it is measured: <code>.github/workflows/a.yml</code>" in text


@pytest.fixture
def api(github):
    return Api(github.address, "owner/project", TOKEN)


def test_the_comment_is_created_once_and_edited_from_then_on(github, api):
    github.comment("what others say", {"login": "someone", "type": "User"})
    assert put(api, 12, body(RED, ABOUT)) == "created"
    assert put(api, 12, body(RED, ABOUT)) == "unchanged"
    assert put(api, 12, body(GREEN, ABOUT)) == "edited"
    assert [one["body"] for one in github.comments] == ["what others say", body(GREEN, ABOUT)]


def test_each_suite_has_a_comment_of_its_own(github, api):
    for suite in ("a/asv.conf.json", "b/asv.conf.json", "a/asv.conf.json"):
        put(api, 12, body(replace(GREEN, suite=suite), ABOUT))
    assert len(github.comments) == 2


def test_each_job_of_a_matrix_has_a_comment_of_its_own(github, api):
    for job in ("3.13", "3.14", "3.13"):
        put(api, 12, body(replace(RED, job=job), ABOUT))
    assert len(github.comments) == 2
    assert "1 cell slower in job <code>3.13</code></h3>" in github.comments[0]["body"]
    both = body(replace(RED, suite="b/asv.conf.json", job="3.14"), ABOUT)
    assert "slower in <code>b/asv.conf.json</code>, job <code>3.14</code></h3>" in both


def test_each_choice_of_cells_has_a_comment_of_its_own(github, api):
    for bench in ("a|b", "c", "a|b", ""):
        put(api, 12, body(replace(GREEN, bench=bench), ABOUT))
    assert [one["body"].splitlines()[0] == marker("") for one in github.comments] == [False, False, True]
    first = html.unescape(github.comments[0]["body"])
    assert "no cell slower in <code>--bench 'a|b'</code></h3>" in first
    assert "bench-core gate bbbbbbbbbbbb aaaaaaaaaaaa --bench 'a|b'</pre>" in first


def test_the_comments_on_a_pull_request_are_limited_whatever_jobs_a_run_names(github, api):
    for job in range(comment.MOST):
        put(api, 12, body(replace(RED, job=f"job {job}"), ABOUT))
    with pytest.raises(ApiError, match="has 20 comments of bench-core"):
        put(api, 12, body(replace(RED, job="another"), ABOUT))
    assert put(api, 12, body(replace(GREEN, job="job 3"), ABOUT)) == "edited"
    assert len(github.comments) == comment.MOST


@pytest.mark.parametrize(
    "user",
    [
        {"login": "stranger", "type": "User"},
        {"login": "github-actions[bot]", "type": "User"},
        {"login": "x", "type": "Bot"},
    ],
)
def test_a_comment_of_another_with_our_marker_is_not_edited(github, api, user):
    github.comment(f"{marker('')}\nmine", user)
    assert put(api, 12, body(RED, ABOUT)) == "created"
    assert github.comments[0]["body"].endswith("mine")


def test_the_comment_is_found_behind_many_others(github, api):
    for number in range(250):
        github.comment(f"comment {number}", BOT)
    put(api, 12, body(RED, ABOUT))
    assert put(api, 12, body(GREEN, ABOUT)) == "edited"
    assert len(github.comments) == 251


def test_a_plain_pass_creates_no_comment_if_only_changes_are_wanted(github, api):
    assert creates("always", GREEN)
    assert not creates("changes", GREEN)
    assert creates("changes", RED)
    assert not creates("never", RED)
    with pytest.raises(BenchCoreError, match="not one of always, changes, never"):
        creates("yes", RED)
    assert put(api, 12, body(GREEN, ABOUT), create=False) == "none"
    put(api, 12, body(RED, ABOUT))
    assert put(api, 12, body(GREEN, ABOUT), create=False) == "edited"


def test_a_refusal_of_github_is_an_error_without_the_token(github, api):
    github.refused.add("issues")
    with pytest.raises(ApiError, match="answers 403 .* Resource not accessible") as caught:
        put(api, 12, body(RED, ABOUT))
    assert caught.value.status == 403
    assert TOKEN not in str(caught.value) + repr(api)


@pytest.mark.parametrize(
    ("address", "repository", "token"),
    [
        ("http://example.org", "owner/project", TOKEN),
        ("file:///etc", "owner/project", TOKEN),
        ("https://api.github.com", "owner/project/../x", TOKEN),
        ("https://api.github.com", "owner/project", ""),
    ],
)
def test_an_api_that_cannot_be_trusted_is_refused(address, repository, token):
    with pytest.raises(BenchCoreError):
        Api(address, repository, token)


def test_a_server_that_is_gone_is_an_error(api, github):
    with pytest.raises(ApiError, match="cannot be reached"):
        Api("http://127.0.0.1:9", "owner/project", TOKEN).get("pulls")


def test_the_page_loads_and_runs_nothing():
    text = page(RED)
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|link|img|iframe|form)|\son\w+=|javascript:", text)
    assert PASSED.name in text


def test_a_word_for_each_kind():
    words = [comment._word(kind, []) for kind in (*comment.RED, *comment.OTHERS)]
    assert len(set(words)) == len(KINDS)
