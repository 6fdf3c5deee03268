"""Final action `bmc-power-off`: the own BMC cuts the power, and that reads as off elsewhere."""

from lab import finals
from lab.case import Lab

CONFIG = finals.CONFIG


def run(lab: Lab) -> None:
    finals.check(lab, "bmc-power-off", "power off", off=True)
