"""Power cuts at random moments while groups move and configurations change: nothing is lost."""

import os
import random
import time

from lab.case import Lab
from lab.cluster import FOLDER, sample
from lab.machine import Machine

ROUNDS = int(os.environ.get("ROUNDS", "2"))
BUSY = "clpgrp -m failover1; clpgrp -m failover1; clplogcmd -m cut"
COMPLAINTS = "unreadable|corrupt|starting without state|counts as open|not understood"


def run(lab: Lab) -> None:
    chance = random.Random(20)
    survivor, victim = lab.servers
    for number in range(1, ROUNDS + 1):
        victim.spawn(BUSY)
        if number % 2:
            changed = sample(more=f"[forced_stop]\ntimeout = {20 + number % 9}\n")
            survivor.write(f"{FOLDER}/clp.toml", changed)
            survivor.spawn(f"clpcfctrl --push -x {FOLDER}")
        time.sleep(chance.uniform(0.0, 8.0))
        lab.fault(f"cut {number} of {victim.name}", lambda: victim.power("off"))
        lab.until("it is off", lambda: not victim.on, 20)
        lab.expect(f"{survivor.name} serves", lambda: lab.collector.speaker() == survivor.name, 60)
        # Sooner, it would be taken for one that stands still, and be powered off while it boots.
        lab.until("its loss is known", lambda: _offline(lab, survivor, victim), 30)
        victim.boot()
        lab.expect("the cluster is normal", lambda: not lab.cluster.faults(), 240)
        _whole(survivor, victim)
    for each in lab.servers:
        each.sh("clpreplay >/dev/null", within_s=120)
    lab.cluster.push(sample())
    lab.figures["rounds"] = str(ROUNDS)


def _offline(lab: Lab, survivor: Machine, victim: Machine) -> bool:
    servers = lab.cluster.status(survivor).get("servers", ())
    return any(s["name"] == victim.name and s["status"] == "Offline" for s in servers)


def _whole(survivor: Machine, victim: Machine) -> None:
    """State, records and configuration of the server that came back."""
    survivor.sh("clpcfctrl --compcheck", within_s=60)
    said = victim.sh(
        f"journalctl -u clpnode -t clptools -b --no-pager | grep -E '{COMPLAINTS}' || :"
    )
    if said:
        raise AssertionError(said)
