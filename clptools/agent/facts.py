"""What this agent tells of its machine when it is asked, and what the others tell.

The question names the configuration that is meant, since it may be one that is still to be pushed.
Looking is bounded: one look at a time, in a thread, and a question soon after gets the same answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from clptools import paths
from clptools.agent import clock
from clptools.api import messages as said
from clptools.common.threads import in_daemon_thread
from clptools.config.load import loads
from clptools.core.model.machine import AccountFault, Facts, ServerFacts
from clptools.core.model.settings import Settings
from clptools.faults import ClpError, ExitCode
from clptools.registries import registries

CONFIG_BYTES = 512 * 1024
REPLY_BYTES = 512 * 1024
WITHIN_S = 10.0
"""For one server's answer; all are asked at once."""
_LOOK_S = 7.0
"""A resource agent may take 5 s until it is given up (`common/agent_files.py`)."""
_LOGIN_S = 5.0
_KEPT_S = 5.0
_SHOWN_PROCESSES = 4096
AskAccount = Callable[[], Awaitable[dict[str, AccountFault]]]
"""What our account at the own BMC lacks, by a real login."""
R = TypeVar("R")


class Calls(Protocol):
    """`links.peer.PeerChannel`, as far as it asks other agents."""

    async def call(self, to: str, request: msgspec.Struct, reply: type[R], timeout_s: float) -> R:
        """Its reply.  Raises ClpError."""


class MachineFacts:
    """The facts of this machine, and of the others."""

    def __init__(self, server: str, in_force: Callable[[], Settings | None], calls: Calls) -> None:
        self._server = server
        self._in_force = in_force
        self._calls = calls
        self._lock = asyncio.Lock()
        self._kept: tuple[str, float, Facts] | None = None
        """Which configuration it was asked for, when, and the answer."""
        self._looking: asyncio.Future[tuple[Facts, AskAccount | None]] | None = None

    async def own(self, config: str) -> Facts:
        """This machine, as that configuration would need it; empty: the one in force.

        Raises ClpError: it is no configuration, or looking takes too long.
        """
        key = hashlib.sha256(config.encode()).hexdigest()
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._kept is not None and self._kept[0] == key and now < self._kept[1] + _KEPT_S:
                return self._kept[2]
            found = await self._look(config)
            self._kept = key, asyncio.get_running_loop().time(), found
            return found

    async def all(self, config: str) -> tuple[ServerFacts, ...]:
        """What every server of that configuration tells; a server that does not answer is named.

        Raises ClpError: it is no configuration.
        """
        settings = await asyncio.to_thread(self._settings, config)
        return tuple(await asyncio.gather(*(self._of(name, config) for name in settings.names)))

    async def _of(self, server: str, config: str) -> ServerFacts:
        try:
            async with asyncio.timeout(WITHIN_S):
                if server == self._server:
                    return ServerFacts(name=server, facts=await self.own(config))
                found = await self._calls.call(
                    server, said.AskFacts(config=config), said.ToldFacts, WITHIN_S
                )
        except TimeoutError:
            return ServerFacts(name=server, unreachable=f"no answer within {WITHIN_S:g} s")
        except ClpError as fault:
            return ServerFacts(name=server, unreachable=fault.message[:200])
        # It read its clock when it answered: only the way back, milliseconds, is not counted.
        off_s = found.wall - clock.wall_s()
        # Nobody speaks for another server.
        facts = msgspec.structs.replace(found.facts, server=server)
        return ServerFacts(name=server, facts=facts, clock_off_s=round(off_s, 3))

    def _settings(self, config: str) -> Settings:
        if not config:
            settings = self._in_force()
            if settings is None:
                raise ClpError(ExitCode.REFUSED, f"{self._server} has no configuration")
            return settings
        if len(config) > CONFIG_BYTES:
            raise ClpError(ExitCode.INVALID_CONFIG, f"a configuration of {len(config)} characters")
        loaded = loads(config, registries(), paths.config_file())
        if loaded.settings is None:
            raise ClpError(ExitCode.INVALID_CONFIG, "it is no configuration that can be used")
        return loaded.settings

    async def _look(self, config: str) -> Facts:
        if self._looking is not None and not self._looking.done():
            raise ClpError(ExitCode.FAILED, "its /proc, /sys or disk hangs")
        looking = in_daemon_thread("facts", lambda: self._gathered(config))
        self._looking = looking
        # Not cancelled: a thread that hangs cannot be ended, and no second one is begun beside it.
        done, _ = await asyncio.wait({looking}, timeout=_LOOK_S)
        if not done:
            looking.add_done_callback(_taken)
            raise ClpError(ExitCode.FAILED, f"looking at its machine takes more than {_LOOK_S:g} s")
        facts, ask_account = looking.result()
        if ask_account is not None:
            facts = msgspec.structs.replace(facts, bmc=await ask_account())
        return bounded(facts)

    def _gathered(self, config: str) -> tuple[Facts, AskAccount | None]:
        # Loaded by the first question, and in this thread: an idle agent needs none of it.
        from clptools.config.facts import gather

        settings = self._settings(config)
        own = settings.server(self._server)
        if own is None:
            raise ClpError(ExitCode.REFUSED, f"{self._server} is none of its servers")
        ask_account = None
        if own.bmc is not None and os.access(paths.bmc_password_file(self._server), os.R_OK):
            from clptools.hardware.accounts import account_faults

            ask_account = partial(account_faults, settings, (self._server,), _LOGIN_S)
        return gather(settings, registries()), ask_account


def _taken(looked: asyncio.Future[tuple[Facts, AskAccount | None]]) -> None:
    if not looked.cancelled():
        looked.exception()


def bounded(facts: Facts) -> Facts:
    """The facts, without lists that would make an answer too long: they count as not known."""
    replace = msgspec.structs.replace
    if len(facts.processes) > _SHOWN_PROCESSES:
        facts = replace(facts, processes=frozenset(sorted(facts.processes)[:_SHOWN_PROCESSES]))
    if len(msgspec.msgpack.encode(facts)) > REPLY_BYTES:
        facts = replace(facts, devices={})
    if len(msgspec.msgpack.encode(facts)) > REPLY_BYTES:
        facts = Facts(server=facts.server, watchdogs=facts.watchdogs)
    return facts
