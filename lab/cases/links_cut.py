"""Both interconnects of the holder are cut; an arbiter says who goes on, and it is powered off."""

from lab.case import Lab
from lab.cluster import ARBITER, sample

# Without one, two servers that do not hear each other cannot know whose cables were cut, and the
# holder stops the other one.
CONFIG = sample(more=ARBITER)


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    lab.fault(f"{holder.name}: LAN1 and LAN2 cut", lambda: lab.cut(holder, "lan1", "lan2"))
    lab.serves(other)
    lab.proven(other)
