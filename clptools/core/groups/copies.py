"""Two servers that run the same group: this must never happen, and is recorded where it is seen."""

from __future__ import annotations

from clptools.core import phrases as say
from clptools.core.cluster.holdings import holds
from clptools.core.cluster.peers import Peers
from clptools.core.groups.holders import Holders
from clptools.core.model.group_state import Copies, Runs
from clptools.core.model.messages import Epoch
from clptools.core.model.states import GroupState
from clptools.core.notices import groups as notices
from clptools.core.step import Step

_RUNS = (GroupState.STARTING, GroupState.ONLINE)


class CopyWatch:
    """Groups that several servers say they run."""

    def __init__(
        self,
        step: Step,
        state: dict[str, Copies],
        group_runs: Runs,
        peers: Peers,
        holders: Holders,
    ) -> None:
        self.step = step
        self.state = state
        self.group_runs = group_runs
        self.peers = peers
        self.holders = holders

    def settle(self) -> None:
        """Records once that two servers run a group, and when that is over.

        Beats of different servers overtake each other: it counts once each of them has
        said it again, an interval later.  It counts at once on a server that itself still runs
        what another one has by a newer grant.
        """
        step = self.step
        known = self.state
        runners = self._runners()
        for group, over in list(known.items()):
            if group not in runners:
                del known[group]
                if over.told:
                    step.notice(notices.OneCopy(group, over.servers))
        for group, servers in runners.items():
            found = known.get(group)
            if found is None or found.servers != servers:
                told = found is not None and found.told and set(servers) <= set(found.servers)
                found = known[group] = Copies(servers=servers, since=step.now, told=told)
            again = all(self._said_again(s, found.since) for s in servers)
            if found.told or not (again or self._has_passed_on(group)):
                continue
            found.told = True
            newest = max(self.holders.of(group), key=lambda h: h.seen)
            older = [server for server in servers if server != newest.server]
            step.notice(notices.TwoCopies(group, servers, say.stops_of(group, older)))

    def _runners(self) -> dict[str, tuple[str, ...]]:
        """Group -> servers that are heard and say that they run it, or stop it beside another.

        A server without state stops leftovers of an earlier run, for which it has no grant.
        """
        step = self.step
        said: dict[str, list[tuple[str, str]]] = {}
        for name, run in self.group_runs.items():
            if run.held and _may_run(run.state, run.seen):
                said.setdefault(name, []).append((step.me, run.state))
        for server, p in self.peers.items():
            if p.beat is None or self.peers.is_out(server) or not self.peers.is_online(server):
                continue
            for h in holds(p):
                if h.held and _may_run(h.state, h.seen):
                    said.setdefault(h.group, []).append((server, h.state))
        return {
            group: tuple(sorted(server for server, _ in there))
            for group, there in said.items()
            if len(there) > 1 and any(state in _RUNS for _, state in there)
        }

    def _has_passed_on(self, group: str) -> bool:
        """Whether we still run what somebody else has by a newer grant."""
        own = self.group_runs.get(group)
        if own is None or not own.held or own.seen.n == 0:
            return False
        others = (h for h in self.holders.of(group) if h.server != self.step.me)
        return any(h.seen > own.seen and h.state in _RUNS for h in others)

    def _said_again(self, server: str, since: int) -> bool:
        p = self.peers.get(server)
        heard_at = self.step.now if p is None else p.heard_at
        return heard_at >= since + self.step.times.interval_ms


def _may_run(state: str, seen: Epoch) -> bool:
    if not seen.n:
        return False  # without state it stops what may be left: it was granted nothing
    return state in _RUNS or state in (GroupState.STOPPING, GroupState.STOP_FAILED)
