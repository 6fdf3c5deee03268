"""The comparison with corosync and pacemaker is fair, and says honestly who was quicker."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from lab.rival import duel
from lab.rival.contender import Clptools
from lab.rival.duel import TUNINGS, Duel, Round
from lab.rival.pacemaker import Pacemaker, Tuning
from tests.bench.rival import rows

SERVERS = [SimpleNamespace(number=number, name=f"server{number}") for number in (1, 2)]


def pacemaker(tuning: Tuning) -> Pacemaker:
    return Pacemaker(cast(Any, SimpleNamespace(servers=SERVERS)), tuning)


def value(cib: ElementTree.Element, name: str) -> str:
    """A property or parameter by the id of its `nvpair`; not there: none."""
    found = cib.find(f".//nvpair[@id='{name}']")
    return "0s" if found is None else found.get("value", "")


@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda tuning: tuning.name)
def test_the_two_servers_of_pacemaker_never_shoot_each_other_at_once(tuning: Tuning) -> None:
    cib = ElementTree.fromstring(pacemaker(tuning).cib())
    priority = value(cib, "o3")
    delays = [value(cib, f"fence-server{n}-delay") for n in (1, 2)]
    assert priority != "0s" or delays[0] != delays[1]


@pytest.mark.parametrize("tuning", TUNINGS[:2], ids=lambda tuning: tuning.name)
def test_the_survivor_of_the_first_server_fences_without_delay(tuning: Tuning) -> None:
    cib = ElementTree.fromstring(pacemaker(tuning).cib())
    home = cib.find(".//rsc_location[@id='home']")
    assert home is not None and home.get("node") == "server1"
    assert value(cib, "fence-server1-delay") == "0s"
    assert value(cib, "o3") == "0s"


@pytest.mark.skipif(shutil.which("crm_verify") is None, reason="pacemaker is not installed")
@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda tuning: tuning.name)
def test_pacemaker_takes_its_configuration(tuning: Tuning, tmp_path: Path) -> None:
    file = tmp_path / "cib.xml"
    file.write_text(pacemaker(tuning).cib())
    done = subprocess.run(["crm_verify", "-V", "-x", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_token_is_the_one_that_the_results_name() -> None:
    for tuning in TUNINGS:
        assert f"token: {tuning.token_ms}\n" in pacemaker(tuning).corosync()
        assert f"token {tuning.token_ms / 1000:g} s" in tuning.name


OURS_3, OURS_1 = Clptools.called(3.0), Clptools.called(1.0)
RIVAL_3, RIVAL_1, RIVAL_LATE = (tuning.called for tuning in TUNINGS)
SILENCE = {OURS_3: 3.0, OURS_1: 1.0, RIVAL_3: 3.0, RIVAL_1: 1.0, RIVAL_LATE: 1.0}


def rounds(contender: str, *gaps: float) -> list[Round]:
    return [
        Round(
            contender=contender,
            silence_s=SILENCE[contender],
            gap_s=gap,
            steps={"forced stop done": gap - 1},
            when="2026-11-26 15:00",
            load=1.0,
            nice=0,
        )
        for gap in gaps
    ]


def fought(**gaps: list[float]) -> Duel:
    """By the names of the constants above."""
    each = [r for name, found in gaps.items() for r in rounds(globals()[name], *found)]
    return Duel(fault="panic", rounds=tuple(each))


def test_ours_is_ahead_only_if_its_median_is_shorter_than_that_of_every_pacemaker() -> None:
    ahead, quick, late = rows(fought(OURS_1=[2, 9, 2.5], RIVAL_1=[3, 4, 3.5], RIVAL_LATE=[8, 9, 7]))
    assert ahead.met is True and ahead.measured == (
        "median 2.50 s, longest 9.00 (n = 3); forced stop done 1.5"
    )
    assert quick.met is None and late.met is None
    behind, *_ = rows(fought(OURS_1=[5, 5, 5], RIVAL_1=[3, 4, 3.5], RIVAL_LATE=[8, 9, 7]))
    assert behind.met is False


def test_only_equal_time_outs_are_compared() -> None:
    found = rows(fought(RIVAL_1=[3], RIVAL_3=[9], OURS_3=[5]))
    assert [(row.what, row.met) for row in found] == [
        (f"panic: {OURS_3}", True),
        (f"panic: {RIVAL_3}", None),
        (f"panic: {RIVAL_1}", None),
    ]


def test_new_rounds_take_the_place_of_those_of_the_same_contender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLPTOOLS_LAB_REPORTS", str(tmp_path))
    assert duel.load("rival-panic") is None
    duel.keep("rival-panic", "panic", rounds(OURS_3, 4, 5))
    duel.keep("rival-panic", "panic", rounds(RIVAL_3, 9))
    duel.keep("rival-panic", "panic", rounds(OURS_3, 3))
    found = duel.load("rival-panic")
    assert found is not None
    assert [each.gap_s for each in found.of(OURS_3)] == [3]
    assert [each.gap_s for each in found.of(RIVAL_3)] == [9]
