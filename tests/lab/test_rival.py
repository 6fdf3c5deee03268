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
from lab.rival.duel import TUNINGS, Duel, Round
from lab.rival.pacemaker import Pacemaker, Tuning
from tests.bench.rival import rows

SERVERS = [SimpleNamespace(number=number, name=f"server{number}") for number in (1, 2)]


def pacemaker(tuning: Tuning) -> Pacemaker:
    return Pacemaker(cast(Any, SimpleNamespace(servers=SERVERS)), tuning)


def value(cib: ElementTree.Element, name: str) -> str:
    """A property or parameter by the id of its `nvpair`."""
    found = cib.find(f".//nvpair[@id='{name}']")
    assert found is not None
    return found.get("value", "")


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


def fought(**gaps: list[float]) -> Duel:
    rounds = [
        Round(contender=name, silence_s=3, gap_s=gap, steps={"forced stop done": gap - 1})
        for name, each in gaps.items()
        for gap in each
    ]
    return Duel(fault="panic", when="2026-11-26 15:00", load=1.0, rounds=tuple(rounds))


def test_ours_is_ahead_only_if_its_median_is_shorter_than_that_of_every_pacemaker() -> None:
    ahead, slow, _ = rows(fought(clptools=[2, 9, 2.5], slow=[8, 9, 7], quick=[3, 4, 3.5]))
    assert ahead.met is True and ahead.measured == (
        "median 2.50 s, longest 9.00 (n = 3); forced stop done 1.5"
    )
    assert slow.met is None
    behind, *_ = rows(fought(clptools=[5, 5, 5], slow=[8, 9, 7], quick=[3, 4, 3.5]))
    assert behind.met is False


def test_only_equal_time_outs_are_compared() -> None:
    fast = Round(contender="pacemaker, token 1 s", silence_s=1, gap_s=3, steps={})
    slow = Round(contender="pacemaker, token 3 s", silence_s=3, gap_s=9, steps={})
    ours = Round(contender="clptools", silence_s=3, gap_s=5, steps={})
    of = Duel(fault="panic", when="", load=1.0, rounds=(ours, fast, slow))
    assert [row.met for row in rows(of)] == [True, None, None]


def test_rounds_are_kept_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLPTOOLS_LAB_REPORTS", str(tmp_path))
    assert duel.load("rival-panic") is None
    duel.save("rival-panic", fought(clptools=[2]))
    assert duel.load("rival-panic") == fought(clptools=[2])
