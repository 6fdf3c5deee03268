"""The core with one guard taken away: each of these must be caught, or the checker is blind.

A mutation is a function on a fresh node that weakens one clause of the rules; names are those
of the guards in the design's list.  They lean on the small functions of the core; where one is
renamed, the mutation fails loudly.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import msgspec

from clptools.core.cluster.peers import majority
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.messages import NO_EPOCH, Shared, Vote
from clptools.core.model.state import Phase
from clptools.core.model.states import Office
from clptools.core.model.timing import NEVER, times, turn_ms, turns_step_ms
from clptools.core.model.transitions import OfficeChange
from clptools.core.node import Node
from clptools.core.step import Change

Mutate = Callable[[Node], None]
MUTATIONS: dict[str, Mutate] = {}


def mutation(mutate: Mutate) -> Mutate:
    MUTATIONS[mutate.__name__] = mutate
    return mutate


def mutant(*names: str) -> type[Node]:
    """The core without these guards."""

    class Mutant(Node):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            for name in names:
                MUTATIONS[name](self)

    return Mutant


def put(part: Any, name: str, function: Any) -> Any:
    """Replaces a method of one part of one node; returns the old one."""
    old = getattr(part, name)
    object.__setattr__(part, name, function) if hasattr(part, "__dict__") else None
    return old


def handle(node: Node, event: type, function: Any) -> Any:
    old = node._handlers[event]
    node._handlers[event] = function
    return old


@contextmanager
def briefly(target: Any, name: str, value: Any) -> Any:
    old = getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        setattr(target, name, old)


def retime(node: Node, **changes: int) -> None:
    node.context.times = msgspec.structs.replace(node.times, **changes)


# --- newcomers, state ------------------------------------------------------------------------


@mutation
def nonewcomer(node: Node) -> None:
    """A booted server votes and stands at once."""

    def started(event: e.AgentStarted) -> None:
        old(event)
        node.state.life.newcomer = False

    old = handle(node, e.AgentStarted, started)


@mutation
def leaveescape(node: Node) -> None:
    """A server that left is a member again by time."""

    def end() -> None:
        node.state.life.member = True
        old()

    old = put(node.membership, "_end_newcomer", end)


@mutation
def admitsbymost(node: Node) -> None:
    """A newcomer takes part once a majority counts it, each itself full for `L + d`."""
    full_since: dict[str, int] = {}

    def lacks() -> tuple[str, ...]:
        missing = old()
        for name, p in node.state.peers.known.items():
            if p.beat is None or p.beat.newcomer or name in missing:
                full_since.pop(name, None)
            else:
                full_since.setdefault(name, node.now)
        silence = node.times.silence_ms
        counts = sum(1 for since in full_since.values() if node.now - since >= silence)
        return () if counts >= majority(len(node.peers.electorate())) else missing

    old = put(node.peers, "lacks", lacks)


@mutation
def nopurge(node: Node) -> None:
    """Lost state: does not stop the groups first."""
    put(node.lifecycle, "purge", lambda held: None)


@mutation
def purgesown(node: Node) -> None:
    """Lost state: stops only the groups that may run here."""

    def purge(*, held: bool) -> None:
        settings = node.settings
        own = tuple(g for g in settings.groups if node.me in g.servers)
        with briefly(node.context, "settings", msgspec.structs.replace(settings, groups=own)):
            old(held=held)

    old = put(node.lifecycle, "purge", purge)


@mutation
def purgebars(node: Node) -> None:
    """A server with something left from before its boot gets no group, not even as the last."""

    def eligible(group: Any, name: str) -> bool:
        return old(group, name) and not node.selection.is_purging(group, name)

    old = put(node.selection, "eligible", eligible)


@mutation
def purgefirst(node: Node) -> None:
    """A server with something left from before its boot is as good as any other."""
    put(node.selection, "is_purging", lambda group, name: False)


@mutation
def purgefree(node: Node) -> None:
    """Lost state within a boot: what the stop scripts have not ended yet counts as stopped."""
    purge = put(node.lifecycle, "purge", lambda held: purge(held=False))


@mutation
def purgeholds(node: Node) -> None:
    """A purge after a boot holds what its stop script does not end, though nothing can run."""
    purge = put(node.lifecycle, "purge", lambda held: purge(held=True))


@mutation
def givenup(node: Node) -> None:
    """A group that starts nowhere is left alone for good."""
    put(node.placement, "_tried_again", lambda group, intent: intent)


@mutation
def norestartsilence(node: Node) -> None:
    """No `L + d` after agent start."""
    put(node.election, "_silent_for", lambda name: False)


@mutation
def shortboot(node: Node) -> None:
    """A booted server is silent for `L` only."""
    retime(node, boot_ms=node.times.lease_ms)


@mutation
def norunstate(node: Node) -> None:
    """Every agent start is a newcomer."""

    def started(event: e.AgentStarted) -> None:
        old(msgspec.structs.replace(event, durable=None))

    old = handle(node, e.AgentStarted, started)


@mutation
def mute(node: Node) -> None:
    """Silent after agent start."""

    def send_to(names: Any, own: Any) -> None:
        if node.peers.ripe():
            old(names, own)

    old = put(node.heartbeats, "send_to", send_to)


@mutation
def anyecho(node: Node) -> None:
    """An answer to an incarnation before ours is one to us."""
    put(node.membership, "_ours", lambda beat: beat)


@mutation
def believesold(node: Node) -> None:
    """Another incarnation is believed though the one before has been heard since it answered."""

    def believe(p: Any, beat: Any) -> bool:
        echo = beat.echo
        late = msgspec.structs.replace(echo, sent_at=node.now) if echo is not None else None
        return bool(old(p, msgspec.structs.replace(beat, echo=late)))

    old = put(node.membership, "_believe", believe)


@mutation
def strangersheard(node: Node) -> None:
    """A stranger counts as heard."""

    def stranger(p: Any, beat: Any) -> None:
        old(p, beat)
        p.any_heard_at = node.now

    old = put(node.membership, "_stranger", stranger)


# --- out -------------------------------------------------------------------------------------


@mutation
def reduceatonce(node: Node) -> None:
    """Out counts at once."""

    def voters(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(n for n in names if n == node.me or not node.peers.is_out(n))

    put(node.peers, "voters", voters)


@mutation
def lapse(node: Node) -> None:
    """Off lasts for ever."""

    def is_out(name: str) -> bool:
        return old(name) or node.state.peers.known[name].off_asked_at != NEVER

    old = put(node.peers, "is_out", is_out)


@mutation
def lapse2(node: Node) -> None:
    """Off lasts 2 `B`."""

    def is_out(name: str) -> bool:
        p = node.state.peers.known[name]
        return old(name) or node.now < p.off_asked_at + 2 * node.times.startup_ms

    old = put(node.peers, "is_out", is_out)


@mutation
def stalereads(node: Node) -> None:
    """An off read counts though the server was heard since."""

    def power(event: e.PowerRead) -> None:
        p = node.state.peers.known.get(event.server)
        if p is None:
            return
        with briefly(p, "any_heard_at", NEVER):
            old(event)

    old = handle(node, e.PowerRead, power)


@mutation
def offwhileheard(node: Node) -> None:
    """An off read counts though no two beats were missed when it was asked."""

    def off(p: Any, event: e.PowerRead) -> None:
        silent = node.now > event.asked_at or p.any_heard_at <= event.asked_at
        with briefly(p, "any_heard_at", NEVER if silent else p.any_heard_at):
            old(p, event)

    old = put(node.power, "_off", off)


@mutation
def noecho(node: Node) -> None:
    """An off read counts though the kernel answers."""

    def off(p: Any, event: e.PowerRead) -> None:
        old(p, msgspec.structs.replace(event, echoed=False))

    old = put(node.power, "_off", off)


@mutation
def anysession(node: Node) -> None:
    """An off read counts in a session that has just begun."""

    def off(p: Any, event: e.PowerRead) -> None:
        old(p, msgspec.structs.replace(event, session="x", session_at=NEVER))

    old = put(node.power, "_off", off)


@mutation
def agentsatonce(node: Node) -> None:
    """An off read of a fence agent counts whatever it read before."""

    def off(p: Any, event: e.PowerRead) -> None:
        p.bmc.on_at, p.bmc.by = event.asked_at, event.by
        old(p, event)

    old = put(node.power, "_off", off)


@mutation
def agentsgap(node: Node) -> None:
    """Off reads of a fence agent are one series, whatever lies between them."""
    first: dict[str, int] = {}

    def off(p: Any, event: e.PowerRead) -> None:
        p.bmc.off_since = first.setdefault(event.server, event.asked_at)
        p.bmc.by = event.by
        old(p, event)

    old = put(node.power, "_off", off)


@mutation
def believesliars(node: Node) -> None:
    """A BMC that read off of a server that lived is proof all the same."""
    put(node.power, "answered", lambda server, p, echo: None)


@mutation
def latewords(node: Node) -> None:
    """A word for a server that is down counts whenever it arrives."""

    def told(pending: Any, request: Any, p: Any) -> Any:
        with briefly(p, "any_heard_at", NEVER), briefly(pending, "sent_at", node.now):
            return old(pending, request, p)

    old = put(node.vouching, "_told", told)


@mutation
def oldrequests(node: Node) -> None:
    """What a person asked for is done however long it waited."""

    def seen(event: e.RequestSeen) -> None:
        old(msgspec.structs.replace(event, asked_at=0))

    old = handle(node, e.RequestSeen, seen)


@mutation
def oldforwards(node: Node) -> None:
    """The same for what came from another server."""
    put(node.router, "_waited_ms", lambda message: 0)


@mutation
def deafwords(node: Node) -> None:
    """Datagrams that are refused say nothing of whether a server lives."""
    put(node.peers, "is_refused", lambda name: False)


@mutation
def blindwords(node: Node) -> None:
    """A word for a server counts against what is known."""
    put(node.vouching, "_against", lambda name, p: "")


@mutation
def staleleft(node: Node) -> None:
    """A late "left" counts, also that of an incarnation known to be over."""

    def seen(event: e.BeatSeen) -> None:
        p = node.state.peers.known.get(event.beat.sender)
        if p is None or not event.beat.left:
            old(event)
            return
        with briefly(p, "any_heard_at", NEVER), briefly(p, "retired", []):
            node.membership._left(p, event.beat)
        node.context.changed(Change.DECISIONS)
        node._settle()

    old = handle(node, e.BeatSeen, seen)


@mutation
def onends(node: Node) -> None:
    """Reading "on" ends being out."""

    def power(event: e.PowerRead) -> None:
        p = node.state.peers.known.get(event.server)
        if p is not None and event.power == "on":
            p.off_asked_at = NEVER
        old(event)

    old = handle(node, e.PowerRead, power)


@mutation
def dropatonce(node: Node) -> None:
    """A coordinator counts a newcomer at once."""

    def ends(p: Any, beat: Any, in_office: Any) -> None:
        old(p, beat, lambda: False)

    old = put(node.membership, "_hearing_ends_out", ends)


@mutation
def slowalways(node: Node) -> None:
    """No shrinking at once when all others are out."""
    put(node.peers, "electorate", lambda: node.peers.voters(node.settings.names))


# --- votes -----------------------------------------------------------------------------------


@mutation
def recvauth(node: Node) -> None:
    """Receive time for authority."""
    sent: dict[str, int] = {}

    def heard(p: Any, beat: Any) -> None:
        received = p.vote_at
        if received != NEVER:
            p.vote_at = sent.get(beat.sender, received)
        before = p.vote_at
        old(p, beat)
        if p.vote_at == before:
            p.vote_at = received
        else:
            sent[beat.sender] = p.vote_at
            p.vote_at = node.now

    old = put(node.election, "heard", heard)


@mutation
def anyterm(node: Node) -> None:
    """A vote counts whatever term it is for."""

    def heard(p: Any, beat: Any) -> None:
        vote = beat.vote
        if vote is not None and not vote.pre:
            ours = msgspec.structs.replace(vote, term=node.state.election.office_term)
            beat = msgspec.structs.replace(beat, vote=ours)
        old(p, beat)

    old = put(node.election, "heard", heard)


@mutation
def futurevotes(node: Node) -> None:
    """A vote counts though it answers a beat that is yet to be sent, by our clock."""

    def heard(p: Any, beat: Any) -> None:
        old(p, beat)
        vote = beat.vote
        if vote is None or vote.pre or vote.term != node.state.election.office_term:
            return
        if vote.sent_at > node.now:
            p.vote_at = vote.sent_at

    old = put(node.election, "heard", heard)


@mutation
def votesbelow(node: Node) -> None:
    """Votes for a term below the highest known."""

    def asked(p: Any, beat: Any) -> None:
        state = node.state.election
        known = state.term
        with briefly(state, "term", min(known, beat.ask_term)):
            old(p, beat)
        state.term = max(known, beat.ask_term)

    old = put(node.election, "_asked", asked)


@mutation
def oldyes(node: Node) -> None:
    """An arbiter's yes counts although what it gave was given back meanwhile."""

    def answered(event: e.ArbiterAnswered) -> None:
        with briefly(node.state.election, "arbiter_from", NEVER):
            old(event)

    old = handle(node, e.ArbiterAnswered, answered)


@mutation
def keepsarbiter(node: Node) -> None:
    """A coordinator that hears less than half renews a required arbiter all the same."""
    put(node.arbiter, "offers", lambda: False)


@mutation
def offersatonce(node: Node) -> None:
    """A required arbiter is offered while others behind cut cables do not know that it lives."""

    def offers() -> bool:
        with briefly(node.arbiter, "group_runs", {}):
            return bool(old())

    old = put(node.arbiter, "offers", offers)


@mutation
def takesoffered(node: Node) -> None:
    """A required arbiter that is offered is taken by who hears less than half."""
    put(node.arbiter, "_refused", lambda: None)


@mutation
def offersagain(node: Node) -> None:
    """A required arbiter that nobody else wants is offered again and again."""

    def offers() -> bool:
        state = node.state.election
        with briefly(state, "office_at", min(state.office_at, state.few_since - 1)):
            return bool(old())

    old = put(node.arbiter, "offers", offers)


@mutation
def freetie(node: Node) -> None:
    """A tie without arbiter."""

    def until(electorate: tuple[str, ...]) -> int:
        with briefly(node.state.election, "arbiter_at", node.now):
            return int(old(electorate))

    def pre_given() -> bool:
        with briefly(node.state.election, "arbiter_at", node.now):
            return bool(old_pre())

    old = put(node.authority, "_until", until)
    old_pre = put(node.election, "_pre_given", pre_given)


@mutation
def officestays(node: Node) -> None:
    """Lapsed office goes on."""

    def turn(change: OfficeChange) -> None:
        if change is OfficeChange.HIGHER_TERM:
            node.state.election.office = Office.CANDIDATE
        else:
            old(change)

    put(node.election, "_resign", lambda why: None)
    old = put(node.election, "_turn", turn)


@mutation
def nostandagain(node: Node) -> None:
    """Does not stand again above a higher term."""

    def resign(why: str) -> None:
        old(why)
        node.election._stand = lambda change: setattr(node.election, "_stand", stand)  # type: ignore[method-assign]  # once

    stand = node.election._stand
    old = put(node.election, "_resign", resign)


@mutation
def novoid(node: Node) -> None:
    """A promise is not void when its coordinator is out."""

    def bound_to() -> str:
        with briefly(node.peers, "is_out", lambda name: False):
            return str(old())

    old = put(node.election, "bound_to", bound_to)


@mutation
def losespromise(node: Node) -> None:
    """A promise that is renewed before a candidacy ends with it."""

    def asked(p: Any, beat: Any) -> None:
        state = node.state.election
        again = beat.ask_term == state.vote_term and state.vote == beat.sender
        if state.office is Office.PRE and again:
            state.promise_until = node.now + node.times.lease_ms
            p.given = Vote(term=beat.ask_term, sent_at=beat.sent_at)
            return
        old(p, beat)

    def end(change: OfficeChange) -> None:
        old_end(change)
        node.state.election.promise_until = NEVER

    old = put(node.election, "_asked", asked)
    old_end = put(node.election, "_end_office", end)


@mutation
def deafasks(node: Node) -> None:
    """Asks for votes while deaf."""
    put(node.election, "_may_win", lambda: True)


@mutation
def oneway(node: Node) -> None:
    """Who was coordinator keeps asking for votes, whomever it hears."""

    def asking() -> str:
        ruled = node.state.election.office_term.candidate == node.state.life.incarnation
        return "vote" if ruled else str(old())

    old = put(node.election, "asking", asking)


@mutation
def norelay(node: Node) -> None:
    """No relay."""
    put(node.heartbeats, "_relay_to", lambda name, hears: "")


@mutation
def relaysdeaf(node: Node) -> None:
    """Lets relay what is for a server that is not heard, not for one that does not hear us."""
    put(node.heartbeats, "_cut_off", lambda p: node.now - p.direct_at > node.times.hear_ms)


# --- the holder's lease ----------------------------------------------------------------------


@mutation
def noselfstop(node: Node) -> None:
    """The holder ignores its lease."""
    put(node.lease, "runs", lambda: True)


@mutation
def noselfstopwait(node: Node) -> None:
    """Clearing does not wait for `self_stop`."""
    retime(node, clear_by_lease_ms=node.times.holder_ms)


@mutation
def nowatchdog(node: Node) -> None:
    """No watchdog, though it says that it is armed."""

    def arm() -> None:
        node.state.lease.armed = True

    put(node.lease, "arm", arm)


@mutation
def feedsanyway(node: Node) -> None:
    """The watchdog is opened and fed though the lease is over."""
    put(node.lease, "_may_feed", lambda: True)


@mutation
def bindsbyone(node: Node) -> None:
    """The lease binds by the own revision alone."""
    put(node.revision, "leases_bind", lambda: node.settings.leases_armed)


@mutation
def freshlease(node: Node) -> None:
    """An agent that starts has a whole lease."""

    def started(event: e.AgentStarted) -> None:
        if event.durable is not None:
            lease_until = node.now + node.times.holder_ms
            fresh = msgspec.structs.replace(event.durable, lease_until=lease_until)
            event = msgspec.structs.replace(event, durable=fresh)
        old(event)

    old = handle(node, e.AgentStarted, started)


@mutation
def noshorten(node: Node) -> None:
    """Leases become shorter, but not the one that runs."""
    put(node.lease, "shorten", lambda by_ms: None)


@mutation
def disarmsatonce(node: Node) -> None:
    """A watchdog that is not wanted any more is disarmed before others know it."""
    put(node.lease, "_may_disarm", lambda: True)


@mutation
def stillarmed(node: Node) -> None:
    """A watchdog that is armed anew is promised before it says that it is."""

    def arm() -> None:
        old()
        node.state.lease.armed = True

    old = put(node.lease, "_arm", arm)


@mutation
def armedsuspended(node: Node) -> None:
    """A suspended server's beats go on promising to stop."""

    def promised() -> bool:
        running = msgspec.structs.replace(node.state.policy.shared, suspended=False)
        with briefly(node.state.policy, "shared", running):
            return bool(old())

    old = put(node.lease, "promised", promised)


@mutation
def waivesuntold(node: Node) -> None:
    """Suspended, the lease is waived before others know that this server will not stop by it."""

    def waive() -> None:
        with briefly(node.lease, "_knows", lambda p, since: True):
            old()

    old = put(node.lease, "_waive", waive)


@mutation
def recvlease(node: Node) -> None:
    """The holder's lease counts from receive time."""
    old = put(node.lease, "answered", lambda sent_at: old(node.now))


@mutation
def answeranyway(node: Node) -> None:
    """Answers renew leases without authority."""

    def heard(p: Any, beat: Any) -> None:
        if beat.echo is not None and beat.echo.incarnation == node.state.life.incarnation:
            node.lease.answered(beat.echo.sent_at)
        old(p, beat)

    old = put(node.election, "heard", heard)


@mutation
def wdfull(node: Node) -> None:
    """Watchdog time-out = `self_stop`."""
    retime(node, watchdog_ms=node.times.self_stop_ms)


@mutation
def nodrift(node: Node) -> None:
    """No drift margin."""
    t = node.times
    retime(
        node,
        authority_ms=t.lease_ms,
        silence_ms=t.lease_ms,
        grant_dead_ms=t.holder_ms,
        clear_by_lease_ms=t.holder_ms + t.self_stop_ms,
        boot_ms=t.startup_ms,
    )


@mutation
def shortlease(node: Node) -> None:
    """`H` = `L`."""
    retime(node, holder_ms=node.times.lease_ms)


@mutation
def slowvotes(node: Node) -> None:
    """A vote waits for the next heartbeat, where a pre-vote was answered a moment ago."""
    old = put(node.answers, "at_once", lambda name, *, first=False: old(name))


# --- grants and proof ------------------------------------------------------------------------


@mutation
def grantforever(node: Node) -> None:
    """A grant without age."""

    def take(grant: Any) -> None:
        lease = node.state.lease.until
        with briefly(node.lease, "answered", lambda sent_at: None):
            old(msgspec.structs.replace(grant, sent_at=node.now))
        node.state.lease.until = max(lease, node.state.lease.until)

    old = put(node.orders, "take", take)


@mutation
def noinc(node: Node) -> None:
    """A grant to an earlier incarnation is taken."""

    def take(grant: Any) -> None:
        old(msgspec.structs.replace(grant, incarnation=node.state.life.incarnation))

    old = put(node.orders, "take", take)


@mutation
def takesleaving(node: Node) -> None:
    """A server that is leaving takes a grant."""

    def take(grant: Any) -> None:
        with briefly(node.state.life, "phase", Phase.RUNNING):
            old(grant)

    old = put(node.orders, "take", take)


@mutation
def grantnolease(node: Node) -> None:
    """A grant does not renew the lease."""

    def take(grant: Any) -> None:
        with briefly(node.lease, "answered", lambda sent_at: None):
            old(grant)

    old = put(node.orders, "take", take)


@mutation
def oldterm(node: Node) -> None:
    """A grant of another term is taken."""

    def take(grant: Any) -> None:
        with briefly(node.state.election, "term", grant.epoch.term):
            old(grant)

    old = put(node.orders, "take", take)


@mutation
def oldepoch(node: Node) -> None:
    """An epoch not above the last is taken."""

    def take(grant: Any) -> None:
        run = node.groups.run(grant.group)
        seen, run.seen = run.seen, NO_EPOCH
        old(grant)
        if run.seen == NO_EPOCH:
            run.seen = seen

    old = put(node.orders, "take", take)


@mutation
def newcomergrants(node: Node) -> None:
    """A newcomer takes grants."""

    def take(grant: Any) -> None:
        with briefly(node.state.life, "newcomer", False):
            old(grant)

    old = put(node.orders, "take", take)


@mutation
def nooffice(node: Node) -> None:
    """Lease proof without "since we took office"."""

    def lease_clears_at(p: Any, since: int) -> int:
        return int(old(p, NEVER))

    old = put(node.clearance, "lease_clears_at", lease_clears_at)


@mutation
def noepochack(node: Node) -> None:
    """A report is not tied to the granted epoch."""

    def released(*args: Any) -> bool:
        with briefly(node.state.clearance, "granted_epoch", {}):
            return bool(old(*args))

    old = put(node.clearance, "_released", released)


@mutation
def oldreports(node: Node) -> None:
    """A report that was asked before `since` counts."""

    def released(p: Any, group: str, server: str, since: int) -> bool:
        return bool(old(p, group, server, NEVER))

    old = put(node.clearance, "_released", released)


@mutation
def strangersrelease(node: Node) -> None:
    """A release counts though its server may not know our term."""

    def released(p: Any, *args: Any) -> bool:
        beat = p.holdings.told
        if beat is None:
            return bool(old(p, *args))
        knowing = msgspec.structs.replace(beat, term=node.state.election.office_term)
        with briefly(p.holdings, "told", knowing):
            return bool(old(p, *args))

    old = put(node.clearance, "_released", released)


@mutation
def carriesgrants(node: Node) -> None:
    """What an earlier office granted is carried over."""
    put(node.placement, "office_begins", lambda: None)


@mutation
def unaware(node: Node) -> None:
    """Places and fences though others know a newer policy."""
    put(node.policy, "behind", list)


@mutation
def unprovenmoves(node: Node) -> None:
    """A group is given up though nothing proves that it could start elsewhere."""
    put(node.placement, "_is_unproven", lambda group, dark: False)


# --- fencing ---------------------------------------------------------------------------------


@mutation
def minorityfences(node: Node) -> None:
    """Anybody fences."""
    put(node.fencing, "_may", lambda p, stake: True)


@mutation
def fencesboots(node: Node) -> None:
    """A majority fences who boots for longer than the wait, whether or not a group needs it."""

    def needed(name: str, p: Any, stake: Any) -> bool:
        waited_for = stake.waited_for | {name}
        return bool(old(name, p, msgspec.structs.replace(stake, waited_for=waited_for)))

    old = put(node.fencing, "_needed", needed)


@mutation
def deaffences(node: Node) -> None:
    """A coordinator that hears nobody fences."""

    def may(p: Any, stake: Any) -> bool:
        return node.state.election.office is Office.COORDINATOR or bool(old(p, stake))

    old = put(node.fencing, "_may", may)


@mutation
def anystill(node: Node) -> None:
    """A beat that stopped in the BMC at any time spares the other half `fence_delay`."""

    def stands_still(p: Any) -> bool:
        with briefly(p, "heard_at", p.bmc.beat_at):
            return bool(old(p))

    old = put(node.power, "stands_still", stands_still)


@mutation
def losershoots(node: Node) -> None:
    """In a tie the holder is first, whatever the arbiter says."""

    def place(revision: Any, stake: Any) -> int | None:
        return old(msgspec.structs.replace(revision, arbiter=None), stake)

    old = put(node.fencing, "_place", place)


@mutation
def noturns(node: Node) -> None:
    """In an exact half nobody waits for a turn."""
    put(node.fencing, "_turn_of", lambda place, p, revision: True)


@mutation
def wholeturn(node: Node) -> None:
    """An order leaves at any time of its turn."""

    def turn_of(place: int, p: Any, revision: Any) -> bool:
        silent_ms = node.now - p.turns_at - revision.lost_ms
        turn = silent_ms // revision.cluster.fence_delay_ms
        return silent_ms >= 0 and turn % node.fencing._places(revision) == place

    put(node.fencing, "_turn_of", turn_of)


@mutation
def shortturns(node: Node) -> None:
    """A turn is `fence_delay`, however far apart two zeros of the turns may be."""

    def turn_of(place: int, p: Any, revision: Any) -> bool:
        cluster = revision.cluster
        delay = cluster.fence_delay_ms - (turn_ms(cluster) - cluster.fence_delay_ms)
        cluster = msgspec.structs.replace(cluster, fence_delay_ms=delay)
        return bool(old(place, p, msgspec.structs.replace(revision, cluster=cluster)))

    old = put(node.fencing, "_turn_of", turn_of)


@mutation
def longsteps(node: Node) -> None:
    """The zero of the turns leaps as far as the own interval lets it, whoever has another one."""
    put(node.revision, "turns_step_ms", lambda: turns_step_ms(node.settings.cluster))


@mutation
def staywords(node: Node) -> None:
    """A person's word is taken however long this server stood still while it looked."""

    def late(pending: Any, waited_ms: int) -> Any:
        with briefly(pending, "since", node.now - 4_000):
            return node.vouching._looked(pending, pending.request)

    put(node.forwarding, "late", late)


@mutation
def newcomershalf(node: Node) -> None:
    """A newcomer makes a half as any other."""
    put(node.peers, "hears_newcomer", lambda: False)


@mutation
def ownexchange(node: Node) -> None:
    """Turns count from what oneself takes for the last exchange."""

    def count_turns(p: Any, beat: Any) -> None:
        p.turns_at = min(p.heard_at, p.echoed_at)

    put(node.membership, "_count_turns", count_turns)


@mutation
def ownturns(node: Node) -> None:
    """Whose turn it is follows from the own revision alone."""
    put(node.revision, "turns", lambda: (node.settings.in_force,))


@mutation
def unsteady(node: Node) -> None:
    """An order is given as soon as the BMC answers."""

    def strikable(name: str, p: Any) -> bool:
        since = p.bmc.answers_since
        with briefly(p.bmc, "answers_since", since if since == NEVER else NEVER + 1):
            return bool(old(name, p))

    old = put(node.fencing, "_may_order", strikable)


@mutation
def anyholder(node: Node) -> None:
    """Place 0 is whoever holds any group."""
    put(node.fencing, "_holds", lambda group, stake: bool(node.groups.held()))


@mutation
def neveroff(node: Node) -> None:
    """A forced stop that began is not called off."""

    def strikable(name: str, p: Any) -> bool:
        with briefly(p, "heard_at", NEVER), briefly(p, "any_heard_at", NEVER):
            return bool(old(name, p))

    def end(name: str, p: Any) -> None:
        with briefly(p, "lost", True):
            old_end(name, p)

    old = put(node.fencing, "_may_order", strikable)
    old_end = put(node.fencing, "_end", end)


# --- requests --------------------------------------------------------------------------------


@mutation
def notmeant(node: Node) -> None:
    """A request that was on its way over a boot is carried out."""
    put(node.router, "_meant", lambda message: True)


@mutation
def movedark(node: Node) -> None:
    """A group is moved by command though it may run on a server that is dark."""
    put(node.group_requests, "_unproven", lambda group: None)


@mutation
def grantout(node: Node) -> None:
    """One that is out, and a newcomer yet, is granted a group."""

    def not_eligible(name: str) -> str:
        p = node.state.peers.known.get(name)
        if p is None or p.beat is None:
            return str(old(name))
        admitted = msgspec.structs.replace(p.beat, newcomer=False)
        with briefly(p, "beat", admitted), briefly(node.peers, "is_out", lambda name: False):
            return str(old(name))

    old = put(node.selection, "not_eligible", not_eligible)


@mutation
def stopstays(node: Node) -> None:
    """The stop of all is never over for one that heard of it."""
    put(node.placement, "_stop_is_over", lambda: False)


# --- revisions -------------------------------------------------------------------------------


@mutation
def onelength(node: Node) -> None:
    """The lengths of a new revision count at once, and alone."""
    put(
        node.revision,
        "retime",
        lambda: setattr(node.context, "times", times(node.settings.cluster)),
    )


@mutation
def stretchedlease(node: Node) -> None:
    """`clptoratio` stretches the lease, too."""

    def retime() -> None:
        old()
        cluster, ratio = node.settings.cluster, node.state.policy.shared.ratio
        longer = msgspec.structs.replace(cluster, lease_ms=cluster.lease_ms * ratio)
        node.context.times = times(longer)

    old = put(node.revision, "retime", retime)


@mutation
def nodoubt(node: Node) -> None:
    """While servers or arbiters change, a member that boots is admitted by time all the same."""
    put(node.revision, "doubt", lambda: None)


@mutation
def shortdoubt(node: Node) -> None:
    """What was offered and may be in force elsewhere is not waited for."""

    def end() -> None:
        with briefly(node.state.revision, "offered_at", NEVER):
            old()

    old = put(node.revision, "_end_doubt", end)


@mutation
def saysitcounts(node: Node) -> None:
    """Tells one that votes by another configuration that it is counted."""

    def send_to(names: Any, own: Any) -> None:
        names = list(names)
        peers = [node.state.peers.known[name] for name in names]
        voters = [p.voters for p in peers]
        for p in peers:
            p.voters = node.settings.voters
        counts = put(node.heartbeats, "_counts", lambda p: True)
        old(names, own)
        put(node.heartbeats, "_counts", counts)
        for p, kept in zip(peers, voters, strict=True):
            p.voters = kept

    old = put(node.heartbeats, "send_to", send_to)


@mutation
def countsbehind(node: Node) -> None:
    """Who votes by another configuration is counted."""

    def hear(event: e.BeatSeen, in_office: Any) -> Any:
        ours = node.settings
        alike = msgspec.structs.replace(event.beat, voters=ours.voters, revision=ours.revision)
        heard = old(msgspec.structs.replace(event, beat=alike), in_office)
        p = node.state.peers.known.get(alike.sender)
        if p is not None and p.beat is alike:
            p.beat = event.beat
        return heard

    old = put(node.membership, "hear", hear)
    put(node.heartbeats, "_counts", lambda p: True)


@mutation
def countsolder(node: Node) -> None:
    """A newcomer that missed a push is counted before it has it."""

    def counts(beat: Any) -> bool:
        return bool(beat.voters == node.settings.voters)

    put(node.revision, "counts", counts)
    put(node.heartbeats, "_counts", lambda p: p.voters == node.settings.voters)


@mutation
def timeadmitsolder(node: Node) -> None:
    """Whoever hears a newer revision takes part with its own all the same, after a time."""
    put(node.revision, "hears_newer", lambda: False)


@mutation
def pushesanyway(node: Node) -> None:
    """A push that changes votes goes on without a server that is merely off."""
    put(node.revision, "unready", lambda settings, name, vouched: "")


@mutation
def partlist(node: Node) -> None:
    """A list of holdings is taken for whole however much of it is there."""
    put(node.holdings, "is_whole", lambda known, beat: True)


# --- what the checker must see ---------------------------------------------------------------
# These do not lean on the core at all: what it wants is taken away, or added to.


def amend(node: Node, change: Callable[[int, list[a.Action]], list[a.Action]]) -> None:
    """`change` is given the milliseconds since the agent's start and the actions of a step."""
    begun: list[int] = []

    def step(event: e.Event, now: int) -> list[a.Action]:
        begun.append(now) if not begun else None
        return change(now - begun[0], old(event, now))

    old = put(node, "step", step)


def once(node: Node, after_ms: int, action: a.Action) -> None:
    """That action too, once, so long after the agent's start."""
    done: list[int] = []

    def change(now: int, actions: list[a.Action]) -> list[a.Action]:
        if now < after_ms or done:
            return actions
        done.append(now)
        return [*actions, action]

    amend(node, change)


def fence(server: str) -> a.Fence:
    return a.Fence(server=server, action="power-off", ordered_at=10**12)


@mutation
def neverstarts(node: Node) -> None:
    """No resource is ever started."""
    amend(
        node,
        lambda now, actions: [
            x for x in actions if not (isinstance(x, a.RunResource) and x.op == "start")
        ],
    )


@mutation
def nocalloff(node: Node) -> None:
    """A fence agent goes on, though its order is not wanted any more."""
    amend(node, lambda now, actions: [x for x in actions if not isinstance(x, a.CallOffFence)])


@mutation
def neverfences(node: Node) -> None:
    """Nobody is ever powered off."""
    amend(node, lambda now, actions: [x for x in actions if not isinstance(x, a.Fence)])


@mutation
def stopsforfun(node: Node) -> None:
    """What runs well is stopped."""
    stop = a.RunResource(
        group="failover1", resource="exec1", op="stop", epoch=1, event="START", factor="GROUPSTOP"
    )
    once(node, 40_000, stop)


@mutation
def stopsbylease(node: Node) -> None:
    """What runs well is stopped as if the lease were over."""
    stop = a.RunResource(
        group="failover1", resource="exec1", op="stop", epoch=1, event="START",
        factor="GROUPSTOP", forced=True,
    )  # fmt: skip
    once(node, 40_000, stop)


@mutation
def shootsfriends(node: Node) -> None:
    """A server that is heard all the time is powered off."""
    if node.me == "server1":
        once(node, 20_000, fence("server2"))


@mutation
def duel(node: Node) -> None:
    """Both power each other off at once."""
    once(node, 20_000, fence("server2" if node.me == "server1" else "server1"))


@mutation
def unheardsuspend(node: Node) -> None:
    """One server is not told that the cluster is suspended, and powers another one off."""
    if node.me != "server2":
        return
    once(node, 40_000, fence("server3"))

    def step(event: e.Event, now: int) -> list[a.Action]:
        shared = isinstance(event, e.ControlSeen) and isinstance(event.message, Shared)
        return [] if shared else list(old(event, now))

    old = put(node, "step", step)


@mutation
def oldaddress(node: Node) -> None:
    """What was read through an address stands for the one that a push gives instead."""
    put(node.power, "readdressed", lambda before: None)


@mutation
def deputiesshoot(node: Node) -> None:
    """Every server of an exact half takes its turns from the first round on."""

    def rounds(place: int, p: Any) -> int:
        return int(old(0, p))

    old = put(node.fencing, "_rounds_left_out", rounds)


@mutation
def aloneshoots(node: Node) -> None:
    """A server takes its turn although one of its half hears the one to be fenced."""
    put(node.fencing, "_beats_heard", lambda: ())


@mutation
def blindshoots(node: Node) -> None:
    """A server that cannot read its own BMC heartbeat takes its turn all the same."""
    put(node.power, "cannot_see_itself", lambda: False)


@mutation
def outdatedshoots(node: Node) -> None:
    """A server takes its turns although the other one counts by a newer revision."""

    def rounds(place: int, p: Any) -> int:
        with briefly(p, "newest_revision", 0):
            return int(old(place, p))

    old = put(node.fencing, "_rounds_left_out", rounds)


@mutation
def changedisnew(node: Node) -> None:
    """What the own BMC heartbeat changed to counts as new, however long it was not read."""

    def beat(bmc: Any, event: Any) -> None:
        old(bmc, event)
        bmc.beat_after = bmc.beat_at

    old = put(node.power, "_beat", beat)


@mutation
def believesleft(node: Node) -> None:
    """Of a server that has left, any beat is believed that ever answered one of ours."""

    def believe(p: Any, beat: Any) -> bool:
        with briefly(p, "heard_at", NEVER if p.left else p.heard_at):
            return bool(old(p, beat))

    old = put(node.membership, "_believe", believe)


# --- recovery --------------------------------------------------------------------------------


@mutation
def nolimits(node: Node) -> None:
    """Restarts and failovers are not counted."""

    def due(monitor: Any, run: Any) -> str:
        run.scripts, run.restarts, run.failovers = [], [], []
        return str(old(monitor, run))

    old = put(node.recovery, "_due", due)


# --- planned moves ---------------------------------------------------------------------------


@mutation
def closedmoves(node: Node) -> None:
    """An order to stop for a planned move counts though the event behind it is closed."""
    put(node.orders, "_is_due", lambda number: True)


@mutation
def oneclock(node: Node) -> None:
    """The coordinator's wall clock alone says when the quiet window is open."""
    old = put(node.foresight, "window", lambda server, monitor: old(node.me, monitor))


@mutation
def unannounced(node: Node) -> None:
    """A planned move begins as soon as the window is open."""

    def wait(plan: Any) -> None:
        node.state.plans.announced_at[plan.group] = NEVER
        old(plan)

    old = put(node.planned, "_wait", wait)


@mutation
def hurries(node: Node) -> None:
    """A planned move waits for nothing but its window."""
    put(node.hindrances, "first", lambda plan: "")


@mutation
def plansagain(node: Node) -> None:
    """What became of a plan is forgotten at once, and the same event leads to another one."""
    put(node.planned, "_forget_closed", lambda plan: node.planned._share(
        tuple(p for p in node.policy.shared.plans if p.source != plan.source)
    ))  # fmt: skip


@mutation
def nevercalledoff(node: Node) -> None:
    """A planned move that has begun goes on, whatever comes before the group stops."""
    put(node.planned, "_still_moves", lambda plan: None)


# --- groups in order and apart -----------------------------------------------------------------


@mutation
def anystart(node: Node) -> None:
    """A group starts whether or not those before it are online."""
    put(node.start_order, "awaited", lambda group, target: ())


@mutation
def anystop(node: Node) -> None:
    """A group stops whether or not others stop before it."""
    put(node.stop_order, "waits", lambda group, kind, *, tells: False)


@mutation
def leavesfirst(node: Node) -> None:
    """A server leaves with all others while a group waits in order elsewhere."""
    put(node.stop_order, "is_under_way", lambda since: False)


@mutation
def waitsmoved(node: Node) -> None:
    """A group that runs is stopped to wait for others elsewhere."""
    put(node.start_order, "held_up", lambda group, target: ())


@mutation
def shares(node: Node) -> None:
    """Groups that never share a server are started on one."""
    put(node.exclusion, "bars", lambda group, server: "")


@mutation
def besides(node: Node) -> None:
    """Groups share a server though another one is there."""
    put(node.exclusion, "neighbour", lambda group, server: "")


@mutation
def notedlate(node: Node) -> None:
    """The others hear that a copy is behind only with the next report that is due."""
    old = node.mirrors.mark

    def mark(resource: str, newer: str) -> None:
        before = node.context.state.reported_at
        old(resource, newer)
        node.context.state.reported_at = before

    put(node.mirrors, "mark", mark)
