"""`[cluster] metrics`: the metrics by HTTP, on a loopback address or a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from clptools import paths
from clptools.agent.metrics import CONTENT_TYPE
from clptools.agent.notices import MetricsServed, MetricsUnserved
from clptools.common.http import HttpError, Request, Response, Server, cause
from clptools.config.address import endpoint
from clptools.core.notices.form import Notice

AGAIN_S = 5.0
"""How often a place that could not be had is tried again."""
_BODY_BYTES = 1024


class _Pages:
    """`/metrics`, and a line that says where it is."""

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text

    def room(self, request: Request) -> int:
        """No request has a body worth reading."""
        return _BODY_BYTES

    def respond(self, request: Request) -> Response:
        """The answer to a whole request.  Raises HttpError."""
        if request.method not in ("GET", "HEAD"):
            raise HttpError("read only", 405)
        path = request.path.partition("?")[0]
        if path == "/metrics":
            return Response(
                status=200, body=self._text().encode(), headers={"Content-Type": CONTENT_TYPE}
            )
        if path == "/":
            return Response(
                status=200,
                body=b"clptools: /metrics\n",
                headers={"Content-Type": "text/plain; charset=utf-8"},
            )
        raise HttpError("no such page", 404)


class MetricsServer:
    """Serves where the configuration in force says so, and tells when it cannot."""

    def __init__(self, text: Callable[[], str], note: Callable[[Notice], None]) -> None:
        self._pages = _Pages(text)
        self._note = note
        self._place = ""
        self._server: Server | None = None
        self._task: asyncio.Task[None] | None = None

    def apply(self, place: str) -> None:
        """`[cluster] metrics`; empty: nowhere."""
        if place != self._place:
            self._place = place
            before, self._task = self._task, None
            self._task = asyncio.get_running_loop().create_task(self._serve(place, before))

    async def close(self) -> None:
        """Serve no more."""
        self._place = ""
        await self._end(self._task)
        self._task = None

    async def _end(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._server is not None:
            server, self._server = self._server, None
            await server.close()

    async def _serve(self, place: str, before: asyncio.Task[None] | None) -> None:
        await self._end(before)
        told = ""
        while place:
            server = Server(self._pages)
            try:
                if place.startswith("/"):
                    await server.start_unix(place)
                else:
                    found = endpoint(place, 0)
                    await server.start(found.host, found.port)
            except OSError as error:
                if (why := cause(error)) != told:
                    told = why
                    self._note(MetricsUnserved(place, why, paths.config_dir()))
            else:
                self._server = server
                if told:
                    self._note(MetricsServed(place))
                return
            await asyncio.sleep(AGAIN_S)
