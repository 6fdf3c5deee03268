"""The holder's kernel panics and reboots itself after 5 s."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    holder.sh("sysctl -w kernel.panic=5")
    lab.fault(f"{holder.name}: kernel panic, reboot after 5 s", holder.panic)
    lab.serves(other)
    lab.proven(other, "power off", "forced stop")
    lab.stays(other, 5)
