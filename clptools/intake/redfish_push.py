"""Events that a Redfish service sends by itself: as a stream on our connection, or pushed to us.

Sources: DMTF DSP2046, EventDestination 1.15; server-sent events, WHATWG HTML, 9.2.6.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterator

from clptools.common.http import HttpError, Request, Response
from clptools.common.redfish import Json, RedfishError, text_of

_TYPES = ["StatusChange", "ResourceUpdated", "ResourceAdded", "ResourceRemoved", "Alert"]

EVENT_BYTES = 1_048_576
"""Of one event."""
LINE_BYTES = 64
"""What one more line costs, also an empty one."""


def subscriptions(destination: str, context: str, service: Json) -> Iterator[Json]:
    """Bodies that ask for events, one after the other until a service takes one.

    iLO 5 wants event types, newer services refuse them.  Many verify the certificate, which they
    cannot know, unless they are told not to; others refuse to be told.
    """
    base: Json = {"Destination": destination, "Context": context, "Protocol": "Redfish"}
    newer = base | {"SubscriptionType": "RedfishEvent", "EventFormatType": "Event"}
    known = service.get("RegistryPrefixes")
    yield newer | {"VerifyCertificate": False}
    yield newer | ({"RegistryPrefixes": known} if isinstance(known, list) and known else {})
    yield base | {"EventTypes": _TYPES}
    yield base | {"EventTypes": ["Alert"]}
    yield base


async def subscribe(
    post: Callable[[str, Json], Awaitable[None]],
    path: str,
    destination: str,
    context: str,
    service: Json,
) -> None:
    """Makes a subscription in the first form that the service takes.  Raises RedfishError."""
    last = RedfishError("it takes no subscription")
    for body in subscriptions(destination, context, service):
        try:
            await post(path, body)
        except RedfishError as error:
            if not 400 <= error.status < 500 or error.status in (401, 403, 404):
                raise
            last = error
        else:
            return
    raise last


class PushHandler:
    """Takes what is posted to the secret path, and answers once it is durable."""

    def __init__(
        self,
        secret: str,
        take: Callable[[bytes], Awaitable[bool]],
        refused: Callable[[], None],
    ) -> None:
        self._secret = secret
        self._take = take
        self._refused = refused

    def room(self, request: Request) -> int:
        """How long the body may be.  Raises HttpError."""
        if not hmac.compare_digest(request.path.encode(), self._secret.encode()):
            self._refused()
            raise HttpError("no such path", 404)
        if request.method != "POST":
            raise HttpError("POST is wanted", 405)
        return EVENT_BYTES

    async def respond(self, request: Request) -> Response:
        """200 once it is kept, 503 where it could not be: the BMC shall try again.

        iLO 4 takes 204 for a failure, and ends the subscription after some.
        """
        kept = await self._take(request.body)
        return Response(status=200 if kept else 503, trusts=kept)


class StreamParser:
    """Gives what ended with each piece."""

    def __init__(self) -> None:
        self._rest = bytearray()
        """The line that has not ended yet.

        Each byte is searched once, however small the pieces are.
        """
        self._data: list[bytes] = []
        self._size = 0
        """Of the data, and of what keeping each line of it costs."""
        self._id = ""

    @property
    def inside(self) -> bool:
        """Whether an event has begun and not ended."""
        return bool(self._rest or self._data)

    def feed(self, piece: bytes) -> list[tuple[str, bytes]]:
        """(id, data) of the events that end in it.  Raises RedfishError: one is too long."""
        found: list[tuple[str, bytes]] = []
        lines = piece.split(b"\n")
        lines[0] = bytes(self._rest + lines[0]) if len(lines) > 1 else lines[0]
        if len(lines) > 1:
            self._rest.clear()
        self._rest += lines.pop()
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                if self._data:
                    found.append((self._id, b"\n".join(self._data)))
                self._data, self._size = [], 0
                continue
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                self._data.append(value)
                self._size += len(value) + LINE_BYTES
            elif name == b"id":
                self._id = text_of(value.decode("ascii", "ignore"), 128)
            if self._size > EVENT_BYTES:
                break
        if self._size + len(self._rest) > EVENT_BYTES:
            raise RedfishError("an event in it is too long")
        return found
