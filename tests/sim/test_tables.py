"""What a core keeps ready made is, at each use, what would be made anew from its state."""

from __future__ import annotations

from pathlib import Path

import pytest

from clptools.core.cluster.holdings import holds
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.holders import Held, Holders
from clptools.core.model.messages import Intent
from clptools.core.node import Node
from clptools.sim.clusters import TURNS, sample
from clptools.sim.explore import Plan, run_seed
from clptools.sim.scenario import run

FILES = sorted((Path(__file__).parent.parent / "scenarios").glob("*.txt"))[::8]
"""Some of them: all take as long as playing them does."""


class Watch:
    """Compares at each use."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.uses = 0
        self.stale: list[str] = []
        others, intents = Holders._others, SharedPolicy._intents

        def watched_others(holders: Holders) -> dict[str, list[Held]]:
            self.uses += 1
            found, anew = others(holders), _made_anew(holders)
            if found != anew:
                self.stale.append(f"{holders.step.me}: {found} is {anew}")
            return found

        def watched_intents(policy: SharedPolicy) -> dict[str, Intent]:
            found = intents(policy)
            anew = {intent.group: intent for intent in reversed(policy.shared.intents)}
            if found != anew:
                self.stale.append(f"{policy.step.me}: {found} is {anew}")
            return found

        patch.setattr(Holders, "_others", watched_others)
        patch.setattr(SharedPolicy, "_intents", watched_intents)


def _made_anew(holders: Holders) -> dict[str, list[Held]]:
    found: dict[str, list[Held]] = {}
    for name, p in holders.peers.items():
        for h in holds(p):
            held = Held(server=name, seen=h.seen, held=h.held, state=h.state, why=h.why)
            found.setdefault(h.group, []).append(held)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_in_scenarios(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    run(path.read_text(), Node, Node.restore)
    assert watch.stale == []


@pytest.mark.parametrize("seed", range(len(TURNS)))
def test_in_random_runs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    name, options = TURNS[seed]
    run_seed(Plan(settings=sample(name, **options), seconds=100), seed)
    assert watch.uses
    assert watch.stale == []


def test_a_table_that_is_not_looked_at_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail."""

    def never(_: Holders) -> dict[str, list[Held]]:
        return {}

    monkeypatch.setattr(Holders, "_others", never)
    watch = Watch(monkeypatch)
    run_seed(Plan(settings=sample("3bmc", groups=3), seconds=100), 1)
    assert watch.stale
