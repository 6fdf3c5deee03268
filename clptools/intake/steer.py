"""What the kernel does for a keyword address: who comes to which socket, and exact drops.

Sockets share one address (SO_REUSEPORT); a classic BPF program tells each datagram its socket by
the sender: the server's own BMC the first, addresses of the cluster the second, all others the
third.  So a foreign flood fills only the last one's queue, while a single foreign datagram (from a
BMC that was configured with another address) is still seen, and each socket's drops are counted by
the kernel for that kind of sender alone.  The first socket also carries the test as a filter
(SO_ATTACH_FILTER), so that its queue holds nothing foreign whatever happens to the others.

Programs: Linux Documentation/networking/filter.rst; options: socket(7) and asm-generic/socket.h.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Iterable

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
"""SKF_NET_OFF: offsets from here count from the IP header, whatever the program's data is."""
_SOURCE_AT = {4: 12, 6: 8}
"""IP version -> where its header has the source (RFC 791, RFC 8200)."""
_WHOLE = 0xFFFFFFFF
_MOST_ADDRESSES = 400
"""A program has at most 4,096 instructions (BPF_MAXINSNS), an IPv6 address takes nine."""
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")


def steer(own: socket.socket, *places: Iterable[str]) -> bool:
    """Sends each source of `places` to the socket of that number, and all others to the next.

    The sockets' numbers are those in which they joined the address, `own` is 0.  False: this
    kernel cannot.
    """
    table = {source: place for place, sources in enumerate(places) for source in sources}
    ours = dict.fromkeys(places[0], _WHOLE)
    try:
        # Taken off first: nothing that the program of before sent here may be filtered away.
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
    """As much receive buffer as we may have, `size` bytes at most (the kernel doubles them)."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


class Drops:
    """Datagrams that the kernel dropped at one socket, exact at any time.

    SO_RXQ_OVFL would tell with the next datagram only, which may never come.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._seen = self._read()

    def more(self) -> int:
        """How many more than when it was asked last; at least every 2^32 drops it must be."""
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
    """Returns the result of a datagram's source, `other` for any that has none."""
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
            # Unequal: over what is left of this address.
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
