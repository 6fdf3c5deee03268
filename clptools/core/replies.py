"""What requests are answered: what is already so, what refuses them, and what would allow them.

No decision reads one of these sentences: rewording them changes only what people read.
"""

from __future__ import annotations

from collections.abc import Sequence

from clptools.core.model.change import Refusal
from clptools.core.phrases import listed, span

# ---------------------------------------------------------------------- any request

ASK_AGAIN = "Look how things are (clpstat -s), then ask again."


def no_coordinator(what: str) -> str:
    return f"No server is coordinator now, so nobody can decide: {what}."


def cluster_suspended(user: str) -> str:
    return f"The cluster is suspended{' by ' + user if user else ''}."


# ---------------------------------------------------------------------- groups and resources


def suspension(on: bool) -> str:
    """What a suspension of the cluster, or its end, did."""
    if on:
        return "The cluster is suspended: nothing moves by itself until: clpcl --resume"
    return "The cluster is resumed: groups move by themselves again."


def already(group: str, server: str) -> str:
    return f"{group} is already on {server}."


def being_stopped(group: str, server: str) -> str:
    return f"{group} is being stopped on {server}."


def already_stopped(group: str) -> str:
    return f"{group} is already stopped."


def no_planned_move(group: str) -> str:
    return f"{group} has no planned move."


def planned_move_called_off(group: str) -> str:
    return f"The planned move of {group} is called off: it stays where it is."


def moves_already(group: str, server: str) -> str:
    return f"The planned move of {group} to {server} has begun."


def runs_on(group: str, server: str) -> str:
    """Another server was named."""
    return f"{group} runs on {server}."


def leave_host_out(server: str) -> str:
    """What to do when the command named another server than the one where it runs."""
    return f"Leave -h out, or name where it runs: -h {server}"


def not_running(group: str) -> str:
    return f"{group} is not running anywhere."


def started(groups: Sequence[tuple[str, str]]) -> str:
    """What a start did; (group, server) each."""
    if len(groups) == 1:
        group, server = groups[0]
        return f"{group} runs on {server} now."
    return f"{len(groups)} groups started: {_each('{} on {}', groups)}."


def moved(groups: Sequence[tuple[str, str, str]]) -> str:
    """What a move did; (group, server before, server now) each."""
    if len(groups) == 1:
        group, before, server = groups[0]
        came = f"; it came from {before}" if before not in ("", server) else ""
        return f"{group} runs on {server} now{came}."
    return f"{len(groups)} groups moved: {_each('{0} to {2}', groups)}."


def stopped(groups: Sequence[tuple[str, str]]) -> str:
    """What a stop did; (group, server that ran it or nothing) each."""
    shown = [(group, f" on {server}" if server else "") for group, server in groups]
    if len(shown) == 1:
        group, where = shown[0]
        return f"{group} has stopped{where}. It stays so until: clpgrp -s {group}"
    return f"{len(shown)} groups stopped: {_each('{}{}', shown)}."


def stop_called_off(group: str) -> str:
    return f"{group} was not stopped: it was started again while its stop waited."


def stopped_older(group: str, server: str, runs_on: str) -> str:
    """What the stop of the older of two copies did."""
    return f"The older copy of {group} has stopped on {server}; it runs on {runs_on}."


def _each(form: str, of: Sequence[tuple[str, ...]]) -> str:
    return ", ".join(form.format(*one) for one in of)


def nothing_there(server: str, verb: str) -> str:
    """A request for whatever runs on a server; `verb`: to move, to stop."""
    where = f"No group runs on {server}" if server else "No group runs"
    return f"{where}: there is nothing to {verb}."


def start_ended_badly(group: str, failed: Sequence[str], runs_on: str) -> str:
    """`failed`: servers, each with why; `runs_on`: where it was started in the end, or nothing."""
    end = f"; it runs on {runs_on}" if runs_on else ""
    return f"{group} could not be started on {listed(failed)}{end}."


def cannot_take(group: str, server: str, why: str) -> str:
    return f"{group} cannot go to {server}: {why}."


def barred(group: str, server: str, event: str) -> str:
    named = f" ({event})" if event else ""
    return f"{group} cannot move to {server}: it has an open fatal event{named}."


def no_proof_yet(group: str, dark: Sequence[str]) -> str:
    return f"There is no proof yet that {group} does not run on {listed(dark)}."


def how_to_prove(group: str, dark: Sequence[str], wanted: bool, mend: str = "") -> str:
    """What would allow the start or move of a group that is not proven to be off.

    `mend`: one of them lives, and what makes it be heard again; nobody should vouch then.
    """
    if mend:
        return f"{mend}; all that is missing: clpstat --explain {group}"
    confirm = " and ".join(f"clpnode confirm-down {server} --yes" for server in dark)
    return (
        f"{'It starts by itself once there is; what' if wanted else 'What'} is missing: "
        f"clpstat --explain {group}. If you have made sure that {listed(dark)} "
        f"{'is' if len(dark) == 1 else 'are'} down and will stay down: {confirm}"
    )


def nobody_else(group: str, why: Sequence[str]) -> str:
    """What a move waits for while no other server would take the group."""
    if not why:
        return f"It is the only server of {group}: name others in its servers."
    return f"It can move as soon as another server may run it ({'; '.join(why)})."


def needed_by(resource: str, others: Sequence[str]) -> str:
    verb = "runs" if len(others) == 1 else "run"
    return f"{resource} is needed by {listed(others)}, which still {verb}."


def needs(resource: str, others: Sequence[str]) -> str:
    return (
        f"{resource} needs {listed(others)}, which {'does' if len(others) == 1 else 'do'} not run."
    )


# ---------------------------------------------------------------------- servers


def counts_as_down(server: str, alone: Sequence[str]) -> str:
    """A person's word is taken; `alone`: servers to which it could not be passed on."""
    also = f" Say it on {listed(alone)} as well." if alone else ""
    return f"{server} counts as down until it is heard again.{also}"


def not_shut_down(server: str, action: str, why: str) -> str:
    """The server left to be shut down or rebooted, and that was not done."""
    return f"{server} has left the cluster, but its {action} was not done: {why.rstrip('.')}."


# ---------------------------------------------------------------------- time-outs

not_stretched = "The time-outs are already as configured."


def stretched(ratio: int, for_ms: int) -> str:
    """What a change of the ratio did; 1: it ended."""
    if ratio == 1:
        return "The time-outs are as configured again."
    return f"Time-outs are {ratio} times as long for {span(for_ms)}. End it before: clptoratio -i"


def not_stretched_here(me: str) -> str:
    """Without a coordinator only one server went back, now or before."""
    return f"Nobody is coordinator: the time-outs are as configured on {me} alone."


each_by_itself = "On the others, too: clptoratio -i"


def all_online_to_stretch(away: Sequence[str]) -> str:
    """Some servers would not hear of it."""
    verb = "is" if len(away) == 1 else "are"
    return f"All servers must be online to stretch time-outs; {listed(away)} {verb} not."


# ---------------------------------------------------------------------- monitors


def monitors_already(monitors: Sequence[str], server: str, suspended: bool) -> str:
    verb = "is" if len(monitors) == 1 else "are"
    word = "suspended" if suspended else "running"
    return f"{listed(monitors)} {verb} already {word} on {server}."


def monitors_changed(changed: Sequence[str], of: int, server: str, suspended: bool) -> str:
    """What a suspension (or its end) did; `of`: how many monitors were named, or are there."""
    verb = "is" if len(changed) == 1 else "are"
    word = "suspended" if suspended else "running again"
    already = of - len(changed)
    rest = ""
    if already:
        rest = f"; {already} {'was' if already == 1 else 'were'} so already"
    count = f" ({len(changed)} monitors)" if len(changed) > 1 else ""
    return f"{listed(changed)} {verb} {word} on {server}{count}{rest}."


def counters_cleared(monitors: Sequence[str], server: str) -> str:
    return f"The recovery counters of {listed(monitors)} on {server} are zero."


def dummy_failure(monitors: Sequence[str], server: str, on: bool) -> str:
    if on:
        names = " ".join(monitors)
        verb = "finds" if len(monitors) == 1 else "find"
        return f"{listed(monitors)} {verb} an error on {server} until: clpmonctrl -n -m {names}"
    verb = "checks" if len(monitors) == 1 else "check"
    return f"{listed(monitors)} {verb} in earnest again on {server}."


def no_dummy_failure(monitor: str, server: str, on: bool) -> str:
    """No monitor was changed; `monitor`: the one that was named, or nothing."""
    if on:
        return f"No monitor of {server} takes a dummy failure."
    if monitor:
        return f"{monitor} checks in earnest on {server}: it has no dummy failure."
    return f"No monitor of {server} has a dummy failure."


def events_closed(monitor: str, server: str, closed: int, left: int) -> str:
    """What an acknowledgement did."""
    what = "1 event" if closed == 1 else f"{closed} events"
    return f"{what} of {monitor} closed on {server}; {left or 'none'} left open."


def linkage_owned(monitor: str, category: str) -> str:
    return (
        f"{monitor} belongs to category {category}: its status follows the hardware alone, "
        "and no request from outside changes it."
    )


# ---------------------------------------------------------------------- configurations


def may_not_be_removed(server: str) -> Refusal:
    return Refusal(
        f"{server} would be removed, and has not left: stop its cluster service first "
        f"(clpcl -t -h {server}), or vouch that it is down and stays down until it has no "
        f"configuration of this cluster any more (clpnode confirm-down {server} --yes)"
    )


NOT_PROVEN_DOWN = "it is not proven down"


def votes_by_the_one_before(server: str) -> str:
    return (
        f"servers, arbiters, leases or BMCs change, so {server} must have left, or a person must "
        "vouch that it is down: it may boot with the old configuration and vote by it"
    )


def change_under_way(behind: Sequence[str]) -> Refusal:
    if not behind:
        return Refusal(
            "the last change of servers, arbiters or leases is not through yet",
            "Try again in a moment.",
        )
    return Refusal(
        f"the last change of servers, arbiters or leases has not reached {listed(behind)}: push "
        f"that one again when {'it answers' if len(behind) == 1 else 'they answer'}"
    )
