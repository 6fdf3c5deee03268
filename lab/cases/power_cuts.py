"""Power cuts at random moments while the group is moved: nothing is lost, nothing unreadable."""

import os
import random
import time

from lab.case import Lab

ROUNDS = int(os.environ.get("ROUNDS", "5"))


def run(lab: Lab) -> None:
    chance = random.Random(20)
    survivor, victim = lab.servers
    for number in range(1, ROUNDS + 1):
        victim.spawn("clpgrp -m failover1; clpgrp -m failover1; clplogcmd -m cut")
        time.sleep(chance.uniform(0.0, 8.0))
        lab.fault(f"cut {number} of {victim.name}", lambda: victim.power("off"))
        lab.until("it is off", lambda: not victim.on, 20)
        lab.serves(survivor, 60)
        victim.boot()
        lab.expect("the cluster is normal", lambda: not lab.cluster.faults(), 240)
        bad = victim.sh(
            "journalctl -u clpnode -b --no-pager | grep -ci 'unreadable\\|corrupt' || true"
        )
        if bad.strip() != "0":
            raise AssertionError(f"cut {number}: a state file was unreadable")
    lab.figures["rounds"] = str(ROUNDS)
