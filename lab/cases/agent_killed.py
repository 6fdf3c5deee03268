"""The holder's agent is killed again and again: the group goes on where it is."""

import time

from lab.case import Lab
from lab.cluster import sample

# An emulated server needs seconds to start an agent, more than ten on a busy machine, hardware a
# fifth of one.  Until then nothing feeds the watchdog, which waits for 45 % of `self_stop`, and
# nobody is heard.
CONFIG = sample(more="[cluster]\nself_stop = 50\nheartbeat_timeout = 20\n")
WAITS = "cat /sys/class/watchdog/watchdog*/timeout"
TIMES = 4


def run(lab: Lab) -> None:
    holder = lab.holder()
    lab.until("its watchdog waits longer", lambda: "22" in holder.sh(WAITS).split(), 90)
    boot = lab.boot_of(holder)
    away: list[float] = []
    for number in range(1, TIMES + 1):
        lab.fault(
            f"{holder.name}: SIGKILL for the agent, {number} of {TIMES}",
            lambda: holder.sh("systemctl kill --kill-whom=main -s KILL clpnode"),
        )
        killed = time.monotonic()
        lab.until("the agent is back", lambda: holder.try_sh("clpstat --json")[0] == 0, 60)
        away.append(time.monotonic() - killed)
    lab.figures["agent back in"] = f"{min(away):.1f} to {max(away):.1f} s"
    lab.stays(holder, 10)
    if len({word.run for word in lab.words()}) != 1 or lab.boot_of(holder) != boot:
        raise AssertionError("the workload was started anew")
