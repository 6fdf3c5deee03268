"""The holder loses its power."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    lab.fault(f"{holder.name}: chassis power off", lambda: holder.power("off"))
    lab.serves(other)
    lab.proven(other, "power off", "forced stop")
