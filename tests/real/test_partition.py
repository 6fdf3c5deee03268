"""A few rounds of partitions, deaths and standstills: no group ever runs twice, each comes back.

`python -m tests.bench partition` does thirty, at the default leases too.
"""

from __future__ import annotations

import os

import pytest

from tests.real.cluster import Cluster
from tests.real.partition import Line, Partitions, overlaps

ROUNDS = 3
SHORT = "lease = 1\nself_stop = 2.5"


def lines(*told: str) -> list[Line]:
    found = []
    for line in told:
        at_s, word, server, pid = line.split()
        group = "-" if word == "reset" else "g"
        found.append(Line(word, server, group, int(pid), round(float(at_s) * 1e9)))
    return found


def test_the_checker_sees_a_beat_after_another_copy_began() -> None:
    clean = ["1 begin a 7", "2 beat a 7", "2.5 end a 7", "3 begin b 8", "4 beat b 8"]
    assert not overlaps(lines(*clean))
    assert overlaps(lines("1 begin a 7", "2 begin b 8", "2.1 beat a 7"))
    assert overlaps(lines("1 begin a 7", "1.5 begin b 8", "1.9 end b 8", "2 end a 7"))


def test_the_checker_takes_a_reset_for_the_end_and_not_before() -> None:
    assert not overlaps(lines("1 begin a 7", "2 beat a 7", "2.1 reset a 0", "3 begin b 8"))
    assert overlaps(lines("1 begin a 7", "2 beat a 7", "3 begin b 8", "3.1 reset a 0"))


@pytest.mark.root
@pytest.mark.slow
def test_rounds_of_faults_never_make_two_and_end_with_one() -> None:
    seed = int.from_bytes(os.urandom(2), "big")
    print(f"seed {seed}")
    with Cluster(servers=3) as cluster:
        rounds = Partitions(cluster, seed, SHORT)
        rounds.start()
        for _ in range(ROUNDS):
            rounds.round((4.0, 6.0))
        rounds.assert_never_two()
        print("\n".join(rounds.told), rounds.back_s)
