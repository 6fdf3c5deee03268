"""The holder freezes: clptools, then corosync and pacemaker in the same two machines."""

from lab.case import Lab
from lab.rival.duel import fight

ASKED_ONLY = True


def run(lab: Lab) -> None:
    fight(lab, "rival-frozen", "all processors stand still", lambda holder: holder.freeze())
