"""What DRBD asks once it has lost its peer, for a group that this server runs (`clpfencepeer`).

    the group is not held here, or our own copy is not known to be current --> refused
    the peer's power has read off since, or a person vouched that it is off --> OFF
    the peer's agent says that it holds the group                           --> PRIMARY
    the peer's agent has noted on its disk that its copy is behind          --> OUTDATED
    none of these yet                                                       --> it is waited for,
                                                                                as long as asked

DRBD goes on writing after one of the three answers, and what it writes then is on one server alone.
So each is proof that the older copy will not be used: a server that was off has booted, and DRBD
takes no copy for current after a boot before it has met its peer.  That a server left, or that its
lease is over, is none: its DRBD still has the copy that it had.
"""

from __future__ import annotations

from clptools.core import phrases as say
from clptools.core.cluster.peers import Peers
from clptools.core.groups.mirrors import Mirrors
from clptools.core.model.events import CopiesKept
from clptools.core.model.group_state import Runs
from clptools.core.model.requests import (
    FAILED,
    NO_SUCH,
    REFUSED,
    TIMED_OUT,
    Outcome,
    OutdateCopy,
)
from clptools.core.model.settings import Group
from clptools.core.model.state import Pending
from clptools.core.model.timing import NEVER
from clptools.core.model.words import CopyFate, Stage
from clptools.core.notices import groups as notices
from clptools.core.requests.forwarding import Forwarding
from clptools.core.step import Change, Step

_AGAIN_MS = 2_000
"""How long after a question that came to nothing the peer is asked again."""


class MirrorRequests:
    """Both sides of `OutdateCopy`."""

    def __init__(
        self, step: Step, peers: Peers, runs: Runs, mirrors: Mirrors, forwarding: Forwarding
    ) -> None:
        self.step = step
        self.peers = peers
        self.runs = runs
        self.mirrors = mirrors
        self.forwarding = forwarding

    def request(self, pending: Pending) -> Outcome | None:
        """Asked by the handler here, or by the server whose copy is newer."""
        request = pending.request
        assert isinstance(request, OutdateCopy)
        group = self.step.settings.group_of(request.resource)
        if group is None or group.resource(request.resource) is None:
            return Outcome(code=NO_SUCH, text=f"No such resource: {request.resource}.")
        if request.in_sync:
            return self._in_sync(pending, group, request)
        if pending.origin:
            return self._outdated_here(pending, group, request)
        return self._refused(group, request) or self._begin(pending, group, request)

    def _in_sync(self, pending: Pending, group: Group, request: OutdateCopy) -> Outcome | None:
        if not self.mirrors.clear(group, request.resource, pending.user):
            return Outcome(text=say.copy_not_behind(request.resource, self.step.me))
        pending.stage = Stage.NOTING
        return None

    def _refused(self, group: Group, request: OutdateCopy) -> Outcome | None:
        me, resource = self.step.me, request.resource
        others = [server for server in group.servers if server != me]
        if request.peer not in others:
            text = f"{request.peer or 'no server'}: not one of the other servers of {group.name}"
            return Outcome(code=NO_SUCH, text=f"{text}: {say.listed(others)}.")
        run = self.runs.get(group.name)
        if run is None or not run.held:
            text = f"{me} does not run {group.name}: its copy of {resource} is not the one in use."
            return Outcome(code=REFUSED, text=text)
        if not request.current:
            text = f"It is not known that the copy of {resource} on {me} is current."
            return Outcome(code=REFUSED, text=text)
        return None

    def _begin(self, pending: Pending, group: Group, request: OutdateCopy) -> Outcome | None:
        pending.stage = Stage.OUTDATING
        pending.server = request.peer
        found = self._proven(pending, group, request)
        if found is None:
            self._ask(pending)
        return found

    def _ask(self, pending: Pending) -> None:
        """Whether or not it is heard: an agent whose service is stopped answers as well."""
        pending.failed_at = self.step.now
        self.forwarding.ask(pending.server, pending.request, pending)

    def _proven(self, pending: Pending, group: Group, request: OutdateCopy) -> Outcome | None:
        peer = pending.server
        if not self.peers.is_out(peer):
            return None
        reason = self.peers.out_reason(peer)
        # Its DRBD may have met ours since an older read, without a heartbeat.
        read = reason == "power off" and self.peers[peer].off_asked_at >= pending.since
        if not read and not self.peers[peer].confirmed:
            return None
        why = say.out("power off" if read else "operator")
        return self._over(group, request.resource, peer, CopyFate.OFF, why)

    def _over(self, group: Group, resource: str, peer: str, fate: CopyFate, why: str) -> Outcome:
        self.step.notice(notices.CopyGivenUp(group.name, resource, peer, why))
        return Outcome(did=f"{resource}: {peer}: {why}.", fate=fate)

    # ------------------------------------------------------------------ the peer's side

    def _outdated_here(
        self, pending: Pending, group: Group, request: OutdateCopy
    ) -> Outcome | None:
        run = self.runs.get(group.name)
        if run is not None and run.held:
            text = f"{self.step.me} runs {group.name} itself."
            return Outcome(code=REFUSED, text=text, fate=CopyFate.PRIMARY)
        self.mirrors.mark(request.resource, pending.origin)
        if self.mirrors.is_kept(request.resource):
            return _outdated(request.resource, self.step.me)
        pending.stage = Stage.NOTING
        return None

    def kept(self, event: CopiesKept) -> None:
        """The disk took the note, or could not: who waits for it is told at once, as nothing is
        settled where the service is stopped."""
        self.mirrors.kept(event)
        for pending in list(self.forwarding.state.pending.values()):
            request = pending.request
            if not isinstance(request, OutdateCopy) or pending.stage != Stage.NOTING:
                continue
            if event.fault:
                text = f"{self.step.me} could not note it on its disk: {event.fault}."
                self.forwarding.finish(pending, Outcome(code=FAILED, text=text))
            elif self.mirrors.is_kept(request.resource):
                self.forwarding.finish(pending, self._noted(request))

    def _noted(self, request: OutdateCopy) -> Outcome:
        me = self.step.me
        if request.in_sync:
            return Outcome(did=say.copy_in_sync(request.resource, me))
        return _outdated(request.resource, me)

    # ------------------------------------------------------------------ the end of it

    def answered(self, asked: Pending, outcome: Outcome) -> None:
        """The peer says what it did; whatever is no proof is waited out."""
        pending = self.forwarding.state.pending.get(asked.asks_for)
        request = asked.request
        if pending is None or not isinstance(request, OutdateCopy):
            return
        group = self.step.settings.group_of(request.resource)
        if group is not None and outcome.fate is CopyFate.OUTDATED:
            why = say.copy_behind(request.resource, asked.server)
            over = self._over(group, request.resource, asked.server, outcome.fate, why)
            self.forwarding.finish(pending, over)
        elif outcome.fate is CopyFate.PRIMARY:
            self.forwarding.finish(pending, outcome)
        else:
            pending.against = [f"{asked.server}: {outcome.text}"]
            self.step.changed(Change.REQUESTS)

    def through(self, pending: Pending) -> Outcome | None:
        """Whether it is proven now, or cannot be any more."""
        request = pending.request
        if not isinstance(request, OutdateCopy) or pending.stage != Stage.OUTDATING:
            return None
        group = self.step.settings.group_of(request.resource)
        if group is None:
            return Outcome(code=NO_SUCH, text=f"No such resource: {request.resource}.")
        ended = self._refused(group, request) or self._proven(pending, group, request)
        if ended is None and self.step.now - pending.since > request.lasts_ms:
            why = f" ({pending.against[0]})" if pending.against else ""
            text = f"Nothing is proven of the copy of {request.resource} on {pending.server}{why}."
            hint = f"Once it is off for sure: clpnode confirm-down {pending.server} --yes"
            return Outcome(code=TIMED_OUT, text=text, hint=hint)
        if ended is None and self._is_due(pending):
            self._ask(pending)
        return ended

    def _is_due(self, pending: Pending) -> bool:
        waits = any(one.asks_for == pending.id for one in self.forwarding.state.pending.values())
        asked_at = pending.failed_at
        due = asked_at == NEVER or self.step.now - asked_at >= _AGAIN_MS
        return not waits and due and self.peers.hears(pending.server)


def _outdated(resource: str, server: str) -> Outcome:
    return Outcome(did=say.copy_behind(resource, server), fate=CopyFate.OUTDATED)
