"""How long heartbeat datagrams are, and what a list of many groups costs."""

from __future__ import annotations

import time

import msgspec

from clptools.core.model import actions as a
from clptools.core.model.datagram import MAX_BYTES, datagram_bytes
from clptools.core.model.group_state import GroupRun
from clptools.core.model.messages import Beat, Echo, Epoch, Term
from clptools.core.model.settings import Cluster, Server, Settings
from clptools.core.model.states import Contact, GroupState
from clptools.core.node import Node
from tests.bench.report import Row, Section

_INCARNATION = "0123456789abcdef"
_NAME_BYTES = 63
_ROUNDS = 200


def measure() -> Section:
    """2, 8 and 32 servers; 1, 40 and 200 groups."""
    rows = []
    for servers in (2, 8, 32):
        for groups in (1, 40, 200):
            node = _holder(servers, groups)
            first = _interval(node)
            longest = max(map(datagram_bytes, first))
            to = first[0].to
            pages = sum(1 for beat in first if beat.to == to and beat.page)
            alone = max(map(datagram_bytes, _confirmed(node)))
            rows.append(
                Row(
                    what=f"servers: {servers}, groups: {groups}",
                    measured=f"beat {alone:,} bytes; pages to a server that has none of them: "
                    f"{pages}; longest datagram {longest:,} bytes",
                    target=f"at most {MAX_BYTES:,} bytes",
                    met=longest <= MAX_BYTES,
                )
            )
    node = _holder(32, 200)
    _interval(node)
    _confirmed(node)
    before = time.process_time()
    for _ in range(_ROUNDS):
        _confirmed(node)
    each_ms = (time.process_time() - before) / _ROUNDS * 1000
    percent = each_ms / node.times.interval_ms * 100
    rows.append(
        Row(
            what="the core's work for the beats of one interval, 32 servers, 200 groups",
            measured=f"{each_ms:.1f} ms of CPU ({percent:.1f} % of an interval of 0.2 s)",
        )
    )
    return Section(
        title="Heartbeats and packets",
        how=(
            "UDP payloads that one server sends, which holds all groups; all names have "
            f"{_NAME_BYTES} bytes, the longest there are. Pages go out until the receiver says "
            "that it has them; afterwards one page for each change."
        ),
        rows=tuple(rows),
    )


def _holder(servers: int, groups: int) -> Node:
    """A coordinator that holds all groups and hears everybody."""
    names = [f"{i:02d}".ljust(_NAME_BYTES, "s") for i in range(servers)]
    made = Settings(cluster=Cluster(), servers=tuple(Server(name=n) for n in names))
    node = Node(made, names[0], _INCARNATION, 1)
    node.context.now = 10**9
    state = node.state
    state.election.term = Term(10**4, _INCARNATION)
    state.policy.shared = msgspec.structs.replace(
        state.policy.shared, version=Epoch(10**4, _INCARNATION, 10**4)
    )
    for i in range(groups):
        state.lifecycle.runs[f"{i:03d}".ljust(_NAME_BYTES, "g")] = GroupRun(
            held=True, seen=Epoch(10**4, _INCARNATION, 10**4), state=GroupState.ONLINE
        )
    for p in state.peers.known.values():
        p.contact = Contact.BELIEVED
        p.incarnation = _INCARNATION
        p.echo = Echo(incarnation=_INCARNATION, sent_at=node.now)
    return node


def _interval(node: Node) -> list[Beat]:
    node.context.now += node.times.interval_ms
    for p in node.state.peers.known.values():
        p.heard_at = p.direct_at = node.now
    node.context.actions = []
    node.heartbeats.send_to(node.peers, node.own_status.word())
    return [x.beat for x in node.context.actions if isinstance(x, a.SendBeat)]


def _confirmed(node: Node) -> list[Beat]:
    """An interval after everybody has the whole list."""
    for p in node.state.peers.known.values():
        p.holdings.has = node.state.sent.lines_number
    return _interval(node)
