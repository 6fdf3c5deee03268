"""One keyword address: the UDP sockets at which a BMC's traps arrive.

Three sockets share the address (SO_REUSEPORT).  A classic BPF program picks one by the sender: the
server's own BMC has the first, addresses of the cluster the second, all others the third.  So a
foreign flood fills only the third queue, a single foreign datagram (from a BMC that was configured
with another address) is still seen, and the kernel counts the drops of each kind of sender alone.
The first socket also has that test as a filter (SO_ATTACH_FILTER), so its queue holds nothing
foreign even without the others.  It is read as fast as it fills; the others a few datagrams
at a time.

Programs: Linux Documentation/networking/filter.rst; options: socket(7) and asm-generic/socket.h.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import ipaddress
import socket
import struct
from collections.abc import Callable, Iterable

from clptools.config.address import Endpoint
from clptools.intake import snmp
from clptools.intake.admission import Admission, Counters
from clptools.intake.usm import Usm

RECEIVE_BUFFER = 16 * 1024 * 1024
"""For the own BMC: five seconds of 8,000 PETs a second, as loopback counts their memory."""
OTHER_BUFFER = 256 * 1024
READ_S = 0.005
"""After this long the loop gets its turn again; the kernel's queue holds the rest."""
BATCH = 32
PAUSE_S = 0.02
"""The pause after a whole batch of datagrams from others than the BMC."""
DROPS_S = 1.0
"""How often the kernel's counts are read, in addition to each query of the counters."""
RETRY_MS = 2_000
"""Between attempts to bind an address that is not there, or is taken."""

OnDatagram = Callable[["Listener", bytes, bool, tuple[str, int]], None]
"""Listener, datagram, whether it was cut, sender."""
OnBind = Callable[[Endpoint, str, bool], None]
"""Address, sentence, whether it is bound now."""

_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
_SO_RCVBUFFORCE = 33
_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_DROPS = 8
"""SK_MEMINFO_DROPS, the last of the nine."""

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_NETWORK_HEADER = 0xFFF00000
"""SKF_NET_OFF: offsets from here count from the IP header."""
_SOURCE_AT = {4: 12, 6: 8}
"""IP version -> where its header has the source (RFC 791, RFC 8200)."""
_WHOLE = 0xFFFFFFFF
_MOST_ADDRESSES = 400
"""A program has at most 4,096 instructions (BPF_MAXINSNS), an IPv6 address takes nine."""
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")


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
        """Why it is not bound; empty: it is."""
        self._counters = counters
        self._on_datagram = on_datagram
        self._on_bind = on_bind
        self._socket: socket.socket | None = None
        self._others: tuple[socket.socket, ...] = ()
        """For servers and for all others; none where the kernel cannot sort: the first gets all."""
        self._drops: list[tuple[str, Drops]] = []
        """Name of the counter, and the drops of the socket that it counts."""
        self._timers: dict[object, asyncio.TimerHandle] = {}
        self._paused = False
        self._loop = asyncio.get_running_loop()

    def open(self) -> None:
        """Binds the address; if that fails, reports it once and keeps trying."""
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
        """Adds what the kernel dropped until now to the counters."""
        for name, drops in self._drops:
            self._counters.count(name, drops.more())

    def pause(self) -> None:
        """Leaves what the own BMC sends in the kernel's queue, until `read_on`."""
        if self._socket is not None and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._socket.fileno())

    def read_on(self) -> None:
        """Reads again what the own BMC sends."""
        if self._socket is not None and self._paused:
            self._loop.add_reader(self._socket.fileno(), self._readable)
        self._paused = False

    def stop_reading(self) -> None:
        """Stops reading; answers can still be sent."""
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
        """Sends an answer; a failure is like a loss on the way."""
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
        while self._socket is not None and not self._paused and self._read(self._socket):
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
            # ICMP errors about our answers arrive here; no datagram is lost by them.
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
    """A socket bound to `address`, which no other program may have.  Raises OSError."""
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
        # Shared only once it is bound, which shows that no other program has the address.
        share(own)
        for _ in range(2):
            others.append(_socket(Endpoint(name[0], name[1]), OTHER_BUFFER))
            share(others[-1])
            others[-1].bind(name)
        if steer(own, *_places(admission)):
            return tuple(others)
    except OSError:
        pass  # no file handles left, or an old kernel: one socket works as well, but unprotected
    for other in others:
        other.close()
    return ()


def _places(admission: Admission) -> tuple[frozenset[str], frozenset[str]]:
    """The sources for the first socket, and for the second."""
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


def steer(own: socket.socket, *places: Iterable[str]) -> bool:
    """Sends each source of `places` to the socket of that number, and all others to the next.

    Sockets are numbered in the order in which they joined the address; `own` is 0.  False: this
    kernel cannot do that.
    """
    table = {source: place for place, sources in enumerate(places) for source in sources}
    ours = dict.fromkeys(places[0], _WHOLE)
    try:
        # Detached first: the old filter must not drop what the new program sends here.
        _detach(own)
        _attach(own, _SO_ATTACH_REUSEPORT_CBPF, _program(own.family, table, len(places)))
        _attach(own, _SO_ATTACH_FILTER, _program(own.family, ours, 0))
    except OSError:
        _detach(own)
        return False
    return True


def share(sock: socket.socket) -> None:
    """Lets `sock` share its address with another of this user.  Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def roomy(sock: socket.socket, size: int) -> None:
    """Enlarges the receive buffer, to `size` bytes at most (the kernel doubles them)."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


class Drops:
    """Datagrams that the kernel dropped at one socket, exact at any time.

    SO_RXQ_OVFL would report them only with the next datagram, which may never come.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._seen = self._read()

    def more(self) -> int:
        """How many since the last call; fewer than 2^32 must fall between two calls."""
        now = self._read()
        more = (now - self._seen) & 0xFFFFFFFF
        self._seen = now
        return more

    def _read(self) -> int:
        try:
            found = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        except OSError:
            return 0  # before Linux 4.12
        return int(_MEMINFO.unpack(found)[_DROPS])


def _program(family: int, results: dict[str, int], other: int) -> bytes:
    """A BPF program that returns the result listed for the source address, else `other`."""
    steps: list[bytes] = []
    for source, result in list(results.items())[:_MOST_ADDRESSES]:
        try:
            address = ipaddress.ip_address(source)
        except ValueError:
            continue
        if (address.version == 6) is not (family == socket.AF_INET6):
            continue
        at = _NETWORK_HEADER + _SOURCE_AT[address.version]
        words = struct.unpack(f">{len(address.packed) // 4}I", address.packed)
        for number, word in enumerate(words):
            # Unequal: skips the rest of this address.
            left = 2 * (len(words) - number - 1) + 1
            steps.append(_INSTRUCTION.pack(_LOAD_WORD, 0, 0, at + 4 * number))
            steps.append(_INSTRUCTION.pack(_JUMP_EQUAL, 0, left, word))
        steps.append(_INSTRUCTION.pack(_RETURN, 0, 0, result))
    return b"".join((*steps, _INSTRUCTION.pack(_RETURN, 0, 0, other)))


def _attach(sock: socket.socket, option: int, program: bytes) -> None:
    code = ctypes.create_string_buffer(program, len(program))
    count = len(program) // _INSTRUCTION.size
    sock.setsockopt(socket.SOL_SOCKET, option, _PROGRAM.pack(count, ctypes.addressof(code)))


def _detach(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    except OSError:
        return  # it has none
