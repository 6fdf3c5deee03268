"""The cluster as it was at an instant, told from the records before it.

It is the present view with everything replaced that records tell: where groups ran, who was
heard, how monitors stood, which hardware events were open.  What no record before the instant
tells of is read off the first one after it (a group that was stopped had run), and where there
is none of those either, it was as it is now.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from clptools.core.model.view import (
    GroupView,
    MonitorOnServerView,
    MonitorView,
    OpenEventView,
    ServerView,
    StatusView,
    WaitingView,
)
from clptools.core.model.words import EventClass
from clptools.core.notices import cluster, groups, hardware, monitors
from clptools.core.notices.form import Kinds
from clptools.core.phrases import waits_for_online, waits_for_proof
from clptools.core.report.facts import facts, number
from clptools.core.report.presence import HEARD, TAKES_PART, Presence, about
from clptools.core.report.story import Recorded

ONLINE = Kinds(groups.GroupOnline, groups.GroupFound)
GIVEN = Kinds(groups.GroupGranted)
STARTS = Kinds(groups.GroupStarts)
STOPS = Kinds(groups.GroupStops)
RELEASED = Kinds(groups.GroupReleased)
STUCK = Kinds(groups.GroupStuck)
WAITS = Kinds(groups.GroupWaits)
WAITS_IN_ORDER = Kinds(groups.WaitsToStart, groups.StartWaitOver)
ENDS_IN_OFFICE = Kinds(
    cluster.AuthorityLapsed, cluster.ArbiterOffered, cluster.HigherTerm, cluster.CoordinatorLeaves
)
ELECTED = Kinds(cluster.CoordinatorElected)
SUSPENDED = Kinds(cluster.ClusterSuspended)
RESUMED = Kinds(cluster.ClusterResumed)
MONITOR_SUSPENDED = Kinds(monitors.MonitorSuspended)
MONITOR_RESUMED = Kinds(monitors.MonitorResumed)
CHANGES = Kinds(
    monitors.MonitorError,
    monitors.MonitorRecovered,
    monitors.MonitorWell,
    monitors.MonitorWarns,
    monitors.MonitorUnknown,
)
WORDS = {
    monitors.MonitorError.code(): "Error",
    monitors.MonitorRecovered.code(): "Normal",
    monitors.MonitorWell.code(): "Normal",
    monitors.MonitorUnknown.code(): "Unknown",
}
OPENED = {
    hardware.HardwareFatal.code(): EventClass.FATAL,
    hardware.MessageFatal.code(): EventClass.FATAL,
    hardware.HardwareDegraded.code(): EventClass.PERFORMANCE,
    hardware.HardwarePredicted.code(): EventClass.PREDICT,
    hardware.HardwareFault.code(): EventClass.ERROR,
}
_HELD = re.compile(r"(\S+) is proven not to run \S+: (?!released|left)\S.*")
"""Evidence of a grant, where the server did not let the group go itself."""
CLOSED = Kinds(hardware.HardwareClosed, hardware.HardwareAcknowledged)


class Run(msgspec.Struct, frozen=True):
    """A group, as the records tell it."""

    status: str
    server: str | None
    since: float
    epoch: int = 0
    waits: str = ""


def at(present: StatusView, records: Sequence[Recorded], instant: float, now: float) -> StatusView:
    """The cluster at `instant`.

    `records` are in order, `present` is the cluster at `now`; all three by one wall clock.
    """
    before = [r for r in records if r.time <= instant]
    after = [r for r in records if r.time > instant]
    servers = _servers(present, before, after)
    opened = _open_events(before, instant)
    suspended = _suspended(before, after, present.cluster.suspended)
    up = {server.name for server in present.servers if server.status in ("Online", "Caution")}
    states = {
        m.name: _all_suspended(m) if suspended else _monitor(m, servers, up, before, after)
        for m in present.monitors
    }
    return StatusView(
        cluster=msgspec.structs.replace(
            present.cluster,
            coordinator=_coordinator(before),
            suspended=suspended,
            out=tuple(name for name, word in servers.items() if word == "Offline"),
        ),
        servers=tuple(
            msgspec.structs.replace(
                s,
                status=servers[s.name],
                open_events=tuple(opened.get(s.name, {}).values()),
                heartbeats=(),
                bmc=None,
                newcomer=False,
            )
            for s in present.servers
        ),
        groups=tuple(_group(g, servers, before, after, instant, now) for g in present.groups),
        monitors=tuple(
            msgspec.structs.replace(m, servers=states[m.name], status=_worst(states[m.name]))
            for m in present.monitors
        ),
    )


def tells_of(name: str, records: Iterable[Recorded]) -> bool:
    """Whether any of the records is about that object, or told by it."""
    return any(name in r.subjects or name == r.server for r in records)


# ---------------------------------------------------------------------- servers


def _servers(
    present: StatusView, before: Sequence[Recorded], after: Sequence[Recorded]
) -> dict[str, str]:
    """Name -> Online, Offline or Unknown."""
    presence = Presence(server.name for server in present.servers)
    for record in before:
        presence.take(record)
    return {
        server.name: presence.status(server.name) or _as_told_next(server, after)
        for server in present.servers
    }


def _as_told_next(server: ServerView, after: Sequence[Recorded]) -> str:
    """Of one of which no record before tells."""
    for record in after:
        if about(record) == server.name:
            return "Unknown" if record in HEARD or record in TAKES_PART else "Online"
        if record.server == server.name:
            return "Online"
    return server.status


# ---------------------------------------------------------------------- the cluster


def _coordinator(before: Sequence[Recorded]) -> str:
    for record in reversed(before):
        if record in ELECTED:
            return record.server
        if record in GIVEN:
            return record.server
        if record in ENDS_IN_OFFICE:
            return ""
    return ""


def _suspended(before: Sequence[Recorded], after: Sequence[Recorded], present: bool) -> bool:
    for record in reversed(before):
        if record in SUSPENDED or record in RESUMED:
            return record in SUSPENDED
    for record in after:
        if record in SUSPENDED or record in RESUMED:
            return record in RESUMED
    return present


# ---------------------------------------------------------------------- groups


def run_after(run: Run | None, record: Recorded) -> Run | None:
    """The state of a group after a record about it."""
    at = record.time
    epoch = number(record, "epoch") or (run.epoch if run is not None else 0)
    if record in GIVEN:
        return Run("Online Pending", facts(record).get("server"), at, epoch)
    if record in STARTS:
        return Run("Online Pending", record.server, at, epoch)
    if record in ONLINE:
        return Run("Online", record.server, at, epoch)
    if record in STOPS:
        return Run("Offline Pending", record.server, at, epoch)
    if record in RELEASED:
        return Run("Offline", None, at, epoch)
    if record in STUCK:
        return Run("Offline Failure", facts(record).get("server", record.server), at, epoch)
    if record in WAITS:
        waits = record.text.removesuffix(".").partition(" waits for ")[2]
        if run is not None and run.server is not None:
            # Nothing proves that it does not run there.
            return Run("Unknown", run.server, at, epoch, f"waits for {waits}")
        return Run("Offline", None, at, epoch, f"waits for {waits}")
    if record in WAITS_IN_ORDER:
        awaited = facts(record).get("awaited", "")
        return Run("Offline", None, at, epoch, f"waits for {waits_for_online((awaited,))}")
    return run


def _group(
    group: GroupView,
    servers: dict[str, str],
    before: Sequence[Recorded],
    after: Sequence[Recorded],
    instant: float,
    now: float,
) -> GroupView:
    run: Run | None = None
    for record in before:
        if group.name in record.subjects:
            run = run_after(run, record)
    if run is None:
        run = _as_before(group, after, now)
    if run.status == "Online" and run.server and servers.get(run.server) == "Unknown":
        waits = f"waits for {waits_for_proof((run.server,))}"
        run = Run("Unknown", run.server, instant, run.epoch, waits)
    waiting = None
    if run.waits:
        waiting = WaitingView(text=run.waits, since_s=max(instant - run.since, 0.0))
    return msgspec.structs.replace(
        group,
        status=run.status,
        current=run.server,
        epoch=run.epoch,
        since_s=max(instant - run.since, 0.0),
        waiting_for=waiting,
        copies=(),
        wanted=True,
        on={} if run.server is None else {run.server: run.status},
    )


def _as_before(group: GroupView, after: Sequence[Recorded], now: float) -> Run:
    """A group of which no record before tells: what the first one after shows."""
    for record in after:
        if group.name not in record.subjects:
            continue
        if record in STOPS or record in RELEASED or record in STUCK:
            return Run("Online", record.server, 0.0)
        if record in GIVEN:
            held = [m[1] for m in map(_HELD.fullmatch, record.because) if m is not None]
            return Run("Online", held[0], 0.0) if len(held) == 1 else Run("Offline", None, 0.0)
        if record in STARTS:
            return Run("Offline", None, 0.0)
        if record in WAITS or record in WAITS_IN_ORDER:
            break
    # A group of a server that was lost since counts as running there.
    status = "Online" if group.status == "Unknown" and group.current else group.status
    return Run(status, group.current, now - group.since_s, group.epoch)


# ---------------------------------------------------------------------- monitors


def _monitor(
    monitor: MonitorView,
    servers: dict[str, str],
    up: set[str],
    before: Sequence[Recorded],
    after: Sequence[Recorded],
) -> dict[str, MonitorOnServerView]:
    found: dict[str, MonitorOnServerView] = {}
    own = [r for r in (*before, *after) if monitor.name in r.subjects]
    follows_group = any(
        found.status == "Offline" for n, found in monitor.servers.items() if n in up
    )
    boundary = before[-1].time if before else float("-inf")
    for server, present in monitor.servers.items():
        view = None
        for record in own:
            if record.server != server:
                continue
            known = _monitor_word(record)
            if record.time <= boundary:
                view = known or view
            elif view is None:
                view = _monitor_before(record)
        if view is None and follows_group:
            # It runs where its target does; where that was is nobody's record.
            view = MonitorOnServerView(status="Unknown")
        if view is None and server not in up and servers.get(server) == "Online":
            # It would have been told of if it had been anything else.
            view = MonitorOnServerView(status="Normal")
        found[server] = view or MonitorOnServerView(status=present.status, text=present.text)
    return found


def _all_suspended(monitor: MonitorView) -> dict[str, MonitorOnServerView]:
    return {server: MonitorOnServerView(status="Suspend") for server in monitor.servers}


def _monitor_before(record: Recorded) -> MonitorOnServerView | None:
    """What the first record shows of the time before it."""
    if record in CHANGES:
        return MonitorOnServerView(status=facts(record).get("was", "Unknown"))
    if record in MONITOR_RESUMED:
        return MonitorOnServerView(status="Suspend")
    # It would have been told of if it had been anything else.
    return MonitorOnServerView(status="Normal") if record in MONITOR_SUSPENDED else None


def _monitor_word(record: Recorded) -> MonitorOnServerView | None:
    if record in MONITOR_SUSPENDED:
        return MonitorOnServerView(status="Suspend")
    said = facts(record)
    if record in MONITOR_RESUMED:
        return MonitorOnServerView(status=said.get("status") or "Normal")
    if record not in CHANGES:
        return None
    status = WORDS.get(record.code, said.get("status", "Unknown"))
    return MonitorOnServerView(status=status, text=said.get("found", ""))


def _worst(servers: dict[str, MonitorOnServerView]) -> str:
    words = [found.status for found in servers.values()]
    for word in ("Error", "Caution", "Stall", "Suspend", "Unknown"):
        if word in words:
            return "Caution" if word == "Stall" else word
    return words[0] if words else "Unknown"


def _open_events(before: Sequence[Recorded], instant: float) -> dict[str, dict[int, OpenEventView]]:
    """Server -> number -> hardware event that was open."""
    found: dict[str, dict[int, OpenEventView]] = {}
    for record in before:
        opened = found.setdefault(record.server, {})
        if not record.event:
            continue
        if record in CLOSED:
            opened.pop(record.event, None)
        elif record.code in OPENED:
            said = facts(record)
            ago = instant - record.time
            opened[record.event] = OpenEventView(
                id=record.event,
                event_class=OPENED[record.code],
                meaning=said.get("meaning", record.text),
                first_s=ago,
                last_s=ago,
                count=1,
                monitor=said.get("monitor") or (record.subjects or ("",))[0],
            )
    return found
