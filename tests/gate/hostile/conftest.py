import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from sides import CALL, LOOP


@pytest.fixture
def attacked(tmp_path, monkeypatch, repositories):
    """Runs the command `bench-core gate` on a head, as another process, in a repository of its own."""
    root = tmp_path / "repository"
    made = repositories(root)
    repositories.new(
        root,
        {
            "thing/__init__.py": LOOP.format(2000),
            "cases_thing/__init__.py": "",
            "cases_thing/calls.py": CALL,
            ".gitignore": ".asv/\nresults/\n",
        },
    )
    made.configure()
    base = made.commit()
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    for folder in (home, temporary):
        folder.mkdir()

    def run(head, *options, budget="6s", variables=None, base=base, prefix=()):
        made.git("checkout", "-q", "-B", "head", base)
        made.commit(head if isinstance(head, dict) else {"thing/__init__.py": head})
        json_file = tmp_path / "gate.json"
        command = [sys.executable, "-m", "bench_core", "gate", "main", "head", "--budget", budget, "--lanes", "1"]
        found = subprocess.run(
            [*prefix, *command, "--all", "--noise-floor", "30%", "--limit", "60%", "--json", json_file, *options],
            cwd=root,
            env={**os.environ, "HOME": str(home), "TMPDIR": str(temporary), **(variables or {})},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        record = json.loads(json_file.read_text()) if json_file.exists() else {}
        return SimpleNamespace(
            code=found.returncode,
            said=found.stdout + found.stderr,
            record=record,
            verdict=record.get("verdict"),
            ratios=[one["head"] / one["base"] for cell in record.get("cells", ()) for one in cell["effects"]],
            left=list(temporary.iterdir()),
        )

    return SimpleNamespace(run=run, repository=made, base=base, home=home, temporary=temporary, loop=LOOP.format)
