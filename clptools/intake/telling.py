"""A decoded trap in sentences, as `clptrap decode` prints it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from clptools.core.model.settings import Settings
from clptools.core.model.words import EventClass
from clptools.intake.pet import DecodedTrap
from clptools.intake.profile import shipped_names
from clptools.intake.would import WouldChange, servers_of

WIDTH = 80


def told(
    decoded: DecodedTrap,
    source: str,
    settings: Settings | None,
    changes: Iterable[WouldChange],
) -> str:
    """What it is, its class with the row that decided, and what it would do here."""
    lines = [_head(decoded, source, settings)]
    lines += [f"  {line}" for line in _body(decoded)]
    lines.append(_class_line(decoded))
    if decoded.hint:
        lines += ["Row     none; this in clp.toml gives it a class:", f"        {decoded.hint}"]
    label = "Would   "
    for change in changes:
        lines.append(_wrapped(label, change.text))
        label = "        "
    lines += [_wrapped("Note    ", f"{quirk}.") for quirk in decoded.quirks]
    return "\n".join(lines)


def _head(decoded: DecodedTrap, source: str, settings: Settings | None) -> str:
    parts = ["PET" if decoded.format == "pet" else "Trap, no PET,"]
    address = source or decoded.said_origin
    if address and address != "0.0.0.0":
        parts.append(f"from {address}" if source else f"said to be from {address}")
        owners = servers_of(settings, address) if settings else ()
        if owners:
            parts.append(f"(BMC of {', '.join(owners)})")
    head = " ".join(parts).removesuffix(",")
    if decoded.version:
        head += f", SNMP v{decoded.version}"
    if decoded.format == "pet" and decoded.specific is not None:
        head += f", specific trap {decoded.specific}"
    return head


def _body(decoded: DecodedTrap) -> list[str]:
    if decoded.format != "pet":
        return [decoded.meaning, *(f"{oid} = {value}" for oid, value in decoded.varbinds)]
    where = []
    if decoded.sensor is not None:
        where.append(f"sensor {decoded.sensor:02X}h")
    if decoded.entity is not None:
        where.append(f"entity {decoded.entity[0]}.{decoded.entity[1]}")
    thing, colon, what = decoded.meaning.partition(": ")
    place = f" ({', '.join(where)})" if where else ""
    first = f"{thing}{place}{colon}{what}"
    names = shipped_names()
    facts = []
    if decoded.timestamp:
        facts.append(f"{decoded.timestamp.replace('T', ' ')} BMC time")
    if decoded.severity is not None:
        severity = names.severities.get(decoded.severity, f"{decoded.severity:02X}h")
        facts.append(f"severity {severity}")
    if decoded.sequence is not None:
        facts.append(f"sequence {decoded.sequence}")
    if decoded.manufacturer is not None:
        maker = names.manufacturers.get(decoded.manufacturer)
        number = decoded.manufacturer
        facts.append(f"{maker} ({number})" if maker else f"manufacturer {number}")
    if decoded.oem:
        facts.append(f'OEM "{decoded.oem}"')
    return [first, ", ".join(facts)] if facts else [first]


def _class_line(decoded: DecodedTrap) -> str:
    line = f"Class   {decoded.event_class.value}"
    if decoded.event_class is EventClass.CLEAR and decoded.clears:
        line += f", clears {decoded.clears.value}"
    if decoded.profile:
        return f'{line}  (profile {decoded.profile}, row "{decoded.row}")'
    if decoded.row:
        return f"{line}  (no row of the class table; {decoded.row})"
    return f"{line}  (no row of the class table, no severity)"


def _wrapped(label: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=label, subsequent_indent=" " * len(label))
