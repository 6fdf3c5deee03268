"""What a `clp.conf` has and `clp.toml` has no type for is offered as text to uncomment."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from clptools.common import ocf
from clptools.config.clpconf import Node, parsed, spelled, written
from clptools.config.importer import import_clp_conf, translated
from clptools.config.offers import AGENTS, CHECKS, INSTEAD, MIRRORS, Agent
from clptools.config.original import Grade
from clptools.config.variants import REFUSED
from clptools.faults import ClpError
from tests.config.original_clusters import whole
from tests.config.sample import good

HEAD = """<root><cluster><name>c</name></cluster>
<server name="server1"><priority>0</priority>
 <device id="0"><type>lan</type><info>10.0.0.1</info></device></server>
<server name="server2"><priority>1</priority>
 <device id="0"><type>lan</type><info>10.0.0.2</info></device></server>
<heartbeat><lankhb name="lankhb1"><priority>0</priority><device>0</device></lankhb></heartbeat>
"""
STORAGE = """<group name="failover1"><resource name="volmgr@volmgr1"/><resource name="disk@disk1"/>
 <resource name="exec@exec1"/><resource name="fip@fip1"/></group>
<group name="failover2"><resource name="disk@disk2"/></group>
<resource><volmgr name="volmgr1"><parameters><type>lvm</type><devname>vg1</devname></parameters>
 </volmgr><disk name="disk1"><comment>data</comment><act><retry>2</retry></act>
 <parameters><device>/dev/vg1/lv1</device><fs>ext4</fs>
 <mount><point>/mnt/disk1</point><option>rw,noatime</option><timeout>90</timeout></mount>
 <umount><timeout>70</timeout></umount><fsck><timing>2</timing></fsck></parameters>
 <server name="server2"><parameters><device>/dev/vg1/lv2</device></parameters></server>
 <depend name="volmgr1"/></disk>
 <exec name="exec1"><depend name="disk1"/><depend name="fip1"/></exec>
 <fip name="fip1"><parameters><ip>10.0.0.9/24</ip></parameters></fip>
 <disk name="disk2"><parameters><device>/dev/sdb1</device></parameters></disk></resource>
<monitor><psqlw name="psqlw1"><target>exec1</target><polling><interval>20</interval></polling>
 <parameters><database>my db</database><ipaddress>127.0.0.1</ipaddress>
 <password>80000009b91b</password></parameters>
 <relation><type>rsc</type><name>exec1</name></relation></psqlw>
 <volmgrw name="volmgrw1"><parameters><devname>vg1</devname></parameters>
 <relation><type>rsc</type><name>volmgr1</name></relation></volmgrw></monitor></root>"""


def uncommented(text: str) -> str:
    """The file with the first `#` of each line taken away."""
    return "\n".join(line.removeprefix("#") for line in text.split("\n"))


def imported(inside: str) -> str:
    return import_clp_conf((HEAD + inside).encode()).text


def of_group(text: str, group: int = 0) -> dict[str, Any]:
    """The resources of a group by name."""
    return {one["name"]: one for one in tomllib.loads(text)["group"][group]["resource"]}


def test_text_is_a_comment_until_somebody_decides() -> None:
    text = imported(STORAGE)
    good(text)
    assert list(of_group(text)) == ["exec1", "fip1"]
    assert "monitor" not in tomllib.loads(text)


def test_uncommented_text_is_what_the_file_says_in_the_group_that_had_it() -> None:
    text = uncommented(imported(STORAGE))
    cluster = good(text)
    found = of_group(text)
    assert found["volmgr1"] == {
        "type": "ocf", "name": "volmgr1", "agent": "ocf:heartbeat:LVM-activate",
        "parameters": {"vgname": "vg1"}, "start_retries": 5,
    }  # fmt: skip
    assert found["disk1"] == {
        "type": "ocf", "name": "disk1", "agent": "ocf:heartbeat:Filesystem",
        "parameters": {
            "device": "/dev/vg1/lv1", "directory": "/mnt/disk1", "fstype": "ext4",
            "options": "rw,noatime",
        },
        "parameters_on": {"server2": {"device": "/dev/vg1/lv2"}},
        "timeout": 90, "stop_timeout": 70, "start_retries": 2, "comment": "data",
        "depends": ["volmgr1"],
    }  # fmt: skip
    assert list(of_group(text, 1)) == ["disk2"]
    first = [resource.name for resource in cluster.groups[0].resources]
    assert first.index("volmgr1") < first.index("disk1")
    psqlw, volmgrw = cluster.monitor("psqlw1"), cluster.monitor("volmgrw1")
    assert psqlw is not None and volmgrw is not None
    assert (psqlw.type, psqlw.target, psqlw.interval_ms) == ("genw", "exec1", 20_000)
    assert (volmgrw.type, volmgrw.target, volmgrw.recovery.target) == ("ocfw", "volmgr1", "volmgr1")


def test_what_the_file_does_not_say_is_named_and_not_made_up() -> None:
    text = imported(STORAGE)
    disk2 = text.partition("## disk2,")[2].partition("\n\n")[0]
    for name in ("directory", "fstype"):
        assert f"## MISSING: {name} of parameters." in disk2
        assert f"{name} =" not in disk2
    assert "so the default holds: options, timeout, stop_timeout." in disk2
    volume = text.partition("## volmgr1,")[2].partition("\n\n")[0]
    assert "## MISSING: vg_access_mode" in volume
    psqlw = text.partition("## psqlw1,")[2].partition("\n\n")[0]
    assert "timeout 120, retries 0 are our choice" in psqlw


def test_what_the_file_says_beside_is_in_the_text_but_no_password() -> None:
    text = imported(STORAGE)
    assert "##     parameters/fsck/timing = 2\n" in text
    assert "##     parameters/password = (not shown)\n" in text and "80000009b91b" not in text
    assert "##     psql -w -At -h 127.0.0.1 -d 'my db' -c 'select 1'\n" in text
    assert '## Then also write "disk1" into depends of exec1' in text


def test_the_report_names_where_the_text_is() -> None:
    reports = import_clp_conf((HEAD + STORAGE).encode()).reports
    text = imported(STORAGE)
    for name in ("disk1", "disk2", "volmgr1", "psqlw1", "volmgrw1"):
        own = [one for one in reports if f'look for "## {name},"' in one.hint]
        assert len(own) == 1 and "needs your decision" in own[0].message
        assert f"\n## {name}," in text


def test_a_mirror_is_lost_and_its_mount_is_offered() -> None:
    inside = """<group name="g"><resource name="md@md1"/></group><resource><md name="md1">
    <parameters><nmppath>/dev/NMP1</nmppath><mount><point>/mnt/md1</point></mount><fs>xfs</fs>
    </parameters></md></resource></root>"""
    (report,) = [
        one
        for one in import_clp_conf((HEAD + inside).encode()).reports
        if "md1" in one.message and "parameters/fs" in one.message
    ]
    assert "not carried: there are no mirror disks" in report.message
    assert "DRBD" in report.hint and "docs/storage.md" in report.hint
    (md,) = of_group(uncommented(imported(inside))).values()
    assert md["parameters"] == {"directory": "/mnt/md1", "fstype": "xfs"}


def test_an_address_before_its_disk_is_told_what_keeps_the_order_from_going_round() -> None:
    inside = """<group name="g"><resource name="disk@d"/><resource name="fip@f"/></group><resource>
    <disk name="d"><depend name="f"/></disk>
    <fip name="f"><parameters><ip>10.0.0.9/24</ip></parameters></fip></resource></root>"""
    text = imported(inside)
    assert "## Then also write depends = [] into f:" in text
    good(uncommented(text).replace('name = "f"\n', 'name = "f"\ndepends = []\n'))


@pytest.mark.parametrize(
    ("kind", "parameters", "agent"),
    [
        ("disk", "<fs>zfs</fs><device>tank</device>", "ocf:heartbeat:ZFS"),
        ("volmgr", "<type>zfspool</type><devname>tank</devname>", "ocf:heartbeat:ZFS"),
        ("azurepp", "<probeport>26001</probeport>", "ocf:heartbeat:azure-lb"),
        ("awsvip", "<ip>10.1.0.20</ip>", "ocf:heartbeat:aws-vpc-move-ip"),
        ("vm", "<vmtype>1</vmtype><vmconfigpath>/x</vmconfigpath>", "ocf:heartbeat:VirtualDomain"),
    ],
)
def test_the_agent_is_that_of_the_kind(kind: str, parameters: str, agent: str) -> None:
    inside = f"""<group name="g"><resource name="{kind}@a"/></group><resource><{kind} name="a">
    <parameters>{parameters}</parameters></{kind}></resource></root>"""
    (found,) = of_group(uncommented(imported(inside))).values()
    assert found["agent"] == agent and len(found["parameters"]) == 1


@pytest.mark.parametrize(
    ("kind", "parameters", "why"),
    [
        ("disk", "<disktype>raw</disktype>", "a raw device needs no mount"),
        ("volmgr", "<type>vxvm</type>", "no installed agent imports"),
        ("vm", "<vmtype>0</vmtype>", "no agent does it for vSphere"),
        ("gcdns", "<x>1</x>", "no installed agent does it"),
    ],
)
def test_where_no_agent_does_it_nothing_is_offered(kind: str, parameters: str, why: str) -> None:
    inside = f"""<group name="g"><resource name="{kind}@a"/></group><resource><{kind} name="a">
    <parameters>{parameters}</parameters></{kind}></resource></root>"""
    result = import_clp_conf((HEAD + inside).encode())
    assert "## a," not in result.text
    assert any(f"not carried: {why}" in one.message for one in result.reports)


HOSTILE = (
    'x"\n[[server]]\nname = "evil"', "x'''\"\"\"", "x\r[cluster]\ry", "\u2028[a]", "\\", "#",
    "\x7f", "\u202e", "a" * 5_000,
)  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_no_value_of_a_file_breaks_out_of_its_text(value: str) -> None:
    root = parsed((HEAD + STORAGE).encode(), "")
    for node in (root.make("resource/disk@disk1"), root.make("monitor/psqlw@psqlw1")):
        for _, leaf in node.leaves():
            if leaf.text and leaf.tag not in ("name", "type", "target"):
                leaf.text = value
    result = import_clp_conf(written(root))
    assert [one["name"] for one in tomllib.loads(result.text)["server"]] == ["server1", "server2"]
    plain = tomllib.loads(uncommented(result.text))
    assert [one["name"] for one in plain["server"]] == ["server1", "server2"]
    disk = {one["name"]: one for one in plain["group"][0]["resource"]}["disk1"]
    kept = parsed(written(root), "").value("resource/disk@disk1/parameters/device")
    assert disk["parameters"]["device"] == kept


def test_every_type_with_everything_in_it_has_text_that_is_read() -> None:
    root = whole()
    group = root.make("group@failover1")
    kinds = [kind for kind in AGENTS if root.find(f"resource/{kind}@{kind}1") is None]
    for kind in kinds:
        group.children.append(Node("resource", f"{kind}@{kind}1"))
        root.set(f"resource/{kind}@{kind}1/act/retry", "3")
    result = import_clp_conf(written(root))
    offered = {one.name for one in translated(root).offers}
    assert offered == {f"{kind}1" for kind in (*AGENTS, *CHECKS)}
    plain = tomllib.loads(uncommented(result.text))
    resources = {r["name"] for one in plain["group"] for r in one.get("resource", ())}
    monitors = {one["name"] for one in plain["monitor"]}
    assert offered <= resources | monitors
    for entry in translated(root).entries:
        if entry.offer and "parameters/" in entry.tag:
            text = next(one.text for one in translated(root).offers if one.name == entry.offer)
            value = spelled(entry.value)
            assert value in text or "(not shown)" in text, entry


def test_every_type_that_is_not_carried_has_its_place_in_one_of_the_tables() -> None:
    assert AGENTS.keys() <= REFUSED["group resource"].keys()
    assert CHECKS.keys() <= REFUSED["monitor"].keys()
    assert {kind for kind, _, _ in INSTEAD} <= AGENTS.keys() and set(MIRRORS) <= AGENTS.keys()
    assert {kind for check in CHECKS.values() for kind in check.of} <= AGENTS.keys()


AGENTS_OF = {
    agent.name: agent for agent in (*AGENTS.values(), *INSTEAD.values()) if isinstance(agent, Agent)
}


@pytest.mark.parametrize("agent", AGENTS_OF.values(), ids=AGENTS_OF)
def test_an_offered_agent_has_those_parameters_and_needs_no_others(agent: Agent) -> None:
    try:
        metadata = ocf.metadata(ocf.named(agent.name))
    except ClpError as fault:
        pytest.skip(fault.message)
    for name in {*agent.parameters, *agent.needs}:
        assert metadata.parameter(name) is not None, name
    must = {one.name for one in metadata.parameters if one.must_be_given}
    assert must <= set(agent.needs), must


@pytest.mark.parametrize("kind", [*AGENTS, *CHECKS])
def test_what_is_offered_is_a_decision_and_a_mirror_is_lost(kind: str) -> None:
    section = "resource" if kind in AGENTS else "monitor"
    group = f'<group name="g"><resource name="{kind}@a"/></group>' if kind in AGENTS else ""
    inside = f'{group}<{section}><{kind} name="a"><x>1</x></{kind}></{section}></root>'
    found = translated(parsed((HEAD + inside).encode(), ""))
    (offer,) = found.offers
    grades = {entry.grade for entry in found.entries if entry.offer}
    assert grades == {offer.grade} == {Grade.LOST if kind in MIRRORS else Grade.DECISION}
