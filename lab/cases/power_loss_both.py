"""Both servers lose their power, then one of them comes back alone."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    lab.fault("both: chassis power off", lambda: [each.power("off") for each in lab.servers])
    lab.note(f"{other.name}: power on")
    other.press_on()
    lab.serves(other, 300)
    lab.proven(other, "power off", "forced stop")
