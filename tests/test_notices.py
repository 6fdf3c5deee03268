"""The catalogue of notices: whole, each shown by a scenario or a test, and the only one."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from clptools.cli.pages.docs import every_notice
from clptools.core.notices.form import ME, Notice, Slot, pattern, pieces
from clptools.core.notices.requests import CannotLeave

ROOT = Path(__file__).parent.parent
NOTICES = every_notice()
TELLING = 12
"""A template with fewer letters of its own would be found in any text."""
PEOPLE_WRITE = {"clptools/agent/backend.py"}
"""`clplogcmd` records what somebody wrote, with that person's number and level."""


def slots(template: str) -> list[Slot]:
    return [part for _, parts in pieces(template) for part in parts if isinstance(part, Slot)]


@pytest.mark.parametrize("kind", NOTICES, ids=lambda kind: kind.code())
def test_a_notice_is_whole(kind: type[Notice]) -> None:
    facts = {ME, *kind.__struct_fields__}
    entry = kind.entry
    assert {slot.fact for slot in slots(kind.says + kind.hint)} <= facts
    assert set(kind.about) <= facts
    assert (entry.by != "") is not isinstance(entry.number, int)
    assert not entry.by or entry.by in facts
    assert len(entry.modules) == 1 or "module" in facts
    assert all(0 < number <= 65_535 for _, number in entry.places())
    assert kind.__doc__ and kind.__doc__ != Notice.__doc__, "it says what it means"
    told = set(kind.about) | {slot.fact for slot in slots(kind.says + kind.hint)}
    assert facts - told <= {ME, "module", entry.by}, "a fact that nobody hears"


def test_a_code_is_one_notice() -> None:
    assert {code: n for code, n in Counter(kind.code() for kind in NOTICES).items() if n > 1} == {}


def test_a_server_that_cannot_leave_has_a_number_of_its_own() -> None:
    """Alerts pass it on whatever the level, and know what earlier versions told by its place."""
    (place,) = CannotLeave.entry.places()
    assert [kind for kind in NOTICES if place in kind.entry.places()] == [CannotLeave]


def test_nothing_is_recorded_but_by_a_notice() -> None:
    """Numbers and levels stand in the catalogue alone."""
    for path in sorted((ROOT / "clptools").rglob("*.py")):
        where = str(path.relative_to(ROOT))
        if where == "clptools/core/notices/form.py" or where in PEOPLE_WRITE:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            named = node.func.id if isinstance(node.func, ast.Name) else ""
            assert named != "Record", f"{where}:{node.lineno}: a record without a notice"


# ------------------------------------------------------------------ shown


@cache
def scenario_texts() -> tuple[str, ...]:
    """What servers tell in the scenarios, each text once, whatever its numbers are."""
    told = {}
    for path in sorted((ROOT / "tests/scenarios").glob("*.txt")):
        for text in re.findall(r"^ *[\d.]+  \w+: (.+)$", path.read_text(), re.M):
            told.setdefault(re.sub(r"\d+", "0", text), text)
    return tuple(told.values())


@cache
def in_tests() -> tuple[frozenset[str], frozenset[str]]:
    """Names that tests use, and texts that they compare with."""
    names, texts = set(), set()
    for path in (ROOT / "tests").rglob("*.py"):
        if path == Path(__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    return frozenset(names), frozenset(t for t in texts if len(t) >= TELLING)


def words(kind: type[Notice]) -> tuple[str, ...]:
    """Its own words, whatever its facts are named."""
    return tuple(part for _, parts in pieces(kind.says) for part in parts if isinstance(part, str))


ALIKE = Counter(map(words, NOTICES))


def in_a_scenario(kind: type[Notice]) -> bool:
    """Whether a scenario shows it, and no other notice with the same words."""
    own = words(kind)
    if ALIKE[own] > 1 or sum(map(len, own)) < TELLING:
        return False
    looks = pattern(kind)
    return any(looks.match(text) for text in scenario_texts())


def in_a_test(kind: type[Notice]) -> bool:
    """Whether a test names it, or looks for words that only it has."""
    names, texts = in_tests()
    others = "\n".join(word for other in NOTICES if other is not kind for word in words(other))
    mine = [text for text in texts if any(text in word for word in words(kind))]
    return kind.code() in names or any(text not in others for text in mine)


@pytest.mark.parametrize("kind", NOTICES, ids=lambda kind: kind.code())
def test_a_notice_is_shown(kind: type[Notice]) -> None:
    """By a scenario, whose texts are compared, or by a test."""
    assert in_a_test(kind) or in_a_scenario(kind), "no scenario and no test shows it"
