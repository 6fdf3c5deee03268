"""The holder's agent stands still (SIGSTOP): its watchdog resets the server."""

from lab.case import Lab
from lab.cluster import ARBITER, sample

CONFIG = sample(forced_stop="none", more=ARBITER)


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    before = lab.boot_of(holder)
    lab.fault(
        f"{holder.name}: the agent is stopped",
        lambda: holder.spawn("systemctl kill --kill-whom=main -s STOP clpnode"),
    )
    lab.serves(other)
    lab.proven(other)
    lab.rebooted(holder, before)
    lab.stays(other, 10)
