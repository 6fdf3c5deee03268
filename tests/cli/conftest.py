"""Commands run as people run them, against a fake agent behind the real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from clptools.cli.main import run
from tests.api.fake import Agent, socket_path


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Clp = Callable[..., Ran]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node of its own, without an agent."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    monkeypatch.delenv("SUDO_USER", raising=False)
    return tmp_path


@pytest.fixture
def agent(node: Path) -> Iterator[Agent]:
    """The agent of that node."""
    with Agent(socket_path(node)).running() as running:
        yield running


@pytest.fixture
def clp(node: Path, capsys: pytest.CaptureFixture[str]) -> Clp:
    """Runs a command: `clp("clpgrp", "-n", "failover1")`."""

    def clp(name: str, *line: str) -> Ran:
        capsys.readouterr()
        code = run(name, list(line))
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return clp
