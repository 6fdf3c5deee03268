"""Copies of mirrored data that are behind: a group does not start where its copy is.

DRBD calls a handler (`clpfencepeer`) on the server that writes, once it has lost its peer.  That
server asks the peer's agent, which notes on its disk that its copy is behind, and answers once the
note is there.  From then on it takes no grant of the group, whoever is coordinator, until the copy
is in sync again (`core/requests/mirrors.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from clptools.core.cluster.peers import Peers
from clptools.core.model.durable import LedgerFile
from clptools.core.model.events import CopiesKept
from clptools.core.model.group_state import MirrorState
from clptools.core.model.settings import Group
from clptools.core.notices import groups as notices
from clptools.core.step import Change, Step


class Mirrors:
    """Which copies here are behind, and where others say that theirs are."""

    def __init__(self, step: Step, state: MirrorState, peers: Peers) -> None:
        self.step = step
        self.state = state
        self.peers = peers

    def restore(self, ledger: LedgerFile) -> None:
        """Takes over what the disk says."""
        self.state.behind = dict(ledger.behind)
        self.state.kept = dict(ledger.behind)

    def behind(self, group: Group, server: str) -> tuple[str, str]:
        """A resource of the group whose copy on a server is behind, and whose is newer; or
        nothing, as far as that server has told."""
        known: Mapping[str, str] = self.state.behind
        if server != self.step.me:
            p = self.peers.get(server)
            known = p.report.server.behind if p is not None and p.report is not None else {}
        if not known:
            return "", ""
        found = next((one.name for one in group.resources if one.name in known), "")
        return found, known.get(found, "")

    def mark(self, resource: str, newer: str) -> None:
        """From now on our copy is behind that of `newer`."""
        if self.state.behind.get(resource) != newer:
            self.state.behind = {**self.state.behind, resource: newer}
            self._changed()

    def clear(self, group: Group, resource: str, user: str) -> bool:
        """Our copy is in sync again, or a person says so; returns whether it was behind."""
        if resource not in self.state.behind:
            return False
        self.state.behind = {k: v for k, v in self.state.behind.items() if k != resource}
        self._changed()
        self.step.notice(notices.CopyInSync(group.name, resource, user))
        return True

    def kept(self, event: CopiesKept) -> None:
        """The disk took what was behind at some instant; or it could not, and what it does not
        have does not count: nobody was told."""
        state, kept = self.state, self.state.kept
        if event.fault:
            state.behind = {k: v for k, v in state.behind.items() if kept.get(k) == v}
            self._changed()
            return
        state.kept = dict(event.behind)
        for resource, newer in event.behind.items():
            group = self.step.settings.group_of(resource)
            if group is not None and kept.get(resource) != newer:
                self.step.notice(notices.CopyBehind(group.name, resource, newer))

    def is_kept(self, resource: str) -> bool:
        """Whether the disk says of that copy what we say."""
        return self.state.kept.get(resource, "") == self.state.behind.get(resource, "")

    def _changed(self) -> None:
        self.step.changed(Change.DECISIONS, Change.REPORT_AT_ONCE)
