"""`docs/reference.md`: exit codes, and the metrics that an agent serves."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from clptools.cli.command import Command
from clptools.cli.pages.man_pages import EXIT_CODES
from clptools.core.node import Node
from clptools.sim.scenario import play

_STORY = "cluster 2bmcstrong groups=1\nstart\nadvance 20\n----\n"
"""A cluster that has one of everything which is measured."""
_HEAD = """\
# Reference

This page is generated from the source (`python -m clptools.cli.generate`). So are the keys of
`clp.toml` in [clp.toml(5)](../man/clp.toml.5), the options of each command in its man page,
[events](events.md), and [the parameters of EXPRESSCLUSTER](from-expresscluster.md).

## Exit codes

| code | meaning |
|---|---|
"""
_OTHERS = """
Commands with codes of their own, as the original's or a plug-in's:

| command | codes |
|---|---|
"""
_METRICS = """
## Metrics

Each agent serves them in the text format of Prometheus, where `[cluster] metrics` says so;
`clpstat --metrics` prints them. They tell of servers, groups and monitors as this server sees them.
[examples/monitoring](../examples/monitoring/README.md) has alert rules, a dashboard, and a check
for Nagios and Icinga.

| metric | kind | labels | what it is |
|---|---|---|---|
"""


def reference_page(commands: Iterable[Command]) -> str:
    """The text of the page."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in EXIT_CODES)
    own = "".join(map(_own_codes, (each for each in commands if each.exit_codes)))
    rows = "".join(
        f"| `{each.name}` | {each.kind} | {_labels(each)} | {_cell(each.help)} |\n"
        for each in _families()
    )
    return f"{_HEAD}{codes}{_OTHERS}{own}{_METRICS}{rows}"


def _own_codes(command: Command) -> str:
    codes = "; ".join(f"{code}: {what.rstrip('.')}" for code, what in command.exit_codes)
    return f"| `{command.name}` | {codes} |\n"


def _families() -> tuple[Any, ...]:
    """Of a simulated server, to which everything has happened that has a metric."""
    metrics, history = (
        import_module(f"clptools.agent.{n}") for n in ("metrics", "service_history")
    )
    view = play(_STORY, Node, Node.restore).hosts["server1"].node.view(20_000)
    counters = {"trap.accepted": 1, "core.events": 1, "core.lag_ms": 1}
    made = metrics.Metrics("server1", lambda: view, lambda: counters, lambda: {"monitor": 0.1})
    made.history.services["failover1"] = history.Service()
    made.history.records["server1", "INFO"] = 1
    made.history.lost["server2"] = 1
    return tuple(made.families())


def _labels(family: Any) -> str:
    return ", ".join(family.values[0][0]) if family.values else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
