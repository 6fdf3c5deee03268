"""Why a resource, a heartbeat or an NP resolution resource is as it is, and what mends it."""

from __future__ import annotations

from clptools.core.model.view import (
    ArbiterView,
    GroupView,
    HeartbeatView,
    ResourceView,
    ServerView,
    StatusView,
)
from clptools.core.notices import groups
from clptools.core.notices.form import Kinds
from clptools.core.phrases import listed
from clptools.core.report.story import Recorded, Story, Teller, ago

RECENT = 8
"""How many of the newest records are shown."""
_BEGINS = Kinds(groups.GroupGranted, groups.GroupStarts)
_START_FAILED = Kinds(groups.ResourceStartFailed)
_SILENT = ("Unknown", "Offline")
_WELL = ("Normal", "Unused")
_PLACES = {
    "etcd": "endpoint",
    "witness": "address",
    "http": "address",
    "ping": "address",
    "disk": "device",
}
"""Type of an NP resource -> what must answer."""


# ------------------------------------------------------------------------------ resources


def of_resource(teller: Teller, group: GroupView, resource: ResourceView) -> Story:
    """Explains a group resource by its records since its group was last granted, and by the failed
    starts that are still remembered."""
    of_group = teller.about(group.name, resource.name)
    begins = [i for i, record in enumerate(of_group) if record in _BEGINS]
    since = of_group[begins[-1] :] if begins else of_group
    where = f" on {group.current}" if group.current else ""
    state = f"{resource.name} ({resource.type}, of {group.name}) is {resource.status}{where}."
    failed = {
        server.name: server.failed_starts[group.name].removeprefix(f"{resource.name}: ")
        for server in teller.status.servers
        if server.failed_starts.get(group.name, "").startswith(f"{resource.name}: ")
    }
    if failed:
        told = [f"{server} ({why})" for server, why in failed.items()]
        state += f" Its last start failed on {listed(told)}."
    of_failures = {r.server: r for r in of_group if r in _START_FAILED and r.server in failed}
    told_ids = set(map(id, (*since, *of_failures.values())))
    own = [
        r
        for r in of_group
        if id(r) in told_ids and (resource.name in r.subjects or resource.name in r.text.split())
    ]
    return Story(
        subject=resource.name,
        state=state,
        because=teller.steps(own[-RECENT:]),
        then=tuple(_mends_of_resource(group, resource)),
    )


def _mends_of_resource(group: GroupView, resource: ResourceView) -> list[str]:
    name = resource.name
    if resource.status == "Online" and group.status == "Online":
        return []
    if resource.status == "Offline Failure":
        return [f"Mend what could not be stopped, then: clpgrp -t {group.name} -f"]
    if group.status == "Online":
        mend = "Mend it, then start it" if resource.status == "Online Failure" else "Start it"
        return [f"{mend}: clprsc -s {name}"]
    return [f"It starts and stops with its group: clpstat --explain {group.name}"]


# ------------------------------------------------------------------------------ heartbeats


def of_heartbeat(teller: Teller, name: str) -> Story:
    """Explains an interconnect: which server hears which other on it."""
    found = [(s, h) for s in teller.status.servers for h in s.heartbeats if h.name == name]
    own = [r for r in teller.records if _of_link(r, name)]
    lacking = [line for server, beat in found for line in _lacking(server, beat)]
    words = [f"{beat.status} on {server.name}" for server, beat in found]
    if {beat.status for _, beat in found} == {"Normal"}:
        state = f"{name} is Normal on {listed(s.name for s, _ in found)}."
    else:
        state = f"{name} is {listed(words)}."
    if lacking:
        state += f" {'. '.join(lacking)}."
    return Story(
        subject=name,
        state=state,
        because=teller.steps(own[-RECENT:]),
        then=tuple(dict.fromkeys(_mends_of_heartbeat(teller.status, name, found))),
    )


def _of_link(record: Recorded, name: str) -> bool:
    return name in record.subjects or f"interconnect {name}" in record.text


def _lacking(server: ServerView, beat: HeartbeatView) -> list[str]:
    """Which peers a server that reports its status does not hear."""
    return [
        f"{server.name} {_hears(beat)} {peer}"
        + (" at all" if seen.last_seen_s is None else f" for {ago(seen.last_seen_s)}")
        for peer, seen in beat.peers.items()
        if seen.status not in _WELL and beat.status not in _WELL
    ]


def _hears(beat: HeartbeatView) -> str:
    return "reads no beat in the BMC of" if beat.type == "bmchb" else "has not heard"


def _mends_of_heartbeat(
    status: StatusView, name: str, found: list[tuple[ServerView, HeartbeatView]]
) -> list[str]:
    away = {s.name: s.status for s in status.servers if s.status in _SILENT}
    told = []
    for server, beat in found:
        if server.name in away:
            told.append(f"{server.name} is {away[server.name]}: clpstat --explain {server.name}")
            continue
        for peer, seen in beat.peers.items():
            if seen.status in _WELL:
                continue
            if peer in away:
                told.append(f"{peer} is {away[peer]}: clpstat --explain {peer}")
            elif beat.type == "bmchb":
                told.append(f"What the BMC of {peer} says: clpstat --hw")
            elif beat.type == "witnesshb":
                told.append(f"See from {server.name} and {peer} whether the witness answers.")
            else:
                told.append(
                    f"Look at the cables and switch ports of {name} between {server.name} and "
                    f"{peer}, and whether each has its address there: ip -br address"
                )
    return told


# ------------------------------------------------------------------------------ NP resolution


def of_arbiter(teller: Teller, name: str) -> Story:
    """Explains an NP resolution resource: which servers can reach it, and which holds it."""
    found = [(s, a) for s in teller.status.servers for a in s.np if a.name == name]
    holders = [server.name for server, arbiter in found if arbiter.held]
    words = [_arbiter_word(server, arbiter) for server, arbiter in found]
    if {arbiter.status for _, arbiter in found} == {"Normal"}:
        state = f"{name} is Normal on {listed(s.name for s, _ in found)}"
    else:
        state = f"{name} is {listed(words)}"
    held = f"; {listed(holders)} holds it" if holders else ""
    then = [
        f"See on {server.name} whether its {_PLACES.get(arbiter.type, 'place')} answers: clpcfchk"
        for server, arbiter in found
        if arbiter.status == "Error"
    ]
    then += [
        f"{server.name} does not report how it is: clpstat --explain {server.name}"
        for server, arbiter in found
        if arbiter.status == "Unknown"
    ]
    own = teller.about(name)
    return Story(
        subject=name, state=f"{state}{held}.", because=teller.steps(own[-RECENT:]), then=tuple(then)
    )


def _arbiter_word(server: ServerView, arbiter: ArbiterView) -> str:
    why = f" ({arbiter.error})" if arbiter.error else ""
    return f"{arbiter.status} on {server.name}{why}"
