"""Distributing a configuration: prepared on every server, then put in force on all, or on none.

A server that cannot be reached, or finds an error, stops the push before anything changed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, TypeVar

import msgspec

from clptools import paths
from clptools.agent import clock, configuration
from clptools.api import messages as said
from clptools.api.messages import ConfigFiles
from clptools.config import history
from clptools.core.cluster.revision import OFFER_MS, joining
from clptools.core.model.requests import Outcome
from clptools.core.model.settings import Settings
from clptools.core.phrases import listed
from clptools.faults import ClpError, ExitCode
from clptools.reports import Report

PREPARE_TIMEOUT_S = 20.0
COMMIT_TIMEOUT_S = 20.0
REMOVED_TIMEOUT_S = 5.0
_COMMIT_MARGIN_MS = 10_000
"""Before the core forgets that it was offered, it is too late to put it in force."""
_STAGED_LIMIT = 4

R = TypeVar("R")
M = TypeVar("M", bound=msgspec.Struct)

logger = logging.getLogger(__name__)


class Calls(Protocol):
    """`links.peer.PeerChannel`, as far as a push needs it."""

    def introduce(self, settings: Settings) -> None:
        """Reach the servers of a configuration that is not in force yet."""

    def apply(self, settings: Settings | None) -> None:
        """Reach the servers of the one in force only."""

    async def call(self, to: str, request: msgspec.Struct, reply: type[R], timeout_s: float) -> R:
        """Ask a server."""


class Receiver(Protocol):
    """`service.Service`, as far as a push needs it: where a configuration takes effect."""

    @property
    def server(self) -> str:
        """Its name."""

    def settings_in_force(self) -> Settings | None:
        """The configuration in force; None: there is none yet."""

    def runs(self) -> bool:
        """Whether the cluster service runs on this server."""

    def online(self) -> set[str]:
        """Other servers that run now."""

    def refuses(self, settings: Settings) -> str:
        """Why these cannot take effect now; empty: they can."""

    async def offered(self, settings: Settings) -> None:
        """They are prepared here: returns when the core knows of it.  Raises ClpError."""

    def out_of_the_cluster(self, by: str, revision: int) -> None:
        """A push of `by` took this server out of the cluster."""

    def took_effect(self, settings: Settings, user: str) -> None:
        """They are on this disk, and in force."""


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that is prepared here."""

    files: ConfigFiles
    settings: Settings
    user: str
    prepared_ms: int
    """Time since boot."""


class Pushes:
    """Both sides of a push: the server that distributes, and those that receive."""

    def __init__(self, receiver: Receiver, calls: Calls) -> None:
        self._here = receiver
        self._server = receiver.server
        self._calls = calls
        self._staged: dict[str, Staged] = {}
        self._pushing = asyncio.Lock()
        self._disk = configuration.Disk()

    # Receiving

    async def prepare(self, message: said.PushPrepare) -> Outcome:
        """Check it and keep it aside."""
        if len(self._staged) >= _STAGED_LIMIT:
            await self.abort(said.PushAbort(push=next(iter(self._staged))))
        settings, reports = await self._disk.stage(message.push, message.files)
        if settings is None:
            return _invalid(reports)
        refusal = self._here.refuses(settings)
        if refusal:
            await self._disk.drop(message.push)
            return Outcome(
                code=ExitCode.REFUSED,
                text=refusal,
                hint="stop it first (clpgrp -t), or leave its resources as they are",
            )
        self._staged[message.push] = Staged(
            files=message.files,
            settings=settings,
            user=message.user,
            prepared_ms=clock.boot_ms(),
        )
        await self._here.offered(settings)
        return Outcome()

    async def commit(self, message: said.PushCommit) -> Outcome:
        """Put it in force here."""
        found = self._staged.pop(message.push, None)
        latest_ms = OFFER_MS - _COMMIT_MARGIN_MS
        if found is None or clock.boot_ms() > found.prepared_ms + latest_ms:
            await self._disk.drop(message.push)
            return Outcome(
                code=ExitCode.FAILED, text="it is no longer prepared here; push it again"
            )
        refusal = self._here.refuses(found.settings)
        if refusal:
            # A group began to run since it was prepared.
            await self._disk.drop(message.push)
            return Outcome(code=ExitCode.REFUSED, text=refusal)
        try:
            configuration.put_in_force(message.push, found.files)
        except OSError as error:
            return Outcome(code=ExitCode.FAILED, text=f"{error.filename}: {error.strerror}")
        self._here.took_effect(found.settings, found.user)
        return Outcome(text=" ".join(_without_password(found.settings)))

    async def abort(self, message: said.PushAbort) -> Outcome:
        """Forget it."""
        if self._staged.pop(message.push, None) is not None:
            await self._disk.drop(message.push)
        return Outcome()

    async def files(self) -> ConfigFiles:
        """The configuration in force here.  Raises ClpError."""
        return await self._disk.run(configuration.files)

    async def hashes(self) -> said.ConfigHash:
        """This server's answer to `AskConfigHash`; without a configuration it has no files.

        Raises ClpError (TIMED_OUT): its disk hangs.
        """
        try:
            files = await self.files()
        except ClpError as fault:
            if fault.code == ExitCode.TIMED_OUT:
                raise
            return said.ConfigHash(revision=0, files={})
        return said.ConfigHash(
            revision=files.revision,
            files=await asyncio.to_thread(configuration.hashes, files),
            servers=self._names(),
        )

    def _names(self) -> tuple[str, ...]:
        """The servers of the configuration in force here; none without one."""
        current = self._here.settings_in_force()
        return () if current is None else current.names

    def removed(self, message: said.PushRemoved, by: str) -> Outcome:
        """We are out of the cluster: booted with its configuration, we could rule beside it.

        The server that pushed did not see our cluster service run.  Where it runs all the same,
        they do not hear each other, and a service must not lose its configuration.
        """
        if self._here.runs():
            return Outcome(code=ExitCode.REFUSED, text="its cluster service runs")
        try:
            configuration.forget()
        except OSError as error:
            return Outcome(code=ExitCode.FAILED, text=f"{error.filename}: {error.strerror}")
        logger.warning(
            "%s took %s out of the cluster (revision %d): %s is not there any more",
            *(by, self._server, message.revision, paths.config_file()),
        )
        self._here.out_of_the_cluster(by, message.revision)
        return Outcome()

    # Distributing

    async def distribute(self, files: ConfigFiles, user: str) -> Outcome:
        """All or none; the outcome says which server was in the way."""
        async with self._pushing:
            settings, reports = await self._checked(files)
            if settings is None:
                return _invalid(reports)
            removed = self._here.online() - set(settings.names)
            if removed:
                server = min(removed)
                return Outcome(
                    code=ExitCode.REFUSED,
                    text=f"nothing was changed: {server} still runs, and is not among its servers",
                    hint=f"Stop the cluster service there first: clpcl -t -h {server}",
                )
            others = self._others(settings)
            before = self._here.settings_in_force()
            self._calls.introduce(settings)
            try:
                outcome = await self._both_phases(files, user, others, settings)
                if before is not None and not outcome.code:
                    outcome = await self._tell_removed(before, settings, outcome)
                return outcome
            finally:
                self._calls.apply(self._here.settings_in_force())

    async def differences(self, files: ConfigFiles) -> Outcome:
        """Which servers have another configuration than `files`; nothing is changed."""
        settings, reports = await self._checked(files)
        if settings is None:
            return _invalid(reports)
        wanted = configuration.hashes(files)
        lines = []
        self._calls.introduce(settings)
        try:
            for server, there in await self._all_hashes(self._others(settings)):
                if isinstance(there, str):
                    lines.append(f"{server}: {there}")
                    continue
                lines += [
                    f"{server}: {path} differs"
                    for path in sorted({*wanted, *there.files})
                    if wanted.get(path) != there.files.get(path)
                ]
        finally:
            self._calls.apply(self._here.settings_in_force())
        return Outcome(
            code=ExitCode.FOUND if lines else ExitCode.DONE,
            text="\n".join(lines) or "All servers have this configuration.",
        )

    async def _checked(self, files: ConfigFiles) -> tuple[Settings | None, tuple[Report, ...]]:
        push = _name()
        found = await self._disk.stage(push, files)
        if found[0] is not None:
            await self._disk.drop(push)
        return found

    def _others(self, settings: Settings) -> list[str]:
        return [name for name in settings.names if name != self._server]

    async def _both_phases(
        self, files: ConfigFiles, user: str, others: list[str], settings: Settings
    ) -> Outcome:
        revisions = [files.revision, await self._disk.run(history.revision)]
        known = {self._server: self._names()}
        for server, there in await self._all_hashes(others):
            if isinstance(there, str):
                return _stopped(f"{server}: {there}")
            revisions.append(there.revision)
            known[server] = there.servers
        files = msgspec.structs.replace(files, revision=max(revisions) + 1)
        push = _name()
        prepared = said.PushPrepare(push=push, files=files, user=user)
        outcomes = await self._everywhere(
            (self._server, *others), prepared, PREPARE_TIMEOUT_S, self.prepare
        )
        refused = [(server, outcome) for server, outcome in outcomes if outcome.code]
        if refused:
            await self._forget(push, (self._server, *others))
            server, outcome = refused[0]
            return _stopped(f"{server}: {outcome.text}", outcome.code, outcome.hint)
        last = joining((self._server, *others), known)
        older = [name for name in (self._server, *others) if name not in last]
        mute: dict[str, list[str]] = {}
        lacking = await self._put_in_force(push, older, mute)
        if lacking and last:
            await self._forget(push, last)
        if lacking and older == [self._server]:
            _, own = lacking[0]
            return _stopped(f"{self._server}: {own.text}", own.code, own.hint)
        if lacking:
            waits = Outcome(code=ExitCode.FAILED, text="joins when the others have it")
            lacking += [(server, waits) for server in last]
        else:
            lacking = await self._put_in_force(push, last, mute)
        if lacking:
            return Outcome(
                code=ExitCode.FAILED,
                text=f"revision {files.revision} is in force, but not on: "
                + ", ".join(f"{server} ({why.text})" for server, why in lacking),
                hint="Push again as soon as they answer: clpcfctrl --push",
            )
        told = []
        stops = [group.name for group in settings.groups if group.resources]
        if last and stops:
            verb = "is" if len(last) == 1 else "are"
            told.append(
                f"{listed(last)} {verb} new: the stop scripts of {listed(stops)} run there once "
                "before anything else."
            )
        told += [
            f"The password of the BMC of {bmc} is missing on {listed(there)}. Set it there: "
            f"clpbmccnf {bmc}"
            for bmc, there in mute.items()
        ]
        text = f"Revision {files.revision} is in force on every server."
        return Outcome(text="\n".join([text, *told]))

    async def _put_in_force(
        self, push: str, servers: Iterable[str], mute: dict[str, list[str]]
    ) -> list[tuple[str, Outcome]]:
        """On these servers; returns on which it failed, and how.

        `mute` gets the servers whose BMC has no password there: BMC's server -> where.
        """
        commit = said.PushCommit(push=push)
        outcomes = await self._everywhere(servers, commit, COMMIT_TIMEOUT_S, self.commit)
        for server, outcome in outcomes:
            for bmc in () if outcome.code else outcome.text.split():
                mute.setdefault(bmc, []).append(server)
        return [(server, outcome) for server, outcome in outcomes if outcome.code]

    async def _tell_removed(self, before: Settings, now: Settings, outcome: Outcome) -> Outcome:
        """Servers that are out of the cluster forget its configuration, where they answer."""
        removed = [name for name in before.names if name not in now.names]
        if not removed:
            return outcome
        self._calls.introduce(before)
        message = said.PushRemoved(revision=await self._disk.run(history.revision))
        told = await self._everywhere(removed, message, REMOVED_TIMEOUT_S)
        lines = [
            f"{server} has no configuration any more."
            if not there.code
            else f"{server} could not be told that it is out ({there.text}): take its "
            f"{paths.config_file()} away before it boots."
            for server, there in told
        ]
        return msgspec.structs.replace(outcome, text="\n".join([outcome.text, *lines]))

    async def _forget(self, push: str, servers: Iterable[str]) -> None:
        """What is prepared there is not put in force."""
        await self._everywhere(servers, said.PushAbort(push=push), 2.0, self.abort)

    async def _everywhere(
        self,
        servers: Iterable[str],
        message: M,
        timeout_s: float,
        here: Callable[[M], Awaitable[Outcome]] | None = None,
    ) -> list[tuple[str, Outcome]]:
        """What all others of `servers` answered, then what `here` says, if we are one."""
        names = list(servers)

        async def there(server: str) -> tuple[str, Outcome]:
            try:
                return server, await self._calls.call(server, message, Outcome, timeout_s)
            except ClpError as error:
                return server, Outcome(code=error.code, text=error.message, hint=error.hint)

        outcomes = await asyncio.gather(*(there(n) for n in names if n != self._server))
        if here is None or self._server not in names:
            return outcomes
        return [*outcomes, (self._server, await self._told(here(message)))]

    async def _told(self, work: Awaitable[Outcome]) -> Outcome:
        try:
            return await work
        except ClpError as error:
            return Outcome(code=error.code, text=error.message, hint=error.hint)

    async def _all_hashes(self, others: Iterable[str]) -> list[tuple[str, said.ConfigHash | str]]:
        async def ask(server: str) -> tuple[str, said.ConfigHash | str]:
            try:
                return server, await self._calls.call(
                    server, said.AskConfigHash(), said.ConfigHash, PREPARE_TIMEOUT_S
                )
            except ClpError as error:
                return server, error.message

        return await asyncio.gather(*(ask(server) for server in others))


def _invalid(reports: Iterable[Report]) -> Outcome:
    errors = [str(report) for report in reports if report.severity == "error"]
    return Outcome(code=ExitCode.INVALID_CONFIG, text="\n".join(errors))


def _stopped(text: str, code: int = ExitCode.FAILED, hint: str = "") -> Outcome:
    return Outcome(code=code, text=f"nothing was changed: {text}", hint=hint)


def _name() -> str:
    return secrets.token_hex(8)


def _without_password(settings: Settings) -> list[str]:
    """The servers whose BMC cannot be asked from here, as its password is not there."""
    return [
        server.name
        for server in settings.servers
        if server.bmc is not None and not os.path.lexists(paths.bmc_password_file(server.name))
    ]
