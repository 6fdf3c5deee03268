"""What the agent needs of a configuration and the core does not.

It is kept out of `Settings` because the settings are written to the journal: community
strings are as good as passwords there.  The keys of SNMPv3 users are not even here: they lie
in `paths.snmp_key_file(user)`.
"""

from __future__ import annotations

import msgspec


class SnmpUser(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[monitor.snmpv3_user]]`: who may send traps by SNMPv3 (USM, RFC 3414)."""

    name: str
    auth: str = "SHA-256"
    """`MD5`, `SHA`, `SHA-224`, `SHA-256`, `SHA-384`, `SHA-512` or `none`."""
    priv: str = "AES-128"
    """`DES`, `AES-128`, `AES-192`, `AES-256` or `none`."""
    engine_id: str = ""
    """The BMC's engine id in hex; empty: learnt from its first authentic message."""


class TrapSource(msgspec.Struct, frozen=True, kw_only=True):
    """Whose traps a BMCNOTICE monitor accepts, beside the check of their source address."""

    communities: tuple[str, ...] = ("public",)
    users: tuple[SnmpUser, ...] = ()


class TrapProfile(msgspec.Struct, frozen=True, kw_only=True):
    """`[[trap_profile]]`: rows that override the classes of PET events."""

    name: str
    manufacturers: tuple[int, ...] = ()
    """IANA enterprise numbers it is for; empty: all."""
    rows: dict[str, str] = {}
    """`SENSOR/EVENT/OFFSET` as `0Ch/6F/5` -> event class."""
    specifics: dict[str, str] = {}
    """A whole specific-trap number, in decimal -> event class."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """`[alert]`: who is told, beside the alert log and the system log."""

    level: str = "ERROR"
    """The least level that is passed on: `INFO`, `WARN` or `ERROR`."""
    mail_to: tuple[str, ...] = ()
    mail_from: str = "clptools"
    smtp: str = "127.0.0.1:25"
    snmp_to: tuple[str, ...] = ()
    """Trap receivers, `address[:port]`, default port 162."""
    snmp_community: str = "public"
    script: str = ""
    """Executable that is run for each alert; empty: none."""


class Extras(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    sources: dict[str, TrapSource] = {}
    """BMCNOTICE monitor -> whose traps it accepts."""
    profiles: tuple[TrapProfile, ...] = ()
    alert: Alert = Alert()
