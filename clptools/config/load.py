"""`clp.toml` into the core's settings: strict, typed, all errors of one run at once.

Nothing here raises for a bad configuration: what is wrong comes back as reports, each with
file, line, key and mend, and the settings are None.
"""

from __future__ import annotations

import errno
import os
import re
import tomllib
from collections.abc import Iterable

import msgspec

from clptools.common.foreign_files import whole
from clptools.config import fields_of_monitors as fields
from clptools.config.fences import with_fences
from clptools.config.field import near
from clptools.config.groups import read_groups, read_server_groups
from clptools.config.interconnects import read_arbiters, read_interconnects
from clptools.config.lines import BOM, MAX_BYTES, TABLES, Lines
from clptools.config.monitors import KnownParts, read_monitors
from clptools.config.servers import read_cluster, read_forced_stop, read_servers
from clptools.config.table import Source, Table, build, element, elements
from clptools.config.trap_profiles import read_profiles
from clptools.config.variants import Registries
from clptools.core.model.options import WatchdogOptions, read
from clptools.core.model.settings import Arbiter, Cluster, Interconnect, Monitor, Settings
from clptools.core.model.timing import Times, times
from clptools.core.model.words import Level
from clptools.faults import ClpError, ExitCode
from clptools.reports import Report, legible


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """`[alert]`: where alerts go beside the alert log and the system log.

    The core decides nothing by it, so it is not part of `Settings` (and so not of the journal).
    """

    level: Level = Level.ERROR
    """The lowest level of alerts that are passed on."""
    mail_to: tuple[str, ...] = ()
    mail_from: str = "clptools"
    smtp: str = "127.0.0.1:25"
    """`address[:port]` of the mail relay."""
    smtp_tls: str = "none"
    """`none`, `starttls`, or `tls` from the first byte on."""
    smtp_ca: str = ""
    """Certificate authority (PEM) of the relay; empty: those of the system."""
    smtp_user: str = ""
    """Empty: the relay asks for no login."""
    smtp_password_file: str = ""
    snmp_to: tuple[str, ...] = ()
    """Trap receivers, `address[:port]`, default port 162."""
    snmp_version: str = "2c"
    """Of the traps sent: `1` or `2c`."""
    snmp_community: str = "public"
    script: str = ""
    """Executable that is run for each alert; empty: none."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration as read."""

    settings: Settings | None
    """None where there is any error."""
    reports: tuple[Report, ...] = ()
    """Errors, warnings and notes, by line."""
    alert: Alert = Alert()
    text: str = ""
    """What was read."""
    file: str = ""

    @property
    def errors(self) -> tuple[Report, ...]:
        """The errors alone."""
        return tuple(report for report in self.reports if report.severity == "error")


def of_the_original(path: str) -> str:
    """What to do where a `clp.conf` lies in the place of a `clp.toml`; empty: none does."""
    folder = os.path.dirname(path) or "."
    if not os.path.isfile(os.path.join(folder, "clp.conf")):
        return ""
    return f"There is a clp.conf; translate it: clpcfctrl --import {folder} -x {folder}"


def load(path: str, registries: Registries) -> Loaded:
    """Read the configuration file at `path`.

    Raises ClpError (NOT_PERMITTED): a file that we may not read is no bad configuration.
    """
    try:
        raw = whole(path, MAX_BYTES)
    except PermissionError as fault:
        raise ClpError(
            ExitCode.NOT_PERMITTED,
            f"{path}: permission denied.",
            "Run it as root, or as a member of the group clptools.",
        ) from fault
    except OSError as fault:
        reason = (fault.strerror or "cannot be read").lower()
        hint = of_the_original(path) or "clpcfset makes one; see also examples/."
        if isinstance(fault, IsADirectoryError) or fault.errno == errno.EINVAL:
            hint = (
                f"Move it away (mv {path} {path}.away): the configuration is a file of that name."
            )
        elif not isinstance(fault, FileNotFoundError):
            hint = ""
        return _unreadable(path, f"{reason}.", hint)
    if raw.removeprefix(BOM.encode()).lstrip().startswith((b"<?xml", b"<root")):
        hint = f"Translate a clp.conf of EXPRESSCLUSTER: clpcfctrl --import {path}"
        return _unreadable(path, "not TOML: it is XML.", hint, 1)
    try:
        text = raw.decode()
    except UnicodeDecodeError as fault:
        # A line number means nothing in a file that is not text.
        line = 0 if b"\0" in raw else raw.count(b"\n", 0, fault.start) + 1
        message = f"not UTF-8 text: byte {fault.start + 1:,} is 0x{raw[fault.start]:02x}."
        return _unreadable(path, message, "Save it as UTF-8.", line)
    return loads(text, registries, path)


def _unreadable(file: str, message: str, hint: str = "", line: int = 0, text: str = "") -> Loaded:
    message = legible(message)
    report = Report(severity="error", message=message, hint=hint, file=file, line=line)
    return Loaded(settings=None, reports=(report,), file=file, text=text)


def loads(text: str, registries: Registries, file: str = "clp.toml") -> Loaded:
    """Read a configuration from its text; `file` is only for messages."""
    text = text.removeprefix(BOM)
    try:
        document = tomllib.loads(text)
        source = Source(file, Lines(text))
    except (tomllib.TOMLDecodeError, RecursionError) as fault:
        return _bad_syntax(text, file, fault)
    _check_tables(source, document)
    settings = _read(source, document, registries)
    alert = _read_alert(source, document)
    reports = sorted(source.reports, key=lambda report: report.line)
    return Loaded(
        settings=None if source.failed else settings,
        reports=tuple(reports),
        alert=alert,
        text=text,
        file=file,
    )


_PLACE = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)$")


def _bad_syntax(text: str, file: str, fault: Exception) -> Loaded:
    """One report: after a syntax error nothing that follows can be trusted."""
    if isinstance(fault, RecursionError):
        return _unreadable(file, "not TOML: nested too deeply.", line=1, text=text)
    said = str(fault)
    line = text.count("\n") + (not text.endswith("\n"))
    found = _PLACE.search(said)
    where = ""
    if found is not None:
        said = said[: found.start()].rstrip()
        if found[1]:
            line, where = int(found[1]), f", column {found[2]}"
    hint = "Text stands in quotes; tables are [name], lists of them [[name]]: see man clp.toml."
    message = f"not TOML: {said[:1].lower()}{said[1:]}{where}."
    return _unreadable(file, message, hint, max(line, 1), text)


def _check_tables(source: Source, document: dict[str, object]) -> None:
    for name in document:
        if name not in TABLES:
            message = f'configuration: unknown table "{name}".'
            source.say("error", (name,), name, message, near(name, TABLES))


def _read(source: Source, document: dict[str, object], registries: Registries) -> Settings:
    cluster = read_cluster(source, document)
    servers = with_fences(source, document, read_servers(source, document))
    names = tuple(server.name for server in servers)
    interconnects = read_interconnects(source, document, registries, cluster, servers)
    arbiters = read_arbiters(source, document, registries, cluster, names)
    server_groups = read_server_groups(source, document, names)
    groups = read_groups(source, document, registries, names, server_groups)
    around = KnownParts(
        servers=servers,
        groups=groups,
        server_groups=server_groups,
        suggestions=_suggestions(interconnects),
    )
    monitors = read_monitors(source, document, registries, around)
    _check_limits(source, document, cluster, arbiters, monitors)
    return Settings(
        cluster=cluster,
        servers=servers,
        interconnects=interconnects,
        arbiters=arbiters,
        forced_stop=read_forced_stop(source, document, servers),
        server_groups=server_groups,
        groups=groups,
        monitors=monitors,
        trap_profiles=read_profiles(source, document),
    )


def _suggestions(interconnects: tuple[Interconnect, ...]) -> dict[str, tuple[str, str]]:
    """For each server an address to which its BMC could send traps: its first one on a LAN."""
    found: dict[str, tuple[str, str]] = {}
    for index, link in enumerate(interconnects, 1):
        if link.is_lan:
            for server, address in link.addresses.items():
                found.setdefault(server, (address, f"interconnect {index}"))
    return found


def _read_alert(source: Source, document: dict[str, object]) -> Alert:
    table = element(source, document, "alert")
    alert = build(Alert, table.read(fields.ALERT))
    if alert.smtp_user and alert.smtp_tls == "none":
        table.error(
            "smtp_user",
            "the password would cross the network in the clear",
            'Write smtp_tls = "starttls" (or "tls"), as the relay wants it.',
        )
    if alert.smtp_user and not alert.smtp_password_file:
        table.error(
            "smtp_user",
            "smtp_password_file is missing",
            "Name the file with the password, mode 0400, on every server.",
        )
    return alert


# ---------------------------------------------------------------------- limits of two keys


SOFTDOG_STEP_MS = 1000
"""The Linux watchdog interface takes whole seconds (watchdog-api)."""
LEASE_BEATS = 8
"""Two heartbeats within the quarter of a lease that a candidate has."""
ARBITER_DEFAULT_MS = 1000
"""`interval` and `timeout` of an arbiter follow from the lease, up to this."""


def _check_limits(
    source: Source,
    document: dict[str, object],
    cluster: Cluster,
    arbiters: tuple[Arbiter, ...],
    monitors: tuple[Monitor, ...],
) -> None:
    """Note an error for every pair of keys that cannot work together."""
    table = element(source, document, "cluster")
    lengths = times(cluster)
    nps = [
        (np, arbiter)
        for np, arbiter in zip(elements(source, document, "np"), arbiters, strict=False)
        if arbiter.decides
    ]
    fits = lease_that_fits(cluster, (_asked_ms(np, arbiter) for np, arbiter in nps))
    _check_heartbeats(table, cluster, lengths)
    _check_leases(table, cluster, monitors, lengths, fits)
    for np, arbiter in nps:
        _check_arbiter(np, arbiter, cluster, fits)


def lease_that_fits(cluster: Cluster, asked_ms: Iterable[int] = ()) -> str:
    """The shortest `lease` that passes every check, in seconds as it is written.

    All checks suggest this one value; otherwise the mend of one would fail the next. `asked_ms` are
    the times within which each arbiter must be asked and answer.
    """
    beats = -(-LEASE_BEATS * cluster.heartbeat_interval_ms // 100)
    tenths = max(beats, *(ms // 100 + 1 for ms in (0, *asked_ms)))
    return f"{tenths / 10:g}"


def _asked_ms(np: Table, arbiter: Arbiter) -> int:
    """`interval` and `timeout` of an arbiter together; 0 where they follow from the lease."""
    given = {"interval": arbiter.interval_ms, "timeout": arbiter.timeout_ms}
    if not given.keys() & np.raw.keys():
        return 0
    return sum(ms if key in np.raw else ARBITER_DEFAULT_MS for key, ms in given.items())


def _seconds(ms: int) -> str:
    return f"{ms / 1000:g} s"


def _check_heartbeats(table: Table, cluster: Cluster, lengths: Times) -> None:
    interval = cluster.heartbeat_interval_ms
    if lengths.lost_ms <= lengths.missed_ms:
        table.say(
            "error",
            "heartbeat_timeout" if "heartbeat_timeout" in table.raw else "heartbeat_interval",
            f"heartbeat_timeout ({_seconds(lengths.lost_ms)}) must be longer than two missed "
            f"heartbeats: heartbeat_interval is {_seconds(interval)}",
            f"Raise heartbeat_timeout above {_seconds(lengths.missed_ms)}.",
        )


def _check_leases(
    table: Table, cluster: Cluster, monitors: tuple[Monitor, ...], lengths: Times, fits: str
) -> None:
    interval = cluster.heartbeat_interval_ms
    # Authority must outlast two lost answers; otherwise one lost datagram ends an office.
    if lengths.authority_ms <= 2 * interval:
        table.say(
            "error",
            "lease" if "lease" in table.raw else "heartbeat_interval",
            f"lease ({_seconds(cluster.lease_ms)}) must outlast two lost heartbeats and the "
            f"clocks' drift: heartbeat_interval is {_seconds(interval)}",
            f"Write lease = {fits} or more.",
        )
    method = next(
        (read(WatchdogOptions, m.options).method for m in monitors if m.type == "userw"), "none"
    )
    if method == "softdog" and lengths.watchdog_ms < SOFTDOG_STEP_MS:
        table.say(
            "error",
            "self_stop",
            f"self_stop ({_seconds(cluster.self_stop_ms)}) is too short for userw method "
            '"softdog", which counts whole seconds and must act within half of it',
            'Raise self_stop to 2.3 or more, or choose method "ipmi" or "guard".',
        )


def _check_arbiter(table: Table, arbiter: Arbiter, cluster: Cluster, fits: str) -> None:
    if arbiter.interval_ms + arbiter.timeout_ms >= cluster.lease_ms:
        table.say(
            "error",
            "interval" if "interval" in table.raw else "timeout",
            f"interval ({_seconds(arbiter.interval_ms)}) and timeout "
            f"({_seconds(arbiter.timeout_ms)}) together must stay below [cluster] lease "
            f"({_seconds(cluster.lease_ms)}), for which the arbiter's word holds",
            f"Lower them, or write lease = {fits} or more.",
        )
