"""The holder is rebooted by its administrator: the group moves first, over a network that is up."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    before = lab.boot_of(holder)
    lab.fault(f"{holder.name}: systemctl reboot", lambda: holder.spawn("systemctl reboot"))
    lab.serves(other)
    lab.proven(other, "released")
    lab.rebooted(holder, before)
    lab.stays(other, 5)
    said = holder.sh("journalctl -b -1 --no-pager -o cat _PID=1 + SYSLOG_IDENTIFIER=clptools")
    order = [said.find(text) for text in ("stopped exec1, then fip1", "Stopped clpnode.service")]
    order += [said.find("Stopped lab-network.service")]
    if -1 in order or order != sorted(order):
        raise AssertionError(f"group, agent and network ended in another order: {order}\n{said}")
