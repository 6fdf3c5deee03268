"""The arithmetic of votes: a table, and a slow second implementation on random answers."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from clptools.core.cluster.authority import FOREVER, answered_by
from clptools.core.cluster.peers import majority
from clptools.core.model.settings import Arbiter
from clptools.core.model.timing import NEVER
from clptools.core.node import Node
from tests.core.cluster import settings

NOW = 1_000_000

Case = tuple[tuple[str, ...], str, str]


def cases() -> list[Case]:
    found = []
    for line in Path(__file__).with_name("test_quorum.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        others, arbiter, result = (part.strip() for part in line.split("|"))
        found.append((tuple(others.split()), arbiter, result))
    return found


def authority(others: tuple[str, ...], arbiter: str) -> int:
    """What `Votes` makes of it; instants count from the start of this office."""
    made = None
    if arbiter != "none":
        made = Arbiter(name="etcd1", type="etcd", required=arbiter.startswith("required"))
    node = Node(settings(len(others) + 1, arbiter=made), "server1", "i1", 1)
    node.context.now = NOW
    for p, said in zip(node.state.peers.known.values(), others, strict=True):
        if said == "out":
            p.confirmed = "root"
            p.out_since = NOW - 60_000
        elif said != "-":
            p.vote_at = NOW + int(said)
    held = arbiter.rpartition(" ")[2]
    if held not in ("none", "-"):
        node.state.election.arbiter_at = NOW + int(held)
    return node.authority.until()


def slow(others: tuple[str, ...], arbiter: str) -> int:
    """The same by trying every set of voters."""
    answers = {
        i: NEVER if said == "-" else NOW + int(said)
        for i, said in enumerate(others)
        if said != "out"
    }
    size = len(answers) + 1
    held = arbiter.rpartition(" ")[2]
    held_at = NEVER if held in ("none", "-") else NOW + int(held)
    required = arbiter.startswith("required")
    best = NEVER
    for count in range(len(answers) + 1):
        for voters in combinations(answers.values(), count):
            oldest = min(voters, default=FOREVER)
            if required:
                enough = count + 1 == size
            else:
                enough = 2 * (count + 1) > size
            if enough:
                best = max(best, oldest)
            elif arbiter != "none" and not required and 2 * (count + 1) == size:
                best = max(best, min(oldest, held_at))
    if required:
        best = max(best, held_at)
    return best


def word(until: int) -> str:
    lasts = 3000 - 160
    if until >= FOREVER:
        return "always"
    return "never" if until <= NEVER + lasts else str(until - lasts - NOW)


@pytest.mark.parametrize("case", cases(), ids=lambda c: f"{' '.join(c[0])} | {c[1]}")
def test_table(case: Case) -> None:
    others, arbiter, result = case
    assert word(authority(others, arbiter)) == result


answer = st.one_of(st.just("-"), st.just("out"), st.integers(0, 30).map(str))
arbiters = st.one_of(
    st.just("none"),
    st.just("-"),
    st.integers(0, 30).map(str),
    st.just("required -"),
    st.integers(0, 30).map(lambda n: f"required {n}"),
)


@given(st.lists(answer, min_size=1, max_size=7).map(tuple), arbiters)
@bounded(max_examples=300, deadline=None)
def test_the_same_as_trying_every_set_of_voters(others: tuple[str, ...], arbiter: str) -> None:
    expected = slow(others, arbiter)
    expected = expected if expected >= FOREVER else expected + 2840
    assert word(authority(others, arbiter)) == word(expected)


@given(st.integers(1, 64), st.integers(0, 64), st.integers(0, 64))
def test_two_majorities_share_a_voter(size: int, one: int, other: int) -> None:
    if majority(size) <= one <= size and majority(size) <= other <= size:
        assert one + other > size


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(-1, 9))
def test_answered_by_counts_them_one_by_one(others: list[int], needed: int) -> None:
    found = answered_by(others, needed)
    if needed <= 0:
        assert found is None
    elif needed > len(others):
        assert found == NEVER
    else:
        assert found is not None
        assert sum(t >= found for t in others) >= needed
        assert sum(t > found for t in others) < needed
