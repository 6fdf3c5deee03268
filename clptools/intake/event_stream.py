"""Server-sent events, read from pieces as they come (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

from clptools.common.redfish import RedfishError, text_of

EVENT_BYTES = 1_048_576
"""Of one event."""


class StreamParser:
    """Gives what ended with each piece."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._id = ""

    @property
    def inside(self) -> bool:
        """Whether an event has begun and not ended."""
        return bool(self._rest or self._data)

    def feed(self, piece: bytes) -> list[tuple[str, bytes]]:
        """(id, data) of the events that end in it.  Raises RedfishError: one is too long."""
        found: list[tuple[str, bytes]] = []
        lines = (self._rest + piece).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = lines.pop()
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
                self._size += len(value)
            elif name == b"id":
                self._id = text_of(value.decode("ascii", "replace"), 128)
        if self._size + len(self._rest) > EVENT_BYTES:
            raise RedfishError("an event in it is too long")
        return found
