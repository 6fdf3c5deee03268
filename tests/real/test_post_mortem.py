"""An incident on real agents is told by the documented commands alone: every cause, its time and
its author."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from html import unescape

import msgspec
import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

WEB = """
[[group]]
name = "web"
type = "failover"
[[group.resource]]
type = "exec"
name = "exec2"
timeout = 60
"""
FAILS = '#!/bin/sh\necho "mount: /data: wrong fs type" >&2\nexit 3\n'
_ROUNDED_S = 0.1
"""Text has tenths of a second."""


class Cause(msgspec.Struct, frozen=True):
    """Something that the post-mortem must name."""

    sentence: str
    server: str
    """Who records it."""
    subject: str
    """Whose explanation at that time names it, too."""
    begin: float
    end: float

    def is_told_at(self, wall: float) -> bool:
        return self.begin - _ROUNDED_S <= wall <= self.end + _ROUNDED_S


class Incident:
    """The cluster, and what was done to it."""

    def __init__(self, cluster: Cluster) -> None:
        self.first, self.second = cluster
        self.cluster = cluster
        self.begin = time.time()
        self.causes: list[Cause] = []

    def step(self, begin: float, told: dict[str, tuple[Node, str]]) -> None:
        """Wait until all of these sentences are recorded, each by its server, of its subject."""
        asked = f"clpstat --events --from @{self.begin:.3f} --text"
        for sentence, (node, subject) in told.items():
            until(sentence, lambda s=sentence: s in self.first.ok(asked))
            self.causes.append(Cause(sentence, node.name, subject, begin, time.time()))

    def play(self) -> None:
        """What was done, and what is to be told of it."""
        one, two = self.first, self.second
        now = time.time()
        path = one.config / "clp.toml"
        path.write_text(path.read_text().replace("[cluster]", "[cluster]\nheartbeat_timeout = 9"))
        written = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(path.stat().st_mtime))
        edited = f"not pushed; revision 1 is in force, and the file was last written at {written}."
        self.step(now, {edited: (one, "server1")})

        now = time.time()
        two.ok("clpmonctrl -s -m mrw1")
        self.step(now, {"root suspended mrw1 on server2.": (two, "mrw1")})
        fatal = "reported a fatal error: processor 1: internal error (IERR)."
        held_back = "Recovery for mrw1 was not run on server2: mrw1 is suspended by root."
        now = time.time()
        self.cluster.trap(two)
        by_bmc = f"BMC of server2 (192.168.0.12) {fatal}"
        self.step(now, {by_bmc: (two, "mrw1"), held_back: (two, "mrw1")})
        now = time.time()
        self.cluster.trap(one)
        stays = "though mrw1 would move it: no other server would take it now."
        barred = "it has an open fatal hardware event (1, processor 1: internal error (IERR))."
        changed = "mrw1 on server1 went Normal -> Error; its recovery is: fail over failover1."
        self.step(
            now,
            {
                f"BMC of server1 (192.168.0.11) {fatal}": (one, "mrw1"),
                changed: (one, "mrw1"),
                f"failover1 stays on server1, {stays}": (one, "failover1"),
                f"server2: {barred}": (one, "failover1"),
            },
        )
        now = time.time()
        two.ok("clpmonctrl --acknowledge -m mrw1")
        by_hand = "root acknowledged processor 1: internal error (IERR) on server2."
        self.step(
            now,
            {
                by_hand: (two, "mrw1"),
                "no other server would take it; now server2 would.": (one, "failover1"),
                "server2 has started fip1, exec1 of failover1": (two, "failover1"),
            },
        )

        two.script("web/exec2/start.sh", FAILS)
        now = time.time()
        assert two.run("clpgrp -m web -a server2").returncode == 1
        why = 'start.sh ended with exit status 3: "mount: /data: wrong fs type".'
        self.step(
            now,
            {
                "server1 stops web: root moved it.": (one, "web"),
                why: (two, "exec2"),
                "server1 has started exec2 of web": (one, "web"),
            },
        )
        now = time.time()
        one.ok("clpgrp -m failover1 -a server1 -f")
        self.step(
            now,
            {
                "server2 stops failover1: root moved it by force.": (two, "failover1"),
                "server1 has started fip1, exec1 of failover1": (one, "failover1"),
            },
        )

        now = time.time()
        two.link(2, up=False)
        silent = "no longer arrive on lanhb1 of"
        self.step(
            now,
            {
                f"Heartbeats of server2 {silent} server1": (one, "lanhb1"),
                f"Heartbeats of server1 {silent} server2": (two, "lanhb1"),
            },
        )
        found = one.ok("clpstat --explain lanhb1")
        assert "Look at the cables and switch ports" in found, "which the notice sends one to"
        now = time.time()
        two.link(2, up=True)
        self.step(
            now,
            {
                "Heartbeats of server2 arrive on lanhb1 of server1 again": (one, "lanhb1"),
                "Heartbeats of server1 arrive on lanhb1 of server2 again": (two, "lanhb1"),
            },
        )
        self.end = time.time()


def wall(text: str) -> float:
    """Seconds since 1970 of `2026-11-29 03:12:06.9`, local."""
    whole, _, part = text.partition(".")
    return time.mktime(time.strptime(whole, "%Y-%m-%d %H:%M:%S")) + float(f"0.{part or 0}")


def of_events(told: str) -> list[tuple[float, str, str]]:
    """Time, server and sentence of each line."""
    lines = [re.fullmatch(r"(\S+ \S+)  (\S+)  \w+ +\w+ \d+  (.+)", x) for x in told.splitlines()]
    return [(wall(line[1]), line[2], line[3]) for line in lines if line is not None]


def in_one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def incident() -> Iterator[Incident]:
    with Cluster() as cluster:
        cluster.configure(cluster.toml(more=WEB))
        for node in cluster:
            cluster.diary_scripts(node, "web", "exec2")
        cluster.start()
        # On a busy machine server2 may have been there first.
        for group in ("failover1", "web"):
            if cluster.online(group) is not cluster[1]:
                cluster[1].ok(f"clpgrp -m {group} -a server1")
        found = Incident(cluster)
        found.play()
        yield found


def missing(incident: Incident, told: list[tuple[float, str, str]]) -> list[Cause]:
    """The causes that are not told with their time and server."""
    return [
        cause
        for cause in incident.causes
        if not any(
            cause.sentence in in_one_line(text) and server == cause.server and cause.is_told_at(at)
            for at, server, text in told
        )
    ]


def test_events_name_every_cause_on_each_server_in_the_order_in_which_it_happened(
    incident: Incident,
) -> None:
    span = f"--from @{incident.begin:.3f} --to @{incident.end:.3f}"
    for node in incident.cluster:
        told = of_events(node.ok(f"clpstat --events {span} --text"))
        assert not missing(incident, told)
        order = [
            min(i for i, (_, _, text) in enumerate(told) if cause.sentence in text)
            for cause in incident.causes
            if cause.subject != "lanhb1"  # told by both servers, at nearly one time
        ]
        assert order == sorted(order)


def test_a_level_and_an_object_leave_what_concerns_them(incident: Incident) -> None:
    asked = f"clpstat --events --from @{incident.begin:.3f} --to @{incident.end:.3f} --text"
    errors = of_events(incident.second.ok(f"{asked} --level ERROR"))
    assert [text.partition(" ")[0] for _, _, text in errors] == ["BMC", "BMC", "mrw1", "exec2"]
    of_web = [text for _, _, text in of_events(incident.second.ok(f"{asked} --of web"))]
    assert of_web[0] == "server1 stops web: root moved it."
    assert all("web" in text or "exec2" in text for text in of_web)


def test_each_cause_explains_its_object_at_that_time(incident: Incident) -> None:
    for cause in incident.causes:
        asked = f"clpstat --explain {cause.subject} --at @{cause.end:.3f}"
        told = json.loads(incident.first.ok(f"{asked} --json"))
        steps = [(s["time"], s["server"], s["text"]) for s in told["because"]]
        steps += [
            (cause.begin, cause.server, line.partition("  ")[2])
            for line in told["then"]
            if line[:2].isdigit()
        ]
        found = [text for at, _, text in steps if cause.sentence in text and cause.is_told_at(at)]
        assert found, (cause, told)
        page = in_one_line(incident.first.ok(asked))
        assert cause.sentence in page


def test_the_picture_has_every_cause_with_its_number_and_time(incident: Incident) -> None:
    span = f"--from @{incident.begin:.3f} --to @{incident.end:.3f}"
    for kind in ("html", "svg"):
        file = incident.first.root / f"incident.{kind}"
        incident.first.ok(f"clpstat --graph {span} -o {file}")
        text = file.read_text()
        titles = re.findall(r'<g class="mark"[^>]*><title>(.*?)</title>', text, re.DOTALL)
        marks = [re.fullmatch(r"\d+\. (\S+) (\S+): (.+)", unescape(t)) for t in titles]
        today = time.strftime("%Y-%m-%d ", time.localtime(incident.begin))
        told = [(wall(today + m[1]), m[2], m[3]) for m in marks if m is not None]
        assert not missing(incident, told)
        if kind == "html":
            assert all(cause.sentence in in_one_line(unescape(text)) for cause in incident.causes)


def test_a_replay_of_each_server_names_what_it_recorded(incident: Incident) -> None:
    told: list[tuple[float, str, str]] = []
    for node in incident.cluster:
        done = until(
            "the journal is on the disk",
            lambda node=node: _replayed(node, incident),
        )
        told += done
    by_agents = "and the file was last written at"
    assert [c for c in missing(incident, told) if by_agents not in c.sentence] == []
    edited = next(c for c in incident.causes if by_agents in c.sentence)
    assert any(
        "clp.toml was edited and not pushed" in x and edited.is_told_at(t) for t, _, x in told
    )


def _replayed(node: Node, incident: Incident) -> list[tuple[float, str, str]]:
    """Time, server and sentence of the story, once it reaches the end of the incident."""
    story = node.ok(f"clpreplay --from @{incident.begin:.3f}")
    told: list[tuple[float, str, str]] = []
    at = 0.0
    for line in story.splitlines():
        found = re.fullmatch(r"(\S+ [\d:.]+) (\S+) (.+)", line)
        if found is not None:
            at = wall(found[1])
        told.append((at, node.name, found[3] if found is not None else line.strip()))
    return told if any("arrive on lanhb1" in text for _, _, text in told) else []
