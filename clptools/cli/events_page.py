"""`docs/events.md`: all that clptools tells people, from the catalogue of notices."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from clptools.core.notices.form import OTHERS, Notice, Slot, catalogue, pieces

_PACKAGE = Path(__file__).parent.parent

MODULES = {
    "nm": "servers and the coordinator",
    "rc": "failover groups and forced stops",
    "rm": "monitors and recoveries",
    "mm": "hardware events",
    "lanhb": "heartbeats",
    "userw": "the watchdog",
    "pm": "the agent, and what operators do",
    "cfmgr": "the configuration",
    "trnsv": "requests from outside",
}
"""Title of each section, in order; the module that a notice names first decides."""

_HEAD = """\
# Events

For whoever reads the alert log, filters it, or is woken by an alert. This page is made from the
catalogue in the source (`python -m clptools.cli.generate`).

Each line of the alert log has a module and a level; syslog, mail, SNMP traps and
`clpstat --events --json` have the event's number too. Modules and numbers are the original's, so
filters that go by them stay good; what the original does not know is numbered from 900. Where
events share a number, the code behind the level tells them apart: `code` in the JSON.

In the texts, words in capitals are what the event is about, and `ME` is the server that tells it.
What is between brackets is told where there is something to tell, and of `(one | another)` one
is told. `clpstat --explain NAME` tells the story that an event belongs to.
"""


def every_notice() -> tuple[type[Notice], ...]:
    """All notices of the package, in the order in which they are declared."""
    core = (_PACKAGE / "core" / "notices").glob("*.py")
    for path in sorted({*core, *_PACKAGE.rglob("notices.py")}):
        import_module(".".join(path.relative_to(_PACKAGE.parent).with_suffix("").parts))
    return tuple(catalogue())


def events_page() -> str:
    """The text of the page."""
    notices = every_notice()
    return "\n".join([_HEAD, *(_section(module, notices) for module in MODULES)])


def _section(module: str, notices: Iterable[type[Notice]]) -> str:
    found = [kind for kind in notices if kind.entry.modules[0] == module]
    found.sort(key=_order)
    others = sorted({m for kind in found for m in kind.entry.modules} - {module})
    beside = f" (also {', '.join(others)})" if others else ""
    title = f"## {module}{beside}: {MODULES[module]}"
    return "\n".join([title, "", *map(_entry, found)])


def _order(kind: type[Notice]) -> tuple[int, str]:
    """By number; who declares it decides next, whichever module was imported first."""
    return min(number for _, number in kind.entry.places()), kind.__module__


def _entry(kind: type[Notice]) -> str:
    lines = [
        f"### {_places(kind)} · {kind.entry.level} · {kind.code()}",
        "",
        f"> {_shown(kind.says)}",
        "",
        " ".join((kind.__doc__ or "").split()),
    ]
    if kind.hint:
        lines += ["", f"To do: {_shown(kind.hint)}"]
    return "\n".join([*lines, ""])


def _places(kind: type[Notice]) -> str:
    entry = kind.entry
    modules = ", ".join(entry.modules)
    if isinstance(entry.number, int):
        return f"{modules} {entry.number}"
    if entry.by == "module":
        return ", ".join(f"{module} {number}" for module, number in entry.number.items())
    of: dict[int, list[str]] = {}
    for value, number in entry.number.items():
        of.setdefault(number, []).append("any other" if value == OTHERS else value)
    each = ", ".join(f"{number} {'/'.join(values)}" for number, values in of.items())
    return f"{modules} {each}"


def _shown(template: str) -> str:
    words = []
    for optional, parts in pieces(template):
        told = "".join(p if isinstance(p, str) else _slot(p) for p in parts)
        words.append(f"[{told}]" if optional else told)
    return "".join(words).replace("*", r"\*").replace("<", r"\<")


def _slot(slot: Slot) -> str:
    if "|" in slot.form:
        return f"({slot.form.replace('|', ' | ')})"
    return slot.fact.removesuffix("_ms").upper()
