"""A pytest plugin for cells that are only checked: they share their ranks, since a start takes longer than a check."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench_core.suite import ranks


@pytest.fixture(autouse=True, scope="session")
def cells_share_ranks() -> Iterator[None]:
    with ranks.shared():
        yield
