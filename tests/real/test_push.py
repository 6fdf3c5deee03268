"""Pushes that are cut short: real agents killed in the midst of one, and servers that are down."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from clptools.agent.notices import ScriptsKept
from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

AGENT = """\
#!{python}
import os, signal, sys
die = os.environ["CLP_ROOT"] + "/die"
left = 0
def hook(event, args):
    global left
    if event == "os.rename" and "/etc/clptools/" in str(args[1]) and os.path.exists(die):
        with open(die) as file:
            at = int(file.read())
        left += 1
        if left == at:
            os.unlink(die)
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
from clptools.agent.main import main
sys.exit(main())
"""
"""An agent that dies before its change number N of a file's name, once `die` says N."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        (made.bin / "clpnode").write_text(AGENT.format(python=sys.executable))
        first = made[1]
        first.write_config(made.toml())
        made.diary_scripts(first, "failover1", "exec1")
        made.start()
        until("it is pushed", lambda: first.run("clpcfctrl --push").returncode == 0)
        made.online()
        yield made
        made.assert_never_two()


def revision(node: Node) -> int:
    found = node.status()
    return int(found["cluster"]["revision"]) if found else 0


def push(by: Node, mark: str, *more: str) -> tuple[int, str]:
    """A push of a configuration that says `mark`."""
    text = (by.config / "clp.toml").read_text().partition("# mark")[0]
    by.write_config(f"{text}# mark {mark}\n")
    done = by.run(" ".join(("clpcfctrl --push", *more)), timeout_s=60)
    return done.returncode, done.stdout + done.stderr


def alike(cluster: Cluster) -> bool:
    """All run the same revision, with the same text, which is on the disk as well."""
    first, second = cluster
    number = revision(first)
    name = f"history/{number:04d}.toml"
    if not number or revision(second) != number or not (second.config / name).exists():
        return False
    text = (first.config / name).read_text()
    return all((node.config / name).read_text() == text for node in cluster)


@pytest.mark.parametrize("who", ["pusher", "receiver"])
@pytest.mark.parametrize("point", [1, 3, 4])
def test_a_push_in_which_an_agent_is_killed_heals_itself(
    cluster: Cluster, who: str, point: int
) -> None:
    first, second = cluster
    victim, other = (first, second) if who == "pusher" else (second, first)
    before = revision(first)
    (victim.root / "die").write_text(str(point))
    push(first, f"{who}{point}")
    assert victim.agent is not None
    victim.agent.wait(timeout=30)
    victim.start()
    until("both are the same", lambda: alike(cluster))
    now = revision(other)
    assert now in (before, before + 1)
    text = (other.config / f"history/{now:04d}.toml").read_text()
    assert (f"# mark {who}{point}" in text) is (now > before), "no old text has a higher number"
    until("the receiver's file is it", lambda: (second.config / "clp.toml").read_text() == text)
    code, said = push(first, f"after-{who}{point}")
    assert code == 0, said
    assert alike(cluster)


def test_a_push_goes_on_without_a_server_that_left_and_it_has_it_when_it_is_back(
    cluster: Cluster,
) -> None:
    first, second = cluster
    second.ok("clpcl -t -w 30")
    second.kill()
    code, said = push(first, "without")
    assert code == 0, said
    number = revision(first)
    assert f"Revision {number} is in force, without server2." in said
    (entry,) = [
        e
        for e in json.loads(first.ok("clpcfctrl --history --json"))["history"]
        if e["revision"] == number
    ]
    assert entry["pushed"]["without"] == ["server2"]
    assert entry["pushed"]["server"] == "server1"
    second.start()
    until("it has it", lambda: alike(cluster))
    assert "had missed revision" in second.ok("clpstat --events")
    second.ok("clpcl -s -w 60")


def test_an_old_revision_comes_back_with_its_scripts(cluster: Cluster) -> None:
    first, second = cluster
    script = "scripts/failover1/exec1/extra.sh"
    old = revision(first)
    first.script("failover1/exec1/extra.sh", "#!/bin/sh\n")
    code, said = push(first, "more")
    assert code == 0, said
    assert (second.config / script).exists()
    first.ok(f"clpcfctrl --rollback {old}")
    assert not (second.config / script).exists()
    assert not (first.config / script).exists()
    assert f"rollback to {old} by root on server1" in first.ok("clpcfctrl --history")
    assert alike(cluster)


def test_a_script_that_was_edited_elsewhere_is_kept_by_a_push_and_told(cluster: Cluster) -> None:
    """As an edit of `clp.toml` is: it was overwritten without a word."""
    first, second = cluster
    second.script("failover1/exec1/start.sh", "#!/bin/sh\n# mended at three in the morning\n")
    assert "start.sh is not as in revision" in " ".join(second.ok("clpcfchk").split())
    code, said = push(first, "over it")
    assert code == 0, said
    kept = second.config / "scripts.edited/failover1/exec1/start.sh"
    assert "three in the morning" in kept.read_text()
    assert "begin server1" in (second.config / "scripts/failover1/exec1/start.sh").read_text()
    script = "scripts/failover1/exec1/start.sh"
    told = ScriptsKept(revision(first), (script,), f"{second.config}/scripts.edited").sentence()
    until("it is told", lambda: told in first.alerts() and told in second.alerts())
    assert second.run("clpcfctrl --compcheck").returncode == 0


def test_two_texts_under_one_number_are_one_again_after_a_push(cluster: Cluster) -> None:
    """Each server got a push while the other was down; what the notice says mends it."""
    first, second = cluster
    number = revision(first) + 1
    for node, other in ((first, second), (second, first)):
        other.kill()
        if node is second:
            second.start()
            until("it answers", second.ready)
        code, said = push(node, f"on {node.name}", f"--without {other.name}")
        assert code == 0, said
        assert revision(node) == number
    first.start()
    told = f"has another revision {number} than"
    until("it is told", lambda: told in first.alerts() and told in second.alerts())
    line = next(x for x in first.alerts().splitlines() if told in x)
    commands = ("clpcfctrl --diff", "clpcfctrl --push")
    assert all(command in line for command in commands)
    first.run(commands[0])
    first.ok(commands[1], timeout_s=60)
    until("both are the same", lambda: alike(cluster))
    assert "# mark on server1" in (second.config / "clp.toml").read_text()
    until(
        "its end is told",
        lambda: "have the same configuration again" in first.alerts() + second.alerts(),
    )
