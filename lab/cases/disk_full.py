"""The holder's root file system fills up, and has room again: nothing moves."""

from lab.case import Lab

FILL = """
fallocate -l "$(df --output=avail -B1 / | tail -1)" /fill1
dd if=/dev/zero of=/fill2 bs=512
"""


def run(lab: Lab) -> None:
    holder = lab.holder()
    said: list[str] = []
    lab.fault(
        f"{holder.name}: its disk is full",
        lambda: said.append(holder.try_sh(FILL, within_s=120)[1]),
    )
    if "No space left on device" not in said[0]:
        raise AssertionError(f"it is not full: {said[0]}")
    lab.stays(holder, 12)
    holder.sh("rm -f /fill1 /fill2; sync", within_s=60)
    lab.note("it has room again")
    lab.stays(holder, 5)
    lab.expect("the cluster is normal", lambda: not lab.cluster.faults(), 60)
