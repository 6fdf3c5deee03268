"""A bond loses a member: Caution; the other one, too: the group moves; cables in: Normal."""

from lab import sources
from lab.case import Lab

CONFIG = sources.CONFIG

BOND = """
ip link show bond0 >/dev/null 2>&1 && exit 0
modprobe bonding max_bonds=0
ip link add bond0 type bond mode active-backup miimon 100
for n in 0 1; do
    ip link add port$n type veth peer name plug$n
    ip link set plug$n up
    ip link set port$n master bond0
done
ip link set bond0 up
"""


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    holder.sh(BOND)
    lab.until("bond0 has its link", lambda: "LOWER_UP" in holder.sh("ip link show bond0"), 20)
    sources.becomes(lab, holder, "network", "Normal")
    sources.break_it(lab, holder, "a cable of bond0 is pulled", "ip link set plug0 down")
    sources.becomes(lab, holder, "network", "Caution")
    sources.says(holder, "1 of 2 work")
    lab.stays(holder, 5)
    since = sources.break_it(lab, holder, "the other one, too", "ip link set plug1 down")
    lab.serves(other)
    sources.becomes(lab, holder, "network", "Error")
    sources.says(holder, "bond0 has no carrier")
    sources.measure(lab, holder, "network", since)
    holder.sh("ip link set plug0 up; ip link set plug1 up")
    lab.note("both cables are in")
    sources.recovered(lab, holder, "network")
    lab.stays(other, 5)
