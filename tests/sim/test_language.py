"""The language of scenarios: tables read every word, and a wrong one is told with its line."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from random import Random

import pytest

from clptools.cli.pages.docs import SECTIONS
from clptools.core.node import Node
from clptools.sim import clusters, scenario
from clptools.sim.faults import KINDS, schedule
from clptools.sim.hardware_verbs import BMC_WAYS
from clptools.sim.promises import PROMISES
from clptools.sim.request_verbs import REQUESTS
from clptools.sim.revise import REVISIONS
from clptools.sim.scenario import CLUSTER_KEYS, FRAME, WORLD_KEYS
from clptools.sim.verbs import VERBS, perform
from clptools.sim.words import BadLine
from clptools.sim.world import World

ROOT = Path(__file__).parent.parent.parent
SCENARIOS = ROOT / "tests" / "scenarios"


def play(text: str) -> World:
    return scenario.play(text, Node, Node.restore)


def fault(text: str) -> BadLine:
    with pytest.raises(BadLine) as caught:
        play(text)
    return caught.value


def first_cells() -> list[str]:
    """What stands first in each row of the page, as it would be typed."""
    page = (ROOT / "docs" / "scenarios.md").read_text()
    return [
        cell.replace("\\|", "|").split()[0] for cell in re.findall(r"^\| `([^`]+)` \|", page, re.M)
    ]


def test_the_page_has_every_word_that_is_known_and_no_other() -> None:
    known = [*FRAME, *CLUSTER_KEYS, *WORLD_KEYS, *VERBS, *BMC_WAYS, *REQUESTS, *REVISIONS]
    assert sorted(first_cells()) == sorted(known)
    assert sorted(" ".join(names for _, names in SECTIONS).split()) == sorted(VERBS)


def test_each_word_is_written_as_it_says() -> None:
    for table in (VERBS, BMC_WAYS, REQUESTS, REVISIONS, FRAME):
        for name, word in table.items():
            assert word.usage.split()[0] == name
            assert word.does.endswith(".")
    for name, verb in VERBS.items():
        assert verb.example.split()[0] == name


def test_keys_of_a_cluster_are_those_of_the_samples() -> None:
    taken = inspect.signature(clusters.sample).parameters
    assert set(CLUSTER_KEYS) == {n for n, p in taken.items() if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize("name", [*BMC_WAYS])
def test_every_way_of_a_bmc_is_played(name: str) -> None:
    words = {"slow": "2", "restart": "2 silent", "swapped": "server2", "fence-late": "2"}
    words["fence-busy"] = "2"
    play(f"cluster 2bmc\nstart\nbmc server1 {name} {words.get(name, '')}\nadvance 1")


@pytest.mark.parametrize("name", [*REQUESTS])
def test_every_request_is_played(name: str) -> None:
    words = {
        "move": "failover1 server2 force",
        "stretch": "2 30",
        "confirm-down": "server2 mistaken",
        "force-stop": "server2",
        "outdate": "exec1 server2",
        "in-sync": "exec1 server2",
        "service-stop": "* restart",
        "service-start": "server2",
        "notice": "RAID sda",
        "clear": "RAID",
        "acknowledge": "mrw1",
        "cancel": "failover1",
        "suspend-monitor": "mrw1 genw1",
        "start-resource": "exec1",
        "stop-resource": "exec1 force",
    }
    play(f"cluster 2bmc\nstart\nadvance 5\nrequest server1 {name} {words.get(name, '')}\nadvance 1")


@pytest.mark.parametrize("name", [*REVISIONS])
def test_every_revision_is_played(name: str) -> None:
    words = {
        "remove": "server3",
        "add": "server3",
        "remove-group": "failover1",
        "add-group": "failover1",
        "group-servers": "failover1 server2 server1",
        "leases": "2 4 30",
        "timeouts": "0.5 4",
        "userw": "guard",
        "bmc": "server2 192.168.0.13",
        "forced-stop": "none",
        "start-after": "failover1",
        "exclusive": "failover1 absolute",
    }
    play(f"cluster 3bmc\nstart\nadvance 5\nrevise server1 {name} {words.get(name, '')} -nobody")


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("", 1, "a scenario begins with its cluster"),
        ("# only\n\n# words\n", 4, "an example: cluster 3bmc"),
        ("start\n", 1, "a scenario begins with its cluster"),
        ("cluster\n", 1, "NAME is missing"),
        ("cluster 77bmc\n", 1, "no such sample cluster; known: 1bmc"),
        (
            "cluster 2bmc\nstart\nrevise server1 start-after failover1 failover1\n",
            3,
            "wait for itself",
        ),
        ("cluster config\n", 1, "--config FILE"),
        ("cluster 2bmc lease_s=soon\n", 1, "lease_s: soon is not a number from 0.2 to 3,600"),
        ("cluster 2bmc lease_s=0\n", 1, "not a number from 0.2"),
        ("cluster 2bmc groups=1.5\n", 1, "not a whole number from 1 to 64"),
        ("cluster 2bmc lease=3\n", 1, "keys: groups"),
        ("cluster 2bmc final_action=explode\n", 1, "known: none stop-group"),
        ("cluster 2bmc\nstart\n\n\ncluster 3bmc\n", 5, "a second cluster"),
        ("cluster 2bmc\nexpect I99\n", 2, "no such promise; known: I1 AUTH"),
        ("cluster 2bmc\nstart\n----\nshown\nshown\n\nadvance nan\n", 7, "nan is not a number"),
        ("cluster 2bmc\nadvance inf\n", 2, "inf is not a number from 0 to 31,536,000"),
        ("cluster 2bmc\nadvance -1\n", 2, "-1 is not a number"),
        ("cluster 2bmc\nadvance 1 2\n", 2, "2: one word too many; usage: advance SECONDS"),
        ("cluster 2bmc\noff server3\n", 2, "server3: no such server; known: server1 server2"),
        ("cluster 2bmc\ncut server1\n", 2, "server is missing; usage: cut SERVER SERVER"),
        ("cluster 2bmc\ncut server1 server2 lan7\n", 2, "known: lankhb1"),
        ("cluster 2bmc\nstart 'server1\n", 2, "no closing quotation"),
        ("cluster 2bmc\nfly\n", 2, "fly: no such verb; known: advance"),
        ("cluster 2bmc\nbmc server1 explode\n", 2, "known: dead slow"),
        ("cluster 2bmc\nscript server1 exec9 stop fails\n", 2, "known: * exec1"),
        ("cluster 2bmc\ntrap server1 mrw1 DEADLY cpu1\n", 2, "known: FATAL"),
        ("cluster 2bmc\ntrap server1 mrw9 FATAL cpu1\n", 2, "no such monitor"),
        ("cluster 2bmc\nuntil failover9 any 3\n", 2, "no such group"),
        ("cluster 2bmc\nrequest server1 dance\n", 2, "known: move"),
        ("cluster 2bmc\nrequest server1 stretch 0\n", 2, "from 1 to 10,000"),
        ("cluster 2bmc\nrevise server1 dance\n", 2, "known: same"),
        ("cluster 2bmc\nrevise server1 leases 1 inf 3\n", 2, "SELF-STOP: inf"),
        ("cluster 2bmc\nsettle down\n", 2, "usage: settle [aided]"),
        ("cluster 2bmc\nkill @somebody\n", 2, "not @coordinator or @holder"),
        ("cluster 2bmc\nbefore server1 1 advance 5\n", 2, "no such verb of a fault"),
        ("cluster 2bmc\nupon server1 fence 1 advance 5\n", 2, "no such verb between two actions"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_its_mend(text: str, line: int, told: str) -> None:
    error = fault(text)
    assert told in str(error)
    assert error.line == line


@pytest.mark.parametrize(
    "place", ["before server1 3", "after server1 2+0.5", "upon server1 send-beat 1"]
)
def test_what_comes_later_is_told_of_the_line_that_it_is_from(place: str) -> None:
    error = fault(f"cluster 2bmc\n{place} cut server1 serverX\nstart\nadvance 8\n")
    assert "serverX: no such server" in str(error)
    assert error.line == 2


def test_lines_are_counted_as_editors_do() -> None:
    assert fault("cluster 2bmc\n# a\u2028b\x0cc\x1cd\nfly\n").line == 3


def test_what_a_message_repeats_is_short_and_does_nothing_to_a_terminal() -> None:
    told = str(fault("cluster 2bmc\nstart " + "x\x1b[2J" * 1000 + "\n"))
    assert told.isprintable()
    assert len(told) < 600


JUNK = (
    "", "nan", "inf", "-1", "0", "1e9", "99999999999999999999", "server9", "'", '"', "\x00", "#",
    "@holder", "@nobody", "-", "any", "force", "*", "a=b", "groups=0", "1+", "+", "1+nan", "cut",
    "before", "----", "cluster",
)  # fmt: skip


def spoilt(rng: Random, text: str) -> str:
    """The same with one to three mistakes, as people and editors make them."""
    lines = text.split("\n")
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        words = lines[at].split(" ")
        word = rng.randrange(len(words))
        match rng.randrange(6):
            case 0:
                words.pop(word)
            case 1:
                words[word] = rng.choice(JUNK)
            case 2:
                words.insert(word, rng.choice(JUNK))
            case 3:
                words[word] = rng.choice(rng.choice(lines).split(" "))
            case 4:
                letter = rng.randrange(len(lines[at]) + 1)
                changed = lines[at][:letter] + chr(rng.randrange(1, 300)) + lines[at][letter + 1 :]
                words = changed.split(" ")
            case _:
                rng.shuffle(words)
        lines[at] = " ".join(words)
    return "\n".join(lines)


EVERY_VERB = "\n".join(["cluster 3bmc", *(verb.example for verb in VERBS.values())])


@pytest.mark.parametrize("name", ["", "kill-agent", "trap-failover", "move", "suspend"])
def test_a_file_with_mistakes_is_played_or_told_with_its_line(name: str) -> None:
    text = (SCENARIOS / f"{name}.txt").read_text() if name else EVERY_VERB
    told = 0
    for seed in range(30):
        try:
            play(spoilt(Random(f"{name} {seed}"), text))
        except BadLine as error:
            assert error.line > 0
            assert str(error).isprintable()
            told += 1
    assert told > 3


def test_every_promise_that_is_reported_has_its_sentence() -> None:
    folder = ROOT / "clptools" / "sim"
    reported = {
        number
        for path in folder.glob("*.py")
        for number in re.findall(r"report\(\s*\"(\w+)\"", path.read_text())
    }
    assert reported | {"CRASH"} == set(PROMISES)


def test_a_line_alone_is_told_as_in_a_file() -> None:
    world = World(clusters.sample("2bmc"), 1, Node, Node.restore)
    with pytest.raises(BadLine, match=r"usage: drift SERVER PPM; an example: drift server1 10000"):
        perform(world, "drift server1 fast")


def test_random_schedules_speak_the_language() -> None:
    """Each kind of line once: a fault that no verb understands would end a run."""
    told: set[tuple[str, str]] = set()
    for seed in range(120):
        name, options = clusters.TURNS[seed % len(clusters.TURNS)]
        settings = clusters.sample(name, **options)
        world = World(settings, 1, Node, Node.restore)
        world.check.strict = False
        for _, line in schedule(settings, seed, 600.0, tuple(KINDS)):
            kind = name, re.sub(r"\d+", "", line)
            if kind not in told:
                told.add(kind)
                perform(world, line)
    assert len(told) > 1000
