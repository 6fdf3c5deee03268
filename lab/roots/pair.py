"""A cluster of two servers whose group runs a process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial

from lab.roots.root import Root, check, until

CONFIG = """\
[[server]]
name = "server1"
[[server]]
name = "server2"
[[interconnect]]
type = "lanhb"
address = { server1 = "10.0.0.1", server2 = "10.0.0.2" }
[[group]]
name = "app"
[[group.resource]]
type = "exec"
name = "worker"
[[monitor]]
type = "userw"
method = "none"
"""
START = """\
#!/bin/sh
echo start >>/var/log/worker
sleep 99999 </dev/null >/dev/null 2>&1 &
echo $! >/run/worker
"""
STOP = """\
#!/bin/sh
echo stop >>/var/log/worker
[ ! -e /run/worker ] || kill $(cat /run/worker)
rm -f /run/worker
"""


class Pair:
    """Two booted servers with a cluster whose group runs a process."""

    def __init__(self, roots: list[Root], install: Callable[[Root], None]) -> None:
        self.roots = roots
        for each in roots:
            each.boot()
            install(each)
        self.configure()

    def configure(self) -> None:
        """The configuration on both, the agents started, the group online on server1."""
        for each in self.roots:
            each.write("/etc/clptools/clp.toml", CONFIG)
            for name, text in (("start.sh", START), ("stop.sh", STOP)):
                each.write(f"/etc/clptools/scripts/app/worker/{name}", text, 0o755)
        first, second = self.roots
        first.sh("clpcfctrl --keygen")
        key = first.folder / "etc/clptools/authkey"
        shutil.copy(key, second.folder / "etc/clptools/authkey")
        for each in self.roots:
            each.sh("systemctl start clpnode")
        self.normal()
        first.sh("clpwait --until 'group app online' --timeout 60")
        self._process = self.process()

    def process(self) -> str:
        """What the group's process is: changes when it is stopped or started anew."""
        return self.roots[0].sh("cat /run/worker; cat /var/log/worker; kill -0 $(cat /run/worker)")

    def normal(self) -> None:
        """Both agents hear each other, and nothing is suspended."""
        for each in self.roots:
            until(partial(_is_normal, each), f"{each.name} sees a normal cluster")

    def undisturbed(self) -> None:
        """The group's process is the one that it was from the beginning."""
        check(self.process() == self._process, f"the group was left alone: {self.process()}")


def _is_normal(root: Root) -> bool:
    status, said = root.try_sh("clpstat --json")
    flat = "".join(said.split())
    return status == 0 and '"suspended":false' in flat and flat.count('"status":"Online"') >= 3


def pair(install: Callable[[Root], None], base: str = "server") -> Pair:
    return Pair([Root(base, 1), Root(base, 2)], install)
