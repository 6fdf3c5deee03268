"""Requests for another time-out ratio (`clptoratio`)."""

from __future__ import annotations

from clptools.core import phrases as say
from clptools.core.cluster.election import Election
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.cluster.timeout_ratio import TimeoutRatio
from clptools.core.model.codes import REFUSED
from clptools.core.model.requests import Outcome, StretchTimeouts
from clptools.core.model.state import Pending
from clptools.core.requests.groups import GroupRequests
from clptools.core.step import Step


class RatioRequests:
    """Stretch the time-outs of all servers, or end that."""

    def __init__(
        self,
        step: Step,
        peers: Peers,
        election: Election,
        policy: SharedPolicy,
        ratio: TimeoutRatio,
        group_requests: GroupRequests,
    ) -> None:
        self.step = step
        self.peers = peers
        self.election = election
        self.policy = policy
        self.ratio = ratio
        self.group_requests = group_requests

    def request(self, pending: Pending) -> Outcome | None:
        """An operator's word: the coordinator's to decide, the end where there is none ours."""
        request = pending.request
        assert isinstance(request, StretchTimeouts)
        shared = self.policy.shared
        if not self.election.in_office():
            if request.ratio > 1 or pending.origin:
                return self.group_requests.refused_now()
            return self._end_here(pending.user)
        if request.ratio == 1 == shared.ratio:
            return Outcome(text=say.not_stretched)
        if request.ratio > 1:
            away = [
                name
                for name in self.peers
                if self.ratio.silent(name) or not self.peers.is_online(name)
            ]
            if away:
                return Outcome(
                    code=REFUSED,
                    text=say.all_online_to_stretch(away),
                    hint="Start it there first: clpcl -s -a",
                )
            if request.for_ms <= 0:
                text = "A ratio above 1 needs a time after which it ends."
                return Outcome(code=REFUSED, text=text)
        self.policy.stretch(request.ratio, request.for_ms, pending.user)
        return None

    def _end_here(self, user: str) -> Outcome:
        """Nobody can decide for all, but whoever waits too long here need not."""
        step = self.step
        if self.ratio.state.ratio == 1:
            return Outcome(text=say.not_stretched)
        self.ratio.end(self.policy.shared, user)
        return Outcome(text=say.not_stretched_here(step.me), hint=say.each_by_itself)

    def through(self, pending: Pending) -> Outcome | None:
        """It is done once everybody who is heard knows of it."""
        if not isinstance(pending.request, StretchTimeouts):
            return None
        behind = any(
            self.peers.hears(name)
            and p.beat is not None
            and p.beat.policy < self.policy.shared.version
            for name, p in self.peers.items()
        )
        return None if behind else Outcome()
