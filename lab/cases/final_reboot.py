"""Final action `reboot`: the group moves first, then the server boots again."""

from lab import finals
from lab.case import Lab

CONFIG = finals.CONFIG


def run(lab: Lab) -> None:
    finals.check(lab, "reboot", "released", "left")
