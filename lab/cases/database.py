"""LVM, file system, IPaddr2 and PostgreSQL on a shared disk: no acknowledged row is lost."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable

import tomli_w

from lab import database
from lab.case import Lab, Wrong
from lab.cluster import sample
from lab.machine import PASSWORD, USER, Machine
from lab.network import bmc_address
from lab.writer import Writer

SHARED_DISK = True
ASKED_ONLY = True

SECRET = "/etc/clptools/fence/bmc"
_FENCE = f"""
[cluster]
fence_delay = 20
heartbeat_timeout = 20

[forced_stop]
timeout = 90

[[fence]]
name = "ipmi"
agent = "fence_ipmilan"
parameters = {{ username = "{USER}", lanplus = true, cipher = 3, power_timeout = 60 }}
password_file = "{SECRET}"
poll = true
timeout = 60
[fence.parameters_on]
server1 = {{ ip = "{bmc_address(1)}" }}
server2 = {{ ip = "{bmc_address(2)}" }}

[[monitor]]
name = "mrw1"
type = "mrw"
recovery = {{ target = "All Groups" }}
"""


def _without_bmcs(text: str) -> str:
    """No `[server.bmc]`, and nothing that needs one."""
    whole = tomllib.loads(text)
    for server in whole["server"]:
        del server["bmc"]
    whole["interconnect"] = [i for i in whole["interconnect"] if i["type"] != "bmchb"]
    return tomli_w.dumps(whole)


def _with_bmcs(text: str) -> str:
    """The same with a `[server.bmc]` for each server."""
    whole = tomllib.loads(text)
    for number, server in enumerate(whole["server"], start=1):
        server["bmc"] = {"address": bmc_address(number), "user": USER}
    return tomli_w.dumps(whole)


CONFIG = _without_bmcs(sample(after_recovery="none", more=_FENCE))
"""All that can prove or stop is the fence agent.  Its programs, and those of the resource agents,
keep an emulated processor busy for seconds: heartbeats get more time than by default."""

POSTMASTER = f"head -1 {database.FOLDER}/data/postmaster.pid"
KILL = f"kill -9 $({POSTMASTER})"
WITHIN_S = 300.0


def run(lab: Lab) -> None:
    here, there = lab.servers
    for each in lab.servers:
        each.write(SECRET, PASSWORD + "\n", "0400")
    database.follow(lab, lab.servers)
    lab.cluster.normal()
    _online(here)
    writer = Writer(database.ADDRESS)
    lab.until("its table is made", writer.prepare)
    writer.start()
    lab.until("the client writes", lambda: writer.sure)

    def goes(what: str, action: Callable[[], object]) -> None:
        """The group goes to the other server, and its client writes on."""
        nonlocal here, there
        asked = time.monotonic()
        lab.fault(f"{what}: {database.GROUP} to {there.name}", action)
        _online(there)
        online = time.monotonic()
        lab.expect("the client writes there", lambda: writer.since(online), WITHIN_S)
        gap = writer.longest_gap_s(asked - 1)
        lab.figures[f"{what}: longest time without a row"] = f"{gap:.1f} s"
        if lost := writer.lost():
            raise Wrong(f"after {what} acknowledged rows are not there: {sorted(lost)[:20]}")
        here, there = there, here

    move = f"clpgrp -m {database.GROUP} -a {there.name}"
    goes("move", lambda: here.sh(move, within_s=WITHIN_S))

    started = writer.ask("select pg_postmaster_start_time()")
    lab.fault(f"{here.name}: kill -9 of the database", lambda: here.sh(KILL))
    lab.expect(
        "its monitor has it restarted in place",
        lambda: writer.ask("select pg_postmaster_start_time()") not in ("", started),
        WITHIN_S,
    )
    _online(here)

    database.fail_over_at_once(lab, here)
    goes("monitor failure", lambda: here.sh(KILL))

    goes("power loss", lambda: here.power("off"))
    lab.proven(here, "power off", "forced stop", of=there)
    there.boot()
    said = there.sh(f"lvs --noheadings -o lv_active; grep -c {database.FOLDER} /proc/mounts || :")
    if "active" in said.split() or said.split()[-1] != "0":
        raise Wrong(f"{there.name} has started and uses the volume: {said}")
    lab.note(f"{there.name} is up again, and leaves the volume alone")
    lab.cluster.normal()

    # Traps are taken from a BMC that the configuration names.
    lab.cluster.push(_with_bmcs(lab.servers[0].sh("cat /etc/clptools/clp.toml")))
    lab.cluster.normal()
    goes("trap", here.trap)
    lab.acknowledge(there)

    writer.end()
    lost = writer.lost()
    lab.figures["rows acknowledged, lost"] = f"{len(writer.sure)}, {len(lost)}"
    if lost:
        raise Wrong(f"acknowledged rows are not there: {sorted(lost)[:20]}")
    lab.note(f"all {len(writer.sure)} acknowledged rows are there")


def _online(on: Machine) -> None:
    """Returns when the group is online there.  Raises Failed."""
    until = f"group {database.GROUP} online on {on.name}"
    on.sh(f"clpwait --until '{until}' --timeout {WITHIN_S:g}", within_s=WITHIN_S + 60)
