"""What the pages at the top of the tree say is so."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from clptools.cli.command import UsageError, parse
from clptools.cli.registry import COMMANDS, DAEMONS
from clptools.core.model.transitions import CONTACT, GRANT, GROUP, OFFICE, TABLES, WATCHDOG
from clptools.core.notices.safety import ForcedStopFailed
from clptools.sim.promises import PROMISES
from tests.test_architecture import MAY_IMPORT, VARIANTS

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/rules.md",
    "docs/scenarios.md", "docs/events.md", "docs/bmc.md", "docs/fencing.md",
    "docs/storage.md", "docs/from-expresscluster.md", "docs/security.md",
    "lab/README.md", "examples/monitoring/README.md",
)  # fmt: skip
NOT_PARSED = {"clpnode", "clpwitnessd"}
"""They read their own command lines."""


def text(page: str) -> str:
    return (ROOT / page).read_text()


def section(page: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", text(page), re.M | re.S)
    assert found, f"{page}: no section {title}"
    return found[1]


def rows(page: str, title: str) -> list[list[str]]:
    """Cells of a section's table, without its head."""
    lines = [line for line in section(page, title).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]
    return [[cell.strip("| ") for cell in row] for row in cells[2:]]


def shown(page: str) -> Iterator[str]:
    """Command lines in console blocks and in inline code."""
    for block in re.findall(r"```console\n(.*?)```", text(page), re.S):
        for line in block.splitlines():
            for part in line.removeprefix("# ").removeprefix("$ ").split("&&"):
                yield part.partition("  #")[0].strip()
    prose = re.sub(r"```.*?```", "", text(page), flags=re.S)
    for line in re.findall(r"`((?:clp|make )[^`]*)`", prose):
        yield line


def lines_of(name: str) -> list[tuple[str, str]]:
    return [
        (page, line)
        for page in PAGES
        for line in shown(page)
        if line.startswith(name) and not set("/.") & set(line.split()[0])
    ]


@pytest.mark.parametrize(("page", "line"), lines_of("clp"))
def test_commands_and_their_options_exist(page: str, line: str) -> None:
    name, *words = shlex.split(line)
    assert name in COMMANDS or name in DAEMONS, f"{page}: {line}"
    if name in NOT_PARSED or not words:
        return
    command = import_module(COMMANDS[name]).COMMAND
    try:
        parse(command, words)
    except UsageError as error:
        pytest.fail(f"{page}: {line}: {error}")


@pytest.mark.parametrize(("page", "line"), lines_of("make "))
def test_make_targets_exist(page: str, line: str) -> None:
    targets = re.findall(r"^([a-z]+):", text("Makefile"), re.M)
    assert line.split()[1] in targets, f"{page}: {line}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+)\)", text(page)):
        assert "://" in target or (folder / target).exists(), f"{page}: {target}"
    titles = re.findall(r"^#+ (.+)$", text(page), re.M)
    places = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    for place in re.findall(r"\]\(#([^)]+)\)", text(page)):
        assert place in places, f"{page}: #{place}"


FILE = re.compile(r"(?<![\w/.*{}-])((?:[\w.-]+/)*[\w-]+\.(?:py|md))\b")
OF_OTHERS = {
    "FenceAgentAPI.md", "ra/1.1/resource-agent-api.md", "lib/fencing.py",
    "ilo5_msgregs290.md", "ilo6_events110.md",
}  # fmt: skip
"""Documents and sources of other projects, which are named with them."""


@cache
def files() -> frozenset[str]:
    """Every file of the tree, and every end of its path, such as `core/node.py`."""
    rooms = ("clptools", "docs", "tests", "lab", "examples")
    found = [*ROOT.glob("*.md"), *(f for room in rooms for f in (ROOT / room).rglob("*.*"))]
    parts = [path.relative_to(ROOT).parts for path in found]
    return frozenset("/".join(each[n:]) for each in parts for n in range(len(each)))


NAMING = [ROOT / page for page in PAGES] + sorted((ROOT / "clptools").rglob("*.py"))


@pytest.mark.parametrize("path", NAMING, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_page_or_a_module_names_exist(path: Path) -> None:
    prose = re.sub(r"https?://\S+", "", path.read_text())
    named = {name for name in FILE.findall(prose) if "NAME" not in name} - OF_OTHERS
    assert {name for name in named if not name.startswith("_")} <= files()


def test_every_test_that_the_page_on_security_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text("docs/security.md"))
    assert len(named) > 20
    for file, name in named:
        assert re.search(rf"^ *(async )?def {name}\(", text(file), re.M), f"{file}::{name}"


def test_every_layer_is_described_as_the_imports_allow() -> None:
    described = {row[0].strip("`/").removeprefix("clptools/"): row[2] for row in _layers()}
    folders = {path.parent.name for path in (ROOT / "clptools").glob("*/__init__.py")}
    assert set(described) == folders
    for room, may in described.items():
        named = set(re.findall(r"`(\w+)`", may))
        if may.startswith("everything but"):
            allowed = folders - named
        else:
            allowed = named | (VARIANTS if "variant rooms" in may else set())
        beside = {room, "queries", "registries"}
        assert allowed - beside == MAY_IMPORT[room] - beside, room


def _layers() -> list[list[str]]:
    return rows("ARCHITECTURE.md", "Layers")


def test_every_file_of_the_core_has_its_business() -> None:
    door = section("ARCHITECTURE.md", "The core's single entry point")
    named = set(re.findall(r"`(?:core/)?((?!tests/)[\w/]+\.py)`", door))
    core = ROOT / "clptools/core"
    files = {str(f.relative_to(core)) for f in core.rglob("*.py") if f.name != "__init__.py"}
    assert named <= files, "these are named and are not there"
    values = {f for f in files if f.startswith("model/")}
    assert files - values - named == set(), "these are not named"


@pytest.mark.parametrize(
    "title",
    [
        "One trap, from socket to script",
        "One heartbeat, from socket to authority",
        "One move, by hand",
        "One status, as text",
        "One push",
    ],
)
def test_what_is_followed_hop_by_hop_passes_through_code_that_exists(title: str) -> None:
    hops = rows("ARCHITECTURE.md", title)
    assert hops
    for _, where, _ in hops:
        file, name = re.findall(r"`([^`]+)`", where)
        assert name in _functions(file), f"{file}: {name}"


def _functions(file: str) -> set[str]:
    """Functions of a file of the package, and methods as `Class.method`."""
    tree = ast.parse((ROOT / "clptools" / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {node.name for node in tree.body if isinstance(node, kinds)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{f.name}" for f in node.body if isinstance(f, kinds)}
    return found


def test_where_something_hangs_or_fills_up_is_code_that_exists() -> None:
    table = section("ARCHITECTURE.md", "When something hangs or is full")
    named = re.findall(r"`([a-z]+/[\w/]+\.py)`(?: `(\w+(?:\.\w+)?)`)?", table)
    assert named
    for file, name in named:
        source = (ROOT / "clptools" / file).read_text()
        defined = {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
        assert not name or name in defined | _functions(file), f"{file}: {name}"


def test_places_to_add_something_exist() -> None:
    table = section("ARCHITECTURE.md", "Where to add what")
    for path in re.findall(r"`((?:clptools|tests)/[\w./]+)`", table):
        place = ROOT / path
        assert (place.parent if "NAME" in path else place).exists(), path
    # `begin` and `end` of `clptools/agent/conditions.py`
    for names, path in re.findall(r"((?:`\w+`(?:,| and| or)? )+)of `(clptools/[\w/.]+)`", table):
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), f"{path}: {name}"


def test_every_dependency_has_its_reason() -> None:
    needed = tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]
    names = {re.split(r"[><=]", each)[0] for each in needed}
    assert {row[0] for row in rows("ARCHITECTURE.md", "Dependencies")} == names


SHOWN = {
    "A group on a server": GROUP,
    "A grant": GRANT,
    "Our office": OFFICE,
    "The watchdog": WATCHDOG,
    "Another server": CONTACT,
}


def test_states_are_shown_as_the_core_has_them() -> None:
    assert set(SHOWN.values()) == set(TABLES)
    parts = re.split(r"^### (.+)$", section("ARCHITECTURE.md", "States"), flags=re.M)
    shown = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(shown) == set(SHOWN)
    for title, transitions in SHOWN.items():
        rows = [f"| {s} | {change} | {to} |" for (s, change), to in transitions.table.items()]
        table = "\n".join(("| from | what happens | to |", "|---|---|---|", *rows))
        assert table in shown[title], f"ARCHITECTURE.md, {title}: it is now\n{table}"


def test_every_scenario_that_the_rules_name_exists() -> None:
    prose = re.sub(r"`[^`]*`", "", text("docs/rules.md"))
    named = {
        name.strip()
        for inside in re.findall(r"\[([^\]]+)\](?!\()", prose)
        for name in inside.split(",")
    }
    assert named, "the rules name the scenarios that need them"
    files = [path.stem for path in (ROOT / "tests/scenarios").glob("*.txt")]
    assert not [n for n in named if not any(f.startswith(n) for f in files)]


def test_the_rules_list_the_promises_as_the_simulator_says_them() -> None:
    listed = section("docs/rules.md", "What the simulator checks")
    found = re.findall(r"^- \*\*(\w+)\*\*: (.+?)\.$(?!\n  )", listed, re.M)
    assert dict(found) == PROMISES


def test_an_alert_that_the_rules_name_is_told_with_its_words() -> None:
    rules = " ".join(text("docs/rules.md").split())
    named = re.findall(r"\brc (\d+)", rules)
    assert named == ["433"]
    assert f"rc 433: *{ForcedStopFailed('SERVER', 'why', ()).told()}*" in rules


def test_every_section_of_the_rules_that_a_docstring_names_exists() -> None:
    titles = set(re.findall(r"^## (.+)$", text("docs/rules.md"), re.M))
    for path in sorted((ROOT / "clptools").rglob("*.py")):
        for inside in re.findall(r"\(`docs/rules\.md`, ([^)]*)\)", path.read_text()):
            for title in re.findall(r"\*([^*]+)\*", inside):
                assert title in titles, f"{path.name}: docs/rules.md has no section {title}"


def test_the_alert_rules_do_what_their_tests_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("NOT TESTED: promtool is not installed")
    for words in (
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "clptools.rules.test.yml"),
    ):
        done = subprocess.run(
            [promtool, *words], cwd=ROOT / "examples/monitoring", capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_shows_metrics_that_there_are() -> None:
    from clptools.agent import metrics

    source = Path(metrics.__file__).read_text()
    dashboard = json.loads((ROOT / "examples/monitoring/dashboard.json").read_text())
    rules = (ROOT / "examples/monitoring/clptools.rules.yml").read_text()
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    named = set(re.findall(r"\bclptools_\w+|\bprocess_\w+", " ".join(asked) + rules))
    monitors = {f"clptools_monitor_{name}" for name in ("restarts", "failovers", "scripts")}
    assert {name for name in named if f'"{name}"' not in source} <= monitors
