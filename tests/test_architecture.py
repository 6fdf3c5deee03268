"""The layers of the house: imports go down only, and the core is pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "clptools"

VARIANTS = {"links", "intake", "hardware", "resources", "monitors", "arbiters"}

MAY_IMPORT: dict[str, set[str]] = {
    "core": {"core"},
    "common": {"common"},
    "config": {"config", "core", "common"},
    "api": {"api", "core"},
    **{room: {room, "config", "core", "common"} for room in VARIANTS},
    "agent": {"agent", "api", "config", "core", "common", "queries", "registries", *VARIANTS},
    "sim": {"sim", "core", "config"},
    "cli": {"cli", "api", "config", "core", "common", "registries", "sim", *VARIANTS},
}
SHARED = {"faults", "packing", "paths", "reports", "version"}
"""Modules at the top of the package that every room but the core may import."""

IMPURE = {
    "asyncio", "socket", "os", "time", "random", "subprocess",
    "threading", "logging", "pathlib", "datetime", "select", "signal",
}  # fmt: skip


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module name that the file imports, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


FILES = sorted(PACKAGE.rglob("*.py"))

CORE_ROOMS = ("model", "cluster", "safety", "groups", "monitors", "requests", "report")
"""From the lowest to the highest: each imports from itself and from those before it."""
CORE_SHARED = ("step", "notices", "phrases", "replies", "describe")
"""Modules of the core that every room but `model` may import; they import from `model` alone."""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0]
    if room not in MAY_IMPORT:
        return
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] != "clptools" or len(parts) < 2:
            continue
        target = parts[1]
        if target in SHARED and room != "core":
            continue
        assert target in MAY_IMPORT[room], f"{path}:{line}: {room} imports {name}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=lambda p: p.name)
def test_the_core_has_no_clock_no_socket_no_chance(path: Path) -> None:
    for line, name in imports(path):
        top = name.split(".")[0]
        assert top not in IMPURE, f"{path}:{line}: the core imports {name}"
        if top == "clptools":
            assert name.split(".")[1] == "core", f"{path}:{line}: the core imports {name}"


def test_the_library_that_edits_is_loaded_by_an_edit_alone() -> None:
    users = {path for path in FILES if any(name == "tomlkit" for _, name in imports(path))}
    assert users == {PACKAGE / "config" / "statements.py"}
    for path in users:
        at_the_top = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import)]
        assert "tomlkit" not in {alias.name for n in at_the_top for alias in n.names}


def test_the_agent_reaches_the_commands_by_one_door() -> None:
    users = {path for path in FILES if any(n == "clptools.queries" for _, n in imports(path))}
    named = {path for path in FILES if "queries" in path.read_text() and path.parts[-2] == "agent"}
    assert named == {PACKAGE / "agent" / "backend.py"}
    assert users <= named


def test_http_is_spoken_in_one_place() -> None:
    """Its limits are there; `h11` elsewhere would be a second parser without them."""
    found = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        for _, name in imports(path)
        if name == "h11" or name in {"http.client", "http.server", "urllib.request"}
    }
    assert found == {"common/http.py", "common/http_client.py"}


CORE = sorted(p for p in (PACKAGE / "core").rglob("*.py") if p.name != "__init__.py")


def core_imports(path: Path) -> list[tuple[int, list[str]]]:
    """Line and path below `clptools.core` of what a file of the core imports from there."""
    return [
        (line, name.split(".")[2:])
        for line, name in imports(path)
        if name.startswith("clptools.core.")
    ]


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_of_the_core_import_down_only(path: Path) -> None:
    room = path.relative_to(PACKAGE / "core").parts[0]
    if room in ("node.py", "parts.py"):
        return  # the door, and the one that furnishes the rooms
    for line, name in core_imports(path):
        where = f"{path}:{line}: imports {'.'.join(name)}"
        assert name[0] != "node", where
        if room not in CORE_ROOMS:
            assert name[0] == "model" or name[0] in CORE_SHARED, where
        elif name[0] in CORE_SHARED:
            assert room != "model", where
        else:
            assert CORE_ROOMS.index(name[0]) <= CORE_ROOMS.index(room), where


def module(path: Path) -> str:
    """The name by which a file is imported."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_circle() -> None:
    """Nor one that an import for types alone, or inside of a function, hides."""
    known = {module(path) for path in FILES}
    asks: dict[str, set[str]] = {}
    for path in FILES:
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= inner & known or {node.module}
        asks[module(path)] = found & known - {module(path)}
    while leaves := [name for name, others in asks.items() if not others & asks.keys()]:
        for name in leaves:
            del asks[name]
    while roots := asks.keys() - set().union(*asks.values()):
        for name in roots:
            del asks[name]
    between = {name for name in asks if not name.startswith(SIMULATED)}
    assert not between, f"these import each other: {sorted(between)}"


SIMULATED = "clptools.sim."
"""The simulator's world hands itself to what it is made of: one thing in several files."""


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_import_hides_from_the_eye(path: Path) -> None:
    """Nor is anything imported for its types alone: what is named is asked."""
    assert "TYPE_CHECKING" not in path.read_text()
    tree = ast.parse(path.read_text())
    inner = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert all(node in tree.body for node in inner), f"{path}: an import inside of something"


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_part_takes_the_whole_core(path: Path) -> None:
    if path.name in ("node.py", "parts.py"):
        return
    for line, name in core_imports(path):
        assert name[0] not in ("node", "parts"), f"{path}:{line}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.arg) and node.annotation is not None:
            assert ast.unparse(node.annotation) not in ("Node", "NodeState"), (
                f"{path}:{node.lineno}"
            )
