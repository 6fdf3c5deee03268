"""Reasons and waits in words, and parts of sentences: what people read beside notices and replies.

Names appear as configured, evidence with its source.  No decision reads one of these sentences:
rewording them changes only what people read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from clptools.core.model.words import BmcAction, RefusedFor

# ---------------------------------------------------------------------- small words

stopping = "its cluster service is stopping"
newcomer = "it has just started and the others have not all admitted it"
unknown_server = "it is not in the configuration"
not_heard = "it is not heard"
failed_there = "the last start failed there, or it was taken off there"
free = "it may"
nothing = "nothing"
once_resumed = "once the cluster is resumed"
any_server = "any server"
no_text = "no text"
fence_under_way = "under way"
fence_done = "done and read back"


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    items = list(names)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def then(names: Sequence[str]) -> str:
    """`exec1, then fip1`."""
    return ", then ".join(names)


def seconds(ms: int) -> str:
    """Seconds to the tenth."""
    return f"{max(ms, 0) / 1000:.1f} s"


def span(ms: int) -> str:
    """`3 d`, `90 m`, `1.5 s`: in the largest unit that it fills."""
    for unit, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m")):
        if ms and ms % unit == 0:
            return f"{ms // unit} {name}"
    return f"{ms / 1000:g} s"


def unfit(why: str) -> str:
    """Its start failed there, and would again."""
    return f"its start failed there and would again ({why})"


def behind(resource: str, newer: str) -> str:
    """A server's own copy of mirrored data is not to be used."""
    return f"its copy of {resource} is behind that of {newer}"


def copy_behind(resource: str, server: str) -> str:
    """What a server has noted of its own copy."""
    return f"{server} has noted that its copy of {resource} is behind"


def copy_in_sync(resource: str, server: str) -> str:
    """The same, taken back."""
    return f"The copy of {resource} on {server} counts as in sync again."


def copy_not_behind(resource: str, server: str) -> str:
    """There was nothing to take back."""
    return f"The copy of {resource} on {server} was not behind."


def failure(text: str, timed_out: bool) -> str:
    """Why an operation or a script did not end well, after a colon."""
    if timed_out:
        return "it did not end in time" + (f" ({text})" if text else "")
    return text.rstrip(".") or "it failed"


# ---------------------------------------------------------------------- membership


def out(reason: str) -> str:
    """Why a server is out."""
    return f"it is out ({reason})"


def refused_for(why: str, server: str, me: str) -> str:
    """Why datagrams from a server's address are refused."""
    if why == RefusedFor.CLUSTER:
        return f"{server} belongs to a cluster of another name"
    if why == RefusedFor.VERSION:
        return f"{server} runs a newer clptools, whose heartbeats {me} cannot read"
    return f"the authkey of {server} differs from that of {me}"


def datagrams_refused(address: str, why: str) -> str:
    """What tells that something runs at a server's address."""
    return f"datagrams from {address} are refused: {why}"


def mends_refused(why: str, server: str, me: str) -> str:
    """What a person can do about it."""
    if why == RefusedFor.CLUSTER:
        return (
            f"Give {server} this cluster's clp.toml and authkey, then there: "
            "systemctl restart clpnode"
        )
    if why == RefusedFor.VERSION:
        return f"Install on {me} the clptools of {server}, or on {server} the version before it."
    return (
        f"Give {server} and {me} the same /etc/clptools/authkey, then where it was changed: "
        "systemctl restart clpnode"
    )


# ---------------------------------------------------------------------- lease and fencing


def partition(me: str) -> str:
    """Reason of the partition action."""
    return f"{me} is cut off from the majority"


def still_on(means: str, timeout_ms: int, error: str, doubt: str) -> str:
    """Why a forced stop ran out of time; `means`: what reads the power."""
    if error:
        return f"its {means} could not be read within {seconds(timeout_ms)}: {error}"
    if doubt:
        return f"its {means} reads off, but {doubt}"
    return f"still on after {seconds(timeout_ms)}"


def why_fenced(silent_ms: int, user: str) -> str:
    """Why a forced stop begins."""
    return f"{user} asked for it" if user else f"not heard for {seconds(silent_ms)}"


nmi_proves_nothing = "an NMI proves nothing"


def not_switched_on(means: str) -> str:
    """Why a reset left a server off."""
    return f"its {means} did not switch it on"


# ---------------------------------------------------------------------- what BMCs say

off_while_heard = "its server was heard when it was asked, or since"
off_while_echoing = "the kernel of its server answers"
off_by_a_liar = "it has read off while its server was heard"
off_without_on = "it had not read on shortly before"
off_in_young_session = "it had not read on in this session, and may have restarted"


# ---------------------------------------------------------------------- proof


def no_release(server: str, heard: bool) -> str:
    """Why there is no release."""
    return f"no: {server} " + ("still holds it" if heard else "does not answer")


def no_power(means: str, power: str, error: str, doubt: str) -> str:
    """Why there is no off read that counts; `means`: what reads the power, empty: nothing."""
    if not means:
        return "no: no BMC configured"
    if error:
        return f"no: its {means} could not be read ({error})"
    but = f", but {doubt}" if doubt else ""
    return f"no: its {means} reads {power}{but}"


def no_fence(action: str, means: str, text: str, to_come: bool) -> str:
    """Why there is no forced stop.  `means`: what would do it; `to_come`: this server may, in its
    turn."""
    if action == BmcAction.NONE:
        return "no: not configured"
    if not means:
        return "no: no BMC is configured"
    if text == fence_under_way:
        return text
    if not text and to_come:
        return f"to come: in this server's turn, while the {means} answers"
    return f"no: {text or 'not begun'}"


def no_lease(armed_here: bool, armed_there: bool, left_ms: int | None) -> str:
    """Why the lease does not clear it."""
    if not armed_here:
        return "not armed: two servers without an arbiter"
    if not armed_there:
        return "no: its watchdog is not armed"
    return f"in {seconds(left_ms or 0)}"


def proofs(group: str, by: Mapping[str, str], waited_ms: int) -> tuple[str, ...]:
    """By which proof each other server is cleared."""
    lines = [
        f"{server} is proven not to run {group}: {proof}." for server, proof in sorted(by.items())
    ]
    if waited_ms:
        lines.append(f"It had waited {seconds(waited_ms)}.")
    return tuple(lines)


def waits_for_proof(servers: Sequence[str]) -> str:
    return f"proof that it does not run on {listed(servers)}"


def waits_for_quorum(dark: Sequence[str]) -> str:
    verb = "is" if len(dark) == 1 else "are"
    return f"a majority, or proof that {listed(dark)} {verb} down"


# ---------------------------------------------------------------------- placement


def next_in_order(group: str, barred: bool, last: bool, beside: str = "") -> str:
    """Reason of a choice; `last`: of a server that nobody would choose while there is another.

    `beside`: a group that runs there, from which it is kept apart where that is possible.
    """
    if beside and not last:
        return f"next in {group}'s order; {beside} runs there, too, but no other server may run it"
    if last and not barred:
        return (
            f"next in {group}'s order; something of it may be left there from before the boot, "
            "but no other server may run it"
        )
    if barred:
        return (
            f"next in {group}'s order; it has an open fatal hardware event, "
            "but no other server may run it"
        )
    return f"next in {group}'s order, Online, no open hardware event"


def passed_over(unfit: Sequence[str], best: str) -> str:
    """Behind the reason of a choice: servers on which the group's start failed as it would again.

    `best`: the chosen server; it is one of them only if there is no other.
    """
    if best in unfit:
        return "; its start failed there, but no other server may run it"
    return f"; on {listed(unfit)} its start would fail again" if unfit else ""


def asked_for(reason: str) -> str:
    """Reason of a choice by command."""
    return reason or "asked for"


def nobody(group: str, why: Sequence[str]) -> str:
    """No server may take it."""
    return f"a server that may run it ({'; '.join(why)})"


def failover_manual(group: str) -> str:
    """failover = manual."""
    return f"an operator: failover of {group} is manual (clpgrp -s {group})"


def waits_for_next_try(group: str, servers: Sequence[str]) -> str:
    """All tried: the wait."""
    return f"its next try, as it could not be started on {listed(servers) or any_server}"


def next_try(group: str, left_ms: int) -> str:
    """When it comes, and how to have it now."""
    return f"in {max(left_ms, 0) // 1000} s; at once: clpgrp -s {group}"


def waits_for_online(groups: Sequence[str]) -> str:
    """It starts after other groups."""
    return f"{listed(groups)} to be online"


def waits_for_stop_of(groups: Sequence[str]) -> str:
    """It stops after other groups."""
    return f"the stop of {listed(groups)}"


def kept_apart(other: str) -> str:
    """Why a server does not take a group."""
    return f"it is kept apart from {other}, which may run there (exclusive_with)"


def shares_server(group: str, other: str, server: str) -> str:
    """Why it moves after a push."""
    return f"{group} is kept apart from {other}, which runs on {server} too"


def would_wait_for(groups: Sequence[str]) -> str:
    """Why a group that runs is not stopped to be started elsewhere."""
    verb = "is" if len(groups) == 1 else "are"
    return f"the group starts after {listed(groups)}, which {verb} not online"


def waits_for_stop(servers: Sequence[str]) -> str:
    """Somebody lost its state, and its stop script fails."""
    return f"the stop of what is left of it on {listed(servers)}, which failed; it is tried again"


def waits_for_policy(servers: Sequence[str]) -> str:
    """Somebody knows more of what is wanted."""
    verb = "knows" if len(servers) == 1 else "know"
    return f"the newest policy, which {listed(servers)} {verb}"


def not_its_server(group: str, server: str) -> str:
    """Why it moves after a push."""
    return f"{server} is no longer among the servers of {group}"


purges = "it still runs the stop scripts of what an earlier boot may have left there"
boot_not_noted = "it cannot note its boot on disk"


def twice(group: str) -> str:
    """Double activation seen."""
    return f"{group} was reported by two servers"


def failback(group: str, server: str) -> str:
    return f"{group} goes back to {server}, the best in its order"


def stays_moved(group: str, best: str) -> str:
    """Why a group with failback = auto does not go back to the best in its order."""
    return (
        f"It does not go back to {best} by itself (failback = auto): a command or a recovery "
        f"moved it. It will once {best} has been away and is back; or now: "
        f"clpgrp -m {group} -a {best}"
    )


open_fatal = "it has an open fatal hardware event"


def goes_back_when(best: str, why: str) -> str:
    return f"It goes back to {best} by itself (failback = auto) as soon as that can take it: {why}."


nowhere_proven = (
    "nothing proves that it does not run on a server that went dark, so it could start nowhere "
    "else now"
)
nowhere = "no other server would take it now"


def would_now(servers: Iterable[str]) -> str:
    """What changed for a group that a recovery had left where it was."""
    return f"It had stayed, as no other server would take it; now {listed(servers)} would."


def paths(links: Sequence[str]) -> str:
    """How heartbeats come that do not come on one interconnect."""
    return f"on {listed(links)}" if links else "by way of another server"


leaving = "its cluster service is ending"


def suspended_cluster(user: str) -> str:
    by = f" by {user}" if user else ""
    return f"the cluster is suspended{by}"


def suspended_monitor(monitor: str, user: str) -> str:
    by = f" by {user}" if user else ""
    return f"{monitor} is suspended{by}"


# ---------------------------------------------------------------------- hardware and monitors

class_words = {
    "FATAL": "a fatal error",
    "ERROR": "an error",
    "PREDICT": "a predicted failure",
    "PERFORMANCE": "a performance degradation",
    "REDUNDANCY": "a loss of redundancy",
}


def reporter(server: str, source: str, from_bmc: bool) -> str:
    """Who reported a hardware event."""
    return f"BMC of {server} ({source})" if from_bmc else f"{source} on {server}"


def no_taker(server: str, again: int) -> tuple[str, ...]:
    """Why nothing follows from it; `again`: how often it came since it was last reported."""
    why = f"No message receive monitor of {server} takes it, so nothing follows."
    return (why, f"It has come {_times(again)} since that was said last.") if again else (why,)


def more_grave(kept: int) -> str:
    """What one event stands for that holds the place of many."""
    return f"further events of this kind, beyond the {kept} that are kept apart"


def plan(action: str, target: str, final_action: str) -> str:
    """What a recovery does, in words."""
    words = {
        "script": "run its script",
        "restart": f"restart {target}",
        "failover": f"fail over {target}",
        "final": final_action,
    }
    return words[action]


def steps_taken(restarts: int, failovers: int) -> list[str]:
    """What a recovery did to its target already."""
    done = []
    if restarts:
        done.append(f"restarted its target {_times(restarts)}")
    if failovers:
        done.append(f"failed it over {_times(failovers)}")
    return done


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def none_outside(group: str) -> str:
    """A failover that was to leave the server group."""
    return f"No server outside its server group would take {group} now, so one inside may."


def final_for(name: str) -> str:
    """Reason of a final action."""
    return f"final action of {name}"


def stops_of(group: str, servers: Iterable[str]) -> str:
    """The commands that end one of two copies."""
    return " or ".join(f"clpgrp -t {group} -h {server}" for server in servers)


# ---------------------------------------------------------------------- planned moves

any_other = "another server"
no_window = "which is not known yet"
is_suspended = "the cluster is suspended"
all_stop = "all servers stop the service"
push_under_way = "a configuration is being pushed"
unknown_group = "the group is not in the configuration"


def checked(to: str, hindrance: str) -> str:
    """What was found when a move was planned."""
    if hindrance:
        return f"Now it would wait: {hindrance}."
    return f"{to} is Online, has no open fatal event and could take it now."


def planned_because(monitor: str) -> str:
    """Reason of a planned move."""
    return f"planned, as {monitor} expects a failure"


def no_stall(monitor: str, server: str) -> str:
    return f"{monitor} is not at Stall on {server}"


def fails_too(monitor: str, server: str) -> str:
    return f"{monitor} expects a failure on {server}, too"


def has_fatal_event(server: str) -> str:
    return f"{server} has an open fatal hardware event"


def is_moved(group: str) -> str:
    return f"{group} is being started, stopped or moved"


def has_failed(group: str) -> str:
    return f"{group} has failed"


def runs_nowhere(group: str) -> str:
    return f"{group} is to run and does not"


def with_reasons(text: str, reasons: Iterable[str]) -> str:
    """What was told and why: the reasons stand before a command, which ends without a full stop."""
    more = " ".join(reasons)
    if not more:
        return text
    if text.endswith("."):
        return f"{text} {more}"
    begin, stop, command = text.rpartition(". ")
    return f"{begin}{stop}{more} {command}" if stop else f"{text} ({more})"


def is_to_stop(group: str) -> str:
    return f"{group} is to be stopped"


def not_online_on(group: str, server: str) -> str:
    return f"{group} is not Online on {server} alone"


def outside_window(monitor: str, server: str) -> str:
    return f"by the clock of {server} it is not in a quiet window of {monitor}"


def not_asked_for(monitor: str) -> str:
    return f"{monitor} does not ask for it any more"


def event_closed(number: int, meaning: str) -> str:
    return f"event {number} ({meaning}) is closed"


def came_back(server: str) -> str:
    return f"it is back on {server}"


def runs_there(server: str) -> str:
    return f"it runs on {server}"


def cancelled_by(user: str) -> str:
    return f"{user} called it off"
