"""What the kernel does for a keyword address: who comes to which socket, and exact drops.

Two sockets have one address (SO_REUSEPORT); a classic BPF program sends the datagrams of the
server's own BMC to the first and all others to the second.  So a foreign flood fills only the
second socket's queue, while a single foreign datagram (a rehearsal trap, a BMC that was
configured with another address) is still seen, and each socket's drops are counted by the kernel
for that kind of sender alone.  The first socket also carries the source test as a filter
(SO_ATTACH_FILTER), so that its queue holds nothing foreign whatever happens to the other.

Programs: Linux Documentation/networking/filter.rst; options: socket(7) and asm-generic/socket.h.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct

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
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")

OWN, FOREIGN = 0, 1
"""Places of the sockets in their group: in the order in which they joined it."""


def steer(own: socket.socket, source: str) -> bool:
    """Sends `source` to `own` and all others to the socket that joined it; False: it cannot.

    `source` empty: nobody is sent to `own`.
    """
    family = own.family
    try:
        # Taken off first: nothing that the program of before sent here may be filtered away.
        _detach(own)
        _attach(own, _SO_ATTACH_REUSEPORT_CBPF, _program(family, source, OWN, FOREIGN))
        _attach(own, _SO_ATTACH_FILTER, _program(family, source, _WHOLE, 0))
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


def _program(family: int, source: str, yes: int, no: int) -> bytes:
    """Returns `yes` for a datagram from `source`, else `no`."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return _INSTRUCTION.pack(_RETURN, 0, 0, no)
    if (address.version == 6) is not (family == socket.AF_INET6):
        return _INSTRUCTION.pack(_RETURN, 0, 0, no)
    at = _SOURCE_AT[address.version]
    words = struct.unpack(f">{len(address.packed) // 4}I", address.packed)
    steps: list[bytes] = []
    for number, word in enumerate(words):
        steps.append(_INSTRUCTION.pack(_LOAD_WORD, 0, 0, _NETWORK_HEADER + at + 4 * number))
        # Unequal: over the tests that are left and over `yes`.
        left = 2 * (len(words) - number - 1) + 1
        steps.append(_INSTRUCTION.pack(_JUMP_EQUAL, 0, left, word))
    steps.append(_INSTRUCTION.pack(_RETURN, 0, 0, yes))
    steps.append(_INSTRUCTION.pack(_RETURN, 0, 0, no))
    return b"".join(steps)


def _attach(sock: socket.socket, option: int, program: bytes) -> None:
    code = ctypes.create_string_buffer(program, len(program))
    count = len(program) // _INSTRUCTION.size
    sock.setsockopt(socket.SOL_SOCKET, option, _PROGRAM.pack(count, ctypes.addressof(code)))


def _detach(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    except OSError:
        return  # it has none
