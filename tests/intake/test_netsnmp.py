"""Traps and INFORMs of net-snmp's own programs, over real UDP."""

from __future__ import annotations

import asyncio

import pytest

from clptools.core.model.settings import SnmpUser
from clptools.intake.rehearsal import pet_event
from clptools.intake.usm import UserKeys
from tests.conftest import free_port, until
from tests.intake.conftest import Heard, run, settings_for

PET = "1.3.6.1.4.1.3183.1.1"
EVENT = pet_event("07h/6F/0", sequence=77)
OCTETS = EVENT.octets().hex()
V2_ARGUMENTS = ("", f"{PET}.0.{EVENT.specific}", f"{PET}.1", "x", OCTETS)


def hear(port: int, users: tuple[SnmpUser, ...] = (), keys: UserKeys | None = None) -> Heard:
    known = {user.user: keys or UserKeys(auth=b"authpass1", priv=b"privpass1") for user in users}
    return Heard(settings_for(port, snmpv3_users=users), port, known)


async def one_fatal(heard: Heard) -> None:
    await until(lambda: heard.events)
    (event,) = heard.events
    assert (event.event_class, event.monitor, event.source) == ("FATAL", "mrw1", "127.0.0.1")
    assert event.meaning == "processor 1: internal error (IERR)"
    assert heard.counters["accepted"] == 1


async def test_a_v1_trap_reaches_the_agent() -> None:
    async with hear(free_port()) as heard:
        code, out = await run(
            "snmptrap", "-v1", "-c", "public", f"127.0.0.1:{heard.port}",
            PET, "192.168.0.11", "6", str(EVENT.specific), "", f"{PET}.1", "x", OCTETS,
        )  # fmt: skip
        assert code == 0, out
        await one_fatal(heard)
        assert "public" not in repr(heard.events)


@pytest.mark.parametrize("inform", [False, True], ids=["trap", "inform"])
async def test_a_v2c_notification_reaches_the_agent(inform: bool) -> None:
    async with hear(free_port()) as heard:
        code, out = await run(
            "snmpinform" if inform else "snmptrap", "-v2c", "-c", "public",
            "-r", "0", "-t", "5", f"127.0.0.1:{heard.port}", *V2_ARGUMENTS,
        )  # fmt: skip
        assert code == 0, out
        await one_fatal(heard)


async def test_an_inform_is_answered_only_when_its_event_is_durable() -> None:
    async with hear(free_port()) as heard:
        heard.durable.clear()
        inform = asyncio.create_task(
            run(
                "snmpinform",
                "-v2c",
                "-c",
                "public",
                "-r",
                "3",
                "-t",
                "1",
                f"127.0.0.1:{heard.port}",
                *V2_ARGUMENTS,
            )
        )
        # The second copy of it is known for what it is, and waits for the same disk.
        await until(lambda: heard.counters.get("duplicate"))
        assert not inform.done()
        heard.durable.set()
        code, out = await inform
        assert code == 0, out
        await one_fatal(heard)


async def test_an_inform_that_cannot_be_kept_is_not_answered() -> None:
    async with hear(free_port()) as heard:
        heard.failing = True
        code, _ = await run(
            "snmpinform", "-v2c", "-c", "public", "-r", "0", "-t", "0.3",
            f"127.0.0.1:{heard.port}", *V2_ARGUMENTS,
        )  # fmt: skip
        assert code != 0
        assert heard.counters["undelivered"] == 1
        heard.failing = False
        code, out = await run(
            "snmpinform", "-v2c", "-c", "public", "-r", "0", "-t", "5",
            f"127.0.0.1:{heard.port}", *V2_ARGUMENTS,
        )  # fmt: skip
        assert code == 0, out
        assert len(heard.events) == 1


PROTOCOLS = [
    ("sha256", "SHA-256", "aes", "AES"),
    ("sha", "SHA", "aes", "AES"),
    ("md5", "MD5", "des", "DES"),
    ("sha512", "SHA-512", "aes256", "AES-256"),
    ("sha384", "SHA-384", "aes192", "AES-192"),
    ("sha224", "SHA-224", "none", ""),
]


@pytest.mark.parametrize("program", ["snmptrap", "snmpinform"])
@pytest.mark.parametrize("auth, auth_name, priv, priv_name", PROTOCOLS, ids=lambda p: str(p))
async def test_v3_notifications_of_every_protocol(
    program: str, auth: str, auth_name: str, priv: str, priv_name: str
) -> None:
    user = SnmpUser(user="bmc", auth_protocol=auth, priv_protocol=priv)

    async with hear(free_port(), (SnmpUser(user="other"), user)) as heard:
        security = ["-l", "authNoPriv"]
        if priv != "none":
            security = ["-l", "authPriv", "-x", priv_name, "-X", "privpass1"]
        code, out = await run(
            program, "-v3", "-u", "bmc", "-a", auth_name, "-A", "authpass1", *security,
            "-r", "1", "-t", "5", f"127.0.0.1:{heard.port}", *V2_ARGUMENTS,
        )  # fmt: skip
        assert code == 0, out
        await one_fatal(heard)


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["-u", "nobody", "-A", "authpass1", "-X", "privpass1"], "is not configured"),
        (["-u", "bmc", "-A", "wrongpass", "-X", "privpass1"], "wrong key"),
        (["-u", "bmc", "-A", "authpass1", "-X", "wrongpass"], "wrong privacy key"),
    ],
    ids=["user", "auth", "priv"],
)
@pytest.mark.parametrize("program", ["snmptrap", "snmpinform"])
async def test_wrong_v3_credentials_are_counted_and_told(
    program: str, arguments: list[str], reason: str
) -> None:
    async with hear(free_port(), (SnmpUser(user="bmc"),)) as heard:
        code, _ = await run(
            program, "-v3", "-l", "authPriv", "-a", "SHA-256", "-x", "AES", *arguments,
            "-r", "0", "-t", "1", f"127.0.0.1:{heard.port}", *V2_ARGUMENTS,
        )  # fmt: skip
        await until(lambda: heard.counters.get("bad_community"))
        assert (code != 0) is (program == "snmpinform")
        assert not heard.events
        assert any(reason in note.text for note in heard.notes), heard.notes


async def test_a_user_with_privacy_is_not_heard_without_it() -> None:
    async with hear(free_port(), (SnmpUser(user="bmc"),)) as heard:
        await run(
            "snmptrap", "-v3", "-l", "authNoPriv", "-u", "bmc", "-a", "SHA-256",
            "-A", "authpass1", f"127.0.0.1:{heard.port}", *V2_ARGUMENTS,
        )  # fmt: skip
        await until(lambda: heard.counters.get("bad_community"))
        assert not heard.events


async def test_without_a_community_of_their_own_v3_monitors_take_no_v2c() -> None:
    async with hear(free_port(), (SnmpUser(user="bmc"),)) as heard:
        await run("snmptrap", "-v2c", "-c", "public", f"127.0.0.1:{heard.port}", *V2_ARGUMENTS)
        await until(lambda: heard.counters.get("bad_community"))
        assert not heard.events


@pytest.mark.parametrize("version", ["1", "2c"])
async def test_a_trap_of_a_vendors_mib_reaches_the_agent(version: str) -> None:
    """Huawei's names have no 0 before the last number: net-snmp's v1 form must be known as well."""
    group = "1.3.6.1.4.1.2011.2.235.1.1.500"
    said = [f"{group}.1.2", "s", "PS1 Status", f"{group}.1.4", "i"]
    name = {"1": [f"{group}.11.4", "127.0.0.1", "6", "{}", ""], "2c": ["", f"{group}.11.4.{{}}"]}

    async with hear(free_port()) as heard:
        for number, severity in ((9, "3"), (10, "1")):
            words = [word.format(number) for word in name[version]]
            place = f"127.0.0.1:{heard.port}"
            code, out = await run(
                "snmptrap", f"-v{version}", "-c", "public", place, *words, *said, severity
            )
            assert code == 0, out
            await until(lambda number=number: len(heard.events) == number - 8)
        failed, mended = heard.events
        assert (failed.event_class, mended.event_class) == ("ERROR", "CLEAR")
        assert failed.key == mended.key == "trap/huawei-ibmc/11.4.4/2/PS1 Status"
