"""All processors of the holder stand still: it is powered off before the group starts."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    lab.fault(f"{holder.name}: frozen", holder.freeze)
    lab.serves(other)
    lab.proven(other, "power off", "forced stop")
    lab.expect(f"{holder.name} is off", lambda: not holder.on)
