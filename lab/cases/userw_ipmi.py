"""As `agent-stopped` with `method = "ipmi"`: the BMC's own timer resets the server."""

from lab.case import Lab
from lab.cases import agent_stopped
from lab.cluster import ARBITER, sample

# The timer of OpenIPMI's ipmi_sim expires at the end of its first countdown however it is fed, so
# the servers have QEMU's in band; beats in that one cannot be read over the network.
OWN_TIMER = True
CONFIG = sample(forced_stop="none", method="ipmi", carrier="power", more=ARBITER)
FED_S = 15.0
"""Five times the timer: fed, it never expires."""


def run(lab: Lab) -> None:
    holder = lab.holder()
    said = holder.sh("clpstat --json")
    if '"watchdog": "ipmi"' not in said and '"watchdog":"ipmi"' not in said:
        raise AssertionError(f"the watchdog is not the BMC's: {said}")
    lab.stays(holder, FED_S)
    agent_stopped.run(lab)
