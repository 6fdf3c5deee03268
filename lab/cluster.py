"""The guide's sample cluster on whole machines, brought up through the commands alone."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tomli_w

from lab import network
from lab.guestagent import Failed, GuestGone
from lab.image import NETWORKS
from lab.machine import PASSWORD, USER, Machine
from lab.places import SOURCE, Trouble, say

GROUP = "failover1"
NORMAL_WITHIN_S = 300.0
FOLDER = "/root/cluster"


ARBITER = f"""
[[np]]
type = "ping"
targets = ["{NETWORKS["lan1"]}.{network.CLIENT}"]
"""
"""With an arbiter two servers arm their watchdogs, and the lease is a proof."""


def sample(
    *,
    servers: int = 2,
    forced_stop: str = "power-off",
    method: str = "softdog",
    after_recovery: str = "reset",
    deadline: int = 300,
    carrier: str = "timer",
    more: str = "",
) -> str:
    """The sample cluster's file for this room's networks, with `more` laid over it.

    A table of `more` with the name of one that is there changes that one, any other is added.
    """
    whole = tomllib.loads((SOURCE / "examples/sample-cluster/clp.toml").read_text())
    numbers = {f"server{number}": number for number in range(1, servers + 1)}
    bmcs = {name: network.bmc_address(number) for name, number in numbers.items()}
    whole["server"] = [
        {"name": name, "bmc": {"address": address, "user": USER}} for name, address in bmcs.items()
    ]
    lan1, lan2, bmc = whole["interconnect"]
    lan1["address"] = _addresses("lan1", numbers)
    lan2["address"] = _addresses("lan2", numbers)
    bmc |= {"address": bmcs, "carrier": carrier}
    whole["group"][0]["servers"] = list(numbers)
    userw, mrw = whole["monitor"]
    userw["method"] = method
    mrw["keyword_on"] = _addresses("bmc", numbers)
    mrw["keyword"] = mrw["keyword_on"]["server1"]
    mrw["recovery"] |= {"after_recovery": after_recovery, "after_recovery_deadline": deadline}
    whole["forced_stop"] = {"action": forced_stop}
    _lay_over(whole, tomllib.loads(more))
    return tomli_w.dumps(whole)


def _wait_for_normal(server: Machine) -> None:
    """Returns when it says so, and before long in any case."""
    asked = time.monotonic()
    with contextlib.suppress(GuestGone):
        status, _ = server.try_sh("clpwait --until 'cluster normal' --timeout 10", within_s=30)
        if status == 0:
            return
    time.sleep(max(0.0, asked + 1 - time.monotonic()))


def _know_bmcs(server: Machine, of: list[Machine]) -> None:
    for each in of:
        server.sh(f"clpbmccnf -u {USER} --new {each.name}", text=PASSWORD + "\n")


def _addresses(network: str, numbers: dict[str, int]) -> dict[str, str]:
    return {name: f"{NETWORKS[network]}.{number}" for name, number in numbers.items()}


def _lay_over(whole: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        old = whole.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _lay_over(old, value)
        elif isinstance(old, list) and isinstance(value[0], dict):
            for table in value:
                same = [
                    each for each in old if "name" in each and each["name"] == table.get("name")
                ]
                if same:
                    _lay_over(same[0], table)
                else:
                    old.append(table)
        else:
            whole[key] = value


class Cluster:
    """The servers that are in the configuration."""

    def __init__(self, servers: list[Machine]) -> None:
        self.servers = servers
        self.configuration = ""

    def __getitem__(self, name: str) -> Machine:
        return next(each for each in self.servers if each.name == name)

    def create(self, text: str) -> None:
        """A cluster out of servers that have only the package."""
        first, *others = self.servers
        first.sh("clpcfctrl --keygen")
        self._share_key(others)
        for each in self.servers:
            each.sh("systemctl start clpnode", within_s=120)
        for each in self.servers:
            _know_bmcs(each, self.servers)
        self.push(text)
        first.sh("clpcl -s -a", within_s=180)

    def add(self, new: list[Machine], text: str) -> None:
        """Servers that have only the package, for a cluster that runs."""
        self._share_key(new)
        for each in new:
            each.sh("systemctl start clpnode", within_s=120)
        old = list(self.servers)
        self.servers += new
        for each in new:
            _know_bmcs(each, self.servers)
        for each in old:
            _know_bmcs(each, new)
        self.push(text)

    def _share_key(self, new: list[Machine]) -> None:
        key = self.servers[0].sh("base64 -w0 /etc/clptools/authkey")
        for each in new:
            each.sh("umask 077; base64 -d >/etc/clptools/authkey", text=key)
            each.sh("chmod 0400 /etc/clptools/authkey")

    def push(self, text: str) -> None:
        """Puts a configuration in force, from the first server."""
        first = self.servers[0]
        scripts = f"{FOLDER}/scripts/{GROUP}/exec1"
        first.sh(f"mkdir -p {scripts} && cp /usr/lib/clptools-lab/st*.sh {scripts}/")
        first.write(f"{FOLDER}/clp.toml", text)
        first.sh(f"clpcfctrl --push -x {FOLDER}", within_s=180)
        self.configuration = text

    def status(self, on: Machine) -> dict[str, Any]:
        """What `clpstat --json` says there; empty: nothing."""
        with contextlib.suppress(GuestGone, json.JSONDecodeError):
            _, said = on.try_sh("clpstat --json", within_s=20)
            answer: dict[str, Any] = json.loads(said)
            return answer
        return {}

    def group(self, on: Machine) -> dict[str, Any]:
        """The group, as that server sees it."""
        found = [g for g in self.status(on).get("groups", ()) if g["name"] == GROUP]
        return found[0] if found else {}

    def faults(self) -> dict[str, str]:
        """What is not as it should be, by the server that says so; empty: all is well."""
        with ThreadPoolExecutor(len(self.servers)) as hands:
            said = zip(self.servers, hands.map(self._fault, self.servers), strict=True)
            return {each.name: fault for each, fault in said if fault}

    def normal(self, within_s: float = NORMAL_WITHIN_S) -> None:
        """Returns when every server says that everything is as it should be.  Raises Trouble."""
        deadline = time.monotonic() + within_s
        while faults := self.faults():
            if time.monotonic() > deadline:
                raise Trouble(f"the cluster is not normal after {within_s:g} s: {faults}")
            # On a busy machine a server may have been taken for dead, and powered off.
            for each in self.servers:
                if not each.on:
                    each.press_on()
            with ThreadPoolExecutor(len(self.servers)) as hands:
                list(hands.map(_wait_for_normal, self.servers))

    def _fault(self, on: Machine) -> str:
        status = self.status(on)
        if not status or "cluster" not in status:
            return "clpstat says nothing"
        faults = [f"cluster {status['cluster']['status']}"]
        faults += [f"{s['name']} {s['status']}" for s in status["servers"]]
        faults += [f"{g['name']} {g['status']}" for g in status["groups"]]
        return "; ".join(f for f in faults if f.split()[-1] not in ("Normal", "Online"))

    def since_boot(self, on: Machine) -> str:
        """The boot's own number: another after each reset."""
        return on.sh("cat /proc/sys/kernel/random/boot_id").strip()

    def keep_logs(self, folder: Path, of: list[Machine] | None = None) -> list[Machine]:
        """Everything that helps to understand a failure; returns who did not answer."""
        silent = []
        for each in self.servers if of is None else of:
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("console.log", "bmc.log", "qemu.log"):
                with contextlib.suppress(OSError):
                    (folder / f"{each.name}-{name}").write_bytes((each.folder / name).read_bytes())
            try:
                self._keep_logs_of(each, folder)
            except (GuestGone, Failed) as error:
                say(f"  no logs of {each.name} now: {error}")
                silent.append(each)
        return silent

    def _keep_logs_of(self, server: Machine, folder: Path) -> None:
        for name, line in (
            ("journal.txt", "journalctl --no-pager -o short-precise -n 3000"),
            ("alert.log", "cat /var/log/clptools/alert.log"),
            ("clpstat.txt", f"clpstat --long; clpstat --explain {GROUP}; clpstat --hw"),
            ("events.ndjson", "clpstat --events"),
        ):
            said = server.try_sh(line, within_s=20)[1]
            (folder / f"{server.name}-{name}").write_text(said)
        packed = server.sh("tar czf - -C /var/lib/clptools . | base64 -w0", within_s=30)
        (folder / f"{server.name}-state.tar.gz").write_bytes(base64.b64decode(packed))
