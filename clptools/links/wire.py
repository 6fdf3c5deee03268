"""The heartbeat datagram: what is on the wire, and what is thrown away before it is read.

    version (1) | cluster id (8) | payload of one Beat (core/model/datagram.py) | HMAC-SHA-256 (32)

The version is the payload's form; a server that does not know a form drops it.  The code covers
everything before it, keyed by `credentials.derive(authkey, "heartbeat")`, and is compared before
a byte of the payload is parsed.  Whether a beat's incarnation is to be believed is the core's to
decide; here only garbage and exact repetitions are dropped.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Iterable
from enum import StrEnum

from clptools.core.model import datagram
from clptools.core.model.messages import Beat
from clptools.links.credentials import cluster_id, derive

VERSIONS = (datagram.PLAIN, datagram.PACKED)
MAC_BYTES = 32
HEADER_BYTES = 9
MAX_FRAME_BYTES = 60_000
"""Below UDP's 65,507: what servers of earlier versions send, and are sent, with many groups."""

WINDOW = 2048
"""Sequence numbers behind the newest that are still told apart.  `seq` runs over all peers and
paths, so one peer of 32 sees every 31st: this is still 13 s of beats."""

INCARNATIONS = 8
"""Windows kept for each sender and path: an old capture must not grow a table."""


class Reason(StrEnum):
    """Why a datagram was dropped; the names of the counters."""

    OVERSIZED = "oversized"
    TRUNCATED = "truncated"
    BAD_VERSION = "bad_version"
    OTHER_CLUSTER = "other_cluster"
    BAD_MAC = "bad_mac"
    MALFORMED = "malformed"
    REPLAYED = "replayed"
    UNKNOWN_SENDER = "unknown_sender"
    OWN_NAME = "own_name"
    """Signed with our key and our name, by another agent."""
    BAD_SOURCE = "bad_source"
    """From an address that is no server's on this interconnect."""
    NOT_FOR_US = "not_for_us"
    COPY = "copy"
    """Passed on by a third server over one more interconnect."""


class DecodeError(Exception):
    """The datagram is dropped, for `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Wire:
    """Encodes and decodes the heartbeats of one cluster."""

    def __init__(self, cluster: str, keys: Iterable[bytes], names: Iterable[str] = ()) -> None:
        """`keys`: the authkeys that count, first the one that signs; `names`: of the servers.

        Raises ValueError for an authkey that is too short.
        """
        self._cluster = cluster_id(cluster)
        self._names = datagram.digests(names)
        self._macs = [hmac.new(derive(key, "heartbeat"), digestmod="sha256") for key in keys]

    def encode(self, beat: Beat) -> bytes:
        """The datagram of `beat`.  Raises DecodeError (oversized) if it would not fit."""
        data = bytes([datagram.form(beat)]) + self._cluster + datagram.pack(beat)
        if len(data) + MAC_BYTES > MAX_FRAME_BYTES:
            raise DecodeError(Reason.OVERSIZED)
        return data + _code(self._macs[0], data)

    def decode(self, frame: bytes) -> Beat:
        """The beat in `frame`, authenticated.  Raises DecodeError; anything else is a bug."""
        if len(frame) > MAX_FRAME_BYTES:
            raise DecodeError(Reason.OVERSIZED)
        if len(frame) <= HEADER_BYTES + MAC_BYTES:
            raise DecodeError(Reason.TRUNCATED)
        if frame[0] not in VERSIONS:
            raise DecodeError(Reason.BAD_VERSION)
        if frame[1:HEADER_BYTES] != self._cluster:
            raise DecodeError(Reason.OTHER_CLUSTER)
        data = frame[:-MAC_BYTES]
        code = frame[-MAC_BYTES:]
        if not any(hmac.compare_digest(_code(mac, data), code) for mac in self._macs):
            raise DecodeError(Reason.BAD_MAC)
        try:
            beat = datagram.unpack(data[HEADER_BYTES:], frame[0], self._names)
        except (ValueError, RecursionError):
            raise DecodeError(Reason.MALFORMED) from None
        if beat.seq < 0:
            raise DecodeError(Reason.MALFORMED)
        return beat


def _code(mac: hmac.HMAC, data: bytes) -> bytes:
    """The code of `data`; `mac` is keyed and took nothing yet."""
    taken = mac.copy()
    taken.update(data)
    return taken.digest()


class ReplayWindow:
    """Which of the last `WINDOW` numbers of one sender were seen (as RFC 4303, 3.4.3)."""

    def __init__(self) -> None:
        self._newest = -1
        self._seen = 0

    def fresh(self, number: int) -> bool:
        """Whether `number` is new; it counts as seen from now on."""
        if number > self._newest:
            ahead = number - self._newest
            self._seen = (self._seen << ahead | 1) & _FULL if ahead < WINDOW else 1
            self._newest = number
            return True
        bit = 1 << (self._newest - number) if self._newest - number < WINDOW else 0
        if not bit or self._seen & bit:
            return False
        self._seen |= bit
        return True


_FULL = (1 << WINDOW) - 1


class Replays:
    """Replay windows of every sender's last few incarnations, each path apart.

    The same beat is sent on every interconnect, so only a repetition on one path is a replay.
    """

    def __init__(self) -> None:
        self._paths: dict[tuple[str, str], OrderedDict[str, ReplayWindow]] = {}

    def fresh(self, path: str, sender: str, incarnation: str, number: int) -> bool:
        """Whether this is the first time on `path`.  `sender` must be a configured name."""
        windows = self._paths.setdefault((path, sender), OrderedDict())
        window = windows.get(incarnation)
        if window is None:
            window = windows[incarnation] = ReplayWindow()
            if len(windows) > INCARNATIONS:
                windows.popitem(last=False)
        fresh = window.fresh(number)
        if fresh:
            windows.move_to_end(incarnation)
        return fresh
