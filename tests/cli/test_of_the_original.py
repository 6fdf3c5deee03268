"""Commands that scripts for EXPRESSCLUSTER X call: what they answer here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clptools.api.messages import ConfigFiles, EventRecord
from clptools.cli import clpsvcctrl
from clptools.core.notices.form import Notice, record_of
from clptools.core.notices.groups import GroupOnline, GroupReleased, GroupStarts, GroupStops
from tests.api.fake import Agent
from tests.cli.conftest import Clp
from tests.config.sample import NAMED

Program = Callable[[str, str], Path]
"""Name and shell text of a program on $PATH -> the file of the lines it was called with."""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Stands in for a program of the host, which a test may not use on this one."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def program(name: str, text: str) -> Path:
        called = folder / f"{name}.called"
        called.touch()
        file = folder / name
        file.write_text(f'#!/bin/sh\necho "$*" >>{called}\n{text}\n')
        file.chmod(0o755)
        return called

    return program


# ---------------------------------------------------------------------- what there is none of


@pytest.mark.parametrize(
    "line",
    [("-i", "a.key", "b.key"), ("-l",), ("-d", "-a"), ("--distribute",), ("-i", "x", "-p", "B")],
)
def test_a_licence_is_not_needed_and_scripts_go_on(clp: Clp, line: tuple[str, ...]) -> None:
    ran = clp("clplcnsc", *line)
    assert ran.code == 0
    assert "No licence is needed for this cluster" in ran.out
    assert ("Command succeeded." in ran.out) == (line[0] != "-l")


def test_a_log_level_is_not_needed_and_scripts_go_on(clp: Clp) -> None:
    ran = clp("clplogcf", "-t", "pm", "-l", "8", "-s", "1000000")
    assert ran.code == 0
    assert "journalctl -u clpnode -p LEVEL" in ran.out
    assert ran.out.endswith("\nCommand succeeded.\n")
    assert clp("clpcpufreq").code == 2
    assert clp("clproset").code == 2
    assert "blockdev --setro /dev/sdb1" in clp("clproset", "-o", "-d", "/dev/sdb1").err


def test_scripts_that_look_for_mirrors_find_none_and_stop(clp: Clp) -> None:
    ran = clp("clpmdstat", "-l")
    assert ran.code == 0
    assert "<" not in ran.out, "a name is printed as <md1>"
    assert clp("clpmdstat", "-m", "md1").code == 5
    assert clp("clpmdstat").code == 2
    for line in (("-a", "md1"), ("-a", "md1", "-f"), ("-f", "server1", "md1"), ("-r", "md1")):
        ran = clp("clpmdctrl", *line)
        assert (ran.code, ran.out) == (5, "")
        assert "md1: no such mirror disk" in ran.err
    assert clp("clpmdctrl", "md1").code == 2


@pytest.mark.parametrize(
    "line",
    [
        "clpencrypt geheim",
        "clpperfchk alert L 5 3 60 syslog nmp1.cur",
        "clpbackup --pre --no-shutdown",
        "clprestore --post --skip-copy",
        "clpcpufreq --high",
        "clpcpufreq -s -h server2",
        "clproset -o -d /dev/sdb1",
        "clproset -s -a",
    ],
)
def test_what_cannot_be_done_fails_and_says_what_can(clp: Clp, line: str) -> None:
    ran = clp(*line.split())
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("\n") == 2
    assert "geheim" not in ran.err


# ---------------------------------------------------------------------- services


def test_the_agent_starts_with_the_host_or_does_not(
    clp: Clp, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = program("systemctl", "")
    ran = clp("clpsvcctrl", "--enable", "-a")
    assert (ran.code, called.read_text()) == (6, ""), "a node below CLP_ROOT has no unit"
    monkeypatch.setattr(clpsvcctrl, "root", lambda: "")
    assert clp("clpsvcctrl", "--enable", "-a").out.endswith("Command succeeded.\n")
    assert clp("clpsvcctrl", "--disable", "core", "mgr").code == 0
    assert called.read_text().splitlines() == ["enable clpnode.service", "disable clpnode.service"]
    assert "nothing to disable" in clp("clpsvcctrl", "--disable", "mgr").out
    assert len(called.read_text().splitlines()) == 2
    for line in (("--enable",), ("-a",), ("--enable", "core", "-a"), ("--enable", "web")):
        assert clp("clpsvcctrl", *line).code == 2
    program("systemctl", "echo refused >&2; exit 1")
    ran = clp("clpsvcctrl", "--enable", "-a")
    assert (ran.code, "refused" in ran.err) == (1, True)


# ---------------------------------------------------------------------- firewall


FIREWALLD = """
state=$(dirname $0)/state; touch $state
case "$*" in
*--get-services) grep -q service $state && echo "ssh clusterpro" || echo ssh ;;
*--get-ports) sed -n 's/^port //p' $state | tr '\\n' ' ' ;;
*--query-service*) grep -q zone $state || exit 1 ;;
*--new-service*) echo service >>$state ;;
*--add-port=*) echo "port ${3#*add-port=}" >>$state ;;
*--add-service*) echo zone >>$state ;;
*--remove-service*) sed -i /zone/d $state ;;
*--delete-service*) rm $state ;;
esac
"""


def test_firewalld_gets_a_service_of_the_originals_name(clp: Clp, program: Program) -> None:
    called = program("firewall-cmd", FIREWALLD)
    shown = clp("clpfwctrl", "--add", "--dry-run").out.splitlines()
    assert not [line for line in called.read_text().splitlines() if "--add" in line]
    ran = clp("clpfwctrl", "--add")
    assert ran.code == 0
    assert ran.out.splitlines() == [*shown, "Command succeeded."]
    assert shown == [
        "firewall-cmd --permanent --new-service=clusterpro",
        "firewall-cmd --permanent --service=clusterpro --add-port=29002/udp",
        "firewall-cmd --permanent --service=clusterpro --add-port=29002/tcp",
        "firewall-cmd --permanent --service=clusterpro --add-port=162/udp",
        "firewall-cmd --permanent --add-service=clusterpro",
        "firewall-cmd --reload",
    ]
    assert [
        line for line in called.read_text().splitlines() if line in {s[13:] for s in shown}
    ] == [s[13:] for s in shown]
    assert "firewalld is as it should be" in clp("clpfwctrl", "--add").out
    told = json.loads(clp("clpfwctrl", "--remove", "--json").out)
    assert told["firewall"] == "firewalld"
    assert told["steps"][-1] == "firewall-cmd --reload"
    assert "nothing to do" in clp("clpfwctrl", "--remove").out


def test_a_step_that_fails_is_named(clp: Clp, program: Program) -> None:
    program("firewall-cmd", 'case "$*" in *new-service*) echo no room >&2; exit 13;; esac')
    ran = clp("clpfwctrl", "--add")
    assert ran.code == 1
    assert "firewall-cmd --permanent --new-service=clusterpro: no room" in ran.err


@pytest.fixture
def namespace(program: Program) -> Iterator[str]:
    """A network of its own, with a firewall that drops."""
    if os.geteuid() != 0 or shutil.which("nft", path="/usr/sbin") is None:
        pytest.skip("NOT TESTED: needs root and nft")
    name = f"clp{os.getpid()}xfw"
    subprocess.run(["/usr/sbin/ip", "netns", "add", name], check=True)
    program("nft", f'exec /usr/sbin/ip netns exec {name} /usr/sbin/nft "$@"')
    try:
        yield name
    finally:
        subprocess.run(["/usr/sbin/ip", "netns", "del", name], check=True)


def rules(namespace: str, text: str = "") -> str:
    """What is in force there, after `text` was loaded."""
    inside = ("/usr/sbin/ip", "netns", "exec", namespace, "/usr/sbin/nft")
    if text:
        subprocess.run([*inside, "-f", "-"], input=text, text=True, check=True)
    ran = subprocess.run([*inside, "list", "ruleset"], capture_output=True, text=True, check=True)
    return ran.stdout


DROPS = """
table inet filter {
  chain input { type filter hook input priority 0; policy drop; ct state established accept; }
  chain forward { type filter hook forward priority 0; policy drop; }
}
"""


@pytest.mark.root
def test_nftables_gets_rules_in_the_chain_that_drops_and_loses_them_again(
    clp: Clp, namespace: str
) -> None:
    assert "No firewall filters" in clp("clpfwctrl", "--add").out
    before = rules(namespace, DROPS)
    shown = clp("clpfwctrl", "--add", "--dry-run").out.splitlines()
    assert rules(namespace) == before
    ran = clp("clpfwctrl", "--add")
    assert (ran.code, ran.out.splitlines()[:3]) == (0, shown)
    assert "until the next boot" in ran.out
    after = rules(namespace)
    for rule in ("udp dport 29002", "tcp dport 29002", "udp dport 162"):
        assert f'{rule} accept comment "clptools"' in after.partition("chain forward")[0]
    assert "nothing to do" in clp("clpfwctrl", "--add").out
    assert clp("clpfwctrl", "--remove").code == 0
    assert rules(namespace) == before


@pytest.mark.root
def test_the_tables_of_iptables_are_left_to_it(clp: Clp, namespace: str) -> None:
    text = "table ip filter { chain INPUT { type filter hook input priority 0; policy drop; }\n}"
    before = rules(namespace, text)
    ran = clp("clpfwctrl", "--add")
    assert ran.code == 6
    assert "ufw allow 29002" in ran.err
    assert rules(namespace) == before


def test_the_ports_are_those_of_the_configuration(clp: Clp, node: Path, program: Program) -> None:
    program("firewall-cmd", FIREWALLD)
    (node / "etc/clptools").mkdir(parents=True)
    (node / "etc/clptools/clp.toml").write_text(
        '[cluster]\nname = "c"\nport = 40001\n[[server]]\nname = "server1"\n'
        '[[server]]\nname = "server2"\n[[interconnect]]\ntype = "lanhb"\n'
        'address = { server1 = "127.0.0.1", server2 = "127.0.0.2" }\n'
    )
    told = json.loads(clp("clpfwctrl", "--add", "--dry-run", "--json").out)
    assert told["ports"] == ["40001/udp", "40001/tcp"]


# ---------------------------------------------------------------------- how long it took


def told(notice: Notice, server: str, time: float) -> EventRecord:
    """A record of a server."""
    found = record_of(notice, server)
    return EventRecord(
        cursor=f"{server}:cafe:{round(time * 1000)}",
        time=time,
        server=server,
        module=found.module,
        event_id=found.event_id,
        level=found.level,
        text=found.text,
        subjects=found.subjects,
        code=found.code,
    )


def test_starts_and_stops_are_numbers_in_milliseconds(agent: Agent, clp: Clp) -> None:
    agent.backend.records = [
        told(GroupStarts("failover1", 7), "server1", 100.0),
        told(GroupStarts("failover1", 8), "server2", 110.0),
        told(GroupOnline("failover1", "all", 1500), "server2", 111.5),
        told(GroupStops("failover1", ""), "server2", 200.0),
        told(GroupReleased("failover1", ("exec1",), 250, 8), "server2", 200.25),
        told(GroupStarts("failover1", 9), "server1", 201.0),
        told(GroupOnline("failover1", "all", 40), "server1", 201.04),
        told(GroupStarts("failover1", 10), "server2", 300.0),
    ]
    assert clp("clpperfc", "--starttime", "-g", "failover1") == (0, "40\n", "")
    assert clp("clpperfc", "--stoptime", "-g", "failover1") == (0, "250\n", "")
    listed = [line.split() for line in clp("clpperfc", "-g").out.splitlines()]
    assert [(*line[:2], *line[4:]) for line in listed] == [
        ("failover1", "start", "server2", "1500"),
        ("failover1", "stop", "server2", "250"),
        ("failover1", "start", "server1", "40"),
    ]
    assert json.loads(clp("clpperfc", "-g", "failover1", "--json").out)["times"][1]["ms"] == 250
    agent.backend.records = []
    assert clp("clpperfc", "--starttime", "-g", "failover1").code == 6
    assert clp("clpperfc", "--starttime", "-g", "failover9").code == 5
    assert clp("clpperfc", "--starttime").code == 2
    assert clp("clpperfc", "--starttime", "-g").code == 2
    assert clp("clpperfc").code == 2


def test_a_monitors_check_is_a_number_and_nothing_else(agent: Agent, clp: Clp) -> None:
    assert clp("clpperfc", "-m", "userw") == (0, "12\n", "")
    ran = clp("clpperfc", "-m", "mrw1")
    assert (ran.code, ran.out) == (6, "")
    assert clp("clpperfc", "-m", "mrw9").code == 5
    assert clp("clpperfc", "-m", "mrw1", "-g", "failover1").code == 2


# ---------------------------------------------------------------------- the other editor


def test_the_originals_other_editor_says_the_same_in_other_words(
    clp: Clp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lines and those of clpcfset, to the same file."""
    lines = (
        ("add rsc failover1 exec exec1", "add rsc failover1 exec exec1"),
        ("add rsc failover1 fip fip1", "add rsc failover1 fip fip1"),
        ("add rscdep exec exec1 fip1", "add rscdep exec exec1 fip1"),
        ("add mon genw genw1", "add mon genw genw1"),
        (
            "mod -t monitor/genw@genw1/polling/interval --set 30 --nocheck",
            "add monparam genw genw1 polling/interval 30",
        ),
        ("mod -t /root/resource/fip@fip1/parameters/ip -set 10.0.0.9/24",
         "add rscparam fip fip1 parameters/ip 10.0.0.9/24"),
        ("mod -t group@failover1/failback --set 1", "add grpparam failover failover1 failback 1"),
        (
            "mod -t cluster/heartbeat/timeout --set 50000",
            "add clsparam cluster/heartbeat/timeout 50000",
        ),
    )  # fmt: skip
    texts = []
    for which, name in enumerate(("clpcfadm", "clpcfset")):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        assert clp("clpcfset", "create", "cluster").code == 0
        assert clp("clpcfset", "add", "srv", "server1").code == 0
        assert clp("clpcfset", "add", "grp", "failover", "failover1").code == 0
        for line in lines:
            ran = clp(name, *line[which].split())
            assert ran.code == 0, (line, ran.err)
            assert ran.out.endswith("Command succeeded.\n")
        texts.append((folder / "clp.toml").read_text())
    assert texts[0] == texts[1]
    assert "interval = 30" in texts[0]
    for line, code in (
        ("add srv server2", 2),
        ("del rsc exec1", 2),
        ("mod -t monitor/genw --set 1", 2),
        ("mod -t monitor/genw@genw9/polling/interval --set 1", 5),
        ("mod -t monitor/genw@genw1/polling/interval", 2),
        ("mod -t cluster/nosuch --set 1", 8),
    ):
        assert clp("clpcfadm", *line.split()).code == code, line


# ---------------------------------------------------------------------- paths of clp.conf

CONFIG = f"""\
{NAMED}[[group]]
name = "failover1"
[[group.resource]]
type = "fip"
name = "fip1"
address = "10.0.0.9/24"
[[group.resource]]
type = "exec"
name = "exec1"
[[monitor]]
type = "genw"
name = "genw1"
interval = 30
[[monitor]]
type = "genw"
name = "genw2"
[[monitor]]
type = "userw"
name = "userw"
"""


def test_names_and_values_are_found_by_the_paths_of_clp_conf(agent: Agent, clp: Clp) -> None:
    agent.backend.files = ConfigFiles(revision=3, files={"clp.toml": CONFIG})

    def lines(*words: str) -> list[str]:
        ran = clp("clpcfget", *words)
        assert (ran.code, ran.err) == (0, "")
        return ran.out.splitlines()

    assert set(lines("-e", "/root/monitor/types")) == {"genw", "userw"}
    assert lines("-e", "/root/monitor/genw") == ["genw1", "genw2"]
    assert lines("-e", "/root/server/") == ["server1", "server2"]
    assert lines("-e", "root/resource/md") == [], "exporters ask for it on every cluster"
    assert lines("-e", "/root/nosuch/thing") == []
    assert "name" in lines("-e", "/root/cluster")
    assert lines("-g", "/root/cluster/name") == ["cluster"]
    assert lines("-g", "/root/monitor/genw@genw1/polling/interval") == ["30"]
    assert lines("-g", "/root/resource/fip@fip1/parameters/ip") == ["10.0.0.9/24"]
    ran = clp("clpcfget", "-g", "/root/resource/md@md1/parameters/nmppath")
    assert (ran.code, ran.out) == (5, "")
    told = json.loads(clp("clpcfget", "-e", "/root/monitor/genw", "--json").out)
    assert told == {"schema": 1, "path": "/root/monitor/genw", "names": ["genw1", "genw2"]}
    top = clp("clpcfget", "-e", "/root").out.splitlines()
    assert {"cluster", "server@server1", "group@failover1", "monitor"} <= set(top)
    for line in ((), ("-e", "/"), ("-g", "/root"), ("-e", "/root/x", "-g", "/root/x")):
        assert clp("clpcfget", *line).code == 2


def test_without_an_agent_it_is_the_file_or_that_of_a_folder(
    clp: Clp, node: Path, tmp_path: Path
) -> None:
    (node / "etc/clptools").mkdir(parents=True)
    (node / "etc/clptools/clp.toml").write_text(CONFIG)
    assert clp("clpcfget", "-g", "/root/cluster/name").out == "cluster\n"
    (tmp_path / "clp.toml").write_text(CONFIG.replace('"cluster"', '"other"'))
    assert clp("clpcfget", "-g", "/root/cluster/name", "-x", str(tmp_path)).out == "other\n"
    (tmp_path / "clp.toml").write_text("[cluster")
    assert clp("clpcfget", "-g", "/root/cluster/name", "-x", str(tmp_path)).code == 8
