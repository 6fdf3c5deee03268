"""Distributing a configuration: prepared on every server, then put in force on all, or on none.

A server that finds an error, or cannot be reached and is not proven down, stops the push before
anything changed.  Who missed a push takes it over from another server that has it (`catch_up`),
whether it was down, or the push was cut short: one that came into force anywhere is never undone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from clptools import paths
from clptools.agent import clock, configuration, notices
from clptools.api import messages as said
from clptools.api.messages import ConfigFiles
from clptools.config import history
from clptools.core.cluster.revision import OFFER_MS, joining
from clptools.core.model.requests import Outcome
from clptools.core.model.settings import FIRST_START, Pushed, Settings
from clptools.core.notices.form import Notice
from clptools.core.phrases import listed
from clptools.faults import ClpError, ExitCode
from clptools.reports import Report

PREPARE_TIMEOUT_S = 20.0
COMMIT_TIMEOUT_S = 20.0
REMOVED_TIMEOUT_S = 5.0
DOWN_TIMEOUT_S = 2.0
"""For a server that is proven down, and need not answer."""
_COMMIT_MARGIN_MS = 10_000
"""Before the core forgets that it was offered, it is too late to put it in force."""

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

    def unready(self, settings: Settings, server: str, vouched: bool) -> str:
        """Why they may not be put in force without a server that does not answer.

        Empty: they may.  `vouched`: whoever pushes takes that upon himself.
        """

    def reached(self, before: tuple[str, ...] | None, asker: str) -> bool:
        """Whether the servers of the revision before, or all, have ours, but for who asks."""

    async def offered(self, settings: Settings) -> None:
        """They are prepared here: returns when the core knows of it.  Raises ClpError."""

    def out_of_the_cluster(self, by: str, revision: int) -> None:
        """A push of `by` took this server out of the cluster."""

    def took_effect(self, settings: Settings, pushed: Pushed) -> None:
        """They are on this disk, and in force."""

    def tell(self, notice: Notice) -> None:
        """Records something."""


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that is prepared here."""

    files: ConfigFiles
    settings: Settings
    prepared_ms: int
    """Time since boot."""

    @property
    def pushed(self) -> Pushed:
        """By whom."""
        return self.files.pushed or Pushed()


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a push reaches."""

    known: dict[str, tuple[str, ...]]
    """Server that answers -> the servers of the configuration that it has."""
    revisions: list[int]
    down: dict[str, str]
    """Server that the push goes on without -> how it does not answer."""


class Pushes:
    """Both sides of a push: the server that distributes, and those that receive."""

    def __init__(self, receiver: Receiver, calls: Calls) -> None:
        self._here = receiver
        self._server = receiver.server
        self._calls = calls
        self._staged: dict[str, Staged] = {}
        self._changing = asyncio.Lock()
        """Held while the configuration of this server is pushed or taken over."""
        self._placing = asyncio.Lock()
        """Held while files are put in their places."""
        self._under_way: Pushed | None = None
        """The push that this server distributes."""
        self._said: Notice | None = None
        """What was told last of a revision that could not be taken over."""
        self._disk = configuration.Disk()

    # Receiving

    async def prepare(self, message: said.PushPrepare) -> Outcome:
        """Check it and keep it aside."""
        files = _signed(message)
        for push in [p for p, staged in self._staged.items() if _is_late(staged)]:
            await self.abort(said.PushAbort(push=push))
        for other in self._staged.values():
            return _busy(other.pushed, self._server)
        settings, reports = await self._disk.stage(message.push, files)
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
        for other in self._staged.values():
            # Prepared while this one was written aside.
            await self._disk.drop(message.push)
            return _busy(other.pushed, self._server)
        self._staged[message.push] = Staged(
            files=files, settings=settings, prepared_ms=clock.boot_ms()
        )
        await self._here.offered(settings)
        return Outcome()

    async def commit(self, message: said.PushCommit) -> Outcome:
        """Put it in force here."""
        found = self._staged.pop(message.push, None)
        if found is None or _is_late(found):
            await self._disk.drop(message.push)
            return Outcome(
                code=ExitCode.FAILED, text="it is no longer prepared here; push it again"
            )
        async with self._placing:
            return self._take(message.push, found)

    def _take(self, push: str, found: Staged) -> Outcome:
        number = found.files.revision
        refusal = self._here.refuses(found.settings)
        if history.revision() >= number:
            refusal = f"revision {history.revision()} came into force meanwhile; push it again"
        if refusal:
            # A group began to run since it was prepared.
            configuration.drop(push)
            return Outcome(code=ExitCode.REFUSED, text=refusal)
        try:
            kept = configuration.put_in_force(push, found.files)
        except OSError as error:
            return Outcome(code=ExitCode.FAILED, text=f"{error.filename}: {error.strerror}")
        if kept.main:
            self._here.tell(notices.EditKept(kept.main, number))
        if kept.scripts:
            folder = configuration.scripts_kept()
            self._here.tell(notices.ScriptsKept(number, kept.scripts, folder))
        self._here.took_effect(found.settings, found.pushed)
        return Outcome(text=" ".join(_without_password(found.settings)))

    async def abort(self, message: said.PushAbort) -> Outcome:
        """Forget it."""
        if self._staged.pop(message.push, None) is not None:
            await self._disk.drop(message.push)
        return Outcome()

    async def files(self) -> ConfigFiles:
        """The configuration in force here.  Raises ClpError."""
        return await self._disk.run(configuration.files)

    async def mend(self) -> None:
        """Put in place what an interrupted push left."""
        async with self._placing:
            with contextlib.suppress(ClpError):
                number = await self._disk.run(configuration.mend)
                if number:
                    self._here.tell(notices.PushMended(number))

    async def hashes(self, asker: str = "") -> said.ConfigHash:
        """This server's answer to `AskConfigHash`; without a configuration it has no files.

        Raises ClpError (TIMED_OUT): its disk hangs.
        """
        try:
            ours = await self._disk.run(configuration.compared)
        except ClpError as fault:
            if fault.code == ExitCode.TIMED_OUT:
                raise
            return said.ConfigHash(revision=history.revision(), files={})
        return said.ConfigHash(
            revision=ours.revision,
            files=ours.files,
            servers=self._names(),
            edit=ours.edit,
            reached=self._here.reached(ours.before, asker),
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

    async def distribute(self, files: ConfigFiles, pushed: Pushed) -> Outcome:
        """All or none; the outcome says which server was in the way."""
        if self._under_way is not None:
            return _busy(self._under_way, self._server)
        pushed = msgspec.structs.replace(pushed, server=self._server, at=clock.wall_s())
        self._under_way = pushed
        try:
            async with self._changing:
                return await self._distribute(files, pushed)
        finally:
            self._under_way = None

    async def _distribute(self, files: ConfigFiles, pushed: Pushed) -> Outcome:
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
        unknown = [name for name in pushed.without if name not in settings.names]
        if unknown:
            known = ", ".join(settings.names)
            text = f"nothing was changed: {unknown[0]}: no such server"
            return Outcome(code=ExitCode.NO_SUCH, text=text, hint=f"Known: {known}")
        before = self._here.settings_in_force()
        self._calls.introduce(settings)
        try:
            outcome = await self._both_phases(files, settings, pushed)
            if before is not None and not outcome.code:
                outcome = await self._tell_removed(before, settings, outcome)
            return outcome
        finally:
            self._calls.apply(self._here.settings_in_force())

    async def catch_up(self, server: str) -> None:
        """Take over from another server what it has in force and this one has not."""
        if self._changing.locked():
            return
        async with self._changing:
            try:
                await self._catch_up(server)
            except ClpError as error:
                logger.debug("no configuration from %s: %s", server, error.message)

    async def _catch_up(self, server: str) -> None:
        ask = said.AskConfigHash()
        there = await self._calls.call(server, ask, said.ConfigHash, PREPARE_TIMEOUT_S)
        number = await self._disk.run(history.revision)
        if there.revision == number and number:
            text, _ = await self._disk.run(history.text_in_force)
            if there.files.get(history.MAIN, "") not in ("", history.digest(text)):
                self._tell_once(notices.TwoRevisions(server, number))
        if there.revision <= number or self._server not in there.servers:
            return
        joins = self._server not in self._names()
        if joins and not there.reached:
            return
        files = await self._calls.call(server, said.AskConfig(), ConfigFiles, PREPARE_TIMEOUT_S)
        # What an agent found at its very first start, or an earlier version, nobody pushed.
        if files.revision <= number or files.pushed is None or files.pushed.how == FIRST_START:
            return
        push = _name()
        settings, reports = await self._disk.stage(push, files)
        if settings is None or self._server not in settings.names:
            why = str(reports[0]) if reports else f"{self._server} is none of its servers"
            await self._disk.drop(push)
            self._tell_once(notices.NotTakenOver(server, files.revision, why))
            return
        await self._here.offered(settings)
        staged = Staged(files=files, settings=settings, prepared_ms=clock.boot_ms())
        async with self._placing:
            outcome = self._take(push, staged)
        if outcome.code:
            self._tell_once(notices.NotTakenOver(server, files.revision, outcome.text))
        else:
            self._here.tell(notices.TakenOver(server, files.revision))

    def _tell_once(self, notice: Notice) -> None:
        if notice != self._said:
            self._said = notice
            self._here.tell(notice)

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
                if there.edit:
                    lines.append(f"{server}: its {paths.config_file()} {there.edit}")
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

    async def _both_phases(self, files: ConfigFiles, new: Settings, pushed: Pushed) -> Outcome:
        reach = await self._reach(new, pushed)
        if isinstance(reach, Outcome):
            return reach
        number = max(files.revision, *reach.revisions) + 1
        pushed = msgspec.structs.replace(pushed, without=tuple(reach.down))
        files = msgspec.structs.replace(files, revision=number, pushed=pushed)
        push = _name()
        refused = await self._prepare_all(push, files, sorted(reach.known))
        if refused is not None:
            return refused
        outcome = await self._commit_all(push, number, new, reach)
        if reach.down and not outcome.code:
            self._here.tell(notices.PushedWithout(number, tuple(reach.down), pushed.user))
        return outcome

    async def _reach(self, new: Settings, pushed: Pushed) -> Reach | Outcome:
        """What each server has; or which one is in the way."""
        reach = Reach(
            known={self._server: self._names()},
            revisions=[await self._disk.run(history.revision)],
            down={},
        )
        others = self._others(new)
        unready = {name: self._here.unready(new, name, name in pushed.without) for name in others}
        for server, there in await self._all_hashes(others, unready):
            if not isinstance(there, str):
                reach.revisions.append(there.revision)
                reach.known[server] = there.servers
            elif unready[server]:
                return _stopped(
                    f"{server}: {there}; {unready[server]}",
                    ExitCode.REFUSED,
                    f"Proof: clpstat --explain {server}.  If it is down: clpnode confirm-down "
                    f"{server} --yes.  Where only scripts, groups, monitors or time-outs change, "
                    f"your word is enough: --without {server}",
                )
            else:
                reach.down[server] = there
        return reach

    async def _prepare_all(
        self, push: str, files: ConfigFiles, servers: list[str]
    ) -> Outcome | None:
        """None: all have it aside.

        The first alone: of two pushes at once, one finds the other there, and goes no further.
        """
        pushed = files.pushed or Pushed()
        prepared = said.PushPrepare(push=push, files=files, user=pushed.user)
        for names in (servers[:1], servers[1:]):
            outcomes = await self._everywhere(names, prepared, PREPARE_TIMEOUT_S, self.prepare)
            refused = [(server, outcome) for server, outcome in outcomes if outcome.code]
            if refused:
                await self._forget(push, servers)
                server, outcome = refused[0]
                return _stopped(f"{server}: {outcome.text}", outcome.code, outcome.hint)
        return None

    async def _commit_all(self, push: str, number: int, new: Settings, reach: Reach) -> Outcome:
        last = joining(reach.known, reach.known)
        older = [name for name in reach.known if name not in last]
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
                text=f"revision {number} is in force, but not on: "
                + ", ".join(f"{server} ({why.text})" for server, why in lacking),
                hint="Each takes it over as soon as it can; see: clpcfctrl --compcheck",
            )
        where = f", without {listed(tuple(reach.down))}" if reach.down else " on every server"
        lines = [f"{s}: {why}; it takes part when it has it." for s, why in reach.down.items()]
        lines += _worth_knowing(new, last, mute)
        return Outcome(text="\n".join([f"Revision {number} is in force{where}.", *lines]))

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
            else f"{server} could not be told that it is out ({there.text}). Before clpnode starts "
            f"there: rm -r {paths.config_file()} {paths.history_dir()}"
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

    async def _all_hashes(
        self, others: Iterable[str], unready: Mapping[str, str] | None = None
    ) -> list[tuple[str, said.ConfigHash | str]]:
        """What each has, or why that is not known; `unready`: as `Reach` needs them."""

        async def ask(server: str) -> tuple[str, said.ConfigHash | str]:
            needed = unready is None or unready[server]
            timeout_s = PREPARE_TIMEOUT_S if needed else DOWN_TIMEOUT_S
            try:
                return server, await self._calls.call(
                    server, said.AskConfigHash(), said.ConfigHash, timeout_s
                )
            except ClpError as error:
                # Whoever shows it names the server first.
                return server, error.message.removeprefix(f"{server} ")

        return await asyncio.gather(*(ask(server) for server in others))


def _signed(message: said.PushPrepare) -> ConfigFiles:
    """Its files; an earlier version says the user alone."""
    if message.files.pushed is not None:
        return message.files
    return msgspec.structs.replace(message.files, pushed=Pushed(user=message.user))


def _is_late(staged: Staged) -> bool:
    return clock.boot_ms() > staged.prepared_ms + OFFER_MS - _COMMIT_MARGIN_MS


def _busy(other: Pushed, server: str) -> Outcome:
    return Outcome(
        code=ExitCode.REFUSED,
        text=f"a push by {other.user or 'somebody'} from {other.server or server} is under way",
        hint=f"Nothing of yours is lost.  Push again in a moment; if that one was cut short, in "
        f"{(OFFER_MS - _COMMIT_MARGIN_MS) // 1000} s.",
    )


def _invalid(reports: Iterable[Report]) -> Outcome:
    errors = [str(report) for report in reports if report.severity == "error"]
    return Outcome(code=ExitCode.INVALID_CONFIG, text="\n".join(errors))


def _stopped(text: str, code: int = ExitCode.FAILED, hint: str = "") -> Outcome:
    return Outcome(code=code, text=f"nothing was changed: {text}", hint=hint)


def _name() -> str:
    return secrets.token_hex(8)


def _worth_knowing(
    settings: Settings, new: tuple[str, ...], mute: Mapping[str, Sequence[str]]
) -> list[str]:
    """What a push leaves to be known or done.

    `new`: servers that join by it; `mute`: server whose BMC has no password somewhere -> where.
    """
    told = []
    stops = [group.name for group in settings.groups if group.resources]
    if new and stops:
        verb = "is" if len(new) == 1 else "are"
        told.append(
            f"{listed(new)} {verb} new: the stop scripts of {listed(stops)} run there once "
            "before anything else."
        )
    told += [
        f"The password of the BMC of {bmc} is missing on {listed(there)}. Set it there: "
        f"clpbmccnf {bmc}"
        for bmc, there in mute.items()
    ]
    return told


def _without_password(settings: Settings) -> list[str]:
    """The servers whose BMC cannot be asked from here, as its password is not there."""
    return [
        server.name
        for server in settings.servers
        if server.bmc is not None and not os.path.lexists(paths.bmc_password_file(server.name))
    ]
