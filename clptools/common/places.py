"""How many connections a server keeps open at once, and for whom."""

from __future__ import annotations

import ipaddress
from collections import Counter

MAX_CONNECTIONS = 256
MAX_OF_A_SOURCE = 64
"""A whole cluster may be behind one address."""
MAX_STRANGERS = 128
MAX_OF_A_STRANGER = 16
MAX_KNOWN = 1024


class Places:
    """How many connections may be open at once, by where they come from.

    Who has not shown a key shares some places with all other strangers, so that whoever fills
    them shuts out nobody who was here before.
    """

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._known: dict[str, None] = {}

    def take(self, source: str) -> tuple[str, ...]:
        """Places for one from `source`, to be given back; none where one of them is full."""
        known = source in self._known
        wanted = {"all": MAX_CONNECTIONS, source: MAX_OF_A_SOURCE if known else MAX_OF_A_STRANGER}
        if not known:
            wanted["strangers"] = MAX_STRANGERS
        if any(self._taken[place] >= most for place, most in wanted.items()):
            return ()
        self._taken.update(wanted.keys())
        return tuple(wanted)

    def give_back(self, places: tuple[str, ...]) -> None:
        """The connection is over."""
        self._taken.subtract(places)
        for place in places:
            if not self._taken[place]:
                del self._taken[place]

    def know(self, source: str) -> None:
        """It has a key; of too many, the one that showed it longest ago is forgotten."""
        self._known.pop(source, None)
        self._known[source] = None
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, or an IPv6 network of one site (/64)."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, 64), strict=False))
        found = found.ipv4_mapped
    return str(found)
