"""What scripts for EXPRESSCLUSTER X read out of our commands, on live clusters in every state.

The parsers are our own, in the tools and habits of public ones: cut, sed, awk, grep and Perl, by
columns and by words.  What each must find is taken from the JSON of the same moment.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

Status = dict[str, Any]

GATE = "#!/bin/sh\nwhile [ ! -e {gate} ]; do sleep 0.05; done\n[ ! -e {broken} ]\n"
"""A start script that waits until a file is there, and fails if another one is."""

MORE = """
[[np]]
type = "ping"
name = "pingnp1"
targets = ["192.168.0.11"]

[[monitor]]
type = "genw"
name = "genw1"
interval = 0.5
[monitor.recovery]
action = "final"
final_action = "none"
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two servers with one group; tests build on one another."""
    if shutil.which("perl") is None:
        pytest.skip("NOT TESTED: perl is not installed")
    with Cluster() as made:
        made.configure(made.toml(more=MORE))
        for node in made:
            gate, broken = made.folder / "gate", made.folder / "broken"
            node.script("failover1/exec1/start.sh", GATE.format(gate=gate, broken=broken))
            node.script("failover1/exec1/stop.sh", "#!/bin/sh\n")
            node.script("monitor.s/genw1/genw.sh", "#!/bin/sh\n")
        open_gate(made)
        made.start()
        made.online()
        yield made


def open_gate(cluster: Cluster, is_open: bool = True) -> None:
    """Whether start scripts may go on."""
    gate = cluster.folder / "gate"
    if is_open:
        gate.touch()
    else:
        gate.unlink()


# ---------------------------------------------------------------------- parsers


def rows(pairs: Iterator[tuple[str, str]]) -> list[str]:
    return [f"{name}={word}" for name, word in pairs]


def of_servers(status: Status) -> list[str]:
    return rows((s["name"], s["status"]) for s in status["servers"])


def of_groups(status: Status) -> list[str]:
    return rows((g["name"], g["status"]) for g in status["groups"])


def of_currents(status: Status) -> list[str]:
    return rows((g["name"], g["current"] or "None") for g in status["groups"])


def of_resources(status: Status) -> list[str]:
    return rows((r["name"], r["status"]) for g in status["groups"] for r in g["resources"])


def of_monitors(status: Status) -> list[str]:
    return rows((m["name"], m["status"]) for m in status["monitors"])


def of_heartbeats(status: Status) -> list[str]:
    return rows(
        (b["name"], b["status"]) for s in status["servers"] for b in (*s["heartbeats"], *s["np"])
    )


def own_place(status: Status) -> list[str]:
    """The number of the server that answers, from 1."""
    return [str([s["local"] for s in status["servers"]].index(True) + 1)]


def online_here(status: Status) -> list[str]:
    """Groups that are online on each server, by its number."""
    return [
        f"server{number} {group['name']}"
        for number, server in enumerate(status["servers"])
        for group in status["groups"]
        if group["on"].get(server["name"]) == "Online"
    ]


def not_normal(status: Status) -> list[str]:
    return [str(sum(m["status"] != "Normal" for m in status["monitors"]))]


def servers_up(status: Status) -> list[str]:
    return [str(sum(s["status"] == "Online" for s in status["servers"]))]


PARSERS: dict[str, tuple[str, Callable[[Status], list[str]]]] = {
    "servers, by the expression of an SNMP agent": (
        r"""clpstat --local | perl -ne 'last if /^  <group>/;
            print "$1=$2\n" if !/^ {6}/ && /^   .(\S.*?)\s\.*: (.*?)\s*$/'""",
        of_servers,
    ),
    "groups, by the expression of an SNMP agent": (
        r"""clpstat --local | perl -ne '$on = /group/ if /^  </;
            print "$1=$2\n" if $on && /^\s{4}(\S.*?)\s\.*: (.*?)\s*$/ && !/^\s{6}/'""",
        of_groups,
    ),
    "resources, by the expression of an SNMP agent": (
        r"""clpstat --local | perl -ne '$on = /group/ if /^  </;
            print "$1=$2\n" if $on && !/current/ && /^\s{6}(\S.*?)\s.*:\s(.*?)\s*$/'""",
        of_resources,
    ),
    "monitors, by the expression of an SNMP agent": (
        r"""clpstat --local | perl -ne 'last if /^ =+$/ && $on; $on = /monitor/ if /^  </;
            print "$1=$2\n" if $on && /^\s{4}(\S.*?)\s.*: (.*?)\s*$/'""",
        of_monitors,
    ),
    "servers, by columns": (
        r"""clpstat | sed -n '/<server>/,/<group>/p' | grep -v '^      ' | grep -v '<' |
            while IFS= read -r line; do
                name=$(printf '%s' "$line" | cut -c5-20 | sed 's/ *\.*$//')
                word=$(printf '%s' "$line" | cut -c24-40 | sed 's/ *$//')
                echo "$name=$word"
            done""",
        of_servers,
    ),
    "heartbeats and NP, by columns": (
        r"""clpstat | sed -n '/<server>/,/<group>/p' | grep '^      ' |
            sed 's/^ *\([^ ]*\) *: \(.\{17\}\).*/\1=\2/; s/ *$//'""",
        of_heartbeats,
    ),
    "groups in wide columns": (
        r"""clpstat --long | sed -n '/<group>/,/<monitor>/p' | grep '^    [^ ]' |
            sed 's/ \.*: /=/; s/^ *//; s/ *$//'""",
        of_groups,
    ),
    "where groups are, by awk": (
        r"""clpstat | awk '/<group>/ {g = 1} /<monitor>/ {g = 0}
            g && /^    [^ ]/ {name = $1} g && $1 == "current" {print name "=" $3}'""",
        of_currents,
    ),
    "monitors, by awk": (
        r"""clpstat | sed -n '/<monitor>/,/====/p' | grep '^    [^ ]' |
            awk -F: '{gsub(/ /, "", $1); sub(/^ /, "", $2); print $1 "=" substr($2, 1, 17)}' |
            sed 's/ *$//'""",
        of_monitors,
    ),
    "the own number, from the place of the star": (
        r"""clpstat --local | sed -n '/<server>/,/<group>/p' | grep '\.\.*: ' | grep -n '^   \*' |
            cut -d: -f1""",
        own_place,
    ),
    "the map of groups": (
        r"""clpstat -g | grep '^    server[0-9]* \[' | while read -r server state colon groups; do
                for group in $groups; do
                    case $group in *'[o]') echo "$server ${group%???}";; esac
                done
            done""",
        online_here,
    ),
    "how many monitors are not well": (
        r"""clpstat -m | grep Monitor | grep -v 'Normal\]' | wc -l""",
        not_normal,
    ),
    "how many servers are up, by the map of heartbeats": (
        r"""clpstat -n | grep '\[on server' | grep -c 'Online\]'""",
        servers_up,
    ),
}


def check(node: Node) -> Status:
    """Every parser finds what the JSON says; returns that."""
    found, status = until("a moment in which nothing changes", lambda: read(node), 60)
    if status["cluster"]["status"] == "Stopped":
        status = all_offline(status)
    for name, (_, expected) in PARSERS.items():
        assert found[name] == expected(status), name
    return status


def read(node: Node) -> tuple[dict[str, list[str]], Status] | None:
    """What each parser finds, and the JSON; None: something changed meanwhile."""
    before = words(node.status())
    found = {name: node.run(shell).stdout.split("\n")[:-1] for name, (shell, _) in PARSERS.items()}
    status = node.status()
    return (found, status) if words(status) == before else None


def words(status: Status) -> list[list[str]]:
    """All that the parsers read."""
    readers = (of_servers, of_heartbeats, of_groups, of_currents, of_resources, of_monitors)
    return [reader(status) for reader in readers]


def all_offline(status: Status) -> Status:
    """As the layouts show a cluster whose service is stopped."""
    servers = [
        {
            **server,
            "status": "Offline",
            "heartbeats": [{**beat, "status": "Offline"} for beat in server["heartbeats"]],
            "np": [{**np, "status": "Offline"} for np in server["np"]],
        }
        for server in status["servers"]
    ]
    monitors = [{**monitor, "status": "Offline"} for monitor in status["monitors"]]
    return {**status, "servers": servers, "monitors": monitors}


def settled(node: Node) -> bool:
    """Whether all is well and has been told."""
    status = node.status()
    return bool(status) and status["cluster"]["status"] == "Normal"


def group_is(node: Node, word: str) -> Callable[[], bool]:
    return lambda: bool(
        (status := node.status()) and status["groups"] and status["groups"][0]["status"] == word
    )


# ---------------------------------------------------------------------- states


def test_normal(cluster: Cluster) -> None:
    first, second = cluster
    for node in cluster:
        until("all is well", lambda node=node: settled(node))
        status = check(node)
        assert of_currents(status) == ["failover1=server1"]
        assert own_place(status) == [str(node.number)]
    assert second.ok("clpgrp -n failover1") == "server1\n"
    assert second.ok("clprsc -n exec1") == "server1\n"
    rows_of_np = "clpstat -p | grep server0 | grep -v '\\[on' | grep -v '\\*'"
    assert first.ok(f"{rows_of_np} | grep -c ': o'") == "2\n"


def test_the_configuration_answers_greps(cluster: Cluster) -> None:
    first = cluster[1]
    for shell, said in (
        ("clpstat --rsc fip1 | grep IP | awk -F: '{print $2}' | tr -d ' '", "192.168.0.100"),
        ("clpstat --sv | grep Server | sed 's/.*: //; s/]//' | tr '\\n' ' '", "server1 server2"),
        ("clpstat --cl --detail | grep 'Shutdown Monitoring Method' | awk '{print $NF}'", "none"),
        ("clpstat --mon userw | grep Method | cut -d: -f2 | tr -d ' '", "none"),
        ("clpstat --hb | sed -n 's/.*\\[HB[0-9]* : \\(.*\\)\\]/\\1/p' | head -1", "lankhb1"),
        ("clpmonctrl -v | grep Resource | awk '{print $3}' | tr '\\n' ' '", "mrw1 userw genw1"),
        ("clptoratio -s | awk '{print $4}'", "1"),
    ):
        assert first.ok(shell).strip() == said, shell


def test_times_are_numbers(cluster: Cluster) -> None:
    first = cluster[1]
    until("it has checked", lambda: first.run("clpperfc -m genw1").returncode == 0)
    for line in ("clpperfc -m genw1", "clpperfc --starttime -g failover1"):
        assert first.ok(line).strip().isdigit(), line


def test_moving(cluster: Cluster) -> None:
    first, second = cluster
    open_gate(cluster, False)
    first.ok("clpgrp -m failover1 -w 0 2>/dev/null || clpgrp -m failover1 --apito 0")
    until("it starts there", group_is(first, "Online Pending"))
    until("both know", group_is(second, "Online Pending"))
    for node in cluster:
        status = check(node)
        assert of_currents(status) == ["failover1=server2"]
        assert "exec1=Online Pending" in of_resources(status)
    open_gate(cluster)
    until("it is there", group_is(first, "Online"))


def test_suspended(cluster: Cluster) -> None:
    first, second = cluster
    first.ok("clpcl --suspend")
    until("both know", lambda: second.status()["cluster"]["suspended"])
    for node in cluster:
        assert of_groups(check(node)) == ["failover1=Online"]
    first.ok("clpcl --resume")
    until("it goes on", lambda: settled(first) and settled(second))


def test_a_server_named_by_its_address(cluster: Cluster) -> None:
    """And one whose service is stopped: its agent answers."""
    first, second = cluster
    there = cluster.address(1, second.number)
    first.ok(f"clpcl -t -h {there}")
    until("it left", lambda: of_servers(first.status())[1] == "server2=Offline")
    until("it came over", group_is(first, "Online"))
    assert of_currents(check(first)) == ["failover1=server1"]
    assert "*server2 .........: Offline" in first.ok(f"clpstat -h {there}")
    first.ok(f"clpcl -s -h {there}")
    until("it is back", lambda: settled(first) and settled(second))


def test_requests_between_servers(cluster: Cluster) -> None:
    first = cluster[1]
    for node in cluster:
        node.script("trnreq/who.sh", f"#!/bin/sh\necho ran >>{node.root}/ran\n")
    told = first.ok(f"clptrnreq -t EXEC_SCRIPT -h server2,{cluster.address(2, 1)} -s who.sh")
    assert told.splitlines()[-1] == "Command succeeded."
    assert [(node.root / "ran").read_text() for node in cluster] == ["ran\n"] * 2
    missing = first.run("clptrnreq -t EXEC_SCRIPT -h server1,server2 -s nosuch.sh")
    assert missing.returncode == 5 and "server2 : " in missing.stderr
    first.ok("clptrnreq -t GRP_FAILOVER -h server2 -r exec1")
    until("it went over", lambda: of_currents(first.status()) == ["failover1=server2"])
    first.ok("clprexec --failover failover1 -h server2")
    until("and back", lambda: of_currents(first.status()) == ["failover1=server1"])


def test_failed(cluster: Cluster) -> None:
    first, second = cluster
    (cluster.folder / "broken").touch()
    first.run("clpgrp -m failover1", timeout_s=60)
    until("it starts nowhere", lambda: group_is(first, "Error")() and group_is(second, "Error")())
    status = check(first)
    assert of_currents(status) == ["failover1=None"]
    refused = first.run("clptrnreq -t GRP_FAILOVER -r exec1")
    assert refused.returncode == 9, refused.stderr
    (cluster.folder / "broken").unlink()
    first.ok("clpgrp -s failover1")
    until("it runs", lambda: settled(first) and settled(second))


def test_stopped(cluster: Cluster) -> None:
    first, second = cluster
    first.ok("clpcl -t -a")
    until("all stopped", lambda: {n.status()["cluster"]["status"] for n in cluster} == {"Stopped"})
    for node in cluster:
        assert of_currents(check(node)) == ["failover1=None"]
        assert node.ok("clpgrp -n failover1") == ""
    first.ok("clpcl -s -a")
    until("it runs", lambda: settled(first) and settled(second))


def test_one_server_gone(cluster: Cluster) -> None:
    """With the group that it ran, which waits for proof."""
    first, second = cluster
    first.ok("clpgrp -m failover1")
    cluster.unplug(second)
    until("it is missed", lambda: of_servers(first.status())[1] != "server2=Online")
    until("the group waits", lambda: first.status()["groups"][0]["waiting_for"])
    status = check(first)
    assert of_servers(status)[1] in ("server2=Offline", "server2=Unknown")
    assert of_groups(status) != ["failover1=Online"]


def test_monitors_alone() -> None:
    """A cluster without a group: the section stays, and is empty."""
    with Cluster() as made:
        text = made.toml(more=MORE)
        start, end = text.index("[[group]]"), text.index("[[monitor]]")
        group_gone = text[:start] + text[end:]
        rule = '[monitor.recovery]\naction = "failover"\ntarget = "failover1"\n'
        assert rule in group_gone
        made.configure(group_gone.replace(rule, '[monitor.recovery]\naction = "final"\n'))
        for node in made:
            node.script("monitor.s/genw1/genw.sh", "#!/bin/sh\n")
        made.start()
        for node in made:
            until("all is well", lambda node=node: settled(node))
            status = check(node)
            assert status["groups"] == []
            assert "genw1=Normal" in of_monitors(status)
