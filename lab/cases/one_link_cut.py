"""LAN2 is cut, then its whole switch is off: nothing moves."""

from lab import network
from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    lab.fault(f"{holder.name}: LAN2 cut", lambda: lab.cut(holder, "lan2"))
    lab.stays(holder, 10)
    network.switch("lan2", False)
    lab.note("the switch of LAN2 is off")
    lab.stays(holder, 10)
