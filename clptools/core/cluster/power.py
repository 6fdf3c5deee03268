"""What BMCs say of their servers, and when that proves anything (`docs/rules.md`, *Out*).

Each is asked in turn, and at once when its server misses two beats: "off" clears that server long
before the time-out.  A BMC can be wrong: right after its own restart it has not sensed the host
yet, and some BMCs stay wrong.  So an "off" counts only

- if its server had been silent for two beats when the BMC was asked, and is silent still: the
  kernel, too, which an ICMP echo asks together with the question;
- in a session in which it read on before, or that is 60 s old: a BMC that restarted has lost its
  sessions.  Where a protocol keeps none, within 10 s of an "on": no BMC restarts in less;
- from a BMC that does not lie.  It lies if its server answers a heartbeat that was sent after the
  BMC had answered off; then nothing it says is proof until it reads on while its server is heard.

A fence agent is a power control without sessions: an "off" counts within 10 s of an "on", as above
where a protocol keeps no session, or once it has read off for 60 s without a gap.  Each question
runs a program and may take seconds, so it is asked once its server is silent; with `poll`, every
5 s before that.

A BMC has few sessions, often four.  So two servers keep one with it: of those that are there, the
coordinator and the server listed first, which all servers know alike.  The others look at it once a
minute, and ask as those two do while its server is not heard.
"""

from __future__ import annotations

from itertools import islice

from clptools.core import phrases as say
from clptools.core.cluster.peers import Peers
from clptools.core.model.actions import ReadPower
from clptools.core.model.cluster_state import BmcState, PeerState
from clptools.core.model.events import PowerRead
from clptools.core.model.messages import Echo
from clptools.core.model.settings import Server, Settings
from clptools.core.model.timing import NEVER
from clptools.core.model.words import BmcAction, PowerState
from clptools.core.notices import cluster as notices
from clptools.core.step import Change, Step

SESSION_MS = 60_000
"""A session this old is of a BMC that knows its host."""
ON_LASTS_MS = 10_000
"""Without sessions: no BMC restarts, and answers again, within this."""
_AGENTS_MS = 5_000
"""Between two questions to fence agents: an "on" must not be older than `ON_LASTS_MS`."""
_AGENTS_OFTEN_MS = 70_000
"""For so long they are asked as often as a BMC is, once a server is silent."""
_READ_STUCK_MS = 60_000
_MEND_MS = 5_000
"""A BMC that starts refuses logins, too."""
_KEEPERS = 2
"""Servers that keep a session with a BMC, its own not counted."""
_READ_RARELY_MS = 60_000
"""By any other server; the session ends with the answer."""
_READ_OWN_MS = 10_000
"""Without a heartbeat in it: only shown."""
_HURRY_MS = 700
"""How much earlier than its turn a BMC is asked again while its server misses beats."""
_LAG_MS = 400
"""Between two hurried reads, and what a read takes."""
_STILL_MS = 2_000
"""How long a beat in the BMC that is read may stay the same: longer than a slow BMC takes."""


class Power:
    """The chassis power of all servers, as far as their BMCs say it."""

    def __init__(self, step: Step, peers: Peers) -> None:
        self.step = step
        self.peers = peers

    # ------------------------------------------------------------------ answers

    def read(self, event: PowerRead) -> None:
        """A BMC answered, or did not."""
        step = self.step
        p = self.peers.get(event.server)
        if p is None and event.server != step.me:
            return
        if event.where and event.where != step.settings.power_at(event.server):
            return  # asked before a push changed the address, or after one that is still to come
        bmc = self.peers.own_bmc if p is None else p.bmc
        bmc.asked_at = NEVER
        bmc.latency_ms = event.latency_ms
        bmc.error = event.error
        self._beat(bmc, event)
        self._tell_mend(bmc, event)
        if event.power != bmc.power:
            bmc.change_at = step.now
            step.changed(Change.DECISIONS)
        bmc.power = event.power
        if p is None:
            if event.power != PowerState.UNKNOWN:
                bmc.at = step.now
            return
        if event.power == PowerState.UNKNOWN:
            bmc.answers_since = NEVER
        else:
            if event.asked_at - bmc.at > ON_LASTS_MS:
                bmc.off_since = NEVER  # in such a gap it may have restarted
            bmc.at = step.now
            if bmc.answers_since == NEVER:
                bmc.answers_since = step.now
        bmc.doubt = ""
        if event.power == PowerState.OFF:
            self._off(p, event)
        elif event.power == PowerState.ON:
            self._on(p, event)
        if event.power != PowerState.UNKNOWN:
            bmc.session, bmc.by = event.session, event.by
        # Repeated "on" reads of a server that is heard affect no decision.
        heard = step.now - p.heard_at <= step.times.missed_ms
        if not heard or event.power == PowerState.OFF or self.peers.is_out(event.server):
            step.changed(Change.DECISIONS)

    def readdressed(self, before: Settings) -> None:
        """What was read through an address says nothing any more once a push gives another.

        The one before may have been another server's.  That its BMC lies is kept: the next "on"
        ends it, if the address was to blame.
        """
        step = self.step
        for name in step.settings.names:
            if before.power_at(name) == step.settings.power_at(name):
                continue
            p = self.peers.get(name)
            if p is None:
                self.peers.state.own_bmc = BmcState()
                continue
            p.bmc = BmcState(lies=p.bmc.lies)
            if p.off_asked_at != NEVER:
                p.off_asked_at = NEVER

    def _beat(self, bmc: BmcState, event: PowerRead) -> None:
        """What its server's heartbeat in the BMC shows."""
        if not event.beat:
            return
        now, before = self.step.now, bmc.beat_read_at
        bmc.beat_read_at = now
        if event.beat != bmc.beat:
            bmc.beat = event.beat
            bmc.beat_at = now
            bmc.beat_after = before if 0 <= before < now - self.interval_ms() else now

    def _tell_mend(self, bmc: BmcState, event: PowerRead) -> None:
        """Alerts where a person must mend something before this BMC can prove a power loss, or
        before it lets us stop a server."""
        step, server = self.step, event.server
        bmc.mend = event.mend
        if event.power != PowerState.UNKNOWN:
            bmc.lacks = event.lacks
            stops = step.settings.forced_stop.action != BmcAction.NONE
            if event.lacks and stops and bmc.lacks_since == NEVER:
                bmc.lacks_since = step.now
                step.changed(Change.REPORT)
                step.notice(notices.BmcLacks(server, event.lacks, event.mend))
            elif bmc.lacks_since != NEVER and not event.lacks:
                bmc.lacks_since = NEVER
                step.changed(Change.REPORT)
                step.notice(notices.BmcSuffices(server))
        if event.power != PowerState.UNKNOWN:
            if bmc.mend_told:
                step.changed(Change.REPORT)
                step.notice(notices.BmcAnswers(server))
            bmc.mend_since, bmc.mend_told = NEVER, False
        elif event.mend:
            if bmc.mend_since == NEVER:
                bmc.mend_since = step.now
            elif not bmc.mend_told and step.now - bmc.mend_since >= _MEND_MS:
                bmc.mend_told = True
                step.changed(Change.REPORT)
                step.notice(notices.BmcRefuses(server, event.error, event.mend))

    def _on(self, p: PeerState, event: PowerRead) -> None:
        step, bmc = self.step, p.bmc
        bmc.on_at = step.now
        bmc.off_at = bmc.off_since = NEVER
        if bmc.lies and self._heard(p):
            bmc.lies = False
            step.notice(notices.BmcTruthful(event.server, self.means(event.server)))

    def _off(self, p: PeerState, event: PowerRead) -> None:
        step, bmc = self.step, p.bmc
        if event.session != bmc.session or event.by != bmc.by:
            # Another session, or other agents: what the one before had read is not its word.
            bmc.on_at = bmc.off_since = NEVER
        if bmc.off_since == NEVER:
            bmc.off_since = event.asked_at
        bmc.off_at = step.now
        bmc.off_asked_at = event.asked_at
        bmc.off_seen_at = step.now
        bmc.doubt = self._doubtful(p, event)
        if bmc.doubt:
            return
        fresh = not self.peers.is_out(event.server)
        p.off_asked_at = max(p.off_asked_at, event.asked_at)
        p.on_told = False
        if fresh:
            means = f"fence agent {event.by}" if event.by else "BMC"
            step.notice(notices.ServerReadsOff(event.server, means))

    def means(self, name: str) -> str:
        """What reads and switches its power, in words."""
        server = self.step.settings.server(name)
        return (server.power_by if server is not None else "") or "BMC"

    def _doubtful(self, p: PeerState, event: PowerRead) -> str:
        """Why this "off" proves nothing; empty: it does."""
        bmc = p.bmc
        if event.asked_at - p.any_heard_at <= self.step.times.missed_ms:
            return say.off_while_heard
        if event.echoed:
            return say.off_while_echoing
        if bmc.lies:
            return say.off_by_a_liar
        if not event.session:
            fresh = bmc.on_at != NEVER and event.asked_at - bmc.on_at <= ON_LASTS_MS
            lasting = bool(event.by) and event.asked_at - bmc.off_since >= SESSION_MS
            return "" if fresh or lasting else say.off_without_on
        if bmc.on_at != NEVER or event.asked_at - event.session_at >= SESSION_MS:
            return ""
        return say.off_in_young_session

    def answered(self, server: str, p: PeerState, echo: Echo) -> None:
        """Its server answered a beat of ours: a BMC that said off before that beat was sent lies.

        A server that booted since the question is no such case: its incarnation is another one.
        """
        bmc = p.bmc
        lived = p.believed_at < bmc.off_asked_at and bmc.off_at < echo.sent_at
        if bmc.lies or bmc.off_at == NEVER or not lived:
            return
        bmc.lies = True
        means = self.means(server)
        key, what = ("[[fence]]", "outlet") if bmc.by else ("[server.bmc]", "BMC")
        self.step.notice(notices.BmcLies(server, means, key, what))
        self.step.changed(Change.DECISIONS)

    def _heard(self, p: PeerState) -> bool:
        return self.step.now - p.heard_at <= self.step.times.missed_ms

    # ------------------------------------------------------------------ questions

    def ask_due(self, coordinator: str) -> None:
        """Asks the BMC of every server that misses two beats, and of all in their turn."""
        step = self.step
        now = step.now
        for server in step.settings.servers:
            p = self.peers.get(server.name)
            if server.bmc is None:
                if server.fences and p is not None and self._agents_due(server, p, coordinator):
                    self.ask(server.name)
                continue
            bmc = self.peers.own_bmc if p is None else p.bmc
            if bmc.asked_at != NEVER and now - bmc.asked_at < _READ_STUCK_MS:
                continue
            hurry = self._silent(p) or (p is None and self._beats() and self._any_silent())
            early_ms = _HURRY_MS if hurry else 0
            keep = self._beats() if p is None else self._needs(server.name, p, coordinator)
            if p is not None and keep:
                # It was asked in the longer turn; the shorter one begins now.
                early_ms = max(early_ms, bmc.next_at - bmc.began_at - self.interval_ms())
            if now >= bmc.next_at - early_ms:
                self.ask(server.name, keep)

    def _agents_due(self, server: Server, p: PeerState, coordinator: str) -> bool:
        """Whether fence agents alone read its power, and are to be asked now."""
        bmc, now = p.bmc, self.step.now
        if p.fence.ordered_at != NEVER:
            return False  # many devices take one login at a time, and the order comes first
        if bmc.asked_at != NEVER and now - bmc.asked_at < _READ_STUCK_MS + server.order_ms:
            return False
        often = p.fence.since != NEVER
        if not often and not self._sought(server.name, p):
            kept = self.step.me in self._keepers(server.name, coordinator)
            # One that lied is proof again once it reads on while its server is heard.
            if not (bmc.lies or (server.power_is_polled and kept)):
                return False
        elif not self.peers.is_out(server.name):
            often = often or now - p.any_heard_at <= _AGENTS_OFTEN_MS
        return now - bmc.began_at >= (self.interval_ms() if often else _AGENTS_MS)

    def _keepers(self, server: str, coordinator: str) -> tuple[str, ...]:
        """The servers that keep a session with a BMC: the coordinator, and the one listed first.

        Who misses beats or is out does not count: a server that is down keeps none.
        """
        listed = self.step.settings.names
        first = (coordinator, *(name for name in listed if name != coordinator))
        present = (n for n in first if n and n != server and self._present(n))
        return tuple(islice(present, _KEEPERS))

    def _present(self, name: str) -> bool:
        p = self.peers.get(name)
        return p is None or not (self._silent(p) or self.peers.is_out(name))

    def _needs(self, server: str, p: PeerState, coordinator: str) -> bool:
        """Whether its BMC is to be asked in short turns: we keep a session, or it is not heard."""
        sought = p.fence.since != NEVER or self.peers.is_out(server)
        return sought or not self._heard(p) or self.step.me in self._keepers(server, coordinator)

    def _sought(self, server: str, p: PeerState) -> bool:
        """Whether its power matters now, whatever it costs to read."""
        return self._silent(p) or p.fence.since != NEVER or self.peers.is_out(server)

    def _silent(self, p: PeerState | None) -> bool:
        """Whether a server misses two beats, on every path and by every incarnation."""
        return p is not None and self.step.now - p.any_heard_at > self.step.times.missed_ms

    def _any_silent(self) -> bool:
        return any(p.believed and self._silent(p) for p in self.peers.values())

    def ask(self, name: str, keep: bool = True) -> None:
        """Begins one read of a server's BMC; `keep`: in a session that stays."""
        p = self.peers.get(name)
        bmc = self.peers.own_bmc if p is None else p.bmc
        now = self.step.now
        bmc.asked_at = bmc.began_at = now
        turn_ms = self._own_ms() if p is None else self.interval_ms()
        bmc.next_at = now + (turn_ms if keep or p is None else _READ_RARELY_MS)
        server = self.step.settings.server(name)
        agents = False
        if p is not None and server is not None and server.fences:
            agents = server.bmc is None or self._sought(name, p)
        self.step.do(ReadPower(server=name, echo=self._silent(p), keep=keep, agents=agents))

    def _own_ms(self) -> int:
        """The interval for our own BMC: its reading shows whether the others see our beat there."""
        return self.interval_ms() if self._beats() else _READ_OWN_MS

    def _beats(self) -> bool:
        links = self.step.settings.interconnects
        return any(i.type == "bmchb" and self.step.me in i.addresses for i in links)

    def looks_hung(self, p: PeerState) -> bool:
        """Whether another server may take us for hung: our own heartbeat in our BMC stopped when
        we lost each other (`stands_still`, from the other side).

        It is set once an interval, and read three times in one while somebody is silent.  After a
        gap in the readings a change may be an old one: it is no sign that the heartbeat goes on.
        """
        bmc, now = self.peers.own_bmc, self.step.now
        if not self._beats() or bmc.beat_at == NEVER:
            return False
        long_before = min(p.heard_at, p.echoed_at) - 3 * self.interval_ms() - _LAG_MS
        return now - bmc.beat_after > self.interval_ms() * 8 // 5 and bmc.beat_after > long_before

    def cannot_see_itself(self) -> bool:
        """Whether we cannot tell how our own heartbeat in our BMC looks to the others."""
        read_at = self.peers.own_bmc.beat_read_at
        return self._beats() and self.step.now - read_at > self.interval_ms() * 8 // 5

    def stands_still(self, p: PeerState) -> bool:
        """Whether a server's BMC shows that it fell silent as a whole.

        Behind cut cables it would go on beating there.  A beat that stopped long before, or after,
        tells of another trouble: of the timer that carries it.  A server whose beat stopped within
        an interval of the cut knows by now that it looks hung, and fences nobody: hence the length
        of `heartbeat_timeout` that this needs.
        """
        bmc, interval_ms = p.bmc, self.interval_ms()
        if bmc.power != PowerState.ON or bmc.beat_at == NEVER:
            return False
        if self.step.times.lost_ms < interval_ms * 13 // 5 + _LAG_MS:
            return False
        together = -2 * interval_ms <= bmc.beat_at - p.heard_at <= interval_ms
        return together and bmc.beat_read_at - bmc.beat_at >= max(2 * interval_ms, _STILL_MS)

    def interval_ms(self) -> int:
        """The interval of the `bmchb` interconnect, or 1 s."""
        links = self.step.settings.interconnects
        return next((i.interval_ms for i in links if i.type == "bmchb"), 1_000)

    # ------------------------------------------------------------------ each settling

    def settle(self, at_stake: list[str]) -> None:
        """Says early that a server which is on again, and silent, will count again.

        `at_stake`: groups that we hold, and must stop where the lease is not renewed.
        """
        step = self.step
        for name, p in self.peers.items():
            if p.on_told or p.bmc.power != PowerState.ON or p.off_asked_at == NEVER:
                continue
            left_ms = p.off_asked_at + step.times.startup_ms - step.now
            if not 0 < left_ms <= step.times.startup_ms // 2 or not self.peers.is_out(name):
                continue
            p.on_told = True
            if self.peers.majority_without_out():
                continue
            if self.peers.half_without_out() and self._may_be_stopped(name):
                step.notice(notices.StoppedIfSilent(name, left_ms))
            elif at_stake:
                step.notice(notices.CountsAgain(name, left_ms, at_stake))

    def _may_be_stopped(self, name: str) -> bool:
        """Whether the configuration lets us stop that server by its BMC."""
        server = self.step.settings.server(name)
        stops = self.step.settings.forced_stop.action != BmcAction.NONE
        return stops and server is not None and server.has_power_control
