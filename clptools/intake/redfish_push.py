"""Events that a Redfish service pushes: what is asked for, and who takes them.

Source: DMTF DSP2046, EventDestination 1.15.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterator

from clptools.common.http import HttpError, Request, Response
from clptools.common.redfish import Json
from clptools.intake.event_stream import EVENT_BYTES

_TYPES = ["StatusChange", "ResourceUpdated", "ResourceAdded", "ResourceRemoved", "Alert"]


def subscriptions(destination: str, context: str, service: Json) -> Iterator[Json]:
    """Bodies that ask for events, one after the other until a service takes one.

    iLO 5 wants event types, newer services refuse them.  Many verify a certificate that they
    cannot know, unless they are told not to, and others refuse to be told.
    """
    base: Json = {"Destination": destination, "Context": context, "Protocol": "Redfish"}
    newer = base | {"SubscriptionType": "RedfishEvent", "EventFormatType": "Event"}
    known = service.get("RegistryPrefixes")
    yield newer | {"VerifyCertificate": False}
    yield newer | ({"RegistryPrefixes": known} if isinstance(known, list) and known else {})
    yield base | {"EventTypes": _TYPES}
    yield base | {"EventTypes": ["Alert"]}
    yield base


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
