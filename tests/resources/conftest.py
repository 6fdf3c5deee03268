"""A node of its own below a temporary directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

MakeScript = Callable[[str, str], str]


@pytest.fixture(autouse=True)
def node_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`CLP_ROOT` and a name for this node."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    return tmp_path


@pytest.fixture
def make_script(node_root: Path) -> MakeScript:
    """Write an executable shell script; returns its path."""

    def make(name: str, body: str) -> str:
        path = node_root / "etc/clptools/scripts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(0o755)
        return str(path)

    return make
