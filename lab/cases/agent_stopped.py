"""The holder's agent stands still (SIGSTOP): its watchdog resets the server."""

from collections.abc import Callable

from lab.case import Lab
from lab.cluster import ARBITER, sample
from lab.machine import Machine

CONFIG = sample(forced_stop="none", more=ARBITER)


def run(lab: Lab) -> None:
    stop = "systemctl kill --kill-whom=main -s STOP clpnode"
    reset_by_watchdog(lab, "the agent is stopped", lambda holder: holder.spawn(stop))


def reset_by_watchdog(lab: Lab, what: str, stand_still: Callable[[Machine], None]) -> None:
    """The holder stands still in some way: the group is served elsewhere, and it boots anew."""
    holder = lab.holder()
    other = lab.other(holder)
    before = lab.boot_of(holder)
    lab.fault(f"{holder.name}: {what}", lambda: stand_still(holder))
    lab.serves(other)
    lab.proven(other)
    lab.rebooted(holder, before)
    lab.stays(other, 5)
