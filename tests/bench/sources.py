"""Built-in sources: how fast a lost link is known, what they cost idle, and under a log storm."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from clptools.agent.process import come_first
from clptools.core.model.events import MessageSeen
from clptools.core.model.settings import Monitor, Option, Server, Settings
from clptools.intake.kmsg import Finding, Kmsg, Line
from clptools.intake.sources import Sources
from clptools.sim.loopback import LoopbackCluster
from tests.bench.report import Row, Section, percentile, spread

ROUNDS = 100
AGENT_ROUNDS = 60
IDLE_S = 60.0
SETTLE_S = 5.0
NOISE_S = 10.0
NOISE_PER_S = 20_000
EVENTS = 200
BURST = 100
TICK_S = 0.02

LINK = "clpbench0"
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
SWITCH = Path("/proc/sys/kernel/printk_devkmsg")


def measure() -> Section:
    """Needs root: it makes a pair of interfaces and writes into the kernel's log."""
    with _link():
        seen_ms = asyncio.run(_seen())
        error_ms = _agent_errors()
    idle = _idle()
    storm = asyncio.run(_storm())
    return Section(
        title="Sources",
        how=(
            f"A veth pair whose link is switched off {ROUNDS} times by ioctl: until the NIC source "
            f"tells MessageSeen, and ({AGENT_ROUNDS} times) until a real agent of two on loopback "
            "has recorded its mrw as Error, the durable journal between. Idle: a process with the "
            "sources of all seven categories, with and without keyword, and nothing else, for "
            f"{IDLE_S:g} s; wake-ups are voluntary context switches of all its threads. HA/RS "
            "looks every 10 s at what the kernel does not tell of; the read of a named disk is "
            f"off. Storm: {NOISE_PER_S} lines a second into the real /dev/kmsg for {NOISE_S:g} s, "
            f"a quarter of them warnings, with {EVENTS} events of devices between them; a tick of "
            f"{TICK_S * 1000:g} ms stands for the heartbeats; the process has the agent's priority."
        ),
        rows=(
            Row(
                what="link down until MessageSeen",
                measured=spread(seen_ms, "ms", 2),
                target="p95 under 50 ms",
                met=percentile(seen_ms, 95) < 50,
            ),
            Row(
                what="link down until the agent's mrw is Error",
                measured=spread(error_ms, "ms", 2),
                target="p95 under 50 ms",
                met=percentile(error_ms, 95) < 50,
            ),
            Row(
                what="CPU of all sources, idle",
                measured=f"{idle.cpu:.3f} % of a core",
                target="under 0.3 %",
                met=idle.cpu < 0.3,
            ),
            Row(
                what="wake-ups of all sources but HA/RS, idle",
                measured=f"{idle.wakes} in {IDLE_S:g} s",
                target="none but the kernel's",
                met=idle.wakes <= idle.events,
            ),
            Row(
                what="wake-ups with HA/RS, idle",
                measured=f"{idle.wakes_with_samples} in {IDLE_S:g} s",
            ),
            Row(
                what="events missed in the storm",
                measured=f"{EVENTS - storm.taken} of {EVENTS}, {storm.lost} lines lost",
                target="none",
                met=storm.taken == EVENTS,
            ),
            Row(
                what="lateness of the tick in the storm",
                measured=spread(storm.late_ms, "ms"),
                target="p99 under 100 ms",
                met=percentile(storm.late_ms, 99) < 100,
            ),
            Row(
                what="CPU of reading the storm",
                measured=f"{storm.cpu:.1f} % of a core, {storm.rate:.0f} lines/s",
            ),
        ),
    )


# -- a link goes down -------------------------------------------------------------------------


@contextmanager
def _link() -> Iterator[None]:
    add = ["ip", "link", "add", LINK, "type", "veth", "peer", "name", f"{LINK}p"]
    subprocess.run(add, check=True)
    try:
        for name in (f"{LINK}p", LINK):
            subprocess.run(["ip", "link", "set", name, "up"], check=True)
        yield
    finally:
        subprocess.run(["ip", "link", "del", LINK], check=False)


def _switch(on: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = struct.pack("16sH22x", LINK.encode(), 0)
        flags = struct.unpack_from("H", fcntl.ioctl(sock, SIOCGIFFLAGS, asked), 16)[0]
        flags = flags | IFF_UP if on else flags & ~IFF_UP
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", LINK.encode(), flags))


def _mrw(category: str, keyword: str = "", **options: Option) -> Monitor:
    return Monitor(
        name=f"mrw-{category}-{keyword}",
        type="mrw",
        servers=("server1",),
        category=category,
        keywords={"server1": keyword} if keyword else {},
        options=options,
    )


def _settings(*monitors: Monitor) -> Settings:
    return Settings(servers=(Server(name="server1"),), monitors=monitors)


async def _seen() -> list[float]:
    found: list[float] = []
    told: asyncio.Queue[tuple[int, MessageSeen]] = asyncio.Queue()

    async def take(event: MessageSeen) -> None:
        told.put_nowait((time.monotonic_ns(), event))

    sources = Sources("server1", take, print, frozenset)
    sources.apply(_settings(_mrw("NIC", LINK, flap_count=1000)))
    await asyncio.sleep(SETTLE_S)
    for _ in range(ROUNDS):
        begun_ns = time.monotonic_ns()
        await asyncio.to_thread(_switch, False)
        at_ns, event = await asyncio.wait_for(told.get(), 10)
        assert not event.recovered
        found.append((at_ns - begun_ns) / 1e6)
        _switch(True)
        while not (await asyncio.wait_for(told.get(), 10))[1].recovered:
            pass
        await asyncio.sleep(0.02)
    await sources.close()
    return found


_TABLE = f"""
[[monitor]]
type = "mrw"
name = "nic1"
category = "NIC"
keyword = "{LINK}"
servers = ["server1"]
flap_count = 1000
[monitor.recovery]
action = "final"
final_action = "none"
"""


def _agent_errors() -> list[float]:
    """Wall clock of the record (mm 905, a monitor is in error) against that of the switch."""
    with LoopbackCluster(more=_TABLE) as cluster:
        cluster.start()
        server = cluster.nodes[0]
        cluster.wait(server, "cluster normal", 30)
        time.sleep(SETTLE_S)
        begun: list[float] = []
        for _ in range(AGENT_ROUNDS):
            begun.append(time.time())
            _switch(False)
            cluster.wait(server, "monitor nic1 error on server1", 10)
            _switch(True)
            cluster.wait(server, "monitor nic1 normal on server1", 10)
        lines = server.run("clpstat", "--events", "--json").stdout.splitlines()
        events = [json.loads(line) for line in lines]
        errors = sorted(
            event["time"]
            for event in events
            if (event["module"], event["event_id"]) == ("mm", 905) and "nic1" in event["subjects"]
        )
        pairs = zip(begun, errors, strict=True)
        return [(at - sent) * 1000 for sent, at in pairs]


# -- nothing happens --------------------------------------------------------------------------


class Idle(msgspec.Struct, frozen=True, kw_only=True):
    """What a process of its own measured."""

    cpu: float
    wakes: int
    events: int
    """Lines of the kernel's log meanwhile: each is a wake-up of the kernel's."""
    wakes_with_samples: int = 0


def _idle() -> Idle:
    without, both = (
        msgspec.json.decode(
            subprocess.run(
                [sys.executable, "-m", "tests.bench.sources", *more],
                capture_output=True,
                check=True,
            ).stdout,
            type=Idle,
        )
        for more in ([], ["HA/RS"])
    )
    return msgspec.structs.replace(without, cpu=both.cpu, wakes_with_samples=both.wakes)


async def _stand(more: list[str]) -> Idle:
    async def take(event: MessageSeen) -> None:
        print(event, file=sys.stderr)

    disk = next(iter(sorted(os.listdir("/sys/class/block"))), "sda")
    pid = Path(f"/run/clpbench-{os.getpid()}.pid")
    pid.write_text(f"{os.getppid()}\n")
    sources = Sources("server1", take, lambda text: None, frozenset)
    sources.apply(
        _settings(
            _mrw("NIC"), _mrw("NIC", "lo"), _mrw("FC"), _mrw("SPS"), _mrw("MCE"),
            _mrw("HA/SS"), _mrw("HA/SS", disk, probe_interval_ms=0),
            _mrw("HA/AM", "parent", pid_file=str(pid)),
            *(_mrw(category) for category in more),
        )
    )  # fmt: skip
    await asyncio.sleep(SETTLE_S)
    records = sources.kernel.kmsg.records
    wakes, cpu, begun = _wakes(), time.process_time(), time.monotonic()
    await asyncio.sleep(IDLE_S)
    used = time.process_time() - cpu
    found = Idle(
        cpu=used / (time.monotonic() - begun) * 100,
        wakes=_wakes() - wakes - 1,  # our own sleep
        events=sources.kernel.kmsg.records - records,
    )
    await sources.close()
    pid.unlink()
    return found


def _wakes() -> int:
    total = 0
    for task in Path("/proc/self/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


# -- a storm in the log -----------------------------------------------------------------------


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """What came through."""

    taken: int
    lost: int
    rate: float
    cpu: float
    late_ms: list[float]


def _read(line: Line) -> Finding | None:
    words = line.text.split(" ")
    return Finding(device=words[1], fault="bench") if words[0] == "clpbench" else None


async def _storm() -> Storm:
    """The writer is a process of its own: what is measured here is the reading."""
    come_first()
    taken: set[str] = set()
    kmsg = Kmsg(kernel_only=False)
    needles = (b"clpbench", *(f"needle {number}".encode() for number in range(40)))
    kmsg.listen(needles, _read, lambda finding, times: taken.add(finding.device))
    before = SWITCH.read_text().strip()
    SWITCH.write_text("on\n")
    late_ms: list[float] = []
    try:
        cpu, records, begun = time.process_time(), kmsg.records, time.monotonic()
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.sources", "--write"
        )
        ended = asyncio.ensure_future(writer.wait())
        while not ended.done():
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            late_ms.append((time.monotonic() - due) * 1000)
        taking_s = time.monotonic() - begun
        used = time.process_time() - cpu
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while len(taken) < EVENTS:
                    await asyncio.sleep(0.01)
    finally:
        SWITCH.write_text(f"{before}\n")
    found = Storm(
        taken=len(taken),
        lost=kmsg.lost,
        rate=(kmsg.records - records) / taking_s,
        cpu=used / taking_s * 100,
        late_ms=late_ms,
    )
    kmsg.close()
    return found


def _write() -> None:
    fd = os.open("/dev/kmsg", os.O_WRONLY)
    total = int(NOISE_PER_S * NOISE_S)
    texts = [f"<{level}>clpnoise eth0: all is well {'x' * 50}\n".encode() for level in (6, 6, 6, 4)]
    due = time.monotonic()
    for number in range(total):
        os.write(fd, texts[number % 4])
        if number % (total // EVENTS) == 0:
            os.write(fd, f"<4>clpbench dev{number} broke\n".encode())
        if number % BURST == BURST - 1:
            # Who was kept from the processor does not catch up: that would be another storm.
            due = max(due + BURST / NOISE_PER_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        _write()
    else:
        found = asyncio.run(_stand(sys.argv[1:]))
        sys.stdout.buffer.write(msgspec.json.encode(found))
