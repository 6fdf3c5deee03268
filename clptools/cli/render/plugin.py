"""`clpstat --check`: the cluster in one line, as monitoring plug-ins say it.

The convention, with exit codes, ranges and performance data: "Monitoring Plugins Development
Guidelines", https://www.monitoring-plugins.org/doc/guidelines.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clptools.cli.render.status import not_well
from clptools.cli.render.text import clean, duration
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.cli.json_types import StatusJson

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_SHOWN = 5
"""Troubles named in the line; the rest are counted."""


class Range:
    """`[@][start:][end]`: a value outside of it alarms, with `@` one inside."""

    __slots__ = ("_high", "_inside", "_low", "text")

    def __init__(self, text: str) -> None:
        """Raises ClpError (USAGE)."""
        self.text = text
        self._inside = text.startswith("@")
        low, colon, high = text.removeprefix("@").rpartition(":")
        try:
            self._low = float("-inf") if low == "~" else float(low or 0)
            self._high = float(high) if high or not colon else float("inf")
        except ValueError:
            self._low = self._high = float("nan")
        if not self._low <= self._high:
            raise ClpError(
                ExitCode.USAGE, f"{text}: no RANGE.", "Ranges are like 1, 0:2, 2:, ~:3 or @1:2."
            )

    def alarms(self, value: float) -> bool:
        """Whether this value is to be told of."""
        return (self._low <= value <= self._high) == self._inside


def line(word: str, text: str, data: str = "") -> str:
    """The one line: no bar in it but the one before the performance data."""
    plain = clean(text).replace("|", "/")
    return f"CLPTOOLS {word} - {plain}" + (f" | {data}" if data else "")


def verdict(view: StatusJson, warning: Range, critical: Range) -> tuple[int, str]:
    """Exit code and line for a status."""
    away = sum(server["status"] not in ("Online", "Caution") for server in view["servers"])
    grave = list(_grave(view))
    told = list(_told(view))
    if critical.alarms(away) or grave:
        code = CRITICAL
    else:
        code = WARNING if told or warning.alarms(away) else OK
    troubles = grave + told
    more = len(troubles) - _SHOWN
    words = [*troubles[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    text = "; ".join(words) or _well(view)
    return code, line(WORDS[code], text, _data(view, away, warning, critical))


def _grave(view: StatusJson) -> Iterator[str]:
    cluster = view["cluster"]
    if cluster["status"] == "Stopped":
        yield "the cluster service is stopped here"
        return
    if not cluster["quorate"]:
        yield "no coordinator has authority"
    for group in view["groups"]:
        name = group["name"]
        if group.get("copies"):
            yield f"{name} runs on {' and '.join(group['copies'])} at once"
        elif group["waiting_for"] is not None:
            yield f"{name} is {group['status']}: {group['waiting_for']['text']}"
        elif group["wanted"] and group["status"] not in ("Online", "Online Pending"):
            yield f"{name} is {group['status']}"
    for monitor in view["monitors"]:
        bad = [name for name, one in monitor["servers"].items() if one["status"] == "Error"]
        if bad:
            yield f"{monitor['name']} is Error on {', '.join(bad)}"


def _told(view: StatusJson) -> Iterator[str]:
    cluster = view["cluster"]
    if cluster["status"] == "Stopped":
        return
    if cluster["suspended"]:
        by, lasts_s = cluster["suspended_by"], cluster.get("suspended_s")
        lasts = f" for {duration(lasts_s)}" if lasts_s is not None else ""
        yield "suspended" + (f" by {by}" if by else "") + lasts
    for server in view["servers"]:
        if server["status"] != "Online":
            yield f"{server['name']} is {server['status']}"
        for condition in not_well(server):
            yield f"{server['name']}: {condition['text']}"
        events = [event for event in server["open_events"] if not event["acknowledged"]]
        if events:
            yield f"{server['name']}: {events[0]['meaning']}"
        bmc = server["bmc"]
        if bmc is not None and bmc.get("asked", True) and not bmc["reachable"]:
            what = "BMC" if bmc["address"] else "fence agent"
            yield f"{what} of {server['name']} unreachable"
        for path in server["heartbeats"]:
            if path["status"] in ("Caution", "Error"):
                yield f"{path['name']} is {path['status']} on {server['name']}"
    for group in view["groups"]:
        if not group["wanted"]:
            yield f"{group['name']} was stopped by request"
        elif group["status"] == "Online Pending":
            yield f"{group['name']} is {group['status']}"
    for monitor in view["monitors"]:
        words = {
            name: one["status"]
            for name, one in monitor["servers"].items()
            if one["status"] in ("Caution", "Stall", "Suspend", "Unknown")
        }
        if words:
            told = ", ".join(f"{word} on {name}" for name, word in words.items())
            yield f"{monitor['name']} is {told}"


def _well(view: StatusJson) -> str:
    servers, groups = view["servers"], view["groups"]
    where = ", ".join(f"{group['name']} on {group['current']}" for group in groups[:_SHOWN])
    more = f" and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
    return f"{len(servers)} servers online" + (f"; {where}{more}" if groups else "")


def _data(view: StatusJson, away: int, warning: Range, critical: Range) -> str:
    servers, groups = view["servers"], view["groups"]
    online = sum(group["status"] == "Online" for group in groups)
    ages = [
        peer["last_seen_s"]
        for server in servers
        if server["local"]
        for path in server["heartbeats"]
        for peer in path["peers"].values()
        if peer["last_seen_s"] is not None
    ]
    latencies = [
        server["bmc"]["latency_ms"] / 1000
        for server in servers
        if server["bmc"] is not None and server["bmc"]["latency_ms"] is not None
    ]
    events = sum(len(server["open_events"]) for server in servers)
    told = [
        f"servers_away={away};{warning.text};{critical.text};0;{len(servers)}",
        f"groups_online={online};;;0;{len(groups)}",
        f"hardware_events={events};;;0",
    ]
    if ages:
        told.append(f"heartbeat_age={max(ages):.3f}s;;;0")
    if latencies:
        told.append(f"bmc_latency={max(latencies):.4f}s;;;0")
    return " ".join(told)
