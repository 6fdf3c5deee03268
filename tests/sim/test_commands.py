"""`clpsim` and `clpreplay` as people run them."""

from __future__ import annotations

import json
import re
import zlib
from itertools import combinations
from pathlib import Path

import pytest

from clptools.cli import clpsim
from clptools.core.model import events as e
from clptools.core.model.settings import Settings
from clptools.core.node import Node
from clptools.core.report.journal import MAGIC, Entry, Head, record
from clptools.sim import explore
from clptools.sim.clusters import sample
from clptools.sim.host import Host
from clptools.sim.promises import PROMISES
from clptools.sim.verbs import perform
from clptools.sim.world import World
from tests.cli.conftest import Clp, clp, node
from tests.sim.mutations import mutant

__all__ = ["clp", "node"]

WEAK = ("--sample", "2weak", "--hours", "0.03", "--faults", "cut,isolate,split")


def test_a_safe_cluster_keeps_its_promises(clp: Clp) -> None:
    ran = clp("clpsim", "--sample", "3bmc", "--hours", "0.02", "--seeds", "1:4", "--jobs", "1")
    assert ran.code == 0
    assert "4 runs of 72 s, 3 servers, all faults" in ran.out
    assert "never two        held in every run" in ran.out


def test_one_run_is_one(clp: Clp) -> None:
    ran = clp("clpsim", "--sample", "3bmc", "--hours", "0.01", "--seeds", "1", "--jobs", "1")
    assert ran.out.startswith("1 run of 36 s, 3 servers, ")


def test_what_broke_nothing_is_not_made_smaller(clp: Clp) -> None:
    ran = clp("clpsim", "--sample", "3bmc", "--hours", "0.02", "--seed", "1", "--shrink")
    assert ran.code == 0
    assert ran.out.startswith("Seed 1: every promise held; ")
    assert len(ran.out.splitlines()) == 1


def test_the_contract_of_its_json(clp: Clp) -> None:
    ran = clp("clpsim", "--json", "--hours", "0.01", "--seeds", "1:3", "--jobs", "1")
    told = json.loads(ran.out)
    assert ran.code == 0
    assert told["runs"] == 3
    assert told["violations"] == []
    assert told["simulated_s"] > 100
    assert told["cpu_s"] > 0
    assert set(told["takeover_s"]) == {"p50", "p95", "max"}


def test_a_split_brain_is_found_repeated_and_made_small(clp: Clp) -> None:
    ran = clp("clpsim", "--json", *WEAK, "--seeds", "1:12", "--jobs", "2")
    told = json.loads(ran.out)
    assert ran.code == 9
    found = told["violations"][0]
    assert {"seed", "invariant", "time_s", "group", "servers", "reproduce"} <= set(found)
    assert told["schedule"]["seed"] == found["seed"]
    assert 0 < len(told["schedule"]["lines"]) < 12

    name, *line = found["reproduce"].split()
    again = clp(name, *line)
    assert again.code == 9
    assert f"Broken: {found['invariant']}" in again.out
    assert re.search(r"^ +\d+\.\d{3}  = (cut|isolate|split|deaf|mute)", again.out, re.MULTILINE)


def test_a_fault_of_the_core_is_shown_with_command_and_schedule(
    clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = explore.run_seed, mutant("nooffice")
    monkeypatch.setattr(
        explore,
        "run_seed",
        lambda plan, seed, tell=None: whole(
            plan, seed, make_node=broken, restore_node=broken.restore, tell=tell
        ),
    )
    short = ("--sample", "3lease", "--hours", "0.02", "--faults", "isolate,cut,split")
    ran = clp("clpsim", *short, "--seeds", "1:4", "--jobs", "1")
    assert ran.code == 9
    assert "never two        BROKEN" in ran.out
    seed = re.search(r"Repeat one:  (clpsim .* --seed (\d+)) --explain", ran.out)
    assert seed is not None
    assert f"What breaks it, of the schedule of seed {seed[2]}:" in ran.out
    name, *line = seed[1].split()
    assert clp(name, *line).code == 9


@pytest.mark.parametrize(
    ("line", "mend"),
    [
        (("--sample", "nothing"), "known: 1bmc, "),
        (("--systematic", "--sample", "nothing"), "known: 1bmc, "),
        (("--systematic", "--sample", "large"), "known: 1bmc, "),
        (("--systematic", "--stories", "move,nothing"), "Known: first-start, "),
        (("--systematic", "--stories", ","), "Known: first-start, "),
        (("--systematic", "--sample", "3bmc", "--stories", "push-arbiter"), "an arbiter"),
        (("--seeds", "a:b"), "--seeds 1:100"),
        (("--seeds", "5:1"), "--seeds 1:5"),
        (("--faults", "rain"), "mild, "),
    ],
)
def test_what_it_does_not_understand_it_says(clp: Clp, line: tuple[str, ...], mend: str) -> None:
    ran = clp("clpsim", *line)
    assert (ran.code, ran.out) == (2, "")
    assert mend in ran.err


EXAMPLES = {
    "config": ("--config", "clp.toml"),
    "sample": ("--sample", "3bmc"),
    "hours": ("--hours", "0.01"),
    "faults": ("--faults", "mild"),
    "jobs": ("--jobs", "1"),
    "most": ("--most", "9"),
    "stories": ("--stories", "move"),
    "seed": ("--seed", "1"),
    "seeds": ("--seeds", "1:2"),
    "play": ("--play", "story.txt"),
}


def words_of(name: str) -> tuple[str, ...]:
    return EXAMPLES.get(name, (f"--{name}",))


def test_every_option_says_what_it_goes_with() -> None:
    assert {*clpsim.NEEDS, *clpsim.MODES, "json"} == {x.name for x in clpsim.COMMAND.options}


@pytest.mark.parametrize(
    ("mode", "name"),
    [(m, n) for m in ("", *clpsim.MODES) for n, fit in clpsim.NEEDS.items()
     if (m or "seeds") not in fit],
)  # fmt: skip
def test_an_option_that_would_say_nothing_is_refused(clp: Clp, mode: str, name: str) -> None:
    ran = clp("clpsim", *words_of(name), *(words_of(mode) if mode else ()))
    assert (ran.code, ran.out) == (2, "")
    first, hint = ran.err.splitlines()
    needed = " or ".join(f"--{x}" for x in clpsim.NEEDS[name])
    assert first.startswith(f"clpsim: --{name} needs {needed}")
    assert f"--{mode or clpsim.NEEDS[name][0]}" in hint


@pytest.mark.parametrize(("one", "two"), [*combinations(clpsim.MODES, 2), ("config", "sample")])
def test_two_runs_at_once_are_refused(clp: Clp, one: str, two: str) -> None:
    ran = clp("clpsim", *words_of(one), *words_of(two))
    assert (ran.code, ran.out) == (2, "")
    assert f"--{two} cannot go with --{one}" in ran.err


def test_the_story_of_a_short_schedule_is_told(clp: Clp) -> None:
    ran = clp("clpsim", *WEAK, "--seed", "1", "--shrink", "--explain")
    assert "everything is mended" in ran.out or "VIOLATED" in ran.out


# --- --play ----------------------------------------------------------------------------------

SPLIT = "cluster 2weak\nlog none\nstart\nadvance 5\ncut server1 server2\nadvance 30\n"


def test_a_broken_promise_is_told_with_what_it_promises(clp: Clp, tmp_path: Path) -> None:
    story = tmp_path / "story.txt"
    story.write_text(SPLIT)
    ran = clp("clpsim", "--play", str(story))
    assert ran.code == 9
    assert f"Broken: I1 ({PROMISES['I1']}) failover1 on server1, server2 at" in ran.out
    told = json.loads(clp("clpsim", "--json", "--play", str(story)).out)
    assert {v["invariant"]: v["promise"] for v in told["violations"]}["I1"] == PROMISES["I1"]
    story.write_text(f"{SPLIT}expect I1 AUTH\n")
    assert clp("clpsim", "--play", str(story)).code == 0

    ran = clp("clpsim", *WEAK, "--seeds", "1:12", "--jobs", "1")
    assert f"({PROMISES['I1']})" in ran.out or f"({PROMISES['AUTH']})" in ran.out


@pytest.mark.parametrize(
    ("content", "line", "mend"),
    [
        (b"", 1, "cluster 3bmc"),
        (b"cluster 2bmc\n\nfly server1\n", 3, "known: advance"),
        (b"cluster 2bmc\r\nstart\r\ncut server1\r\n", 3, "cut server1 server2 lankhb1"),
        (b"cluster 2bmc\nstart\n\xff\xfe\x00", 3, "plain text"),
        (b"\x7fELF\x02\x01\x01\x00\n\x00\x00", 1, "cluster 3bmc"),
        (b"#" * 4_000_001, 1, "4,000,000 bytes"),
        (b"cluster config\n", 1, "--config FILE"),
    ],
)
def test_a_wrong_scenario_is_told_as_file_and_line(
    clp: Clp, tmp_path: Path, content: bytes, line: int, mend: str
) -> None:
    story = tmp_path / "story.txt"
    story.write_bytes(content)
    ran = clp("clpsim", "--play", str(story))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"clpsim: {story}:{line}: ")
    assert mend in ran.err


def test_what_cannot_be_read_is_the_systems_word(clp: Clp, tmp_path: Path) -> None:
    ran = clp("clpsim", "--play", str(tmp_path))
    assert (ran.code, ran.err) == (1, f"clpsim: {tmp_path}: Is a directory.\n")
    gone = tmp_path / "gone"
    ran = clp("clpsim", "--play", str(gone))
    assert (ran.code, ran.err) == (1, f"clpsim: {gone}: No such file or directory.\n")


def test_a_scenario_of_a_sample_needs_no_configuration(clp: Clp, tmp_path: Path) -> None:
    story, config = tmp_path / "story.txt", tmp_path / "clp.toml"
    config.write_text("[[server]\n")
    story.write_text("\ufeffcluster 2bmc\nstart\nadvance 3\n")
    assert clp("clpsim", "--play", str(story)).code == 0
    ran = clp("clpsim", "--config", str(config), "--play", str(story))
    assert (ran.code, ran.out) == (2, "")
    assert "cluster config" in ran.err
    story.write_text("cluster config\nstart\n")
    assert clp("clpsim", "--config", str(config), "--play", str(story)).code == 8


# --- clpreplay -------------------------------------------------------------------------------


def segments(
    tmp_path: Path,
    lie: bool = False,
    server: str = "server2",
    fault: str = "off server1",
) -> Path:
    """The journal of a server that lived through a failover, in two segments."""
    settings: Settings = sample("2bmc")
    world = World(settings, 1, Node, Node.restore)
    host: Host = world.hosts[server]
    perform(world, "start")
    folder = tmp_path / "journal"
    folder.mkdir()
    for number, lines in enumerate((["advance 5", fault], ["advance 5"]), start=1):
        head = Head(
            server=server,
            incarnation=host.incarnation,
            number=number,
            now=host.now(world.t),
            wall=1_795_000_000.0 + host.now(world.t) / 1000,
            settings=settings,
            snapshot=host.node.snapshot(),
        )
        kept: list[tuple[int, e.Event]] = []
        step = host.node.step
        host.node.step = lambda event, now, step=step, kept=kept: (
            kept.append((now, event)),
            step(event, now),
        )[1]
        for line in lines:
            perform(world, line)
        host.node.step = step
        if lie:
            kept = kept[:-1]
        stream = record(head) + b"".join(record(Entry(now, event)) for now, event in kept)
        (folder / f"{number}.clpj").write_bytes(MAGIC + zlib.compress(stream))
    return folder


def test_an_incident_is_told_again(clp: Clp, tmp_path: Path) -> None:
    ran = clp("clpreplay", str(segments(tmp_path)))
    assert ran.code == 0
    assert "power off" in ran.out
    assert "failover1" in ran.out
    assert ran.out.splitlines()[-1].endswith("events replayed; the core decides the same again.")


def test_its_json_has_events_and_actions(clp: Clp, tmp_path: Path) -> None:
    told = json.loads(clp("clpreplay", "--json", str(segments(tmp_path))).out)
    assert told["differences"] == []
    assert told["events"] > len(told["steps"]) > 0
    assert {"time", "server", "now", "event", "actions", "text"} <= set(told["steps"][0])


def test_a_journal_that_lacks_something_differs(clp: Clp, tmp_path: Path) -> None:
    ran = clp("clpreplay", str(segments(tmp_path, lie=True)))
    assert ran.code == 9
    assert "begins with another state than the replay arrived at" in ran.out


def test_a_segment_whose_head_a_power_loss_took_is_left_out_and_said(
    clp: Clp, tmp_path: Path
) -> None:
    folder = segments(tmp_path)
    (folder / "00000003.clpj").write_bytes(MAGIC)
    (folder / "00000004.clpj").write_bytes(b"")
    ran = clp("clpreplay", str(folder))
    assert ran.code == 0
    assert "left out: " in ran.out and "00000003.clpj: empty" in ran.out
    assert ran.out.splitlines()[-1].endswith("the core decides the same again.")


def test_a_damaged_journal_is_not_passed_as_good(clp: Clp, tmp_path: Path) -> None:
    folder = segments(tmp_path)
    whole = json.loads(clp("clpreplay", "--json", str(folder)).out)
    assert whole["left_out"] == []
    first = folder / "1.clpj"
    good = first.read_bytes()
    at = len(good) * 3 // 4
    first.write_bytes(good[:at] + bytes(byte ^ 0xFF for byte in good[at : at + 4]) + good[at + 4 :])

    ran = clp("clpreplay", str(folder))
    assert ran.code == 9
    assert re.search(rf"^DAMAGED: {first}: .*(byte|record) [\d,]+", ran.out, re.MULTILINE)
    assert ran.out.splitlines()[-1].endswith("but events are missing.")
    told = json.loads(clp("clpreplay", "--json", str(folder)).out)
    [left] = told["left_out"]
    assert (left["file"], left["damaged"]) == (str(first), True)
    # What stands before the damage is told, and so is the other segment.
    assert 0 < told["events"] < whole["events"]
    assert told["steps"][-1] == whole["steps"][-1]


def test_damage_anywhere_is_told_with_the_file_and_the_place(clp: Clp, tmp_path: Path) -> None:
    folder = segments(tmp_path)
    first = folder / "1.clpj"
    good = first.read_bytes()
    for at in range(0, len(good) - 8, len(good) // 40):
        spoilt = bytes(byte ^ 0x5A for byte in good[at : at + 4])
        first.write_bytes(good[:at] + spoilt + good[at + 4 :])
        ran = clp("clpreplay", str(folder))
        assert (ran.code, ran.err) == (9, ""), at
        assert f"DAMAGED: {first}: " in ran.out or "DIFFERS: " in ran.out


def test_a_segment_that_a_power_loss_cut_short_is_not_damaged(clp: Clp, tmp_path: Path) -> None:
    folder = segments(tmp_path)
    last = folder / "2.clpj"
    cut = last.read_bytes()[:-200]
    # Some file systems fill up with zeros what was not written in time.
    for tail in (b"", bytes(4096)):
        last.write_bytes(cut + tail)
        told = json.loads(clp("clpreplay", "--json", str(folder)).out)
        assert told["left_out"] == told["differences"] == []
        assert told["events"] > 0


def test_no_journal_is_said(clp: Clp, tmp_path: Path) -> None:
    assert clp("clpreplay", str(tmp_path)).code == 5
    bad = tmp_path / "bad"
    bad.write_bytes(b"something else")
    assert clp("clpreplay", str(bad)).code == 1


def test_the_story_leaves_the_noise_to_all(clp: Clp, tmp_path: Path) -> None:
    folder = segments(tmp_path)
    story = clp("clpreplay", str(folder)).out.splitlines()
    whole = clp("clpreplay", "--all", str(folder)).out.splitlines()
    assert len(story) * 10 < len(whole)
    text = "\n".join(story)
    assert "server1 was last heard" in text
    assert "(coordinator) granted epoch" in text
    assert "set-timer" not in text and "persist" not in text


def policy(tmp_path: Path, more: str = "", servers: int = 2) -> Path:
    """`2bmc` as a file, and `more` in its group."""
    names = [f"server{n + 1}" for n in range(servers)]
    text = '[cluster]\nstartup_wait = 60\n[forced_stop]\naction = "power-off"\ntimeout = 10\n'
    for n, name in enumerate(names):
        text += f'[[server]]\nname = "{name}"\n[server.bmc]\naddress = "192.168.0.{11 + n}"\n'
        text += 'user = "clp"\n'
    there = ", ".join(f'{name} = "10.0.0.{n + 1}"' for n, name in enumerate(names))
    text += f'[[interconnect]]\ntype = "lankhb"\naddress = {{ {there} }}\n'
    text += f'[[group]]\nname = "failover1"\nservers = {json.dumps(names)}\n{more}'
    text += '[[group.resource]]\ntype = "exec"\nname = "exec1"\ntimeout = 10\n'
    file = tmp_path / "new.toml"
    file.write_text(text)
    return file


def test_another_policy_would_have_decided_otherwise(clp: Clp, tmp_path: Path) -> None:
    folder = segments(tmp_path)
    by_hand = str(policy(tmp_path, 'failover = "manual"\n'))
    ran = clp("clpreplay", str(folder), "--with-config", by_hand)
    assert ran.code == 9, ran.err
    assert "\n  = The BMC of server1 read power off.\n" in ran.out
    assert "\n  - server2 (coordinator) granted epoch 2 of failover1 to server2" in ran.out
    assert "\n  + failover1 waits for an operator: failover of failover1 is manual" in ran.out
    told = json.loads(clp("clpreplay", "--json", str(folder), "--with-config", by_hand).out)
    assert told["differs"] and any("granted" in line for line in told["first"]["decided"])
    assert not any("granted" in line for line in told["first"]["would"])


def test_two_copies_that_a_guess_would_make_are_no_news(clp: Clp, tmp_path: Path) -> None:
    """server2 runs the group as it did, and the other policy would have left it on server1."""
    folder = segments(tmp_path, server="server1", fault="trap server1 mrw1 FATAL cpu1")
    mrw1 = """
[[monitor]]
type = "mrw"
name = "mrw1"
category = "BMCNOTICE"
keyword_on = { server1 = "10.0.0.1", server2 = "10.0.0.2" }
community = ["public"]
[monitor.recovery]
action = "restart"
target = "failover1"
"""
    file = policy(tmp_path)
    file.write_text(file.read_text() + mrw1)
    ran = clp("clpreplay", str(folder), "--with-config", str(file))
    assert ran.code == 9, ran.err
    assert "+ mrw1 on server1 went Normal -> Error; its recovery is: restart failover1." in ran.out
    assert "server2" in ran.out
    assert "at once" not in ran.out


def test_the_same_policy_decides_the_same(clp: Clp, tmp_path: Path) -> None:
    ran = clp("clpreplay", str(segments(tmp_path)), "--with-config", str(policy(tmp_path)))
    assert "would have decided the same" in ran.out, ran.out
    assert ran.code == 0


def test_another_set_of_servers_is_refused_with_what_can_be_done(clp: Clp, tmp_path: Path) -> None:
    file = policy(tmp_path, servers=3)
    ran = clp("clpreplay", str(segments(tmp_path)), "--with-config", str(file))
    assert ran.code == 6
    assert f"Rehearse it: clpsim --config {file}" in ran.err


def test_where_no_journal_is_the_place_is_named(clp: Clp, tmp_path: Path) -> None:
    for words in ((str(tmp_path / "gone"),), ("--with-config", str(policy(tmp_path)))):
        ran = clp("clpreplay", *words)
        assert (ran.code, ran.out) == (5, "")
        assert "no journal there." in ran.err and "clpreplay FOLDER" in ran.err
