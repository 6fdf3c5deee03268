"""Mail and SNMP of a `clp.conf` as `[alert]`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from clptools.config.address import canonical
from clptools.config.clpconf import Node
from clptools.config.original import Grade, NotCarried

Became = tuple[Node, str, NotCarried | None]
"""Leaf, its tag path, why it is not carried."""

SMTP_PORT, SNMP_PORT = "25", "162"
_ACCOUNT = (
    "a login at the relay needs encryption here: set alert.smtp_tls, smtp_user and "
    "smtp_password_file"
)


def alerts(root: Node, found: dict[str, Any]) -> Iterator[Became]:
    """Sets `alert` where there is something to set, and says what became of each leaf."""
    alert: dict[str, Any] = {}
    became = [*_mail(root, alert), *_snmp(root, alert)]
    if alert:
        found["alert"] = alert
    yield from became


def _literal(host: str) -> bool:
    try:
        canonical(host)
    except ValueError:
        return False
    return True


def _endpoint(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _mail(root: Node, alert: dict[str, Any]) -> Iterator[Became]:
    address = root.find("cluster/mail/address")
    if address is not None and address.text:
        alert["mail_to"] = list(dict.fromkeys(re.split(r"[\s,;]+", address.text)))
        yield address, "cluster/mail/address", None
    servers = [
        (f"{path}/{one.step}", one)
        for path in ("cluster/mail/smtp", "cluster/mail", "mail/smtp", "mail")
        if (holder := root.find(path)) is not None
        for one in sorted(holder.all("smtpsrv"), key=lambda one: one.number("priority"))
    ]
    for place, (before, server) in enumerate(servers):
        for tag, leaf in server.leaves():
            yield leaf, f"{before}/{tag}", _of_relay(server, tag, leaf, alert, place)


def _of_relay(
    server: Node, tag: str, leaf: Node, alert: dict[str, Any], place: int
) -> NotCarried | None:
    """What one leaf of a relay means; the first relay counts."""
    if place:
        return NotCarried("one relay is asked: alert.smtp", Grade.DECISION)
    host = server.value("srvname")
    if tag == "srvname" and leaf.text:
        if not _literal(host):
            return NotCarried("a relay is given by its address here: alert.smtp", Grade.DECISION)
        alert["smtp"] = _endpoint(host, server.value("port", SMTP_PORT))
    elif tag == "senderaddress" and leaf.text:
        alert["mail_from"] = leaf.text
    elif tag == "auth" and leaf.text not in ("", "0", "1"):
        return NotCarried("that code has no equivalent")
    elif tag == "priority" and leaf.text and not leaf.text.isdecimal():
        return NotCarried("it is no number: it counts as 0")
    elif tag in ("auth", "authmethod", "username", "passwd") and server.value("auth") == "1":
        return NotCarried(_ACCOUNT, Grade.DECISION)
    elif tag not in ("priority", "port", "auth", "authmethod", "username", "passwd", "srvname",
                     "senderaddress"):  # fmt: skip
        return NotCarried("there is no equivalent")
    return None


def _snmp(root: Node, alert: dict[str, Any]) -> Iterator[Became]:
    holder = root.find("cluster/trap")
    servers = holder.all("snmpsrv") if holder is not None else []
    first = servers[0] if servers else None
    for server in servers:
        assert first is not None
        for tag, leaf in server.leaves():
            yield (
                leaf,
                f"cluster/trap/{server.step}/{tag}",
                _of_receiver(server, first, tag, leaf, alert),
            )


def _of_receiver(
    server: Node, first: Node, tag: str, leaf: Node, alert: dict[str, Any]
) -> NotCarried | None:
    """What one leaf of a receiver of traps means; all have one version and community here."""
    if tag == "srvname" and leaf.text:
        if not _literal(leaf.text):
            reason = "a receiver is given by its address here: alert.snmp_to"
            return NotCarried(reason, Grade.DECISION)
        where = _endpoint(leaf.text, server.value("port", SNMP_PORT))
        alert["snmp_to"] = list(dict.fromkeys([*alert.get("snmp_to", ()), where]))
    elif tag in ("snmpver", "snmpcom"):
        if leaf.text != first.value(tag):
            return NotCarried("all receivers have that of the first one here", Grade.DECISION)
        key, value = ("snmp_version", leaf.text.removeprefix("v")) if tag == "snmpver" else (
            "snmp_community", leaf.text
        )  # fmt: skip
        if tag == "snmpver" and value not in ("1", "2c"):
            return NotCarried("traps are sent as v1 or v2c")
        if value:
            alert[key] = value
    elif tag not in ("port", "srvname"):
        return NotCarried("there is no equivalent")
    return None
