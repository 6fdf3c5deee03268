"""Servers of the last release beside servers of this version, while faults go on.

Each start of an agent takes one of the two versions by chance, as in a rolling upgrade, a rolling
downgrade, and in between them.
"""

from __future__ import annotations

import pytest

from clptools.core.model import events
from clptools.core.model.requests import GroupMove
from tests.releases import LAST
from tests.sim.released import SAMPLES, play, release


@pytest.mark.parametrize("seed", range(4 * len(SAMPLES)))
def test_random_faults_while_versions_change(seed: int) -> None:
    versions, run = play(seed)
    assert not run.violations
    assert versions.started == {True, False}, "both versions were there"


def test_nothing_of_this_version_is_in_the_core_of_the_last() -> None:
    asked = GroupMove(server="", group="failover1", to="server2")
    event = events.RequestSeen(id="r1", user="root", request=asked)
    read = release(LAST).event(event)
    assert type(read).__name__ == "RequestSeen"
    assert not isinstance(read, events.RequestSeen)
    assert type(read.request).__name__ == "GroupMove"
    assert not isinstance(read.request, GroupMove)
