"""A trap receiver on loopback, with a BMC that is 127.0.0.1."""

from __future__ import annotations

import asyncio
import shutil
import socket
import time

import pytest

from clptools.core.model.events import HardwareSeen
from clptools.core.model.settings import Bmc, Monitor, Server, Settings, SnmpUser
from clptools.faults import ClpError, ExitCode
from clptools.intake.trap_notes import Note
from clptools.intake.trap_receiver import TrapReceiver
from clptools.intake.usm import UserKeys
from tests.conftest import LIMIT_S

AUTHKEY = bytes(range(32))


def settings_for(port: int, *, bmc: str = "127.0.0.1", host: str = "127.0.0.1", **keys) -> Settings:
    keyword = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    monitor = Monitor(
        name="mrw1",
        type="mrw",
        servers=("server1",),
        category="BMCNOTICE",
        keywords={"server1": keyword},
        **keys,
    )
    return Settings(
        servers=(Server(name="server1", bmc=Bmc(address=bmc)), Server(name="server2")),
        monitors=(monitor,),
    )


class Heard:
    """A receiver with what it told its agent."""

    def __init__(self, settings: Settings, port: int, users: dict[str, UserKeys] | None = None):
        self.port = port
        self.events: list[HardwareSeen] = []
        self.notes: list[Note] = []
        self.conditions: dict[str, tuple[str, tuple[str, ...]]] = {}
        """What is not well now: name -> text and monitors."""
        self.users = users or {}
        self.durable = asyncio.Event()
        self.durable.set()
        self.failing = False

        def keys(user: SnmpUser) -> UserKeys:
            found = self.users.get(user.user)
            if found is None:
                raise ClpError(ExitCode.FAILED, f"{user.user}: no such file")
            return found

        self.receiver = TrapReceiver(
            server="server1",
            settings=settings,
            on_event=self._event,
            on_note=self.notes.append,
            on_condition=self._condition,
            wall=time.time,
            keys=(AUTHKEY,),
            boots=7,
            read_user_keys=keys,
        )

    def _condition(self, name: str, text: str, monitors: tuple[str, ...]) -> None:
        self.conditions.pop(name, None)
        if text:
            self.conditions[name] = text, monitors

    async def _event(self, event: HardwareSeen) -> None:
        await self.durable.wait()
        if self.failing:
            raise OSError("disk full")
        self.events.append(event)

    @property
    def counters(self) -> dict[str, int]:
        return {k: v for k, v in self.receiver.counters.as_dict().items() if v}

    async def __aenter__(self) -> Heard:
        self.receiver.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.durable.set()
        await self.receiver.close()


async def run(*argv: str, seconds: float = LIMIT_S) -> tuple[int, str]:
    """Runs a program of net-snmp without its configuration files; exit code and output."""
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "SNMPCONFPATH": "/nonexistent", "MIBS": ""},
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        raise
    return process.returncode or 0, out.decode()


def send(data: bytes, port: int, source: str = "127.0.0.1", host: str = "127.0.0.1") -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.sendto(data, (host, port))
