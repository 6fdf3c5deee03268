"""A person's word that a server is down, and the command that makes it so (`docs/rules.md`, *Out*).

    confirm-down --> every reachable server and the BMC are asked --> nothing speaks against it: out
                                                                 '-> refused, with the reading

The word is checked: an operator at night may mean another server, or a machine that hangs and
will go on.  It reaches each server with the send time of its own newest beat, and counts there as
an off read does: only if nothing was heard of the server since.  So one that is late does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from clptools.core import sentences as say
from clptools.core.codes import FAILED, REFUSED
from clptools.core.quorum import NEVER
from clptools.core.requests import LASTS_MS, ConfirmDown, ForceStop, Outcome
from clptools.core.state import PeerState, Pending

if TYPE_CHECKING:
    from clptools.core.node import Node

_ASK_MS = 3_000
"""How long the BMC and the other servers have to answer."""
_BEAT_FRESH_MS = 3_000


class Vouching:
    """`clpnode confirm-down` and `clpforcestop`."""

    def __init__(self, node: Node) -> None:
        self.node = node

    # ------------------------------------------------------------------ confirm-down

    def confirm(self, pending: Pending) -> Outcome | None:
        """A word for a server, or another server's question what speaks against it."""
        node = self.node
        request = pending.request
        assert isinstance(request, ConfirmDown)
        p = node.state.peers.get(request.down)
        if request.down == node.me:
            return Outcome(code=REFUSED, text=f"{node.me} itself answers: it is not down.")
        if p is None:
            return node.operations.no_server(request.down)
        if request.only_look:
            against = self._against(request.down, p)
            return Outcome(code=REFUSED, text=against) if against else Outcome()
        if pending.origin:
            return self._told(pending, request, p)
        if node.membership.hears(request.down):
            return self._is_heard(request.down)
        if p.confirmed:
            return Outcome(text=f"{request.down} is already confirmed down.")
        pending.stage = "looking"
        look = msgspec.structs.replace(request, only_look=True)
        for name in node.state.peers:
            if name != request.down and node.membership.hears(name):
                node.operations.ask(name, look, pending)
        if self._has_bmc(request.down):
            node.power.ask(request.down)
        return None

    def _told(self, pending: Pending, request: ConfirmDown, p: PeerState) -> Outcome:
        """The word comes from another server, which has looked."""
        node = self.node
        stale = node.now - pending.sent_at > LASTS_MS or pending.sent_at > node.now
        if not stale and p.any_heard_at < pending.sent_at:
            self._take(request, p, pending.user)
        return Outcome()

    def _take(self, request: ConfirmDown, p: PeerState, user: str, known: str = "") -> None:
        node = self.node
        p.confirmed = user
        node.dirty = True
        node.changed = True
        text = say.confirmed_down(request.down, user, known)
        node.record("nm", 931, "WARN", (request.down, node.me), text)

    def _is_heard(self, name: str) -> Outcome:
        text = f"{name} is heard now: it is not down."
        return Outcome(code=REFUSED, text=text, hint=f"Power it off: clpforcestop {name} --yes")

    def answered(self, asked: Pending, outcome: Outcome) -> None:
        """Another server said what speaks against it."""
        pending = self.node.state.pending.get(asked.asks_for)
        if pending is not None and outcome.code:
            pending.against = [*pending.against, f"{asked.server}: {outcome.text}"]
        self.node.requests_due = True

    def _against(self, name: str, p: PeerState) -> str:
        """What this server knows that speaks against its being down; empty: nothing."""
        node, bmc = self.node, p.bmc
        if node.membership.hears(name) or node.now - p.any_heard_at <= node.times.hear_ms:
            return f"{name} is heard."
        if not self._has_bmc(name):
            return ""
        if bmc.power == "on" and not bmc.error:
            ago = say.seconds(node.now - bmc.at)
            return f"its BMC read on {ago} ago."
        if bmc.beat_at != NEVER and node.now - bmc.beat_at <= _BEAT_FRESH_MS:
            return "its heartbeat in its BMC goes on."
        return ""

    def _has_bmc(self, name: str) -> bool:
        server = self.node.settings.server(name)
        return server is not None and server.bmc is not None

    def _looked(self, pending: Pending, request: ConfirmDown) -> Outcome | None:
        """Once everybody answered, or had the time to."""
        node = self.node
        p = node.state.peers.get(request.down)
        if p is None:
            return node.operations.no_server(request.down)
        if node.membership.hears(request.down):
            return self._is_heard(request.down)
        asked = any(x.asks_for == pending.id for x in node.state.pending.values())
        reading = self._has_bmc(request.down) and p.bmc.asked_at != NEVER
        if (asked or reading) and node.now - pending.since <= _ASK_MS:
            return None
        for number in [n for n, x in node.state.pending.items() if x.asks_for == pending.id]:
            del node.state.pending[number]
        own = self._against(request.down, p)
        against = [*([f"{node.me}: {own}"] if own else []), *pending.against]
        heard = any(line.endswith("is heard.") for line in against)
        if against and (heard or not request.force):
            return Outcome(
                code=REFUSED,
                text=f"{request.down} lives, as far as is known: {' '.join(against)}",
                hint=f"Make it true: clpforcestop {request.down} --yes",
            )
        self._take(request, p, pending.user, " ".join(against))
        alone = []
        for name, other in node.state.peers.items():
            if name == request.down or not node.membership.hears(name):
                continue
            if other.beat is None:
                alone.append(name)
            else:
                node.operations.pass_on(name, pending.user, request)
        return Outcome(text=say.counts_as_down(request.down, alone))

    # ------------------------------------------------------------------ clpforcestop

    def force_stop(self, pending: Pending) -> Outcome | None:
        """Powers a server off by its BMC."""
        node = self.node
        request = pending.request
        assert isinstance(request, ForceStop)
        p = node.state.peers.get(request.down)
        if request.down == node.me:
            text = f"{node.me} does not stop itself by force."
            return Outcome(code=REFUSED, text=text, hint="Shut it down: clpstdn, or clpdown")
        if p is None:
            return node.operations.no_server(request.down)
        if not self._has_bmc(request.down):
            text = f"{request.down} has no BMC in the configuration."
            hint = f"Switch it off by hand, then: clpnode confirm-down {request.down} --yes"
            return Outcome(code=REFUSED, text=text, hint=hint)
        proven = node.membership.out_reason(request.down) == "power off"
        if proven and p.bmc.power == "off" and not p.bmc.error:
            return Outcome(text=f"{request.down} is already off.")
        stranded = self._stranded(request.down)
        if stranded:
            return Outcome(
                code=REFUSED,
                text=f"{request.down} runs {say.listed(stranded)}, which could start nowhere else.",
                hint=f"Stop it first: clpgrp -t {stranded[0]}",
            )
        node.fencing.begin(request.down, p, user=pending.user)
        node.power.ask(request.down)
        pending.stage = "stopping"
        pending.server = request.down
        node.changed = True
        return None

    def _stranded(self, name: str) -> list[str]:
        """Groups that it runs, and nobody else could."""
        node = self.node
        found = []
        for group in node.settings.groups:
            runs = any(h.server == name for h in node.placement.holders(group.name))
            others = [s for s in group.servers if s != name]
            if runs and not any(node.choice.eligible(group, s) for s in others):
                found.append(group.name)
        return found

    def through(self, pending: Pending) -> Outcome | None:
        """Whether a request of these is through."""
        request = pending.request
        if isinstance(request, ConfirmDown) and pending.stage == "looking":
            return self._looked(pending, request)
        if not isinstance(request, ForceStop) or pending.stage != "stopping":
            return None
        p = self.node.state.peers.get(request.down)
        if p is None:
            return self.node.operations.no_server(request.down)
        if p.fence.since != NEVER:
            return None
        if p.off_asked_at >= pending.since:
            return Outcome(text=f"{request.down} was powered off, and its BMC reads off.")
        text = f"{request.down} was not stopped: {p.fence.text or 'its BMC does not read off'}."
        hint = f"Switch it off by hand, then: clpnode confirm-down {request.down} --yes"
        return Outcome(code=FAILED, text=text, hint=hint)
