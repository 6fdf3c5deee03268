"""Who is told of what: mail by a real dialogue, traps read by another decoder, scripts run."""

from __future__ import annotations

import asyncio
import base64
import datetime
import email
import ipaddress
import socket
import ssl
import time
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from clptools.agent import alerts as alerts_module
from clptools.agent.alerts import QUEUE, Alerts, Outbox, passes
from clptools.agent.notices import AlertsWait
from clptools.agent.records import Records
from clptools.api.messages import EventRecord
from clptools.config.load import Alert
from clptools.core.model.actions import Record
from clptools.intake import snmp
from clptools.resources.script import ScriptRunner
from tests.conftest import BUSY_S, LIMIT_S, until
from tests.noticed import Noticed


def record(
    text: str = "it broke", level: str = "ERROR", kind: tuple[str, int] = ("rm", 15)
) -> EventRecord:
    return EventRecord(
        cursor="c",
        time=time.time(),
        server="server1",
        module=kind[0],
        event_id=kind[1],
        level=level,
        text=text,
        subjects=("failover1", "server1"),
    )


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setattr(alerts_module, "GATHER_S", 0.2)
    monkeypatch.setattr(alerts_module, "RETRY_S", 0.1)
    return tmp_path


class Relay:
    """A mail relay: what an SMTP client needs of RFC 5321, STARTTLS and AUTH PLAIN."""

    def __init__(self, context: ssl.SSLContext | None = None, wrap: bool = False) -> None:
        self.mails: list[Message] = []
        self.to: list[list[str]] = []
        self.encrypted: list[bool] = []
        self.logins: list[str] = []
        self.refuse = False
        self._context = context
        self._wrap = wrap

    async def __aenter__(self) -> Relay:
        context = self._context if self._wrap else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to: list[str] = []

        async def say(text: str) -> None:
            writer.write(text.encode() + b"\r\n")
            await writer.drain()

        await say("554 not today" if self.refuse else "220 relay")
        while line := (await reader.readline()).decode().strip():
            word = line.upper()
            if word.startswith("EHLO"):
                await say("250-relay\r\n250-STARTTLS\r\n250 AUTH PLAIN")
            elif word == "STARTTLS" and self._context is not None:
                await say("220 go")
                await writer.start_tls(self._context)
            elif word.startswith("AUTH PLAIN"):
                self.logins.append(base64.b64decode(line.split()[2]).decode())
                await say("235 ok")
            elif word.startswith("RCPT"):
                to.append(line.partition(":")[2].strip("<>"))
                await say("250 ok")
            elif word == "DATA":
                await say("354 go")
                data = (await reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n")
                self.to.append(to)
                self.encrypted.append(writer.get_extra_info("ssl_object") is not None)
                self.mails.append(email.message_from_bytes(data))
                await say("250 ok")
            else:
                await say("221 bye" if word == "QUIT" else "250 ok")
        writer.close()


def told(**keys: Any) -> tuple[Alerts, Noticed]:
    complaints = Noticed()
    made = Alerts(ScriptRunner(log=lambda *_: None), complaints.take)
    made.apply("cluster", Alert(**keys))
    return made, complaints


def text_of(mail: Message) -> str:
    payload = mail.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("level", ["INFO", "WARN", "ERROR"])
def test_a_level_passes_itself_and_what_is_worse(level: str) -> None:
    order = ["INFO", "WARN", "ERROR"]
    for other in order:
        assert passes(record(level=other), level) == (order.index(other) >= order.index(level))


@pytest.mark.parametrize("kind", [("nm", 2), ("mm", 905), ("rm", 9), ("rc", 42), ("rc", 433)])
def test_the_default_set_passes_whatever_its_level(kind: tuple[str, int]) -> None:
    assert passes(record(level="INFO", kind=kind), "ERROR")


def test_that_an_alert_failed_is_no_alert() -> None:
    assert not passes(record(level="ERROR", kind=("pm", 940)), "INFO")


async def test_alerts_of_one_incident_are_one_mail() -> None:
    async with Relay() as relay:
        made, complaints = told(
            mail_to=("ops@example.org", "boss@example.org"),
            mail_from="clp@example.org",
            smtp=relay.address,
        )
        made.add(record("server2 was reset\r\nBcc: evil@example.org", "WARN", ("rc", 433)))
        made.add(record("failover1 does not start: größer"))
        made.add(record("a mere remark", "INFO"))
        await until(lambda: relay.mails)
        await made.close()
    mail = relay.mails[0]
    assert relay.to == [["ops@example.org", "boss@example.org"]]
    subject = str(email.header.make_header(email.header.decode_header(mail["Subject"])))
    assert subject.replace("\n", "") == (
        "[cluster] ERROR server1: failover1 does not start: größer (and 1 more)"
    )
    assert mail["Bcc"] is None
    assert mail["From"] == "clp@example.org"
    body = text_of(mail)
    assert "server1 rc 433: server2 was reset Bcc: evil@example.org\n" in body
    assert "failover1 does not start: größer" in body
    assert "a mere remark" not in body
    assert "clpstat --explain failover1" in body
    assert not complaints


def online(group: str = "failover1") -> EventRecord:
    return EventRecord(
        **{**as_dict(record(f"server1 has started {group}", "INFO", ("rc", 11))),
           "code": "GroupOnline", "subjects": (group, "server1")}
    )  # fmt: skip


async def test_after_trouble_each_group_that_is_online_again_is_told_once() -> None:
    async with Relay() as relay:
        made, _ = told(mail_to=("ops@example.org",), smtp=relay.address)
        made.add(online("failover0"))  # as at a start of the cluster
        made.heard(record("mrw1 on server2 went Normal -> Error"))
        made.add(online())
        made.add(online())
        made.add(online("failover2"))
        await until(lambda: relay.mails)
        await made.close()
    [mail] = relay.mails
    lines = [line for line in text_of(mail).splitlines() if "has started" in line]
    assert [line.split()[-1] for line in lines] == ["failover0", "failover1", "failover2"]
    # The default sender is a name alone; relays want a domain.
    name, _, domain = mail["From"].partition("@")
    assert name == "clptools"
    assert domain


async def test_without_trouble_a_group_that_starts_is_no_alert() -> None:
    async with Relay() as relay:
        made, _ = told(mail_to=("ops@example.org",), smtp=relay.address)
        made.add(online())
        made.heard(record("a mere remark", "INFO"))
        made.add(online())
        await made.close()
    assert not relay.mails


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay")])
    now = datetime.datetime.now(datetime.UTC)
    own = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(own, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "relay.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    both = folder / "both.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    both.write_bytes(pem.read_bytes() + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return pem, context


@pytest.mark.parametrize("how", ["tls", "starttls"])
async def test_with_tls_the_login_and_the_mail_go_encrypted(how: str, tmp_path: Path) -> None:
    pem, context = certificate(tmp_path)
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    password.chmod(0o400)

    async with Relay(context, wrap=how == "tls") as relay:
        made, complaints = told(
            mail_to=("ops@example.org",),
            smtp=relay.address,
            smtp_tls=how,
            smtp_ca=str(pem),
            smtp_user="clp",
            smtp_password_file=str(password),
        )
        made.add(record())
        await until(lambda: relay.mails or complaints)
        await made.close()
    assert not complaints
    assert relay.encrypted == [True]
    assert relay.logins == ["\0clp\0s3cret"]


async def test_a_relay_whose_certificate_is_not_trusted_gets_nothing(tmp_path: Path) -> None:
    _, context = certificate(tmp_path)

    async with Relay(context, wrap=True) as relay:
        made, complaints = told(mail_to=("ops@example.org",), smtp=relay.address, smtp_tls="tls")
        made.add(record())
        await until(lambda: complaints)
        await made.close()
    assert "certificate" in complaints[0]
    assert not relay.mails


async def test_a_relay_that_refuses_costs_one_line_and_gets_the_mail_later() -> None:
    async with Relay() as relay:
        relay.refuse = True
        made, complaints = told(mail_to=("ops@example.org",), smtp=relay.address)
        for n in range(QUEUE + 3):
            made.add(record(f"fault {n}"))
        await until(lambda: complaints)
        await asyncio.sleep(0.5)
        assert complaints.kinds == [AlertsWait]
        assert f"{QUEUE} alerts wait, 3 are lost." in complaints[0]
        relay.refuse = False
        await until(lambda: relay.mails)
        await made.close()


async def test_an_alert_that_cannot_be_told_is_said_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alerts_module, "RETRY_S", 0.01)

    sent: list[str] = []
    complaints = Noticed()

    async def send(records: tuple[EventRecord, ...]) -> None:
        if any(each.text == "bad" for each in records):
            raise ValueError("chr() arg not in range")
        sent.extend(each.text for each in records)

    outbox = Outbox("alert mail", send, complaints.take)
    for text in ("bad", "one", "two"):
        outbox.put(record(text))
    await until(lambda: sent == ["one", "two"])
    outbox.put(record("three"))
    await until(lambda: sent == ["one", "two", "three"])
    outbox.close()
    assert complaints == ["alert mail: chr() arg not in range; 3 alerts wait."]
    assert "; 1 alert waits." in AlertsWait("alert mail", "no", 1, 0).sentence("server1")
    assert [each.message for each in caplog.records] == ["alert mail failed"]


async def test_a_relay_that_says_nothing_holds_up_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.setblocking(False)
            trap_to = f"127.0.0.1:{receiver.getsockname()[1]}"
            made, _ = told(mail_to=("ops@example.org",), smtp=address, snmp_to=(trap_to,))
            made.add(record())
            loop = asyncio.get_running_loop()
            assert await asyncio.wait_for(loop.sock_recv(receiver, 4096), LIMIT_S)
            begun = loop.time()
            await made.close()
            assert loop.time() - begun < alerts_module.LAST_S + BUSY_S


async def trap(**keys: Any) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        made, _ = told(snmp_to=(f"127.0.0.1:{receiver.getsockname()[1]}",), **keys)
        made.add(record("mrw1 is in Error: CPU 1 IERR " + "x" * 5000, kind=("mm", 905)))
        data = await asyncio.get_running_loop().sock_recv(receiver, 65535)
        await made.close()
        return data


@pytest.mark.parametrize("version", ["1", "2c"])
async def test_a_trap_is_one_for_another_decoder_too(version: str) -> None:
    from pyasn1.codec.ber import decoder
    from pysnmp.proto import api

    data = await trap(snmp_version=version, snmp_community="mine")
    assert len(data) < 1400
    module = api.PROTOCOL_MODULES[api.SNMP_VERSION_1 if version == "1" else api.SNMP_VERSION_2C]
    message, rest = decoder.decode(data, asn1Spec=module.Message())
    assert not rest
    assert bytes(module.apiMessage.get_community(message)) == b"mine"
    pdu = module.apiMessage.get_pdu(message)
    api_pdu = module.apiTrapPDU
    binds = [(str(oid), value.prettyPrint()) for oid, value in api_pdu.get_varbinds(pdu)]
    arc = "1.3.6.1.4.1.8072.9999.9999.29002.2"
    if version == "1":
        assert str(api_pdu.get_enterprise(pdu)) == arc
        assert int(api_pdu.get_specific_trap(pdu)) == 1
        assert api_pdu.get_agent_address(pdu).prettyPrint() == "127.0.0.1"
    else:
        assert binds[1] == ("1.3.6.1.6.3.1.1.4.1.0", f"{arc}.0.1")
        binds = binds[2:]
    assert binds[:5] == [
        (f"{arc}.1", "cluster"),
        (f"{arc}.2", "server1"),
        (f"{arc}.3", "mm"),
        (f"{arc}.4", "905"),
        (f"{arc}.5", "ERROR"),
    ]
    assert binds[5][1].startswith("mrw1 is in Error: CPU 1 IERR")
    own = snmp.decode(data)
    assert isinstance(own, snmp.Trap)
    assert own.oid == f"{arc}.0.1"


async def test_the_script_gets_each_alert_once_and_in_order(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = tmp_path / "tell.sh"
    script.write_text(
        f'#!/bin/sh\necho "$CLP_EVENT $CLP_SERVER $CLP_LEVEL $CLP_MODULE $CLP_EVENT_ID '
        f'$CLP_MESSAGE" >>{out}\nexit 3\n'
    )
    script.chmod(0o700)

    made, complaints = told(script=str(script))
    for n in range(3):
        made.add(record(f"fault\n{n}"))
    await until(lambda: out.exists() and out.read_text().count("\n") == 3)
    await made.close()
    assert out.read_text().splitlines() == [
        f"ALERT server1 ERROR rm 15 fault {n}" for n in range(3)
    ]
    assert not complaints


async def test_a_script_that_is_not_there_is_said(tmp_path: Path) -> None:
    made, complaints = told(script=str(tmp_path / "none.sh"))
    made.add(record())
    await until(lambda: complaints)
    await made.close()
    assert "none.sh" in complaints[0]


async def test_records_of_peers_are_theirs_to_tell() -> None:
    from concurrent.futures import ThreadPoolExecutor

    told_of: list[str] = []
    story = Records("server1", "abc", ThreadPoolExecutor(1))
    story.on_own = lambda own: told_of.append(own.text)
    story.merge([EventRecord(**{**as_dict(record("theirs")), "server": "server2"})])
    story.add(Record(module="rm", event_id=15, level="ERROR", subjects=(), text="ours"))
    assert told_of == ["ours"]
    await story.close()


def as_dict(kept: EventRecord) -> dict[str, Any]:
    return {name: getattr(kept, name) for name in kept.__struct_fields__}
