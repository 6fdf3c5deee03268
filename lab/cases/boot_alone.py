"""A server boots while the other is dark, its BMC unplugged: it waits, until the BMC reads off."""

from lab import network
from lab.case import Lab
from lab.cluster import sample

WAIT_S = 25
CONFIG = sample(more=f"[cluster]\nstartup_wait = {WAIT_S}\n")


def run(lab: Lab) -> None:
    dark, boots = lab.servers
    lab.fault("both: chassis power off", lambda: [each.power("off") for each in lab.servers])
    network.bmc_cable(dark.number, False)
    lab.note(f"BMC of {dark.name} unplugged; {boots.name}: power on")
    boots.boot()
    lab.waits(boots, WAIT_S + 10)
    network.bmc_cable(dark.number, True)
    lab.note(f"BMC of {dark.name} is plugged in")
    # Not `serves`: before the cut it may have been this server that the client heard.
    lab.expect("it serves", lambda: lab.collector.speaker() == boots.name)
    lab.proven(boots, "power off", "forced stop")
