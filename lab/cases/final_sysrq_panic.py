"""Final action `sysrq-panic`: the kernel panics (and reboots after 5 s); the lease proves it."""

from lab import finals
from lab.case import Lab

CONFIG = finals.CONFIG


def run(lab: Lab) -> None:
    finals.check(lab, "sysrq-panic", "lease", "released", before="sysctl -w kernel.panic=5")
