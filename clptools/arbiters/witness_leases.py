"""The witness's memory: one lease a cluster.

Nothing is on a disk.  Whatever was held when an earlier run ended, its holder counts for
`longest_ms` at most, because a longer lease is never granted; so for that long after its start
a witness grants nothing to anybody.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict

from clptools.arbiters.witness_messages import Answer, Ask

MAX_NAME = 256
MAX_SERVERS = 256
"""Tickets of one cluster; the one not used for longest is dropped, its owner asks once more."""
MAX_CLUSTERS = 256


class _Cluster:
    def __init__(self) -> None:
        self.server = ""
        self.token = ""
        self.until = 0
        self.tickets: OrderedDict[str, str] = OrderedDict()

    def new_ticket(self, server: str) -> str:
        self.tickets[server] = secrets.token_hex(16)
        self.tickets.move_to_end(server)
        if len(self.tickets) > MAX_SERVERS:
            self.tickets.popitem(last=False)
        return self.tickets[server]


class Leases:
    """All leases; `now` is in ms on a clock that runs on through sleep."""

    def __init__(self, now: int, longest_ms: int) -> None:
        self._opens_at = now + longest_ms
        self._longest_ms = longest_ms
        self._clusters: dict[str, _Cluster] = {}

    def ask(self, key: str, asked: Ask, now: int) -> Answer:
        """Carry out an authentic request; `key` names the authkey it was signed with."""
        if not asked.server or max(map(len, (asked.server, asked.token, asked.cluster))) > MAX_NAME:
            return Answer(nonce=asked.nonce, ticket="", error="a name is empty or too long")
        name = f"{key} {asked.cluster}"
        if name not in self._clusters and len(self._clusters) >= MAX_CLUSTERS:
            return Answer(nonce=asked.nonce, ticket="", error="it serves too many clusters already")
        cluster = self._clusters.setdefault(name, _Cluster())
        ticket = cluster.tickets.get(asked.server) or cluster.new_ticket(asked.server)
        if asked.ticket != ticket:
            return Answer(nonce=asked.nonce, ticket=ticket, stale=True)
        ticket = cluster.new_ticket(asked.server)
        mine = cluster.server == asked.server and cluster.token == asked.token
        if asked.op == "release":
            if mine:
                cluster.until = now
            return Answer(nonce=asked.nonce, ticket=ticket)
        if asked.op != "hold":
            return Answer(nonce=asked.nonce, ticket=ticket, error=f"it knows no {asked.op!r}")
        if not 0 < asked.lease_ms <= self._longest_ms:
            text = (
                f"a lease of {asked.lease_ms / 1000:g} s is not granted, "
                f"{self._longest_ms / 1000:g} s is the longest (clpwitnessd --longest-lease)"
            )
            return Answer(nonce=asked.nonce, ticket=ticket, error=text)
        if now < self._opens_at:
            text = f"it has just started and grants nothing for {self._opens_at - now} ms more"
            return Answer(nonce=asked.nonce, ticket=ticket, error=text)
        if now < cluster.until and not mine:
            return Answer(nonce=asked.nonce, ticket=ticket, holder=cluster.server)
        cluster.server, cluster.token = asked.server, asked.token
        cluster.until = now + asked.lease_ms
        return Answer(nonce=asked.nonce, ticket=ticket, held=True, holder=asked.server)
