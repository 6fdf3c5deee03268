"""LAN heartbeats over real sockets on loopback addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import msgspec
import pytest

from clptools.core.model import datagram
from clptools.core.model.events import HeartbeatRefused
from clptools.core.model.messages import Beat
from clptools.core.model.settings import Cluster, Interconnect, Server, Settings
from clptools.core.model.words import RefusedFor
from clptools.links import lan
from clptools.links.lan import RELAY, LanHeartbeats
from clptools.links.notices import LinkNotOpen, LinkOpen, SendFails, SendsAgain
from clptools.links.sockets import plain
from clptools.links.wire import Wire
from tests.conftest import free_port, until
from tests.noticed import Noticed

KEY = b"k" * 32
NAMES = ("server1", "server2", "server3")


def cluster(port: int, nets: tuple[str, ...] = ("127.77.1.", "127.77.2.")) -> Settings:
    return Settings(
        cluster=Cluster(name="cluster", port=port),
        servers=tuple(Server(name=name) for name in NAMES),
        interconnects=tuple(
            Interconnect(
                name=f"lanhb{n}",
                type="lanhb",
                addresses={name: f"{net}{i}" for i, name in enumerate(NAMES, 1)},
            )
            for n, net in enumerate(nets, 1)
        ),
    )


def beat(sender: str, to: str, seq: int, incarnation: str = "a") -> Beat:
    return Beat(sender=sender, to=to, incarnation=incarnation, seq=seq, sent_at=seq)


class Agent:
    """As much of an agent as heartbeats need."""

    def __init__(self, name: str, settings: Settings, key: bytes = KEY) -> None:
        self.seen: list[tuple[str, Beat]] = []
        self.told = Noticed(name)
        self.refused: list[HeartbeatRefused] = []
        self.lan = LanHeartbeats(
            *(name, (key,), lambda link, b: self.seen.append((link, b)), self.told.take),
            on_refused=self.refused.append,
        )
        self.lan.apply(settings)


async def test_a_beat_arrives_once_over_each_interconnect() -> None:
    settings = cluster(free_port())
    one, two = Agent("server1", settings), Agent("server2", settings)
    one.lan.send(beat("server1", "server2", 1))
    await until(lambda: len(two.seen) == 2)
    assert {link for link, _ in two.seen} == {"lanhb1", "lanhb2"}
    assert two.lan.up == {"lanhb1": True, "lanhb2": True}
    one.lan.close()
    two.lan.close()


async def test_over_ipv6_too() -> None:
    settings = cluster(free_port())
    path = Interconnect(name="lanhb1", type="lanhb", addresses={"server1": "0:0::1"})
    settings = msgspec.structs.replace(settings, interconnects=(path,))
    one = Agent("server1", settings)
    sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    wire = Wire("cluster", [KEY])
    sender.sendto(wire.encode(beat("server1", "server1", 1)), ("::1", settings.cluster.port))
    await until(lambda: one.lan.counters["own_name"] == 1)
    sender.close()
    one.lan.close()


@pytest.mark.parametrize("why", RefusedFor)
async def test_a_server_with_another_key_cluster_or_version_is_told_of_once_in_a_while(
    why: RefusedFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lan, "REFUSED_S", 3600.0)
    settings = cluster(free_port())
    other = msgspec.structs.replace(settings.cluster, name="other")
    elsewhere = msgspec.structs.replace(settings, cluster=other)
    one = Agent("server1", settings)
    if why is RefusedFor.AUTHKEY:
        two = Agent("server2", settings, b"other" * 8)
    elif why is RefusedFor.VERSION:
        two = Agent("server2", settings)
        monkeypatch.setattr(datagram, "form", lambda beat: 3)
    else:
        two = Agent("server2", elsewhere)
    for seq in range(1, 6):
        two.lan.send(beat("server2", "server1", seq))
    await until(lambda: one.lan.counters["received"] == 10)
    (told,) = one.refused
    assert (told.server, told.why) == ("server2", why)
    assert told.address in ("127.77.1.2", "127.77.2.2")
    assert not one.seen
    one.lan.close()
    two.lan.close()


async def test_two_that_do_not_hear_each_other_are_relayed_by_a_third() -> None:
    settings = cluster(free_port())
    one, two, three = (Agent(name, settings) for name in NAMES)
    one.lan.send(beat("server1", "server3", 1), via="server2")
    await until(lambda: two.lan.counters["received"] == 2)
    assert [(link, b.to) for link, b in two.seen] == [(RELAY, "server3")]
    assert two.lan.counters["copy"] == 1
    two.lan.send(two.seen[0][1])  # what the core does with it
    await until(lambda: three.lan.counters["received"] == 2)
    assert [(link, b.sender) for link, b in three.seen] == [(RELAY, "server1")]
    for agent in (one, two, three):
        agent.lan.close()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("bad_mac", lambda: Wire("cluster", [b"x" * 32]).encode(beat("server1", "server2", 1))),
        ("other_cluster", lambda: Wire("else", [KEY]).encode(beat("server1", "server2", 1))),
        ("truncated", lambda: b"\x01"),
        ("oversized", lambda: b"\x01" * 65_000),
        ("unknown_sender", lambda: Wire("cluster", [KEY]).encode(beat("server9", "server2", 1))),
        ("not_for_us", lambda: Wire("cluster", [KEY]).encode(beat("server1", "server9", 1))),
        ("not_for_us", lambda: Wire("cluster", [KEY]).encode(beat("server3", "server1", 1))),
    ],
)
async def test_what_is_dropped_is_counted_by_reason(name: str, make: Callable[[], bytes]) -> None:
    settings = cluster(free_port())
    two = Agent("server2", settings)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.77.1.1", 0))
        sender.sendto(make(), ("127.77.1.2", settings.cluster.port))
        await until(lambda: two.lan.counters[name] == 1)
    assert two.seen == []
    two.lan.close()


async def test_replays_and_foreign_sources_are_dropped() -> None:
    settings = cluster(free_port())
    two = Agent("server2", settings)
    frame = Wire("cluster", [KEY]).encode(beat("server1", "server2", 1))
    to = ("127.77.1.2", settings.cluster.port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.77.1.1", 0))
        for _ in range(3):
            sender.sendto(frame, to)
        await until(lambda: two.lan.counters["replayed"] == 2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.77.1.99", 0))
        sender.sendto(Wire("cluster", [KEY]).encode(beat("server1", "server2", 2)), to)
        await until(lambda: two.lan.counters["bad_source"] == 1)
    assert len(two.seen) == 1
    two.lan.close()


async def test_another_agent_with_our_name_is_counted_and_handed_in() -> None:
    settings = cluster(free_port())
    two = Agent("server2", settings)
    frame = Wire("cluster", [KEY]).encode(beat("server2", "server2", 1, "rival"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.77.1.1", 0))
        sender.sendto(frame, ("127.77.1.2", settings.cluster.port))
        await until(lambda: two.seen)
    assert two.seen[0][1].incarnation == "rival"
    assert two.lan.counters["own_name"] == 1
    two.lan.close()


async def test_an_address_that_is_not_there_is_told_in_one_line_and_taken_when_it_comes() -> None:
    settings = cluster(free_port(), nets=("127.77.1.",))
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    holder.bind(("127.77.1.1", settings.cluster.port))
    one = Agent("server1", settings)
    assert one.lan.up == {"lanhb1": False}
    assert one.told == [
        (
            "interconnect lanhb1: cannot listen on 127.77.1.1 port "
            f"{settings.cluster.port} (Address already in use); trying again until it can. "
            "See on server1: ip address; ss -lntup"
        )
    ]
    one.lan.send(beat("server1", "server2", 1))
    assert one.lan.counters["not_sent"] == 1
    holder.close()
    await until(lambda: one.lan.up["lanhb1"])
    assert one.told[1:] == ["interconnect lanhb1: listening on 127.77.1.1"]
    assert one.told.kinds == [LinkNotOpen, LinkOpen]
    one.lan.close()


async def test_a_network_that_cannot_be_reached_is_told_once_and_raises_nothing() -> None:
    settings = cluster(free_port(), nets=("127.77.1.",))
    path = settings.interconnects[0]
    far = msgspec.structs.replace(path, addresses={**path.addresses, "server2": "192.0.2.1"})
    one = Agent("server1", msgspec.structs.replace(settings, interconnects=(far,)))
    for seq in range(3):
        one.lan.send(beat("server1", "server2", seq))
    assert one.lan.counters["send_failed"] == 3, "loopback cannot reach 192.0.2.1"
    assert len(one.told) == 1
    assert one.told.kinds == [SendFails]
    assert "cannot send to server2 at 192.0.2.1" in one.told[0]
    (link,) = one.lan._links.values()
    link._targets["server2"] = ("127.77.1.2", settings.cluster.port)
    for seq in range(2):
        one.lan.send(beat("server1", "server2", seq))
    assert one.told.kinds[1:] == [SendsAgain]
    one.lan.close()


async def test_a_changed_configuration_keeps_the_links_that_stay() -> None:
    settings = cluster(free_port())
    one = Agent("server1", settings)
    kept = one.lan._links["lanhb2"]
    less = msgspec.structs.replace(settings, interconnects=settings.interconnects[1:])
    one.lan.apply(less)
    assert one.lan.up == {"lanhb2": True}
    assert one.lan._links["lanhb2"] is kept
    one.lan.close()


async def test_a_flood_of_garbage_does_not_keep_a_beat_out() -> None:
    settings = cluster(free_port())
    one, two = Agent("server1", settings), Agent("server2", settings)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.77.1.3", 0))
        for n in range(500):
            sender.sendto(b"\x01" * 500, ("127.77.1.2", settings.cluster.port))
            if n % 100 == 0:
                one.lan.send(beat("server1", "server2", n))
                await asyncio.sleep(0)
    await until(lambda: sum(link == "lanhb1" for link, _ in two.seen) == 5)
    one.lan.close()
    two.lan.close()


def test_addresses_are_compared_as_numbers() -> None:
    assert plain("fe80:0::1%eth0") == "fe80::1"
    with pytest.raises(ValueError, match="no IPv4 or IPv6 address"):
        plain("server1")
