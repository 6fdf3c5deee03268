"""Verbs of the network: what passes between servers, how late, how often."""

from __future__ import annotations

from clptools.sim.network import CONTROL, CUTS
from clptools.sim.words import BadLine, Verb, Words, each
from clptools.sim.world import World


def _cut(world: World, words: Words, *, oneway: bool = False) -> None:
    a, b = words.two()
    link = words.one_of("interconnect", *world.network.links) if words.more else ""
    words.end()
    world.network.cut(a, b, link, oneway)


def _cut_off(how: str) -> Verb:
    """`isolate`, `deaf` or `mute`: every server named."""
    does = {
        "isolate": "Nothing passes between it and the others.",
        "deaf": "It sends, and hears nothing.",
    }.get(how, "It hears, and is not heard.")
    return Verb(
        each(lambda w, h: CUTS[how](w.network, h.name, w.hosts)),
        f"{how} [SERVER ...]",
        f"{how} server1",
        does,
    )


def _split(world: World, words: Words) -> None:
    sides = [Words(world, side.split(",")).servers() for side in words.rest()]
    if len(sides) < 2:
        raise BadLine("the other side is missing")
    for i, side in enumerate(sides):
        for other in sides[i + 1 :]:
            for one in side:
                for two in other:
                    world.network.cut(one.name, two.name)


def _heal(world: World, words: Words) -> None:
    if words.more:
        a, b = words.two()
        words.end()
        world.network.heal(a, b)
    else:
        world.network.heal()


def _authkey(world: World, words: Words) -> None:
    host, how = words.server(), words.one_of("state", "differs", "mend")
    words.end()
    if how == "differs":
        world.network.keys[host.name] = host.name
    else:
        world.network.keys.pop(host.name, None)


def _lose(world: World, words: Words) -> None:
    share = words.number("SHARE", 0, 1)
    pair = words.two() if words.more else None
    words.end()
    if pair is not None:
        world.network.pair_loss[pair] = share
    else:
        world.network.loss = share


def _lose_large(world: World, words: Words) -> None:
    limit = words.whole("BYTES", 0, 65_535)
    pair = words.two() if words.more else None
    words.end()
    if pair is not None:
        world.network.pair_large[pair] = limit
    else:
        world.network.large = limit
        world.network.pair_large.clear()


def _late(world: World, words: Words) -> None:
    share = words.number("SHARE", 0, 1)
    up_to_us = words.us() if words.more else 0
    words.end()
    world.network.late, world.network.late_us = share, up_to_us


def _double(world: World, words: Words) -> None:
    share = words.number("SHARE", 0, 1)
    words.end()
    world.network.double = share


def _hold(world: World, words: Words, *, copy: bool = False) -> None:
    a, b = words.two()
    kinds = (words.one_of("kind", CONTROL),) if words.more else world.network.links
    words.end()
    for kind in kinds:
        (world.network.tapped if copy else world.network.held).add((a, b, kind))


def _record(world: World, words: Words) -> None:
    a, b = words.two()
    words.end()
    world.executor.delivery.sniff(a, b)


def _replay(world: World, words: Words) -> None:
    a, b = words.two()
    rate, lasts = words.number("RATE", 0.001, 10_000), words.number("SECONDS", 0, 3600)
    words.end()
    world.executor.delivery.replay(a, b, rate, lasts)


def _pass(world: World, words: Words) -> None:
    a, b = words.two()
    words.end()
    for kind in (CONTROL, *world.network.links):
        world.network.held.discard((a, b, kind))


def _release(world: World, words: Words) -> None:
    a, b = words.two()
    words.end()
    for kind in (CONTROL, *world.network.links):
        world.executor.delivery.release(a, b, kind)


NETWORK_VERBS: dict[str, Verb] = {
    "cut": Verb(
        _cut,
        "cut SERVER SERVER [INTERCONNECT]",
        "cut server1 server2 lankhb1",
        "Nothing passes between two servers, on one interconnect or on all.",
    ),
    "cut-oneway": Verb(
        lambda w, x: _cut(w, x, oneway=True),
        "cut-oneway SERVER SERVER [INTERCONNECT]",
        "cut-oneway server1 server2",
        "Nothing passes from the first to the second.",
    ),
    **{how: _cut_off(how) for how in CUTS},
    "split": Verb(
        _split,
        "split SERVER,... SERVER,... ...",
        "split server1,server2 server3",
        "Nothing passes between the sides.",
    ),
    "heal": Verb(
        _heal,
        "heal [SERVER SERVER]",
        "heal server1 server2",
        "The paths between two servers are whole again; with no server named, the whole network "
        "is, loss and delay too.",
    ),
    "authkey": Verb(
        _authkey,
        "authkey SERVER differs|mend",
        "authkey server2 differs",
        "It has another authkey than the others: they refuse what it sends, and it refuses theirs.",
    ),
    "lose": Verb(
        _lose,
        "lose SHARE [SERVER SERVER]",
        "lose 0.2 server1 server2",
        "That share of the datagrams is lost, from the first to the second server or everywhere.",
    ),
    "lose-large": Verb(
        _lose_large,
        "lose-large BYTES [SERVER SERVER]",
        "lose-large 1300",
        "Packets of more bytes are lost; 0: none is.",
    ),
    "late": Verb(
        _late,
        "late SHARE [SECONDS]",
        "late 0.3 5",
        "That share of the datagrams is late by up to so much.",
    ),
    "double": Verb(
        _double, "double SHARE", "double 0.1", "That share of the datagrams arrives twice."
    ),
    "hold": Verb(
        _hold,
        "hold SERVER SERVER [control]",
        "hold server1 server2 control",
        "Heartbeats from the first to the second, or control messages, are kept back on the way.",
    ),
    "tap": Verb(
        lambda w, x: _hold(w, x, copy=True),
        "tap SERVER SERVER [control]",
        "tap server1 server2",
        "Copies of them are kept; `release` lets them arrive a second time.",
    ),
    "pass": Verb(
        _pass,
        "pass SERVER SERVER",
        "pass server1 server2",
        "New ones pass again; what is held stays held.",
    ),
    "release": Verb(
        _release,
        "release SERVER SERVER",
        "release server1 server2",
        "What is held arrives now, and nothing is held any more.",
    ),
    "record": Verb(
        _record,
        "record SERVER SERVER",
        "record server1 server2",
        "The heartbeats from the first to the second are recorded from now on.",
    ),
    "replay": Verb(
        _replay,
        "replay SERVER SERVER RATE SECONDS",
        "replay server1 server2 50 10",
        "What was recorded arrives again, so many a second, for so long.",
    ),
}
