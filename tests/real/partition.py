"""Rounds of faults on real servers whose resources write down, moment by moment, that they run.

Each group's resource is a program that appends to one common file: `begin`, then a `beat` every
20 ms, then `end`, each with its process id and CLOCK_MONOTONIC, which all namespaces of a machine
share.  Whoever says what, two copies of a group at once show there.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.real.cluster import Cluster, Node, until

GROUPS = ("failover1", "failover2")
BACK_WITHIN_S = 60.0
"""Nobody waits longer for the service; what counts is what was measured."""

_PROGRAM = """\
import os, signal, sys, time
server, group, path, pidfile = sys.argv[1:]
file = os.open(path, os.O_WRONLY | os.O_APPEND)
def write(word):
    line = f"{word} {server} {group} {os.getpid()} {time.monotonic_ns()}\\n"
    os.write(file, line.encode())
def end(*_):
    write("end")
    os._exit(0)
if os.fork():
    os.wait()
    os._exit(0)
os.setsid()
ready, told = os.pipe()
if os.fork():
    os.close(told)
    os.read(ready, 1)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
write("begin")
with open(pidfile, "w") as out:
    print(os.getpid(), file=out)
os.close(ready)
os.close(told)
for n in range(3):
    os.dup2(os.open(os.devnull, os.O_RDWR), n)
while True:
    time.sleep(0.02)
    write("beat")
"""

_START = """\
#!/bin/sh
read pid 2>/dev/null <{pidfile} && kill -0 "$pid" 2>/dev/null && exit 0
exec {python} -S {program} {server} {group} {diary} {pidfile}
"""

_STOP = """\
#!/bin/sh
read pid 2>/dev/null <{pidfile} || exit 0
kill -TERM "$pid" 2>/dev/null
while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
rm -f {pidfile}
"""

_RESET = """\
#!/bin/sh
# What a reset does: everything that runs there is gone at once, and /run with it.
# Twice, for what was being started meanwhile.
for n in 1 2; do
  for pid in $(ip netns pids {namespace}); do [ "$pid" = $$ ] || kill -KILL "$pid"; done
done 2>/dev/null
rm -rf {root}/run/clptools
exec {python} -S -c 'import os, time
file = os.open("{diary}", os.O_WRONLY | os.O_APPEND)
os.write(file, f"reset {server} - 0 {{time.monotonic_ns()}}\\n".encode())'
"""


class Line(NamedTuple):
    """One line of the common file."""

    word: str
    server: str
    group: str
    pid: int
    at_ns: int


class Copy(NamedTuple):
    """One run of a group's resource."""

    group: str
    server: str
    pid: int
    begun_ns: int
    ended_ns: int
    """When it was surely gone: its `end`, the reset of its server, or else its last beat."""


def copies(lines: list[Line]) -> list[Copy]:
    """Every run of every group's resource, in the order in which they began."""
    found: list[Copy] = []
    running: dict[int, Copy] = {}
    for line in sorted(lines, key=lambda each: each.at_ns):
        if line.word == "reset":
            there = [pid for pid, copy in running.items() if copy.server == line.server]
            found.extend(running.pop(pid)._replace(ended_ns=line.at_ns) for pid in there)
            continue
        begun = running.pop(line.pid, None)
        copy = Copy(line.group, line.server, line.pid, line.at_ns, line.at_ns)
        if begun is not None:
            copy = begun._replace(ended_ns=line.at_ns)
        if line.word == "end":
            found.append(copy)
        else:
            running[line.pid] = copy
    return sorted([*found, *running.values()], key=lambda copy: copy.begun_ns)


def overlaps(lines: list[Line]) -> list[tuple[Copy, Copy]]:
    """Pairs of copies of one group that ran at once, for however short a time."""
    bad: list[tuple[Copy, Copy]] = []
    latest: dict[str, Copy] = {}
    for copy in copies(lines):
        before = latest.get(copy.group)
        if before is not None and copy.begun_ns <= before.ended_ns:
            bad.append((before, copy))
        if before is None or copy.ended_ns > before.ended_ns:
            latest[copy.group] = copy
    return bad


def gaps_s(lines: list[Line]) -> list[float]:
    """Seconds from the end of a copy to the begin of the next one elsewhere."""
    found: list[float] = []
    latest: dict[str, Copy] = {}
    for copy in copies(lines):
        before = latest.get(copy.group)
        if before is not None and before.server != copy.server:
            found.append((copy.begun_ns - before.ended_ns) / 1e9)
        latest[copy.group] = copy
    return found


class Partitions:
    """Three servers, their leases armed, and what is done to them."""

    def __init__(self, cluster: Cluster, seed: int, tables: str) -> None:
        """`tables`: lines for `[cluster]`."""
        self.cluster = cluster
        self.random = random.Random(seed)
        self.diary = cluster.folder / "beats"
        self.diary.touch()
        self.done: Counter[str] = Counter()
        """Which faults there were."""
        self.back_s: list[float] = []
        """Per round: from the moment when all was healed until every group ran again."""
        self.told: list[str] = []
        """What was done, for whoever looks at a failure."""
        self._read = 0
        self._lines: list[Line] = []
        cluster.configure(self._toml(tables))
        for node in cluster:
            self._scripts(node)
        action = cluster.folder / "action"
        action.write_text(f'#!/bin/sh\nexec {cluster.folder}/"$2"/reset.sh\n')
        action.chmod(0o700)

    def start(self) -> None:
        """Start all agents; returns once every watchdog is armed and every group runs."""
        self.cluster.start()
        until("all watchdogs are armed", self._whole)
        self._until_in_service()

    def round(self, fault_s: tuple[float, float]) -> None:
        """One round: faults for so long (from, to), then everything is healed; returns when
        every group is back.  Raises AssertionError for two copies, or for none within
        `BACK_WITHIN_S`."""
        chosen = self.random.sample(list(_FAULTS), self.random.choice((1, 1, 2)))
        for name in chosen:
            self.done[name] += 1
            node = self.random.choice(self.cluster.nodes)
            self._tell(f"{name} {node.name}")
            _FAULTS[name](self, node)
        time.sleep(self.random.uniform(*fault_s))
        self._heal()
        self._tell("healed")
        self.back_s.append(self._until_in_service())
        until("all take part, armed", self._whole, BACK_WITHIN_S)
        self._until_in_service()
        self.assert_never_two()

    def assert_never_two(self) -> None:
        """No two copies of a group, ever."""
        found = overlaps(self.lines())
        assert not found, "\n".join(["two copies:", *map(str, found), *self.told[-20:]])

    def lines(self) -> list[Line]:
        """The common file until now."""
        with self.diary.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            word, server, group, pid, at_ns = line.split()
            self._lines.append(Line(word, server, group, int(pid), int(at_ns)))
        return self._lines

    # What is done

    def isolate(self, node: Node) -> None:
        """All cables of a server are pulled."""
        for lan in range(1, self.cluster.lans + 1):
            node.link(lan, False)

    def cut(self, node: Node) -> None:
        """Two servers hear nothing of each other; the third hears both."""
        other = self._other(node)
        self._deaf(node, other)
        self._deaf(other, node)

    def deaf_to_one(self, node: Node) -> None:
        """It hears nothing of one server, which hears it."""
        self._deaf(node, self._other(node))

    def deaf(self, node: Node) -> None:
        """It hears nobody, and everybody hears it."""
        self._deaf(node, *(other for other in self.cluster if other is not node))

    def mute(self, node: Node) -> None:
        """Nobody hears it, and it hears everybody."""
        for other in self.cluster:
            if other is not node:
                self._deaf(other, node)

    def kill(self, node: Node) -> None:
        """Its agent dies; half of the time it is started again at once."""
        if node.agent is not None:
            node.agent.kill()
            node.agent.wait(10)
        if self.random.random() < 0.5:
            self._tell(f"{node.name} starts")
            node.start()

    def freeze(self, node: Node) -> None:
        """Its agent stands still: for good, or for less than its guard lets pass."""
        if node.agent is None:
            return
        node.agent.send_signal(signal.SIGSTOP)
        if self.random.random() < 0.3:
            time.sleep(self.random.uniform(0.1, 1.0))
            node.agent.send_signal(signal.SIGCONT)

    def flap(self, node: Node) -> None:
        """Its links come and go."""
        for _ in range(self.random.randint(4, 10)):
            node.link(self.random.randint(1, self.cluster.lans), self.random.random() < 0.5)
            time.sleep(self.random.uniform(0.02, 0.6))

    # Parts

    def _tell(self, text: str) -> None:
        self.told.append(f"{time.monotonic():.3f} {text}")

    def _other(self, node: Node) -> Node:
        return self.random.choice([each for each in self.cluster if each is not node])

    def _deaf(self, node: Node, *others: Node) -> None:
        lans = range(1, self.cluster.lans + 1)
        sources = [self.cluster.address(lan, other.number) for other in others for lan in lans]
        node.nft(
            "table inet deaf {\n chain in {\n  type filter hook input priority 0\n"
            f"  ip saddr {{ {', '.join(sources)} }} drop\n }}\n}}\n"
        )

    def _heal(self) -> None:
        for node in self.cluster:
            node.nft("table inet deaf\ndelete table inet deaf\n")
            for lan in range(1, self.cluster.lans + 1):
                node.link(lan, True)
            if node.agent is not None and node.agent.poll() is None:
                node.agent.send_signal(signal.SIGCONT)
            else:
                self._tell(f"{node.name} starts")
                node.start()

    def _revive(self) -> None:
        """A server that was reset while all was well again boots as any other."""
        for node in self.cluster:
            if node.agent is not None and node.agent.poll() is not None:
                self._tell(f"{node.name} starts")
                node.start()

    def _until_in_service(self) -> float:
        """Until every group has written from now on; how many seconds that took."""
        now_ns = time.monotonic_ns()
        until("every group runs", lambda: self._in_service(now_ns), BACK_WITHIN_S)
        return (time.monotonic_ns() - now_ns) / 1e9

    def _in_service(self, since_ns: int) -> bool:
        self._revive()
        newest: dict[str, Line] = {}
        for line in self.lines()[-3000:]:
            if line.word != "reset":
                newest[line.group] = line
        if any(line.at_ns < since_ns or line.word == "end" for line in newest.values()):
            return False
        return len(newest) == len(GROUPS)

    def _whole(self) -> bool:
        """Every server takes part with an armed watchdog, as every server sees it."""
        self._revive()
        for node in self.cluster:
            servers = node.status().get("servers", ())
            if len(servers) != len(self.cluster.nodes):
                return False
            if not all(each["status"] == "Online" and each["armed"] for each in servers):
                return False
        return True

    def _toml(self, tables: str) -> str:
        names = [node.name for node in self.cluster]
        second = (
            f'[[group]]\nname = "{GROUPS[1]}"\ntype = "failover"\n'
            f"servers = {[*names[1:], *names[:1]]}\n{_RESOURCE.format(2)}"
        )
        return self.cluster.toml(
            cluster=f'action_command = "{self.cluster.folder}/action"\n{tables}\n',
            resources=_RESOURCE.format(1) + second,
            userw='method = "guard"',
        )

    def _scripts(self, node: Node) -> None:
        program = node.root / "service.py"
        program.write_text(_PROGRAM)
        filled: dict[str, object] = {
            "python": sys.executable,
            "program": program,
            "server": node.name,
            "namespace": node.namespace,
            "diary": self.diary,
            "root": node.root,
        }
        for number, group in enumerate(GROUPS, 1):
            own: dict[str, object] = {"group": group, "pidfile": node.root / f"{group}.pid"}
            for op, text in (("start", _START), ("stop", _STOP)):
                node.script(f"{group}/exec{number}/{op}.sh", text.format(**filled, **own))
        reset: Path = node.root / "reset.sh"
        reset.write_text(_RESET.format(**filled))
        reset.chmod(0o700)


_RESOURCE = '[[group.resource]]\ntype = "exec"\nname = "exec{}"\ntimeout = 60\n'

_FAULTS: dict[str, Callable[[Partitions, Node], None]] = {
    "isolate": Partitions.isolate,
    "cut": Partitions.cut,
    "deaf to one": Partitions.deaf_to_one,
    "deaf": Partitions.deaf,
    "mute": Partitions.mute,
    "kill -9": Partitions.kill,
    "freeze": Partitions.freeze,
    "flap": Partitions.flap,
}
