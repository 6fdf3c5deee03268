"""Final action `bmc-power-cycle`: off and on again by the own BMC."""

from lab import finals
from lab.case import Lab

CONFIG = finals.CONFIG


def run(lab: Lab) -> None:
    finals.check(lab, "bmc-power-cycle", "power off", "lease", "released")
