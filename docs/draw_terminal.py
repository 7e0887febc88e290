"""Draw docs/images/gate.svg, the README's picture of a terminal, from the output of a real gate.

    python docs/draw_terminal.py            # replay the stored gate, docs/images/gate.json, and draw its output
    python docs/draw_terminal.py --measure  # measure that gate again first: half a minute

The gate runs in a clone of this repository, in which one initializer has got a temporary too many.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parent.parent
STORED = ROOT / "docs" / "images" / "gate.json"
PICTURE = STORED.with_suffix(".svg")

GATE = "gate main --bench 'NotebookNet|InPlace.*normal_, 8x4' --quick"

INITIALIZER = Path("bench_core/suite/initializers.py")
AS_IT_IS = "    module.weight.data *= module.weight.data.abs() >= 5"
WITH_A_TEMPORARY = "    module.weight.data *= module.weight.data.clone().abs() >= 5"

COLUMNS = 116
"""As wide as the longest line of the output, since the picture cuts off what is longer."""

# The format of rich loads a font from the internet, which a browser refuses inside a page.
FORMAT = re.sub(r"@font-face {{.*?}}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def measure() -> None:
    """Run the gate and store it. It exits with 1, since it finds the slowdown."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "bench_core"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        subprocess.run(["git", "checkout", "--quiet", "-B", "main"], cwd=clone, check=True)
        source = (clone / INITIALIZER).read_text()
        if source.count(AS_IT_IS) != 1:
            raise SystemExit(f"draw_terminal: {INITIALIZER} has no line {AS_IT_IS.strip()!r} to change.")
        (clone / INITIALIZER).write_text(source.replace(AS_IT_IS, WITH_A_TEMPORARY))
        found = subprocess.run([*bench_core(GATE), "--json", STORED], cwd=clone, check=False)
    if found.returncode != 1:
        raise SystemExit(f"draw_terminal: the gate exited with {found.returncode}, and not with 1 for a regression.")


def draw() -> None:
    """Replay the gate as in a terminal with colours, and store its lines as a picture."""
    replay = subprocess.run(
        [*bench_core("gate --replay"), STORED],
        cwd=ROOT,
        env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)},
        capture_output=True,
        text=True,
        check=False,
    )
    if replay.returncode != 1:
        raise SystemExit(f"draw_terminal: the replay exited with {replay.returncode}: {replay.stderr}")
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, highlight=False)
        console.print(Text.assemble(("$ ", "bold green"), f"bench-core {GATE}"))
        console.print(Text.from_ansi(replay.stdout))
        console.save_svg(str(PICTURE), title="bench-core gate", theme=MONOKAI, code_format=FORMAT, unique_id="gate")


def bench_core(arguments: str) -> list[str]:
    return [sys.executable, "-m", "bench_core", *shlex.split(arguments)]


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--measure", action="store_true", help="measure the gate again, before it is drawn")
    if options.parse_args().measure:
        measure()
    draw()
