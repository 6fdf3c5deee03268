"""Both interconnects of the holder are cut: it is powered off before the group starts."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    lab.fault(f"{holder.name}: LAN1 and LAN2 cut", lambda: lab.cut(holder, "lan1", "lan2"))
    lab.serves(other)
    lab.proven(other, "power off", "forced stop")
