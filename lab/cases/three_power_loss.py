"""Three servers, the holder loses its power: the majority of the others starts the group."""

from lab.case import Lab
from lab.cluster import sample

SERVERS = 3
CONFIG = sample(servers=3)


def run(lab: Lab) -> None:
    holder = lab.holder()
    lab.fault(f"{holder.name}: chassis power off", lambda: holder.power("off"))
    other = lab.serves_elsewhere(holder)
    lab.proven(other, "power off", "forced stop", of=holder)
    lab.stays(other, 5)
