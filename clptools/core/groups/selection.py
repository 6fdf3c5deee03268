"""Which server a group should go to next, and why it does not go to the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clptools.core import phrases as say
from clptools.core.cluster.holdings import newest_complete_beat
from clptools.core.cluster.peers import Peers
from clptools.core.groups.exclusion import Exclusion
from clptools.core.groups.mirrors import Mirrors
from clptools.core.model.group_state import Runs, failed_starts, purging, unfit
from clptools.core.model.messages import Intent
from clptools.core.model.monitor_state import Events, MonitorRun, bars
from clptools.core.model.settings import Group
from clptools.core.model.words import EventClass, Failover
from clptools.core.step import Step


class Selection:
    """Questions about servers as places for a group."""

    def __init__(
        self,
        step: Step,
        group_runs: Runs,
        monitors: Mapping[str, MonitorRun],
        events: Events,
        peers: Peers,
        exclusion: Exclusion,
        mirrors: Mirrors,
    ) -> None:
        self.step = step
        self.group_runs = group_runs
        self.monitors = monitors
        self.events = events
        self.peers = peers
        self.exclusion = exclusion
        self.mirrors = mirrors

    def choose(self, group: Group, intent: Intent) -> tuple[str, str]:
        """The server for the next start and why; or nothing, and why not."""
        # Manual is about lost servers: a monitor's recovery and a failed start go on all the same.
        moved = intent.preferred or intent.avoid
        if intent.event == "FAILOVER" and group.failover == Failover.MANUAL and not moved:
            return "", say.failover_manual(group.name)
        if self.would_take(group, intent):
            return intent.preferred, say.asked_for(intent.reason)
        if self.exhausted(group, intent):
            return "", say.waits_for_next_try(group.name, intent.avoid)
        able = self._able(group)
        wanted = [s for s in able if s not in intent.avoid]
        if not wanted and not intent.failures:
            wanted = able
        free = [s for s in wanted if self.is_free(group, s)]
        alone = [s for s in free if not self.exclusion.neighbour(group.name, s)]
        ranked = self._ranked(group, intent, alone or free or wanted)
        if not ranked:
            return "", say.nobody(group.name, self.why_not(group, intent))
        best = ranked[0]
        beside = "" if alone else self.exclusion.neighbour(group.name, best)
        reason = say.next_in_order(group.name, self.is_barred(best), not free, beside)
        unfit = [s for s in group.servers if self.eligible(group, s) and self.is_unfit(group, s)]
        return best, reason + say.passed_over([s for s in unfit if s not in intent.avoid], best)

    def exhausted(self, group: Group, intent: Intent) -> bool:
        """Whether its start failed on as many servers as may be tried, or on all there are."""
        if not intent.failures:
            return False
        limit = max((r.failover_on_failure for r in group.resources), default=0)
        able = self._able(group)
        return (
            intent.fatal or intent.failures > limit or bool(able and set(able) <= set(intent.avoid))
        )

    def untried(self, group: Group, intent: Intent) -> tuple[str, ...]:
        """Servers that could take the group now and have not failed to start it."""
        return tuple(s for s in self._able(group) if s not in intent.avoid)

    def why_failed(self, group: str, name: str) -> str:
        """Why the last start of a group on a server failed, as far as it has told."""
        if name == self.step.me:
            return failed_starts(self.group_runs).get(group, "")
        p = self.peers.get(name)
        return p.report.server.failed_starts.get(group, "") if p is not None and p.report else ""

    def failures(self, group: str, names: Iterable[str]) -> tuple[str, ...]:
        """Servers on which its start failed, each with why as far as it has told."""
        return tuple(
            f"{name} ({why})" if (why := self.why_failed(group, name)) else name for name in names
        )

    def tried_elsewhere(self, group: Group, intent: Intent) -> bool:
        """Whether a start that failed here will be tried on another server."""
        if intent.failures >= max(r.failover_on_failure for r in group.resources):
            return False
        others = (s for s in group.servers if s not in (self.step.me, *intent.avoid))
        return any(self.would_do(group, server) for server in others)

    def _ranked(self, group: Group, intent: Intent, names: list[str]) -> list[str]:
        """In configured order; dynamic: the same server group first, then by bad monitors."""
        if group.failover != Failover.DYNAMIC:
            return names
        home = {
            s
            for g in self.step.settings.server_groups
            if g.name in group.server_groups and intent.previous in g.servers
            for s in g.servers
        }
        return sorted(names, key=lambda s: (bool(home) and s not in home, self._ailing(s)))

    def _ailing(self, name: str) -> int:
        bad = ("Error", "Caution", "Stall")
        if name == self.step.me:
            return sum(1 for m in self.monitors.values() if m.status in bad)
        report = self.peers[name].report
        monitors = report.server.monitors.values() if report is not None else ()
        return sum(1 for m in monitors if m.status in bad)

    def would_take(self, group: Group, intent: Intent) -> bool:
        """Whether the server that is asked for would be chosen."""
        asked = intent.preferred
        return self.eligible(group, asked) and (intent.force or self.is_free(group, asked))

    def eligible(self, group: Group, name: str) -> bool:
        """Whether a server could take a grant of the group now."""
        able = name in group.servers and not self.cannot_run(group, name)
        return able and not self.exclusion.bars(group.name, name)

    def cannot_run(self, group: Group, name: str) -> str:
        """Why a server takes no group now, or not this one with the data it has; empty: it may."""
        why = self.not_eligible(name)
        if why:
            return why
        resource, newer = self.mirrors.behind(group, name)
        return say.behind(resource, newer) if resource else ""

    def is_unfit(self, group: Group, name: str) -> bool:
        """Whether its start failed there in a way that only a mend on that server ends."""
        if name == self.step.me:
            return group.name in unfit(self.group_runs, self.step.now)
        p = self.peers.get(name)
        return p is not None and p.report is not None and group.name in p.report.server.unfit

    def would_do(self, group: Group, name: str) -> bool:
        """Whether a server could take the group, and its start there may succeed."""
        return self.eligible(group, name) and not self.is_unfit(group, name)

    def _able(self, group: Group) -> list[str]:
        """Servers that could take it: those that are unfit for it only if there is no other."""
        able = [s for s in group.servers if self.eligible(group, s)]
        return [s for s in able if not self.is_unfit(group, s)] or able

    def not_eligible(self, name: str) -> str:
        """Why a server takes no group now; empty: it may."""
        step = self.step
        if name == step.me:
            if not self.peers.is_online(name):
                return say.stopping
            if not step.life.noted:
                return say.boot_not_noted
            return say.newcomer if step.life.newcomer else ""
        if name not in self.peers:
            return say.unknown_server
        p = self.peers[name]
        if self.peers.is_out(name):
            return say.out(self.peers.out_reason(name))
        if not self.peers.is_online(name) or not self.peers.hears(name):
            return say.not_heard
        beat = p.beat
        if beat is None or beat.stopped:
            return say.stopping
        if beat.unfit:
            return say.boot_not_noted
        return say.newcomer if beat.newcomer else ""

    def is_free(self, group: Group, name: str) -> bool:
        """Whether a server is a first choice: not barred, and nothing of the group left there."""
        return not self.is_barred(name) and not self.is_purging(group, name)

    def is_purging(self, group: Group, name: str) -> bool:
        """Whether something of the group may be left on a server from before its boot."""
        if name == self.step.me:
            return group.name in purging(self.group_runs)
        beat = newest_complete_beat(self.peers[name])
        return beat is not None and group.name in beat.purging

    def is_barred(self, name: str) -> bool:
        """Whether a server has an open fatal hardware event."""
        if name == self.step.me:
            return bars(self.events)
        beat = self.peers[name].beat
        return beat is not None and beat.barred

    def fatal_event(self, name: str) -> str:
        """Number and meaning of the open fatal event that bars a server, as far as it told."""
        if name == self.step.me:
            own = self.events.values()
            told = [(e.id, e.meaning) for e in own if e.event_class == EventClass.FATAL]
        else:
            report = self.peers[name].report
            events = report.server.open_events if report is not None else ()
            told = [(e.id, e.meaning) for e in events if e.event_class == EventClass.FATAL]
        return f"{told[-1][0]}, {told[-1][1]}" if told else ""

    def others(self, group: Group) -> list[tuple[str, str]]:
        """The other servers of the group, each with why it would not take it over (or nothing)."""
        found = []
        for name in group.servers:
            if name == self.step.me:
                continue
            why = self.cannot_run(group, name)
            if not why and self.is_barred(name):
                fatal = self.fatal_event(name)
                why = f"{say.open_fatal} ({fatal})" if fatal else say.open_fatal
            if not why and self.is_unfit(group, name):
                why = say.unfit(self.why_failed(group.name, name))
            found.append((name, why))
        return found

    def why_not(self, group: Group, intent: Intent, beside: str = "") -> list[str]:
        """For each server of the group, less `beside`, why it does not take it."""
        return [f"{s}: {self._why_not(group, intent, s)}" for s in group.servers if s != beside]

    def _why_not(self, group: Group, intent: Intent, name: str) -> str:
        other = self.exclusion.bars(group.name, name)
        why = self.cannot_run(group, name)
        why = why or (say.kept_apart(other) if other else "")
        if not why and self.is_unfit(group, name):
            why = say.unfit(self.why_failed(group.name, name))
        return why or (say.failed_there if name in intent.avoid else say.free)
