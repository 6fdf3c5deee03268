"""`clp.toml` into the core's settings: strict, typed, all errors of one run at once.

Nothing here raises for a bad configuration: what is wrong comes back as reports, each with
file, line, key and mend, and the settings are None.
"""

from __future__ import annotations

import re
import tomllib

import msgspec

from clptools.config import fields_of_monitors as fields
from clptools.config.alerts import Alert
from clptools.config.field import near
from clptools.config.groups import read_groups
from clptools.config.limits import check_limits
from clptools.config.lines import Lines
from clptools.config.monitors import KnownParts, read_monitors
from clptools.config.servers import (
    read_arbiters,
    read_cluster,
    read_forced_stop,
    read_interconnects,
    read_server_groups,
    read_servers,
)
from clptools.config.table import Source, build, element
from clptools.config.trap_profiles import read_profiles
from clptools.config.variants import Registries
from clptools.core.model.settings import Interconnect, Settings
from clptools.faults import ClpError, ExitCode
from clptools.reports import Report

MAX_BYTES = 4 << 20
"""No cluster of 32 servers needs more; a device or a log given by mistake is refused."""
BOM = "\ufeff"
"""Some editors write it before the first character, and show it to nobody."""

TABLES = (
    "cluster", "server", "interconnect", "np", "forced_stop", "server_group", "group", "monitor",
    "alert", "trap_profile",
)  # fmt: skip


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


def load(path: str, registries: Registries) -> Loaded:
    """Read the configuration file at `path`.

    Raises ClpError (NOT_PERMITTED): a file that we may not read is no bad configuration.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except PermissionError as fault:
        raise ClpError(
            ExitCode.NOT_PERMITTED,
            f"{path}: permission denied.",
            "Run it as root, or as a member of the group clptools.",
        ) from fault
    except OSError as fault:
        reason = (fault.strerror or "cannot be read").lower()
        hint = "clpcfset makes one; see also examples/."
        if isinstance(fault, IsADirectoryError):
            hint = (
                f"Move it away (mv {path} {path}.away): the configuration is a file of that name."
            )
        return _unreadable(path, f"{reason}.", hint)
    if len(raw) > MAX_BYTES:
        return _unreadable(path, f"larger than {MAX_BYTES >> 20} MiB.")
    try:
        text = raw.decode()
    except UnicodeDecodeError as fault:
        # Line ends tell nothing in a file that is no text at all.
        line = 0 if b"\0" in raw else raw.count(b"\n", 0, fault.start) + 1
        message = f"not UTF-8 text: byte {fault.start + 1:,} is 0x{raw[fault.start]:02x}."
        return _unreadable(path, message, "Save it as UTF-8.", line)
    return loads(text, registries, path)


def _unreadable(file: str, message: str, hint: str = "", line: int = 0, text: str = "") -> Loaded:
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
    cluster = read_cluster(source, document, registries)
    servers = read_servers(source, document)
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
    check_limits(source, document, cluster, arbiters, monitors)
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
    """An address of each server that its BMC may send traps to: of the first LAN it is on."""
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
