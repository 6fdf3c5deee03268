"""The receiving side of a push: a configuration is staged and checked here, then put in force.

The side that distributes is `push.py`; the files are `staging.py`'s until they are in force, and
`configuration.py`'s from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Iterable
from typing import Protocol

import msgspec

from clptools import paths
from clptools.agent import clock, configuration, notices, staging
from clptools.api import messages as said
from clptools.api.messages import ConfigFiles
from clptools.config import history
from clptools.core.cluster.revision import OFFER_MS
from clptools.core.model.change import Refusal
from clptools.core.model.requests import Outcome
from clptools.core.model.settings import Pushed, Settings
from clptools.core.notices.form import Notice
from clptools.faults import ClpError, ExitCode
from clptools.reports import Report

_COMMIT_MARGIN_MS = 10_000
"""A prepared push expires this long before the core forgets that it was offered."""

logger = logging.getLogger(__name__)


class Here(Protocol):
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

    def refuses(self, settings: Settings) -> Refusal | None:
        """Why these cannot take effect now; empty: they can."""

    def unready(self, settings: Settings, server: str, vouched: bool) -> str:
        """Why they may not be put in force without a server that does not answer.

        Empty: they may.  `vouched`: the person who pushes takes responsibility for that.
        """

    def reached(self, before: tuple[str, ...] | None, asker: str) -> bool:
        """Whether the servers of the revision before (None: all) have ours, apart from `asker`."""

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


class PushReceiver:
    """The configurations that were pushed to this server and are not in force yet."""

    def __init__(self, here: Here) -> None:
        self.disk = staging.Disk()
        self._here = here
        self._server = here.server
        self._staged: dict[str, Staged] = {}
        self._placing = asyncio.Lock()
        """Held while files are put in their places."""

    async def prepare(self, message: said.PushPrepare) -> Outcome:
        """Check it and keep it aside."""
        files = _signed(message)
        for push in [p for p, staged in self._staged.items() if _is_late(staged)]:
            await self.abort(said.PushAbort(push=push))
        for other in self._staged.values():
            return busy(other.pushed, self._server)
        settings, reports = await self.disk.stage(message.push, files)
        if settings is None:
            return invalid(reports)
        refusal = self._here.refuses(settings)
        if refusal:
            await self.disk.drop(message.push)
            return Outcome(
                code=ExitCode.REFUSED,
                text=refusal.text,
                hint=refusal.hint,
            )
        for other in self._staged.values():
            # Prepared while this one was written aside.
            await self.disk.drop(message.push)
            return busy(other.pushed, self._server)
        self._staged[message.push] = Staged(
            files=files, settings=settings, prepared_ms=clock.boot_ms()
        )
        await self._here.offered(settings)
        return Outcome()

    async def commit(self, message: said.PushCommit) -> Outcome:
        """Put it in force here."""
        found = self._staged.pop(message.push, None)
        if found is None or _is_late(found):
            await self.disk.drop(message.push)
            return Outcome(
                code=ExitCode.FAILED, text="it is no longer prepared here; push it again"
            )
        async with self._placing:
            return self._take(message.push, found)

    async def take_over(self, files: ConfigFiles) -> str:
        """Put in force what another server has in force; returns why not, empty: it is.

        Raises ClpError.
        """
        push = new_name()
        settings, reports = await self.disk.stage(push, files)
        if settings is None or self._server not in settings.names:
            why = str(reports[0]) if reports else f"{self._server} is none of its servers"
            await self.disk.drop(push)
            return why
        await self._here.offered(settings)
        staged = Staged(files=files, settings=settings, prepared_ms=clock.boot_ms())
        async with self._placing:
            outcome = self._take(push, staged)
        return outcome.text if outcome.code else ""

    def _take(self, push: str, found: Staged) -> Outcome:
        number = found.files.revision
        refusal = self._here.refuses(found.settings)
        if history.revision() >= number:
            meanwhile = f"revision {history.revision()} came into force meanwhile"
            refusal = Refusal(meanwhile, "Push it again.")
        if refusal:
            # A group began to run since it was prepared.
            staging.drop(push)
            return Outcome(code=ExitCode.REFUSED, text=refusal.text, hint=refusal.hint)
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
            await self.disk.drop(message.push)
        return Outcome()

    async def files(self) -> ConfigFiles:
        """The configuration in force here.  Raises ClpError."""
        return await self.disk.run(configuration.files)

    async def mend(self) -> None:
        """Put in place what an interrupted push left."""
        async with self._placing:
            with contextlib.suppress(ClpError):
                number = await self.disk.run(configuration.mend)
                if number:
                    self._here.tell(notices.PushMended(number))

    async def hashes(self, asker: str = "") -> said.ConfigHash:
        """This server's answer to `AskConfigHash`; without a configuration it has no files.

        Raises ClpError (TIMED_OUT): its disk hangs.
        """
        try:
            ours = await self.disk.run(configuration.compared)
        except ClpError as fault:
            if fault.code == ExitCode.TIMED_OUT:
                raise
            return said.ConfigHash(revision=history.revision(), files={})
        return said.ConfigHash(
            revision=ours.revision,
            files=ours.files,
            servers=names_in_force(self._here),
            edit=ours.edit,
            reached=self._here.reached(ours.before, asker),
        )

    def removed(self, message: said.PushRemoved, by: str) -> Outcome:
        """We are out of the cluster: if we booted with its configuration, we could rule beside it.

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


def names_in_force(here: Here) -> tuple[str, ...]:
    """The servers of the configuration in force on this server; none without one."""
    current = here.settings_in_force()
    return () if current is None else current.names


def busy(other: Pushed, server: str) -> Outcome:
    """Refused: another push is under way.  `server`: its source, if it does not name one."""
    return Outcome(
        code=ExitCode.REFUSED,
        text=f"a push by {other.user or 'somebody'} from {other.server or server} is under way",
        hint=f"Nothing of yours is lost.  Push again in a moment; if that one was cut short, in "
        f"{(OFFER_MS - _COMMIT_MARGIN_MS) // 1000} s.",
    )


def invalid(reports: Iterable[Report]) -> Outcome:
    """It has errors, and which."""
    errors = [str(report) for report in reports if report.severity == "error"]
    return Outcome(code=ExitCode.INVALID_CONFIG, text="\n".join(errors))


def new_name() -> str:
    """For a push, or what is checked like one."""
    return secrets.token_hex(8)


def _signed(message: said.PushPrepare) -> ConfigFiles:
    """Its files; an earlier version says the user alone."""
    if message.files.pushed is not None:
        return message.files
    return msgspec.structs.replace(message.files, pushed=Pushed(user=message.user))


def _is_late(staged: Staged) -> bool:
    return clock.boot_ms() > staged.prepared_ms + OFFER_MS - _COMMIT_MARGIN_MS


def _without_password(settings: Settings) -> list[str]:
    """The servers whose BMC cannot be asked from here, as its password is not there."""
    return [
        server.name
        for server in settings.servers
        if server.bmc is not None and not os.path.lexists(paths.bmc_password_file(server.name))
    ]
