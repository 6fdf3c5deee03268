"""Every cluster that a test of the core plays is judged by all promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.core.cluster import Cluster


@pytest.fixture(autouse=True)
def _judged() -> Iterator[None]:
    Cluster.open.clear()
    yield
    for cluster in Cluster.open:
        cluster.finish()
