"""`clpstat -s`: the cluster status in the original's layout, byte for byte.

Columns, padding and trailing blanks are those that scripts in the field parse: the colon stands
in column 21 (`--long`: 38), the value begins two columns on, a status is padded to 17 columns
and followed by the comment of the object.  `clpstat --hw`: open hardware events of each server, and
what came in and was refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from clptools.cli.render.text import clean, clock, duration, field, names, pad, wrap

if TYPE_CHECKING:
    from clptools.cli.json_types import (
        ClusterJson,
        ConditionJson,
        GroupJson,
        HardwareJson,
        OpenHardwareJson,
        ServerJson,
        StatusJson,
    )

STATUS_COLUMNS = 17
HEADER = " ========================  CLUSTER STATUS  ==========================="
FOOTER = " " + "=" * 69

COMMENTS = {
    "lankhb": "Kernel Mode LAN Heartbeat",
    "lanhb": "LAN Heartbeat",
    "bmchb": "BMC Heartbeat",
    "witnesshb": "Witness Heartbeat",
}
"""What the original shows for a heartbeat resource without a comment of its own."""

NP_COMMENTS = {
    "ping": "ping resolution",
    "http": "http resolution",
    "disk": "disk resolution",
    "witness": "witness resolution",
    "etcd": "etcd resolution",
    "majority": "majority resolution",
}


def status(view: StatusJson, *, long: bool = False, detail: bool = False) -> str:
    """The whole layout; `detail` adds what a waiting group waits for."""
    lines = [*status_lines(stopped(view), long=long, detail=detail), *reasons(view)]
    return "\n".join(lines) + "\n"


def status_lines(view: StatusJson, *, long: bool, detail: bool) -> Iterator[str]:
    """Its lines, one by one."""
    wide = 34 if long else 17
    child = wide - 2
    yield HEADER
    yield f"  Cluster : {clean(view['cluster']['name'])}"
    yield "  <server>"
    for server in view["servers"]:
        mark = "*" if server["local"] else " "
        line = word(server["status"])
        yield f"   {mark}{field(server['name'], wide, '.')}: {line}"
        for beat in server["heartbeats"]:
            comment = COMMENTS.get(beat["type"], "")
            yield f"      {field(beat['name'], child)}: {word(beat['status'], comment)}"
        for np in server["np"]:
            comment = NP_COMMENTS.get(np["type"], "")
            yield f"      {field(np['name'], child)}: {word(np['status'], comment)}"
    yield "  <group>"
    for group in view["groups"]:
        line = word(group["status"], group["comment"])
        yield f"    {field(group['name'], wide, '.')}: {line}"
        yield f"      {field('current', child)}: {clean(where(group))}"
        for resource in group["resources"]:
            line = word(resource["status"], resource["comment"])
            yield f"      {field(resource['name'], child)}: {line}"
        if group.get("planned_move") is not None:
            from clptools.cli.render.explain import planned_words

            for line in wrap(planned_words(group), 74):
                yield f"      {line}"
        if detail and group["waiting_for"] is not None:
            from clptools.cli.render.explain import waiting_lines

            for line in waiting_lines(view, group, 74):
                yield f"      {line}"
    yield "  <monitor>"
    for monitor in view["monitors"]:
        line = word(monitor["status"], monitor["comment"])
        yield f"    {field(monitor['name'], wide)}: {line}"
    yield FOOTER
    yield from notes(view)


def notes(view: StatusJson, now: float | None = None, columns: int = 80) -> list[str]:
    """What must not be overlooked and no status word says; `now`: wall clock.

    They come after the original's layout, so that scripts that parse it still can.
    """
    now = time.time() if now is None else now
    lines: list[str] = []
    for text, mend in remarks(view, now):
        lines += wrap(clean(text), columns, "    ", first="  ")
        lines += [f"    {clean(mend)}"] if mend else []
    return lines


def remarks(view: StatusJson, now: float) -> Iterator[tuple[str, str]]:
    """Each of `notes` as a sentence, and the command to type next."""
    cluster = view["cluster"]
    if cluster["status"] == "Stopped":
        here = next((server["name"] for server in view["servers"] if server["local"]), "")
        asked = any(server["incarnation"] for server in view["servers"])  # an agent, not the file
        if here and asked and len(view["servers"]) > 1:
            text = f"The cluster service is stopped on {here}, which does not see the others then"
            yield f"{text}: clpstat there tells of them.", f"clpcl -s -h {here}"
        return
    for group in view["groups"]:
        copies = group.get("copies") or ()
        if copies:
            name = group["name"]
            older = [server for server in copies if server != group["current"]]
            stops = " or ".join(f"clpgrp -t {name} -h {server}" for server in older)
            where = names(list(copies))
            yield f"CRITICAL: {name} runs on {where} at once: its data is at risk.", stops
    if cluster["suspended"]:
        text = since(cluster.get("suspended_by", ""), cluster.get("suspended_s"), now)
        yield f"The cluster is suspended{text}: nothing moves by itself.", "clpcl --resume"
    if cluster.get("toratio", 1) > 1:
        end = ratio_end(cluster, now)
        yield f"Time-outs are {cluster['toratio']} times as long{end}.", "clptoratio -i"
    for monitor in view["monitors"]:
        for name, found in monitor["servers"].items():
            if found.get("suspended_s") is None:
                continue
            text = since(found["suspended_by"], found["suspended_s"], now)
            yield (
                f"{monitor['name']} is suspended on {name}{text}: nothing is recovered there.",
                f"clpmonctrl -r -m {monitor['name']} -h {name}",
            )
    if versions := versions_apart(view):
        yield versions, "docs/upgrading.md has the steps."
    for server in view["servers"]:
        # Older agents do not say.
        if server.get("refused"):
            yield f"{server['name']}: {server['refused']}.", f"clpstat --explain {server['name']}"


SAYS_NO_VERSION = "0.1.0"
"""The version of an agent that does not say which it is."""


def versions_apart(view: StatusJson) -> str:
    """Which server runs which version, where the agents that answer are not of one."""
    of: dict[str, list[str]] = {}
    for server in view["servers"]:
        if server["status"] in ("Online", "Caution") and server["incarnation"]:
            of.setdefault(clean(server.get("version") or SAYS_NO_VERSION), []).append(
                server["name"]
            )
    if len(of) < 2:
        return ""
    newest = max(of, key=lambda version: [int(x) for x in version.split(".") if x.isdecimal()])
    where = ", ".join(f"{version} on {names(of[version])}" for version in sorted(of))
    return (
        f"Servers run different versions: {where}. What is new in {newest} waits until all have it."
    )


def since(user: str, lasts_s: float | None, now: float) -> str:
    """` by root since 18:14:45.2 (4 min)`, as far as it is known."""
    by = f" by {user}" if user else ""
    if lasts_s is None:
        return by
    return f"{by} since {clock(now - lasts_s, now)} ({duration(lasts_s)})"


def ratio_end(cluster: ClusterJson, now: float) -> str:
    """` until 20:14:45.2 (in 2 h 0 min), by root`, as far as it is known."""
    left_s, user = cluster.get("toratio_left_s"), cluster.get("toratio_by", "")
    end = "" if left_s is None else f" until {clock(now + left_s, now)} (in {duration(left_s)})"
    return end + (f", by {user}" if user else "")


def reasons(view: StatusJson, columns: int = 80, *, mends: bool = True) -> Iterator[str]:
    """Why servers are at Caution, or will not be proven down, below the layout; and the remedy."""
    for server in view["servers"]:
        for condition in not_well(server):
            first = f"  {clean(server['name'])}: "
            text = condition_text(condition) if mends else clean(condition["text"])
            yield from wrap(text, columns, "    ", first=first)


def not_well(server: ServerJson) -> list[ConditionJson]:
    """What a person is to mend at a server, and at the BMCs that it asks."""
    # Older agents do not send them.
    return [*(server.get("conditions") or ()), *(server.get("bmc_faults") or ())]


def condition_text(condition: ConditionJson) -> str:
    """What is not well, and the mend."""
    text = condition["text"].rstrip(".")
    return clean(f"{text}. {condition['mend']}".rstrip())


def where(group: GroupJson) -> str:
    """The server that runs a group; if by a fault several run it, all of them.

    Older agents do not send `copies`.
    """
    return " and ".join(group.get("copies") or ()) or group["current"] or "None"


def word(value: str, comment: str = "") -> str:
    """A status word in its padded field, and the comment after it."""
    return pad(clean(value), STATUS_COLUMNS) + clean(comment)


def stopped(view: StatusJson) -> StatusJson:
    """`view`, or, when the cluster service is stopped, the same with everything `Offline`.

    The agents stay up then and still hear each other; the layout tells of the service.
    """
    if view["cluster"]["status"] != "Stopped":
        return view
    return {
        **view,
        "servers": [
            {
                **server,
                "status": "Offline",
                "heartbeats": [
                    {
                        **beat,
                        "status": "Offline",
                        "peers": {
                            peer: {**seen, "status": "Offline"}
                            for peer, seen in beat["peers"].items()
                        },
                    }
                    for beat in server["heartbeats"]
                ],
                "np": [{**np, "status": "Offline"} for np in server["np"]],
            }
            for server in view["servers"]
        ],
        "groups": [
            {
                **group,
                "status": "Offline",
                "current": None,
                "waiting_for": None,
                "planned_move": None,
                "on": {},
                "resources": [{**found, "status": "Offline"} for found in group["resources"]],
            }
            for group in view["groups"]
        ],
        "monitors": [
            {
                **monitor,
                "status": "Offline",
                "servers": {
                    server: {**found, "status": "Offline"}
                    for server, found in monitor["servers"].items()
                },
            }
            for monitor in view["monitors"]
        ],
    }


# ---------------------------------------------------------------------- clpstat --hw


def hardware(view: HardwareJson, now: float, columns: int = 80) -> str:
    """All servers, one after the other; `now` is the wall clock."""
    lines: list[str] = []
    closable = ""
    for server in view["servers"]:
        count = len(server["open"])
        many = f"{count or 'no'} open hardware event{'' if count == 1 else 's'}"
        lines.append(f"{clean(server['name'])}: {many}")
        for event in server["open"]:
            lines += open_event(event, now, columns)
            if not event["acknowledged"]:
                place = f"-m {event['monitor']} --event {event['id']} -h {server['name']}"
                closable = closable or place
        if server["unreachable"]:
            text = f"not known: {clean(server['unreachable'])}"
            lines += wrap(text, columns, " " * 9, first="  Traps  ")
        counted = [f"{name.replace('_', ' ')} {n}" for name, n in server["counters"].items() if n]
        if counted:
            lines += wrap(clean(", ".join(counted)), columns, " " * 9, first="  Traps  ")
        for bmc in server["bmcs"]:
            whose = "its own BMC" if bmc["server"] == server["name"] else f"that of {bmc['server']}"
            text = f"{whose}: {bmc['fault']}.{' ' if bmc['mend'] else ''}{bmc['mend']}"
            lines += wrap(clean(text), columns, " " * 9, first="  BMC    ")
        for condition in server.get("conditions") or ():
            lines += wrap(condition_text(condition), columns, " " * 9, first="  Server ")
    if closable:
        lines.append("To close an event whose end the hardware never reports:")
        lines.append(f"  clpmonctrl --acknowledge {clean(closable)}")
    return "\n".join(lines) + "\n" if lines else "No server is configured.\n"


def open_event(event: OpenHardwareJson, now: float, columns: int) -> list[str]:
    """One open event: what it means, where it shows, how often and when."""
    first, last, count = now - event["first"], now - event["last"], event["count"]
    when = f"{duration(first)} ago"
    if count > 1:
        when = f"{count} times, first {when}, last {duration(last)} ago"
    closed = "; acknowledged" if event["acknowledged"] else ""
    start = f"  {event['id']:<6} {event['class']:<11} "
    text = f"{event['meaning']} ({event['monitor']}; {when}{closed})"
    return wrap(clean(text), columns, " " * len(start), first=start)
