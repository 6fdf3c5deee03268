"""Alerts as mail: one for all that came together, by the relay of `[alert]`.

smtplib blocks, so it runs in a thread of its own; a daemon, so that a relay that hangs does not
hold up the agent's end.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from clptools.agent import clock
from clptools.agent.records import one_line
from clptools.api.backend import EventRecord
from clptools.config.address import endpoint
from clptools.config.files import read_secret
from clptools.config.load import Alert
from clptools.faults import ClpError

if TYPE_CHECKING:
    from smtplib import SMTP

STEP_S = 10.0
"""Each step of the dialogue with the relay."""
WHOLE_S = 60.0
_SUBJECT = 120
_PORTS = {"tls": 465, "starttls": 587, "none": 25}


class Mail:
    """The mail relay."""

    def __init__(self, cluster: str, alert: Alert) -> None:
        self._cluster = cluster
        self._alert = alert
        self._relay = endpoint(alert.smtp, _PORTS[alert.smtp_tls])
        self.name = f"alert mail by {alert.smtp}"
        self._thread: threading.Thread | None = None

    async def send(self, records: tuple[EventRecord, ...]) -> None:
        """Hand one mail to the relay.  Raises OSError (smtplib's faults are) or ClpError."""
        if self._thread is not None and self._thread.is_alive():
            raise TimeoutError(f"the relay still holds the dialogue of {WHOLE_S:g} s ago")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def tell(error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def work() -> None:
            error: BaseException | None = None
            try:
                self._deliver(records)
            except (OSError, ClpError) as fault:
                error = fault
            except Exception as fault:
                error = OSError(f"{type(fault).__name__}: {fault}")
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell, error)

        self._thread = threading.Thread(target=work, name="alert mail", daemon=True)
        self._thread.start()
        async with asyncio.timeout(WHOLE_S):
            await done

    def _deliver(self, records: tuple[EventRecord, ...]) -> None:
        from email.message import EmailMessage
        from email.utils import formatdate, make_msgid

        first = next((record for record in records if record.level == "ERROR"), records[0])
        more = f" (and {len(records) - 1} more)" if len(records) > 1 else ""
        text = one_line(first.text)[:_SUBJECT]
        mail = EmailMessage()
        mail["Subject"] = f"[{self._cluster}] {first.level} {first.server}: {text}{more}"
        mail["From"] = self._alert.mail_from
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
