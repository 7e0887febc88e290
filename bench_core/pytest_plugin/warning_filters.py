"""Warnings of a suite in pytest: shown, and no failures, as in asv."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest


@contextlib.contextmanager
def warnings_shown(config: pytest.Config) -> Iterator[None]:
    """Inside the block, a warning is shown where the project's `filterwarnings` would make an error of it. That setting
    is for the project's tests; asv does not know it. `-W error` and PYTHONWARNINGS hold."""
    asked = (*(config.known_args_namespace.pythonwarnings or ()), *sys.warnoptions)
    if any(option.startswith("error") for option in asked):
        yield
        return
    with warnings.catch_warnings():
        filters = list(warnings.filters)
        warnings.resetwarnings()
        for action, message, category, module, line in reversed(filters):
            shown: Any = ("default" if action == "error" else action, _text(message), category, _text(module), line)
            warnings.filterwarnings(*shown)
        yield


def _text(pattern: re.Pattern[str] | str | None) -> str:
    """A part of a filter as `filterwarnings` takes it. Python's own filters name modules by texts."""
    if pattern is None:
        return ""
    return rf"{re.escape(pattern)}\Z" if isinstance(pattern, str) else pattern.pattern
