"""The holder's kernel panics: clptools, then corosync and pacemaker in the same two machines."""

from lab.case import Lab
from lab.rival.duel import fight

ASKED_ONLY = True


def run(lab: Lab) -> None:
    fight(lab, "rival-panic", "kernel panic", lambda holder: holder.panic())
