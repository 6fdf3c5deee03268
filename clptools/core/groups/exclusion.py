"""Groups that are kept apart: which servers a group does not share, or shares as a last choice.

Only policy.  As coordinator, a server that is not proven to be without the other group counts as
running it, so a grant that an earlier office gave is not overlooked.
"""

from __future__ import annotations

from clptools.core.cluster.authority import Authority
from clptools.core.groups.holders import Holders
from clptools.core.model.words import Exclusive
from clptools.core.safety.clearance import Clearance
from clptools.core.step import Step


class Exclusion:
    """Questions about two groups on one server."""

    def __init__(
        self, step: Step, authority: Authority, clearance: Clearance, holders: Holders
    ) -> None:
        self.step = step
        self.authority = authority
        self.clearance = clearance
        self.holders = holders

    def bars(self, group: str, server: str) -> str:
        """A group that keeps another one off a server; empty: none does."""
        return self._there(group, server, Exclusive.ABSOLUTE)

    def neighbour(self, group: str, server: str) -> str:
        """A group beside which another one runs as a last choice; empty: there is none."""
        return self._there(group, server, Exclusive.NORMAL)

    def intrudes(self, group: str, server: str) -> str:
        """A group that comes before this one in the configuration, and with which it must not
        share its server; empty: there is none."""
        apart = self.step.settings.apart.get(group, {})
        for other in self.step.settings.groups if apart else ():
            if other.name == group:
                break
            if apart.get(other.name) is Exclusive.ABSOLUTE and self._is_held(other.name, server):
                return other.name
        return ""

    def _there(self, group: str, server: str, how: Exclusive) -> str:
        apart = self.step.settings.apart.get(group, {})
        found = (other for other, strictly in apart.items() if strictly is how)
        return next((other for other in found if self._may_run(other, server)), "")

    def _may_run(self, group: str, server: str) -> bool:
        if self.authority.in_office():
            return not self.clearance.cleared(group, server).ok
        return self._is_held(group, server)

    def _is_held(self, group: str, server: str) -> bool:
        """Whether that server says that it holds the group."""
        return any(h.server == server for h in self.holders.of(group))
