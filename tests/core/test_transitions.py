"""Tables of states: closed, reachable, and asked by what runs."""

from __future__ import annotations

from typing import Any

import pytest

from clptools.core.model.states import GrantStage, GroupState, Office
from clptools.core.model.transitions import (
    GROUP,
    OFFICE,
    TABLES,
    GroupChange,
    OfficeChange,
    Transitions,
    UnknownTransition,
)
from clptools.sim.clusters import sample
from clptools.sim.explore import Plan, run_seed

_ENDS = {GrantStage.DONE, GrantStage.VOID}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.what))
def test_every_state_can_be_reached_and_left_and_every_change_happens(
    table: Transitions[Any, Any],
) -> None:
    first, change = next(iter(table.table))
    states, changes = type(first), type(change)
    reached = {first}
    for _ in states:
        reached |= {to for (state, _), to in table.table.items() if state in reached}
    assert reached == set(states)
    assert {state for state, _ in table.table} == set(states) - _ENDS
    assert {change for _, change in table.table} == set(changes)


def test_what_the_table_has_not_is_a_bug() -> None:
    with pytest.raises(UnknownTransition, match="group: online, and then: a grant is taken"):
        GROUP.after(GroupState.ONLINE, GroupChange.GRANTED)
    with pytest.raises(UnknownTransition, match="election: none, and then: enough gave"):
        OFFICE.after(Office.NONE, OfficeChange.ELECTED)


def test_random_runs_ask_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What usually happens is asked there; a pair that is not listed would end the run."""
    seen: set[tuple[str, str]] = set()
    after = Transitions.after

    def watched(self: Transitions[Any, Any], state: Any, change: Any) -> Any:
        to = after(self, state, change)
        seen.add((self.what, to))
        return to

    monkeypatch.setattr(Transitions, "after", watched)
    for seed in range(1, 13):
        name = ("2bmc", "3lease", "3bmc")[seed % 3]
        run_seed(Plan(settings=sample(name, resources=2), seconds=120.0), seed)
    usual = {"group": 4, "election": 4, "grant": 3, "watchdog": 2, "contact": 2}
    for what, states in usual.items():
        assert sum(1 for table, _ in seen if table == what) >= states, what
