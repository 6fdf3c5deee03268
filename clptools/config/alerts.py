"""`[alert]`: who is told, beside the alert log and the system log.

The core decides nothing by it, so it is not part of `Settings` (and so not of the journal).
"""

from __future__ import annotations

import msgspec

from clptools.core.model.words import Level


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Destinations of alerts; all empty: only the logs."""

    level: Level = Level.ERROR
    """The least level that is passed on."""
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
