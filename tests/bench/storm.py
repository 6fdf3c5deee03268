"""A storm of distinct traps from the own BMC, with fatal ones among them; and a foreign flood."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec

from clptools.intake import ber, snmp
from clptools.intake.rehearsal import PetEvent, build_pet_trap, pet_event
from clptools.sim.loopback import LoopbackCluster, LoopbackServer
from tests.bench.marks import SCRIPT, Marks
from tests.bench.report import Row, Section, spread

RATE_PER_S = 8_000
STORM_S = 30.0
FLOOD_S = 10.0
BURST = 200_000
"""Traps as fast as they can be sent: more than any receiver reads."""
FATAL_EVERY_S = 1.5
FATAL_SENSOR = 0xF0
RECOVERY_WITHIN_MS = 100.0
CHUNK_S = 0.005
FOREIGN = "127.0.0.99"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender, a process of its own, did."""

    traps: int
    foreign: int
    seconds: float
    fatal_at_ns: tuple[int, ...]
    """Monotonic clock."""


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One storm."""

    sent: Sent
    recovery_ms: tuple[float, ...]
    """From the moment at which a fatal trap was sent until the stop script ran."""
    counted: dict[str, int]
    """What each counter went up by."""

    @property
    def missing(self) -> int:
        """Own traps of which neither receiver nor kernel says what became; 0: exact."""
        known = self.counted["received"] - self.counted["not_allowed"]
        return self.sent.traps - known - self.counted["kernel_dropped"]


def measure() -> Section:
    """Four storms at one server that holds the group."""
    with LoopbackCluster(recovery="restart_count = 255", script=SCRIPT) as it:
        for node in it.nodes:
            # The group stays at the server that the storm is sent to.
            file = node.config / "clp.toml"
            file.write_text(file.read_text().replace('action = "failover"', 'action = "restart"'))
        marks = Marks(it.times)
        it.start()
        holder = it.nodes[0]
        it.wait(holder, f"group failover1 online on {holder.name}", 30)
        it.wait(holder, "cluster normal", 30)
        storm = _phase(it, marks, holder, "storm", STORM_S)
        burst = _phase(it, marks, holder, "burst", 0.0)
        named = _phase(it, marks, holder, "named", FLOOD_S)
        flood = _phase(it, marks, holder, "flood", FLOOD_S)
        it.wait(holder, f"group failover1 online on {holder.name}", 30)
    return Section(
        title="Fatal traps in a storm",
        how=(
            "To a real agent on loopback, PETs (v2c) from the address of its own BMC, each of "
            f"another fault: {RATE_PER_S:,} a second for {STORM_S:g} s; then {BURST:,} as fast as "
            f"one process sends; then {RATE_PER_S:,} traps a second for {FLOOD_S:g} s that are no "
            "PETs, each of another name. Last, as many PETs from a foreign address. Every "
            f"{FATAL_EVERY_S:g} s a fatal trap and then its end; the recovery restarts the group. "
            "Times begin when the fatal trap is sent, so they include what it waited in the "
            "kernel. Missing: sent, less what the agent received and what it says the kernel "
            "dropped. Sender and agents share the machine."
        ),
        rows=(
            *_rows(storm, f"{RATE_PER_S:,} distinct traps a second"),
            *_burst(burst),
            *_rows(named, f"{RATE_PER_S:,} traps a second that are no PETs"),
            *_flood(flood),
        ),
    )


def _rows(phase: Phase, what: str) -> Iterator[Row]:
    fatal, recovered = len(phase.sent.fatal_at_ns), len(phase.recovery_ms)
    counted = phase.counted
    yield Row(
        what=f"{what}: fatal traps recovered",
        measured=f"{recovered} of {fatal}, sent within {phase.sent.seconds:.1f} s",
        target="all that the kernel handed over",
        met=recovered + counted["kernel_dropped"] >= fatal,
    )
    yield Row(
        what=f"{what}: fatal trap sent until the stop script runs",
        measured=spread(phase.recovery_ms, "ms") if phase.recovery_ms else "never",
        target=f"within {RECOVERY_WITHIN_MS:g} ms of the kernel's handing it over",
        met=bool(phase.recovery_ms) and max(phase.recovery_ms) < RECOVERY_WITHIN_MS,
    )
    yield _exact(phase, what)


def _exact(phase: Phase, what: str) -> Row:
    counted = phase.counted
    return Row(
        what=f"{what}: each trap accounted for",
        measured=(
            f"{counted['received']:,} received (of these {counted['shed']:,} shed), "
            f"{counted['kernel_dropped']:,} dropped by the kernel, {phase.missing} missing"
        ),
        target="0 missing",
        met=phase.missing == 0,
    )


def _burst(phase: Phase) -> Iterator[Row]:
    yield _exact(phase, f"{phase.sent.traps / phase.sent.seconds:,.0f} traps a second")


def _flood(phase: Phase) -> Iterator[Row]:
    rate = f"{phase.sent.foreign / phase.sent.seconds:,.0f} foreign ones a second"
    yield from _rows(phase, rate)
    told = phase.counted["not_allowed"] + phase.counted["foreign_dropped"]
    yield Row(
        what=f"{rate}: each accounted for",
        measured=(
            f"{phase.counted['not_allowed']:,} refused, "
            f"{phase.counted['foreign_dropped']:,} dropped by the kernel, "
            f"{phase.sent.foreign - told} missing"
        ),
        target="0 missing",
        met=phase.sent.foreign == told,
    )


def _phase(
    cluster: LoopbackCluster, marks: Marks, holder: LoopbackServer, kind: str, seconds: float
) -> Phase:
    before = _counters(holder)
    marks.forget()
    host, port = cluster.trap_address(holder)
    words = (kind, f"{seconds:g}", holder.bmc.address, host, str(port))
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.storm", *words], capture_output=True, check=True
    )
    sent = msgspec.json.decode(done.stdout, type=Sent)
    stops: list[int] = []
    while len(stops) < len(sent.fatal_at_ns):
        try:
            stops.append(marks.wait("stop", 2, holder.name).at_ns)
        except TimeoutError:
            break
    now = _settled(holder)
    return Phase(
        sent=sent,
        recovery_ms=tuple(_delays(sent.fatal_at_ns, stops)),
        counted={name: count - before[name] for name, count in now.items()},
    )


def _delays(fatal_at_ns: tuple[int, ...], stops: list[int]) -> Iterator[float]:
    """Of each fatal trap that was followed by a stop before the next, how long that took."""
    for at_ns, until_ns in itertools.pairwise((*fatal_at_ns, 1 << 63)):
        stop = next((stop for stop in stops if at_ns <= stop < until_ns), None)
        if stop is not None:
            yield (stop - at_ns) / 1e6


def _settled(server: LoopbackServer) -> dict[str, int]:
    """The counters, once nothing is in the kernel's queue any more."""
    found = _counters(server)
    while True:
        time.sleep(0.5)
        again = _counters(server)
        if again == found:
            return found
        found = again


def _counters(server: LoopbackServer) -> dict[str, int]:
    page = json.loads(server.run("clpstat", "--hw", "--json").stdout)
    counters = next(s["counters"] for s in page["servers"] if s["name"] == server.name)
    return dict(counters)


# -- the sender -------------------------------------------------------------------------------


def _traps(count: int) -> Iterator[bytes]:
    """Warnings, each of another fault."""
    event = pet_event("0Dh/6F/2")
    data = bytearray(build_pet_trap(event))
    octets = data.index(event.guid)
    for n in range(count):
        data[octets + 16 : octets + 18] = (n % 65_535 + 1).to_bytes(2, "big")
        data[octets + 28] = n % 200 + 1
        data[octets + 29 : octets + 31] = (n // 200 + 0x0100).to_bytes(2, "big")
        yield bytes(data)


def _others(count: int) -> Iterator[bytes]:
    """Traps that are no PETs, each of another name."""
    uptime = snmp.varbind(snmp.SYS_UPTIME, ber.integer(1, ber.TIME_TICKS))
    for n in range(count):
        named = snmp.varbind(snmp.TRAP_OID, ber.oid(f"1.3.6.1.4.1.674.{n // 100}.0.{n % 100}"))
        pdu = snmp.pdu(snmp.V2_TRAP, n + 1, uptime + named)
        yield ber.sequence(ber.integer(1), ber.octets(b"public"), pdu)


def _fatal(number: int) -> bytes:
    event: PetEvent = pet_event("07h/6F/0", sequence=number + 1, deasserted=bool(number % 2))
    return build_pet_trap(msgspec.structs.replace(event, sensor=FATAL_SENSOR), request_id=number)


def _send(kind: str, seconds: float, bmc: str, target: tuple[str, int]) -> Sent:
    count = BURST if kind == "burst" else int(seconds * RATE_PER_S)
    datagrams = list(_others(count) if kind == "named" else _traps(count))
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.bind((bmc, 0))
    other = own
    if kind == "flood":
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other.bind((FOREIGN, 0))
    fatal_at_ns: list[int] = []
    half_s = FATAL_EVERY_S / 2
    # Others than in the storms before, or they would be taken for sent again.
    first = graves = {"storm": 0, "burst": 20_000, "named": 30_000, "flood": 40_000}[kind]
    begun = time.monotonic()
    for n, data in enumerate(datagrams):
        if kind != "burst" and n % int(RATE_PER_S * CHUNK_S) == 0:
            time.sleep(max(0.0, begun + n / RATE_PER_S - time.monotonic()))
            if time.monotonic() - begun >= (graves - first + 1) * half_s:
                if graves % 2 == 0:
                    fatal_at_ns.append(time.monotonic_ns())
                # Thousands wait before it, more come behind.
                own.sendto(_fatal(graves), target)
                graves += 1
        other.sendto(data, target)
    if graves % 2:
        own.sendto(_fatal(graves), target)
        graves += 1
    return Sent(
        traps=(0 if kind == "flood" else len(datagrams)) + graves - first,
        foreign=len(datagrams) if kind == "flood" else 0,
        seconds=time.monotonic() - begun,
        fatal_at_ns=tuple(fatal_at_ns),
    )


if __name__ == "__main__":
    what, length_s, source, host, number = sys.argv[1:]
    found = _send(what, float(length_s), source, (host, int(number)))
    sys.stdout.buffer.write(msgspec.json.encode(found))
