"""A real-time process takes all processors for ever: the watchdog resets the server."""

from lab.case import Lab
from lab.cluster import ARBITER, sample

CONFIG = sample(forced_stop="none", more=ARBITER)

# Without the five per cent that Linux keeps for ordinary processes; one spinner a processor.
SPIN = """
sysctl -w kernel.sched_rt_runtime_us=-1
for n in $(seq $(nproc)); do chrt -f 99 sh -c 'while :; do :; done' & done
"""


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    before = lab.boot_of(holder)
    lab.fault(f"{holder.name}: starved", lambda: holder.spawn(SPIN))
    lab.serves(other)
    lab.proven(other, "lease", "released")
    lab.rebooted(holder, before)
