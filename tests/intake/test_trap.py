"""The trap receivers: whose traps are taken, repeats, storms, and everything that goes wrong."""

from __future__ import annotations

import asyncio
import resource
import secrets
import socket
import time

import msgspec
import pytest

from clptools.config.address import Endpoint
from clptools.core.model.settings import Monitor, Settings, SnmpUser
from clptools.intake.admission import admissions, plain_source
from clptools.intake.rates import BURST, FAULTS, GRAVE, HELD, KEEP, REPEAT_MS, Bucket, Recent, Storm
from clptools.intake.rehearsal import build_pet_trap, build_rehearsal, is_answer, pet_event
from clptools.intake.snmp import Version
from clptools.intake.usm import UserKeys
from tests.conftest import LIMIT_S, free_port, until
from tests.intake.conftest import AUTHKEY, Heard, send, settings_for


def hear(port: int | None = None, **keys) -> Heard:
    port = port or free_port()
    return Heard(settings_for(port, **keys), port)


def fatal(sequence: int = 1, **keys) -> bytes:
    return build_pet_trap(pet_event("FATAL", sequence=sequence), **keys)


async def test_only_the_servers_own_bmc_is_heard() -> None:
    async with hear() as heard:
        send(fatal(), heard.port, source="127.0.0.2")
        # What a trap says of its origin does not help it.
        send(
            fatal(version=Version.V1, agent_address="127.0.0.1"),
            heard.port,
            source="127.0.0.3",
        )
        await until(lambda: heard.counters.get("not_allowed") == 2)
        assert not heard.events
        assert any("127.0.0.2" in n.text and "not the BMC" in n.text for n in heard.notes)


async def test_a_server_without_bmc_hears_nobody() -> None:
    async with hear(bmc="") as heard:
        send(fatal(), heard.port)
        await until(lambda: heard.counters.get("not_allowed"))
        assert not heard.events


async def test_a_wrong_community_is_counted_and_never_told() -> None:
    async with hear(communities=("cluster", "other")) as heard:
        send(fatal(community="public"), heard.port)
        await until(lambda: heard.counters.get("bad_community"))
        send(fatal(community="other"), heard.port)
        await until(lambda: heard.events)
        assert "public" not in repr(heard.notes)


async def test_forged_sources_fill_no_log() -> None:
    async with hear() as heard:
        for n in range(200):
            send(fatal(), heard.port, source=f"127.0.9.{n + 1}")
        await until(lambda: heard.counters.get("not_allowed") == 200)
        assert 1 <= len(heard.notes) <= 40


async def test_garbage_is_counted_told_once_and_stops_nothing() -> None:
    async with hear() as heard:
        for data in (b"", b"\x30", secrets.token_bytes(500), bytes(16_500), fatal()[:-3]):
            send(data, heard.port)
        send(fatal(), heard.port)
        await until(lambda: heard.events)
        assert heard.counters == {"received": 6, "malformed": 5, "accepted": 1}
        assert len([n for n in heard.notes if "no readable trap" in n.text]) == 1


async def test_ipv6_addresses_are_heard() -> None:
    port = free_port()
    async with hear(port, bmc="::1", host="::1") as heard:
        send(fatal(), port, source="::1", host="::1")
        await until(lambda: heard.events)
        assert heard.events[0].source == "::1"


async def test_a_resent_trap_is_one_event() -> None:
    async with hear() as heard:
        for _ in range(5):
            send(fatal(sequence=9), heard.port)
        send(fatal(sequence=10), heard.port)
        await until(lambda: heard.counters.get("received") == 6)
        await until(lambda: len(heard.events) == 2)
        assert heard.counters == {"received": 6, "accepted": 2, "duplicate": 4}


async def test_an_event_that_was_not_kept_is_taken_again() -> None:
    async with hear() as heard:
        heard.failing = True
        send(fatal(), heard.port)
        await until(lambda: heard.counters.get("undelivered"))
        heard.failing = False
        send(fatal(), heard.port)
        await until(lambda: heard.events)


async def test_an_event_whose_delivery_was_broken_off_is_taken_again() -> None:
    """A BMC sends a trap again for half a minute: then it must not be a duplicate."""
    async with hear() as heard:
        heard.durable.clear()
        send(fatal(), heard.port)
        await until(lambda: heard.receiver._delivery._pending[True])
        for delivery in [*heard.receiver._delivery._pending[True]]:
            delivery.cancel()
        await until(lambda: heard.counters.get("undelivered"))
        heard.durable.set()
        send(fatal(), heard.port)
        await until(lambda: heard.events)
        assert "duplicate" not in heard.counters


async def test_unknown_traps_are_counted_apart() -> None:
    async with hear() as heard:
        send(build_pet_trap(pet_event("UNKNOWN")), heard.port)
        await until(lambda: heard.counters.get("unknown"))
        assert "accepted" not in heard.counters


async def test_presence_traps_feed_no_monitor() -> None:
    async with hear() as heard:
        send(build_pet_trap(pet_event("27h/6F/1")), heard.port)
        await until(lambda: heard.counters.get("presence"))
        assert not heard.events
        assert [n.kind for n in heard.notes] == ["presence"]


async def test_a_clear_tells_what_it_closes() -> None:
    async with hear() as heard:
        send(build_pet_trap(pet_event("08h/0B/1", sequence=1)), heard.port)
        send(build_pet_trap(pet_event("08h/0B/0", sequence=2)), heard.port)
        send(build_pet_trap(pet_event("07h/6F/0", sequence=3, deasserted=True)), heard.port)
        await until(lambda: len(heard.events) == 3)
        lost, full, ended = heard.events
        assert (full.event_class, full.clears) == ("CLEAR", "")
        assert lost.key in full.closes
        assert (ended.event_class, ended.clears, ended.closes) == ("CLEAR", "FATAL", ())


async def test_a_storm_of_one_fault_hides_no_other() -> None:
    async with hear() as heard:
        for n in range(BURST + 300):
            send(build_pet_trap(pet_event("04h/01/2", sequence=n + 1)), heard.port)
        send(fatal(sequence=60_000), heard.port)
        await until(lambda: any(e.event_class == "FATAL" for e in heard.events))
        held = ("storm", "shed")
        await until(lambda: sum(heard.counters.get(name, 0) for name in held) >= 200)
        assert len(heard.events) <= BURST + 100
        assert [n.kind for n in heard.notes] == ["storm"]


async def test_a_full_queue_drops_and_counts_while_the_disk_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("clptools.intake.trap_delivery.PENDING", 100)

    async with hear() as heard:
        heard.durable.clear()
        for n in range(150):
            event = msgspec.structs.replace(pet_event("0Dh/6F/2", sequence=n + 1), sensor=n + 1)
            send(build_pet_trap(event), heard.port)
        await until(lambda: heard.counters.get("queue_full") == 50)
        # What may not wait has places of its own.
        send(fatal(sequence=9_999), heard.port)
        await until(lambda: heard.counters.get("accepted") == 101)
        heard.durable.set()
        await until(lambda: len(heard.events) == 101)


async def test_an_address_that_comes_later_is_heard_then() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        heard = hear(port)
        async with heard:
            assert [n.kind for n in heard.notes] == ["bind"]
            assert "another program has this port" in heard.notes[0].text
            assert heard.receiver.listening() != {f"127.0.0.1:{port}": ""}
            ((text, monitors),) = heard.conditions.values()
            assert text == heard.notes[0].text and monitors == ("mrw1",)
            other.close()
            await until(lambda: heard.notes[-1].kind == "bound")
            assert not heard.conditions
            assert heard.receiver.listening() == {f"127.0.0.1:{port}": ""}
            send(fatal(), port)
            await until(lambda: heard.events)


async def test_keys_that_cannot_be_used_are_read_again_until_they_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("clptools.intake.snmp_users.KEYS_AGAIN_S", 0.01)
    users = (SnmpUser(user="nagios"),)
    async with hear(snmpv3_users=users) as heard:
        (note,) = heard.notes
        assert note.kind == "keys" and "nagios" in note.text
        assert heard.conditions == {"snmp user nagios": (note.text, ("mrw1",))}
        heard.users["nagios"] = UserKeys(auth=b"authpass1", priv=b"privpass1")
        await until(lambda: not heard.conditions)
        assert [n.kind for n in heard.notes] == ["keys", "keyed"], "told once each"
        heard.users.clear()
        heard.receiver.apply(settings_for(heard.port, snmpv3_users=users))
        assert heard.conditions
        heard.receiver.apply(settings_for(heard.port))
        assert not heard.conditions, "nobody asks for that user any more"


async def test_an_address_that_is_configured_no_more_is_no_condition() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        async with hear(port) as heard:
            assert heard.conditions
            heard.receiver.apply(settings_for(free_port()))
            assert not heard.conditions


async def test_a_server_out_of_file_handles_hears_when_it_has_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even a socket can be had: no start and no push fails by that, and nobody gives up."""
    monkeypatch.setattr("clptools.intake.listener.RETRY_MS", 10)

    heard = hear()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        heard.receiver.start()
        await asyncio.sleep(0.1)  # some retries
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await until(lambda: len(heard.notes) == 2)
    assert [n.kind for n in heard.notes] == ["bind", "bound"]
    assert "Too many open files" in heard.notes[0].text
    send(fatal(), heard.port)
    await until(lambda: heard.events)
    await heard.receiver.close()


async def test_an_address_not_on_this_host_says_so() -> None:
    async with hear(host="192.0.2.1") as heard:
        assert "is not on this host" in heard.notes[0].text


async def test_a_changed_configuration_moves_the_receiver() -> None:
    async with hear() as heard:
        port = free_port()
        heard.receiver.apply(settings_for(port, communities=("new",)))
        send(fatal(), heard.port)
        send(fatal(community="new"), port)
        await until(lambda: heard.events)
        heard.receiver.apply(settings_for(port, communities=("newer",)))
        send(fatal(2, community="new"), port)
        await until(lambda: heard.counters.get("bad_community"))


async def test_closing_waits_for_what_was_taken() -> None:
    heard = hear()
    async with heard:
        heard.durable.clear()
        send(fatal(), heard.port)
        await until(lambda: heard.counters.get("accepted"))
    assert len(heard.events) == 1


# ---------------------------------------------------------------------- rehearsal


def rehearsal(**changed) -> bytes:
    keys = {
        "authkey": AUTHKEY,
        "server": "server1",
        "nonce": secrets.token_bytes(16),
        "issued_ms": int(time.time() * 1000) + 1,
        "community": "whatever",
        "request_id": 3,
    }
    return build_rehearsal(pet_event("FATAL"), **{**keys, **changed})


async def test_a_rehearsal_from_anywhere_is_shown_answered_and_never_recovered() -> None:
    async with hear() as heard:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.bind(("127.0.0.9", 0))
            sock.sendto(rehearsal(), ("127.0.0.1", heard.port))
            answer = await asyncio.wait_for(
                asyncio.get_running_loop().sock_recv(sock, 9000), LIMIT_S
            )
        assert is_answer(answer, 3)
        (note,) = heard.notes
        assert (note.kind, note.source) == ("rehearsal", "127.0.0.9")
        assert [e.event_class for e in note.rehearsal] == ["FATAL"]
        assert heard.counters == {"received": 1, "rehearsal": 1}
        assert not heard.events


@pytest.mark.parametrize(
    "changed, reason",
    [
        ({"authkey": bytes(32)}, "wrong authkey"),
        ({"server": "server2"}, "another server"),
        ({"issued_ms": 1_000}, "too long ago"),
    ],
)
async def test_rehearsals_without_proof_are_refused(
    changed: dict[str, object], reason: str
) -> None:
    async with hear() as heard:
        # Not even from the BMC's own address does it become a real trap.
        send(rehearsal(**changed), heard.port)
        await until(lambda: heard.counters.get("not_allowed"))
        assert not heard.events
        assert reason in heard.notes[0].text


async def test_a_rehearsal_cannot_be_repeated_or_turned_into_another() -> None:
    async with hear() as heard:
        data = rehearsal()
        send(data, heard.port, source="127.0.0.9")
        send(data, heard.port, source="127.0.0.9")
        await until(lambda: heard.counters.get("not_allowed"))
        assert heard.counters["rehearsal"] == 1
        changed = bytearray(rehearsal())
        changed[changed.index(b"BEAMBAM") + 15] ^= 0x30
        send(bytes(changed), heard.port, source="127.0.0.9")
        await until(lambda: heard.counters.get("not_allowed") == 2)


# ---------------------------------------------------------------------- parts


def test_admissions_follow_the_configuration() -> None:
    settings = settings_for(1162)
    (found,) = admissions(settings, "server1")
    assert (found.address, found.bmc) == (Endpoint("127.0.0.1", 1162), "127.0.0.1")
    assert admissions(settings, "server2") == ()
    other = Monitor(name="nic", type="mrw", servers=("server1",), category="NIC")
    assert admissions(Settings(monitors=(other,)), "server1") == ()


def test_the_default_port_is_that_of_traps() -> None:
    settings = settings_for(1)
    monitor = msgspec.structs.replace(settings.monitors[0], keywords={"server1": "192.168.0.1"})
    (found,) = admissions(msgspec.structs.replace(settings, monitors=(monitor,)), "server1")
    assert found.address.port == 162


@pytest.mark.parametrize(
    "host, plain",
    [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1")],
)
def test_sources_are_compared_in_one_spelling(host: str, plain: str) -> None:
    assert plain_source(host) == plain


def test_memory_of_the_past_is_bounded_and_fades() -> None:
    recent: Recent[int] = Recent()
    for n in range(KEEP + 10):
        recent.remember(str(n), n + 1, 0)
    assert recent.find("0", 0) is None
    assert recent.find(str(KEEP), 0) == KEEP + 1
    assert recent.find(str(KEEP), 10_000_000) is None


def test_the_bucket_fills_again() -> None:
    bucket = Bucket(10, 2)
    assert [bucket.take(0) for _ in range(3)] == [True, True, False]
    assert bucket.take(100)
    assert not bucket.take(150)


def test_invented_faults_pass_up_to_a_bound_and_fatal_ones_always() -> None:
    storm: Storm[int] = Storm()
    passed = sum(storm.admit(f"fault {n}", "on", False, n, 0) for n in range(KEEP * 2))
    assert passed == BURST + FAULTS or passed == max(BURST, FAULTS)
    assert all(storm.admit(f"fatal {n}", "on", True, n, 0) for n in range(KEEP * 2))
    # Not remembered for ever, nor without bound.
    assert len(storm._passed) <= GRAVE + FAULTS
    assert len(storm._held) <= HELD
    # What was held back because it was one too many is told when others have faded.
    assert len(storm.release(3 * REPEAT_MS)) == FAULTS


def test_an_end_that_came_in_a_storm_has_its_place_too() -> None:
    storm: Storm[int] = Storm()
    for n in range(KEEP):
        storm.admit(f"fault {n}", "on", False, n, 0)
    assert not storm.admit("fan", "over", False, 0, 0)
    assert storm.admit("processor", "over", False, 0, 0, ends_urgent=True)


def test_a_fatal_fault_that_comes_again_in_a_storm_is_told_again() -> None:
    storm: Storm[str] = Storm()
    for n in range(KEEP):
        storm.admit(f"fault {n}", "on", False, "", 0)
    for n in range(5):
        assert storm.admit("processor", "fatal", True, "", 1_000 + n)
        assert storm.admit("processor", "over", False, "", 1_000 + n, ends_urgent=True)
    # One that flaps is not told each time, and where it ended is.
    passed = 0
    for n in range(1_000):
        passed += storm.admit("processor", "fatal", True, "", 1_100 + n)
        passed += storm.admit("processor", "over", False, "", 1_100 + n, ends_urgent=True)
    assert passed < 150
    assert "over" in (storm._passed["processor"].state, *(held[0] for held in storm._held.values()))


def test_where_a_flapping_sensor_ended_is_told() -> None:
    storm: Storm[str] = Storm()
    passed: list[str] = []
    for n in range(1_000):
        state = "bad" if n % 2 == 0 else "good"
        if storm.admit("fan", state, False, state, n):
            passed.append(state)
    assert len(passed) < BURST + 100
    passed += storm.release(11_000)
    assert passed[-1] == "good"
    assert storm.release(21_000) == []


def test_in_a_storm_a_fatal_state_does_not_wait() -> None:
    storm: Storm[str] = Storm()
    for n in range(1_000):
        storm.admit("fan", "good" if n % 2 else "weak", False, "", n)
    assert storm.admit("fan", "fatal", True, "", 1_000)
    assert not storm.admit("fan", "fatal", True, "", 1_001)


async def test_the_end_of_a_storm_is_told_with_the_last_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("trap_delivery", "rates"):
        monkeypatch.setattr(f"clptools.intake.{module}.REPEAT_MS", 1_000)

    async with hear() as heard:
        for n in range(BURST + 100):
            event = pet_event("04h/01/2", sequence=n + 1, deasserted=bool(n % 2))
            send(build_pet_trap(event), heard.port)
        await until(lambda: len(heard.notes) == 2)
        assert [n.kind for n in heard.notes] == ["storm", "storm"]
        assert "is over" in heard.notes[1].text
        assert heard.events[-1].event_class == "CLEAR"
