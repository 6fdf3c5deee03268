"""Final action `bmc-reset`: the own BMC resets the server at once; the lease proves it."""

from lab import finals
from lab.case import Lab

CONFIG = finals.CONFIG


def run(lab: Lab) -> None:
    finals.check(lab, "bmc-reset", "lease", "released")
