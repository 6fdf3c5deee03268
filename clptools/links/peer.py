"""The control channel: TLS connections between all servers, over every LAN interconnect.

Each server listens on its address of every LAN interconnect and dials the others on each; of a
pair the one that is configured first dials first, and any open connection serves both ways.
The certificate's common name is the sender.  Notices and requests are opaque here, except that
they decode as the types handed in; a caller from outside the cluster may ask only for `outside`
types.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from clptools.core.model.settings import Interconnect, Settings
from clptools.core.notices.form import Notice
from clptools.faults import ClpError, ExitCode
from clptools.links.connection import (
    ENDS,
    MAX_FRAME_BYTES,
    MAX_OUTSIDE_BYTES,
    Connection,
    Frame,
    FrameError,
    counted_as,
    why_not_connected,
)
from clptools.links.credentials import (
    OUTSIDE,
    Identity,
    common_name,
    context,
    is_outside,
    secret_name,
)
from clptools.links.delivery import Delivery, Dispatch, Handlers
from clptools.links.notices import PeerConnected, PeerLost
from clptools.links.sockets import Listener, Places, plain, shake

DEFAULT_PORT = 29002
"""Listened on at every address by an agent that has no configuration yet."""

_DIAL_TIMEOUT_S = 3.0
_DIAL_FIRST_S, _DIAL_MOST_S = 0.2, 2.0
_SECOND_DIALS_AFTER_S = 1.0
_MAX_OUTSIDERS = 8
_MAX_UNKNOWN_PEERS = 4

R = TypeVar("R")


class PeerChannel:
    """All control connections of this server."""

    def __init__(
        self,
        server: str,
        identities: Callable[[], Awaitable[tuple[Identity, ...]]],
        handlers: Handlers,
        *,
        on_connected: Callable[[str], None],
        on_change: Callable[[Notice], None],
    ) -> None:
        """`identities` waits for this server's certificates, first the one that it shows.

        `on_connected(peer)`: the first path to a peer opened; `on_change(notice)`: a line for the
        alert log.
        """
        self._server = server
        self._identities = identities
        self._on_denied = handlers.on_denied
        self._on_connected = on_connected
        self._on_change = on_change
        self.counters: Counter[str] = Counter()
        self._dispatch = Dispatch(server, handlers, self.counters, self._track)
        self._session = os.urandom(8).hex()
        self._settings: Settings | None = None
        self._peers: dict[str, Delivery] = {}
        self._numbers: dict[str, int] = {}
        """Of the last message to each peer that was forgotten: a peer that comes back would take a
        number that it has seen for a repetition."""
        self._open: dict[tuple[str, str], list[Connection]] = {}
        """(peer, interconnect) -> its connections."""
        self._listeners: dict[tuple[str, str, int], asyncio.Task[None]] = {}
        self._dialers: dict[tuple[str, str, str, str, int], asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._places = Places()
        self._outsiders = 0
        self._server_tls: ssl.SSLContext | None = None
        self._client_tls: ssl.SSLContext | None = None

    # life

    async def start(self, settings: Settings | None) -> None:
        """Listens and dials, once this server's certificates are minted.  Raises ClpError.

        Without settings it listens on every address at `DEFAULT_PORT`, for a first push.
        """
        self.use(await self._identities())
        self.apply(settings)
        await asyncio.sleep(0)  # the listeners bind in their first step

    def use(self, identities: tuple[Identity, ...]) -> None:
        """Shows the first identity, and trusts all, in connections that are opened from now on."""
        self._server_tls = context(*identities, serving=True)
        self._client_tls = context(*identities, serving=False)

    def open_anew(self) -> None:
        """Ends every connection: they open again at once, and lose nothing."""
        for connections in self._open.values():
            for connection in connections:
                connection.close()

    def apply(self, settings: Settings | None) -> None:
        """Listens and dials as `settings` say; connections that they keep stay open."""
        self._settings = settings
        for (_, link), connections in self._open.items():
            for connection in connections:
                connection.priority = self._priority(link)
        self._listen(settings)
        names = set(settings.names) - {self._server} if settings else set(self._peers)
        self._dial(settings, names)
        for name in [name for name in self._peers if name not in names]:
            self._forget(name)

    def introduce(self, settings: Settings) -> None:
        """Also dials the servers that only `settings` name, until the next `apply`.

        One without a configuration yet listens at `DEFAULT_PORT`, whatever they say.
        """
        names = set(settings.names) - {self._server}
        self._dial(settings, names, (settings.cluster.port, DEFAULT_PORT))

    async def close(self) -> None:
        """Ends every connection and request."""
        tasks = [*self._listeners.values(), *self._dialers.values(), *self._tasks]
        for task in tasks:
            task.cancel()
        for name in list(self._peers):
            self._forget(name)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listeners.clear()
        self._dialers.clear()

    def _forget(self, name: str) -> None:
        for (peer, _), connections in self._open.items():
            if peer == name:
                for connection in connections:
                    connection.close()
        self._let_go(name)

    def _met(self, name: str) -> Delivery:
        peer = self._peers.get(name)
        if peer is None:
            number = self._numbers.pop(name, 0)
            peer = self._peers[name] = Delivery(name, self.counters, number)
        return peer

    def _let_go(self, name: str) -> None:
        peer = self._peers.pop(name, None)
        if peer is not None:
            self._numbers[name] = peer.number
            peer.close()

    # use

    @property
    def connected(self) -> tuple[str, ...]:
        """The peers with an open path."""
        return tuple(name for name, peer in self._peers.items() if peer.paths)

    def paths(self, peer: str) -> tuple[str, ...]:
        """The interconnects over which `peer` is connected."""
        return tuple(link for (name, link), open_ in self._open.items() if name == peer and open_)

    def send(self, to: str, message: msgspec.Struct) -> None:
        """Sends a notice; what cannot be delivered within seconds is dropped and counted."""
        peer = self._peers.get(to)
        if peer is None:
            self.counters["no_such_peer"] += 1
        else:
            peer.say(msgspec.msgpack.encode(message))

    async def call(self, to: str, request: msgspec.Struct, reply: type[R], timeout_s: float) -> R:
        """Asks `to` and returns its reply, of type `reply`.

        Raises ClpError: as the peer answered, FAILED (cannot be reached), NO_SUCH or TIMED_OUT.
        """
        peer = self._peers.get(to)
        if peer is None:
            raise ClpError(ExitCode.NO_SUCH, f"no server {to} in this cluster")
        return await peer.ask(msgspec.msgpack.encode(request), reply, timeout_s)

    # listening

    def _listen(self, settings: Settings | None) -> None:
        wanted = {("any", "::", DEFAULT_PORT)}
        if settings is not None:
            wanted = {
                (path.name, path.addresses[self._server], settings.cluster.port)
                for path in settings.interconnects
                if path.is_lan and self._server in path.addresses
            }
            self._places.servers = frozenset(
                plain(there)
                for path in settings.interconnects
                if path.is_lan
                for there in path.addresses.values()
            )
        for key in [key for key in self._listeners if key not in wanted]:
            self._listeners.pop(key).cancel()
        for key in wanted - set(self._listeners):
            link, address, port = key
            welcome = functools.partial(self._arrived, link)
            self._listeners[key] = asyncio.get_running_loop().create_task(
                Listener(address, port).accept(welcome, self._on_change)
            )

    def _arrived(self, link: str, accepted: socket.socket, source: str) -> None:
        self._track(self._welcome(link, accepted, source))

    def _track(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _welcome(self, link: str, accepted: socket.socket, source: str) -> None:
        """Handshake and greeting of one that dialled us, then the conversation."""
        place = self._places.take(source)
        if place is None or self._server_tls is None:
            self.counters["busy"] += 1
            accepted.close()
            return
        try:
            reader, writer = await shake(accepted, self._server_tls)
            connection = await self._greeted(link, reader, writer)
        except ENDS as error:
            reason = counted_as(error)
            self.counters[reason] += 1
            if reason == "bad_certificate" and source not in self._places.servers:
                self._on_denied(source, "it does not have the cluster's key")
            return
        finally:
            self._places.give_back(place)
        await self._converse(link, connection, source)

    # dialling

    def _dial(
        self, settings: Settings | None, names: set[str], also_at: tuple[int, ...] = ()
    ) -> None:
        """Dials `names` as `settings` say.

        With `also_at`, those that are dialled already are left alone, and the rest is looked for
        at each of these ports.
        """
        wanted: dict[tuple[str, str, str, str, int], Interconnect] = {}
        if settings is not None:
            for path in settings.interconnects:
                own = path.addresses.get(self._server)
                for name in names if path.is_lan and own else ():
                    there = path.addresses.get(name)
                    if there:
                        for port in also_at or (settings.cluster.port,):
                            wanted[name, path.name, own or "", there, port] = path
        if not also_at:
            for key in [key for key in self._dialers if key not in wanted]:
                self._dialers.pop(key).cancel()
        order = settings.names if settings else ()
        for name in names:
            self._met(name)
        known = {key[:2] for key in self._dialers}
        for key in wanted:
            if key not in self._dialers and not (also_at and key[:2] in known):
                ours = order.index(self._server) if self._server in order else len(order)
                delay_s = 0.0 if ours < order.index(key[0]) else _SECOND_DIALS_AFTER_S
                self._dialers[key] = asyncio.get_running_loop().create_task(
                    self._keep_connected(*key, delay_s)
                )

    async def _keep_connected(
        self, name: str, link: str, own: str, there: str, port: int, delay_s: float
    ) -> None:
        wait_s = 0.0
        while True:
            await asyncio.sleep(delay_s + wait_s * random.uniform(0.75, 1.25))
            open_ = self._open.get((name, link))
            if open_:
                await open_[0].ended.wait()
                wait_s = 0.0
                continue
            try:
                async with asyncio.timeout(_DIAL_TIMEOUT_S):
                    reader, writer = await asyncio.open_connection(
                        there,
                        port,
                        ssl=self._client_tls,
                        local_addr=(own, 0),
                        ssl_shutdown_timeout=1.0,
                    )
                connection = await self._greeted(link, reader, writer, name)
            except ENDS as error:
                if name in self._peers:
                    self._peers[name].fault = f"{there} port {port}: {why_not_connected(error)}"
                wait_s = min(max(wait_s * 2, _DIAL_FIRST_S), _DIAL_MOST_S)
                continue
            await self._converse(link, connection, there)
            wait_s = _DIAL_FIRST_S

    # conversation

    async def _greeted(
        self,
        link: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        expected: str = "",
    ) -> Connection:
        """The connection after its first frames.  Raises what is in `ENDS`."""
        try:
            name = common_name(writer.get_extra_info("ssl_object"))
            if name == self._server:
                raise FrameError("own_name")
            if expected and name != expected:
                raise FrameError(f"it answers as {name}")
            limit = MAX_OUTSIDE_BYTES if is_outside(name) else MAX_FRAME_BYTES
            connection = Connection(reader, writer, name, self._priority(link), limit)
            await connection.greet(self._session)
        except BaseException:
            writer.transport.abort()
            raise
        return connection

    def _priority(self, link: str) -> int:
        links = self._settings.interconnects if self._settings else ()
        return next((n for n, path in enumerate(links) if path.name == link), len(links))

    async def _converse(self, link: str, connection: Connection, source: str) -> None:
        """Serves a greeted connection to its end, whatever that is."""
        try:
            if is_outside(connection.peer):
                await self._serve_outsider(connection, source)
            else:
                await self._serve_peer(link, connection)
        except FrameError as error:
            self.counters[error.reason] += 1
        except ENDS:
            self.counters["connections_ended"] += 1
        finally:
            connection.close()

    async def _serve_peer(self, link: str, connection: Connection) -> None:
        name = connection.peer
        peer = self._peers.get(name)
        if peer is None:
            # Not in our configuration, or we have none: it may push one.
            if sum(not self._configured(each) for each in self._peers) >= _MAX_UNKNOWN_PEERS:
                raise FrameError("busy")
            peer = self._met(name)
        first = not peer.paths
        here = self._open.setdefault((name, link), [])
        here.append(connection)
        peer.opened(connection, connection.session)
        try:
            if first:
                self._on_change(PeerConnected(name, link))
                self._on_connected(name)
            await connection.listen(lambda frame: self._take(peer, connection, frame))
        finally:
            here.remove(connection)
            peer.closed(connection)
            if not peer.paths:
                self._on_change(PeerLost(name))
                if not self._configured(name) and all(key[0] != name for key in self._dialers):
                    self._let_go(name)

    def _configured(self, name: str) -> bool:
        return self._settings is not None and name in self._settings.names

    def _take(self, peer: Delivery, connection: Connection, frame: Frame) -> None:
        heeded = self._settings is None or self._configured(peer.peer)
        self._dispatch.take(peer, connection, connection.session, frame, heeded)

    async def _serve_outsider(self, connection: Connection, source: str) -> None:
        if self._outsiders >= _MAX_OUTSIDERS:
            raise FrameError("busy")
        self._outsiders += 1
        caller = Delivery(OUTSIDE, self.counters, source=source)
        name = secret_name(connection.peer)
        if name and self._settings is not None and name in self._settings.cluster.revoked:
            caller.barred = f"its secret {name} is revoked"
        caller.opened(connection, connection.session)
        try:
            await connection.listen(lambda frame: self._take(caller, connection, frame))
        finally:
            self._outsiders -= 1
            caller.closed(connection)
            caller.close()
