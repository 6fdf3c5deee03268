"""Limits that two keys set together; each message names both.

The single keys were checked as they were read; `core.timing` says what the lengths are for.
"""

from __future__ import annotations

from collections.abc import Iterable

from clptools.config.table import Source, Table, element, elements
from clptools.core.model.options import WatchdogOptions, read
from clptools.core.model.settings import Arbiter, Cluster, Monitor
from clptools.core.model.timing import Times, times

SOFTDOG_STEP_MS = 1000
"""The Linux watchdog interface takes whole seconds (watchdog-api)."""
LEASE_BEATS = 8
"""Two heartbeats within the quarter of a lease that a candidate has."""
ARBITER_DEFAULT_MS = 1000
"""`interval` and `timeout` of an arbiter follow the lease up to this."""


def check_limits(
    source: Source,
    document: dict[str, object],
    cluster: Cluster,
    arbiters: tuple[Arbiter, ...],
    monitors: tuple[Monitor, ...],
) -> None:
    """Note an error for every pair of keys that cannot work together."""
    table = element(source, document, "cluster")
    lengths = times(cluster)
    nps = [
        (np, arbiter)
        for np, arbiter in zip(elements(source, document, "np"), arbiters, strict=False)
        if arbiter.decides
    ]
    fits = lease_that_fits(cluster, (_asked_ms(np, arbiter) for np, arbiter in nps))
    _check_heartbeats(table, cluster, lengths)
    _check_leases(table, cluster, monitors, lengths, fits)
    for np, arbiter in nps:
        _check_arbiter(np, arbiter, cluster, fits)


def lease_that_fits(cluster: Cluster, asked_ms: Iterable[int] = ()) -> str:
    """The shortest `lease` of which no check complains, in seconds as it is written.

    One value for all checks: else the mend of one leads to the complaint of the next.  `asked_ms`
    are the spans within which arbiters must have been asked and have answered.
    """
    beats = -(-LEASE_BEATS * cluster.heartbeat_interval_ms // 100)
    tenths = max(beats, *(ms // 100 + 1 for ms in (0, *asked_ms)))
    return f"{tenths / 10:g}"


def _asked_ms(np: Table, arbiter: Arbiter) -> int:
    """`interval` and `timeout` together, however long the lease is; 0 where they follow it."""
    given = {"interval": arbiter.interval_ms, "timeout": arbiter.timeout_ms}
    if not given.keys() & np.raw.keys():
        return 0
    return sum(ms if key in np.raw else ARBITER_DEFAULT_MS for key, ms in given.items())


def _seconds(ms: int) -> str:
    return f"{ms / 1000:g} s"


def _check_heartbeats(table: Table, cluster: Cluster, lengths: Times) -> None:
    interval = cluster.heartbeat_interval_ms
    if lengths.lost_ms <= lengths.missed_ms:
        table.say(
            "error",
            "heartbeat_timeout" if "heartbeat_timeout" in table.raw else "heartbeat_interval",
            f"heartbeat_timeout ({_seconds(lengths.lost_ms)}) must be longer than two missed "
            f"heartbeats: heartbeat_interval is {_seconds(interval)}",
            f"Raise heartbeat_timeout above {_seconds(lengths.missed_ms)}.",
        )


def _check_leases(
    table: Table, cluster: Cluster, monitors: tuple[Monitor, ...], lengths: Times, fits: str
) -> None:
    interval = cluster.heartbeat_interval_ms
    # Authority must outlast two lost answers, or every lost datagram ends an office.
    if lengths.authority_ms <= 2 * interval:
        table.say(
            "error",
            "lease" if "lease" in table.raw else "heartbeat_interval",
            f"lease ({_seconds(cluster.lease_ms)}) must outlast two lost heartbeats and the "
            f"clocks' drift: heartbeat_interval is {_seconds(interval)}",
            f"Write lease = {fits} or more.",
        )
    method = next(
        (read(WatchdogOptions, m.options).method for m in monitors if m.type == "userw"), "none"
    )
    if method == "softdog" and lengths.watchdog_ms < SOFTDOG_STEP_MS:
        table.say(
            "error",
            "self_stop",
            f"self_stop ({_seconds(cluster.self_stop_ms)}) is too short for userw method "
            '"softdog", which counts whole seconds and must act within half of it',
            'Raise self_stop to 2.3 or more, or choose method "ipmi" or "guard".',
        )


def _check_arbiter(table: Table, arbiter: Arbiter, cluster: Cluster, fits: str) -> None:
    if arbiter.interval_ms + arbiter.timeout_ms >= cluster.lease_ms:
        table.say(
            "error",
            "interval" if "interval" in table.raw else "timeout",
            f"interval ({_seconds(arbiter.interval_ms)}) and timeout "
            f"({_seconds(arbiter.timeout_ms)}) together must stay below [cluster] lease "
            f"({_seconds(cluster.lease_ms)}), for which the arbiter's word holds",
            f"Lower them, or write lease = {fits} or more.",
        )
