"""Both interconnects lose a fifth of all packets and are slow: nothing moves."""

from lab.case import Lab

HOW = "delay 80ms 40ms loss 20%"


def run(lab: Lab) -> None:
    holder = lab.holder()

    def disturb(how: str) -> None:
        for each in lab.servers:
            for name in ("lan1", "lan2"):
                each.disturb(name, how)

    lab.fault(f"LAN1 and LAN2: {HOW}", lambda: disturb(HOW))
    try:
        lab.stays(holder, 20)
    finally:
        disturb("")
