"""A person's word that a server is down, and the command that makes it so (`docs/rules.md`, *Out*).

    confirm-down --> every reachable server and the BMC are asked --> nothing speaks against it: out
                                                                 '-> refused, with the reading

The word is checked: a tired operator may mean another server, or a machine that hangs and will go
on.  It reaches each server with the send time of its own newest beat, and counts there as
an off read does: only if nothing was heard of the server since.  So a late word does nothing.
"""

from __future__ import annotations

import msgspec

from clptools.core import phrases as say
from clptools.core import replies
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.power import Power
from clptools.core.groups.holders import Holders
from clptools.core.groups.selection import Selection
from clptools.core.model.cluster_state import PeerState
from clptools.core.model.requests import FAILED, LASTS_MS, REFUSED, ConfirmDown, ForceStop, Outcome
from clptools.core.model.state import Pending
from clptools.core.model.timing import NEVER
from clptools.core.model.words import PowerState, Stage
from clptools.core.notices import safety as notices
from clptools.core.requests.forwarding import Forwarding
from clptools.core.safety.fencing import Fencing
from clptools.core.step import Change, Step

_ASK_MS = 3_000
"""How long the BMC and the other servers have to answer."""
_BEAT_FRESH_MS = 3_000


class Vouching:
    """`clpnode confirm-down` and `clpforcestop`."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        power: Power,
        fencing: Fencing,
        selection: Selection,
        holders: Holders,
        forwarding: Forwarding,
    ) -> None:
        self.step = step
        self.peers = peers
        self.power = power
        self.fencing = fencing
        self.selection = selection
        self.holders = holders
        self.forwarding = forwarding

    # ------------------------------------------------------------------ confirm-down

    def confirm(self, pending: Pending) -> Outcome | None:
        """A person's word for a server, or another server's question what speaks against it."""
        step = self.step
        request = pending.request
        assert isinstance(request, ConfirmDown)
        p = self.peers.get(request.down)
        if request.down == step.me:
            return Outcome(code=REFUSED, text=f"{step.me} itself answers: it is not down.")
        if p is None:
            return self.forwarding.no_server(request.down)
        if request.only_look:
            against = self._against(request.down, p)
            return Outcome(code=REFUSED, text=against) if against else Outcome()
        if pending.origin:
            return self._told(pending, request, p)
        if self.peers.hears(request.down):
            return self._is_heard(request.down)
        if p.confirmed:
            return Outcome(text=f"{request.down} is already confirmed down.")
        pending.stage = Stage.LOOKING
        look = msgspec.structs.replace(request, only_look=True)
        for name in self.peers:
            if name != request.down and self.peers.hears(name):
                self.forwarding.ask(name, look, pending)
        if self._has_power_control(request.down):
            self.power.ask(request.down)
        return None

    def _told(self, pending: Pending, request: ConfirmDown, p: PeerState) -> Outcome:
        """The word comes from another server, which has checked it."""
        step = self.step
        stale = step.now - pending.sent_at > LASTS_MS or pending.sent_at > step.now
        if not stale and p.any_heard_at < pending.sent_at:
            self._take(request, p, pending.user)
        return Outcome()

    def _take(self, request: ConfirmDown, p: PeerState, user: str, known: str = "") -> None:
        step = self.step
        p.confirmed = user
        step.changed(Change.DECISIONS)
        step.notice(notices.ConfirmedDown(request.down, user, known))

    def _is_heard(self, name: str) -> Outcome:
        text = f"{name} is heard now: it is not down."
        return Outcome(code=REFUSED, text=text, hint=f"Power it off: clpforcestop {name} --yes")

    def answered(self, asked: Pending, outcome: Outcome) -> None:
        """Another server said what speaks against it."""
        pending = self.forwarding.state.pending.get(asked.asks_for)
        if pending is not None and outcome.code:
            pending.against = [*pending.against, f"{asked.server}: {outcome.text}"]
        self.step.changed(Change.REQUESTS)

    def _against(self, name: str, p: PeerState) -> str:
        """What this server knows that speaks against its being down; empty: nothing."""
        step, bmc = self.step, p.bmc
        if self.peers.hears(name) or step.now - p.any_heard_at <= step.times.hear_ms:
            return f"{name} is heard."
        if self.peers.is_refused(name):
            return f"{self.peers.why_refused(name)}."
        if not self._has_power_control(name):
            return ""
        if bmc.power == PowerState.ON and not bmc.error:
            ago = say.seconds(step.now - bmc.at)
            return f"its {self.power.means(name)} read on {ago} ago."
        if bmc.beat_at != NEVER and step.now - bmc.beat_at <= _BEAT_FRESH_MS:
            return "its heartbeat in its BMC goes on."
        return ""

    def _has_power_control(self, name: str) -> bool:
        server = self.step.settings.server(name)
        return server is not None and server.has_power_control

    def _looked(self, pending: Pending, request: ConfirmDown) -> Outcome | None:
        """Decides once every server has answered, or had the time to."""
        step = self.step
        p = self.peers.get(request.down)
        if p is None:
            return self.forwarding.no_server(request.down)
        if self.peers.hears(request.down):
            return self._is_heard(request.down)
        asked = any(x.asks_for == pending.id for x in self.forwarding.state.pending.values())
        reading = self._has_power_control(request.down) and p.bmc.asked_at != NEVER
        if (asked or reading) and step.now - pending.since <= _ASK_MS:
            return None
        for number in [
            n for n, x in self.forwarding.state.pending.items() if x.asks_for == pending.id
        ]:
            del self.forwarding.state.pending[number]
        waited_ms = step.now - pending.since
        if waited_ms > LASTS_MS:
            return self.forwarding.late(pending, waited_ms)  # we stood still while we looked
        own = self._against(request.down, p)
        against = [*([f"{step.me}: {own}"] if own else []), *pending.against]
        heard = any(line.endswith("is heard.") for line in against)
        if against and (heard or not request.force):
            return Outcome(
                code=REFUSED,
                text=f"{request.down} lives, as far as is known: {' '.join(against)}",
                hint=self.peers.mend_of_refusal(request.down)
                or f"Make it true: clpforcestop {request.down} --yes",
            )
        self._take(request, p, pending.user, " ".join(against))
        alone = []
        for name, other in self.peers.items():
            if name == request.down or not self.peers.hears(name):
                continue
            if other.beat is None:
                alone.append(name)
            else:
                self.forwarding.pass_on(name, pending.user, request)
        return Outcome(text=replies.counts_as_down(request.down, alone))

    # ------------------------------------------------------------------ clpforcestop

    def force_stop(self, pending: Pending) -> Outcome | None:
        """Powers a server off by its BMC, or its fence agents."""
        step = self.step
        request = pending.request
        assert isinstance(request, ForceStop)
        p = self.peers.get(request.down)
        if request.down == step.me:
            text = f"{step.me} does not stop itself by force."
            return Outcome(code=REFUSED, text=text, hint="Shut it down: clpstdn, or clpdown")
        if p is None:
            return self.forwarding.no_server(request.down)
        if not self._has_power_control(request.down):
            text = f"{request.down} has no BMC and no fence agent in the configuration."
            hint = f"Switch it off by hand, then: clpnode confirm-down {request.down} --yes"
            return Outcome(code=REFUSED, text=text, hint=hint)
        proven = self.peers.out_reason(request.down) == "power off"
        if proven and p.bmc.power == PowerState.OFF and not p.bmc.error:
            return Outcome(text=f"{request.down} is already off.")
        stranded = self._stranded(request.down)
        if stranded:
            return Outcome(
                code=REFUSED,
                text=f"{request.down} runs {say.listed(stranded)}, which could start nowhere else.",
                hint=f"Stop it first: clpgrp -t {stranded[0]}",
            )
        self.fencing.begin(request.down, p, user=pending.user)
        self.power.ask(request.down)
        pending.stage = Stage.STOPPING
        pending.server = request.down
        step.changed(Change.DECISIONS)
        return None

    def _stranded(self, name: str) -> list[str]:
        """Groups that it runs and no other server could."""
        step = self.step
        found = []
        for group in step.settings.groups:
            runs = any(h.server == name for h in self.holders.of(group.name))
            others = [s for s in group.servers if s != name]
            if runs and not any(self.selection.eligible(group, s) for s in others):
                found.append(group.name)
        return found

    def through(self, pending: Pending) -> Outcome | None:
        """Whether a request of these is through."""
        request = pending.request
        if isinstance(request, ConfirmDown) and pending.stage == Stage.LOOKING:
            return self._looked(pending, request)
        if not isinstance(request, ForceStop) or pending.stage != Stage.STOPPING:
            return None
        p = self.peers.get(request.down)
        if p is None:
            return self.forwarding.no_server(request.down)
        if p.fence.since != NEVER:
            return None
        if p.off_asked_at >= pending.since:
            means = self.power.means(request.down)
            return Outcome(text=f"{request.down} was powered off, and its {means} reads off.")
        why = p.fence.text or f"its {self.power.means(request.down)} does not read off"
        text = f"{request.down} was not stopped: {why}."
        hint = f"Switch it off by hand, then: clpnode confirm-down {request.down} --yes"
        return Outcome(code=FAILED, text=text, hint=hint)
