"""What requests are answered: what is already so, what refuses them, and what would allow them.

No decision reads one of these sentences: rewording them changes only what people read.
"""

from __future__ import annotations

from collections.abc import Sequence

from clptools.core.phrases import listed

# ---------------------------------------------------------------------- any request

ASK_AGAIN = "Look how things are (clpstat -s), then ask again."


def no_coordinator(what: str) -> str:
    """Refusal."""
    return f"No server is coordinator now, so nobody can decide: {what}."


def cluster_suspended(user: str) -> str:
    """Refusal."""
    return f"The cluster is suspended{' by ' + user if user else ''}."


# ---------------------------------------------------------------------- groups and resources


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


def start_ended_badly(group: str, server: str) -> str:
    """A start by command failed."""
    return f"{group} could not be started on {server}."


def cannot_take(group: str, server: str, why: str) -> str:
    """Refusal."""
    return f"{group} cannot go to {server}: {why}."


def barred(group: str, server: str, event: str) -> str:
    """Refusal."""
    named = f" ({event})" if event else ""
    return f"{group} cannot move to {server}: it has an open fatal event{named}."


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


def nobody_else(group: str, why: Sequence[str]) -> str:
    """What a move waits for that no other server would take."""
    if not why:
        return f"It is the only server of {group}: name others in its servers."
    return f"It can move as soon as another server may run it ({'; '.join(why)})."


def needed_by(resource: str, others: Sequence[str]) -> str:
    """Refusal of a resource stop."""
    verb = "runs" if len(others) == 1 else "run"
    return f"{resource} is needed by {listed(others)}, which still {verb}."


def needs(resource: str, others: Sequence[str]) -> str:
    """Refusal of a resource start."""
    return (
        f"{resource} needs {listed(others)}, which {'does' if len(others) == 1 else 'do'} not run."
    )


# ---------------------------------------------------------------------- servers


def counts_as_down(server: str, alone: Sequence[str]) -> str:
    """A person's word is taken; `alone`: servers to which it could not be passed on."""
    also = f" Say it on {listed(alone)} as well." if alone else ""
    return f"{server} counts as down until it is heard again.{also}"


def not_shut_down(server: str, action: str, why: str) -> str:
    """Left for a shutdown or reboot that then was not done."""
    return f"{server} has left the cluster, but its {action} was not done: {why.rstrip('.')}."


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


# ---------------------------------------------------------------------- monitors


def monitors_already(monitors: Sequence[str], server: str, suspended: bool) -> str:
    """Nothing to do."""
    verb = "is" if len(monitors) == 1 else "are"
    word = "suspended" if suspended else "running"
    return f"{listed(monitors)} {verb} already {word} on {server}."


def linkage_owned(monitor: str, category: str) -> str:
    """clprexec refused."""
    return (
        f"{monitor} belongs to category {category}: its status follows the hardware alone, "
        "and no request from outside changes it."
    )


# ---------------------------------------------------------------------- configurations


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
