"""Requests for the whole cluster: suspend it, resume it, stretch its time-outs."""

from __future__ import annotations

import msgspec

from clptools.core import phrases as say
from clptools.core import replies
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.peers import Peers, majority
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.cluster.timeout_ratio import TimeoutRatio
from clptools.core.model.requests import REFUSED, Outcome, Resume, StretchTimeouts, Suspend
from clptools.core.model.state import Pending
from clptools.core.step import Step


class ClusterRequests:
    """What changes the policy that all servers share; the coordinator decides."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        policy: SharedPolicy,
        ratio: TimeoutRatio,
        authority: Authority,
    ) -> None:
        self.step = step
        self.peers = peers
        self.policy = policy
        self.ratio = ratio
        self.authority = authority

    def refused_now(self) -> Outcome | None:
        """What refuses any request to a coordinator: it is not it any more, or is suspended."""
        return self.no_office() or self.refused_suspended()

    def no_office(self) -> Outcome | None:
        """What refuses a request to a coordinator that is not it any more."""
        if self.authority.in_office():
            return None
        text = replies.no_coordinator(f"{self.step.me} was asked, and is not it any more")
        return Outcome(code=REFUSED, text=text)

    def refused_suspended(self) -> Outcome | None:
        """What refuses a request while the cluster is suspended."""
        shared = self.policy.shared
        if not shared.suspended:
            return None
        return Outcome(
            code=REFUSED,
            text=replies.cluster_suspended(shared.suspended_by),
            hint="Resume it: clpcl --resume",
        )

    # ------------------------------------------------------------------ suspend and resume

    def suspend(self, pending: Pending) -> Outcome | None:
        """Suspends the cluster; without force all servers must be online."""
        request = pending.request
        assert isinstance(request, Suspend)
        return self._set_suspended(pending, True, request.force)

    def resume(self, pending: Pending) -> Outcome | None:
        """Resumes the cluster."""
        return self._set_suspended(pending, False, True)

    def _set_suspended(self, pending: Pending, on: bool, force: bool) -> Outcome | None:
        shared = self.policy.shared
        if not self.authority.in_office():
            return self.refused_now()
        if shared.suspended is on:
            return Outcome(text=f"The cluster is already {'suspended' if on else 'running'}.")
        away = [s for s in self.peers if not self.peers.is_online(s)]
        if away and not force:
            return Outcome(
                code=REFUSED,
                text=f"All servers must be online to suspend; {say.listed(away)} "
                f"{'is' if len(away) == 1 else 'are'} not.",
                hint="Suspend all the same: clpcl --suspend --force",
            )
        self.policy.share(
            msgspec.structs.replace(shared, suspended=on, suspended_by=pending.user, suspended_ms=0)
        )
        return None

    def _is_suspended(self, on: bool) -> bool:
        """Whether every reachable server reports the new state, and a majority of the electorate.

        The next coordinator, whoever it is, hears of it from one of that majority.
        """
        told = {
            name: p.beat.suspended is on
            for name, p in self.peers.items()
            if p.beat is not None and self.peers.is_online(name)
        }
        electorate = self.peers.electorate()
        many = 1 + sum(1 for name in electorate if told.get(name, False))
        return all(told.values()) and many >= majority(len(electorate))

    # ------------------------------------------------------------------ the time-out ratio

    def stretch(self, pending: Pending) -> Outcome | None:
        """Stretches time-outs, which the coordinator decides, or ends that, as any server may."""
        request = pending.request
        assert isinstance(request, StretchTimeouts)
        shared = self.policy.shared
        if not self.authority.in_office():
            if request.ratio > 1 or pending.origin:
                return self.refused_now()
            return self._end_here(pending.user)
        if request.ratio == 1 == shared.ratio:
            return Outcome(text=replies.not_stretched)
        if request.ratio > 1:
            away = [
                name
                for name in self.peers
                if self.ratio.silent(name) or not self.peers.is_online(name)
            ]
            if away:
                return Outcome(
                    code=REFUSED,
                    text=replies.all_online_to_stretch(away),
                    hint="Start it there first: clpcl -s -a",
                )
            if request.for_ms <= 0:
                text = "A ratio above 1 needs a time after which it ends."
                return Outcome(code=REFUSED, text=text)
        self.policy.stretch(request.ratio, request.for_ms, pending.user)
        return None

    def _end_here(self, user: str) -> Outcome:
        """Without a coordinator, longer time-outs may be ended on this server alone.

        Others may have them still, although they have ended here.
        """
        step = self.step
        if self.ratio.state.ratio > 1:
            self.ratio.end(self.policy.shared, user)
        return Outcome(text=replies.not_stretched_here(step.me), hint=replies.each_by_itself)

    def _is_known(self) -> bool:
        """Whether every server that is heard knows the newest policy."""
        return not any(
            self.peers.hears(name)
            and p.beat is not None
            and p.beat.policy < self.policy.shared.version
            for name, p in self.peers.items()
        )

    def is_known_by_most(self) -> bool:
        """The same, and they are a majority: the next coordinator hears of it from one of them."""
        knows = [
            name
            for name, p in self.peers.items()
            if p.beat is not None and p.beat.policy >= self.policy.shared.version
        ]
        electorate = self.peers.electorate()
        many = 1 + sum(1 for name in electorate if name in knows)
        return self._is_known() and many >= majority(len(electorate))

    # ------------------------------------------------------------------ the end of them

    def through(self, pending: Pending) -> Outcome | None:
        """How one of these ended; None: it has not."""
        request = pending.request
        if isinstance(request, StretchTimeouts):
            did = replies.stretched(request.ratio, request.for_ms)
            return Outcome(did=did) if self._is_known() else None
        on = isinstance(request, Suspend)
        if not (on or isinstance(request, Resume)) or not self._is_suspended(on):
            return None
        return Outcome(did=replies.suspension(on))
