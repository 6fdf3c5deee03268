"""Every input that the fuzzers begin with, or once found a fault by, passes its harness."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harnesses import HARNESSES

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(CORPUS.glob("*/*"))
MOST_BYTES = 300_000
"""Of the whole corpus in the repository."""


def test_each_harness_has_inputs_and_all_of_them_are_small() -> None:
    assert {path.parent.name for path in INPUTS} == set(HARNESSES)
    assert sum(path.stat().st_size for path in INPUTS) < MOST_BYTES


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_input_raises_nothing_but_what_is_documented(path: Path) -> None:
    HARNESSES[path.parent.name](path.read_bytes())
