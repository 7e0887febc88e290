"""Draw docs/images/ci-comment.png and docs/images/ci-summary.png, the pictures of docs/ci.md, from a real gate.

    python docs/draw_ci.py            # draw them from the stored gate, docs/images/ci-gate.json
    python docs/draw_ci.py --measure  # measure that gate again first: a minute

The gate compares two commits of a clone of this repository. In the second one, an initializer has got a temporary too
many. cmark-gfm, GitHub's own renderer, makes HTML of the Markdown, and Chromium draws it. The signs need the
font of fonts-noto-color-emoji.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import cmarkgfm
from cmarkgfm.cmark import Options
from draw_terminal import AS_IT_IS, INITIALIZER, WITH_A_TEMPORARY, bench_core
from playwright.sync_api import sync_playwright

from bench_core.asv_config import USUAL
from bench_core.ci.comment import Circumstances, body
from bench_core.ci.outcome import outcome
from bench_core.cli.gate.finish import commands
from bench_core.gate.judge.gate import judge
from bench_core.records.version import Commit
from bench_core.report.gate import markdown
from bench_core.results import gate_file

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
STORED = IMAGES / "ci-gate.json"

GATE = (
    "gate main slower --bench 'NotebookNet|InPlace.*(normal_|zeros_), (8x4|1024x1024)' --quick --explain --budget 180s"
)

STYLE = """
body { margin: 0; padding: 16px; background: #fff; color: #1f2328; font: 14px/1.5 -apple-system, "Segoe UI",
       "Noto Sans", Helvetica, Arial, sans-serif; }
.box { border: 1px solid #d1d9e0; border-radius: 6px; width: 880px; }
.head { background: #f6f8fa; border-bottom: 1px solid #d1d9e0; border-radius: 6px 6px 0 0; padding: 8px 16px;
        color: #59636e; }
.head b { color: #1f2328; }
.head i { border: 1px solid #d1d9e0; border-radius: 2em; padding: 0 6px; font-size: 12px; font-style: normal; }
.text { padding: 16px; overflow-wrap: break-word; }
.text > :first-child { margin-top: 0; }
.text > :last-child { margin-bottom: 0; }
h2 { font-size: 1.5em; border-bottom: 1px solid #d1d9e0; padding-bottom: .3em; margin: 24px 0 16px; }
h3 { font-size: 1.25em; margin: 24px 0 16px; }
p, table, details, ul, pre { margin: 0 0 16px; }
table { border-collapse: collapse; display: block; width: max-content; max-width: 100%; overflow: auto; }
th, td { border: 1px solid #d1d9e0; padding: 6px 13px; text-align: left; }
tr:nth-child(2n) { background: #f6f8fa; }
code, pre { font: 12px ui-monospace, SFMono-Regular, "Liberation Mono", Menlo, monospace; background: #818b981f;
            border-radius: 6px; }
code { padding: .2em .4em; }
pre { padding: 16px; overflow: auto; line-height: 1.45; background: #f6f8fa; }
pre code { background: none; padding: 0; }
a { color: #0969da; text-decoration: none; }
"""


def measure() -> None:
    """Run the gate and store it. It exits with 1, since it finds the slowdown."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "bench_core"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        identity = ["-c", "user.name=bench_core", "-c", "user.email=bench_core@example.org"]
        for arguments in (["checkout", "--quiet", "-B", "main"], ["checkout", "--quiet", "-b", "slower"]):
            subprocess.run(["git", *arguments], cwd=clone, check=True)
        source = (clone / INITIALIZER).read_text()
        (clone / INITIALIZER).write_text(source.replace(AS_IT_IS, WITH_A_TEMPORARY))
        message = ["--all", "--quiet", "--message", "A temporary too many"]
        subprocess.run(["git", *identity, "commit", *message], cwd=clone, check=True)
        found = subprocess.run([*bench_core(GATE), "--json", STORED], cwd=clone, check=False)
    if found.returncode != 1:
        raise SystemExit(f"draw_ci: the gate exited with {found.returncode}, and not with 1 for a regression.")


def texts() -> dict[str, str]:
    """The Markdown of the comment, and of the job's summary."""
    record = gate_file.read(STORED)
    verdict = judge(record)
    assert isinstance(record.base, Commit)
    assert isinstance(record.head, Commit)
    found = outcome("", record.base.hash, record.head.hash, 1, record, verdict)
    about = Circumstances(run="https://github.com/owner/project/actions/runs/1", label="benchmark-ok")
    return {"ci-comment": body(found, about), "ci-summary": markdown(record, verdict, commands(record, USUAL))}


def rendered(text: str) -> str:
    """Markdown as GitHub renders it."""
    extensions = ["table", "strikethrough", "autolink", "tagfilter"]
    return str(cmarkgfm.markdown_to_html_with_extensions(text, options=Options.CMARK_OPT_UNSAFE, extensions=extensions))


HEADS = {
    "ci-comment": "<b>github-actions</b> <i>bot</i> commented 3 minutes ago",
    "ci-summary": "<b>gate</b> summary",
}


def draw() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 920, "height": 600}, device_scale_factor=1.5)
        for name, text in texts().items():
            head = f'<div class="head">{HEADS[name]}</div>'
            box = f'<div class="box">{head}<div class="text">{rendered(text)}</div></div>'
            page.set_content(f"<!doctype html><style>{STYLE}</style>{box}")
            page.locator(".box").screenshot(path=IMAGES / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure the gate again first")
    if parser.parse_args().measure:
        measure()
    draw()
