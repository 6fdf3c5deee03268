"""The laboratory's own arithmetic, and that every case asks for a valid configuration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clptools.config.load import load
from clptools.registries import registries
from lab import report
from lab.__main__ import known, title
from lab.cluster import sample
from lab.collector import Word, longest_gap, overlaps, runs
from lab.places import SOURCE
from tests.bench import whole
from tests.bench.report import FILE

CASES = known()


def words(*said: tuple[float, str, str]) -> list[Word]:
    """(time, server, run) each."""
    return [
        Word(at=at, kind="beat", server=s, run=r, number=n) for n, (at, s, r) in enumerate(said)
    ]


def test_two_servers_heard_at_one_time_are_an_overlap() -> None:
    apart = words((1, "server1", "a"), (2, "server1", "a"), (3, "server2", "b"))
    assert overlaps(apart) == []
    assert [run.server for run in runs(apart)] == ["server1", "server2"]
    late = [*apart, *words((4, "server1", "a"))]
    assert [(one.server, two.server) for one, two in overlaps(late)] == [("server1", "server2")]


def test_a_start_anew_on_the_same_server_is_no_overlap() -> None:
    assert overlaps(words((1, "server1", "a"), (2, "server1", "b"), (3, "server1", "a"))) == []


def test_the_gap_is_the_longest_silence_the_first_and_the_last_included() -> None:
    said = words((1, "server1", "a"), (4, "server2", "b"), (5, "server2", "b"))
    assert longest_gap(said, 0, 6).seconds == 3
    assert longest_gap(said, 0, 9).since == 5
    assert longest_gap(said, -4, 6).since == -4


@pytest.mark.parametrize("name", CASES)
def test_every_case_has_a_title_and_a_valid_configuration(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    assert title(case) and callable(case.run)
    file = tmp_path / "clp.toml"
    file.write_text(getattr(case, "CONFIG", sample()))
    scripts = tmp_path / "scripts/failover1/exec1"
    scripts.mkdir(parents=True)
    for script in ("start.sh", "stop.sh"):
        (scripts / script).symlink_to(Path(__file__).parents[2] / "lab/guest" / script)
    loaded = load(str(file), registries())
    assert loaded.settings is not None, loaded.reports


TITLES = {name: title(case) for name, case in CASES.items()}


def test_a_case_that_did_not_run_here_keeps_its_row() -> None:
    page = (SOURCE / "lab/RESULTS.md").read_text()
    before = report.rows_before(page)
    assert before.keys() <= TITLES.keys()
    ran = report.Result(
        case="boot",
        title=TITLES["boot"],
        outcome="passed",
        proof="",
        gap_s=0.5,
        took_s=60.0,
        figures={},
        when="2026-12-24 18:00",
        load=1.0,
    )
    after = report.table([ran], TITLES, None, page)
    rows = report.rows_before(after)
    assert rows == {**before, "boot": rows["boot"]}
    assert rows["boot"].endswith("| 0.50 s |  | 2026-12-24 18:00, 1.0 |")
    assert re.findall("The last whole run .*?UTC", after) == re.findall(
        "The last whole run .*?UTC", page
    )
    assert report.table([ran], TITLES, None, after) == after


def test_measurements_of_cases_that_did_not_run_here_are_kept() -> None:
    rows = whole.kept(FILE.read_text(), TITLES)
    assert len(rows) > 40
    assert set(rows) <= TITLES.keys()
    for row in (*rows.values(), *whole.kept_whole_run(FILE.read_text())):
        verdict = "met" if row.met else "**missed**"
        assert f"| {row.measured} | {row.target} | {verdict} |" in FILE.read_text()
