"""The holder loses its power: clptools, then corosync and pacemaker in the same two machines."""

from lab.case import Lab
from lab.rival.duel import fight

ASKED_ONLY = True


def run(lab: Lab) -> None:
    fight(lab, "rival-power-loss", "chassis power off", lambda holder: holder.power("off"))
