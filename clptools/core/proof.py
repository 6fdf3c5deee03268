"""What clears a server of a group, and what is still missing (`docs/rules.md`, *Grants*).

`since` is when we took office or last granted the group to that server, the later: evidence
from before says nothing about what may have been granted since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from clptools.core import sentences as say
from clptools.core.holdings import told
from clptools.core.messages import NO_EPOCH, Holding
from clptools.core.quorum import NEVER
from clptools.core.state import PeerState

if TYPE_CHECKING:
    from clptools.core.node import Node


class Cleared(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a server is cleared of a group, and by which proof."""

    ok: bool
    proof: str = ""
    """`released`, `left`, `power off`, `lease`, `operator`, `no proof`."""


class Proof:
    """Clears servers, for a coordinator with authority."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def since(self, group: str, server: str) -> int:
        """When we took office or last granted `group` to `server`, the later."""
        granted = self.node.state.granted_at.get(group, {}).get(server, NEVER)
        return max(self.node.state.votes.office_at, granted)

    def cleared(self, group: str, server: str) -> Cleared:
        """Whether `server` is proven not to run `group`."""
        node = self.node
        if server == node.me:
            run = node.state.groups.get(group)
            return Cleared(ok=run is None or not run.held, proof="released")
        p = node.state.peers.get(server)
        if p is None:
            return Cleared(ok=True, proof="operator")
        if node.membership.is_out(server):
            return Cleared(ok=True, proof=node.membership.out_reason(server))
        since = self.since(group, server)
        if self._released(p, group, server, since):
            return Cleared(ok=True, proof="released")
        if self.lease_clears_at(p, since) <= node.now:
            return Cleared(ok=True, proof="lease")
        if node.settings.cluster.takeover_without_proof and p.lost:
            return Cleared(ok=True, proof="no proof")
        return Cleared(ok=False)

    def _released(self, p: PeerState, group: str, server: str, since: int) -> bool:
        """It answered a beat of this office, holds nothing, and no grant is under way to it.

        One of an earlier office it refuses once it knows our term, which its beat shows: who takes
        us for a stranger answers, too, and does not know it.
        """
        node = self.node
        # A newer beat whose list is not whole says nothing of groups: neither does its echo.
        beat = told(p)
        if beat is None or beat.echo is None or beat.echo.sent_at <= since:
            return False
        if beat.term != node.state.votes.office_term:
            return False
        holding = _holding(beat.holdings, group)
        if holding is not None and holding.held:
            return False
        granted = node.state.granted_epoch.get(group, {}).get(server, NO_EPOCH)
        if granted == NO_EPOCH:
            return True
        if holding is not None and holding.seen >= granted:
            return True
        return beat.echo.sent_at > since + node.times.grant_dead_ms

    def lease_clears_at(self, p: PeerState, since: int) -> int:
        """When the lease alone clears it; far away where it said that no watchdog binds it."""
        node = self.node
        if p.beat is None or not p.beat.armed or not node.settings.leases_armed:
            return -NEVER
        return max(since, p.answered_at) + node.times.clear_by_lease_ms

    def missing(self, group: str, server: str) -> dict[str, str]:
        """Proof -> why it is not there."""
        node = self.node
        p = node.state.peers[server]
        since = self.since(group, server)
        settings = node.settings
        configured = settings.server(server)
        bmc = configured.bmc if configured is not None else None
        clears_at = self.lease_clears_at(p, since)
        return {
            "released": say.no_release(server, node.membership.hears(server)),
            "power off": say.no_power(
                bmc.address if bmc else "", p.bmc.power, p.bmc.error, p.bmc.doubt
            ),
            "forced stop": say.no_fence(
                settings.forced_stop.action,
                bmc is not None,
                p.fence.text,
                node.fencing.may_begin(),
            ),
            "lease": say.no_lease(
                node.settings.leases_armed,
                p.beat is not None and p.beat.armed,
                clears_at - node.now if clears_at < -NEVER else None,
            ),
        }


def _holding(holdings: tuple[Holding, ...], group: str) -> Holding | None:
    return next((h for h in holdings if h.group == group), None)
