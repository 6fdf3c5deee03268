"""The time spans of the rules, in ms (`docs/rules.md`); computed once from `[cluster]`."""

from __future__ import annotations

import msgspec

from clptools.core.model.settings import Cluster

NEVER = -(10**15)
"""An instant before all others, which stands for "not yet"."""
_LONG_MS = 490_000
_BEATS_MS = 200
"""The default heartbeat interval, for which `fence_delay` is meant."""


def drift_margin(interval_ms: int) -> int:
    """`d`: how far two clocks, each up to 1 % off, may drift apart over `interval_ms`.

    2 % and 0.1 s; above 490 s 3 %, because 2 % + 0.1 s would then be less than 1.01 / 0.99 needs.
    """
    if interval_ms > _LONG_MS:
        return interval_ms * 3 // 100
    return interval_ms * 2 // 100 + 100


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """All durations that follow from `[cluster]`, computed once."""

    interval_ms: int
    lost_ms: int
    """Silence after which a server counts as lost (`heartbeat_timeout`)."""
    missed_ms: int
    """Silence after which two beats are missed: the server's BMC is asked at once."""
    hear_ms: int
    """A server heard within this time is *heard now*: asking for votes and fencing need that."""
    lease_ms: int
    """`L`, the vote lease."""
    authority_ms: int
    """`L - d`: how long the answers of a majority carry authority."""
    silence_ms: int
    """`L + d`: how long a starting agent keeps its old vote, and until *out* counts."""
    holder_ms: int
    """`H = 2 L`, the holder's lease: long enough that an election stops no service."""
    grant_dead_ms: int
    """`H + d`: after this time no copy of a grant can be taken any more."""
    self_stop_ms: int
    clear_by_lease_ms: int
    """`H + self_stop + d`: after this silence a holder is cleared by its lease."""
    watchdog_ms: int
    """The watchdog's time-out. It is below `self_stop / 2`, so that checking, pausing and feeding
    together cannot exceed `self_stop`."""
    give_up_ms: int
    """`L / 4`: after this time a candidate gives up."""
    startup_ms: int
    """`B`, `startup_wait`."""
    boot_ms: int
    """`B + d`: from then on after a boot, time alone makes a member no newcomer."""
    fence_delay_ms: int
    """Length of one turn to fence (`turn_ms`)."""


def drift_ms(elapsed_ms: int) -> int:
    """How far two clocks, each up to 1 % off, drift apart in `elapsed_ms`, rounded up."""
    return elapsed_ms // 50 + 1


def turn_ms(cluster: Cluster) -> int:
    """How long one turn to fence lasts.

    It is `fence_delay` and an allowance for slower heartbeats: two servers count turns from
    instants that may differ by three intervals, and the server whose turn it is notices that within
    two.
    """
    return cluster.fence_delay_ms + 5 * max(cluster.heartbeat_interval_ms - _BEATS_MS, 0)


def turns_step_ms(cluster: Cluster) -> int:
    """How far one server's start of counting turns to fence may be ahead of the other's.

    Longer than the age of the oldest beat that is answered while no beat is lost, so that the later
    one can keep pace.
    """
    return cluster.heartbeat_interval_ms * 3 // 2


def times_of_both(before: Cluster, after: Cluster) -> Times:
    """The durations while some servers may still run the previous revision.

    Nothing may be done for longer than either revision allows, and every wait is as long as either
    requires.
    """
    old, new = times(before), times(after)
    shortest = ("authority_ms", "holder_ms", "self_stop_ms", "watchdog_ms", "startup_ms")
    longest = ("lease_ms", "silence_ms", "grant_dead_ms", "clear_by_lease_ms", "boot_ms")
    return msgspec.structs.replace(
        new,
        **{name: min(getattr(old, name), getattr(new, name)) for name in shortest},
        **{
            name: max(getattr(old, name), getattr(new, name))
            for name in (*longest, "fence_delay_ms")
        },
    )


def times(cluster: Cluster) -> Times:
    """The durations for this configuration."""
    lease = cluster.lease_ms
    holder = 2 * lease
    clear = holder + cluster.self_stop_ms
    interval = cluster.heartbeat_interval_ms
    return Times(
        interval_ms=interval,
        lost_ms=cluster.heartbeat_timeout_ms,
        missed_ms=2 * interval + interval // 4,
        hear_ms=3 * interval + interval // 2,
        lease_ms=lease,
        authority_ms=lease - drift_margin(lease),
        silence_ms=lease + drift_margin(lease),
        holder_ms=holder,
        grant_dead_ms=holder + drift_margin(holder),
        self_stop_ms=cluster.self_stop_ms,
        clear_by_lease_ms=clear + drift_margin(clear),
        watchdog_ms=cluster.self_stop_ms * 9 // 20,
        give_up_ms=lease // 4,
        startup_ms=cluster.startup_wait_ms,
        boot_ms=cluster.startup_wait_ms + drift_margin(cluster.startup_wait_ms),
        fence_delay_ms=turn_ms(cluster),
    )
