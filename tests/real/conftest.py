"""The cluster that most tests with real agents begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real.cluster import Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two configured servers whose agents do not run yet; a group never runs on both."""
    with Cluster() as made:
        made.configure()
        yield made
        made.assert_never_two()
