"""Every story in tests/scenarios is told as it was written, and breaks no promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from clptools.core.node import Node
from clptools.sim.scenario import run

FILES = sorted((Path(__file__).parent.parent / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_scenario(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text()
    assert text.startswith("# "), f"{path.name}: begins with a comment that says what is proved"
    result = run(text, Node, Node.restore)
    if request.config.getoption("--rewrite"):
        path.write_text(result.text)
    assert set(result.violated) == set(result.expected)
    assert result.text == path.read_text()
