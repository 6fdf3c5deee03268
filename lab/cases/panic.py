"""The holder's kernel panics and stays down; it is powered off first."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    lab.fault(f"{holder.name}: kernel panic", holder.panic)
    lab.serves(other)
    lab.proven(other, "power off", "forced stop")
