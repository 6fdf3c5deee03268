"""A `clp.conf` becomes a `clp.toml` that loads; what is left behind is named."""

from __future__ import annotations

import tomllib

import pytest

from clptools.config.importer import import_clp_conf
from clptools.faults import ClpError
from tests.config.sample import good

CONF = """<?xml version="1.0" encoding="EUC-JP"?>
<root>
 <all><charset>EUC-JP</charset><serveros>linux</serveros></all>
 <cluster><name>sample</name><heartbeat><timeout>90000</timeout></heartbeat>
  <networkpartition><npaction>1</npaction></networkpartition></cluster>
 <server name="server2"><priority>1</priority>
  <device id="0"><type>lan</type><info>10.0.0.2</info></device>
  <device id="600"><type>bmc</type><info>10.9.0.2</info></device></server>
 <server name="server1"><priority>0</priority>
  <device id="0"><type>lan</type><info>10.0.0.1</info></device>
  <device id="600"><type>bmc</type><info>10.9.0.1</info></device></server>
 <heartbeat><types name="lankhb"/><types name="bmchb"/><types name="diskhb"/>
  <bmchb name="bmchb1"><priority>2</priority><device>600</device></bmchb>
  <lankhb name="lankhb1"><priority>0</priority><device>0</device></lankhb>
  <diskhb name="diskhb1"><priority>1</priority><device>300</device></diskhb></heartbeat>
 <networkpartition><types name="pingnp"/><pingnp name="pingnp1"><device>10200</device>
  <grp id="0"><list id="0"><ip>10.0.0.254</ip></list></grp></pingnp></networkpartition>
 <group name="failover1"><comment>受付</comment><resource name="exec@exec1"/>
  <resource name="fip@fip1"/><resource name="md@md1"/>
  <policy name="server1"><order>0</order></policy>
  <policy name="server2"><order>1</order></policy></group>
 <resource><types name="exec"/><types name="fip"/>
  <exec name="exec1"><parameters><act><path>start.sh</path></act></parameters>
   <depend name="fip1"/></exec>
  <fip name="fip1"><parameters><ip>10.0.0.100</ip></parameters></fip></resource>
 <monitor><types name="userw"/><types name="mrw"/><types name="genw"/><types name="oraclew"/>
  <userw name="userw"><target/></userw>
  <mrw name="mrw1"><parameters><category>BMCNOTICE</category><keyword>10.0.0.1</keyword>
   </parameters>
   <server name="server2"><parameters><keyword>10.0.0.2</keyword></parameters></server>
   <emergency><threshold><restart>0</restart><fo>1</fo></threshold><action>5</action></emergency>
   <relation><type>grp</type><name>failover1</name></relation></mrw>
  <genw name="genw1"><polling><interval>10</interval></polling><parameters><path>genw.sh</path>
   </parameters><relation><name>exec1</name><type>rsc</type></relation></genw>
  <oraclew name="oraclew1"/></monitor>
</root>
"""


def test_the_sample_cluster_comes_over() -> None:
    imported = import_clp_conf(CONF.encode("euc-jp"))
    cluster = good(imported.text)
    assert cluster.names == ("server1", "server2")
    assert [(link.name, link.type) for link in cluster.interconnects] == [
        ("lankhb1", "lankhb"),
        ("bmchb1", "bmchb"),
    ]
    group = cluster.groups[0]
    assert (group.comment, group.servers) == ("受付", ("server1", "server2"))
    assert [(r.name, r.depends) for r in group.resources] == [("fip1", ()), ("exec1", ("fip1",))]
    mrw = cluster.monitor("mrw1")
    assert mrw is not None and mrw.keywords == {"server1": "10.0.0.1", "server2": "10.0.0.2"}
    assert (mrw.recovery.action, mrw.recovery.target) == ("failover", "failover1")
    assert mrw.recovery.final_action == "reboot"
    genw = cluster.monitor("genw1")
    assert genw is not None and genw.interval_ms == 10_000
    assert (genw.recovery.action, genw.recovery.target) == ("restart", "exec1")


def test_what_is_left_behind_is_named() -> None:
    said = " ".join(str(report) for report in import_clp_conf(CONF.encode("euc-jp")).reports)
    for name in (
        "diskhb1",
        "md@md1",
        "oraclew1",
        "timeout = 90000",
        "24 is our choice",
        "BMC account",
    ):
        assert name in said


def conf(objects: str, monitors: str = "") -> bytes:
    """A clp.conf of one server with one group."""
    return f"""<root><cluster><name>c</name></cluster>
    <server name="s"><priority>0</priority></server>
    <group name="g"><start>0</start><exclusive>1</exclusive><resource name="exec@e"/></group>
    <resource>{objects}</resource><monitor>{monitors}</monitor></root>""".encode()


def test_parameters_with_an_equivalent_come_over_and_the_others_are_named_with_the_reason() -> None:
    imported = import_clp_conf(
        conf(
            """<exec name="e"><comment>db</comment><act><retry>2</retry><fo>0</fo></act>
            <deact><action>4</action></deact><parameters><act><path>up.sh</path></act>
            <timeout><start>60</start><stop>90</stop></timeout><userlog>/x</userlog></parameters>
            <depend name="none"/></exec>""",
            """<miiw name="m"><parameters><object>eth0</object></parameters>
            <polling><reconfirmation>3</reconfirmation><timing>1</timing>
            <servers id="0"><name>s</name></servers></polling><target>exec@e</target>
            <emergency><threshold><restart>0</restart><fo>0</fo></threshold><action>2</action>
            <preaction><use>1</use></preaction><dumpcollect><use>1</use></dumpcollect></emergency>
            <relation><type>cls</type><name>LocalServer</name></relation></miiw>""",
        )
    )
    read = tomllib.loads(imported.text)
    assert read["group"][0]["startup"] == "manual"
    assert read["group"][0]["resource"][0] == {
        "type": "exec", "name": "e", "comment": "db", "start": "up.sh",
        "start_retries": 2, "failover_on_failure": 0, "timeout": 60, "stop_timeout": 90,
    }  # fmt: skip
    assert read["monitor"][0] == {
        "type": "miiw", "name": "m", "interface": "eth0", "retries": 3, "timing": "active",
        "servers": ["s"], "target": "e", "interval": 10, "timeout": 180,
        "recovery": {"action": "final", "restart_count": 0, "failover_count": 0,
                     "final_action": "stop-group", "pre_action_script": "preaction.sh"},
    }  # fmt: skip
    said = " ".join(str(report) for report in imported.reports)
    for part in ("exclusive = 1 not needed here: no other group is exclusive", "deact/action = 4",
                 "userlog = /x", "emergency/dumpcollect/use = 1",
                 "depend@none not carried: not in the file"):  # fmt: skip
        assert part in said


EVERYWHERE = """<root>
 <all><charset>ASCII</charset><encode>ASCII</encode><serveros>linux</serveros></all>
 <cluster><name>c</name><comment>ours</comment><uuid>4-2</uuid>
  <heartbeat><interval>3000</interval><timeout>30000</timeout></heartbeat>
  <cialert><use>1</use></cialert><rsctimeout><rsctoaction>5</rsctoaction></rsctimeout>
  <trap><snmpsrv id="0"><srvname>10.0.0.9</srvname></snmpsrv></trap></cluster>
 <server name="s"><priority>0</priority><comment>left rack</comment><survive>1</survive>
  <device id="0"><type>lan</type><info>10.0.0.1</info></device>
  <device id="1"><type>lan</type><info>10.1.0.1</info></device>
  <device id="300"><type>disk</type><info>/dev/sdb</info></device>
  <device id="10200"><type>ping</type><info>0</info></device>
  <device id="20000"><type>lamp</type><info>10.0.0.8</info></device></server>
 <heartbeat><lankhb name="lankhb1"><priority>0</priority><device>0</device>
  <window>4</window></lankhb><retries>4</retries></heartbeat>
 <networkpartition><pingnp name="pingnp1"><device>10200</device><interval>5</interval>
  <grp id="0"><list id="0"><ip>10.0.0.254</ip></list></grp></pingnp></networkpartition>
 <group name="g"><gid>0</gid><resource name="exec@e"/></group>
 <resource><exec name="e"><depend name="md1"/></exec><exec name="idle"/></resource>
 <monitor/>
 <messages><types name="rc"/><rc name="10"><mail>1</mail><trap>1</trap></rc></messages>
 <rm><errordetect><norecovery>1</norecovery></errordetect><haltcount>3</haltcount></rm>
 <pm><exec0><recover>7</recover></exec0></pm><haltp><method>softdog</method></haltp>
 <mail><smtpsrv id="0"><srvname>relay</srvname></smtpsrv></mail>
 <webmgr><client><objectnumber>19</objectnumber></client></webmgr>
 <trekking><configid>5</configid></trekking>
</root>"""
"""A clp.conf with something without equivalent in each of its sections."""


def test_a_recovery_that_is_switched_off_is_told_before_all_else_because_it_will_be_on() -> None:
    first = import_clp_conf(EVERYWHERE.encode()).reports[0]
    assert "rm/errordetect/norecovery: the original's recovery is switched off" in first.message
    assert "ON" in first.message and "clpcl --suspend" in first.hint
    on = import_clp_conf(EVERYWHERE.replace("<norecovery>1", "<norecovery>0").encode())
    assert "norecovery" not in " ".join(str(report) for report in on.reports)


@pytest.mark.parametrize(
    "said",
    [
        "cluster: heartbeat/retries = 4 not carried: there is no equivalent",
        "cluster: rm/haltcount = 3 not carried: there is no limit of final actions",
        "cluster: cluster/comment = ours not needed here: it has no key; write it as a comment",
        "cluster: cluster/cialert/use = 1 not carried: the LED is switched by clpledctrl",
        "cluster: cluster/rsctimeout/rsctoaction = 5 needs your decision: each resource has its",
        "cluster: mail/smtpsrv@0/srvname = relay needs your decision: a relay is given by its",
        "cluster: messages/rc@10 (mail 1, trap 1) needs your decision: alerts are chosen by",
        "cluster: pm/exec0/recover = 7 not needed here: the agent is started again by systemd",
        "cluster: haltp/method = softdog not needed here: a shutdown that hangs is ended by the",
        "cluster: webmgr/client/objectnumber = 19 not needed here: there is no Cluster WebUI",
        "server s: comment = left rack not needed here: it has no key",
        "server s: survive = 1 not needed here: never do two servers run a group",
        "server s: device 1 (lan): type = lan, info = 10.1.0.1 not carried: no interconnect is on",
        "server s: device 300 (disk): type = disk, info = /dev/sdb not carried: heartbeats over a",
        "server s: device 10200 (ping): info = 0 needs your decision: every server asks",
        "server s: device 20000 (lamp): type = lamp, info = 10.0.0.8 not carried: there is no equ",
        "interconnect lankhb1: window = 4 not carried: there is no equivalent",
        "NP resolution pingnp1: interval = 5 not carried: there is no equivalent",
        "group resource e: depend@md1 not carried: not in the file",
        "group resource exec@idle not carried: no group has it",
        "cluster: cluster/heartbeat/interval = 3000, cluster/heartbeat/timeout = 30000 not needed",
        "cluster: group g: gid = 0, all/encode = ASCII, cluster/uuid = 4-2, trekking/configid = 5 ",
    ],
)
def test_in_every_section_what_is_left_behind_is_named_with_the_reason(said: str) -> None:
    messages = [report.message for report in import_clp_conf(EVERYWHERE.encode()).reports]
    assert [one for one in messages if one.startswith(said)], messages


def test_heartbeats_at_the_originals_interval_do_not_make_a_configuration_that_is_refused() -> None:
    good(import_clp_conf(EVERYWHERE.encode()).text)


@pytest.mark.parametrize("place", ["cluster/mail", "cluster/mail/smtp", "mail", "cluster/trap"])
def test_what_is_not_known_of_where_alerts_go_is_lost(place: str) -> None:
    known = "<mail><subject>x</subject><smtp><charset>ASCII</charset></smtp></mail><trap/>"
    before = import_clp_conf(CONF.replace("<name>sample", known + "<name>sample").encode("euc-jp"))
    inner = "<relay>10.0.0.9</relay>"
    for tag in reversed(place.removeprefix("cluster/").split("/")):
        inner = f"<{tag}>{inner}</{tag}>"
    beside = "<name>sample" if place.startswith("cluster/") else " <cluster>"
    imported = import_clp_conf(CONF.replace(beside, inner + beside).encode("euc-jp"))
    said = [str(report) for report in imported.reports if "10.0.0.9" in str(report)]
    assert len(said) == 1
    assert f"{place}/relay = 10.0.0.9 not carried: there is no equivalent" in said[0]
    assert "mail" not in " ".join(str(one) for one in before.reports if "not carried" in str(one))


def recovery(monitor: str) -> dict[str, object]:
    """What is written of the recovery of a monitor, given as its element."""
    imported = import_clp_conf(conf('<exec name="e"/>', monitor))
    return dict(tomllib.loads(imported.text)["monitor"][0]["recovery"])


def test_a_final_action_keeps_the_target_that_must_be_online_for_it() -> None:
    assert recovery(
        """<genw name="m"><emergency><threshold><restart>0</restart><fo>0</fo></threshold>
        <action>4</action></emergency>
        <relation><type>grp</type><name>g</name></relation></genw>"""
    ) == {
        "action": "final", "target": "g", "restart_count": 0, "failover_count": 0,
        "final_action": "shutdown",
    }  # fmt: skip


def test_what_a_clp_conf_leaves_to_the_originals_defaults_is_written_out() -> None:
    data = conf('<exec name="e"/><fip name="f"><parameters><ip>10.0.0.9/24</ip></parameters></fip>')
    np = b"""<networkpartition><pingnp name="pingnp1"><device>10200</device>
        <grp id="0"><list id="0"><ip>10.0.0.254</ip></list></grp></pingnp></networkpartition>"""
    group = b'<resource name="exec@e"/>'
    data = data.replace(group, group + b'<resource name="fip@f"/>')
    imported = import_clp_conf(data.replace(b"<group ", np + b"<group "))
    cluster = good(imported.text)
    assert cluster.cluster.partition_action == "shutdown"
    assert {r.name: r.start_retries for r in cluster.groups[0].resources} == {"e": 0, "f": 5}
    said = " ".join(str(report) for report in imported.reports)
    assert "group resources e, f: the original's default deact/action, shutdown, not" in said
    without_np = good(import_clp_conf(data).text)
    assert without_np.cluster.partition_action == "stop"


def test_lengths_that_the_original_chooses_by_type_are_written_out_and_told() -> None:
    monitors = """<genw name="m"><polling><interval>9</interval></polling></genw><ipw name="n">
        <polling><interval>9</interval><timeout>8</timeout><reconfirmation>1</reconfirmation>
        </polling></ipw><mrw name="o"/><userw name="userw"/>"""
    imported = import_clp_conf(conf("", monitors))
    said = " ".join(str(one) for one in imported.reports)
    assert "monitor m: timeout 120, retries 0 are our choice, as clp.conf does not state" in said
    assert "monitor n: interval" not in said and "monitor o" not in said
    m, *_ = tomllib.loads(imported.text)["monitor"]
    assert (m["interval"], m["timeout"], m["retries"]) == (9, 120, 0)


@pytest.mark.parametrize(
    ("preaction", "script", "told"),
    [
        ("<path>preaction.sh</path>", None, False),
        ("<path>/opt/x.sh</path><use>1</use>", "/opt/x.sh", True),
        ("<userestart>1</userestart>", "preaction.sh", True),
        (
            "<use>1</use><userestart>1</userestart><usefailover>1</usefailover>",
            "preaction.sh",
            False,
        ),
    ],
)
def test_a_script_before_recovery_runs_only_where_a_step_uses_it(
    preaction: str, script: str | None, told: bool
) -> None:
    monitor = f"""<genw name="m"><emergency><preaction>{preaction}</preaction></emergency>
        {GROUP}</genw>"""
    assert recovery(monitor).get("pre_action_script") == script
    said = " ".join(str(one) for one in import_clp_conf(conf("", monitor)).reports)
    assert ("runs before every step here" in said) is told


LOCAL_SERVER = "<relation><type>cls</type><name>LocalServer</name></relation>"
GROUP = "<relation><type>grp</type><name>g</name></relation>"


def test_a_server_as_recovery_target_is_not_restarted_it_only_gets_the_final_action() -> None:
    assert recovery(f'<genw name="m">{LOCAL_SERVER}</genw>') == {"action": "final"}
    assert recovery(
        f"""<genw name="m">{LOCAL_SERVER}<emergency><action>5</action>
        <threshold><restart>1</restart></threshold></emergency></genw>"""
    ) == {"action": "final", "restart_count": 1, "final_action": "reboot"}


def test_a_monitor_without_recovery_target_is_about_all_groups() -> None:
    assert recovery('<genw name="m"/>') == {"action": "restart", "target": "All Groups"}


@pytest.mark.parametrize(
    ("emergency", "action", "restarts"),
    [
        ("", "failover", 0),
        ("<threshold><restart>2</restart></threshold>", "restart", 2),
        ("<threshold><fo>0</fo></threshold>", "final", 0),
        ("<threshold><script>1</script></threshold>", "script", 0),
    ],
)
def test_a_message_receive_monitor_fails_over_unless_restarts_are_asked_for(
    emergency: str, action: str, restarts: int
) -> None:
    found = recovery(f'<mrw name="m"><emergency>{emergency}</emergency>{GROUP}</mrw>')
    assert (found["action"], found["restart_count"]) == (action, restarts)


@pytest.mark.parametrize(("value", "named"), [("1", False), ("0", True)])
def test_a_time_out_is_not_retried_as_in_the_original_by_default(value: str, named: bool) -> None:
    monitor = f"""<genw name="m"><emergency><timeout><notreconfirmation><use>{value}</use>
        </notreconfirmation></timeout></emergency></genw>"""
    said = " ".join(str(one) for one in import_clp_conf(conf("", monitor)).reports)
    assert (
        f"notreconfirmation/use = {value} not carried: a time-out is never retried" in said
    ) is named


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "not XML"),
        (b"<root><cluster><name>a", "it ends in the middle"),
        (b"<root></root>", "no <root><cluster>"),
        (b"<root><cluster>", "not XML"),
        (b'<?xml version="1.0" encoding="KLINGON"?><root/>', "unknown encoding"),
        (
            b'<?xml version="1.0" encoding="EUC-JP"?><root><cluster>\xff</cluster></root>',
            "is not euc-jp text",
        ),
        (b'<!DOCTYPE r [<!ENTITY a "b">]><root/>', "document type"),
        (b"x" * (5 << 20), "larger than 4 MiB"),
    ],
)
def test_what_is_no_clp_conf_is_refused_in_one_line(data: bytes, part: str) -> None:
    with pytest.raises(ClpError) as refused:
        import_clp_conf(data)
    assert part in refused.value.message and "\n" not in refused.value.message
