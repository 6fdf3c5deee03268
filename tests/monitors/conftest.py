"""A node of its own below a temporary directory."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def node_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`CLP_ROOT` and a name for this node: nothing here may reach the machine."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    (tmp_path / "run/clptools").mkdir(parents=True)
    return tmp_path
