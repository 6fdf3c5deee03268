"""One keyword address: the UDP socket at which a BMC's traps arrive."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable

from clptools.config.address import Endpoint
from clptools.intake import snmp
from clptools.intake.match import Admission, Counters
from clptools.intake.usm import Usm

RECEIVE_BUFFER = 4 * 1024 * 1024
BATCH = 64
"""Datagrams read before the loop gets its turn again."""
RETRY_MS = 2_000
"""Between attempts to bind an address that is not there, or is taken."""

_SO_RXQ_OVFL = 40
_SO_RCVBUFFORCE = 33
_COUNT = struct.Struct("=I")

OnDatagram = Callable[["Listener", bytes, bool, tuple[str, int]], None]
"""Listener, datagram, whether it was cut, sender."""
OnBind = Callable[[Endpoint, str, bool], None]
"""Address, sentence, whether it is heard at now."""


class Listener:
    """One keyword address: its socket, and the attempts to get it."""

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
        self._retry: asyncio.TimerHandle | None = None
        self._dropped = 0
        self._loop = asyncio.get_running_loop()

    def open(self) -> None:
        """Binds the address; if that fails, says why once and tries again and again."""
        self._retry = None
        address = self.admission.address
        try:
            sock = _bound(address)
        except OSError as error:
            fault = _bind_fault(error)
            if fault != self.fault:
                self.fault = fault
                self._on_bind(address, fault, False)
            self._retry = self._loop.call_later(RETRY_MS / 1000, self.open)
            return
        if self.fault:
            self.fault = ""
            self._on_bind(address, "traps are received now", True)
        self._socket = sock
        self._dropped = 0
        self._loop.add_reader(sock.fileno(), self._readable)

    def stop_reading(self) -> None:
        """No datagram is read from now on; answers can still be sent."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())

    def close(self) -> None:
        """Gives the address back."""
        self.stop_reading()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, data: bytes, peer: tuple[str, int]) -> None:
        """Sends an answer; one that cannot be sent is like one that is lost on the way."""
        if self._socket is not None:
            try:
                self._socket.sendto(data, peer)
            except OSError:
                return

    def _readable(self) -> None:
        for _ in range(BATCH):
            if self._socket is None:
                return
            try:
                data, control, flags, peer = self._socket.recvmsg(snmp.MESSAGE_BYTES, 64)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # ICMP errors of answers that were sent arrive here; nothing is lost by them.
                continue
            for level, kind, value in control:
                if level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL:
                    (total,) = _COUNT.unpack(value[: _COUNT.size])
                    self._counters.kernel_dropped += (total - self._dropped) & 0xFFFFFFFF
                    self._dropped = total
            self._on_datagram(self, data, bool(flags & socket.MSG_TRUNC), peer)


def _bound(address: Endpoint) -> socket.socket:
    """A socket that hears at `address`.  Raises OSError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _roomy(sock)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        # getaddrinfo on a literal address never asks a name server; it reads the zone.
        target = socket.getaddrinfo(*address, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)
        sock.bind(target[0][4])
    except OSError:
        sock.close()
        raise
    return sock


def _roomy(sock: socket.socket) -> None:
    """As much receive buffer as we may have: a storm arrives faster than Python reads."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


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
