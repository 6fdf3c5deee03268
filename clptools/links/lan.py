"""LAN heartbeats (`lankhb`, `lanhb`): one UDP socket for each interconnect.

`LanHeartbeats` is what the agent holds: it signs a beat once and sends it on every
interconnect, and hands in what arrives authenticated, once for each path; also what is for a
third server, which the core passes on when two do not hear each other.
Nothing in here raises for what the network does: faults are counted, changes told in a line.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from clptools.core.model.events import HeartbeatRefused
from clptools.core.model.messages import Beat
from clptools.core.model.settings import Settings
from clptools.core.model.words import RefusedFor
from clptools.core.notices.form import Notice
from clptools.links import notices
from clptools.links.sockets import keep_trying, plain
from clptools.links.wire import MAX_FRAME_BYTES, DecodeError, Reason, Replays, Wire

RELAY = "relay"
"""Name of the path of a beat that came over a third server."""

REFUSED_S = 1.0
_REFUSALS = {
    Reason.BAD_MAC: RefusedFor.AUTHKEY,
    Reason.OTHER_CLUSTER: RefusedFor.CLUSTER,
    Reason.BAD_VERSION: RefusedFor.VERSION,
}

_TOS_LOW_DELAY = 0x10
_RECEIVE_BUFFER_BYTES = 1 << 20
_BATCH = 64
"""Datagrams read in one wake-up, so that a flood does not starve the rest of the agent."""


class LanLink:
    """One interconnect of this server: its socket, and where the servers are on it."""

    def __init__(
        self,
        name: str,
        address: str,
        port: int,
        addresses: dict[str, str],
        on_datagram: Callable[[str, bytes, str], None],
        on_change: Callable[[Notice], None],
    ) -> None:
        """`addresses`: of every server there.  `on_datagram(link, data, server)`: the sender by
        its address.  `on_change(notice)`: a line for the log when the link's state changes."""
        self.name = name
        self.address = address
        self.port = port
        self.addresses = addresses
        self.counters: Counter[str] = Counter()
        self._on_datagram = on_datagram
        self._on_change = on_change
        self._servers = {plain(there): server for server, there in addresses.items()}
        self._targets: dict[str, tuple[str, int] | tuple[str, int, int, int]] = {}
        self._socket: socket.socket | None = None
        self._opening: asyncio.Task[None] | None = None
        self._failing: dict[str, int] = {}

    @property
    def up(self) -> bool:
        """Whether the socket is bound to this server's address on the interconnect."""
        return self._socket is not None

    def start(self) -> None:
        """Binds the socket now, or as soon as the address is on this server."""
        try:
            self._open()
        except OSError as error:
            why = error.strerror or str(error)
            self._on_change(
                notices.LinkNotOpen(f"interconnect {self.name}", self.address, self.port, why)
            )
            self._opening = asyncio.get_running_loop().create_task(self._retry())

    def close(self) -> None:
        """Stops trying, closes the socket."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    async def _retry(self) -> None:
        await keep_trying(self._open)
        self._on_change(notices.LinkOpen(f"interconnect {self.name}", self.address))

    def _open(self) -> None:
        family, _, _, _, own = socket.getaddrinfo(
            self.address, self.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0]
        scope = own[3] if len(own) == 4 else 0
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _TOS_LOW_DELAY)
            else:
                opened.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _TOS_LOW_DELAY)
                # What is sent to an earlier version may exceed the path's MTU: fragment it.
                opened.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
            opened.bind(own)
        except OSError:
            opened.close()
            raise
        for server, there in self.addresses.items():
            bare = there.partition("%")[0]
            self._targets[server] = (
                (bare, self.port, 0, scope) if family == socket.AF_INET6 else (bare, self.port)
            )
        self._socket = opened
        asyncio.get_running_loop().add_reader(opened, self._readable)

    def send(self, server: str, datagram: bytes) -> None:
        """Sends to `server`; failures are counted, and reported when they begin and end."""
        target = self._targets.get(server)
        if self._socket is None or target is None:
            self.counters["not_sent"] += 1
            return
        try:
            self._socket.sendto(datagram, target)
        except OSError as error:
            code = error.errno or errno.EIO
            self.counters["send_failed"] += 1
            if self._failing.get(server) != code:
                self._failing[server] = code
                why = os.strerror(code)
                self._on_change(notices.SendFails(self.name, server, target[0], why))
            return
        if self._failing.pop(server, None) is not None:
            self._on_change(notices.SendsAgain(self.name, server))

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._socket is None:
                return
            try:
                data, source = self._socket.recvfrom(MAX_FRAME_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                self.counters["receive_failed"] += 1
                return
            server = self._servers.get(source[0].partition("%")[0])
            if server is None:
                self.counters[Reason.BAD_SOURCE] += 1
            else:
                self._on_datagram(self.name, data, server)


# Linux values of <linux/in.h>; the socket module lacks them before Python 3.13.
_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_DONT = 0


class Carrier(Protocol):
    """A path of another kind that carries the same datagrams."""

    counters: Counter[str]

    def send(self, server: str, datagram: bytes, page: bool) -> None:
        """Sends to `server`; may be lost.  `page`: not a beat, so it replaces none."""


class LanHeartbeats:
    """All LAN interconnects of this server."""

    def __init__(
        self,
        server: str,
        keys: tuple[bytes, ...],
        on_beat: Callable[[str, Beat], None],
        on_change: Callable[[Notice], None],
        on_refused: Callable[[HeartbeatRefused], None],
    ) -> None:
        """`keys`: as of `Wire`.

        `on_beat(link, beat)`: authenticated and fresh; link is `RELAY` for one that a third
        server passed on, or that is to be passed on.  `on_change(notice)`: a line for the log.
        `on_refused`: from a server's address come datagrams that are none of this cluster.
        """
        self._server = server
        self._keys = keys
        self._on_beat = on_beat
        self._on_change = on_change
        self._on_refused = on_refused
        self._refused_at: dict[str, float] = {}
        """Server -> when it was last told of (the loop's clock)."""
        self._wire: Wire | None = None
        self._settings: Settings | None = None
        self._replays = Replays()
        self._names: frozenset[str] = frozenset()
        self._links: dict[str, LanLink] = {}
        self._counters: Counter[str] = Counter()
        self.others: tuple[Carrier, ...] = ()
        """Paths of other kinds; what they bring is handed to `arrived`."""

    def apply(self, settings: Settings) -> None:
        """Opens, keeps and closes links so that they are those of `settings`."""
        self._settings = settings
        self._wire = Wire(settings.cluster.name, self._keys, settings.names)
        self._names = frozenset(settings.names)
        wanted: dict[str, tuple[str, int, dict[str, str]]] = {}
        for path in settings.interconnects:
            own = path.addresses.get(self._server)
            if path.is_lan and own is not None:
                wanted[path.name] = (own, settings.cluster.port, path.addresses)
        for name, link in list(self._links.items()):
            if wanted.get(name) != (link.address, link.port, link.addresses):
                link.close()
                self._counters.update(link.counters)
                del self._links[name]
        ordered = {}
        for name, (own, port, addresses) in wanted.items():
            kept = self._links.get(name)
            if kept is None:
                kept = LanLink(name, own, port, addresses, self.arrived, self._on_change)
                kept.start()
            ordered[name] = kept
        self._links = ordered

    def use(self, keys: tuple[bytes, ...]) -> None:
        """From now on these keys count; the first one signs."""
        self._keys = keys
        if self._settings is not None:
            self._wire = Wire(self._settings.cluster.name, keys, self._settings.names)

    def close(self) -> None:
        """Closes every link."""
        for link in self._links.values():
            link.close()
        self._links = {}

    @property
    def up(self) -> dict[str, bool]:
        """Interconnect -> whether its socket is bound, in order of priority."""
        return {name: link.up for name, link in self._links.items()}

    @property
    def counters(self) -> Counter[str]:
        """Datagrams received, and dropped by reason, since the agent started."""
        total = Counter(self._counters)
        for link in self._links.values():
            total.update(link.counters)
        for other in self.others:
            total.update(other.counters)
        return total

    def send(self, beat: Beat, via: str = "") -> None:
        """Sends `beat` on every interconnect, to `beat.to` or to `via`, which relays it."""
        if self._wire is None:
            return
        try:
            datagram = self._wire.encode(beat)
        except DecodeError:
            self._counters["too_long_to_send"] += 1
            return
        for link in self._links.values():
            link.send(via or beat.to, datagram)
        for other in self.others:
            other.send(via or beat.to, datagram, bool(beat.page))

    def arrived(self, link: str, data: bytes, source: str) -> None:
        """A datagram came from the server `source` on `link`; a bad one is counted."""
        assert self._wire is not None, "links exist only after apply()"
        self._counters["received"] += 1
        try:
            beat = self._wire.decode(data)
            if beat.sender not in self._names:
                raise DecodeError(Reason.UNKNOWN_SENDER)
            if beat.sender == self._server:
                # Another agent under our name: the core says so.
                self._counters[Reason.OWN_NAME] += 1
            relayed = source != beat.sender
            passing = beat.to != self._server
            if passing and (relayed or beat.to not in self._names):
                # Passing on what was passed on already could go round for ever.
                raise DecodeError(Reason.NOT_FOR_US)
            # Over a third server each interconnect brings a copy, of which one is enough.
            path = RELAY if relayed or passing else link
            if not self._replays.fresh(path, beat.sender, beat.incarnation, beat.seq):
                raise DecodeError(Reason.COPY if path == RELAY else Reason.REPLAYED)
        except DecodeError as error:
            self._counters[error.reason] += 1
            if error.reason in _REFUSALS and link in self._links:
                self._refused(link, source, _REFUSALS[error.reason])
            return
        self._on_beat(path, beat)

    def _refused(self, link: str, server: str, why: RefusedFor) -> None:
        """Reports it at most once a second per server, since anybody can send such datagrams."""
        now = asyncio.get_running_loop().time()
        if now - self._refused_at.get(server, -REFUSED_S) >= REFUSED_S:
            self._refused_at[server] = now
            address = self._links[link].addresses[server]
            self._on_refused(HeartbeatRefused(server=server, address=address, why=why))
