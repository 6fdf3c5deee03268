"""One keyword address: the UDP sockets at which a BMC's traps arrive.

Its own BMC has a socket and a queue in the kernel for itself, so have servers of the cluster, and
so has everybody else (`steer.py`).  The first is read as fast as it fills; of the others a few at a
time.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from clptools.config.address import Endpoint
from clptools.intake import snmp
from clptools.intake.match import Admission, Counters
from clptools.intake.steer import Drops, roomy, share, steer
from clptools.intake.usm import Usm

RECEIVE_BUFFER = 16 * 1024 * 1024
"""For the own BMC: five seconds of 8,000 PETs a second, as loopback counts their memory."""
OTHER_BUFFER = 256 * 1024
READ_S = 0.005
"""After this long the loop gets its turn again; the kernel's queue holds the rest."""
BATCH = 32
PAUSE_S = 0.02
"""After a whole batch of datagrams from others than the BMC none is looked at for this long."""
DROPS_S = 1.0
"""How often the kernel's counts are read, beside whenever somebody looks."""
RETRY_MS = 2_000
"""Between attempts to bind an address that is not there, or is taken."""

OnDatagram = Callable[["Listener", bytes, bool, tuple[str, int]], None]
"""Listener, datagram, whether it was cut, sender."""
OnBind = Callable[[Endpoint, str, bool], None]
"""Address, sentence, whether it is heard at now."""


class Listener:
    """One keyword address: its sockets, and the attempts to get them."""

    def __init__(
        self,
        admission: Admission,
        usm: Usm | None,
        counters: Counters,
        on_datagram: OnDatagram,
        on_bind: OnBind,
    ) -> None:
        self.admission = admission
        self.usm = usm
        self.fault = ""
        """Why it does not hear; empty: it does."""
        self._counters = counters
        self._on_datagram = on_datagram
        self._on_bind = on_bind
        self._socket: socket.socket | None = None
        self._others: tuple[socket.socket, ...] = ()
        """Servers' and foreign; none where the kernel cannot tell: then all come to the first."""
        self._drops: list[tuple[str, Drops]] = []
        """Counters, and each socket's drops that they count."""
        self._timers: dict[object, asyncio.TimerHandle] = {}
        self._loop = asyncio.get_running_loop()

    def open(self) -> None:
        """Binds the address; if that fails, says why once and tries again and again."""
        address = self.admission.address
        try:
            sock = _bound(address)
        except OSError as error:
            fault = _bind_fault(error)
            if fault != self.fault:
                self.fault = fault
                self._on_bind(address, fault, False)
            self._later("open", RETRY_MS / 1000, self.open)
            return
        if self.fault:
            self.fault = ""
            self._on_bind(address, "traps are received now", True)
        self._socket = sock
        self._others = _beside(sock, self.admission)
        self._drops = [("kernel_dropped", Drops(sock))]
        self._drops += [("foreign_dropped", Drops(other)) for other in self._others]
        self._loop.add_reader(sock.fileno(), self._readable)
        for other in self._others:
            self._loop.add_reader(other.fileno(), self._other_readable, other)
        self._count_on()

    def admit(self, admission: Admission, usm: Usm | None) -> None:
        """Takes changed settings for its address."""
        before, self.admission, self.usm = self.admission, admission, usm
        if _places(before) != _places(admission) and self._socket is not None and self._others:
            steer(self._socket, *_places(admission))

    def count_drops(self) -> None:
        """Brings what the kernel dropped into the counters, exact at this moment."""
        for name, drops in self._drops:
            self._counters.count(name, drops.more())

    def stop_reading(self) -> None:
        """No datagram is read from now on; answers can still be sent."""
        for timer in self._timers.values():
            timer.cancel()
        for sock in self._sockets():
            self._loop.remove_reader(sock.fileno())

    def close(self) -> None:
        """Gives the address back."""
        self.stop_reading()
        self.count_drops()
        self._drops.clear()
        for sock in self._sockets():
            sock.close()
        self._socket, self._others = None, ()

    def send(self, data: bytes, peer: tuple[str, int]) -> None:
        """Sends an answer; one that cannot be sent is like one that is lost on the way."""
        if self._socket is not None:
            try:
                self._socket.sendto(data, peer)
            except OSError:
                return

    def _sockets(self) -> tuple[socket.socket, ...]:
        return self._others if self._socket is None else (self._socket, *self._others)

    def _later(self, what: object, delay_s: float, call: Callable[[], None]) -> None:
        self._timers[what] = self._loop.call_later(delay_s, call)

    def _count_on(self) -> None:
        self.count_drops()
        self._later("count", DROPS_S, self._count_on)

    def _readable(self) -> None:
        until = self._loop.time() + READ_S
        while self._socket is not None and self._read(self._socket):
            if self._loop.time() >= until:
                return

    def _other_readable(self, sock: socket.socket) -> None:
        for _ in range(BATCH):
            if sock.fileno() < 0 or not self._read(sock):
                return
        self._loop.remove_reader(sock.fileno())
        self._later(sock, PAUSE_S, lambda: self._read_again(sock))

    def _read_again(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            self._loop.add_reader(sock.fileno(), self._other_readable, sock)

    def _read(self, sock: socket.socket) -> bool:
        """Hands one datagram on; False: none is left."""
        try:
            data, _, flags, peer = sock.recvmsg(snmp.MESSAGE_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            # ICMP errors of answers that were sent arrive here; nothing is lost by them.
            return True
        self._on_datagram(self, data, bool(flags & socket.MSG_TRUNC), peer)
        return True


def _socket(address: Endpoint, room: int) -> socket.socket:
    """An unbound socket for `address` with a receive buffer of `room`.  Raises OSError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    roomy(sock, room)
    return sock


def _bound(address: Endpoint) -> socket.socket:
    """A socket that hears at `address`, where nobody else does.  Raises OSError."""
    sock = _socket(address, RECEIVE_BUFFER)
    try:
        # getaddrinfo on a literal address never asks a name server; it reads the zone.
        target = socket.getaddrinfo(
            *address, sock.family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST
        )
        sock.bind(target[0][4])
    except OSError:
        sock.close()
        raise
    return sock


def _beside(own: socket.socket, admission: Admission) -> tuple[socket.socket, ...]:
    """Sockets at the address of `own`, for servers of the cluster and for all others."""
    name = own.getsockname()
    others: list[socket.socket] = []
    try:
        # Only now that it is bound: until here it found out whether another program has it.
        share(own)
        for _ in range(2):
            others.append(_socket(Endpoint(name[0], name[1]), OTHER_BUFFER))
            share(others[-1])
            others[-1].bind(name)
        if steer(own, *_places(admission)):
            return tuple(others)
    except OSError:
        pass  # out of file handles, or an old kernel: one socket hears as well, unprotected
    for other in others:
        other.close()
    return ()


def _places(admission: Admission) -> tuple[frozenset[str], frozenset[str]]:
    """Whose datagrams come to the first socket, and to the second."""
    own = frozenset(admission.sources)
    return own, admission.cluster - own


def _bind_fault(error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return "this address is not on this host (yet); tried again every 2 s"
    if error.errno == errno.EADDRINUSE:
        return (
            "another program has this port (snmptrapd?): stop it, or give the keyword another "
            "port; tried again every 2 s"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return "a port below 1024 needs root or CAP_NET_BIND_SERVICE; tried again every 2 s"
    if error.errno == errno.EAFNOSUPPORT:
        return "IPv6 is switched off on this host; tried again every 2 s"
    return f"{error.strerror}; tried again every 2 s"
