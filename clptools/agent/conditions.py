"""What is not well on this server itself, from when it is noticed until it is well again.

Notices say when it begins and ends.  In between the core has it in the status, which all servers
share; a core that waits for a disk shows nothing, so what it does not know yet is added here.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from clptools.agent import notices
from clptools.core.model.events import ConditionSeen, Event
from clptools.core.model.view import ConditionView, ServerView, StatusView
from clptools.core.notices.form import Notice
from clptools.intake.notices import NoMessageSocket
from clptools.links.notices import CONTROL_CHANNEL, LinkGivenUp, LinkNotOpen, LinkOpen

_BEGINS: dict[type[Notice], str] = {
    notices.JournalUnwritten: "journal",
    notices.RecordsUnwritten: "records",
    notices.StateUnwritten: "state",
    notices.StartWaits: "state",
    notices.FilesNotMade: "files",
    notices.LockNotMade: "lock",
    notices.DiskHangs: "disk",
    notices.DiskFull: "room",
    notices.KeyAccepted: "key roll",
    notices.KeyUsed: "key roll",
    NoMessageSocket: "files",
}
"""Notice -> name of the condition that begins with it."""
_ENDS: dict[type[Notice], str] = {
    notices.JournalWritten: "journal",
    notices.RecordsWritten: "records",
    notices.StateWritten: "state",
    notices.StartGoesOn: "state",
    notices.FilesMadeAgain: "files",
    notices.LockMadeAgain: "lock",
    notices.DiskAnswers: "disk",
    notices.DiskHasRoom: "room",
    notices.KeyDropped: "key roll",
    notices.KeyForgotten: "key roll",
}
_TEXT_CHARACTERS = 300


def other_revision(server: str) -> str:
    """Name of the condition that a server has another text under the same number."""
    return f"revision of {server}"


class Conditions:
    """The conditions of this server."""

    def __init__(self, server: str, tell: Callable[[Event], None]) -> None:
        """`tell`: to the core, if there is one."""
        self._server = server
        self._tell = tell
        self._open: dict[str, ConditionSeen] = {}

    def begin(self, name: str, text: str, mend: str = "", monitors: tuple[str, ...] = ()) -> None:
        """Something is not well; `monitors` may miss events because of it."""
        event = ConditionSeen(
            name=name,
            text=text[:_TEXT_CHARACTERS],
            mend=mend[:_TEXT_CHARACTERS],
            monitors=monitors,
        )
        if self._open.get(name) != event:
            self._open[name] = event
            self._tell(event)

    def end(self, name: str) -> None:
        """It is well again."""
        if self._open.pop(name, None) is not None:
            self._tell(ConditionSeen(name=name))

    def noticed(self, notice: Notice) -> None:
        """Something is told to people: it may begin a condition, or end one."""
        if isinstance(notice, LinkNotOpen | LinkOpen | LinkGivenUp):
            self._link(notice)
            return
        if isinstance(notice, notices.TwoRevisions):
            text, mend = notice.sentence(self._server), notice.mend(self._server)
            self.begin(other_revision(notice.server), text, mend)
            return
        if isinstance(notice, notices.OneRevision):
            self.end(other_revision(notice.server))
            return
        if (name := _BEGINS.get(type(notice), "")) != "":
            self.begin(name, notice.sentence(self._server), notice.mend(self._server))
        elif (name := _ENDS.get(type(notice), "")) != "":
            self.end(name)

    def _link(self, notice: LinkNotOpen | LinkOpen | LinkGivenUp) -> None:
        """The control channel; what is wrong with an interconnect is its heartbeat's status."""
        if notice.link != CONTROL_CHANNEL:
            return
        name = f"control {notice.address}"
        if isinstance(notice, LinkNotOpen):
            self.begin(name, notice.sentence(self._server), notice.mend(self._server))
        else:
            self.end(name)

    def tell_all(self) -> None:
        """Tell a new core, which knows nothing yet."""
        for event in self._open.values():
            self._tell(event)

    def added(self, view: StatusView) -> StatusView:
        """The view with what its core has not taken up yet."""
        servers = tuple(self._added(one) if one.local else one for one in view.servers)
        if servers == view.servers:
            return view
        cluster = view.cluster
        if cluster.status == "Normal":
            cluster = msgspec.structs.replace(cluster, status="Caution")
        return msgspec.structs.replace(view, cluster=cluster, servers=servers)

    def _added(self, server: ServerView) -> ServerView:
        known = {one.name for one in server.conditions}
        new = tuple(
            ConditionView(name=one.name, text=one.text, mend=one.mend, monitors=one.monitors)
            for one in self._open.values()
            if one.name not in known
        )
        if not new:
            return server
        return msgspec.structs.replace(
            server,
            status="Caution" if server.status == "Online" else server.status,
            conditions=server.conditions + new,
        )
