"""A group with a unit of `Type=notify`: online once it is ready, restarted when it crashes."""

from lab import arbiter
from lab.case import Lab
from lab.cluster import sample
from lab.machine import Machine

UNIT = "lab-notify.service"
FILE = """\
[Service]
Type=notify
NotifyAccess=all
ExecStart=/usr/bin/python3 -I -S -c "{program}"
"""
# Ready after three seconds, not before.
PROGRAM = (
    "import os,socket,time;time.sleep(3);"
    "socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)"
    ".sendto(b'READY=1',os.environ['NOTIFY_SOCKET']);"
    "time.sleep(9999)"
)

MORE = f"""
[[group]]
name = "app"
servers = ["server1", "server2"]
startup = "auto"
[[group.resource]]
type = "service"
name = "notify"
unit = "{UNIT}"
[[monitor]]
type = "mrw"
name = "unit"
category = "HA/AM"
keyword = "{UNIT}"
[monitor.recovery]
action = "restart"
target = "app"
"""


def run(lab: Lab) -> None:
    for each in lab.servers:
        each.write(f"/etc/systemd/system/{UNIT}", FILE.format(program=PROGRAM))
        each.sh("systemctl daemon-reload")
    with arbiter.configured(lab, sample(more=MORE)):
        here = lab.servers[0]
        there = lab.other(here)
        _moves_to(lab, here)
        before = _since(here)
        kill = f"systemctl kill --kill-whom=main -s KILL {UNIT}"
        lab.fault(f"{here.name}: {UNIT} is killed", lambda: here.sh(kill))
        lab.expect(
            "the unit was started anew there",
            lambda: _state(here) == "active" and _since(here) != before,
        )
        lab.cluster.normal()
        here.sh("clpmonctrl -c -m unit")
        _moves_to(lab, there)
        if _state(here) != "inactive":
            raise AssertionError(f"{UNIT} still runs on {here.name}")
        there.sh("clpgrp -t app", within_s=60)
        if _state(there) != "inactive":
            raise AssertionError(f"{UNIT} still runs on {there.name}")
        lab.note("stopped")


def _moves_to(lab: Lab, server: Machine) -> None:
    where = _where(lab)
    if where != server.name:
        how = f"-m app -a {server.name}" if where else f"-s app -h {server.name}"
        server.sh(f"clpgrp {how}", within_s=60)
    lab.expect(f"app is online on {server.name}", lambda: _where(lab) == server.name, 60)
    if _state(server) != "active":
        raise AssertionError(f"app is online, and {UNIT} is {_state(server)}")


def _where(lab: Lab) -> str:
    groups = lab.cluster.status(lab.servers[0]).get("groups", ())
    found = [g for g in groups if g["name"] == "app" and g["status"] == "Online"]
    return str(found[0]["current"]) if found else ""


def _state(server: Machine) -> str:
    return server.try_sh(f"systemctl is-active {UNIT}")[1].strip()


def _since(server: Machine) -> str:
    return server.sh(f"systemctl show -P ActiveEnterTimestampMonotonic {UNIT}").strip()
