"""Traps of vendors' MIBs beside PETs: decoded and classed, a second."""

from __future__ import annotations

import time

from clptools.intake import pet, snmp
from clptools.intake.class_table import ClassTable
from clptools.intake.rehearsal import build_pet_trap, pet_event
from clptools.intake.snmp import Trap, Version
from tests.bench.report import Row, Section
from tests.intake.family_rows import (
    CIMC,
    DELL,
    HPE,
    IBMC,
    IRMC,
    OK,
    XCC,
    Said,
    cimc,
    dell,
    hpe,
    ibmc,
    irmc,
    xcc,
)

BATCH = 2_000
ROUNDS = 25
LEAST = 0.7
"""Of as many PETs a second."""

_DELL_REST = tuple(
    (f"{DELL}.1.{oid}.0", value)
    for oid, value in ((6, "PSU.Slot.1"), (7, "PSU 1"), (8, "PSU 1"), (9, "CHASTAG"), (10, "c1"))
)
_SAID: dict[str, tuple[Said, ...]] = {
    "iDRAC": (
        dell(1, 2185, 5, "PSU0001").of(_DELL_REST),
        dell(1, 2187, 3, "PSU0017").of(_DELL_REST),
        dell(2, 4346, 4, "PDR16").of(_DELL_REST),
    ),
    "iLO": (
        hpe(6050).of(((f"{HPE}.6.2.9.3.1.1.0.2", 0), (f"{HPE}.6.2.9.3.1.2.0.2", 2))),
        hpe(3046, OK, ("3.2.5.1.1.6.1.1", 2), ("3.2.5.1.1.1.1.1", 1), ("3.2.5.1.1.2.1.1", 1)),
    ),
    "XCC": tuple(xcc(XCC, 40, priority, ("18", "8007010207010FFF")) for priority in (0, 8)),
    "iRMC": tuple(irmc(n).of(((f"{IRMC}.1.4.0", "PSU1"),)) for n in (2034, 2032)),
    "iBMC": tuple(ibmc(n).of(((f"{IBMC}.1.2.0", "PS1 Status"),)) for n in ("11.4.9", "10.8.17")),
    "CIMC": tuple(
        cimc(1, severity).of(((f"{CIMC}.1.1.1.1.5.1", "sys/psu-1"), (f"{CIMC}.1.1.1.1.9.1", 374)))
        for severity in (5, 0)
    ),
}


def measure() -> Section:
    """Batches of each kind in turn, so that all meet the same machine; the best counts."""
    table = ClassTable()
    kinds: dict[str, tuple[bytes, ...]] = {
        "PET": tuple(build_pet_trap(pet_event(c)) for c in ("FATAL", "PREDICT", "CLEAR"))
    }
    for name, some in _SAID.items():
        kinds[name] = tuple(said.datagram(Version.V2C, 1) for said in some)
    best = dict.fromkeys(kinds, 0.0)
    for _ in range(ROUNDS):
        for name, datagrams in kinds.items():
            best[name] = max(best[name], _rate(datagrams, table))
    least = min(best.values()) / best["PET"]
    return Section(
        title="Traps of vendors' MIBs, decoded and classed",
        how=(
            "Datagrams (v2c) as iDRAC, iLO and others send them, with all of their variables, "
            f"{BATCH:,} at a time in turn with PETs, in one process: bytes to class, key of the "
            f"fault and what it ends. The best of {ROUNDS} rounds each, by processor time."
        ),
        rows=(
            *(
                Row(
                    what=f"{name}, {sum(map(len, kinds[name])) // len(kinds[name])} bytes",
                    measured=f"{rate:,.0f} a second ({rate / best['PET']:.2f} of PET)",
                )
                for name, rate in best.items()
            ),
            Row(
                what="the slowest of them, beside PETs",
                measured=f"{least:.2f}",
                target=f"not below {LEAST:g}",
                met=least >= LEAST,
            ),
        ),
    )


def _rate(datagrams: tuple[bytes, ...], table: ClassTable) -> float:
    begun = time.process_time()
    for number in range(BATCH):
        trap = snmp.decode(datagrams[number % len(datagrams)])
        assert isinstance(trap, Trap)
        pet.decode_trap(trap, table, 0.0)
    return BATCH / (time.process_time() - begun)
