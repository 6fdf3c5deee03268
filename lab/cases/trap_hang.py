"""As `trap`, but the system hangs half-way: the BMC's dead-man resets it at the deadline."""

from lab.case import Lab
from lab.cluster import sample
from lab.machine import Machine

CONFIG = sample(forced_stop="none", deadline=30, method="none")


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    before = lab.boot_of(holder)
    # A stop script that does not end in this boot, and a kernel that soon does nothing more.
    hang = "#!/bin/sh\ntest ! -e /run/hang || sleep 600\n"
    holder.write("/etc/clptools/scripts/failover1/exec1/stop.sh", hang, "0750")
    holder.sh("touch /run/hang; sysctl -w kernel.panic=0; sync")
    lab.fault(f"BMC of {holder.name}: trap, processor internal error", lambda: holder.trap())
    lab.expect("the dead-man is armed", lambda: "Started/Running" in _timer(holder), 20)
    lab.note(f"{holder.name}: its kernel panics and stays so")
    holder.panic()
    lab.rebooted(holder, before)
    lab.serves(other, 120)
    lab.proven(other)
    lab.acknowledge(holder)


def _timer(server: Machine) -> str:
    return server.ipmi("mc", "watchdog", "get")
