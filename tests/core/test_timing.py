"""The lengths that the rules are made of, and what they must be to each other."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from clptools.core.model.settings import Cluster
from clptools.core.model.timing import drift_margin, times

DEFAULT = times(Cluster())


def test_the_lengths_of_the_default_configuration() -> None:
    assert DEFAULT.lease_ms == 3_000
    assert DEFAULT.holder_ms == 6_000
    assert DEFAULT.authority_ms == 2_840
    assert DEFAULT.silence_ms == 3_160
    assert DEFAULT.grant_dead_ms == 6_220
    assert DEFAULT.clear_by_lease_ms == 12_340
    assert DEFAULT.boot_ms == 306_100
    assert DEFAULT.give_up_ms == 750


def test_the_drift_margin_is_two_percent_and_a_tenth_then_three() -> None:
    assert drift_margin(3_000) == 160
    assert drift_margin(490_000) == 9_900
    assert drift_margin(490_001) == 14_700
    assert drift_margin(1_800_000) == 54_000


@given(st.integers(0, 4_000_000))
@bounded(max_examples=500)
def test_the_margin_covers_two_clocks_one_percent_off_each_way(interval_ms: int) -> None:
    """A slow clock's `interval` is over before a fast clock has seen `interval + d`."""
    longest = Fraction(interval_ms) * 101 / 99
    assert interval_ms + drift_margin(interval_ms) >= int(longest)


clusters = st.builds(
    Cluster,
    heartbeat_interval_ms=st.integers(50, 2_000),
    heartbeat_timeout_ms=st.integers(500, 90_000),
    lease_ms=st.integers(500, 90_000),
    self_stop_ms=st.integers(1_000, 1_800_000),
    startup_wait_ms=st.integers(0, 1_800_000),
)


@given(clusters)
@bounded(max_examples=300)
def test_what_the_proofs_rest_on(cluster: Cluster) -> None:
    t = times(cluster)
    assert t.authority_ms < t.lease_ms < t.silence_ms, "a voter's promise outlasts authority"
    assert t.holder_ms == 2 * t.lease_ms, "losing the coordinator stops nothing"
    assert t.grant_dead_ms > t.holder_ms, "no copy of a grant is taken after it"
    assert t.clear_by_lease_ms > t.holder_ms + t.self_stop_ms
    assert 2 * t.watchdog_ms < t.self_stop_ms, "check, pause and pet cannot overrun"
    assert t.boot_ms > t.startup_ms, "an off read has lapsed before time alone admits"
    assert 4 * t.give_up_ms <= t.lease_ms
    assert t.missed_ms > 2 * t.interval_ms
    assert t.hear_ms > t.missed_ms
