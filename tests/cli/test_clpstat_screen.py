"""`clpstat --watch`: what stands on the screen at usual and at small sizes."""

from __future__ import annotations

import pytest

from clptools.cli.json_types import ConditionJson
from clptools.cli.render.screen import Line, Size, frame, text_frame
from tests.cli import clpstat_samples as samples

NORMAL = Size(80, 24)
SMALL = Size(40, 10)
EVENTS = [
    samples.event("server2 has started fip1, exec1 (0.2 s).", 90),
    samples.event("mrw1 on server2 went Normal -> Stall: drive slot 3.", 35, "WARN"),
]


def text(lines: list[Line]) -> list[str]:
    """The characters on the screen."""
    return ["".join(piece for piece, _ in line).rstrip() for line in lines]


def test_the_screen_of_a_drive_about_to_fail() -> None:
    screen = text(frame(samples.stall(), EVENTS, NORMAL, samples.NOW))
    assert len(screen) == 24
    assert max(map(len, screen)) <= 80
    assert screen[0].startswith(" cluster  Caution")
    assert "coordinator server1" in screen[0] and "quorum 2/2" in screen[0]
    assert screen[1].startswith(" SERVER") and "HEARTBEATS (age ms)" in screen[1]
    assert screen[2].startswith("*server1  Online") and "lankhb1  40" in screen[2]
    assert screen[3].startswith(" server2  Online") and screen[3].endswith("1 predictive")
    assert screen[5].startswith(" failover1 Online") and screen[5].endswith("2 d 03:11")
    assert "fip1 ok  exec1 ok" in screen[5]
    assert " ".join(screen[8].split()) == (
        "mrw1 Caution Normal Stall drive slot 3: predictive failure"
    )
    assert screen[9] == " LAST"
    assert screen[10].endswith("mrw1 on server2 went Normal -> Stall: drive slot 3.")
    assert screen[11].endswith("server2 has started fip1, exec1 (0.2 s).")
    assert screen[23] == " [q]uit  [e]xplain  [h]ardware  [f]ilter  [p]ause"


@pytest.mark.parametrize("count", [1, 2, 32])
@pytest.mark.parametrize("size", [NORMAL, SMALL, Size(132, 50), Size(20, 4), Size(1, 1)])
def test_it_fits_every_size(count: int, size: Size) -> None:
    screen = frame(samples.many(count), EVENTS, size, samples.NOW)
    assert len(screen) == max(size.lines, 1)
    assert all(len(line) <= size.columns for line in text(screen))


def test_what_does_not_fit_is_counted_and_the_bad_comes_first() -> None:
    found = samples.many(32)
    found["servers"][30]["status"] = "Offline"
    screen = text(frame(found, EVENTS, NORMAL, samples.NOW))
    assert any(line.startswith(" server31") for line in screen)
    assert any("more, all well" in line for line in screen)
    small = text(frame(found, EVENTS, SMALL, samples.NOW))
    assert any(line.startswith(" server31") for line in small)


def test_the_filter_leaves_what_is_not_well() -> None:
    screen = text(frame(samples.stall(), [], NORMAL, samples.NOW, only_bad=True))
    assert any(line.startswith(" mrw1") for line in screen)
    assert not any(line.startswith((" userw", " failover1", "*server1")) for line in screen)
    assert "not well only" in screen[-1]


def test_why_a_server_is_caution_stands_there() -> None:
    found = samples.status()
    edit = "clp.toml was edited and not pushed: revision 3 is in force"
    condition: ConditionJson = {
        "name": "configuration",
        "text": edit,
        "mend": "See it.",
        "monitors": [],
        "since_s": 9.0,
    }
    found["servers"][1]["status"] = "Caution"
    found["servers"][1]["conditions"] = [condition]
    screen = text(frame(found, EVENTS, NORMAL, samples.NOW))
    assert f"  server2: {edit}" in screen
    assert screen[1].startswith("  server2: ") and screen[-1].startswith(" [q]uit")


def test_notes_that_do_not_fit_are_counted_and_take_no_server_away() -> None:
    found = samples.status()
    for server in found["servers"]:
        server["status"] = "Caution"
        server["conditions"] = [
            ConditionJson(
                name=f"c{n}", text=f"disk {n} of it hangs", mend="dmesg", monitors=[], since_s=1.0
            )
            for n in range(6)
        ]
    lines = text(frame(found, [], Size(60, 20), samples.NOW))
    assert any(line.startswith("*server1") for line in lines)
    assert any(line.startswith(" server2") for line in lines)
    told = [n for n, line in enumerate(lines) if "hangs" in line]
    assert lines[told[-1] + 1] == f"  ... {12 - len(told)} more lines: clpstat -s"
    tiny = text(frame(found, [], Size(60, 10), samples.NOW))
    assert not any("hangs" in line for line in tiny)


def test_a_waiting_group_says_for_what() -> None:
    screen = text(frame(samples.waits(), [], NORMAL, samples.NOW))
    (row,) = [line for line in screen if line.startswith(" failover1")]
    assert "waits for proof that it is down on" in row and row.endswith("00:00:35")


def test_a_group_that_runs_twice_says_where() -> None:
    twice = samples.group("server2", status="Error", copies=("server1", "server2"))
    found = samples.status(groups=(twice,))
    for only_bad in (False, True):
        screen = text(frame(found, [], NORMAL, samples.NOW, only_bad=only_bad))
        (row,) = [line for line in screen if line.startswith(" failover1")]
        assert "Error" in row and "RUNS TWICE: on server1 and server2" in row


def test_stretched_time_outs_are_said_and_an_older_agent_says_nothing() -> None:
    view = samples.status()
    view["cluster"]["toratio"] = 3
    (line, *_) = text(frame(view, [], NORMAL, samples.NOW))
    assert line.startswith(" cluster  Normal, time-outs x3")
    del view["cluster"]["toratio"]  # type: ignore[misc]  # as it was before there was such a key
    (line, *_) = text(frame(view, [], NORMAL, samples.NOW))
    assert line.startswith(" cluster  Normal        coordinator")


def test_the_loss_of_the_agent_is_said_and_the_last_view_stays() -> None:
    lost = "no node agent answers (12 s): trying again"
    screen = text(frame(samples.stall(), [], NORMAL, samples.NOW, lost=lost))
    assert screen[0] == f" cluster  {lost}"
    assert screen[3].startswith(" server2")


def test_a_text_that_is_longer_than_the_screen_says_so() -> None:
    screen = text(text_frame("failover1", "\n".join("abcdefghijkl"), SMALL, samples.NOW))
    assert len(screen) == 10
    assert screen[0].startswith(" failover1")
    assert screen[-2] == " ... 5 more lines: enlarge the terminal"


def test_on_a_narrow_screen_nothing_is_cut_without_a_mark() -> None:
    narrow = Size(60, 20)
    screen = text(frame(samples.stall(), EVENTS, narrow, samples.NOW))
    assert screen[0].startswith(" cluster  Caution  coordinator server1  quorum 2/2")
    assert screen[1].endswith("HARDWARE")
    assert screen[3].startswith(" server2  Online")
    assert screen[3].endswith("1 predictive")
    assert all(len(line) <= 60 for line in screen)
    (told,) = [line for line in screen if "Normal -> Stall" in line]
    assert told.endswith(("drive slot 3.", "…"))


@pytest.mark.parametrize("size", [NORMAL, Size(60, 20), Size(132, 50)])
def test_the_header_of_a_suspended_cluster_does_not_run_together(size: Size) -> None:
    view = samples.status()
    view["cluster"]["suspended"] = True
    view["cluster"]["suspended_by"] = "anna (on server2)"
    view["cluster"]["toratio"] = 3
    (line, *_) = screen = text(frame(view, [], size, samples.NOW))
    assert len(line) <= size.columns
    assert "suspended, time-outs x3" in line
    assert any("suspended by anna (on server2)" in told for told in screen)
    after = line.partition("time-outs x3")[2]
    assert not after or after.startswith(" ") or line.endswith("…")
