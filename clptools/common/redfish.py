"""A Redfish service: JSON objects over a kept HTTPS connection, one request at a time.

Every byte of it is hostile: an answer may be 1 MiB long, must be a JSON object, and never leads to
another host.  The password goes out only after the certificate was found to be the right one.

Sources: DMTF DSP0266 1.20 (protocol; 13.3 HTTP Basic authentication), DSP2046 (resources).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import re
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from clptools.common.http import HttpError, Response
from clptools.common.http_client import KeptConnection, pinned_tls
from clptools.faults import ClpError

ROOT = "/redfish/v1/"
MAX_BODY_BYTES = 1_048_576
LINK_MS = 10_000
"""No BMC restarts, and answers again, in less: a connection that follows on an answer within this
leads to a service that has not restarted (docs/rules.md, *Out*)."""
REFUSED_MS = 60_000
"""How long a password that was refused is not shown again: BMCs lock accounts."""
_TEXT = 200
_PATH = re.compile(r"/[!-~]{0,1023}")
_numbers = itertools.count(1)

Json = dict[str, Any]


class RedfishError(Exception):
    """No answer that can be used; the text is the cause alone."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status
        """Of the service's own refusal; 0: there was none."""

    @property
    def is_credentials(self) -> bool:
        """Whether user and password are refused."""
        return self.status == 401


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Where a service is, by what it is known, and who we are to it."""

    address: str
    port: int
    user: str
    certificate: str = ""
    """`sha256:…` that it must show."""
    ca: str = ""
    """PEM file of the CA that must have signed it, where `certificate` is empty."""


class Service:
    """One service.  `password` raises ClpError; `now_ms` counts on through sleep."""

    def __init__(
        self, access: Access, password: Callable[[], str], now_ms: Callable[[], int]
    ) -> None:
        self.access = access
        self.session = ""
        """Name of the connections that followed on each other without a gap, see `LINK_MS`."""
        self.session_at = 0
        self._password = password
        self._now_ms = now_ms
        self._tls: ssl.SSLContext | None = None
        self._lock = asyncio.Lock()
        self._connection: KeptConnection | None = None
        self._answered_at: int | None = None
        self._refused = ""
        """A password that was refused."""
        self._refusal = ""
        """How."""
        self._refused_at = 0

    async def get(self, path: str, *, leaving: Callable[[], None] = lambda: None) -> Json:
        """A resource; `leaving` is called as the question leaves.

        Asked again once where a connection had been kept too long.  Raises RedfishError.
        """
        async with self._lock:
            kept = self._connection is not None and self._connection.usable
            try:
                return _object(await self._exchange("GET", path, b"", (), leaving))
            except RedfishError as error:
                if not kept or error.status:
                    raise
            return _object(await self._exchange("GET", path, b"", (), leaving))

    async def send(
        self, method: str, path: str, body: Json, headers: tuple[tuple[str, str], ...] = ()
    ) -> Response:
        """A change, sent once.  Raises RedfishError, also if it is refused."""
        async with self._lock:
            return _accepted(await self._exchange(method, path, msgspec.json.encode(body), headers))

    async def order(
        self, path: str, body: Json, until_ms: int, leaving: Callable[[], None]
    ) -> None:
        """A POST whose bytes leave by `until_ms` or never.  Raises RedfishError.

        It does not wait behind a question: then it has a connection for itself.
        """
        if self._lock.locked():
            lone = Service(self.access, self._password, self._now_ms)
            lone._tls = self._tls
            try:
                await lone.order(path, body, until_ms, leaving)
            finally:
                lone.close()
            return
        async with self._lock:
            connection = await self._connected()
            left_ms = until_ms - self._now_ms()
            if left_ms <= 0:
                raise RedfishError("not sent: it would have come too late")
            connection.never_late(left_ms)
            try:
                data = msgspec.json.encode(body)
                _accepted(await self._exchange("POST", path, data, (), leaving))
            finally:
                self.close()  # its kernel gives up too soon for questions

    async def stream(
        self, path: str, headers: tuple[tuple[str, str], ...]
    ) -> tuple[KeptConnection, AsyncIterator[bytes]]:
        """Server-sent events on a connection of their own, which the caller closes.

        Raises RedfishError; the iterator raises HttpError.
        """
        connection = await self._open()
        try:
            wanted = (("Accept", "text/event-stream"), *self._authorization(), *headers)
            head, pieces = await connection.stream(_checked(path), wanted)
            if head.status != 200:
                raise RedfishError(_refusal(head), head.status)
            if not head.header("content-type").lower().startswith("text/event-stream"):
                raise RedfishError(f"no event stream ({_kind(head)})")
        except HttpError as error:
            connection.close()
            raise RedfishError(str(error)) from None
        except BaseException:
            connection.close()
            raise
        return connection, pieces

    def close(self) -> None:
        """The connection ends at once; what was asked is given up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: tuple[tuple[str, str], ...],
        leaving: Callable[[], None] = lambda: None,
    ) -> Response:
        connection = await self._connected()
        lines = [
            ("Accept", "application/json"),
            # Without this some services compress whatever is asked for.
            ("Accept-Encoding", "identity"),
            ("OData-Version", "4.0"),
            *self._authorization(),
        ]
        if body:
            lines.append(("Content-Type", "application/json"))
        asked_at, new = self._now_ms(), not connection.used
        leaving()
        try:
            answer = await connection.request(
                method, _checked(path), body=body, headers=[*lines, *headers], most=MAX_BODY_BYTES
            )
        except HttpError as error:
            raise RedfishError(str(error)) from None
        self._link(asked_at, new)
        if answer.status == 401:
            self._refused, self._refused_at = self._password(), self._answered_at or 0
            self._refusal = _refusal(answer)
        return answer

    def _link(self, asked_at: int, new: bool) -> None:
        """Note the answer, and whether this session still follows on what was told before."""
        last, self._answered_at = self._answered_at, self._now_ms()
        if new and (last is None or asked_at - last > LINK_MS):
            self.session = f"{self.access.address}/{next(_numbers)}/{self._answered_at}"
            self.session_at = self._answered_at

    async def _connected(self) -> KeptConnection:
        if self._connection is None or not self._connection.usable:
            self.close()
            self._connection = await self._open()
        return self._connection

    async def _open(self) -> KeptConnection:
        access = self.access
        try:
            if self._tls is None:
                self._tls = pinned_tls(access.certificate, access.ca)
            return await KeptConnection.open(
                access.address, access.port, self._tls, access.certificate
            )
        except HttpError as error:
            raise RedfishError(str(error)) from None
        except ClpError as fault:
            raise RedfishError(fault.message) from None

    def _authorization(self) -> tuple[tuple[str, str], ...]:
        try:
            password = self._password()
        except ClpError as fault:
            raise RedfishError(fault.message) from None
        if password == self._refused and self._now_ms() - self._refused_at < REFUSED_MS:
            raise RedfishError(self._refusal, 401)
        pair = f"{self.access.user}:{password}"
        return (("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"),)


# ---------------------------------------------------------------------- what is found there


def link(resource: Json, *names: str) -> str:
    """The path that a resource gives under these names; empty: it gives none that can be used."""
    found: object = resource
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, dict):
        found = found.get("@odata.id", found.get("target"))
    return path_of(found)


def links(resource: Json, *names: str) -> list[str]:
    """The same of a list of links, `Members` say."""
    found: object = resource
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    rows = found if isinstance(found, list) else []
    paths = (path_of(row.get("@odata.id")) for row in rows if isinstance(row, dict))
    return [path for path in paths if path]


def path_of(value: object) -> str:
    """The path of a link or URL; the host that it may name is not believed."""
    if not isinstance(value, str) or len(value) > 1024:
        return ""
    with contextlib.suppress(ValueError):
        parts = urlsplit(value)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        return path if _PATH.fullmatch(path) else ""
    return ""


def text_of(value: object, most: int = _TEXT) -> str:
    """A text for people, whatever it was; empty: it was none."""
    if not isinstance(value, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in value[:most]).strip()


async def system_path(service: Service, wanted: str) -> str:
    """The path of the system called `wanted`, or of the only one.  Raises RedfishError."""
    root = await service.get(ROOT)
    found = links(await service.get(link(root, "Systems") or f"{ROOT}Systems"), "Members")
    named = {path.rstrip("/").rpartition("/")[2]: path for path in found}
    if wanted:
        path = named.get(wanted, wanted if wanted in found else "")
        if not path:
            raise RedfishError(f"it has no system {wanted}, but {_names(named)}")
        return path
    if len(found) != 1:
        text = f"it has {len(found)} systems: {_names(named)}" if found else "it has no system"
        raise RedfishError(f"{text}; [server.bmc] system names the one that is meant")
    return found[0]


async def submit_test_event(service: Service, word: str) -> None:
    """Lets the service itself send an event that says `word` to all who listen.

    Raises RedfishError.  Source: DSP2046, EventService, SubmitTestEvent; what iDRAC 8, iLO 4 and 5
    and Supermicro take, from people who use them (docs/bmc.md).
    """
    root = await service.get(ROOT)
    path = link(root, "EventService")
    if not path:
        raise RedfishError("it has no EventService")
    events = await service.get(path)
    target = next(
        filter(None, (link(events, "Actions", name, "target") for name in _TEST_ACTIONS)), ""
    )
    if not target:
        raise RedfishError("its EventService has no SubmitTestEvent")
    full: Json = {
        "EventId": word,
        "EventType": "Alert",
        "Message": f"{TEST_TEXT} {word}",
        "MessageArgs": [word],
        "MessageId": TEST_MESSAGE,
        "Severity": "OK",
    }
    # Each service takes other parameters, and refuses what it does not know.
    less = {key: full[key] for key in ("EventId", "Message", "MessageId", "Severity")}
    hpe: Json = {
        "EventTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "EventType": "Alert",
        "Message": full["Message"],
        "MessageArgs": [],
        "OriginOfCondition": "/redfish/v1/Systems/1",
        "Severity": "OK",
    }
    last = RedfishError("it takes no test event")
    for body in (
        full,
        less,
        hpe | {"EventId": word, "MessageId": _HPE_MESSAGE},
        hpe | {"EventID": word, "MessageID": _HPE_MESSAGE},
        {"EventType": "Alert"},
        {"MessageId": TEST_MESSAGE},
        {"MessageId": _DELL_MESSAGE},
        {},
    ):
        try:
            await service.send("POST", target, body)
        except RedfishError as error:
            if error.status not in (400, 422):
                raise
            last = error
        else:
            return
    raise last


_REFUSED = (
    "it refuses user and password (401{}); it is asked again after "
    f"{REFUSED_MS // 1000} s, or with another password"
)
TEST_TEXT = "clptools test"
TEST_MESSAGE = "ResourceEvent.1.2.1.TestMessage"
_HPE_MESSAGE = "iLOEvents.2.1.ServerPoweredOff"
"""Only what is in its registry is taken; a row makes it news."""
_DELL_MESSAGE = "USR0030"
_TEST_ACTIONS = ("#EventService.SubmitTestEvent", "#EventService.SendTestEvent")
"""The second is Supermicro's."""


def _names(named: Json) -> str:
    return ", ".join(text_of(name, 40) for name in list(named)[:8]) or "none"


def _checked(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise RedfishError("it names no path that can be asked for")
    return path


def _object(answer: Response) -> Json:
    """The JSON object in an answer, or RedfishError."""
    if answer.status != 200:
        raise RedfishError(_refusal(answer), answer.status)
    try:
        found = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RedfishError(f"its answer is no JSON ({_kind(answer)})") from None
    if not isinstance(found, dict):
        raise RedfishError("its answer is no JSON object")
    return found


def _accepted(answer: Response) -> Response:
    if answer.status not in (200, 201, 202, 204):
        raise RedfishError(_refusal(answer), answer.status)
    return answer


def _refusal(answer: Response) -> str:
    said, message = _said(answer.body)
    if answer.status == 401:
        return _REFUSED.format(f": {said}" if "lock" in said.lower() else "")
    if message.endswith(".PasswordChangeRequired"):
        return f"the password of the account must be changed first ({answer.status})"
    if answer.status == 403:
        return "the account lacks the privilege (403)"
    if 300 <= answer.status < 400:
        where = text_of(answer.header("location"), 80)
        return f"it redirects to {where or 'nowhere'} ({answer.status}), which is not followed"
    if answer.status in (429, 503):
        return f"BMC busy ({answer.status}{': ' + said if 'session' in said.lower() else ''})"
    return f"refused ({answer.status}{': ' + said if said else ''})"


def _said(body: bytes) -> tuple[str, str]:
    """The first message of an error object (DSP0266, 8.6), and its name."""
    with contextlib.suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        found = msgspec.json.decode(body)
        error = found.get("error") if isinstance(found, dict) else None
        if isinstance(error, dict):
            more = error.get("@Message.ExtendedInfo")
            first = more[0] if isinstance(more, list) and more else None
            named = first if isinstance(first, dict) else {}
            said = text_of(named.get("Message")) or text_of(error.get("message"))
            return said, text_of(named.get("MessageId"))
    return "", ""


def _kind(answer: Response) -> str:
    return text_of(answer.header("content-type"), 40) or "no content type"
