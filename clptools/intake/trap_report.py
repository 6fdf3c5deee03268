"""A decoded trap in sentences, and what it would change here: for `clptrap decode`.

Nothing runs.  The rules are the ledger's (`core/monitors/event_ledger.py`), on a cluster in which
nothing is open.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import msgspec

from clptools.core import phrases as say
from clptools.core.model.settings import Bmc, Monitor, Settings
from clptools.core.model.states import MonitorStatus
from clptools.core.model.words import EventClass, FinalAction, RecoveryStep
from clptools.intake.admission import CATEGORY, plain_source
from clptools.intake.decoded_trap import DecodedTrap
from clptools.intake.trap_rows import shipped_names

WIDTH = 80

_QUIET = {
    EventClass.INFO: "Nothing changes: it is recorded (INFO).",
    EventClass.UNKNOWN: "Nothing changes: it has no class and is only counted.",
}


def report(
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


class WouldChange(msgspec.Struct, frozen=True, kw_only=True, rename={"was": "from"}):
    """What a trap would change for one monitor on one server."""

    monitor: str
    server: str
    was: str
    to: str
    recovery: str | None = None
    """The recovery that would run: `fail over failover1`; None: none."""
    text: str
    """The same in sentences, with the reason."""


def servers_of(settings: Settings, address: str) -> tuple[str, ...]:
    """The servers whose BMC has that address, or names it as a further source of their traps."""
    wanted = plain_source(address)
    return tuple(
        server.name
        for server in settings.servers
        if wanted
        and server.bmc is not None
        and wanted in map(plain_source, (server.bmc.address, *_more(server.bmc)))
    )


def _more(bmc: Bmc) -> list[str]:
    return [source.address for source in bmc.trap_sources]


def changes_by(
    decoded: DecodedTrap, settings: Settings, servers: tuple[str, ...]
) -> tuple[WouldChange, ...]:
    """One entry for each BMCNOTICE monitor of these servers, in the order of the configuration."""
    return tuple(
        _change(decoded, monitor, server)
        for monitor in settings.monitors
        if monitor.type == "mrw" and monitor.category == CATEGORY
        for server in monitor.servers
        if server in servers and monitor.keywords.get(server)
    )


def _change(decoded: DecodedTrap, monitor: Monitor, server: str) -> WouldChange:
    normal = MonitorStatus.NORMAL.value
    event_class = decoded.event_class
    where = f"{monitor.name} on {server}"
    if event_class in _QUIET:
        text = f"{where}: {_QUIET[event_class]}"
        return WouldChange(monitor=monitor.name, server=server, was=normal, to=normal, text=text)
    if event_class is EventClass.CLEAR:
        text = f"{where}: closes what this fault opened; Normal again if nothing else is open."
        return WouldChange(monitor=monitor.name, server=server, was=normal, to=normal, text=text)
    recovery = None
    if event_class in monitor.recover_on:
        to = MonitorStatus.ERROR.value
        plan = monitor.recovery
        recovery = say.plan(plan.action, plan.target, plan.final_action)
        because = f"Recovery: {recovery}."
        if plan.action is RecoveryStep.FINAL and plan.final_action is FinalAction.NONE:
            recovery, because = None, 'No recovery: the final action is "none".'
    elif event_class is EventClass.PREDICT and monitor.stall_on_predictive_failure:
        to = MonitorStatus.STALL.value
        because = "No recovery: predictive failures only stall (stall_on_predictive_failure)."
    elif event_class is EventClass.PERFORMANCE and monitor.stall_on_performance_down:
        to = MonitorStatus.STALL.value
        because = "No recovery: performance going down only stalls (stall_on_performance_down)."
    else:
        to = MonitorStatus.CAUTION.value
        because = f"No recovery: recover_on does not name {event_class.value}."
    return WouldChange(
        monitor=monitor.name,
        server=server,
        was=normal,
        to=to,
        recovery=recovery,
        text=f"{where}: {normal} -> {to}. {because}",
    )
