"""Time-outs stretched for a while (`clptoratio`): which lengths, and how long.

Only time-outs that declare a failure are stretched.  The lengths that promise 1 depends on (lease,
self-stop, startup wait, fence delay, those of arbiters) and the heartbeat interval never are: all
servers must agree on them, and a ratio reaches one server after the other.

    operator --> coordinator --> [shared policy: ratio, for so long] --> every server, until
                                    ^                                    its own clock says so
                                    '--- the time is over: ratio 1

Each server goes back to the configured time-outs by itself when its time is over; a coordinator
then tells those that heard of the ratio later.
"""

from __future__ import annotations

import msgspec

from clptools.core.cluster.peers import Peers
from clptools.core.model.actions import Stretch
from clptools.core.model.cluster_state import RatioState
from clptools.core.model.messages import Shared
from clptools.core.model.options import HealthOptions, read
from clptools.core.model.settings import Monitor, Settings
from clptools.core.notices import cluster as notices
from clptools.core.step import Step


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
                start_wait_ms=group.start_wait_ms * ratio,
                stop_wait_ms=group.stop_wait_ms * ratio,
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
    """Changes only what the monitor uses: the agent restarts every monitor that differs.

    The watchdog's time-out follows from self-stop, and messages come when they come.
    """
    health = read(HealthOptions, monitor.options).health_command if monitor.type == "mrw" else ""
    if (monitor.type == "mrw" and not health) or monitor.type == "userw":
        return monitor
    return msgspec.structs.replace(
        monitor, interval_ms=monitor.interval_ms * ratio, timeout_ms=monitor.timeout_ms * ratio
    )


class TimeoutRatio:
    """The ratio that this server uses."""

    def __init__(self, step: Step, state: RatioState, peers: Peers) -> None:
        self.step = step
        self.state = state
        self.peers = peers

    def patience_ms(self) -> int:
        """The configured heartbeat time-out: how long a person's request waits for an answer."""
        return self.step.times.lost_ms // self.step.settings.ratio

    def silent(self, name: str) -> bool:
        """Whether a peer was not heard for so long; stretched, it is not lost yet."""
        return self.step.now - self.peers[name].heard_at > self.patience_ms()

    def adopted(self, before: Shared, shared: Shared) -> None:
        """The shared policy was `before` and is `shared`: perhaps with another ratio."""
        step = self.step
        if _asked(shared) == _asked(before):
            return
        self.state.until = step.now + shared.ratio_ms
        if shared.ratio > 1:
            cluster, user = step.settings.cluster.name, shared.ratio_by
            step.notice(notices.TimeoutsStretched(cluster, shared.ratio, shared.ratio_ms, user))
        self.follow(shared, shared.ratio_by)

    def remember(self, until: int, shared: Shared) -> None:
        """The agent before us had taken over a ratio, which was to end at `until`."""
        self.state.until = until
        self.follow(shared, "")

    def settle(self, shared: Shared) -> bool:
        """Ends what has lasted its time by our own clock; whether it did, or had before."""
        if shared.ratio == 1 or self.step.now < self.state.until:
            return False
        self.follow(shared, "")
        return True

    def end(self, shared: Shared, user: str) -> None:
        """Back to what is configured, on this server alone."""
        self.state.until = self.step.now
        self.follow(shared, user)

    def follow(self, shared: Shared, user: str) -> None:
        """The ratio that is due, if it is another than before."""
        step = self.step
        due = shared.ratio if step.now < self.state.until else 1
        if due == self.state.ratio:
            return
        self.state.ratio = due
        if due == 1:
            step.notice(notices.TimeoutsAsConfigured(step.settings.cluster.name, user))
        step.do(Stretch(ratio=due))


def _asked(shared: Shared) -> tuple[int, int, int]:
    """What tells one request from the next: the same ratio again starts its time anew."""
    return (shared.ratio, shared.ratio_ms, shared.ratio_number)
