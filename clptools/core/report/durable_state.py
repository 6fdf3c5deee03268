"""What survives an agent: what is written to `/run` and disk, and how it is read again."""

from __future__ import annotations

import msgspec

from clptools.core.cluster.authority import Authority
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.revision import Revision
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.cluster.timeout_ratio import TimeoutRatio
from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.groups.mirrors import Mirrors
from clptools.core.groups.runs import GroupRuns
from clptools.core.model.actions import Action, KeepLedger, Persist
from clptools.core.model.durable import Durable, HeldGroup, LedgerFile, MonitorMemory, OpenEntry
from clptools.core.model.events import AgentStarted
from clptools.core.model.group_state import GroupRun
from clptools.core.model.monitor_state import OpenEvent
from clptools.core.model.state import Phase, WrittenState
from clptools.core.model.states import Contact, GroupState, ResourceState
from clptools.core.model.timing import NEVER
from clptools.core.monitors.event_ledger import EventLedger
from clptools.core.monitors.final_action import FinalActions
from clptools.core.monitors.status import MonitorRuns
from clptools.core.safety.lease import Lease
from clptools.core.step import Step

_OFF_MS = 10_000
"""How much older the off read in `/run` may be than the newest."""


class DurableState:
    """Writes and reads `Durable`."""

    def __init__(
        self,
        step: Step,
        state: WrittenState,
        peers: Peers,
        policy: SharedPolicy,
        ratio: TimeoutRatio,
        revision: Revision,
        authority: Authority,
        lease: Lease,
        groups: GroupRuns,
        lifecycle: Lifecycle,
        mirrors: Mirrors,
        runs: MonitorRuns,
        final: FinalActions,
        ledger: EventLedger,
    ) -> None:
        self.step = step
        self.state = state
        self.peers = peers
        self.policy = policy
        self.ratio = ratio
        self.revision = revision
        self.authority = authority
        self.lease = lease
        self.groups = groups
        self.lifecycle = lifecycle
        self.mirrors = mirrors
        self.runs = runs
        self.final = final
        self.ledger = ledger
        self._groups: dict[str, HeldGroup] = {}
        """Group -> what the step before made of it: nearly always the same again."""
        self._entries: dict[int, OpenEntry] = {}
        """What went to the disk last, by event id: in a storm it is nearly all of the next."""

    def started(self, event: AgentStarted) -> None:
        """The agent started: takes over what is known of the time before."""
        life = self.step.life
        life.started_at = self.step.now
        life.member = event.member
        life.noted = event.noted
        life.macs = event.macs
        life.version = event.version
        self.restore(event.ledger)
        if event.stopped:
            life.phase = Phase.STOPPED
            return
        life.had_state = event.durable is not None
        if event.durable is not None:
            self.remember(event.durable)
        else:
            life.newcomer = True
            # After a boot nothing of ours runs: the boot is the proof.
            self.lifecycle.purge(held=not event.first_of_boot)
            self.final.stand_down()
        self.lease.begin()

    def remember(self, durable: Durable) -> None:
        """Takes over what the previous agent wrote, and goes on with what it held."""
        step = self.step
        self.authority.state.term = durable.term
        self.authority.state.vote = durable.vote
        self.authority.state.vote_term = durable.vote_term
        self.lease.state.until = durable.lease_until
        step.life.newcomer = durable.newcomer
        self.policy.state.shared = durable.shared
        self.ratio.remember(durable.ratio_until, durable.shared)
        self.policy.state.suspended_at = step.now
        if durable.shared.suspended:
            self.policy.state.suspended_since = durable.suspended_since
        self.lease.state.waived = durable.waived
        if durable.doubt:
            self.revision.doubt()
        before = durable.cluster or step.settings.cluster
        self.lease.shorten(self.revision.begin(durable.names, durable.arbiter, before))
        self.revision.state.turns_before = list(durable.turns_before)
        self.policy.state.closing = durable.shared.closing
        for memory in durable.monitors:
            run = self.runs.run(memory.monitor)
            run.suspended = memory.suspended
            run.suspended_by = memory.suspended_by
            run.suspended_at = memory.suspended_at
            run.scripts = list(memory.scripts)
            run.restarts = list(memory.restarts)
            run.failovers = list(memory.failovers)
        for name in durable.left:
            if name in self.peers:
                self.peers[name].contact = Contact.LEFT
                self.peers[name].left = True
        for name, asked_at in durable.off.items():
            at = step.settings.power_at(name)
            # An agent may end between a push that changed the address and its first step with it.
            if name in self.peers and durable.off_at.get(name, at) == at:
                self.peers[name].off_asked_at = asked_at
        for name, user in durable.confirmed.items():
            if name in self.peers:
                self.peers[name].confirmed = user
        for name, macs in durable.macs.items():
            if name in self.peers:
                self.peers[name].macs = macs
        for held in durable.groups:
            self.groups.runs[held.group] = GroupRun(
                held=held.held,
                seen=held.seen,
                state=GroupState(held.state) if held.state else GroupState.NONE,
                event=held.event,
                previous=held.previous,
                resources={n: ResourceState(s) for n, s in held.resources.items()},
                purge=held.purge,
                since=step.now,
            )
        self.lifecycle.resume()

    def writes(self) -> list[Action]:
        """What must be written before anything of this step is done or told."""
        found: list[Action] = []
        if self.step.life.phase in (Phase.RUNNING, Phase.LEAVING):
            durable = self.due()
            if durable is not None:
                # SetMember keeps its place: the bit may only be set for a state that is written.
                found.append(Persist(durable=durable))
        ledger = self.ledger_due()
        if ledger is not None:
            found.append(KeepLedger(ledger=ledger))
        return found

    def lease_due(self) -> bool:
        """Whether the lease alone is worth a write: an older one errs on the safe side."""
        before = self.state.durable
        return before is None or not _lease_serves(
            before.lease_until, self.lease.state.until, self.step.times.lease_ms
        )

    def due(self) -> Durable | None:
        """The state of the rules, if it is to be written; None: what was written still serves."""
        now, before = self.now(), self.state.durable
        if before is not None and _serves(before, now, self.step.times.lease_ms):
            return None
        self.state.durable = now
        return now

    def now(self) -> Durable:
        """The state of the rules as it is now."""
        settings = self.step.settings
        return Durable(
            term=self.authority.state.term,
            vote=self.authority.state.vote,
            vote_term=self.authority.state.vote_term,
            groups=tuple(self._held_group(name, run) for name, run in self.groups.runs.items()),
            lease_until=self.lease.state.until,
            left=tuple(n for n, p in self.peers.items() if p.left),
            confirmed={n: p.confirmed for n, p in self.peers.items() if p.confirmed},
            newcomer=self.step.life.newcomer,
            shared=self.policy.shared,
            suspended_since=self.policy.state.suspended_since
            if self.policy.shared.suspended
            else 0,
            waived=self.lease.state.waived,
            names=self.revision.state.names or settings.names,
            arbiter=self.revision.state.arbiter if self.revision.state.names else settings.arbiter,
            cluster=self.revision.state.cluster or settings.cluster,
            ratio_until=self.ratio.state.until,
            macs={n: p.macs for n, p in self.peers.items() if p.macs},
            doubt=self.revision.state.doubt,
            turns_before=tuple(self.revision.state.turns_before),
            off={n: p.off_asked_at for n, p in self.peers.items() if p.off_asked_at != NEVER},
            off_at={
                n: settings.power_at(n) for n, p in self.peers.items() if p.off_asked_at != NEVER
            },
            monitors=tuple(
                MonitorMemory(
                    monitor=name,
                    suspended=run.suspended,
                    suspended_by=run.suspended_by,
                    suspended_at=run.suspended_at if run.suspended else 0,
                    scripts=tuple(run.scripts),
                    restarts=tuple(run.restarts),
                    failovers=tuple(run.failovers),
                )
                for name, run in self.runs.state.items()
                if run.suspended or run.scripts or run.restarts or run.failovers
            ),
        )

    def _held_group(self, name: str, run: GroupRun) -> HeldGroup:
        """One group as it is now; the value of the step before, where it is the same."""
        known = self._groups.get(name)
        if (
            known is not None
            and known.seen == run.seen
            and known.held is run.held
            and known.state == run.state
            and known.event == run.event
            and known.previous == run.previous
            and known.purge is run.purge
            and known.resources == run.resources
        ):
            return known
        found = self._groups[name] = HeldGroup(
            group=name,
            seen=run.seen,
            held=run.held,
            state=run.state,
            event=run.event,
            previous=run.previous,
            resources={n: str(s) for n, s in run.resources.items()},
            purge=run.purge,
        )
        return found

    # ------------------------------------------------------------------ the ledger on the disk

    def restore(self, ledger: LedgerFile) -> None:
        """Takes over the open events on disk: they are shown and bind; none is recovered again."""
        self.final.state.halts = dict(ledger.halts)
        for name in ledger.liars:
            if name in self.peers:
                self.peers[name].bmc.lies = True
        self.ledger.restore(ledger)
        self.mirrors.restore(ledger)
        self._kept(self._entries_of())

    def ledger_due(self) -> LedgerFile | None:
        """The ledger, if it is to be written: something opened or closed since."""
        state, ledger = self.state, self.ledger.state
        # Each opening takes a number, each closing an entry: counts alone are not worth a write.
        known = (state.next_event, state.open_events, state.halts, state.liars, state.behind)
        now = (ledger.next_event, len(ledger.events), self.final.state.halts, self._liars())
        if known == (*now, self.mirrors.state.behind):
            return None
        entries = self._entries_of()
        self._kept(entries)
        return LedgerFile(
            next_event=ledger.next_event,
            halts=dict(self.final.state.halts),
            liars=self._liars(),
            behind=dict(self.mirrors.state.behind),
            entries=tuple(entries.values()),
        )

    def _kept(self, entries: dict[int, OpenEntry]) -> None:
        state, ledger = self.state, self.ledger.state
        self._entries = entries
        state.next_event, state.open_events = ledger.next_event, len(ledger.events)
        state.halts, state.liars = dict(self.final.state.halts), self._liars()
        state.behind = dict(self.mirrors.state.behind)

    def _liars(self) -> tuple[str, ...]:
        return tuple(n for n, p in self.peers.items() if p.bmc.lies)

    def _entries_of(self) -> dict[int, OpenEntry]:
        return {e.id: self._entry(e) for e in self.ledger.state.events.values()}

    def _entry(self, event: OpenEvent) -> OpenEntry:
        known = self._entries.get(event.id)
        if known is not None and known.count == event.count and known.last_at == event.last_at:
            return known
        return OpenEntry(
            id=event.id,
            monitor=event.monitor,
            key=event.key,
            event_class=event.event_class,
            meaning=event.meaning,
            source=event.source,
            first_at=event.first_at,
            last_at=event.last_at,
            count=event.count,
        )


def _serves(before: Durable, now: Durable, lease_ms: int) -> bool:
    """Whether an agent that starts with `before` would be safe, and lose little.

    An older lease errs on the safe side, and so does an off read that is a little older.
    """
    off = {
        name: before.off[name] if name in before.off and at - before.off[name] < _OFF_MS else at
        for name, at in now.off.items()
    }
    serves = _lease_serves(before.lease_until, now.lease_until, lease_ms)
    lease_until = before.lease_until if serves else now.lease_until
    return msgspec.structs.replace(now, off=off, lease_until=lease_until) == before


def _lease_serves(before: int, now: int, lease_ms: int) -> bool:
    return 0 <= now - before <= lease_ms // 2
