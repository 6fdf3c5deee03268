"""A beat as bytes: the payload of a heartbeat datagram, in one of two forms.

    1   MessagePack of the Beat, as every version reads it
    2   MessagePack of a Packed: the Beat without its sets of server names, which follow as
        `NAME_BYTES` of a digest each

Form 2 is for beats whose holdings travel apart and for the pages that bring those.  A version
that does not know them must not read one as "holds nothing", and drops the form as unknown.
Digests need no agreement on which servers there are or in which order: whoever knows the name
finds it, and passes on the digest of one that it does not know as it came.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from clptools.core.model.messages import Beat, Message

MAX_BYTES = 1_200
"""Most bytes of a datagram, as UDP payload. With headers it stays below the 1,280 bytes that every
IPv6 path carries unfragmented (RFC 8200, 5), and below what tunnels leave of 1,500."""
FRAME_BYTES = 41
"""What the link adds around the payload (`links/wire.py`)."""
PLAIN, PACKED = 1, 2
NAME_BYTES = 6
"""With 48 bits, two of 32 names collide once in 10^11 clusters."""
_UNKNOWN = "?"
"""Prefix of the placeholder for a name that is not known here; no name begins with it."""


class Packed(Message, array_like=True, frozen=True, kw_only=True):
    """The payload of form 2."""

    beat: Beat
    hears: bytes = b""
    out: bytes = b""
    lacks: bytes = b""


_encoder = msgspec.msgpack.Encoder()
_plain = msgspec.msgpack.Decoder(Beat)
_packed = msgspec.msgpack.Decoder(Packed)


def form(beat: Beat) -> int:
    """The form in which a beat is sent: `PLAIN` or `PACKED`."""
    return PACKED if beat.listed or beat.page else PLAIN


def pack(beat: Beat) -> bytes:
    """The payload of a beat."""
    if form(beat) == PLAIN:
        return _encoder.encode(beat)
    return _encoder.encode(
        Packed(
            beat=msgspec.structs.replace(beat, hears=(), out=(), lacks=()),
            hears=_shorten(beat.hears),
            out=_shorten(beat.out),
            lacks=_shorten(beat.lacks),
        )
    )


def unpack(payload: bytes, kind: int, names: dict[bytes, str]) -> Beat:
    """The beat in a payload of form `kind`; `names` is the result of `digests`.

    Raises ValueError (msgspec's errors are ValueErrors) if the payload is no beat, or not of this
    form.
    """
    if kind == PLAIN:
        beat = _plain.decode(payload)
    else:
        packed = _packed.decode(payload)
        beat = msgspec.structs.replace(
            packed.beat,
            hears=_lengthen(packed.hears, names),
            out=_lengthen(packed.out, names),
            lacks=_lengthen(packed.lacks, names),
        )
    if form(beat) != kind:
        raise ValueError("a beat in the other form")
    return beat


def datagram_bytes(beat: Beat) -> int:
    """Length of a beat's datagram, as UDP payload."""
    return FRAME_BYTES + len(pack(beat))


def line_bytes(line: Message) -> int:
    """What one line adds to a page."""
    return len(_encoder.encode(line))


def digests(names: Iterable[str]) -> dict[bytes, str]:
    """Digest -> name, for `unpack`."""
    return {_digest(name): name for name in names}


def _digest(name: str) -> bytes:
    if name.startswith(_UNKNOWN):
        return bytes.fromhex(name[len(_UNKNOWN) :])
    return blake2b(name.encode(), digest_size=NAME_BYTES).digest()


def _shorten(names: tuple[str, ...]) -> bytes:
    return b"".join(_digest(name) for name in names)


def _lengthen(data: bytes, names: dict[bytes, str]) -> tuple[str, ...]:
    if len(data) % NAME_BYTES:
        raise ValueError("half a digest")
    cut = (data[at : at + NAME_BYTES] for at in range(0, len(data), NAME_BYTES))
    return tuple(names.get(each) or _UNKNOWN + each.hex() for each in cut)
