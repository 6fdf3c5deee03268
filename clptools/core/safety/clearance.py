"""What clears a server of a group, and what is still missing (`docs/rules.md`, *Grants*).

`since` is when we took office or last granted the group to that server, the later: evidence
from before says nothing about what may have been granted since.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from clptools.core import phrases as say
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.holdings import newest_complete_beat
from clptools.core.cluster.peers import Peers
from clptools.core.model.cluster_state import PeerState
from clptools.core.model.group_state import ClearanceState, Runs
from clptools.core.model.messages import NO_EPOCH, Epoch, Holding
from clptools.core.model.timing import NEVER
from clptools.core.safety.fencing import Fencing
from clptools.core.step import Step


class Cleared(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a server is cleared of a group, and by which proof."""

    ok: bool
    proof: str = ""
    """`released`, `left`, `power off`, `lease`, `operator`, `no proof`."""


_RELEASED = Cleared(ok=True, proof="released")
_BY_LEASE = Cleared(ok=True, proof="lease")
_NOT_CLEARED = Cleared(ok=False)


class Clearance:
    """Clears servers, for a coordinator with authority."""

    def __init__(
        self,
        step: Step,
        state: ClearanceState,
        group_runs: Runs,
        peers: Peers,
        authority: Authority,
        fencing: Fencing,
    ) -> None:
        self.step = step
        self.state = state
        self.group_runs = group_runs
        self.peers = peers
        self.authority = authority
        self.fencing = fencing

    def since(self, group: str, server: str) -> int:
        """When we took office or last granted `group` to `server`, the later."""
        return max(self.authority.state.office_at, self.granted_at(group, server))

    def office_begins(self) -> None:
        """Forgets what an earlier office granted."""
        self.state.granted_at = {}
        self.state.granted_epoch = {}

    def granted(self, group: str, server: str, epoch: Epoch) -> None:
        """We granted `group` to `server`, or said so again: evidence from before is void."""
        self.state.granted_at.setdefault(group, {})[server] = self.step.now
        self.state.granted_epoch.setdefault(group, {})[server] = epoch

    def granted_at(self, group: str, server: str) -> int:
        """When we last granted `group` to `server` in this office, or `NEVER`."""
        return self.state.granted_at.get(group, {}).get(server, NEVER)

    def epochs(self, group: str) -> Iterable[Epoch]:
        """Epochs under which `group` was granted in this office."""
        return self.state.granted_epoch.get(group, {}).values()

    def cleared(self, group: str, server: str) -> Cleared:
        """Whether `server` is proven not to run `group`."""
        step = self.step
        if server == step.me:
            run = self.group_runs.get(group)
            return Cleared(ok=run is None or not run.held, proof="released")
        p = self.peers.get(server)
        if p is None:
            return Cleared(ok=True, proof="operator")
        if self.peers.is_out(server):
            return Cleared(ok=True, proof=self.peers.out_reason(server))
        since = self.since(group, server)
        if self._released(p, group, server, since):
            return _RELEASED
        if self.lease_clears_at(p, since) <= step.now:
            return _BY_LEASE
        if step.settings.cluster.takeover_without_proof and p.lost:
            return Cleared(ok=True, proof="no proof")
        return _NOT_CLEARED

    def _released(self, p: PeerState, group: str, server: str, since: int) -> bool:
        """Whether it answered this office, holds nothing, and no grant is under way to it.

        It refuses a grant of an earlier office once it knows our term.  Its beat must show that it
        does: a server that takes us for a stranger answers, too, and does not know it.
        """
        step = self.step
        # A newer beat whose list is not whole says nothing of groups, and neither does its echo.
        beat = newest_complete_beat(p)
        if beat is None or beat.echo is None or beat.echo.sent_at <= since:
            return False
        if beat.term != self.authority.state.office_term:
            return False
        holding = _holding(beat.holdings, group)
        if holding is not None and holding.held:
            return False
        granted = self.state.granted_epoch.get(group, {}).get(server, NO_EPOCH)
        if granted == NO_EPOCH:
            return True
        if holding is not None and holding.seen >= granted:
            return True
        return beat.echo.sent_at > since + step.times.grant_dead_ms

    def lease_clears_at(self, p: PeerState, since: int) -> int:
        """When the lease alone clears it; far away where it said that no watchdog binds it."""
        step = self.step
        if p.beat is None or not p.beat.armed or not step.settings.leases_armed:
            return -NEVER
        return max(since, p.answered_at) + step.times.clear_by_lease_ms

    def missing(self, group: str, server: str) -> dict[str, str]:
        """Proof -> why it is not there."""
        step = self.step
        p = self.peers[server]
        since = self.since(group, server)
        settings = step.settings
        configured = settings.server(server)
        by = configured.power_by if configured is not None else ""
        bmc = configured.bmc if configured is not None else None
        means = f"{by} {bmc.address}" if bmc is not None and not p.bmc.by else by
        clears_at = self.lease_clears_at(p, since)
        return {
            "released": say.no_release(server, self.peers.hears(server)),
            "power off": say.no_power(means, p.bmc.power, p.bmc.error, p.bmc.doubt),
            "forced stop": say.no_fence(
                settings.forced_stop.action,
                by,
                p.fence.text,
                self.fencing.may_begin(),
            ),
            "lease": say.no_lease(
                step.settings.leases_armed,
                p.beat is not None and p.beat.armed,
                clears_at - step.now if clears_at < -NEVER else None,
            ),
        }


def _holding(holdings: tuple[Holding, ...], group: str) -> Holding | None:
    return next((h for h in holdings if h.group == group), None)
