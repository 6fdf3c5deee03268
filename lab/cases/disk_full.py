"""The holder's root file system fills up, and has room again: nothing moves."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    fill = (
        "dd if=/dev/zero of=/fill bs=1M 2>/dev/null; dd if=/dev/zero of=/fill2 bs=512 2>/dev/null"
    )
    lab.fault(f"{holder.name}: its disk is full", lambda: holder.try_sh(fill, within_s=300))
    lab.stays(holder, 30)
    holder.sh("rm -f /fill.*; sync", within_s=60)
    lab.note("it has room again")
    lab.stays(holder, 10)
