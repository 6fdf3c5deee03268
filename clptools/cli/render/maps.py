"""`clpstat -g -m -n -p -f`: maps of groups, monitors, heartbeats, NP resolution, fencing.

Servers stand as `server0`, `server1`, ... in order of priority, as the original numbers them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from clptools.cli.render.status import FOOTER, reasons, stopped
from clptools.cli.render.text import clean

if TYPE_CHECKING:
    from clptools.cli.json_types import GroupJson, ServerJson, StatusJson

GROUP_HEADER = " ======================  GROUPMAP INFORMATION  ======================="
MONITOR_HEADER = " =================== MONITOR RESOURCE STATUS ========================="
HEARTBEAT_HEADER = " ====================== HEARTBEAT RESOURCE STATUS ===================="
NP_HEADER = " ================= NETWORK PARTITION RESOURCE STATUS ================="
FENCING_HEADER = " =====================  FENCING RESOURCE STATUS  ====================="
RULE = "  " + "-" * 68

LETTERS = {
    "Online": "o",
    "Normal": "o",
    "Caution": "o",  # up: a path or a monitor of it is not, which other lines say
    "Offline": "x",
    "Online Pending": "p",
    "Offline Pending": "p",
    "Online Failure": "f",
    "Offline Failure": "f",
    "Error": "e",
}
"""Status word of a server or a group -> its letter in a map; anything else is `-`."""

CELLS = {"Normal": "o", "Caution": "o", "Error": "x", "Offline": "x"}
"""Status word of a heartbeat or NP resource -> its cell; `-` is unused or unknown."""

MONITORING = {"Normal": "Online"}
"""The original's word for a monitor that monitors; every other word is shown as it is."""


def group_map(view: StatusJson) -> str:
    """`-g`: which group is where."""
    view = stopped(view)
    lines = [GROUP_HEADER, *servers(view), "", RULE]
    for index, server in enumerate(view["servers"]):
        cells = "".join(
            f"{clean(group['name'])}[{cell(group, server['name'], on)}] "
            for group in view["groups"]
            if (on := group["on"].get(server["name"], "Offline")) != "Offline"
        )
        lines.append(f"    server{index} [{letter(server)}] : {cells}")
    return page(lines)


def cell(group: GroupJson, server: str, on: str) -> str:
    """A group's letter on a server: `e` on each if, by a fault, several run it."""
    return "e" if server in (group.get("copies") or ()) else LETTERS.get(on, "-")


def monitor_map(view: StatusJson) -> str:
    """`-m`: each monitor on each server."""
    view = stopped(view)
    lines = [MONITOR_HEADER, *servers(view)]
    for number, monitor in enumerate(view["monitors"]):
        lines += ["", f"  Monitor{number} [{clean(monitor['name'])} : {monitor['status']}]", RULE]
        for index, server in enumerate(view["servers"]):
            there = monitor["servers"].get(server["name"])
            status = there["status"] if there is not None else "Unused"
            lines.append(f"    server{index} [{letter(server)}] : {MONITORING.get(status, status)}")
    return page(lines) + "".join(f"{line}\n" for line in reasons(view))


def heartbeat_map(view: StatusJson) -> str:
    """`-n`: for each server, whom it hears on which heartbeat resource."""
    view = stopped(view)
    count = max((len(server["heartbeats"]) for server in view["servers"]), default=0)
    named = next((s["heartbeats"] for s in view["servers"] if len(s["heartbeats"]) == count), [])
    lines = [HEARTBEAT_HEADER, *servers(view)]
    lines += [f"  HB{number} : {clean(beat['name'])}" for number, beat in enumerate(named)]
    for index, server in enumerate(view["servers"]):
        lines += ["", f"  [on server{index} : {server['status']}]", cells("HB", range(count)), RULE]
        beats = {beat["name"]: beat for beat in server["heartbeats"]}
        for other, peer in enumerate(view["servers"]):
            row = []
            for column in named:
                beat = beats.get(column["name"])
                if beat is None:
                    row.append("-")
                elif peer is server:
                    row.append(CELLS.get(beat["status"], "-"))
                else:
                    seen = beat["peers"].get(peer["name"])
                    row.append(CELLS.get(seen["status"], "-") if seen is not None else "-")
            lines.append(cells(f"server{other}", row))
    return page(lines)


def np_map(view: StatusJson) -> str:
    """`-p`: for each server, the NP resolution resources of all."""
    return page([NP_HEADER, *_np_lines(stopped(view))])


def fencing_map(view: StatusJson) -> str:
    """`-f`: the same, and whether each server's BMC answers, by which it would be fenced."""
    view = stopped(view)
    lines = [FENCING_HEADER, *_np_lines(view), "", "  [forced stop]", RULE]
    for index, server in enumerate(view["servers"]):
        bmc = server["bmc"]
        known = bmc is not None and bmc.get("asked", True)
        lines.append(cells(f"server{index}", "xo"[bmc["reachable"]] if bmc and known else "-"))
    return page(lines)


def _np_lines(view: StatusJson) -> Iterator[str]:
    count = max((len(server["np"]) for server in view["servers"]), default=0)
    named = next((s["np"] for s in view["servers"] if len(s["np"]) == count), [])
    yield from servers(view)
    yield from (f"  NP{number} : {clean(np['name'])}" for number, np in enumerate(named))
    for index, server in enumerate(view["servers"]):
        yield from ("", f"  [on server{index} : {server['status']}]")
        yield from (cells("NP", range(count)), RULE)
        for other, peer in enumerate(view["servers"]):
            status = {np["name"]: np["status"] for np in peer["np"]}
            knows = letter(server) not in "x-"
            row = [CELLS.get(status.get(np["name"], ""), "-") if knows else "-" for np in named]
            yield cells(f"server{other}", row)


def servers(view: StatusJson) -> Iterator[str]:
    """The name of the cluster and the numbered servers; `*` marks the one that answers."""
    yield f"  Cluster : {clean(view['cluster']['name'])}"
    for index, server in enumerate(view["servers"]):
        mark = "*" if server["local"] else " "
        yield f"   {mark}server{index} : {clean(server['name'])}"


def letter(server: ServerJson) -> str:
    """The server's letter."""
    return LETTERS.get(server["status"], "-")


def cells(name: str, row: Iterable[str | int]) -> str:
    """One row of a matrix, or with `HB`, `NP` and numbers its heading."""
    start = f"          {name}  " if name.isupper() else f"    {name:<9}:"
    return (start + "".join(f" {cell:<3}" for cell in row)).rstrip()


def page(lines: list[str]) -> str:
    """The lines and the footer."""
    return "\n".join([*lines, FOOTER]) + "\n"
