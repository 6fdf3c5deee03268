"""Time-outs stretched for a while (`clptoratio`): which lengths, and how long.

Stretched is what somebody waits for before he calls it failed.  The lengths that promise 1 hangs
on (lease, self-stop, startup wait, fence delay, those of arbiters) and the heartbeat interval
never are: they hold for all servers alike, and a ratio reaches one server after the other.

    operator --> coordinator --> [shared policy: ratio, for so long] --> every server, until
                                    ^                                    its own clock says so
                                    '--- the time is over: ratio 1

Going back to what is configured needs nobody's leave: each server does so when the time is over
for it, and a coordinator then tells those that heard of it later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from clptools.core import sentences as say
from clptools.core.model.actions import Stretch
from clptools.core.model.codes import REFUSED
from clptools.core.model.messages import Shared
from clptools.core.model.requests import Outcome, StretchTimeouts
from clptools.core.model.settings import Monitor, Settings
from clptools.core.model.state import Pending

if TYPE_CHECKING:
    from clptools.core.node import Node


def stretched(settings: Settings, ratio: int) -> Settings:
    """`settings` with their time-outs `ratio` times as long; themselves for 1."""
    if ratio == 1:
        return settings
    replace = msgspec.structs.replace
    cluster, forced_stop = settings.cluster, settings.forced_stop
    return replace(
        settings,
        ratio=ratio,
        cluster=replace(cluster, heartbeat_timeout_ms=cluster.heartbeat_timeout_ms * ratio),
        forced_stop=replace(forced_stop, timeout_ms=forced_stop.timeout_ms * ratio),
        groups=tuple(
            replace(
                group,
                resources=tuple(
                    replace(
                        resource,
                        start_timeout_ms=resource.start_timeout_ms * ratio,
                        stop_timeout_ms=resource.stop_timeout_ms * ratio,
                        migrate_timeout_ms=resource.migrate_timeout_ms * ratio,
                    )
                    for resource in group.resources
                ),
            )
            for group in settings.groups
        ),
        monitors=tuple(_monitor(monitor, ratio) for monitor in settings.monitors),
    )


def _monitor(monitor: Monitor, ratio: int) -> Monitor:
    """Only what the monitor goes by is changed: whatever differs begins anew in the agent.

    The watchdog's time-out follows from self-stop, and messages come when they come.
    """
    listens = monitor.type == "mrw" and not monitor.options.get("health_command")
    if listens or monitor.type == "userw":
        return monitor
    return msgspec.structs.replace(
        monitor, interval_ms=monitor.interval_ms * ratio, timeout_ms=monitor.timeout_ms * ratio
    )


class Stretching:
    """The ratio of this server: asked for, taken over, and over."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def patience_ms(self) -> int:
        """The configured heartbeat time-out: what a person who asked for something waits."""
        return self.node.times.lost_ms // self.node.settings.ratio

    def silent(self, name: str) -> bool:
        """Whether a peer was not heard for so long; stretched, it is not lost yet."""
        return self.node.now - self.node.state.peers[name].heard_at > self.patience_ms()

    def request(self, pending: Pending) -> Outcome | None:
        """An operator's word: the coordinator's to decide, the end where there is none ours."""
        node = self.node
        request = pending.request
        assert isinstance(request, StretchTimeouts)
        shared = node.state.shared
        if not node.votes.in_office():
            if request.ratio > 1 or pending.origin:
                return node.group_requests.refused_now()
            return self._end_here(pending.user)
        if request.ratio == 1 == shared.ratio:
            return Outcome(text=say.not_stretched)
        if request.ratio > 1:
            away = [
                name
                for name in node.state.peers
                if self.silent(name) or not node.membership.is_online(name)
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
        self._share(request.ratio, request.for_ms, pending.user)
        return None

    def _end_here(self, user: str) -> Outcome:
        """Nobody can decide for all, but whoever waits too long here need not."""
        node = self.node
        if node.state.ratio == 1:
            return Outcome(text=say.not_stretched)
        node.state.ratio_until = node.now
        node.dirty = True
        self._follow(user)
        return Outcome(text=say.not_stretched_here(node.me), hint=say.each_by_itself)

    def through(self, pending: Pending) -> Outcome | None:
        """It is done once everybody who is heard knows of it."""
        node = self.node
        if not isinstance(pending.request, StretchTimeouts):
            return None
        behind = any(
            node.membership.hears(name)
            and p.beat is not None
            and p.beat.policy < node.state.shared.version
            for name, p in node.state.peers.items()
        )
        return None if behind else Outcome()

    def _share(self, ratio: int, for_ms: int, user: str) -> None:
        shared = self.node.state.shared
        self.node.policy.share(
            msgspec.structs.replace(
                shared,
                ratio=ratio,
                ratio_ms=for_ms if ratio > 1 else 0,
                ratio_by=user,
                ratio_number=shared.ratio_number + 1,
            )
        )

    def adopted(self, before: Shared) -> None:
        """The shared policy is another one than `before`: perhaps with another ratio."""
        node = self.node
        shared = node.state.shared
        if _asked(shared) == _asked(before):
            return
        node.state.ratio_until = node.now + shared.ratio_ms
        if shared.ratio > 1:
            self._record(shared.ratio, shared.ratio_by)
        self._follow(shared.ratio_by)

    def remember(self, until: int) -> None:
        """The agent before us had taken over a ratio, which was to end at `until`."""
        self.node.state.ratio_until = until
        self._follow("")

    def settle(self) -> None:
        """Ends what has lasted its time by our own clock, in office for all."""
        node = self.node
        if node.state.shared.ratio == 1 or node.now < node.state.ratio_until:
            return
        self._follow("")
        if node.votes.in_office():
            self._share(1, 0, "")

    def _follow(self, user: str) -> None:
        """The ratio that is due, if it is another than before."""
        node = self.node
        state = node.state
        due = state.shared.ratio if node.now < state.ratio_until else 1
        if due == state.ratio:
            return
        state.ratio = due
        if due == 1:
            self._record(1, user)
        node.emit(Stretch(ratio=due))

    def _record(self, ratio: int, user: str) -> None:
        node = self.node
        node.record(
            "pm",
            942 if ratio > 1 else 943,
            "INFO",
            (node.settings.cluster.name, node.me),
            say.stretched(node.me, ratio, node.state.shared.ratio_ms, user),
        )


def _asked(shared: Shared) -> tuple[int, int, int]:
    """What tells one asking from the next: the same ratio again counts from then on anew."""
    return (shared.ratio, shared.ratio_ms, shared.ratio_number)
