"""The holder is rebooted by its administrator: the group moves first."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    before = lab.boot_of(holder)
    lab.fault(f"{holder.name}: systemctl reboot", lambda: holder.spawn("systemctl reboot"))
    lab.serves(other)
    lab.rebooted(holder, before)
    lab.stays(other, 10)
    lab.proven(other)
