"""What is left open for good, or asked without end: the agents keep their heartbeats, and no reader
grows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

FLOOD = """
import asyncio, time
async def ask(stop):
    while time.monotonic() < stop:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", 9402)
            writer.write(b"GET /metrics HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
            while await reader.read(65536):
                pass
            writer.close()
        except OSError:
            await asyncio.sleep(0.01)  # refused: too many at once
async def main():
    await asyncio.gather(*(ask(time.monotonic() + 5) for _ in range(50)))
asyncio.run(main())
"""
"""Some thousand times a second, where the machine can."""
ROOM_KB = 2_048
"""What an interpreter may take more for reasons of its own."""


def resident_kb(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def follow(node: Node, out: Path) -> subprocess.Popen[bytes]:
    with out.open("wb") as file:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *node.within("clpstat", "--events", "--follow")],
            env=node.environment(),
            stdout=file,
        )


def test_metrics_without_end_and_a_reader_without_end_hold_nobody_up() -> None:
    with Cluster() as cluster:
        cluster.configure(cluster.toml(cluster='metrics = "127.0.0.1:9402"\n'))
        cluster.start()
        first = cluster.online()
        first.ok("clpmonctrl -s -m mrw1")  # so that nothing moves
        out = first.root / "followed"
        reader = follow(first, out)

        def lines() -> int:
            return out.read_bytes().count(b"\n")

        def traps(count: int) -> None:
            begin = lines()
            for n in range(count):
                cluster.trap(first, deasserted=bool(n % 2))
            until("they are followed", lambda: lines() >= begin + count)

        traps(20)
        before = resident_kb(reader.pid)
        flood = subprocess.Popen(first.within(sys.executable, "-c", FLOOD), env=first.environment())
        traps(100)
        assert flood.wait(60) == 0
        assert resident_kb(reader.pid) < before + ROOM_KB
        reader.kill()
        reader.wait()
        for node in cluster:
            told = node.ok("clpstat --events")
            assert "it is lost" not in told
            assert "is no longer coordinator" not in told
        assert cluster.online() is first
        cluster.assert_never_two()


TAKES = """
import socket, sys
with socket.create_server(("127.0.0.1", 9402)):
    print("taken", flush=True)
    sys.stdin.read()
"""


def test_a_place_of_metrics_that_is_taken_is_changed_as_the_notice_says() -> None:
    with Cluster() as cluster:
        cluster.configure(cluster.toml(cluster='metrics = "127.0.0.1:9402"\n'))
        for node in cluster:
            cluster.diary_scripts(node, "failover1", "exec1")
        one, two = cluster
        pipe = subprocess.PIPE
        line = one.within(sys.executable, "-c", TAKES)
        with subprocess.Popen(line, stdin=pipe, stdout=pipe) as other:
            assert other.stdout is not None
            other.stdout.readline()
            cluster.start()
            cluster.online()
            told = "Metrics cannot be served at 127.0.0.1:9402"
            until("it is told", lambda: told in one.alerts())
            found = next(x for x in one.alerts().splitlines() if told in x)
            edit, push = found.partition("Another place: ")[2].split(", then ")
            one.ok(edit.replace("ADDRESS:PORT", "127.0.0.1:9403"))
            one.ok(push)
            got = f'{sys.executable} -c "import urllib.request as u; '
            got += "print(u.urlopen('http://127.0.0.1:9403/metrics').read().decode())\""
            for node in (one, two):
                until(
                    "it is served",
                    lambda node=node: "clptools_cluster_status" in node.run(got).stdout,
                )
            other.communicate()
