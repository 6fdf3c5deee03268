"""The words of scenario files and fault schedules: one table, each verb with how it is written.

A random schedule of `explore.py` is nothing but lines of these verbs with times, so a failing
seed is a scenario file.  Verbs that find nothing to do (killing an agent that is down) do
nothing: a shrunk schedule stays playable.  `docs/scenarios.md` is made from the tables here.
"""

from __future__ import annotations

import shlex
from typing import get_args

from clptools.core.describe import describe_epoch, describe_term
from clptools.core.model import actions as a
from clptools.sim.breaks import AT_ONCE, Breaks, Perform
from clptools.sim.hardware_verbs import HARDWARE_VERBS
from clptools.sim.host import SECOND, Host, Trigger
from clptools.sim.network import CUTS
from clptools.sim.network_verbs import NETWORK_VERBS
from clptools.sim.request_verbs import REQUEST_VERBS
from clptools.sim.revise import fetch, push, revised
from clptools.sim.server_verbs import SERVER_VERBS
from clptools.sim.words import MANY, BadLine, Verb, Words, shown, whole_in
from clptools.sim.world import World

_ACTIONS = tuple(sorted(str(kind.__struct_config__.tag) for kind in get_args(a.Action)))
_MEDDLE = {
    "disk", "fetch", "forget", "leave", "message", "monitor", "request", "restore", "revise",
    "run", "script", "storm", "trap", "window", "wipe",
}  # fmt: skip
"""Verbs after which a group may stop for another reason than a fault of machines and networks."""
_LOOKS = {"advance", "until", "log", "state"}
"""Verbs that cannot come between two actions: they let time pass, or are for the reader."""


def perform(world: World, line: str) -> str:
    """Carry out one line; the text that it prints, or nothing.  Raises BadLine."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise BadLine(
            f"{shown(line)}: {str(error).lower()}; close it, or leave the quote out"
        ) from None
    if not words:
        return ""
    verb = VERBS.get(words[0])
    if verb is None:
        raise BadLine(f"{shown(words[0])}: no such verb; known: {' '.join(sorted(VERBS))}")
    if words[0] in _MEDDLE:
        world.check.meddled = True
    try:
        rest = Words(world, [_named(world, word) for word in words[1:]])
        return verb.run(world, rest) or ""
    except BadLine as error:
        if error.line:
            raise  # of a line further up, whose time came only now
        usage = f"; usage: {verb.usage}" if verb.usage != verb.example else ""
        raise BadLine(f"{shown(line)}: {error}{usage}; an example: {verb.example}") from None


def _named(world: World, word: str) -> str:
    """`@coordinator3`, `@holder3`: the server that it is when the word is first met."""
    if not word.startswith("@"):
        return word
    if word not in world.aliases:
        world.aliases[word] = _alias_of(world, word.rstrip("0123456789")) or word
    found = world.aliases[word]
    return world.settings.names[0] if found == word else found


def _alias_of(world: World, word: str) -> str | None:
    if word == "@coordinator":
        offices = (h for h in world.hosts.values() if h.node is not None)
        return next(
            (h.name for h in offices if h.node.state.election.office == "coordinator"), None
        )
    if word == "@holder":
        return next((h.name for h in world.hosts.values() if h.active), None)
    raise BadLine(f"{shown(word)}: not @coordinator or @holder")


# --- between two actions -------------------------------------------------------------------


def _later(number: int) -> Perform:
    """Carries out a line when its time has come; a fault in it names the line."""

    def run(world: World, line: str) -> object:
        try:
            return perform(world, line)
        except BadLine as error:
            raise error.of(number) from None

    return run


def _interrupt(world: World, words: Words) -> None:
    host, count = words.server(), words.whole("COUNT", 0, MANY)
    how = words.one_of("interruption", "kill", "off", "reset", "pause", "stall", *CUTS)
    lasts_us = words.us() if words.more else 0
    words.end()
    host.stop_after = (count, how, lasts_us)


def _upon(world: World, words: Words) -> None:
    host, action = words.server(), words.one_of("action", *_ACTIONS)
    count, rest = words.whole("COUNT", 0, MANY), words.rest()
    Words(world, rest[:1]).one_of("verb between two actions", *sorted(AT_ONCE))
    line, run = shlex.join(rest), _later(world.line)
    host.upon.append(Trigger(action, count, lambda: run(world, line)))


def _break(world: World, words: Words, *, before: bool) -> None:
    host, place, rest = words.server(), words.word("COUNT"), words.rest()
    count, plus, later = place.partition("+")
    left = whole_in(count, "COUNT", 1, MANY)
    later_us = Words(world, [later]).us("SECONDS after the +") if plus else 0
    Words(world, rest[:1]).one_of("verb of a fault", *sorted(set(VERBS) - _LOOKS))
    if not isinstance(world.between, Breaks):
        world.between = Breaks(world)
    line = shlex.join(rest)
    world.between.add(host, left, line, later_us, _later(world.line), before=before)


# --- time and looking ----------------------------------------------------------------------


def _revise(world: World, words: Words) -> str:
    host, rest = words.server(), words.rest()
    revised(world, host.settings, [w for w in rest if not w.startswith(("-", "without-"))])
    return push(world, host, rest)


def _fetch(world: World, words: Words) -> str:
    """Its agent compares its revision with those of the servers that it reaches."""
    host = words.server()
    words.end()
    return fetch(world, host)


def _advance(world: World, words: Words) -> None:
    seconds = words.seconds()
    words.end()
    world.advance(seconds)


def _until(world: World, words: Words) -> str:
    """Wait till the group is whole on that server: `any`, `-` (nowhere), `!server1` (elsewhere)."""
    group, server, limit = words.group(), words.word("SERVER"), words.seconds()
    words.end()
    if server not in ("any", "-"):
        Words(world, [server.removeprefix("!")]).server()
    begin = world.t
    while world.t < begin + limit * SECOND:
        where = world.check.service.where.get(group)
        if (
            where == (None if server == "-" else server)
            or (server == "any" and where is not None)
            or (server.startswith("!") and where not in (None, server[1:]))
        ):
            return f"{group} is on {where or 'no server'} after {(world.t - begin) / SECOND:.3f} s"
        world.run_until(world.t + 1000)
    return f"{group} is not on {server} after {limit:g} s"


def _log(world: World, words: Words) -> None:
    how = words.one_of("amount", "all", "story", "none")
    words.end()
    world.verbose, world.silent = how == "all", how == "none"


def _state(world: World, words: Words) -> str:
    words.end()
    return describe_world(world)


def describe_world(world: World) -> str:
    """A line for each server, then one for each group."""
    lines = [f"{h.name}  {_host(world, h)}" for h in world.hosts.values()]
    for group in world.settings.groups:
        on = [h.name for h in world.hosts.values() if group.name in h.groups_active()]
        lines.append(f"{group.name}  active on {', '.join(on) if on else 'no server'}")
    return "\n".join(lines)


def _host(world: World, host: Host) -> str:
    if not host.powered:
        return "off"
    if not host.os_up:
        return "boots"
    if not host.configured:
        return "not configured"
    if host.node is None:
        return "up, no agent"
    state = host.node.state
    words = []
    if host.frozen:
        words.append("paused")
    if state.life.newcomer:
        words.append("newcomer")
    if state.election.office == "coordinator":
        words.append(f"coordinator {describe_term(state.election.office_term)}")
    elif state.election.told:
        words.append(f"follows {state.election.told}")
    else:
        words.append("no coordinator")
    others = [n for n in host.node.settings.names if n != host.name]
    out = [n for n in others if host.node.peers.is_out(n)]
    if out:
        words.append(f"out {','.join(out)}")
    for name, group in state.lifecycle.runs.items():
        if group.held:
            words.append(f"holds {name} {describe_epoch(group.seen)} {group.state}")
    for name, monitor in state.monitors.items():
        if monitor.status not in ("Normal", "Offline", "Unused"):
            words.append(f"{name} {monitor.status}")
    if state.policy.shared.suspended:
        words.append("suspended")
    if state.ratio.ratio > 1:
        words.append(f"time-outs x{state.ratio.ratio}")
    return ", ".join(words)


VERBS: dict[str, Verb] = {
    **SERVER_VERBS,
    "interrupt": Verb(
        _interrupt,
        "interrupt SERVER COUNT kill|off|reset|pause|stall|isolate|deaf|mute [SECONDS]",
        "interrupt server1 2 kill",
        "In its next step with more actions than that, it is interrupted after so many; the last "
        "five end after SECONDS.",
    ),
    "upon": Verb(
        _upon,
        "upon SERVER ACTION COUNT VERB ...",
        "upon server1 fence 1 cut server1 server2",
        "Right after its COUNT-th action of that kind comes the rest of the line.",
    ),
    "before": Verb(
        lambda w, x: _break(w, x, before=True),
        "before SERVER COUNT[+SECONDS] VERB ...",
        "before server1 38 cut server1 server2",
        "Right before its COUNT-th action from here on, or so much later, comes the rest of the "
        "line.",
    ),
    "after": Verb(
        lambda w, x: _break(w, x, before=False),
        "after SERVER COUNT[+SECONDS] VERB ...",
        "after server1 37+2.5 heal",
        "The same, right after that action.",
    ),
    **NETWORK_VERBS,
    **HARDWARE_VERBS,
    **REQUEST_VERBS,
    "revise": Verb(
        _revise,
        "revise SERVER REVISION ... [-SERVER ...]",
        "revise server1 leases 2 4 30",
        "A changed configuration is pushed from that server; see below. A server after `-` is not "
        "told to put it in force; `-nobody`: all are told (else one in ten is missed, by chance). "
        "`without-SERVER`: who pushes takes it upon himself that this one does not answer.",
    ),
    "fetch": Verb(
        _fetch,
        "fetch SERVER",
        "fetch server3",
        "That server takes over the newest revision of those that it reaches, as its agent does "
        "when it is connected.",
    ),
    "advance": Verb(_advance, "advance SECONDS", "advance 12.5", "So much time passes."),
    "until": Verb(
        _until,
        "until GROUP SERVER|any|-|!SERVER SECONDS",
        "until failover1 server2 20",
        "Time passes until the group runs whole on that server (`any`; `-`: on none; `!SERVER`: "
        "on another), at most so long; it prints how long that took.",
    ),
    "log": Verb(
        _log,
        "log all|story|none",
        "log none",
        "How much is printed: events and actions too, what happens, or nothing.",
    ),
    "state": Verb(_state, "state", "state", "Prints what is true, and what each agent believes."),
}
