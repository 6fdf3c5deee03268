"""Alerts as SNMP traps, v1 (RFC 1157) or v2c (RFC 3416).

There is no enterprise number of clptools: the arc is below net-snmp's for private experiments,
`1.3.6.1.4.1.8072.9999.9999.29002.2`.  Trap 1 carries, as octets but for the id: .1 cluster,
.2 server, .3 module, .4 event id, .5 level, .6 text, .7 local time.
"""

from __future__ import annotations

import asyncio
import itertools
import socket

from clptools.agent import clock
from clptools.agent.records import one_line
from clptools.api.backend import EventRecord
from clptools.config.address import endpoint
from clptools.config.load import Alert
from clptools.intake import ber, snmp

ARC = "1.3.6.1.4.1.8072.9999.9999.29002.2"
PORT = 162
_SPECIFIC = 1
_ENTERPRISE_SPECIFIC = 6
_TEXT_BYTES = 1_024
"""The datagram stays below the least MTU."""
_PACE_S = 0.01


class Traps:
    """One trap receiver."""

    def __init__(self, cluster: str, receiver: str, alert: Alert) -> None:
        self.name = f"alert traps to {receiver}"
        self._cluster = cluster
        self._address = endpoint(receiver, PORT)
        self._community = alert.snmp_community.encode()
        self._v1 = alert.snmp_version == "1"
        self._ids = itertools.count(1)

    async def send(self, records: tuple[EventRecord, ...]) -> None:
        """Send a trap for each.  Raises OSError; that nobody took it, UDP does not tell."""
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.connect((host, port))
            own = sock.getsockname()[0] if family == socket.AF_INET else "0.0.0.0"
            for record in records:
                sock.send(self._message(record, own))
                await asyncio.sleep(_PACE_S)

    def _message(self, record: EventRecord, own: str) -> bytes:
        ticks = ber.integer(clock.boot_ms() // 10 & 0xFFFFFFFF, ber.TIME_TICKS)
        binds = self._varbinds(record)
        if self._v1:
            pdu = ber.element(
                snmp.V1_TRAP,
                ber.oid(ARC),
                ber.element(ber.IP_ADDRESS, socket.inet_aton(own)),
                ber.integer(_ENTERPRISE_SPECIFIC),
                ber.integer(_SPECIFIC),
                ticks,
                ber.sequence(binds),
            )
        else:
            head = snmp.varbind(snmp.SYS_UPTIME, ticks)
            head += snmp.varbind(snmp.TRAP_OID, ber.oid(f"{ARC}.0.{_SPECIFIC}"))
            pdu = snmp.pdu(snmp.V2_TRAP, next(self._ids) & 0x7FFFFFFF, head + binds)
        return ber.sequence(ber.integer(0 if self._v1 else 1), ber.octets(self._community), pdu)

    def _varbinds(self, record: EventRecord) -> bytes:
        values: tuple[str | int, ...] = (
            self._cluster,
            record.server,
            record.module,
            record.event_id,
            record.level,
            one_line(record.text),
            clock.local_stamp(record.time),
        )
        return b"".join(
            snmp.varbind(
                f"{ARC}.{number}",
                ber.integer(value)
                if isinstance(value, int)
                else ber.octets(value.encode()[:_TEXT_BYTES]),
            )
            for number, value in enumerate(values, 1)
        )
