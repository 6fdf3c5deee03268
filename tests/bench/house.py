"""The house: modules and lines by room, who asks whom in the core, long functions."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

from tests.bench.report import Row, Section
from tests.test_architecture import CORE_ROOMS, core_imports

ROOT = Path(__file__).parent.parent.parent
BEFORE = "bd27553"
"""The last commit whose core was one object in one folder."""
LONG = 60
_ASKS = re.compile(r"\bnode\.(\w+)\.\w")


def measure() -> Section:
    """Counts only: the machine does not matter."""
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["git", "archive", BEFORE, "clptools"], cwd=ROOT, stdout=subprocess.PIPE, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        before = Path(folder) / "clptools"
        now = ROOT / "clptools"
        rows = [
            _beside("modules of the package", _modules(before), _modules(now)),
            _beside("modules of the core", _modules(before / "core"), _modules(now / "core")),
            _beside("lines of the package", _lines(before), _lines(now)),
            _beside("lines of the core", _lines(before / "core"), _lines(now / "core")),
            _beside(f"functions over {LONG} lines", len(_long(before)), len(_long(now)), "no more"),
            _beside("parts of the core that take all of it", _whole(before), _whole(now), "none"),
        ]
    down, within, up = _edges()
    rows.append(
        Row(
            what="who imports whom between parts of the core",
            measured=f"to a lower room {down}, within a room {within}, to a higher room {up}",
            target="none to a higher room",
            met=up == 0,
        )
    )
    sizes = ", ".join(
        f"{room} {_modules(now / 'core' / room)} ({_lines(now / 'core' / room):,})"
        for room in CORE_ROOMS
    )
    rows.append(Row(what="rooms of the core: modules (lines)", measured=sizes))
    return Section(
        title="The house",
        how=f"Before is commit {BEFORE}, when the core was one object in one folder.",
        rows=tuple(rows),
    )


def _beside(what: str, before: int, now: int, target: str = "") -> Row:
    met = {"": None, "no more": now <= before, "none": now == 0}[target]
    return Row(what=what, measured=f"{before:,} before, {now:,} now", target=target, met=met)


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*.py") if p.read_text().strip()]


def _modules(folder: Path) -> int:
    return len(_files(folder))


def _lines(folder: Path) -> int:
    return sum(p.read_text().count("\n") for p in _files(folder))


def _long(folder: Path) -> list[str]:
    return [
        f"{path.name}:{node.lineno}"
        for path in _files(folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONG
    ]


def _whole(package: Path) -> int:
    """Modules of the core, its door apart, that reach others through the whole core."""
    found = Counter(
        path.name
        for path in _files(package / "core")
        if path.name != "node.py" and _ASKS.search(path.read_text())
    )
    return len(found)


def _edges() -> tuple[int, int, int]:
    core = ROOT / "clptools" / "core"
    counted = Counter[str]()
    for place, room in enumerate(CORE_ROOMS):
        if room == "model":
            continue
        for path in (core / room).glob("*.py"):
            for _, name in core_imports(path):
                if name[0] not in CORE_ROOMS or name[0] == "model":
                    continue
                other = CORE_ROOMS.index(name[0])
                counted["down" if other < place else "within" if other == place else "up"] += 1
    return counted["down"], counted["within"], counted["up"]
