"""An agent with a fake backend for every test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clptools.api.connection import Limits
from tests.api.fake import Agent, socket_path

QUICK = Limits(idle_s=5.0, frame_s=0.3, write_s=0.3)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """An agent whose limits are short, so that tests of them are."""
    with Agent(socket_path(tmp_path), QUICK).running() as running:
        yield running
