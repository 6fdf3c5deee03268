"""Three servers, the holder loses its power and its BMC: its lease is the proof."""

from lab import network
from lab.case import Lab
from lab.cluster import sample
from lab.machine import Machine

SERVERS = 3
CONFIG = sample(servers=3)


def run(lab: Lab) -> None:
    holder = lab.holder()
    network.bmc_cable(holder.number, False)
    lab.note(f"BMC of {holder.name} unplugged")
    lab.stays(holder, 5)
    lab.fault(f"{holder.name}: power off", holder.pull_the_plug)
    other = lab.serves_elsewhere(holder)
    lab.proven(other, "lease", of=holder)
    # Before it is powered on: one whose BMC is back and reads on is still to be forced to stop.
    network.bmc_cable(holder.number, True)
    lab.expect("its BMC is back and reads off", lambda: _power(lab, other, holder) == "off")


def _power(lab: Lab, asked: Machine, server: Machine) -> str:
    """What a server knows of the power of another."""
    for each in lab.cluster.status(asked).get("servers", ()):
        if each["name"] == server.name:
            return str(each["bmc"]["power"])
    return ""
