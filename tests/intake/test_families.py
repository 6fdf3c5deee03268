"""Traps of vendors' MIBs, from the socket into the ledger: class, part, what ends what."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
import tomllib
from importlib import resources

import pytest

from clptools.config.lines import Lines
from clptools.config.table import Source
from clptools.config.trap_profiles import read_profiles, shipped_profile
from clptools.core.model.trap_profiles import TrapFamily, TrapProfile
from clptools.intake import ber, pet, snmp
from clptools.intake.class_table import ClassTable
from clptools.intake.decoded_trap import DecodedTrap, event_of
from clptools.intake.families import SHIPPED
from clptools.intake.snmp import Version
from clptools.intake.triage import Triage
from tests.conftest import LIMIT_S, free_port, until
from tests.core.test_ledger import Box
from tests.intake.conftest import Heard, send, settings_for
from tests.intake.family_rows import (
    CASES,
    DEGRADED,
    DELL,
    FAILED,
    IRMC,
    OK,
    OLD,
    XCC,
    Case,
    Encode,
    Said,
    dell,
    encoded,
    hpe,
    ibmc,
    irmc,
    xcc,
)

VERSIONS = (Version.V1, Version.V2C)


class Way:
    """A receiver, and the ledger behind it."""

    def __init__(self, heard: Heard, version: Version) -> None:
        self.heard = heard
        self.version = version
        self.box = Box()
        self._numbers = itertools.count(1)

    async def tell(self, said: Said) -> str:
        """Sends a trap and waits until the ledger has it; its class."""
        before = len(self.heard.events)
        send(said.datagram(self.version, next(self._numbers)), self.heard.port)
        deadline = time.monotonic() + LIMIT_S
        while len(self.heard.events) <= before:
            assert time.monotonic() < deadline, f"no event of {said}"
            await asyncio.sleep(0)
        event = self.heard.events[-1]
        self.box.tell(event)
        return event.event_class

    @property
    def open(self) -> int:
        return len(self.box.open)


async def _story(case: Case, way: Way) -> None:
    opens = case.event_class != "INFO"
    first, second = case.parts or ((), ())
    for quiet in case.quiet:
        assert await way.tell(quiet.of(first)) in ("INFO", "CLEAR"), quiet
        assert way.open == 0, quiet
    assert await way.tell(case.said.of(first)) == case.event_class
    assert not opens or way.heard.events[-1].own_watchdog is case.own_watchdog
    assert way.open == int(opens)
    for said in case.leaves:
        await way.tell(said.of(first))
        assert way.open == int(opens), said
    for said in case.ends if opens else ():
        await way.tell(case.said.of(first))
        if case.parts:
            await way.tell(case.said.of(second))
        assert way.open == (2 if case.parts else 1)
        assert await way.tell(said.of(first)) in ("CLEAR", "INFO")
        assert way.open == (1 if case.parts else 0), said
        if case.parts:
            await way.tell(said.of(second))
        assert way.open == 0, said


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
async def test_a_row_of_a_vendors_table(case: Case) -> None:
    port = free_port()
    async with Heard(settings_for(port), port) as heard:
        for version in VERSIONS:
            await _story(case, Way(heard, version))


def _text(value: int | str) -> bytes:
    return ber.octets(f" {value}\0".encode())


def _binary(value: int | str) -> bytes:
    plain = isinstance(value, str) or value >= 0x20
    return encoded(value) if plain else ber.octets(bytes((value,)))


def _hexadecimal(value: int | str) -> bytes:
    return ber.octets(f"0x{value:02X}".encode()) if isinstance(value, int) else encoded(value)


FORMS: dict[str, tuple[Encode, bool]] = {
    "numbers as text": (_text, False),
    "numbers in hexadecimal": (_hexadecimal, False),
    "numbers as octets": (_binary, False),
    "numbers without a sign": (
        lambda value: ber.integer(value, ber.GAUGE32) if isinstance(value, int) else encoded(value),
        False,
    ),
    "an enterprise with v2's 0": (encoded, True),
}
"""How BMCs depart from their MIBs."""


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("version", VERSIONS)
def test_every_row_is_read_whatever_type_its_variables_have(
    form: tuple[Encode, bool], version: Version
) -> None:
    encode, zero = form
    table, box = ClassTable(), Box()
    numbers = itertools.count(1)

    def told(said: Said) -> str:
        trap = snmp.decode(said.datagram(version, next(numbers), encode, zero))
        assert isinstance(trap, snmp.Trap)
        event = event_of("mrw1", trap, pet.decode_trap(trap, table, 0.0), "10.0.0.1", "")
        box.tell(event)
        return event.event_class

    for case in CASES:
        first, second = case.parts or ((), ())
        opens = case.event_class != "INFO"
        for end in case.ends if opens else ():
            assert told(case.said.of(first)) == case.event_class, case.what
            for said in case.leaves[:3]:
                told(said.of(first))
            if case.parts:
                told(end.of(second))
            assert len(box.open) == 1, case.what
            told(end.of(first))
            assert not box.open, (case.what, end)


CPU, DIMM = (("21", "CPU 1"),), (("18", "0x80070201"),)
OTHER_DIMM = ("18", "0x80070202")
DRIVE = (("3.2.5.1.1.1.1.4", 1), ("3.2.5.1.1.2.1.4", 4))
BINARY = tuple(((f"{IRMC}.1.3.0", 0), (f"{IRMC}.1.4.0", name)) for name in ("\x01\x02", "\x01\x03"))
INCOMPLETE: dict[str, tuple[Said, str, tuple[Said, ...], tuple[Said, ...]]] = {
    # What opens, its class, what leaves it open, what ends it.
    "dell: no status in the end, but its message ID": (
        dell(1, 2185, 5, "PSU0001"),
        "ERROR",
        (Said(dell(1, 2187, 3).oid), dell(1, 2187, 4, "PSU0017")),
        (Said(dell(1, 2187, 3).oid, ((f"{DELL}.1.1", "psu0017"),)),),
    ),
    "dell: a level 3 without a word is only news": (
        dell(1, 2153, 5),
        "ERROR",
        (Said(dell(1, 2155, 3).oid),),
        (dell(1, 2155, 3),),
    ),
    "hpe: a drive's place is said by one of the two": (
        hpe(3046, FAILED, *DRIVE, ("3.2.5.1.1.6.1.4", 3), ("3.2.5.1.1.64.1.4", "Port 1I Bay 4")),
        "ERROR",
        (hpe(3046, OK, ("3.2.5.1.1.6.1.4", 2)),),
        (hpe(3046, OK, *DRIVE, ("3.2.5.1.1.6.1.4", 2)),),
    ),
    "hpe: the part is bad, the flags are ok": (
        hpe(3034, OK, ("3.2.3.1.1.4.1.1", 7)),
        "REDUNDANCY",
        (hpe(3034, OK, ("3.2.3.1.1.4.1.1", 15)),),
        (hpe(3034, OK, ("3.2.3.1.1.4.1.1", 2)), hpe(3034, OLD, ("3.2.3.1.1.4.1.1", 2))),
    ),
    "xcc: no priority at the beginning": (
        Said(f"{XCC}.0.40", ((f"{XCC}.1.18.0", "0x80070201"),)),
        "FATAL",
        (xcc(XCC, 40, 8, *CPU), Said(f"{XCC}.0.40", ((f"{XCC}.1.8.0", 8),))),
        (xcc(XCC, 40, 8, *DIMM),),
    ),
    "xcc: the event's number at the beginning, and the parts alone at the end": (
        xcc(XCC, 40, 0, *DIMM, *CPU),
        "FATAL",
        (xcc(XCC, 40, 8, ("21", "CPU 2")), xcc(XCC, 40, 8), xcc(XCC, 40, 8, OTHER_DIMM, *CPU)),
        (xcc(XCC, 40, 8, *CPU), xcc(XCC, 40, 8, *DIMM), xcc(XCC, 40, 8, *DIMM, *CPU)),
    ),
    "xcc: the parts alone at the beginning, and the event's number, too, at the end": (
        xcc(XCC, 40, 0, *CPU),
        "FATAL",
        (xcc(XCC, 40, 8, *DIMM, ("21", "CPU 2")), xcc(XCC, 40, 8, *DIMM)),
        (xcc(XCC, 40, 8, *DIMM, *CPU),),
    ),
    "hpe: a drive by number and bay, and its end by the bay alone": (
        hpe(3046, FAILED, *DRIVE, ("3.2.5.1.1.6.1.4", 3), ("3.2.5.1.1.64.1.4", "Port 1I Bay 4")),
        "ERROR",
        (hpe(3046, OK, DRIVE[0], ("3.2.5.1.1.6.1.5", 2), ("3.2.5.1.1.64.1.5", "Port 1I Bay 5")),),
        (hpe(3046, OK, DRIVE[0], ("3.2.5.1.1.6.1.4", 2), ("3.2.5.1.1.64.1.4", "Port 1I Bay 4")),),
    ),
    "irmc: parts that are named by octets": (
        irmc(2034).of(BINARY[0]),
        "ERROR",
        (irmc(2032).of(BINARY[1]), irmc(2032)),
        (irmc(2032).of(BINARY[0]),),
    ),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", INCOMPLETE.values(), ids=INCOMPLETE.keys())
def test_what_a_trap_leaves_out_ends_nothing_by_guess(
    case: tuple[Said, str, tuple[Said, ...], tuple[Said, ...]], version: Version
) -> None:
    opening, event_class, leaves, ends = case
    for end in ends:
        box = Box()
        for said in (*ends, opening, *leaves):
            box.tell(event_of("mrw1", *read(said, version), "10.0.0.1", ""))
        assert len(box.open) == 1
        assert read(opening, version)[1].event_class == event_class
        box.tell(event_of("mrw1", *read(end, version), "10.0.0.1", ""))
        assert not box.open


UNKNOWN = Said("1.3.6.1.4.1.49871.5.0.7", (("1.3.6.1.4.1.49871.5.1.0", "The flux is low."),))


def profile(text: str) -> TrapProfile:
    """A profile as a site writes it."""
    return shipped_profile(tomllib.loads(text))


def classed(said: Said, *profiles: TrapProfile, version: Version = Version.V2C) -> DecodedTrap:
    trap = snmp.decode(said.datagram(version, 1))
    assert isinstance(trap, snmp.Trap)
    return pet.decode_trap(trap, ClassTable(profiles), 0.0)


async def test_a_trap_that_no_row_knows_is_told_of_once_an_hour() -> None:
    port = free_port()
    async with Heard(settings_for(port), port) as heard:
        for number in range(1, 4):
            send(UNKNOWN.datagram(Version.V2C, number), port)
        other = Said("1.3.6.1.4.1.49871.5.0.8")
        send(other.datagram(Version.V1, 4), port)
        send(UNKNOWN.datagram(Version.V2C, 5), port, source="127.0.0.2")  # not the own BMC's
        await until(lambda: heard.counters.get("unknown") == 4)
        texts = [n.text for n in heard.notes if n.kind == "unknown"]
        assert len(texts) == 2
        assert UNKNOWN.oid in texts[0] and "The flux is low." in texts[0]
        assert f'rows = {{ "oid {UNKNOWN.oid}" = "ERROR" }}' in texts[0]
        told = heard.receiver._notes._unknown
        told.update({key: at - 3_600_000 for key, at in told.items()})
        send(UNKNOWN.datagram(Version.V2C, 6), port)
        await until(lambda: heard.counters.get("unknown") == 5)
        assert len([n for n in heard.notes if n.kind == "unknown"]) == 3


async def test_a_bmc_that_invents_names_fills_no_log() -> None:
    port = free_port()
    async with Heard(settings_for(port), port) as heard:
        for number in range(1, 100):
            said = Said(f"1.3.6.1.4.1.49871.5.0.{number}")
            send(said.datagram(Version.V2C, number), port)
        await until(lambda: heard.counters.get("unknown") == 99)
        texts = [n.text for n in heard.notes if n.kind == "unknown"]
        assert len(texts) == 32
        assert "only counted" in texts[-1]


def test_the_line_that_the_note_gives_is_taken() -> None:
    hint = classed(UNKNOWN).hint
    rows = re.findall(r"rows = \{[^}]*\}", hint)[0]
    assert classed(UNKNOWN, profile(f'name = "site"\n{rows}')).event_class == "ERROR"
    assert not classed(UNKNOWN, profile(f'name = "site"\n{rows}')).hint


@pytest.mark.parametrize("version", VERSIONS)
def test_the_site_has_its_own_families_and_they_come_first(version: Version) -> None:
    site = profile("""
name = "site"
enterprise = "1.3.6.1.4.1.49871.5"
[[trap]]
name = "flux"
match = { "0.7" = "PREDICT", "0.8" = "CLEAR" }
instance = ["1"]
meaning = "flux of {0}"
[[trap]]
match = ["1.3.6.1.4.1.232.0.6064"]
class = "FATAL"
""")
    opened = classed(UNKNOWN, site, version=version)
    assert (opened.event_class, opened.meaning) == ("PREDICT", "flux of The flux is low.")
    closed = classed(Said("1.3.6.1.4.1.49871.5.0.8", UNKNOWN.variables), site, version=version)
    assert (closed.event_class, closed.key) == ("CLEAR", opened.key)
    assert classed(hpe(6064, DEGRADED), site, version=version).profile == "site"
    assert classed(hpe(6050), site, version=version).profile == "hpe-ilo"


def test_the_example_of_a_family_is_a_profile() -> None:
    site = profile("""
name = "hpe-ilo"
enterprise = "1.3.6.1.4.1.232"
[[trap]]
match = ["0.6050", "0.6049", "0.6069", "0.6048"]
name = "supply"
instance = ["6.2.9.3.1.1", "6.2.9.3.1.2"]
variable = "11.2.11.1"
mask = 0x1C
classes = { 0x08 = "CLEAR", 0x0C = "ERROR", 0x10 = "ERROR" }
meaning = "power supply of chassis {0}, bay {1}"
""")
    part = (("1.3.6.1.4.1.232.6.2.9.3.1.1.0.2", 0), ("1.3.6.1.4.1.232.6.2.9.3.1.2.0.2", 2))
    failed = classed(hpe(6050).of(part), site)
    assert (failed.event_class, failed.meaning) == ("ERROR", "power supply of chassis 0, bay 2")
    mended = classed(hpe(6048, OK).of(part), site)
    assert (mended.event_class, mended.key) == ("CLEAR", failed.key)
    assert classed(hpe(6050, OLD), site).profile == "hpe-ilo"


def test_a_row_of_one_name_changes_the_class_and_leaves_part_and_end() -> None:
    site = TrapProfile(name="site", rows={f"oid {hpe(6050).oid}": "FATAL"})
    told = classed(hpe(6050), site)
    assert (told.event_class, told.key) == ("FATAL", classed(hpe(6048, OK)).key)
    # What a variable calls mended stays so, whatever the name's class is.
    assert classed(hpe(6050, OK), site).event_class == "CLEAR"
    test = xcc(XCC, 40, 0, ("20", 1))
    assert classed(test, TrapProfile(name="site", rows={f"oid {test.oid}": "FATAL"})) == classed(
        test
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["49871.5.9", "49871.5.0.9"])
@pytest.mark.parametrize("row", ["49871.5.9", "49871.5.0.9"])
def test_a_row_names_a_trap_with_or_without_the_zero_that_v1_adds(
    row: str, name: str, version: Version
) -> None:
    site = TrapProfile(name="site", rows={f"oid 1.3.6.1.4.1.{row}": "FATAL"})
    said = Said(f"1.3.6.1.4.1.{name}")
    told = classed(said, site, version=version)
    assert (told.event_class, told.profile) == ("FATAL", "site")
    # Nor may it wait in a storm.
    triage = Triage(ClassTable([site]), frozenset({"FATAL"}))
    assert triage.waits(said.datagram(version, 1), time.time()) is None
    off = TrapProfile(name="off", rows={f"oid 1.3.6.1.4.1.{name}": "off"})
    assert classed(said, site, off, version=version).event_class == "UNKNOWN"


def test_a_family_is_switched_off_by_the_row_of_its_name() -> None:
    site = TrapProfile(name="site", rows={f"oid {hpe(6050).oid}": "off"})
    assert classed(hpe(6050), site).event_class == "UNKNOWN"
    assert classed(hpe(6050), site, version=Version.V1).event_class == "UNKNOWN"


def test_numbers_above_two_to_the_31_are_found_as_v1_sends_them() -> None:
    family = TrapFamily(
        match={"0.4000000000": ""},
        variable="1",
        classes={"3000000000": "FATAL"},
        event_class="INFO",
    )
    site = TrapProfile(name="site", enterprises=("1.3.6.1.4.1.49871.5",), traps=(family,))
    for value in (3_000_000_000, 3_000_000_000 - (1 << 32)):
        said = Said("1.3.6.1.4.1.49871.5.0.4000000000", (("1.3.6.1.4.1.49871.5.1.0", value),))
        assert classed(said, site).event_class == "FATAL"
        assert classed(said, site, version=Version.V1).event_class == "FATAL"


def test_a_clear_without_the_last_part_of_the_instance_ends_all_of_them() -> None:
    chassis_of, fan_of = "1.3.6.1.4.1.232.6.2.6.7.1.1", "1.3.6.1.4.1.232.6.2.6.7.1.2"
    parts = [((f"{chassis_of}.1.{fan}", 1), (f"{fan_of}.1.{fan}", fan)) for fan in (1, 2)]
    box = Box()
    for part in parts:
        box.tell(event_of("mrw1", *read(hpe(6036).of(part)), "10.0.0.1", ""))
    other = (("1.3.6.1.4.1.232.6.2.6.7.1.1.2.1", 2), ("1.3.6.1.4.1.232.6.2.6.7.1.2.2.1", 1))
    box.tell(event_of("mrw1", *read(hpe(6036).of(other)), "10.0.0.1", ""))
    assert len(box.open) == 3
    chassis = (("1.3.6.1.4.1.232.6.2.6.7.1.1.1.1", 1),)
    box.tell(event_of("mrw1", *read(hpe(6055, OK).of(chassis)), "10.0.0.1", ""))
    assert len(box.open) == 1


def read(said: Said, version: Version = Version.V2C) -> tuple[snmp.Trap, DecodedTrap]:
    trap = snmp.decode(said.datagram(version, 1))
    assert isinstance(trap, snmp.Trap)
    return trap, pet.decode_trap(trap, ClassTable(), 0.0)


@pytest.mark.parametrize(
    "said",
    [dell(1, 2233, 5), hpe(9028), hpe(6025), xcc(XCC, 21, 0), irmc(2006), ibmc("11.45.37")],
    ids=lambda said: said.oid,
)
def test_the_timer_that_we_armed_is_no_fault(said: Said) -> None:
    event = event_of("mrw1", *read(said), "10.0.0.1", "")
    ours, foreign = Box(), Box()
    ours.node.state.final.deadman_until = ours.node.now + 60_000
    ours.tell(event)
    foreign.tell(event)
    assert (len(ours.open), len(foreign.open)) == (0, 1)
    assert foreign.status() == "Error"


def test_every_shipped_profile_passes_the_check_of_a_sites() -> None:
    for name in SHIPPED:
        text = (resources.files("clptools.intake") / "profiles" / f"{name}.toml").read_text()
        document = {"trap_profile": [tomllib.loads(text)]}
        source = Source(f"{name}.toml", Lines(""))
        read_profiles(source, document)
        assert not source.reports, [r.message for r in source.reports]


def test_a_part_that_is_called_star_is_one_part() -> None:
    box = Box()
    for name in ("PSU|1", "PSU|*"):
        box.tell(
            event_of("mrw1", *read(dell(1, 2185, 5).of(((f"{DELL}.1.6.0", name),))), "10.0.0.1", "")
        )
    said = dell(1, 2187, 3).of(((f"{DELL}.1.6.0", "PSU|*"),))
    box.tell(event_of("mrw1", *read(said), "10.0.0.1", ""))
    assert box.open == ["trap/dell-idrac/system 17/PSU|1"]


def test_a_trap_without_a_word_is_called_by_its_name() -> None:
    told = classed(Said(f"{DELL}.2.6.0.12289"))
    assert told.meaning == f"trap {DELL}.2.6.12289"
    assert classed(dell(1, 2188, 3)).meaning == "What XYZ0001 says to people."


def test_hostile_variables_do_not_raise() -> None:
    for value in ("\x00" * 50, "ä" * 300, "|/*{0}" * 100, ""):
        said = dell(1, 2185, 5).of(((f"{DELL}.1.6.0", value),))
        told = classed(said)
        assert told.event_class == "ERROR"
        assert len(told.key) < 200 and "\x00" not in told.meaning
    for oid in (f"{DELL}.2.1.0", f"{DELL}.2", "1.3.6.1.4.1.232.0.0", "1.3.6.1.4.1.232"):
        classed(Said(oid))
