"""Why a group, a monitor or a server is as it is: a story, told from the records of decisions.

Every record names its subjects.  The story of a group is the chain that began its present stay
(its stop, failover, grant and start), together with what happened to the server it left and to
the monitors that gave it up; it does not go back further than the stay before.

Pure: records, view and wall clock are handed in.  The records stand in the one order of
`report/order.py`, with times of one clock, seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clptools.core.model.view import (
    BmcView,
    ConditionView,
    GroupView,
    MonitorOnServerView,
    MonitorView,
    OpenEventView,
    PlannedMoveView,
    ServerView,
    StatusView,
)
from clptools.core.model.words import EventClass, PlanStage, PowerState
from clptools.core.notices import cluster, groups, monitors, requests, safety
from clptools.core.notices.form import Kinds
from clptools.core.phrases import (
    any_other,
    behind,
    listed,
    no_window,
    stops_of,
    with_reasons,
)
from clptools.core.report.explain_parts import of_arbiter, of_heartbeat, of_resource
from clptools.core.report.facts import facts
from clptools.core.report.story import Recorded, Story, Teller, ago

CAUSE_S = 60.0
"""What happened to the old server this long before its group moved belongs to the story."""
MOST_AFTERWARDS = 5
RECENT = 8
"""Records shown of a monitor or a server that is well."""
_NOBODY: frozenset[str] = frozenset()

BEGINS = Kinds(groups.GroupGranted, groups.GroupStarts)
STOPS = Kinds(groups.GroupStops)
PLANNED = Kinds(groups.MovePlanned)
PLAN_BEGINS = Kinds(groups.PlannedMoveBegins)
NOWHERE = Kinds(groups.GroupStartsNowhere)
ONLINE = Kinds(groups.GroupOnline, groups.GroupFound)
STAYS = Kinds(monitors.GroupStays)
"""Of a version before the catalogue, a wait has the same number, but one subject."""
PURGES = Kinds(groups.StopScriptsRun)
COMES = Kinds(cluster.TakesPart, cluster.HeardAgain)
WELL = Kinds(monitors.MonitorWell, monitors.MonitorRecovered)
_EDITED = Kinds(cluster.FileEdited)
_AS_IN_FORCE = Kinds(cluster.FileAsInForce, cluster.RevisionInForce)
_RESUMED = Kinds(monitors.MonitorResumed)
_SUSPENSION = Kinds(
    monitors.MonitorSuspended, monitors.MonitorStillSuspended, monitors.MonitorResumed
)

_ENDS = (
    cluster.ServerLeft,
    cluster.ServerReadsOff,
    cluster.ServerLost,
    cluster.BmcLies,
    cluster.BmcTruthful,
    cluster.CountsAgain,
    cluster.StoppedIfSilent,
    cluster.DuplicateName,
    cluster.HeartbeatsReplayed,
    cluster.AuthorityLapsed,
    cluster.ArbiterOffered,
    cluster.HigherTerm,
    cluster.CoordinatorLeaves,
    safety.LeaseEnded,
    safety.WatchdogNotArmed,
    safety.ForcedStopBegins,
    safety.ForcedStopDone,
    safety.ForcedStopNotNeeded,
    safety.ForcedStopFailed,
    safety.ForcedStopCalledOff,
    safety.ForcedStopStaysOff,
    safety.ConfirmedDown,
    requests.ServiceStops,
    requests.ServiceStopped,
    requests.CannotLeave,
    monitors.FinalActionBegins,
    monitors.ResourceFinalAction,
    monitors.AfterRecovery,
)
ENDS = Kinds(*_ENDS)
"""What tells of a server's own life, and may be why a group left it: membership, forced stop,
leaving, final actions."""
OF_SERVER = Kinds(
    *_ENDS,
    cluster.TakesPart,
    cluster.HeardAgain,
    cluster.BmcRefuses,
    cluster.BmcAnswers,
    cluster.BmcLacks,
    cluster.BmcSuffices,
    cluster.FileEdited,
    cluster.PathSilent,
    cluster.PathHeard,
)


def explain(
    subject: str,
    status: StatusView,
    records: Sequence[Recorded],
    now: float,
    clock: Callable[[float], str],
) -> Story | None:
    """The story of a group, a resource, a monitor, a server, a heartbeat or an NP resource.

    None for any other name; `names` has those there are.
    """
    teller = Teller(status=status, records=tuple(records), now=now, clock=clock)
    for group in status.groups:
        if subject == group.name:
            return _group(teller, group)
    for monitor in status.monitors:
        if subject == monitor.name:
            return _monitor(teller, monitor)
    for server in status.servers:
        if subject == server.name:
            return _server(teller, server)
    for group in status.groups:
        for resource in group.resources:
            if subject == resource.name:
                return of_resource(teller, group, resource)
    for server in status.servers:
        if subject in (beat.name for beat in server.heartbeats):
            return of_heartbeat(teller, subject)
        if subject in (arbiter.name for arbiter in server.np):
            return of_arbiter(teller, subject)
    return None


def names(status: StatusView) -> tuple[str, ...]:
    """Every name that can be explained."""
    return (
        *(group.name for group in status.groups),
        *(resource.name for group in status.groups for resource in group.resources),
        *(monitor.name for monitor in status.monitors),
        *(server.name for server in status.servers),
        *paths(status),
    )


def paths(status: StatusView) -> tuple[str, ...]:
    """Heartbeats and NP resources: how they are is seen now, and told by few records."""
    beats = dict.fromkeys(h.name for server in status.servers for h in server.heartbeats)
    return (*beats, *dict.fromkeys(a.name for server in status.servers for a in server.np))


# ------------------------------------------------------------------------------ groups


def _group(teller: Teller, group: GroupView) -> Story:
    of_group = teller.about(group.name)
    held = group.current is not None and group.waiting_for is None
    arrival = _arrival(of_group) if held else None
    chain, old, came = _chain(of_group, arrival)
    begin = chain[0].time if chain else teller.now
    end = arrival.time if arrival is not None else teller.now
    story = _with_causes(teller, chain, old, max(begin - CAUSE_S, came), end)
    at = teller.now - group.since_s
    if arrival is not None and group.status == "Online":
        at = arrival.time
    waiting = group.waiting_for
    return Story(
        subject=group.name,
        state=_group_state(teller, group, at),
        because=teller.steps(story),
        then=_group_then(teller, group, of_group, arrival, old),
        waiting_for=waiting.text if waiting is not None else None,
    )


def _group_state(teller: Teller, group: GroupView, at: float) -> str:
    if group.copies:
        return groups.TwoCopies(group.name, group.copies, "").sentence()
    epoch = f", epoch {group.epoch}" if group.epoch else ""
    if group.waiting_for is not None:
        since = teller.since(teller.now - group.waiting_for.since_s)
        failed = _failures(teller.status, group.name) if group.failures else []
        why = f" Its start failed on {listed(failed)}." if failed else ""
        return f"{group.name} is {group.status} and {group.waiting_for.text} {since}.{why}"
    if group.current is not None:
        return f"{group.name} is {group.status} on {group.current} {teller.since(at)}{epoch}."
    failed = _failures(teller.status, group.name)
    if group.status == "Error" and failed:
        return f"{group.name} is Error: it could not be started on {listed(failed)}."
    wanted = "" if group.wanted else " and stays so until it is started"
    return f"{group.name} is {group.status}{wanted}."


def _failures(status: StatusView, group: str) -> list[str]:
    """Servers on which its last start failed, each with why."""
    return [
        f"{server.name} ({server.failed_starts[group]})"
        for server in status.servers
        if group in server.failed_starts
    ]


def _arrival(of_group: list[Recorded]) -> Recorded | None:
    """The record with which the present stay was complete: Online after a grant or a start.

    An agent that started again and found the group running began no stay.
    """
    started = False
    found: Recorded | None = None
    last: Recorded | None = None
    for record in of_group:
        if record in BEGINS:
            started = True
        elif record in ONLINE:
            last = record
            if started:
                found, started = record, False
    return found or last


def _chain(of_group: list[Recorded], arrival: Recorded | None) -> tuple[list[Recorded], str, float]:
    """What happened to the group from the end of its stay before; where and when that began."""
    end = of_group.index(arrival) if arrival is not None else len(of_group)
    before = [i for i in range(end) if of_group[i] in ONLINE]
    first = before[-1] + 1 if before else 0
    chain = of_group[first : end + 1]
    # A monitor that found nowhere to go, in the stay before, moved nothing; nor did a server that
    # booted meanwhile.
    while chain and (
        (chain[0] in STAYS and len(chain[0].subjects) > 1) or (before and chain[0] in PURGES)
    ):
        chain = chain[1:]
    chain = _newest(chain)
    stay = of_group[before[-1]] if before else None
    return chain, stay.server if stay else "", stay.time if stay else 0.0


def _newest(chain: list[Recorded]) -> list[Recorded]:
    """Without what was over before: an order that came later, a round of starts that all failed.

    What a monitor found meanwhile is no cause of a move by hand.
    """
    for index in range(len(chain) - 1, -1, -1):
        if chain[index] in STOPS and facts(chain[index]).get("reason"):
            plans = [n for n in range(index) if chain[n] in PLAN_BEGINS]
            near = plans and chain[index].time - chain[plans[-1]].time <= CAUSE_S
            chain = chain[plans[-1] if near else index :]
            break
    rounds = [i for i, record in enumerate(chain) if record in NOWHERE]
    if rounds and rounds[-1] == len(chain) - 1:
        rounds.pop()  # the newest round, which ended with it
    return chain[rounds[-1] + 1 :] if rounds else chain


def _with_causes(
    teller: Teller, chain: list[Recorded], old: str, since: float, end: float
) -> list[Recorded]:
    """The chain and what led to it: the old server's end, the monitor's error, its event."""
    monitors = {monitor.name for monitor in teller.status.monitors}
    guilty: dict[str, set[str]] = {}
    if chain and chain[0] in STOPS and facts(chain[0]).get("reason"):
        return chain
    if chain and chain[0] in PLAN_BEGINS:
        return [*_foreseen(teller, chain[0]), *chain]
    for record in chain:
        guilty.setdefault(record.server, set()).update(monitors.intersection(record.subjects))
    known = set(map(id, chain))
    events: set[tuple[str, int]] = set()
    # Newest first, so that the number of a hardware event is known before its own record comes.
    for record in reversed(teller.records):
        if id(record) in known or record.time > end:
            continue
        near = record.time >= since
        of_old = near and old in record.subjects and record in ENDS
        of_monitor = near and not guilty.get(record.server, _NOBODY).isdisjoint(record.subjects)
        if of_old or of_monitor or (record.server, record.event) in events:
            known.add(id(record))
            if record.event:
                events.add((record.server, record.event))
    return [record for record in teller.records if id(record) in known]


def _foreseen(teller: Teller, begins: Recorded) -> list[Recorded]:
    """Why a planned move begins: the newest event of its failure, and the plan."""
    told = facts(begins)
    group, server, monitor = (told.get(name, "") for name in ("group", "server", "monitor"))
    before = [r for r in teller.about(group) if r in PLANNED and r.time <= begins.time]
    plan = before[-1:]
    until = plan[0].time if plan else begins.time
    events = [
        r
        for r in teller.about(monitor)
        if r.server == server and r.event and r.time <= until and told["meaning"] in r.text
    ]
    return [*events[-1:], *plan]


def _group_then(
    teller: Teller,
    group: GroupView,
    of_group: list[Recorded],
    arrival: Recorded | None,
    old: str,
) -> tuple[str, ...]:
    after = of_group[of_group.index(arrival) + 1 :] if arrival is not None else []
    lines = [
        f"{teller.clock(r.time)}  {with_reasons(r.text, r.because)}"
        for r in after[-MOST_AFTERWARDS:]
    ]
    server = next((s for s in teller.status.servers if s.name == old), None)
    if server is not None:
        lines += _barred(teller.status, server)
    lines += _unfit(teller.status, group)
    lines += _behind(teller.status, group)
    if group.planned_move is not None:
        lines += _planned(group.name, group.planned_move)
    if group.copies:
        older = [server for server in group.copies if server != group.current]
        stops = stops_of(group.name, older)
        lines.append(groups.TwoCopies(group.name, group.copies, stops).mend())
    elif group.status == "Offline Failure":
        lines.append(f"Mend what could not be stopped, then: clpgrp -t {group.name} -f")
    elif group.status == "Error" or (group.waiting_for is not None and group.failures):
        lines.append(f"Mend what could not be started, then: clpgrp -s {group.name}")
    elif group.current is None and group.waiting_for is None:
        lines.append(f"Start it: clpgrp -s {group.name}")
    elif group.failback and group.waiting_for is None:
        lines.append(group.failback)
    if teller.status.cluster.suspended:
        lines.append(_suspended(teller, "nothing moves by itself"))
    return tuple(lines)


def _planned(group: str, planned: PlannedMoveView) -> list[str]:
    """Where a group is to move, when and why; what keeps it; how to call it off."""
    to, why = planned.to or any_other, f"{planned.monitor} expects a failure: {planned.why}"
    if planned.stage == PlanStage.MOVING:
        return [f"Its planned move to {to} has begun, as {why}."]
    lines = [f"It is to move to {to} in the quiet window {planned.when or no_window}, as {why}."]
    if planned.waits_for:
        lines.append(f"Now it would wait: {planned.waits_for}.")
    return [*lines, f"Call it off: clpgrp --cancel {group}"]


def _suspended(teller: Teller, so: str) -> str:
    """By whom, since when, and how that ends."""
    cluster = teller.status.cluster
    by = f" by {cluster.suspended_by}" if cluster.suspended_by else ""
    since = ""
    if cluster.suspended_s is not None:
        since = f" {teller.since(teller.now - cluster.suspended_s)}"
    return f"The cluster is suspended{by}{since}: {so}. Resume it: clpcl --resume"


def _barred(status: StatusView, server: ServerView) -> list[str]:
    """What keeps a server from receiving groups, and how to end that."""
    return [
        f"{server.name} gets no group while event {event.id} is open. "
        f"Close it: {_acknowledge(status, server, event)}"
        for event in server.open_events
        if event.event_class == EventClass.FATAL and not event.acknowledged
    ]


def _unfit(status: StatusView, group: GroupView) -> list[str]:
    """Servers that are passed over for a group, and how to end that."""
    if group.current is None:
        return []
    return [
        f"{server.name} is passed over for {group.name} for 10 min, as its start would fail there "
        f"again ({server.failed_starts.get(group.name, '')}). Once that is mended: "
        f"clpgrp -m {group.name} -a {server.name}"
        for server in status.servers
        if group.name in server.unfit and server.name != group.current
    ]


def _behind(status: StatusView, group: GroupView) -> list[str]:
    """Servers whose copy of the group's data is not to be used, and how that ends."""
    resources = {one.name for one in group.resources}
    return [
        f"{server.name} does not take {group.name}: {behind(resource, newer)}. It does once they "
        f"are in sync; by hand, there: clpfencepeer --clear -r {resource}"
        for server in status.servers
        for resource, newer in server.behind.items()
        if resource in resources
    ]


def _acknowledge(status: StatusView, server: ServerView, event: OpenEventView) -> str:
    """The command that closes an event; servers number theirs alike, so it may name the server."""
    same = sum((e.monitor, e.id) == (event.monitor, event.id) for e in _open(status))
    there = f" -h {server.name}" if same > 1 else ""
    return f"clpmonctrl --acknowledge -m {event.monitor} --event {event.id}{there}"


def _open(status: StatusView) -> list[OpenEventView]:
    return [event for server in status.servers for event in server.open_events]


# ------------------------------------------------------------------------------ monitors


def _monitor(teller: Teller, monitor: MonitorView) -> Story:
    of_monitor = teller.about(monitor.name)
    steps: list[Recorded] = []
    words = []
    then = []
    for server in teller.status.servers:
        found = monitor.servers.get(server.name)
        if found is None:
            continue
        text = f" ({found.text})" if found.text and found.status != "Normal" else ""
        if found.suspended_s is not None:
            by = f" by {found.suspended_by}" if found.suspended_by else ""
            text = f"{by} {teller.since(teller.now - found.suspended_s)}"
        words.append(f"{found.status} on {server.name}{text}")
        own = [r for r in of_monitor if r.server == server.name]
        if found.status == "Normal":
            steps += own[-RECENT:] if monitor.status == "Normal" else []
        else:
            steps += _since_well(own)
        if found.suspended_s is not None or (
            found.status == "Suspend" and not teller.status.cluster.suspended
        ):
            then.append(f"Resume it: clpmonctrl -r -m {monitor.name} -h {server.name}")
        then += _mends(monitor, server, found)
        then += _open_events(teller.status, server, monitor.name)
        then += [
            line
            for condition in server.conditions
            if monitor.name in condition.monitors
            for line in _condition(server, condition)
        ]
    if teller.status.cluster.suspended:
        then.insert(0, _suspended(teller, "no monitor acts"))
    # The records are in one order already, that of what happened.
    told = set(map(id, steps))
    steps = [record for record in teller.records if id(record) in told]
    if monitor.status == "Normal":
        steps = steps[-RECENT:]
    statuses = {found.status for found in monitor.servers.values()}
    if statuses == {monitor.status} and monitor.status == "Normal":
        state = f"{monitor.name} is Normal on {listed(monitor.servers)}."
    else:
        state = f"{monitor.name} is {monitor.status}: {listed(words) or 'it runs nowhere'}."
    return Story(
        subject=monitor.name,
        state=state,
        because=teller.steps(steps),
        then=tuple(then),
    )


def _mends(monitor: MonitorView, server: ServerView, found: MonitorOnServerView) -> list[str]:
    """What a person can do about a monitor that has no open event and is not well."""
    where = server.name
    if found.status == "Unknown":
        return [f"{where} does not report how it is: clpstat --explain {where}"]
    if found.status not in ("Caution", "Error", "Stall"):
        return []
    if monitor.type == "userw":
        return [f"See what the watchdog of {where} lacks, there: clpcfchk"]
    if any(event.monitor == monitor.name for event in server.open_events):
        return []
    if found.status == "Error" and (found.restarts or found.failovers or found.scripts):
        counts = f"What it did counts anew after, on {where}: clpmonctrl -c -m {monitor.name}"
        return ["It is Normal again once it finds all well.", counts]
    return [f"It is Normal again on {where} once it finds all well there."]


def _since_well(records: list[Recorded]) -> list[Recorded]:
    """The records after the monitor was last reported Normal, without suspensions that ended
    before the newest of them."""
    well = [i for i, r in enumerate(records) if r in WELL]
    since = records[well[-1] + 1 :] if well else records
    resumed = max((i for i, r in enumerate(since[:-1]) if r in _RESUMED), default=-1)
    return [r for i, r in enumerate(since) if i > resumed or r not in _SUSPENSION]


def _open_events(status: StatusView, server: ServerView, monitor: str) -> list[str]:
    """The events of a monitor that are still open on a server."""
    return [
        f"Event {event.id} is open on {server.name}: {event.meaning} ({event.event_class}, "
        + (f"{event.count} times, last " if event.count > 1 else "")
        + f"{ago(event.last_s)} ago). If it never deasserts: "
        f"{_acknowledge(status, server, event)}"
        for event in server.open_events
        if event.monitor == monitor and not event.acknowledged
    ]


def _condition(server: ServerView, condition: ConditionView) -> list[str]:
    """Since when something is not well on a server, and the mend."""
    text = condition.text.rstrip(".")
    mend = f" {condition.mend}" if condition.mend else ""
    return [f"On {server.name} for {ago(condition.since_s)}: {text}.{mend}"]


# ------------------------------------------------------------------------------ servers


_TAKES_PART = ("Online", "Caution")


def _server(teller: Teller, server: ServerView) -> Story:
    about = teller.about(server.name)
    settled = max((i for i, r in enumerate(about) if r in _AS_IN_FORCE), default=-1)
    away = server.status not in _TAKES_PART
    own = [
        r
        for i, r in enumerate(about)
        # An edit that was pushed or dropped is over, and none is why a server is away.
        if r in OF_SERVER and not (r in _EDITED and (away or i < settled))
    ]
    # From when it last came, or, if it is away, from what began that.
    comings = [i for i, r in enumerate(own) if r in COMES]
    first = comings[-1] if comings else 0
    if not away:
        story = own[first:] if comings else own[-RECENT:]
    else:
        story = own[first + 1 :] if comings else own
    return Story(
        subject=server.name,
        state=_server_state(teller, server),
        because=teller.steps(story),
        then=_server_then(teller.status, server),
    )


def _server_state(teller: Teller, server: ServerView) -> str:
    words = [f"{server.name} is {server.status}"]
    if teller.status.cluster.coordinator == server.name:
        words.append("is coordinator")
    if server.name in teller.status.cluster.out:
        words.append("is out of the electorate")
    held = [g.name for g in teller.status.groups if g.current == server.name]
    if held:
        words.append(f"runs {listed(held)}")
    cut_off = _cut_off_from(teller.status, server)
    if cut_off:
        words.append(f"is cut off: it hears nothing of {listed(cut_off)}")
        if server.lease_s is not None and held:
            words.append(
                f"stops {listed(held)} itself when its lease of {server.lease_s:.1f} s ends"
            )
    bad = [h.name for h in server.heartbeats if h.status in ("Caution", "Error")]
    if bad:
        words.append(f"hears too little on {listed(bad)}")
    bmc = server.bmc
    if bmc is not None and server.status not in _TAKES_PART and (bmc.reachable or bmc.error):
        said = f"reads {bmc.power}" if bmc.reachable else f"could not be read ({bmc.error})"
        words.append(f"{_power_control(bmc)} {said}")
    return f"{listed(words)}."


def _power_control(bmc: BmcView) -> str:
    """What reads and switches a server's power."""
    return f"its BMC {bmc.address}" if bmc.address else f"its fence agent {listed(bmc.agents)}"


def _cut_off_from(status: StatusView, server: ServerView) -> list[str]:
    """The servers that it should hear and does not, where it hears none: its own word."""
    others = [
        s for s in status.servers if s.name != server.name and s.name not in status.cluster.out
    ]
    heard = any(
        beat.peers[other.name].status == "Normal"
        for beat in server.heartbeats
        if beat.type != "bmchb"
        for other in others
        if other.name in beat.peers
    )
    told = any(beat.peers for beat in server.heartbeats if beat.type != "bmchb")
    return [] if heard or not told or not server.local else [other.name for other in others]


def _server_then(status: StatusView, server: ServerView) -> tuple[str, ...]:
    lines = []
    if server.refused:
        lines.append(f"It runs: {server.refused}. {server.refused_mend}".rstrip())
    cut_off = _cut_off_from(status, server)
    refused = [s for s in status.servers if s.name in cut_off and s.refused]
    lines += [f"What comes is not taken: {s.refused}. {s.refused_mend}".rstrip() for s in refused]
    if cut_off and not refused:
        lines.append("Look at its cables and switch ports: ip -br link; clpstat -n")
    lines += [
        f"What {beat.name} lacks: clpstat --explain {beat.name}"
        for beat in server.heartbeats
        if beat.status in ("Caution", "Error")
    ]
    if server.newcomer:
        lacks = f" {listed(server.lacks)}" if server.lacks else " every other server"
        lines.append(f"It has just started: it takes part when{lacks} counts it, or is out.")
    bmc = server.bmc
    if bmc is not None and bmc.mend:
        what = "cannot be asked from here" if bmc.error else "cannot stop it"
        control = _power_control(bmc)
        why = bmc.error or bmc.lacks
        lines.append(f"{control[0].upper()}{control[1:]} {what} ({why}). {bmc.mend}")
    for condition in (*server.conditions, *server.bmc_faults):
        lines += _condition(server, condition)
    if server.status in _TAKES_PART:
        lines += _barred(status, server)
    elif not server.local and not server.refused:
        lines += _brought_back(server)
    return tuple(lines)


def _brought_back(server: ServerView) -> list[str]:
    """What a person can do about a server that is away and of which nothing is refused."""
    name, bmc = server.name, server.bmc
    if server.status == "Offline":
        if bmc is not None and bmc.reachable and bmc.power == PowerState.OFF:
            return ["Switch it on: it takes part again once its agent runs."]
        return [f"It takes part again once its service is started: clpcl -s -h {name}"]
    if server.status != "Unknown":
        return []
    lines = ["If it runs, look at its cables and switch ports, and its agent: clpstat -n"]
    if bmc is not None and bmc.reachable:
        lines.append(f"If it hangs, power it off, which is proof: clpforcestop {name} --yes")
    else:
        lines.append(
            "If you have made sure that it is down and stays down: "
            f"clpnode confirm-down {name} --yes"
        )
    return lines
