"""Three servers, the holder loses its power and its BMC: its lease is the proof."""

from lab import network
from lab.case import Lab
from lab.cluster import sample

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
