"""A coordinator's grants: given, repeated until they are taken, and followed to their end."""

from __future__ import annotations

from clptools.core import phrases as say
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.peers import Peers
from clptools.core.groups.holders import Held, Holders
from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.groups.selection import Selection
from clptools.core.groups.waits import Waits
from clptools.core.model.actions import SendControl
from clptools.core.model.group_state import GrantState, OfficeState
from clptools.core.model.messages import Epoch, Grant, Intent
from clptools.core.model.settings import Group
from clptools.core.model.states import GrantStage, GroupState
from clptools.core.model.transitions import GRANT, GrantChange
from clptools.core.notices import groups as notices
from clptools.core.safety.clearance import Clearance
from clptools.core.step import Step


class Grants:
    """The grants of this office that are under way, one a group."""

    def __init__(
        self,
        step: Step,
        state: OfficeState,
        peers: Peers,
        authority: Authority,
        clearance: Clearance,
        holders: Holders,
        selection: Selection,
        lifecycle: Lifecycle,
        waits: Waits,
    ) -> None:
        self.step = step
        self.state = state
        self.peers = peers
        self.authority = authority
        self.clearance = clearance
        self.holders = holders
        self.selection = selection
        self.lifecycle = lifecycle
        self.waits = waits

    def is_under_way(self, group: str) -> bool:
        """Whether a grant of the group is given, and not through."""
        return group in self.state.grants

    def give(self, group: Group, intent: Intent, target: str, reason: str) -> None:
        """Grants a group to a server, under a new epoch; every other server is cleared of it."""
        step, name = self.step, group.name
        proofs = {s: self.clearance.cleared(name, s).proof for s in self.peers if s != target}
        epoch = self._next_epoch(name, intent)
        ran = [h.server for h in self.holders.reports(name) if h.held and h.server != target]
        event = "FAILOVER" if ran else intent.event
        previous = ran[0] if ran else intent.previous
        if previous == target:
            previous = ""
        self.clearance.granted(name, target, epoch)
        # The first order to stop this epoch must not count as a repetition.
        self.state.ordered_at.pop(f"{name}/{target}", None)
        grant = GrantState(
            server=target,
            epoch=epoch,
            granted_at=step.now,
            event=event,
            previous=previous,
            reason=reason,
            off=tuple(s for s, proof in proofs.items() if proof == "power off"),
        )
        waited_ms = self.waits.over(name)
        step.notice(
            notices.GroupGranted(name, target, epoch.n, reason),
            because=say.proofs(name, proofs, waited_ms),
        )
        if target == step.me:
            self.lifecycle.begin(name, epoch, event, previous, grant.off)
        self.state.grants[name] = grant
        if target != step.me:
            self._send(name, grant)

    def _next_epoch(self, group: str, intent: Intent) -> Epoch:
        """Above every epoch of the group that anybody is known to have seen."""
        term = self.authority.state.office_term
        numbers = [h.seen.n for h in self.holders.reports(group)]
        numbers += [e.n for e in self.clearance.epochs(group)]
        numbers.append(intent.handled)
        return Epoch(term.number, term.candidate, max(numbers) + 1)

    def _send(self, group: str, grant: GrantState) -> None:
        """Sends a grant, or repeats it; for proof, each time counts as a new grant."""
        p = self.peers[grant.server]
        if p.beat is None:
            return
        self.clearance.granted(group, grant.server, grant.epoch)
        self.step.do(
            SendControl(
                to=grant.server,
                message=Grant(
                    group=group,
                    epoch=grant.epoch,
                    incarnation=p.incarnation,
                    sent_at=p.beat.sent_at,
                    event=grant.event,
                    previous=grant.previous,
                    reason=grant.reason,
                    off=grant.off,
                ),
            )
        )

    def follow(self, group: Group, grant: GrantState, holders: list[Held]) -> GrantChange:
        """Follows a grant under way: taken, refused, or to be repeated; returns what it found."""
        step = self.step
        change = self._found(group, grant, holders)
        grant.stage = GRANT.after(grant.stage, change)
        if grant.stage in (GrantStage.DONE, GrantStage.VOID):
            del self.state.grants[group.name]
        if change is GrantChange.UNSEEN:
            last = self.clearance.granted_at(group.name, grant.server)
            if step.now - last >= step.times.interval_ms:
                self._send(group.name, grant)
        return change

    def _found(self, group: Group, grant: GrantState, holders: list[Held]) -> GrantChange:
        """What became of a grant, by what all servers say of the group."""
        step = self.step
        target = grant.server
        said = [h for h in self.holders.reports(group.name) if h.server == target]
        if said and said[0].seen >= grant.epoch:
            if not said[0].held:
                return GrantChange.NOT_HELD
            if self.clearance.cleared(group.name, target).ok:
                return GrantChange.CLEARED  # it died while it started the group
            online = said[0].state == GroupState.ONLINE
            return GrantChange.ONLINE if online else GrantChange.HELD
        if target == step.me or holders:
            return GrantChange.OVERTAKEN
        if target not in self.peers or not self.selection.eligible(group, target):
            # Never repeated to a server that is out, leaves, or is not configured any more.
            return GrantChange.NOT_ELIGIBLE
        if step.now - grant.granted_at > step.times.holder_ms:
            return GrantChange.EXPIRED
        return GrantChange.UNSEEN
