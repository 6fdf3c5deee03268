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
    "agent": {"agent", "api", "config", "core", "common", "registries", *VARIANTS},
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


def test_http_is_spoken_in_one_place() -> None:
    """Its limits are there; `h11` elsewhere would be a second parser without them."""
    found = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        for _, name in imports(path)
        if name == "h11" or name in {"http.client", "http.server", "urllib.request"}
    }
    assert found == {"common/http.py", "common/kept_http.py"}
