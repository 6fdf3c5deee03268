"""The package of the holder is upgraded and downgraded while the group runs on it."""

from functools import partial

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    for word, newer in (("upgraded", True), ("downgraded", False)):
        lab.fault(f"{holder.name}: {word}", partial(lab.install, holder, newer))
        lab.stays(holder, 10)
        lab.expect("the cluster is normal", lambda: not lab.cluster.faults(), 120)
    if len({word.run for word in lab.words()}) != 1:
        raise AssertionError("the workload was started anew")
