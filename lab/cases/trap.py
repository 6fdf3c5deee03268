"""The BMC reports a fatal error: failover, and only then the BMC's reset."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    before = lab.boot_of(holder)
    lab.fault(f"BMC of {holder.name}: trap, processor internal error", lambda: holder.trap())
    lab.serves(other)
    lab.proven(other, "released")
    lab.rebooted(holder, before)
    lab.acknowledge(holder)
    lab.stays(other, 10)
