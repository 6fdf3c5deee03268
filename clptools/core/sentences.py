"""Every sentence that the core says to people, in one place.

Plain past tense, the subject first, names as configured, the evidence with its source.  No
decision ever reads one of these: rewording them changes nothing but what is read.
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


# ---------------------------------------------------------------------- requests


ASK_AGAIN = "Look how things are (clpstat -s), then ask again."


def asked_late(what: str, user: str, waited_ms: int) -> str:
    """A request came up long after it was asked for."""
    ago = seconds(waited_ms)
    return f"Refused: {what}, asked by {user} {ago} ago; this agent stood still meanwhile."


# ---------------------------------------------------------------------- membership


def twin(me: str) -> str:
    """Another agent uses our name."""
    return f"Another agent calls itself {me} as well; it is not listened to. Give it its own name."


def has_left(server: str) -> str:
    """A server said that it left."""
    return f"{server} has left the cluster: it released everything and said so."


def reads_off(server: str) -> str:
    """A BMC says off."""
    return f"The BMC of {server} read power off."


def lost(server: str, ago_ms: int, links: Sequence[str]) -> str:
    """Silent for the heartbeat time-out."""
    over = f" on {listed(links)}" if links else ""
    return f"{server} was last heard {seconds(ago_ms)} ago{over}: it is lost."


def late(server: str, link: str, timeout_ms: int, delay_ms: int) -> str:
    """A path is about to time out."""
    return (
        f"Heartbeats of {server} on {link} are late: {seconds(delay_ms)} of {seconds(timeout_ms)} "
        f"({delay_ms * 100 // timeout_ms} %)."
    )


def no_pages(server: str, links: Sequence[str], size: int) -> str:
    """Small datagrams arrive, large ones do not."""
    over = f" over {listed(links)}" if links else ""
    return (
        f"{server} is heard{over}, but its larger datagrams, which tell of its groups, do not "
        f"arrive: MTU? Packets of {size + 48} bytes must pass; the MTU must be the same on every "
        "server and switch."
    )


def pages_again(server: str) -> str:
    """The large ones arrive."""
    return f"The larger datagrams of {server} arrive again."


def heard_again(server: str) -> str:
    """Back."""
    return f"{server} is heard again."


def admitted(me: str, by_all: bool) -> str:
    """No newcomer any more."""
    if by_all:
        return f"{me} takes part: every other server counts it, or is out."
    return f"{me} takes part: it is a member, and the start-up wait is over."


def out(reason: str) -> str:
    """Why a server is out."""
    return f"it is out ({reason})"


# ---------------------------------------------------------------------- office


def authority_lapsed(me: str, term: int) -> str:
    """Authority ended."""
    return f"{me} is no longer coordinator: the authority of term {term} lapsed."


def offers_arbiter(me: str, arbiter: str, heard: int, of: int) -> str:
    """A required arbiter is left to others for a while."""
    return (
        f"{me} is no longer coordinator: it hears {heard} of {of} servers, itself included, and "
        f"leaves {arbiter} to others that hear half of them."
    )


def higher_term(me: str, term: int) -> str:
    """Somebody stood in a higher term."""
    return f"{me} stands again: term {term} is known to others."


def steps_down(me: str) -> str:
    """Leaving."""
    return f"{me} is no longer coordinator: it leaves."


def takes_office(me: str, term: int, electorate: Sequence[str]) -> str:
    """Elected."""
    return f"{me} is coordinator in term {term}; the electorate is {listed(electorate)}."


def suspended(me: str, on: bool, user: str) -> str:
    """Cluster suspended or resumed."""
    by = f" by {user}" if user else ""
    return f"The cluster was {'suspended' if on else 'resumed'}{by}; {me} knows it."


def stretched(me: str, ratio: int, for_ms: int, user: str) -> str:
    """Time-outs became longer than configured, or are as configured again."""
    by = f", by {user}" if user else ""
    if ratio > 1:
        return f"Time-outs are {ratio} times as long for {span(for_ms)}{by}; {me} knows it."
    return f"Time-outs are as configured again{by}; {me} knows it."


def span(ms: int) -> str:
    """`3 d`, `90 m`, `1.5 s`: in the largest unit that it fills."""
    for unit, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m")):
        if ms and ms % unit == 0:
            return f"{ms // unit} {name}"
    return f"{ms / 1000:g} s"


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


def lease_over(me: str, groups: Sequence[str], overdue_ms: int) -> str:
    """The holder stops itself."""
    return (
        f"{me} stops {listed(groups)} itself: no coordinator with authority has answered it, "
        f"and its lease ended {seconds(overdue_ms)} ago."
    )


def partition(me: str) -> str:
    """Reason of the partition action."""
    return f"{me} is cut off from the majority"


def fences(me: str, server: str, action: str, silent_ms: int, user: str) -> str:
    """Forced stop begins."""
    why = f"{user} asked for it" if user else f"not heard for {seconds(silent_ms)}"
    return f"{me} forces {server} to stop by its BMC ({action}): {why}."


def fenced(server: str, sent: bool) -> str:
    """Forced stop is through."""
    if not sent:
        return f"{server} was already off: its BMC said so."
    return f"{server} was stopped by its BMC (power-off), and read back."


def fence_failed(server: str, why: str, groups: Sequence[str]) -> str:
    """Forced stop failed; `groups` wait for a proof that it was to bring."""
    text = f"The forced stop of {server} failed ({why})"
    if not groups:
        return f"{text}."
    verb = "waits" if len(groups) == 1 else "wait"
    return f"{text}; {listed(groups)} {verb} for proof that {server} is down."


def fence_called_off(server: str) -> str:
    """The victim is heard again."""
    return f"The forced stop of {server} was called off: it is heard again."


def still_on(timeout_ms: int, error: str, doubt: str) -> str:
    """Why a forced stop ran out of time."""
    if error:
        return f"its BMC could not be read within {seconds(timeout_ms)}: {error}"
    if doubt:
        return f"its BMC reads off, but {doubt}"
    return f"still on after {seconds(timeout_ms)}"


def stays_off(server: str, error: str) -> str:
    """A reset that did not get to its second half."""
    return f"{server} was stopped and stays off: {error or 'its BMC did not switch it on'}."


nmi_proves_nothing = "an NMI proves nothing"


# ---------------------------------------------------------------------- what BMCs say

off_while_heard = "its server was heard when it was asked, or since"
off_while_echoing = "the kernel of its server answers"
off_by_a_liar = "it has read off while its server was heard"
off_without_on = "it had not read on shortly before"
off_in_young_session = "it had not read on in this session, and may have restarted"


def bmc_lies(server: str) -> str:
    """A BMC that is no proof."""
    return (
        f"The BMC of {server} read off while {server} was heard: it is no proof until it reads on "
        f"while {server} is heard. Check that [server.bmc] of {server} names its own BMC."
    )


def bmc_refuses(server: str, me: str, why: str, mend: str) -> str:
    """A BMC that is no proof until a person did something."""
    return f"{me} cannot ask the BMC of {server}: {why}. {mend}"


def bmc_asked(server: str, me: str) -> str:
    """It was mended."""
    return f"{me} can ask the BMC of {server} again."


def bmc_truthful(server: str) -> str:
    """A BMC that is proof again."""
    return f"The BMC of {server} reads on while {server} is heard: what it says counts again."


def counts_again(server: str, me: str, groups: Sequence[str], left_ms: int) -> str:
    """A server that boots for too long ends the majority of those that run."""
    return (
        f"{server} is switched on and not heard. In {seconds(left_ms)} it counts again for the "
        f"majority, and {me} stops {listed(groups)} unless a majority is heard by then. If "
        f"{server} does not come up: clpforcestop {server} --yes"
    )


def stopped_if_silent(server: str, me: str, left_ms: int) -> str:
    """A server that boots for too long faces an exact half, which will power it off."""
    return (
        f"{server} is switched on and not heard. In {seconds(left_ms)} it counts again for the "
        f"majority, and {me} powers it off unless it is heard by then. If it only takes longer "
        "to boot: clpcl --suspend --force until it is up, then a longer [cluster] startup_wait"
    )


def replayed(server: str) -> str:
    """Somebody sends recorded datagrams."""
    return (
        f"Old heartbeats of {server} arrive again: they are recorded and replayed, or a path "
        "delivers very late. They count for nothing."
    )


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


def waits(group: str, what: str) -> str:
    """A wait begins."""
    return f"{group} waits for {what}."


# ---------------------------------------------------------------------- placement


def granted(me: str, group: str, epoch: int, server: str, reason: str) -> str:
    """A grant."""
    return f"{me} (coordinator) granted epoch {epoch} of {group} to {server}: {reason}."


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


def starts_nowhere(group: str, servers: Sequence[str], pause_ms: int) -> str:
    """All tried."""
    where = listed(servers) or "any server"
    return f"{group} could not be started on {where}; it is tried again in {pause_ms // 1000} s."


def waits_for_next_try(group: str, servers: Sequence[str]) -> str:
    """All tried: the wait."""
    return f"its next try, as it could not be started on {listed(servers) or 'any server'}"


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


def nowhere_proven(group: str, server: str) -> str:
    """A failover that would end in waiting."""
    return (
        f"{group} stays on {server}: nothing proves that it does not run on a server that went "
        "dark, so it could start nowhere else now."
    )


def nowhere(group: str, me: str) -> str:
    """No failover possible."""
    return f"{group} stays on {me}: no other server would take it now."


def nobody_else(group: str, why: Sequence[str]) -> str:
    """What a move waits for that no other server would take."""
    if not why:
        return f"It is the only server of {group}: name others in its servers."
    return f"It can move as soon as another server may run it ({'; '.join(why)})."


# ---------------------------------------------------------------------- groups


def group_starts(group: str, server: str, epoch: int) -> str:
    """Start begins."""
    return f"{server} starts {group} (epoch {epoch})."


def group_online(group: str, server: str, order: Sequence[str], took_ms: int) -> str:
    """Start is through."""
    what = ", ".join(order) or "nothing"
    return f"{server} has started {what} of {group} ({seconds(took_ms)})."


def group_stops(group: str, server: str, reason: str = "") -> str:
    """Stop begins."""
    return f"{server} stops {group}{': ' + reason if reason else ''}."


def group_released(group: str, server: str, order: Sequence[str], took_ms: int, n: int) -> str:
    """Stop is through: proof."""
    what = then(order) or "nothing"
    return f"{server} stopped {what} ({seconds(took_ms)}) and released epoch {n} of {group}."


def group_stuck(group: str, server: str) -> str:
    """A stop failed."""
    return (
        f"{group} could not be stopped on {server}: it counts as running there, and starts "
        f"nowhere else. Mend it, then: clpgrp -t {group} -f"
    )


def not_purged(group: str, server: str, resources: Sequence[str], pause_ms: int) -> str:
    """After a boot a stop script failed where nothing can run yet."""
    return (
        f"{listed(resources)} of {group} could not be stopped on {server} after its boot: it is "
        f"the last choice for {group} until that ends well, and tries again in "
        f"{pause_ms // 1000} s, then less often. Make the stop script succeed where nothing runs."
    )


def purged(group: str, server: str) -> str:
    """It ended well at last."""
    return f"Nothing of {group} is left on {server} from before its boot."


def remark(resource: str, server: str, text: str) -> str:
    """What an operation on a resource has to say before its end."""
    return f"{resource} on {server}: {text.rstrip('.')}."


def found_again(group: str, server: str) -> str:
    """After an agent restart."""
    return f"The agent of {server} started again and found {group} running there."


def start_failed(resource: str, server: str, text: str, timed_out: bool) -> str:
    """A resource start failed."""
    return f"{resource} could not be started on {server}: {_why(text, timed_out)}."


def stop_failed(resource: str, server: str, text: str, timed_out: bool) -> str:
    """A resource stop failed."""
    return f"{resource} could not be stopped on {server}: {_why(text, timed_out)}."


def migrates(server: str, resources: Sequence[str]) -> str:
    """Migration before a failover begins."""
    return f"{server} migrates {listed(resources)} first."


def migrated(resource: str, server: str) -> str:
    """A migration ended well."""
    return f"{resource} was migrated on {server}: it can go on where it starts next."


def migration_failed(resource: str, server: str, text: str, timed_out: bool) -> str:
    """A migration did not end well; that holds nothing up."""
    why = _why(text, timed_out)
    return f"{resource} could not be migrated on {server}, and is only stopped: {why}."


def migration_given_up(resources: Sequence[str], server: str) -> str:
    """There is no time left for it."""
    verb = "is" if len(resources) == 1 else "are"
    return f"{listed(resources)} {verb} not migrated on {server}: another order to stop came first."


def _why(text: str, timed_out: bool) -> str:
    if timed_out:
        return "it did not end in time" + (f" ({text})" if text else "")
    return text.rstrip(".") or "it failed"


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

_CLASS_WORDS = {
    "FATAL": "a fatal error",
    "ERROR": "an error",
    "PREDICT": "a predicted failure",
    "PERFORMANCE": "a performance degradation",
    "REDUNDANCY": "a loss of redundancy",
}


def hardware(
    server: str, source: str, event_class: str, meaning: str, from_bmc: bool = False
) -> str:
    """A hardware event opened."""
    who = f"BMC of {server} ({source})" if from_bmc else f"{source} on {server}"
    return f"{who} reported {_CLASS_WORDS[event_class]}: {meaning}."


def hardware_closed(server: str, meaning: str, text: str) -> str:
    """A hardware event was taken back."""
    return f"{meaning} on {server} is over{': ' + text if text else ''}."


def unclaimed(category: str, keyword: str, text: str) -> str:
    """A message that no monitor takes; the original's words (mm 903)."""
    device = f" and {keyword} device" if keyword else ""
    return f"An error of {category} type{device} has been detected. ({text or 'no text'})"


def no_taker(server: str, again: int) -> tuple[str, ...]:
    """Why nothing follows from it; `again`: how often it came since it was told last."""
    why = f"No message receive monitor of {server} takes it, so nothing follows."
    return (why, f"It has come {_times(again)} since that was said last.") if again else (why,)


def acknowledged(server: str, user: str, meaning: str) -> str:
    """A hardware event was closed by hand."""
    return f"{user} acknowledged {meaning} on {server}."


def more_grave(kept: int) -> str:
    """What one event stands for that holds the place of many."""
    return f"further events of this kind, beyond the {kept} that are kept apart"


def ledger_full(server: str, kept: int) -> str:
    """As many events are open as are kept, none of which starts a recovery."""
    return (
        f"{kept} hardware events are open on {server}; further ones that start no recovery "
        "are left out until some are closed."
    )


def trap_noted(server: str, source: str, meaning: str) -> str:
    """An INFO trap."""
    return f"{source} told {server}: {meaning}."


def monitor_goes(name: str, server: str, was: str, status: str, text: str, plan_text: str) -> str:
    """A monitor changed its status."""
    tail = f"; its recovery is: {plan_text}" if plan_text else (f": {text}" if text else "")
    return f"{name} on {server} went {was} -> {status}{tail}."


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


def used_up(monitor: str, server: str, restarts: Sequence[int], failovers: Sequence[int]) -> str:
    """No step of a recovery has a count left, and there is no final action."""
    done = []
    if restarts:
        done.append(f"restarted its target {_times(len(restarts))}")
    if failovers:
        done.append(f"failed it over {_times(len(failovers))}")
    return (
        f"{monitor} recovers nothing more on {server}: it has already {listed(done)}, and its "
        f"final action is none. Count anew, on {server}: clpmonctrl -c -m {monitor}"
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def inactive(target: str, server: str) -> str:
    """Target not active: no recovery."""
    return f"Recovery was not run: {target} is not active on {server}."


def recovery_suspended(monitor: str) -> str:
    """Suspended: no recovery."""
    return f"Recovery for {monitor} was not run: the cluster or the monitor is suspended."


def restarts(server: str, target: str, monitor: str, count: int) -> str:
    """Recovery restarts."""
    return f"{server} restarts {target} because of {monitor} (restart {count})."


def fails_over(server: str, group: str, monitor: str) -> str:
    """Recovery fails over."""
    return f"{server} gives {group} up for another server because of {monitor}."


def none_outside(group: str) -> str:
    """A failover that was to leave the server group."""
    return f"No server outside its server group would take {group} now, so one inside may."


def script_runs(server: str, script: str, monitor: str) -> str:
    """A recovery script starts."""
    return f"{server} runs {script} for {monitor}."


def script_ended(monitor: str, ok: bool, timed_out: bool, text: str) -> str:
    """A recovery script ended."""
    if ok:
        return f"The script for {monitor} is through."
    return f"The script for {monitor} failed: {_why(text, timed_out)}."


def final_for(name: str) -> str:
    """Reason of a final action."""
    return f"final action of {name}"


def final(action: str, server: str, reason: str) -> str:
    """A final action begins."""
    return f"{server} runs {action}: {reason}."


def last_server(action: str, server: str) -> str:
    """A final action is suppressed."""
    return f"{action} was not run on {server}: no other normal server is left."


def too_many_halts(action: str, server: str, count: int) -> str:
    """The count of final actions that end a machine is used up."""
    return (
        f"{action} was not run on {server}: {count} final actions in a row have ended it already "
        "(max_reboots). Start the count again: clpregctrl --clear -t rm -r haltcount"
    )


def after_recovery(server: str, action: str) -> str:
    """The BMC may act now."""
    return (
        f"The BMC of {server} does its {action} now: recovery is done (after_recovery = {action})."
    )


def monitor_suspended(name: str, server: str, on: bool, user: str) -> str:
    """Monitor suspended or resumed."""
    return f"{user} {'suspended' if on else 'resumed'} {name} on {server}."


def dummy(name: str, server: str, on: bool) -> str:
    """Dummy failure."""
    return f"Dummy failure of {name} on {server} was switched {'on' if on else 'off'}."


# ---------------------------------------------------------------------- commands


def service_stops(server: str, user: str) -> str:
    """clpcl -t."""
    return f"{user} stops the cluster service on {server}."


def service_stopped(server: str) -> str:
    """Left."""
    return f"The cluster service of {server} has stopped; it released everything and left."


def not_shut_down(server: str, action: str, why: str) -> str:
    """Left for a shutdown or reboot that then was not done."""
    return f"{server} has left the cluster, but its {action} was not done: {why.rstrip('.')}."


def leave_failed(server: str, groups: Sequence[str]) -> str:
    """Could not leave."""
    return f"{server} cannot leave: {listed(groups)} could not be stopped."


def two_copies(group: str, servers: Iterable[str]) -> str:
    """More than one server runs a group."""
    return f"{group} runs on {listed(servers)} at once: its data is at risk."


def mend_copies(group: str, servers: Iterable[str]) -> str:
    """What ends that."""
    stops = " or ".join(f"clpgrp -t {group} -h {server}" for server in servers)
    return f"Stop it where it should not run: {stops}"


def one_copy(group: str) -> str:
    """It is over."""
    return f"{group} no longer runs on several servers. Check its data."


def confirmed_down(server: str, user: str, known: str) -> str:
    """confirm-down."""
    text = f"{user} confirmed that {server} is down and stays down until it is back on the network"
    return f"{text}, against what was known ({known.rstrip('.')})." if known else f"{text}."


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


def not_counted(server: str, theirs: int, me: str, ours: int) -> str:
    """A server boots with other voters or lengths than ours."""
    newest = f"on {server}: " if theirs > ours else ""
    has = f"{me} has its newer one" if theirs > ours else "it has the newest"
    return (
        f"{server} runs configuration revision {theirs}, whose servers, arbiters or leases are "
        f"not those of revision {ours}: it takes part when {has} ({newest}clpcfctrl --push)."
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


def unsettled(server: str, rounds: int) -> str:
    """The rules asked for one change after another."""
    return (
        f"The rules on {server} came to no end within {rounds} rounds; they go on with the next "
        "event. This is a fault of clptools: send the journal with a report (clplogcc)."
    )
