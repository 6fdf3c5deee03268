"""The holder's BMC is unplugged, then the server loses its power: without proof the group waits."""

from lab import network
from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    network.bmc_cable(holder.number, False)
    lab.note(f"BMC of {holder.name} unplugged")
    lab.stays(holder, 10)
    lab.fault(f"{holder.name}: power off", holder.pull_the_plug)
    lab.waits(other, 20)
    other.sh(f"clpnode confirm-down {holder.name} --yes")
    lab.note(f"the operator vouches that {holder.name} is down")
    lab.serves(other)
    lab.proven(other, "operator")
