"""A pytest plugin that runs the cells named in a file, and writes what pytest collected and what became of them.

A copy of this file is loaded in the environment of a tried suite, so it imports nothing of the project. The environment
variable SAMPLED names a JSON file: ``cells`` are the names to run, and ``found`` is the file to write.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

FOUND: dict[str, Any] = {"cells": 0, "broken": [], "outcomes": {}}


def _asked() -> Any:
    return json.loads(Path(os.environ["SAMPLED"]).read_text())


def _write() -> None:
    Path(_asked()["found"]).write_text(json.dumps(FOUND))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[Any]) -> None:
    cells = [item for item in items if hasattr(item, "cell")]
    wanted = set(_asked()["cells"])
    FOUND["cells"] = len(cells)
    FOUND["broken"] = [item.name for item in items if not hasattr(item, "cell")]
    items[:] = [item for item in cells if item.cell.name in wanted]
    for item in items:
        item.user_properties.append(("sampled", item.cell.name))
    _write()


def pytest_runtest_logreport(report: Any) -> None:
    name = dict(report.user_properties).get("sampled")
    if name is None or (report.when != "call" and report.passed):
        return
    if report.passed:
        said = ["runs", ""]
    elif report.skipped:
        said = ["skipped", str(report.longrepr[2]).removeprefix("Skipped: ")]
    else:
        crash = getattr(report.longrepr, "reprcrash", None)
        said = ["failed", str(crash.message if crash else report.longrepr)]
    FOUND["outcomes"][name] = said
    _write()  # at once, since a cell may end the process
