"""Both interconnects lose a fifth of all packets and are slow: nothing moves."""

from lab import network
from lab.case import Lab

HOW = "delay 80ms 40ms loss 20%"


def run(lab: Lab) -> None:
    holder = lab.holder()

    def disturb() -> None:
        for each in lab.servers:
            for name in ("lan1", "lan2"):
                network.disturb(each.number, name, HOW)

    lab.fault(f"LAN1 and LAN2: {HOW}", disturb)
    lab.stays(holder, 60)
