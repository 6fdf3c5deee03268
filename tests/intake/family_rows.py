"""Traps of vendors' MIBs as rows of a table: what opens a fault, of which class, what ends it.

The numbers and variables are those of the MIBs that each profile names; the rows stand here apart
from the profiles, so that one is tested by the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from clptools.intake import ber, snmp
from clptools.intake.snmp import Version

Value = int | str
Encode = Callable[[Value], bytes]
Variables = tuple[tuple[str, Value], ...]


class Said(msgspec.Struct, frozen=True):
    """One trap: its name and its variables."""

    oid: str
    variables: Variables = ()

    def of(self, part: Variables) -> Said:
        """The same of one part."""
        return Said(self.oid, self.variables + part)

    def datagram(
        self, version: Version, request_id: int, encode: Encode | None = None, zero: bool = False
    ) -> bytes:
        """As a BMC sends it; `zero`: a v1 enterprise with the 0 that v2 has before the number."""
        encode = encode or encoded
        binds = b"".join(snmp.varbind(oid, encode(value)) for oid, value in self.variables)
        if version is Version.V1:
            head, _, last = self.oid.rpartition(".")
            body = ber.element(
                snmp.V1_TRAP,
                ber.oid(head.removesuffix(".0") + ".0" * zero),
                ber.element(ber.IP_ADDRESS, bytes(4)),
                ber.integer(6),
                ber.integer(int(last)),
                ber.integer(request_id, ber.TIME_TICKS),
                ber.sequence(binds),
            )
            return ber.sequence(ber.integer(0), ber.octets(b"public"), body)
        name = snmp.varbind(snmp.SYS_UPTIME, ber.integer(request_id, ber.TIME_TICKS))
        name += snmp.varbind(snmp.TRAP_OID, ber.oid(self.oid))
        body = snmp.pdu(snmp.V2_TRAP, request_id, name + binds)
        return ber.sequence(ber.integer(1), ber.octets(b"public"), body)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One row: traps that speak of one fault."""

    what: str
    said: Said
    event_class: str
    ends: tuple[Said, ...] = ()
    """Each of these ends it."""
    leaves: tuple[Said, ...] = ()
    """None of these does."""
    quiet: tuple[Said, ...] = ()
    """What opens nothing where nothing is open."""
    parts: tuple[Variables, Variables] | None = None
    """Variables that name one part, and another; None: there is only one."""
    own_watchdog: bool = False


def encoded(value: Value) -> bytes:
    """In the type that the MIB gives it."""
    return ber.integer(value) if isinstance(value, int) else ber.octets(value.encode())


# -- Dell iDRAC -------------------------------------------------------------------------------

DELL = "1.3.6.1.4.1.674.10892.5.3"
_DELL_NEWS = {(1, 41), (1, 42), (1, 45), (1, 48), (1, 60), (4, 48)}
"""Group and sub of which level 3 is only news."""
_DELL_PARTS = (((f"{DELL}.1.6.0", "PSU.Slot.1"),), ((f"{DELL}.1.6.0", "PSU.Slot.2"),))

# Group, sub, class of a failure, class of a warning where no message ID says another.
DELL_SUBS: tuple[tuple[int, int, str, str], ...] = (
    (1, 5, "INFO", "INFO"),
    (1, 13, "ERROR", "INFO"),
    (1, 14, "ERROR", "INFO"),
    (1, 15, "ERROR", "INFO"),
    (1, 16, "ERROR", "INFO"),
    (1, 17, "ERROR", "INFO"),
    (1, 20, "ERROR", "INFO"),
    (1, 22, "ERROR", "PREDICT"),
    (1, 23, "FATAL", ""),
    (1, 24, "FATAL", "INFO"),
    (1, 25, "ERROR", "INFO"),
    (1, 27, "FATAL", "INFO"),
    (1, 28, "ERROR", "PERFORMANCE"),
    (1, 31, "ERROR", "PREDICT"),
    (1, 35, "ERROR", "INFO"),
    (1, 36, "INFO", "INFO"),
    (1, 41, "INFO", "INFO"),
    (1, 42, "INFO", "INFO"),
    (1, 43, "ERROR", ""),
    (1, 45, "FATAL", ""),
    (1, 46, "FATAL", "INFO"),
    (1, 47, "ERROR", ""),
    (1, 48, "ERROR", ""),
    (1, 51, "ERROR", ""),
    (1, 52, "REDUNDANCY", ""),
    (1, 53, "REDUNDANCY", "REDUNDANCY"),
    (1, 54, "ERROR", ""),
    (1, 55, "REDUNDANCY", "REDUNDANCY"),
    (1, 59, "INFO", "INFO"),
    (1, 60, "", ""),
    (1, 61, "ERROR", "INFO"),
    (1, 62, "ERROR", "INFO"),
    (1, 75, "", "PERFORMANCE"),
    (1, 125, "FATAL", "ERROR"),
    (1, 155, "ERROR", "INFO"),
    (2, 10, "INFO", "INFO"),
    (2, 13, "ERROR", "INFO"),
    (2, 14, "ERROR", "INFO"),
    (2, 17, "ERROR", "INFO"),
    (2, 22, "ERROR", "PREDICT"),
    (2, 29, "ERROR", "INFO"),
    (2, 30, "ERROR", "INFO"),
    (2, 31, "ERROR", "INFO"),
    (2, 32, "ERROR", "REDUNDANCY"),
    (2, 34, "", "PREDICT"),
    (2, 83, "ERROR", "INFO"),
    (4, 14, "ERROR", "INFO"),
    (4, 48, "", ""),
)

DELL_IDS: tuple[tuple[str, str, str], ...] = (
    # Message IDs, class, IDs that end it.
    ("CPU0000 CPU0001 CPU0002 CPU0003 CPU0004 CPU0006 CPU0011", "FATAL", "CPU0016"),
    ("CPU0005", "ERROR", "CPU0021"),
    ("CPU0008", "ERROR", "CPU0024"),
    ("CPU0010", "PERFORMANCE", "CPU0016"),
    ("CPU0012", "INFO", ""),
    ("CPU0700 CPU0701 CPU0702 CPU0703 CPU0704", "FATAL", "same"),
    ("MEM0000", "INFO", ""),
    ("MEM0001 MEM0002 MEM0003 MEM0010", "FATAL", "MEM0016"),
    ("MEM0004", "ERROR", "MEM0020"),
    ("MEM0005", "INFO", ""),
    ("MEM0009", "PERFORMANCE", "MEM0016"),
    ("MEM0701 MEM0702", "PREDICT", "MEM0700"),
    ("MEM1212 MEM1205 MEM1208 MEM1214 MEM1206 MEM1209", "REDUNDANCY", "MEM1210 MEM1204 MEM1207"),
    ("PSU0001", "ERROR", "PSU0017"),
    ("PSU0002", "PREDICT", "PSU0017"),
    ("PSU0003 PSU0004 PSU0005", "ERROR", "PSU0019"),
    ("PSU0006", "ERROR", "PSU0022"),
    ("PSUA0016", "REDUNDANCY", "PSU0000"),
    ("RDU0012 RDU0013 RDU0014 RDU0015", "REDUNDANCY", "RDU0011"),
    ("RDU0002 RDU0003 RDU0005", "REDUNDANCY", "RDU0001"),
    ("PSU0904 PSU0906 PSU0910 PSU0912", "FATAL", "PSU0901 PSU0907 PSU0911 PSU0913"),
    ("PSU0914", "PREDICT", "PSU0913"),
    ("FAN0001", "ERROR", "FAN0005"),
    ("FAN0000", "PREDICT", "FAN0005"),
    ("TMP0115 TMP0113", "ERROR", "TMP0117"),
    ("TMP0114", "INFO", ""),
    ("VLT0222", "ERROR", "VLT0223"),
    ("PWR1006", "ERROR", "PWR1009"),
    ("PWR1001 PWR1002 PWR1003 PWR1004 PWR1005 PWR1007 PWR1008", "PERFORMANCE", "PWR1000"),
    ("PDR1001 PDR1101", "ERROR", "PDR1017 PDR1117"),
    ("PDR1002 PDR1102 PDR16", "PREDICT", "PDR1017 PDR1117"),
    ("PDR1005", "REDUNDANCY", "PDR1021 PDR1121"),
    ("PDR1006", "ERROR", "PDR1022 PDR1122"),
    ("PDR1016 PDR1116", "REDUNDANCY", "PDR1000 PDR1100"),
    ("PCI1302 PCI1304 PCI1308 PCI1310 PCI1316 PCI1318 PCI1320", "FATAL", "same"),
    ("PCI1342 PCI1344 PCI1348 PCI1350 PCI1356 PCI1358 PCI1360", "FATAL", "same"),
    ("PCI1314", "INFO", ""),
    ("PCI1322", "PERFORMANCE", "same"),
    ("PCI2000", "FATAL", "PCI2001"),
    ("PCI2002", "FATAL", "PCI2003"),
    ("MEM9006 MEM9007 MEM9008 MEM9030 MEM9034 MEM9038", "FATAL", "MEM9001"),
    ("ASR0001 ASR0002 ASR0003", "FATAL", "ASR0009"),
    ("ASR0000 ASR0008", "INFO", ""),
    ("OSE0000 OSE0001", "FATAL", ""),
    ("BAT0015", "PREDICT", "BAT0016"),
    ("BAT0017", "ERROR", "BAT0016"),
    ("SEC0000", "INFO", ""),
    ("SEL1501 SEL1502 SEL1504", "REDUNDANCY", "SEL1500"),
)


_DELL_OTHERS = ("CPU0016", "MEM0016", "PSU0017", "PSU0019", "RDU0011", "BAT0016", "FAN0005")


def dell(group: int, number: int, status: int, message: str = "XYZ0001") -> Said:
    """An iDRAC trap of no part yet."""
    return Said(
        f"{DELL}.2.{group}.0.{number}",
        (
            (f"{DELL}.1.1.0", message),
            (f"{DELL}.1.2.0", f"What {message} says to people."),
            (f"{DELL}.1.3.0", status),
            (f"{DELL}.1.4.0", "SVCTAG1"),
            (f"{DELL}.1.5.0", "server.example.com"),
        ),
    )


def _dell() -> Iterator[Case]:
    for group, sub, failure, warning in DELL_SUBS:
        first = 2048 * group + 8 * sub
        news = (group, sub) in _DELL_NEWS
        over = (dell(group, first + 3, 3),)
        other = 13 if sub != 13 else 17
        leaves = (
            dell(1, 2048 + 8 * other + 3, 3),
            dell(group, first + 3, 5),  # it is not ok yet
            dell(group, first + 3, 2),
            *(over if news else ()),
        )
        for level, event_class, status in ((1, failure, 5), (2, warning, 4)):
            if event_class:
                yield Case(
                    what=f"dell {group}.{sub} level {level}",
                    said=dell(group, first + level, status),
                    event_class=event_class,
                    ends=() if news else over,
                    leaves=leaves,
                    quiet=(*over, dell(group, first + level, 3)),
                    parts=_DELL_PARTS,
                    own_watchdog=(group, sub) == (1, 23),
                )
    for words, event_class, ends in DELL_IDS:
        for message in words.split():
            ids = ends.split() if ends != "same" else [message]
            over = tuple(dell(1, 2187, 3, each) for each in ids)
            yield Case(
                what=f"dell {message}",
                said=dell(1, 2185, 5, message),
                event_class=event_class,
                ends=over,
                leaves=(
                    *(dell(1, 2187, 3, other) for other in _DELL_OTHERS if other not in ids),
                    *(dell(1, 2187, 5, each) for each in ids if each != message),
                ),
                quiet=(*over, *(() if message.startswith("OSE") else (dell(1, 2187, 3, message),))),
                parts=_DELL_PARTS,
                own_watchdog=message in ("ASR0001", "ASR0002", "ASR0003"),
            )
    for number, group in ((10395, 5), (8579, 4), (6001, 3), (8193, 4), (10241, 5)):
        yield Case(what=f"dell {number}", said=dell(group, number, 5), event_class="INFO")
    # A sub that no table knows yet.
    yield Case(
        what="dell new sub",
        said=dell(1, 2048 + 8 * 199 + 1, 5),
        event_class="ERROR",
        ends=(dell(1, 2048 + 8 * 199 + 3, 3),),
        leaves=(dell(1, 2048 + 8 * 198 + 3, 3),),
        parts=_DELL_PARTS,
    )


# -- HPE iLO ----------------------------------------------------------------------------------

HPE = "1.3.6.1.4.1.232"
OLD, OK, DEGRADED, FAILED = 0x00, 0x08, 0x0C, 0x10
"""cpqHoTrapFlags, bits 2 to 4."""


def hpe(number: int, flags: int = FAILED, *variables: tuple[str, Value]) -> Said:
    """An iLO trap; variables below the enterprise."""
    own = tuple((f"{HPE}.{oid}", value) for oid, value in variables)
    head = (("1.3.6.1.2.1.1.5.0", "server1"), (f"{HPE}.11.2.11.1.0", flags | 0x01))
    return Said(f"{HPE}.0.{number}", (*head, *own))


def _hpe_parts(*columns: str) -> tuple[Variables, Variables]:
    def part(n: int) -> Variables:
        last = len(columns) - 1
        values = [n if place == last else 1 for place in range(len(columns))]
        index = ".".join(map(str, values))
        return tuple(
            (f"{HPE}.{column}.{index}", value)
            for column, value in zip(columns, values, strict=True)
        )

    return part(1), part(2)


_SUPPLY = _hpe_parts("6.2.9.3.1.1", "6.2.9.3.1.2")
_FAN = _hpe_parts("6.2.6.7.1.1", "6.2.6.7.1.2")
_PLACE = _hpe_parts("6.2.6.8.1.1", "6.2.6.8.1.3")
_MODULE = _hpe_parts("6.2.14.13.1.2", "6.2.14.13.1.3", "6.2.14.13.1.5")
_DRIVE = _hpe_parts("3.2.5.1.1.1", "3.2.5.1.1.2")
_LOGICAL = _hpe_parts("3.2.3.1.1.1", "3.2.3.1.1.2")
_CONTROLLER = _hpe_parts("3.2.2.1.1.1")
_CHASSIS = _hpe_parts("6.2.9.3.1.1")
_FANS = _hpe_parts("6.2.6.7.1.1")
_NIC = _hpe_parts("18.2.3.1.1.1")
_PORT = _hpe_parts("18.2.3.1.1.5", "18.2.3.1.1.10")
_SLOT = _hpe_parts("18.2.3.1.1.5")
_BOARD = _hpe_parts("6.2.14.11.1.1")

HpeRow = tuple[str, str, str, tuple[Variables, Variables] | None]
HPE_ROWS: tuple[HpeRow, ...] = (
    # Numbers, class, numbers that end it, parts.
    ("9014 6096 6046", "FATAL", "", None),
    ("9028 6025 6011", "FATAL", "", None),
    ("9001 9018 9017 11003 6118 22001 22044", "INFO", "", None),
    ("9002 9019", "ERROR", "9017", None),
    ("6016 6002", "PREDICT", "", None),
    ("6078 6086 6087 6112", "FATAL", "", _MODULE),
    ("6077 6080 6085 6097", "ERROR", "", _MODULE),
    ("6089", "ERROR", "6090", _MODULE),
    ("6091 6113 6116", "PREDICT", "", _MODULE),
    ("6047 6051 6052 6053 6068", "REDUNDANCY", "", None),
    ("6065 6057", "REDUNDANCY", "6066 6058", _BOARD),
    ("6067 6059", "FATAL", "6066 6058", _BOARD),
    ("6043 6075 6105", "ERROR", "", None),
    ("6044 6074 6104", "FATAL", "", None),
    ("6045", "REDUNDANCY", "", None),
    ("6050 6031 6049 6030 6028 6014", "ERROR", "6048 6033", _SUPPLY),
    ("6069", "ERROR", "6048", _SUPPLY),
    ("6034", "REDUNDANCY", "6033", _SUPPLY),
    ("6032", "REDUNDANCY", "6054", _CHASSIS),
    ("6099", "ERROR", "6100", _SUPPLY),
    ("6101", "ERROR", "6102", None),
    ("6103", "ERROR", "", None),
    ("6036 6035", "ERROR", "6055 6038", _FAN),
    ("6020 6006", "FATAL", "6022 6008", None),
    ("6021 6007", "ERROR", "6022 6008", None),
    ("6023 6009", "FATAL", "6024 6010", None),
    ("6037", "REDUNDANCY", "6055", _FANS),
    ("6039", "REDUNDANCY", "6038", _FAN),
    ("6119", "ERROR", "6122", None),
    ("6120", "FATAL", "6122", None),
    ("6121", "REDUNDANCY", "6122", None),
    ("6040 6017 6003", "FATAL", "6042 6019 6005", _PLACE),
    ("6041 6018 6004", "ERROR", "6042 6019 6005", _PLACE),
    ("6070", "PREDICT", "", None),
    ("6071", "ERROR", "", None),
    ("6061 9015", "INFO", "", None),
    ("6063", "ERROR", "6062", None),
    ("9005 9006 9021", "ERROR", "9022", None),
    ("9024", "ERROR", "9025", None),
    ("3037 3030 3019", "PREDICT", "", _DRIVE),
    ("3039", "FATAL", "", _CONTROLLER),
    ("3040", "PREDICT", "", _CONTROLLER),
    ("11009", "ERROR", "11008", _NIC),
    ("18002 18006 18012", "ERROR", "18001 18005 18011", _PORT),
    ("18004 18008 18014", "REDUNDANCY", "18003 18007 18013", _PORT),
    ("18015", "ERROR", "18016", _SLOT),
    ("18009 18010", "INFO", "", None),
)
_HPE_OWN_WATCHDOG = {"9028", "6025", "6011"}
_HPE_ENDS = {
    int(number)
    for _, _, ends, _ in HPE_ROWS
    for number in ends.split()
    if number not in ("6058", "6008", "6010", "6019", "6005")
}


def _hpe() -> Iterator[Case]:
    for numbers, event_class, ends, parts in HPE_ROWS:
        good = {int(number) for number in ends.split()}
        opens = event_class != "INFO"
        for number in numbers.split():
            yield Case(
                what=f"hpe {number}",
                said=hpe(int(number), FAILED),
                event_class=event_class,
                ends=tuple(hpe(each, flags) for each in good for flags in (OK, OLD)),
                leaves=(
                    *(hpe(each, OK) for each in sorted(_HPE_ENDS - good)),
                    *(hpe(each, FAILED) for each in sorted(good) if each != 9017),
                )
                if opens
                else (),
                quiet=(hpe(int(number), OK), *(hpe(each, OK) for each in good)),
                parts=parts,
                own_watchdog=number in _HPE_OWN_WATCHDOG,
            )
    yield Case(what="hpe 6064", said=hpe(6064, DEGRADED), event_class="PREDICT", parts=_MODULE)
    yield Case(what="hpe 6064 failed", said=hpe(6064), event_class="FATAL", parts=_MODULE)
    yield from _hpe_states(
        (3046, 3036, 3029, 3018), "3.2.5.1.1.6", {3: "ERROR", 4: "PREDICT", 8: "PREDICT"}, _DRIVE
    )
    yield from _hpe_states(
        (3049,), "3.2.5.1.1.73", {3: "PREDICT", 4: "PREDICT", 5: "PREDICT", 6: "ERROR"}, _DRIVE
    )
    yield from _hpe_states(
        (3034, 3008),
        "3.2.3.1.1.4",
        {3: "ERROR", 5: "REDUNDANCY", 7: "REDUNDANCY", 15: "REDUNDANCY", 10: "ERROR"},
        _LOGICAL,
    )
    yield from _hpe_states(
        (3033, 3028, 3015),
        "3.2.2.1.1.10",
        {3: "ERROR", 4: "ERROR", 5: "ERROR", 7: "PERFORMANCE"},
        _CONTROLLER,
    )
    for number, event_class in ((3038, "ERROR"), (3039, "FATAL"), (3040, "PREDICT")):
        yield Case(
            what=f"hpe cache {number}",
            said=hpe(number, FAILED, ("3.2.2.2.1.2.1", 4)),
            event_class=event_class,
            ends=(hpe(3038, OK, ("3.2.2.2.1.2.1", 3)),),
            parts=_CONTROLLER,
        )
    for column, parts in (("6.2.77.1.4", _SUPPLY), ("3.2.77.1.4", _DRIVE)):
        for row in ("1.1", "1.2"):
            state = f"{column}.{row}"
            other = f"{column}.{'1.2' if row == '1.1' else '1.1'}"
            yield Case(
                what=f"hpe new number, {state}",
                said=hpe(6999, FAILED, (state, 4)),
                event_class="ERROR",
                ends=(hpe(6999, OK, (state, 2)),),
                leaves=(
                    hpe(6999, OK, (other, 2)),
                    hpe(6998, OK, (state, 2)),
                    hpe(6999, DEGRADED, (state, 3)),
                ),
                quiet=(hpe(6999, OK, (state, 2)), hpe(6999, DEGRADED, (state, 3))),
                parts=parts,
            )
    yield Case(
        what="hpe drive threshold",
        said=hpe(3037, DEGRADED),
        event_class="PREDICT",
        ends=(hpe(3046, OK, ("3.2.5.1.1.6.1.1", 2)),),
        leaves=(hpe(3049, OK, ("3.2.5.1.1.73.1.1", 2)),),
        parts=_DRIVE,
    )


def _hpe_states(
    numbers: tuple[int, ...],
    variable: str,
    states: dict[int, str],
    parts: tuple[Variables, Variables],
) -> Iterator[Case]:
    for number in numbers:
        good = hpe(number, OK, (f"{variable}.1.1", 2))
        for state, event_class in states.items():
            yield Case(
                what=f"hpe {number} is {state}",
                said=hpe(number, FAILED, (f"{variable}.1.1", state)),
                event_class=event_class,
                ends=(good, hpe(number, OLD, (f"{variable}.1.1", 2))),
                leaves=(hpe(6048, OK), hpe(11008, OK)),
                quiet=(good,),
                parts=parts,
            )
        # A state that no table knows yet: the flags say what it is.
        new = (f"{variable}.1.1", 199)
        yield Case(
            what=f"hpe {number} in a new state",
            said=hpe(number, FAILED, new),
            event_class="ERROR",
            ends=(good, hpe(number, OK, new)),
            leaves=(hpe(number, DEGRADED, new), hpe(number, OLD, new)),
            quiet=(hpe(number, DEGRADED, new), hpe(number, OK, new), hpe(number, OLD, new)),
            parts=parts,
        )


# -- Lenovo XCC and IMM -----------------------------------------------------------------------

XCC, IMM = "1.3.6.1.4.1.19046.11.1.158.5", "1.3.6.1.4.1.2.6.158.5"
XCC_ROWS = {
    40: "FATAL", 42: "ERROR", 41: "FATAL", 43: "PREDICT", 4: "ERROR", 164: "INFO",
    9: "REDUNDANCY", 10: "REDUNDANCY", 11: "ERROR", 165: "INFO", 0: "ERROR", 12: "INFO",
    1: "ERROR", 13: "INFO", 5: "ERROR", 27: "PREDICT", 36: "ERROR", 50: "ERROR", 60: "INFO",
    21: "FATAL", 25: "ERROR", 26: "ERROR", 22: "INFO", 23: "INFO", 24: "INFO", 30: "INFO",
    35: "INFO", 37: "INFO",
}  # fmt: skip
_EVENTS = ("8007010207{:02X}FFFF", "8107010207{:02X}FFFF")
"""altEventID of processor 1 and 2, asserted and taken back: 80 becomes 81."""


def xcc(root: str, number: int, priority: int, *variables: tuple[str, Value]) -> Said:
    """An XCC or IMM trap of no part yet."""
    own = tuple((f"{root}.1.{oid}.0", value) for oid, value in variables)
    head = ((f"{root}.1.8.0", priority), (f"{root}.1.9.0", "What it says to people."))
    return Said(f"{root}.0.{number}", (*head, *own))


def _xcc() -> Iterator[Case]:
    for root in (XCC, IMM):
        for number, event_class in XCC_ROWS.items():
            other = 41 if number != 41 else 40
            for variable, parts in (
                ("18", ("0x80070201", "0x80070202")),
                ("21", ("CPU 1", "DIMM 2")),
            ):
                part = (
                    ((f"{root}.1.{variable}.0", parts[0]),),
                    ((f"{root}.1.{variable}.0", parts[1]),),
                )
                yield Case(
                    what=f"{'xcc' if root == XCC else 'imm'} {number} by {variable}",
                    said=xcc(root, number, 0 if event_class == "FATAL" else 2),
                    event_class=event_class,
                    ends=(xcc(root, number, 8),) if event_class != "INFO" else (),
                    leaves=(xcc(root, other, 8), xcc(root, number, 8, ("20", 1))),
                    quiet=(xcc(root, number, 8), xcc(root, number, 0, ("20", 1))),
                    parts=part if event_class != "INFO" else None,
                    own_watchdog=number == 21,
                )
    for mark in ("", "0x", "0X"):
        yield Case(
            what=f"xcc event {mark}80 taken back by 81",
            said=xcc(XCC, 40, 0, ("18", mark + _EVENTS[0].format(1))),
            event_class="FATAL",
            ends=tuple(
                xcc(XCC, 40, 8, ("18", over))
                for over in (
                    mark + _EVENTS[1].format(1),
                    mark + _EVENTS[1].format(1).lower(),
                    "0x" + _EVENTS[1].format(1),
                )
            ),
            leaves=(xcc(XCC, 40, 8, ("18", mark + _EVENTS[1].format(2))),),
        )


# -- Fujitsu iRMC -----------------------------------------------------------------------------

IRMC = "1.3.6.1.4.1.231.2.10.2.2.10.20"
IRMC_ROWS: tuple[tuple[str, str, str], ...] = (
    ("2082", "FATAL", ""), ("2081", "PREDICT", ""), ("2083", "ERROR", ""),
    ("2061 2063 2065 2067 2113", "FATAL", ""), ("2060 2062 2064 2066", "INFO", ""),
    ("2068", "PREDICT", ""), ("2069", "ERROR", ""), ("2071", "PREDICT", "2072"),
    ("2070 2073 2074", "REDUNDANCY", ""),
    ("2034 2033 2037 2039", "ERROR", "2032"), ("2035 2036", "REDUNDANCY", "2032"),
    ("2038", "PREDICT", "2032"), ("2031", "REDUNDANCY", "2030"),
    ("2040 2042", "ERROR", "2043"), ("2041", "FATAL", "2043"),
    ("2014", "ERROR", "2012"), ("2015", "REDUNDANCY", "2012"), ("2013", "PREDICT", "2012"),
    ("2011", "REDUNDANCY", "2010"), ("2022", "FATAL", "2020"), ("2021", "INFO", ""),
    ("2024", "ERROR", "2023"), ("2051 2052 2053", "ERROR", "2050"), ("2054", "PREDICT", "2050"),
    ("2001 2004", "ERROR", "2002"), ("2003", "INFO", ""), ("2005", "ERROR", ""),
    ("2006", "FATAL", ""), ("2131 2132", "PERFORMANCE", "2130"),
    ("2120", "PREDICT", ""), ("2121", "ERROR", ""),
    ("2000 2090 2091 2099 2100 2101 2110 2112 2114 2133 2140 2141 2150 2151", "INFO", ""),
    ("2102 2152", "ERROR", ""),
)  # fmt: skip
_IRMC_ENDS = {int(n) for _, _, ends in IRMC_ROWS for n in ends.split()}
_IRMC_PARTS = (
    ((f"{IRMC}.1.3.0", 0), (f"{IRMC}.1.4.0", "PSU1")),
    ((f"{IRMC}.1.3.0", 0), (f"{IRMC}.1.4.0", "PSU2")),
)


def irmc(number: int, *variables: tuple[str, Value]) -> Said:
    """An iRMC trap of no part yet."""
    own = tuple((f"{IRMC}.1.{oid}.0", value) for oid, value in variables)
    return Said(f"{IRMC}.0.{number}", ((f"{IRMC}.1.1.0", "server1"), *own))


def _irmc() -> Iterator[Case]:
    for numbers, event_class, ends in IRMC_ROWS:
        good = {int(n) for n in ends.split()}
        for number in map(int, numbers.split()):
            opens = event_class != "INFO"
            yield Case(
                what=f"irmc {number}",
                said=irmc(number),
                event_class=event_class,
                ends=tuple(map(irmc, sorted(good))),
                leaves=tuple(map(irmc, sorted(_IRMC_ENDS - good))) if opens else (),
                quiet=tuple(map(irmc, sorted(good))),
                parts=_IRMC_PARTS if opens else None,
                own_watchdog=number == 2006,
            )
    yield Case(
        what="irmc 2080",
        said=irmc(2080, ("6", 60)),
        event_class="PERFORMANCE",
        ends=(irmc(2080, ("6", 100)),),
        leaves=(irmc(2130),),
        quiet=(irmc(2080, ("6", 100)),),
        parts=_IRMC_PARTS,
    )


# -- Huawei iBMC ------------------------------------------------------------------------------

IBMC = "1.3.6.1.4.1.2011.2.235.1.1.500"
IBMC_ROWS: tuple[tuple[str, str], ...] = (
    ("1.27 1.29 1.15 1.17 2.23 2.47 4.31 7.7 45.49", "FATAL"),
    ("1.3 1.31", "PERFORMANCE"),
    ("1.33 1.19 1.23 2.17 2.21 2.39 3.7 3.11 4.9 4.13 5.7 7.5 45.7 45.47", "ERROR"),
    ("2.13 2.45 3.9 3.29 3.31 4.11 7.17", "PREDICT"),
    ("2.29 4.5 4.7 5.3 5.5 69.1", "REDUNDANCY"),
    ("3.5 27.13 27.33", "INFO"),
    ("45.37 45.39 45.41 45.21", "FATAL"),
)
IBMC_OLD: tuple[tuple[str, str], ...] = (
    ("7.1 7.17 7.33 7.177 12.17 12.161 35.17 35.33 35.49", "FATAL"),
    ("8.17 8.49 8.65 13.17 13.97", "ERROR"),
    ("8.33 13.33", "PREDICT"),
    ("12.81", "INFO"),
    ("9.113", "PREDICT"),  # by the row of IPMI alone: power unit, predictive failure
    ("1028.17", "PREDICT"),  # 4 + 256 * 4: fan, event type 04h, offset 1
)
IBMC_STATES: tuple[tuple[str, str, str], ...] = (
    # A good state that ends is bad news, and its return ends that; it ends other states, too.
    ("8.2", "REDUNDANCY", "8.1"),  # power supply: present
    ("13.2", "REDUNDANCY", "13.1"),  # drive slot: present
    ("7.114", "ERROR", "7.113"),  # processor: present
    ("2824.2", "REDUNDANCY", "2824.1"),  # 8 + 256 * 0Bh: fully redundant
    ("2824.17", "REDUNDANCY", "2824.1"),
    ("257.145", "ERROR", "257.129"),  # 1 + 256 * 1: above the upper critical limit, and below it
    ("258.33", "ERROR", "258.49"),
    ("1803.33", "ERROR", "1803.1"),  # 0Bh + 256 * 7: critical, and OK again
    ("1028.17", "PREDICT", "1028.1"),
)
_IBMC_PARTS = (((f"{IBMC}.1.2.0", "CPU1 Status"),), ((f"{IBMC}.1.2.0", "CPU2 Status"),))


def ibmc(name: str, severity: int = 3, event: str = "") -> Said:
    """An iBMC trap of no part yet."""
    return Said(
        f"{IBMC}.{name}",
        ((f"{IBMC}.1.1.0", 77), (f"{IBMC}.1.3.0", event), (f"{IBMC}.1.4.0", severity)),
    )


def _ibmc() -> Iterator[Case]:
    for generation, rows in (("11", IBMC_ROWS), ("10", IBMC_OLD)):
        for names, event_class in rows:
            for name in names.split():
                group, _, number = name.partition(".")
                over = ibmc(f"{generation}.{group}.{int(number) + 1}", 1)
                opens = event_class != "INFO"
                yield Case(
                    what=f"ibmc {generation}.{name}",
                    said=ibmc(f"{generation}.{name}"),
                    event_class=event_class,
                    ends=(over,) if opens else (),
                    leaves=(ibmc("11.77.2", 1), ibmc("11.1.26", 1), ibmc("10.77.2", 1)),
                    quiet=(over, ibmc(f"{generation}.{name}", 1)),
                    parts=_IBMC_PARTS if opens else None,
                    own_watchdog=(group in ("45", "35") and int(number) in (37, 39, 41, 21, 17, 33))
                    or name == "35.49",
                )
    for bad, event_class, good in IBMC_STATES:
        yield Case(
            what=f"ibmc 10.{bad} ended by 10.{good}",
            said=ibmc(f"10.{bad}"),
            event_class=event_class,
            ends=(ibmc(f"10.{good}", 1),),
            leaves=(ibmc("10.77.1", 1),),
            quiet=(ibmc(f"10.{good}", 1), ibmc(f"10.{bad}", 1)),
            parts=_IBMC_PARTS,
        )
    yield Case(
        what="ibmc logical drive off",
        said=ibmc("11.69.1", 4),
        event_class="ERROR",
        ends=(ibmc("11.69.2", 1),),
        parts=_IBMC_PARTS,
    )
    yield Case(
        what="ibmc PCIe card",
        said=ibmc("11.9.7", 4, "PCIeCardUncorrectableErr"),
        event_class="FATAL",
        ends=(ibmc("11.9.8", 1),),
        leaves=(ibmc("11.9.10", 1),),
        parts=_IBMC_PARTS,
    )
    for name in ("10.192.1", "10.28865.17"):  # types C0h and 70h are the maker's own
        yield Case(
            what=f"ibmc {name}, of no meaning in IPMI",
            said=ibmc(name),
            event_class="ERROR",
            ends=(ibmc(f"{name[:-1]}{int(name[-1]) + 1}", 1),),
            quiet=(ibmc(name, 1), ibmc(name, 2)),
            parts=_IBMC_PARTS,
        )
    for severity, event_class in ((4, "ERROR"), (3, "ERROR"), (2, "INFO")):
        yield Case(
            what=f"ibmc new number, severity {severity}",
            said=ibmc("11.200.5", severity),
            event_class=event_class,
            ends=(ibmc("11.200.6", 1),) if event_class != "INFO" else (),
            quiet=(ibmc("11.200.5", 1), ibmc("11.200.6", severity)),
            parts=_IBMC_PARTS if event_class != "INFO" else None,
        )


# -- Cisco CIMC -------------------------------------------------------------------------------

CIMC = "1.3.6.1.4.1.9.9.719"
_CIMC_PARTS = (
    ((f"{CIMC}.1.1.1.1.5.17", "sys/rack-unit-1/psu-1"), (f"{CIMC}.1.1.1.1.9.17", 374)),
    ((f"{CIMC}.1.1.1.1.5.18", "sys/rack-unit-1/psu-2"), (f"{CIMC}.1.1.1.1.9.18", 374)),
)


def cimc(number: int, severity: int) -> Said:
    """A CIMC trap of no part yet."""
    head = ((f"{CIMC}.1.1.1.1.11.17", "What it says."), (f"{CIMC}.1.1.1.1.20.17", severity))
    return Said(f"{CIMC}.0.{number}", head)


def _cimc() -> Iterator[Case]:
    for severity, event_class in ((6, "ERROR"), (5, "ERROR"), (4, "INFO"), (3, "PREDICT")):
        opens = event_class != "INFO"
        yield Case(
            what=f"cimc severity {severity}",
            said=cimc(1, severity),
            event_class=event_class,
            ends=(cimc(2, severity), cimc(2, 0), cimc(1, 0)) if opens else (),
            leaves=(cimc(1, 1),),
            quiet=(cimc(1, 0), cimc(2, 6), cimc(1, 1)),
            parts=_CIMC_PARTS if opens else None,
        )
    yield Case(
        what="cimc another code",
        said=cimc(1, 5).of(_CIMC_PARTS[0]),
        event_class="ERROR",
        leaves=(cimc(2, 0).of((_CIMC_PARTS[0][0], (f"{CIMC}.1.1.1.1.9.17", 375))),),
    )


CASES = (*_dell(), *_hpe(), *_xcc(), *_irmc(), *_ibmc(), *_cimc())
