"""The state of the rules between core and `/run`: what is written, and how it is found again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core.model.durable import Durable, HeldGroup, MonitorMemory
from clptools.core.model.quorum import NEVER
from clptools.core.model.state import GroupRun
from clptools.core.model.states import GroupState, ResourceState

if TYPE_CHECKING:
    from clptools.core.node import Node


class Memory:
    """Writes and reads `Durable`."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def remember(self, durable: Durable) -> None:
        """Takes over what the agent before us wrote, and goes on with what it held."""
        node = self.node
        state = node.state
        state.votes.term = durable.term
        state.votes.vote = durable.vote
        state.votes.vote_term = durable.vote_term
        state.lease_until = durable.lease_until
        state.lease_written = durable.lease_until
        state.newcomer = durable.newcomer
        state.shared = durable.shared
        node.stretching.remember(durable.ratio_until)
        state.suspended_at = node.now
        state.waived = durable.waived
        if durable.doubt:
            node.revision.doubt()
        before = durable.cluster or node.settings.cluster
        node.revision.begin(durable.names, durable.arbiter, before)
        state.turns_before = list(durable.turns_before)
        state.closing = durable.shared.closing
        for memory in durable.monitors:
            run = node.recovery.run(memory.monitor)
            run.suspended = memory.suspended
            run.scripts = list(memory.scripts)
            run.restarts = list(memory.restarts)
            run.failovers = list(memory.failovers)
        for name in durable.left:
            if name in state.peers:
                state.peers[name].left = True
        for name, asked_at in durable.off.items():
            at = node.settings.bmc_at(name)
            # An agent may end between a push that changed the address and its first step with it.
            if name in state.peers and durable.off_at.get(name, at) == at:
                state.peers[name].off_asked_at = state.peers[name].off_written = asked_at
        for name, user in durable.confirmed.items():
            if name in state.peers:
                state.peers[name].confirmed = user
        for name, macs in durable.macs.items():
            if name in state.peers:
                state.peers[name].macs = macs
        for held in durable.groups:
            state.groups[held.group] = GroupRun(
                held=held.held,
                seen=held.seen,
                state=GroupState(held.state) if held.state else GroupState.NONE,
                event=held.event,
                previous=held.previous,
                resources={n: ResourceState(s) for n, s in held.resources.items()},
                purge=held.purge,
                since=node.now,
            )
        node.groups.resume()

    def durable(self) -> Durable:
        """The state of the rules as it is now."""
        settings = self.node.settings
        state = self.node.state
        state.lease_written = state.lease_until
        for p in state.peers.values():
            p.off_written = p.off_asked_at
        return Durable(
            term=state.votes.term,
            vote=state.votes.vote,
            vote_term=state.votes.vote_term,
            groups=tuple(
                HeldGroup(
                    group=name,
                    seen=run.seen,
                    held=run.held,
                    state=run.state,
                    event=run.event,
                    previous=run.previous,
                    resources={n: str(s) for n, s in run.resources.items()},
                    purge=run.purge,
                )
                for name, run in state.groups.items()
            ),
            lease_until=state.lease_until,
            left=tuple(n for n, p in state.peers.items() if p.left),
            confirmed={n: p.confirmed for n, p in state.peers.items() if p.confirmed},
            newcomer=state.newcomer,
            shared=state.shared,
            waived=state.waived,
            names=state.revision_names or settings.names,
            arbiter=state.revision_arbiter if state.revision_names else settings.arbiter,
            cluster=state.revision_cluster or settings.cluster,
            ratio_until=state.ratio_until,
            macs={n: p.macs for n, p in state.peers.items() if p.macs},
            doubt=state.doubt,
            turns_before=tuple(state.turns_before),
            off={n: p.off_asked_at for n, p in state.peers.items() if p.off_asked_at != NEVER},
            off_at={
                n: settings.bmc_at(n) for n, p in state.peers.items() if p.off_asked_at != NEVER
            },
            monitors=tuple(
                MonitorMemory(
                    monitor=name,
                    suspended=run.suspended,
                    scripts=tuple(run.scripts),
                    restarts=tuple(run.restarts),
                    failovers=tuple(run.failovers),
                )
                for name, run in state.monitors.items()
                if run.suspended or run.scripts or run.restarts or run.failovers
            ),
        )
