"""A suite, a branch and commits whose texts try to be more than text, through every door."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from hostile import Elements, commands, linked, tokens

EVIL = (
    "\n::error::boom\r::set-output name=verdict::pass\n##[error]boom\x1b[31m\x1b]0;title\x07\x9b2J\u202e\u2066\ud800\0"
    "<img src=x onerror=alert(1)></script><script>alert(2)</script>]]>&lt;|`*_~[link](javascript:alert(3))"
    "![i](http://e.example/i.png) @octocat fixes #1 https://e.example www.e.example [bold red]red[/] :tada: $x$ "
    "../../up"
)
"""Everything at once."""

SHOWN = "verdict::pass"
"""A part of it that is in every output, if it arrives."""

CASES = """
import sys
import warnings

import thing

EVIL = {evil}

print(EVIL)
print("::warning::printed as it is imported", file=sys.stderr)
warnings.warn(EVIL)


class Value:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


class Call:
    params = [[Value(EVIL), Value("=1+1"), Value("x" * {length}), Value("x" * ({length} - 1) + "y")], [10]]
    param_names = ["image", EVIL]


    def time_value(self, value, size):
        thing.value()

    time_value.pretty_name = EVIL
    time_value.benchmark_name = "=cases<b>|\\n::error::.time_value"

    def track_value(self, value, size):
        return 1.5 * size

    track_value.unit = EVIL

    def time_failing(self, value, size):
        print(EVIL.replace("\\ud800", ""))
        raise RuntimeError(EVIL)


def time_fails_with_head():
    thing.fail(EVIL)


def time_skipped():
    pass


def skip():
    raise NotImplementedError(EVIL)


time_skipped.setup = skip


class Missing:
    def why_not(self):
        return EVIL

    def time_missing(self):
        pass
"""

BROKEN = "raise RuntimeError({evil})\n"

BRANCH = "a<img/src=x>|`b`$(id)'@octocat\u202e#1"
"""git allows no white space, no controls and no colons in a name."""

MESSAGE = EVIL.replace("\0", "").replace("\ud800", "").replace("\n", " ").replace("\r", " ")


@pytest.fixture(scope="module", params=[20_000, pytest.param(1_000_000, marks=pytest.mark.thorough)])
def project(repositories, tmp_path_factory, request):
    found = repositories.new(tmp_path_factory.mktemp("hostile"))
    found.configure(project=MESSAGE, show_commit_url="https://e.example/>)<img src=x>|/", benchmark_dir="cases")
    files = {
        "thing/__init__.py": "def value():\n    pass\n\n\ndef fail(text):\n    pass\n",
        "cases/__init__.py": "",
        "cases/calls.py": CASES.format(evil=ascii(EVIL), length=request.param),
        "cases/broken.py": BROKEN.format(evil=ascii(EVIL)),
        "cases/na\x1b[31mme\n::error::.py": "def time_it():\n    pass\n",
        ".gitignore": ".asv/\nresults/\n*.json\n*.csv\n*.md\n*.html\n*.xml\n!asv.conf.json\n__pycache__/\n",
    }
    found.commit(files, message=MESSAGE)
    found.git("checkout", "-q", "-b", BRANCH)
    failing = files["thing/__init__.py"].replace("fail(text):\n    pass", "fail(text):\n    raise RuntimeError(text)")
    found.commit({"thing/__init__.py": failing}, message=f"{MESSAGE} again")
    return found


def call(project, *arguments, **variables):
    """Run a command as a step of a job, and return its exit code and what it wrote. Nothing of it is a command but the
    annotations of the gate."""
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", *arguments],
        cwd=project.root,
        env={**os.environ, "GITHUB_ACTIONS": "true", "PYTHONDONTWRITEBYTECODE": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        written = [stream.decode() for stream in process.communicate(timeout=100)]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGABRT)
        pytest.fail(str(process.communicate()[1]))
    for text in written:
        assert all(sign.isprintable() or sign == "\n" for sign in text), text
        assert "Traceback (most recent call last)" not in text, text
        ours = re.compile(r"::(error|warning) title=bench-core gate(%3A [^:,]*)?::[^\n]*")
        assert [line for line in commands(text) if not ours.fullmatch(line)] == []
        assert all(len(line) < 10_000 for line in text.splitlines())
    return process.returncode, *written


def markup(page):
    """The tokens of Markdown that are neither text, nor a table, nor what our own pages have."""
    found = list(tokens(page))
    ours = (
        "(text|text_special|inline|code_inline|code_block|fence|softbreak|hardbreak)"
        "|(heading|paragraph|table|thead|tbody|tr|th|td|bullet_list|list_item|strong)_(open|close)"
    )
    html = {"<details>", "</details>", "<summary>", "</summary>", "<code>", "</code>", "<span>", "</span>"}
    assert not any(linked(token.content) for token in found if token.type in ("text", "text_special"))
    return [
        token
        for token in found
        if not re.fullmatch(ours, token.type)
        and not (token.type.startswith("html_") and set(re.findall(r"<[^>]*>", token.content)) <= html)
    ]


def test_list_prints_text(project):
    code, said, complaints = call(project, "bench_core", "list")
    assert code == 1  # a module does not import
    assert len(said.splitlines()) == 16
    assert SHOWN in said
    assert SHOWN in complaints
    name = said.splitlines()[0]
    _, again, _ = call(project, "bench_core", "list", name)  # what is printed can be typed back
    assert again.splitlines() == [name]


def test_pytest_prints_text(project):
    _, said, _ = call(project, "pytest", "cases", "--junitxml=pytest.xml", "-ra", "-p", "no:cacheprovider")
    assert SHOWN in said
    names = [case.get("name") for case in ElementTree.parse(project.root / "pytest.xml").iter("testcase")]
    assert len(names) == 17
    assert all(name.isprintable() for name in names)


@pytest.fixture(scope="module")
def gated(project):
    """What the gate prints and writes, with an explanation."""
    files = "--json", "gate.json", "--markdown", "gate.md", "--junit", "gate.xml"
    code, said, complaints = call(
        project, "bench_core", "gate", "main", BRANCH, "--full", "--lanes", "1", "--budget", "8s", *files
    )
    assert code in (0, 1, 2), said + complaints  # 2 if a busy machine decides nothing in this time
    return said


def test_a_gate_prints_text_and_annotates_text(gated):
    assert SHOWN in gated
    assert re.search("(?m)^::(error|warning) title=bench-core gate", gated)


def test_a_gate_writes_text(project, gated):
    page = (project.root / "gate.md").read_text()
    assert SHOWN in page
    assert markup(page) == []
    assert len(page) < 65_536
    for case in ElementTree.parse(project.root / "gate.xml").iter():
        assert set(case.keys()) <= {
            *("name", "classname", "time", "tests", "failures", "errors", "skipped", "timestamp"),
            *("value", "message", "type"),
        }
        assert all(len(value) < 5_000 and value.isprintable() for value in case.attrib.values())
    content = strictly(project.root / "gate.json")
    assert any(cell["name"].endswith("(=1+1, 10)") for cell in content["cells"])


def strictly(path):
    def refused(constant):
        raise ValueError(constant)

    return json.loads(path.read_text(), parse_constant=refused)


@pytest.fixture(scope="module")
def measured(project):
    """A run of two commits, with a few cells."""
    project.git("checkout", "-q", "main")
    for _ in range(2):
        code, said, complaints = call(
            project,
            "bench_core",
            "run",
            "=1|time_failing|skipped|missing|.\n",
            "--budget",
            "1s",
            "--json",
            "run.json",
            "--csv",
            "run.csv",
            PYTHONPATH=os.pathsep.join([str(project.root), *sys.path]),
        )
        assert code == 1, said + complaints
        project.git("checkout", "-q", BRANCH)
    return said, complaints


def test_a_run_prints_text_and_writes_text(project, measured):
    assert all(SHOWN in text for text in measured)
    assert strictly(project.root / "run.json")["schema"] == 1
    assert harmless_table(project.root / "run.csv")
    _, said, _ = call(project, "bench_core", "show")
    assert SHOWN in said


def harmless_table(path):
    rows = list(csv.reader(path.read_text().splitlines()))
    assert len({len(row) for row in rows}) == 1
    assert all(field.isprintable() for row in rows for field in row)
    assert not any(field.startswith(("=", "@", "+")) for row in rows for field in row)
    return rows[0]


def test_a_comparison_prints_text_and_writes_text(project, measured):
    files = "--json", "compared.json", "--markdown", "compared.md", "--csv", "compared.csv"
    code, said, complaints = call(project, "bench_core", "compare", "main", BRANCH, "--verbose", *files)
    assert code == 0, said + complaints
    assert markup((project.root / "compared.md").read_text()) == []
    strictly(project.root / "compared.json")
    assert harmless_table(project.root / "compared.csv")


@pytest.mark.parametrize("form", ["markdown", "json", "csv", "html"])
def test_a_report_has_text(project, measured, form):
    path = project.root / f"report.{form.replace('markdown', 'md')}"
    code, said, complaints = call(project, "bench_core", "report", "--format", form, "-o", path)
    assert code == 0, said + complaints
    if form == "markdown":
        links = [token for token in markup(path.read_text()) if token.type != "link_close"]
        assert {link.attrs["href"].split("%3E")[0] for link in links} == {"https://e.example/"}
    if form == "json":
        strictly(path)
    if form == "csv":
        assert harmless_table(path)
    if form == "html":
        page = Elements(path.read_text())
        assert all(sign.isprintable() or sign == "\n" for sign in page.text)
        assert not {"img", "b", "object", "iframe", "!--"} & set(page.tags)
        assert page.tags.count("script") == 4
        assert SHOWN in page.text
        assert not {name for name in page.attributes if name.startswith("on")}


def test_the_pages_of_asv_draw_text(project, measured):
    """Its pages take these for HTML."""
    declared = strictly(project.root / "results/benchmarks.json")
    known = [one for one in declared.values() if isinstance(one, dict)]
    drawn = [str(one[key]) for one in known for key in ("code", "unit", "pretty_name", "param_names") if one.get(key)]
    assert any("<\u200bimg src=x" in text for text in drawn)
    assert all(Elements(text).tags == [] for text in drawn)


def test_results_are_in_files_with_plain_names(project, measured):
    names = [path.name for path in (project.root / "results").rglob("*")]
    assert len(names) > 5
    assert all(re.fullmatch(r"[\w.+-]+", name) for name in names)
