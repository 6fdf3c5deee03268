"""Distributing a configuration: prepared on every server, then put in force on all, or on none.

What each server does with it, this one too, is in `push_receiver.py`.

A server that finds an error, or cannot be reached and is not proven down, stops the push before
anything changed.  A server that missed a push, because it was down or the push was cut short, takes
it over from another one that has it (`catch_up`): a push that came into force anywhere is never
undone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from clptools import paths
from clptools.agent import clock, configuration, notices
from clptools.agent.push_receiver import (
    Here,
    PushReceiver,
    busy,
    invalid,
    names_in_force,
    new_name,
)
from clptools.api import messages as said
from clptools.api.messages import ConfigFiles
from clptools.config import history
from clptools.core.cluster.revision import joining
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


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a push reaches."""

    known: dict[str, tuple[str, ...]]
    """Server that answers -> the servers of the configuration that it has."""
    revisions: list[int]
    down: dict[str, str]
    """Server that the push goes on without -> how it does not answer."""


class Pushes:
    """The pushes that this server distributes, and what it takes over from other servers."""

    def __init__(self, here: Here, calls: Calls) -> None:
        self._here = here
        self._server = here.server
        self.received = PushReceiver(here)
        """What this server does with a push: its own, or another server's."""
        self._calls = calls
        self._changing = asyncio.Lock()
        """Held while the configuration of this server is pushed or taken over."""
        self._under_way: Pushed | None = None
        """The push that this server distributes."""
        self.unlike: set[str] = set()
        """Servers that have another configuration than this one, under the same number."""
        self._said: Notice | None = None
        """What was last told about a revision that could not be taken over."""

    async def distribute(self, files: ConfigFiles, pushed: Pushed) -> Outcome:
        """All or none; the outcome says which server was in the way."""
        if self._under_way is not None:
            return busy(self._under_way, self._server)
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
            return invalid(reports)
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
        number = await self.received.disk.run(history.revision)
        if there.revision == number and number:
            text, _ = await self.received.disk.run(history.text_in_force)
            if there.files.get(history.MAIN, "") not in ("", history.digest(text)):
                if server not in self.unlike:
                    self.unlike.add(server)
                    self._here.tell(notices.TwoRevisions(server, number))
            elif server in self.unlike:
                self.unlike.discard(server)
                self._here.tell(notices.OneRevision(server, number))
        if there.revision <= number or self._server not in there.servers:
            return
        joins = self._server not in names_in_force(self._here)
        if joins and not there.reached:
            return
        files = await self._calls.call(server, said.AskConfig(), ConfigFiles, PREPARE_TIMEOUT_S)
        # Nobody pushed what an agent found at its very first start, or what an earlier version
        # kept.
        if files.revision <= number or files.pushed is None or files.pushed.how == FIRST_START:
            return
        why_not = await self.received.take_over(files)
        if why_not:
            self._tell_once(notices.NotTakenOver(server, files.revision, why_not))
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
            return invalid(reports)
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
        push = new_name()
        found = await self.received.disk.stage(push, files)
        if found[0] is not None:
            await self.received.disk.drop(push)
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
        push = new_name()
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
            known={self._server: names_in_force(self._here)},
            revisions=[await self.received.disk.run(history.revision)],
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
        """Returns None once every server has it staged.

        The first server is asked alone: of two pushes at once, one finds the other there and goes
        no further.
        """
        pushed = files.pushed or Pushed()
        prepared = said.PushPrepare(push=push, files=files, user=pushed.user)
        for names in (servers[:1], servers[1:]):
            outcomes = await self._everywhere(
                names, prepared, PREPARE_TIMEOUT_S, self.received.prepare
            )
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
        outcomes = await self._everywhere(servers, commit, COMMIT_TIMEOUT_S, self.received.commit)
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
        message = said.PushRemoved(revision=await self.received.disk.run(history.revision))
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
        await self._everywhere(servers, said.PushAbort(push=push), 2.0, self.received.abort)

    async def _everywhere(
        self,
        servers: Iterable[str],
        message: M,
        timeout_s: float,
        here: Callable[[M], Awaitable[Outcome]] | None = None,
    ) -> list[tuple[str, Outcome]]:
        """What all others of `servers` answered, then what `here` answered, if this server is one.

        Without `here`, this server is left out.
        """
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


def _stopped(text: str, code: int = ExitCode.FAILED, hint: str = "") -> Outcome:
    return Outcome(code=code, text=f"nothing was changed: {text}", hint=hint)


def _worth_knowing(
    settings: Settings, new: tuple[str, ...], mute: Mapping[str, Sequence[str]]
) -> list[str]:
    """What the operator has to know or do after a push.

    `new`: servers that it adds; `mute`: server whose BMC has no password somewhere -> where.
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
