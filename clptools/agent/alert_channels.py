"""What alerts leave by: mail, SNMP traps, and the script of `[alert]`."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import TYPE_CHECKING

from clptools.agent import clock
from clptools.agent.records import one_line
from clptools.api.messages import EventRecord
from clptools.common.threads import in_daemon_thread
from clptools.config.address import endpoint
from clptools.config.files import read_secret
from clptools.config.load import Alert
from clptools.core.model.words import Level
from clptools.faults import ClpError
from clptools.intake import ber, snmp
from clptools.resources.operations import product_environment
from clptools.resources.script import Script, ScriptRunner

if TYPE_CHECKING:
    from smtplib import SMTP

STEP_S = 10.0
"""Each step of the dialogue with the relay."""
WHOLE_S = 60.0
_SUBJECT = 120
_PORTS = {"tls": 465, "starttls": 587, "none": 25}
ARC = "1.3.6.1.4.1.8072.9999.9999.29002.2"
PORT = 162
_SPECIFIC = 1
_ENTERPRISE_SPECIFIC = 6
_TEXT_BYTES = 1_024
"""The datagram stays below the least MTU."""
_PACE_S = 0.01
SCRIPT_TIMEOUT_MS = 60_000


def with_domain(sender: str) -> str:
    """An address that relays accept: a name without a domain gets that of this host.

    May ask the name service, so call it in a thread.
    """
    return sender if "@" in sender else f"{sender}@{socket.getfqdn()}"


class Mail:
    """The mail relay of `[alert]`; all alerts that came together make one mail.

    smtplib blocks and a relay may hang, so the dialogue runs in a thread of its own.
    """

    def __init__(self, cluster: str, alert: Alert) -> None:
        self._cluster = cluster
        self._alert = alert
        self._relay = endpoint(alert.smtp, _PORTS[alert.smtp_tls])
        self.name = f"alert mail by {alert.smtp}"
        self._sending: asyncio.Future[None] | None = None

    async def send(self, records: tuple[EventRecord, ...]) -> None:
        """Hand one mail to the relay.  Raises OSError (all of smtplib's faults) or ClpError."""
        if self._sending is not None and not self._sending.done():
            raise TimeoutError(f"the relay still holds the dialogue of {WHOLE_S:g} s ago")
        self._sending = in_daemon_thread("alert mail", lambda: self._send(records))
        async with asyncio.timeout(WHOLE_S):
            await asyncio.shield(self._sending)

    def _send(self, records: tuple[EventRecord, ...]) -> None:
        try:
            self._deliver(records)
        except (OSError, ClpError):
            raise
        except Exception as fault:
            raise OSError(f"{type(fault).__name__}: {fault}") from fault

    def _deliver(self, records: tuple[EventRecord, ...]) -> None:
        from email.message import EmailMessage
        from email.utils import formatdate, make_msgid

        first = next((record for record in records if record.level == Level.ERROR), records[0])
        more = f" (and {len(records) - 1} more)" if len(records) > 1 else ""
        text = one_line(first.text)[:_SUBJECT]
        mail = EmailMessage()
        mail["Subject"] = f"[{self._cluster}] {first.level} {first.server}: {text}{more}"
        mail["From"] = with_domain(self._alert.mail_from)
        mail["To"] = ", ".join(self._alert.mail_to)
        mail["Date"] = formatdate()
        mail["Message-ID"] = make_msgid(domain=f"{first.server}.clptools.invalid")
        mail["Auto-Submitted"] = "auto-generated"
        lines = [
            f"{clock.local_stamp(record.time)} {record.level:<5} {record.server} "
            f"{record.module} {record.event_id}: {one_line(record.text)}"
            for record in records
        ]
        subjects = dict.fromkeys(name for record in records for name in record.subjects)
        asks = [f"clpstat --explain {name}" for name in subjects][:3]
        mail.set_content("\n".join([*lines, "", "Why, on any of the servers:", *asks]) + "\n")
        with self._connect() as smtp:
            smtp.send_message(mail)

    def _connect(self) -> SMTP:
        import smtplib
        import ssl

        alert = self._alert
        host, port = self._relay
        if alert.smtp_tls == "none":
            return smtplib.SMTP(host, port, timeout=STEP_S)
        context = ssl.create_default_context(cafile=alert.smtp_ca or None)
        if alert.smtp_tls == "tls":
            smtp: SMTP = smtplib.SMTP_SSL(host, port, timeout=STEP_S, context=context)
        else:
            smtp = smtplib.SMTP(host, port, timeout=STEP_S)
            smtp.starttls(context=context)
        if alert.smtp_user:
            mend = "Write the password of smtp_user into it, mode 0400."
            secret = read_secret(alert.smtp_password_file, mend)
            smtp.login(alert.smtp_user, secret.decode("utf-8", "replace").strip("\n"))
        return smtp


class Traps:
    """One trap receiver, of SNMP v1 (RFC 1157) or v2c (RFC 3416).

    There is no enterprise number of clptools: the arc is below net-snmp's for private experiments,
    `1.3.6.1.4.1.8072.9999.9999.29002.2`.  Trap 1 carries, as octets but for the id: .1 cluster,
    .2 server, .3 module, .4 event id, .5 level, .6 text, .7 local time.
    """

    def __init__(self, cluster: str, receiver: str, alert: Alert) -> None:
        self.name = f"alert traps to {receiver}"
        self._cluster = cluster
        self._address = endpoint(receiver, PORT)
        self._community = alert.snmp_community.encode()
        self._v1 = alert.snmp_version == "1"
        self._ids = itertools.count(1)

    async def send(self, records: tuple[EventRecord, ...]) -> None:
        """Send a trap for each.  Raises OSError; UDP does not tell whether it arrived."""
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


class AlertScript:
    """The script of `[alert]`: one run for each alert, one after the other."""

    def __init__(self, path: str, scripts: ScriptRunner) -> None:
        self.name = f"alert script {path}"
        self._path = path
        self._scripts = scripts

    async def send(self, records: tuple[EventRecord, ...]) -> None:
        """Run it for each; its exit status is only logged."""
        for record in records:
            await self._scripts.run(
                Script(
                    name=self.name,
                    path=self._path,
                    timeout_ms=SCRIPT_TIMEOUT_MS,
                    environment=product_environment()
                    | {
                        "CLP_EVENT": "ALERT",
                        "CLP_SERVER": record.server,
                        "CLP_LEVEL": record.level,
                        "CLP_MODULE": record.module,
                        "CLP_EVENT_ID": str(record.event_id),
                        "CLP_TIME": f"{record.time:.3f}",
                        "CLP_MESSAGE": one_line(record.text),
                    },
                )
            )
