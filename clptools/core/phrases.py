"""What the core says to people beside notices: reasons, waits, refusals, and parts of sentences.

Names as configured, the evidence with its source.  No decision ever reads one of these: rewording
them changes nothing but what is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

# ---------------------------------------------------------------------- small words

stopping = "its cluster service is stopping"
newcomer = "it has just started and the others have not all admitted it"
unknown_server = "it is not in the configuration"
not_heard = "it is not heard"
failed_there = "the last start failed there, or it was taken off there"
free = "it may"
nothing = "nothing"
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


def failure(text: str, timed_out: bool) -> str:
    """Why an operation or a script did not end well, behind a colon."""
    if timed_out:
        return "it did not end in time" + (f" ({text})" if text else "")
    return text.rstrip(".") or "it failed"


# ---------------------------------------------------------------------- requests

ASK_AGAIN = "Look how things are (clpstat -s), then ask again."


# ---------------------------------------------------------------------- membership


def out(reason: str) -> str:
    """Why a server is out."""
    return f"it is out ({reason})"


# ---------------------------------------------------------------------- time-outs

not_stretched = "The time-outs are already as configured."


def not_stretched_here(me: str) -> str:
    """Only one server went back: nobody could decide for all."""
    return f"Nobody is coordinator: the time-outs are as configured again on {me} alone."


each_by_itself = "On the others, too: clptoratio -i"


def all_online_to_stretch(away: Sequence[str]) -> str:
    """Not all servers would hear of it."""
    verb = "is" if len(away) == 1 else "are"
    return f"All servers must be online to stretch time-outs; {listed(away)} {verb} not."


# ---------------------------------------------------------------------- lease and fencing


def partition(me: str) -> str:
    """Reason of the partition action."""
    return f"{me} is cut off from the majority"


def still_on(timeout_ms: int, error: str, doubt: str) -> str:
    """Why a forced stop ran out of time."""
    if error:
        return f"its BMC could not be read within {seconds(timeout_ms)}: {error}"
    if doubt:
        return f"its BMC reads off, but {doubt}"
    return f"still on after {seconds(timeout_ms)}"


def why_fenced(silent_ms: int, user: str) -> str:
    """Why a forced stop begins."""
    return f"{user} asked for it" if user else f"not heard for {seconds(silent_ms)}"


nmi_proves_nothing = "an NMI proves nothing"
not_switched_on = "its BMC did not switch it on"


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


def no_power(address: str, power: str, error: str, doubt: str) -> str:
    """Why there is no off read that counts."""
    if not address:
        return "no: no BMC configured"
    if error:
        return f"no: its BMC {address} could not be read ({error})"
    but = f", but {doubt}" if doubt else ""
    return f"no: its BMC {address} reads {power}{but}"


def no_fence(action: str, bmc: bool, text: str, to_come: bool) -> str:
    """Why there is no forced stop.  `to_come`: this server may, in its turn."""
    if action == "none":
        return "no: not configured"
    if not bmc:
        return "no: no BMC is configured"
    if text == fence_under_way:
        return text
    if not text and to_come:
        return "to come: in this server's turn, while the BMC answers"
    return f"no: {text or 'not begun'}"


def counts_as_down(server: str, alone: Sequence[str]) -> str:
    """A person's word is taken; `alone`: servers to which it could not be passed on."""
    also = f" Say it on {listed(alone)} as well." if alone else ""
    return f"{server} counts as down until it is heard again.{also}"


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
    """A wait."""
    return f"proof that it does not run on {listed(servers)}"


def waits_for_quorum(dark: Sequence[str]) -> str:
    """No majority."""
    return f"a majority, or proof that {listed(dark)} is down"


# ---------------------------------------------------------------------- placement


def next_in_order(group: str, barred: bool, last: bool) -> str:
    """Reason of a choice; `last`: of a server that nobody would choose while there is another."""
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


boot_not_noted = "it cannot note its boot on disk"


def twice(group: str) -> str:
    """Double activation seen."""
    return f"{group} was reported by two servers"


def failback(group: str, server: str) -> str:
    """Failback."""
    return f"{group} goes back to {server}, the best in its order"


nowhere_proven = (
    "nothing proves that it does not run on a server that went dark, so it could start nowhere "
    "else now"
)
nowhere = "no other server would take it now"


def nobody_else(group: str, why: Sequence[str]) -> str:
    """What a move waits for that no other server would take."""
    if not why:
        return f"It is the only server of {group}: name others in its servers."
    return f"It can move as soon as another server may run it ({'; '.join(why)})."


# ---------------------------------------------------------------------- groups


def needed_by(resource: str, others: Sequence[str]) -> str:
    """Refusal of a resource stop."""
    verb = "runs" if len(others) == 1 else "run"
    return f"{resource} is needed by {listed(others)}, which still {verb}."


def needs(resource: str, others: Sequence[str]) -> str:
    """Refusal of a resource start."""
    return (
        f"{resource} needs {listed(others)}, which {'does' if len(others) == 1 else 'do'} not run."
    )


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
    """Why nothing follows from it; `again`: how often it came since it was told last."""
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


def monitors_already(monitors: Sequence[str], server: str, suspended: bool) -> str:
    """Nothing to do."""
    verb = "is" if len(monitors) == 1 else "are"
    word = "suspended" if suspended else "running"
    return f"{listed(monitors)} {verb} already {word} on {server}."


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


# ---------------------------------------------------------------------- commands


def not_shut_down(server: str, action: str, why: str) -> str:
    """Left for a shutdown or reboot that then was not done."""
    return f"{server} has left the cluster, but its {action} was not done: {why.rstrip('.')}."


def stops_of(group: str, servers: Iterable[str]) -> str:
    """The commands that end one of two copies."""
    return " or ".join(f"clpgrp -t {group} -h {server}" for server in servers)


def already(group: str, server: str) -> str:
    """Nothing to do."""
    return f"{group} is already on {server}."


def already_stopped(group: str) -> str:
    """Nothing to do."""
    return f"{group} is already stopped."


def runs_on(group: str, server: str) -> str:
    """Somewhere else than was asked."""
    return f"{group} runs on {server}."


def not_running(group: str) -> str:
    """Cannot move what does not run."""
    return f"{group} is not running anywhere."


def cluster_suspended(user: str) -> str:
    """Refusal."""
    return f"The cluster is suspended{' by ' + user if user else ''}."


def no_coordinator(what: str) -> str:
    """Refusal."""
    return f"No server is coordinator now, so nobody can decide: {what}."


def no_proof_yet(group: str, dark: Sequence[str]) -> str:
    """Refusal."""
    return f"There is no proof yet that {group} does not run on {listed(dark)}."


def how_to_prove(group: str, dark: Sequence[str], wanted: bool) -> str:
    """What would allow the start or move of a group that nothing proves to be free."""
    confirm = " and ".join(f"clpnode confirm-down {server} --yes" for server in dark)
    return (
        f"{'It starts by itself once there is; what' if wanted else 'What'} is missing: "
        f"clpstat --explain {group}. If you have made sure that {listed(dark)} "
        f"{'is' if len(dark) == 1 else 'are'} down and will stay down: {confirm}"
    )


def may_not_be_removed(server: str) -> str:
    """Refusal of a configuration."""
    return (
        f"{server} would be removed, and has not left: stop its cluster service first "
        f"(clpcl -t -h {server}), or vouch that it is down and stays down until it has no "
        f"configuration of this cluster any more (clpnode confirm-down {server} --yes)"
    )


def change_under_way(behind: Sequence[str]) -> str:
    """Refusal of a configuration."""
    if not behind:
        return "the last change of servers, arbiters or leases is not through yet: a few seconds"
    return (
        f"the last change of servers, arbiters or leases has not reached {listed(behind)}: push "
        f"that one again when {'it answers' if len(behind) == 1 else 'they answer'}"
    )


def cannot_take(group: str, server: str, why: str) -> str:
    """Refusal."""
    return f"{group} cannot go to {server}: {why}."


def barred(group: str, server: str, event: str) -> str:
    """Refusal."""
    named = f" ({event})" if event else ""
    return f"{group} cannot move to {server}: it has an open fatal event{named}."


def start_ended_badly(group: str, server: str) -> str:
    """A start by command failed."""
    return f"{group} could not be started on {server}."


def linkage_owned(monitor: str, category: str) -> str:
    """clprexec refused."""
    return (
        f"{monitor} belongs to category {category}: its status follows the hardware alone, "
        "and no request from outside changes it."
    )
