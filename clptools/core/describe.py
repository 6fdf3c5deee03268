"""One stable line of text for every event and action: for scenario files, replay and logs.

The wording is a contract of the scenario files: a change here shows as a diff there.  Names
appear as configured, instants relative to the `now` of the step (a journal line can then be
compared with one of another boot), nothing appears that is at its default.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model import messages as m
from clptools.core.model.durable import Durable
from clptools.core.model.requests import Outcome, Request
from clptools.core.model.words import Operation, Severity


def describe_event(event: e.Event, now: int) -> str:
    """What the core was told at `now`, in one line."""
    tag = str(event.__struct_config__.tag)
    return _line(tag, _EVENTS[type(event)](event, now))


def describe_action(action: a.Action, now: int) -> str:
    """What the core wanted done at `now`, in one line."""
    tag = str(action.__struct_config__.tag)
    return _line(tag, _ACTIONS[type(action)](action, now))


def describe_request(request: Request) -> str:
    """A request as its tag and what differs from the defaults."""
    return _line(str(request.__struct_config__.tag), _fields(request))


def describe_control(message: m.Control, now: int) -> str:
    """A control message in one line."""
    tag = str(message.__struct_config__.tag)
    return _line(tag, _CONTROL[type(message)](message, now))


def describe_beat(beat: m.Beat) -> str:
    """A heartbeat in one line: what the safety rules read in it.

    Its instants belong to the sender's clock and are left out.
    """
    words = [f"{beat.sender}>{beat.to}", f"seq {beat.seq}"]
    if beat.page:
        return " ".join([*words, "page of", *(describe_line(line) for line in beat.page)])
    if beat.term != m.NO_TERM:
        words.append(f"term {describe_term(beat.term)}")
    if beat.ask:
        words.append(f"ask {beat.ask} {describe_term(beat.ask_term)}")
    if beat.vote is not None:
        kind = "pre-vote" if beat.vote.pre else "vote"
        words.append(f"{kind} {describe_term(beat.vote.term)}")
    if beat.coordinator:
        words.append(f"coordinator {beat.coordinator}" + ("!" if beat.authority else ""))
    if beat.newcomer:
        words.append("ripe newcomer" if beat.ripe else "newcomer")
    if beat.lacks:
        words.append(f"lacks {','.join(beat.lacks)}")
    if beat.out:
        words.append(f"out {','.join(beat.out)}")
    words += [describe_holding(h) for h in beat.holdings]
    if beat.listed:
        words.append(f"list {beat.listed} of {beat.count}")
    for flag in ("left", "armed", "suspended", "stopped", "barred", "unfit"):
        if getattr(beat, flag):
            words.append(flag)
    if not beat.counts:
        words.append("uncounted")
    return " ".join(words)


def describe_line(line: m.Line) -> str:
    """What a page says of one group."""
    return f"{line.number}:{describe_holding(line.holding)}"


def describe_term(term: m.Term) -> str:
    """`3/server1#1`: number and candidate's incarnation."""
    return f"{term.number}/{term.candidate}" if term.candidate else str(term.number)


def describe_epoch(epoch: m.Epoch) -> str:
    """`7@3/server1#1`: the number people see, then the term it was granted in."""
    return f"{epoch.n}@{describe_term(epoch.term)}" if epoch != m.NO_EPOCH else "0"


def describe_holding(holding: m.Holding) -> str:
    """One group as a server reports it."""
    word = "holds" if holding.held else "saw"
    why = f" ({holding.why})" if holding.why else ""
    return f"{word} {holding.group} {describe_epoch(holding.seen)} {holding.state}{why}"


def describe_durable(durable: Durable | None) -> str:
    """The state in `/run`, as far as it differs from an empty one."""
    if durable is None:
        return "nothing"
    words = [f"term {describe_term(durable.term)}"]
    if durable.vote:
        words.append(f"vote {durable.vote} {describe_term(durable.vote_term)}")
    for group in durable.groups:
        word = "holds" if group.held else "saw"
        words.append(f"{word} {group.group} {describe_epoch(group.seen)} {group.state}".rstrip())
    if durable.left:
        words.append(f"left {','.join(durable.left)}")
    if durable.confirmed:
        words.append(f"confirmed {','.join(durable.confirmed)}")
    if durable.newcomer:
        words.append("newcomer")
    if durable.shared.suspended:
        words.append("suspended")
    if durable.shared.ratio > 1:
        words.append(f"time-outs x{durable.shared.ratio}")
    return " ".join(words)


# --- parts -----------------------------------------------------------------------------------


def _line(tag: str, rest: str) -> str:
    return f"{tag} {rest}" if rest else tag


def _ago(at: int, now: int) -> str:
    return f"{(now - at) / 1000:.3f}s ago"


def _in(at: int, now: int) -> str:
    return f"in {(at - now) / 1000:.3f}s"


def _seconds(ms: int) -> str:
    return f"{ms / 1000:g}s"


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(_value(v) for v in value)
    if isinstance(value, str) and (" " in value or not value):
        return f'"{value}"'
    return str(value)


def _fields(struct: msgspec.Struct) -> str:
    """`name=value` of every field that is not at its default; a true flag is its name."""
    words = []
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if field.default is not msgspec.NODEFAULT and value == field.default:
            continue
        words.append(field.name if value is True else f"{field.name}={_value(value)}")
    return " ".join(words)


def _outcome(outcome: Outcome) -> str:
    text = f" {outcome.text}" if outcome.text else ""
    hint = f" [{outcome.hint}]" if outcome.hint else ""
    return f"code {outcome.code}{text}{hint}"


def _flags(**flags: bool) -> str:
    return "".join(f" {name.replace('_', ' ')}" for name, on in flags.items() if on)


def _tail(text: str) -> str:
    return f": {text}" if text else ""


# --- events ----------------------------------------------------------------------------------


def _agent_started(x: e.AgentStarted, now: int) -> str:
    flags = _flags(member=x.member, stopped=x.stopped, first_of_boot=x.first_of_boot)
    return f"up {_seconds(now)} state {describe_durable(x.durable)}{flags}"


def _power_read(x: e.PowerRead, now: int) -> str:
    session = f" session {x.session} of {_ago(x.session_at, now)}" if x.session else ""
    beat = f" beat {x.beat}" if x.beat else ""
    echoed = _flags(echoed=x.echoed)
    where = f" at {x.where}" if x.where else ""
    asked = f"asked {_ago(x.asked_at, now)}{where}"
    return f"{x.server} {x.power} {asked}{session}{beat}{echoed}{_tail(x.error)}"


def _fence_done(x: e.FenceDone, now: int) -> str:
    word = "sent" if x.sent else "not sent"
    return f"{x.server} {x.action} {word} asked {_ago(x.asked_at, now)}{_tail(x.error)}"


def _arbiter_answered(x: e.ArbiterAnswered, now: int) -> str:
    word = "held" if x.held else "not held"
    holder = f" by {x.holder}" if x.holder else ""
    return f"{x.name} {word}{holder} asked {_ago(x.asked_at, now)}{_tail(x.error)}"


def _resource_done(x: e.ResourceDone, now: int) -> str:
    result = "ok" if x.ok else "timed out" if x.timed_out else "failed"
    severity = "" if x.severity == Severity.SOFT else f" ({x.severity})"
    return f"{x.group}/{x.resource} {x.op} {result}{severity} epoch {x.epoch}{_tail(x.text)}"


def _resource_said(x: e.ResourceSaid, now: int) -> str:
    return f"{x.group}/{x.resource}{_tail(x.text)}"


def _resource_lost(x: e.ResourceLost, now: int) -> str:
    return f"{x.group}/{x.resource}{_tail(x.text)}"


def _script_done(x: e.ScriptDone, now: int) -> str:
    result = "ok" if x.ok else "timed out" if x.timed_out else "failed"
    return f"{x.token} {result}{_tail(x.text)}"


def _window_changed(x: e.WindowChanged, now: int) -> str:
    if x.closes_at <= x.opens_at:
        return f"{x.monitor} none"
    opens, closes = _seconds(x.opens_at - now), _seconds(x.closes_at - now)
    return f"{x.monitor} opens in {opens}, closes in {closes}{_tail(x.when)}"


def _hardware_seen(x: e.HardwareSeen, now: int) -> str:
    clears = f" of {x.clears}" if x.clears else ""
    return f"{x.monitor} {x.event_class}{clears} {x.key} from {x.source}: {x.meaning}"


def _message_seen(x: e.MessageSeen, now: int) -> str:
    flags = _flags(recovered=x.recovered, predictive=x.predictive)
    keyword = f".{x.keyword}" if x.keyword else ""
    return f"{x.category}{keyword}{flags}{_tail(x.text)}"


def _watchdog_changed(x: e.WatchdogChanged, now: int) -> str:
    method = f" ({x.method})" if x.method else ""
    return ("armed" if x.armed else "not armed") + method + _tail(x.text)


def _condition_seen(x: e.ConditionSeen, now: int) -> str:
    monitors = f" of {','.join(x.monitors)}" if x.monitors else ""
    return f"{x.name}{monitors}" + (_tail(x.text) if x.text else " over")


def _request_seen(x: e.RequestSeen, now: int) -> str:
    asked = f" asked {_ago(x.asked_at, now)}" if x.asked_at else ""
    return f"{x.id} of {x.user} {describe_request(x.request)}{asked}"


def _host_action_done(x: e.HostActionDone, now: int) -> str:
    return f"{x.action} {'ok' if x.ok else 'failed'}{_tail(x.text)}"


_EVENTS: dict[type, Callable[[Any, int], str]] = {
    e.AgentStarted: _agent_started,
    e.AgentStopping: lambda x, now: "",
    e.SettingsOffered: lambda x, now: f"of {len(x.settings.servers)} servers",
    e.SettingsChanged: lambda x, now: f"revision {x.settings.revision}{_flags(stretch=x.stretch)}",
    e.HeartbeatRefused: lambda x, now: f"{x.server} {x.address} {x.why}",
    e.BeatSeen: lambda x, now: f"{x.link} {describe_beat(x.beat)}",
    e.ControlSeen: lambda x, now: f"from {x.sender} {describe_control(x.message, now)}",
    e.TimerFired: lambda x, now: x.name,
    e.PowerRead: _power_read,
    e.FenceDone: _fence_done,
    e.ArbiterAnswered: _arbiter_answered,
    e.ResourceDone: _resource_done,
    e.ResourceSaid: _resource_said,
    e.ResourceLost: _resource_lost,
    e.ScriptDone: _script_done,
    e.MonitorResult: lambda x, now: f"{x.monitor} {x.status}{_tail(x.text)}",
    e.WindowChanged: _window_changed,
    e.HardwareSeen: _hardware_seen,
    e.MessageSeen: _message_seen,
    e.WatchdogChanged: _watchdog_changed,
    e.ConditionSeen: _condition_seen,
    e.BootNoted: lambda x, now: "",
    e.CopiesKept: lambda x, now: ",".join(x.behind) + (_tail(x.fault) if x.fault else ""),
    e.RequestSeen: _request_seen,
    e.HostActionDone: _host_action_done,
}


# --- control messages ------------------------------------------------------------------------


def _grant(x: m.Grant, now: int) -> str:
    previous = f" after {x.previous}" if x.previous else ""
    epoch = describe_epoch(x.epoch)
    return f"{x.group} {epoch} to {x.incarnation} {x.event}{previous}{_tail(x.reason)}"


def _intent(x: m.Intent) -> str:
    words = [x.group, "wanted" if x.wanted else "unwanted"]
    if x.preferred:
        words.append(f"on {x.preferred}")
    if x.avoid:
        words.append(f"not on {','.join(x.avoid)}")
    if x.failures:
        words.append(f"{x.failures} failed")
    if x.rounds:
        words.append(f"{x.rounds} rounds")
    if x.planned:
        words.append(f"planned for event {x.planned}")
    return " ".join(words)


def _plan(x: m.Plan) -> str:
    return f"{x.group} {x.stage} from {x.server} to {x.to or '-'} for event {x.event}"


def _shared(x: m.Shared, now: int) -> str:
    intents = "; ".join([*map(_intent, x.intents), *map(_plan, x.plans)])
    ratio = f" time-outs x{x.ratio} for {_seconds(x.ratio_ms)}" if x.ratio > 1 else ""
    flags = _flags(suspended=x.suspended)
    return f"{describe_epoch(x.version)}{flags}{ratio} {intents}".rstrip()


_CONTROL: dict[type, Callable[[Any, int], str]] = {
    m.Grant: _grant,
    m.Order: lambda x, now: (
        f"{x.group} {describe_epoch(x.epoch)} {x.factor} {x.why}".rstrip() + _tail(x.reason)
    ),
    m.Shared: _shared,
    m.Report: lambda x, now: f"{x.sender} {x.number} {x.server.status}",
    m.Forward: lambda x, now: f"{x.id} from {x.sender} {describe_request(x.request)}",
    m.Answer: lambda x, now: f"{x.id} {_outcome(x.outcome)}",
}


# --- actions ---------------------------------------------------------------------------------


def _send_beat(x: a.SendBeat, now: int) -> str:
    via = f" via {x.via}" if x.via else ""
    return describe_beat(x.beat) + via


def _fence(x: a.Fence, now: int) -> str:
    return f"{x.server} {x.action} {_ago(x.ordered_at, now)} within {_seconds(x.within_ms)}"


def _run_resource(x: a.RunResource, now: int) -> str:
    forced = _flags(forced=x.forced)
    previous = f" after {x.previous}" if x.previous else ""
    why = x.event if x.op == Operation.START else x.factor
    return f"{x.group}/{x.resource} {x.op} epoch {x.epoch} {why}{previous}{forced}".rstrip()


def _record(x: a.Record, now: int) -> str:
    because = "".join(f" | {line}" for line in x.because)
    return f"{x.level} {x.module} {x.event_id} [{','.join(x.subjects)}] {x.text}{because}"


_ACTIONS: dict[type, Callable[[Any, int], str]] = {
    a.Persist: lambda x, now: describe_durable(x.durable),
    a.KeepLedger: lambda x, now: f"{len(x.ledger.entries)} open",
    a.SetMember: lambda x, now: "yes" if x.member else "no",
    a.SendBeat: _send_beat,
    a.SendControl: lambda x, now: f"to {x.to} {describe_control(x.message, now)}",
    a.SetTimer: lambda x, now: f"{x.name} {_in(x.at, now)}",
    a.ClearTimer: lambda x, now: x.name,
    a.ReadPower: lambda x, now: x.server,
    a.Fence: _fence,
    a.CallOffFence: lambda x, now: f"call off the order for {x.server}",
    a.HoldArbiter: lambda x, now: f"{x.name} for {_seconds(x.lease_ms)}",
    a.ReleaseArbiter: lambda x, now: x.name,
    a.RunResource: _run_resource,
    a.WatchResource: lambda x, now: f"{x.group}/{x.resource} epoch {x.epoch}",
    a.RunScript: lambda x, now: f"{x.token} {x.script} within {_seconds(x.timeout_ms)}",
    a.RunMonitor: lambda x, now: f"{x.monitor} {'on' if x.on else 'off'}",
    a.FaultMonitor: lambda x, now: f"{x.monitor} {'on' if x.on else 'off'}",
    a.ArmWatchdog: lambda x, now: _seconds(x.timeout_ms),
    a.PetWatchdog: lambda x, now: "",
    a.DisarmWatchdog: lambda x, now: "",
    a.HostAction: lambda x, now: f"{x.action}{_tail(x.reason)}",
    a.StandDown: lambda x, now: "",
    a.ArmDeadman: lambda x, now: f"{x.action} {_in(now + x.deadline_ms, now)}",
    a.Stretch: lambda x, now: f"x{x.ratio}",
    a.Record: _record,
    a.Progress: lambda x, now: f"{x.id} {x.text}",
    a.Reply: lambda x, now: f"{x.id} {_outcome(x.outcome)}",
    a.SetService: lambda x, now: "stopped" if x.stopped else "running",
    a.Reincarnate: lambda x, now: "",
    a.Exit: lambda x, now: "",
}
