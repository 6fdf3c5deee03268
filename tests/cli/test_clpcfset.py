"""`clpcfset`: a configuration built and changed one command at a time."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from clptools.config import history
from clptools.core.model.settings import Settings
from tests.cli.conftest import Clp
from tests.config.sample import SAMPLE, good


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "clp.toml"


def do(clp: Clp, lines: str) -> str:
    """Every line must succeed; returns what they said, without the last word of each."""
    said = ""
    for line in filter(None, map(str.strip, lines.splitlines())):
        ran = clp("clpcfset", *shlex.split(line))
        assert (ran.code, ran.err) == (0, ""), (line, ran)
        assert ran.out.endswith("Command succeeded.\n"), line
        said += ran.out.removesuffix("Command succeeded.\n")
    return said


ORIGINAL = """
create cluster ASCII
add srv server1 0
add srv server2 1
add device server1 lan 0 192.168.0.1
add device server2 lan 0 192.168.0.2
add device server1 lan 1 10.0.0.1
add device server2 lan 1 10.0.0.2
add device server1 bmc 600 192.168.0.11
add device server2 bmc 600 192.168.0.12
add hb lankhb 0 0
add hb lanhb 1 1
add hb bmchb 600 2
add grp failover failover1
add grpparam failover failover1 policy@server1/order 0
add grpparam failover failover1 policy@server2/order 1
add rsc failover1 exec exec1
add rscparam exec exec1 parameters/act/path start.sh
add rscparam exec exec1 parameters/deact/path stop.sh
add rscparam exec exec1 parameters/timeout/start 1800
add rsc failover1 fip fip1
add rscparam fip fip1 parameters/ip 192.168.0.100
add rscdep exec exec1 fip1
add mon userw userw
add monparam userw userw parameters/method softdog
add mon mrw mrw1
add monparam mrw mrw1 parameters/category BMCNOTICE
add monparam mrw mrw1 parameters/keyword 192.168.0.1
add monparam mrw mrw1 server@server1/parameters/keyword 192.168.0.1
add monparam mrw mrw1 server@server2/parameters/keyword 192.168.0.2
add monparam mrw mrw1 relation/type grp
add monparam mrw mrw1 relation/name failover1
add monparam mrw mrw1 emergency/threshold/restart 0
add monparam mrw mrw1 emergency/action 1
"""
LEFT = """
set server.server1.bmc.user=clp server.server2.bmc.user=clp
set monitor.mrw1.stall_on_predictive_failure=true
set monitor.mrw1.stall_on_performance_down=true
set monitor.mrw1.community=public
set monitor.mrw1.recovery.after_recovery=reset
unset monitor.mrw1.recovery.restart_count
unset resource.fip1.start_retries
"""
"""What the original's window has and its clpcfset names nowhere that we know of."""
OURS = """
create cluster
add server server1 bmc.address=192.168.0.11 bmc.user=clp
add server server2 bmc.address=192.168.0.12 bmc.user=clp
add interconnect lankhb address=server1=192.168.0.1,server2=192.168.0.2
add interconnect lanhb address.server1=10.0.0.1 address.server2=10.0.0.2
add interconnect bmchb
add group failover1 servers=server1,server2 startup=auto failover=auto failback=manual
add resource failover1 exec exec1 start=start.sh stop=stop.sh timeout=1800
add resource failover1 fip fip1 address=192.168.0.100/24 depends=
add monitor userw method=softdog guard_action=reboot
add monitor mrw mrw1 category=BMCNOTICE keyword=192.168.0.1
set 'monitor.mrw1.keyword_on={ server1 = "192.168.0.1", server2 = "192.168.0.2" }'
set monitor.mrw1.stall_on_predictive_failure=true monitor.mrw1.stall_on_performance_down=true
set monitor.mrw1.community=public
set monitor.mrw1.recovery.action=failover monitor.mrw1.recovery.target=failover1
set monitor.mrw1.recovery.after_recovery=reset
set monitor.mrw1.recovery.after_recovery_deadline=300
"""


def sample() -> Settings:
    return good(SAMPLE)


@pytest.mark.parametrize("lines", [ORIGINAL + LEFT, OURS], ids=["original", "ours"])
def test_the_sample_cluster_is_built_by_commands_alone(here: Path, clp: Clp, lines: str) -> None:
    do(clp, lines)
    assert good(here.read_text()) == sample()
    assert clp("clpcfchk", str(here)).code == 0


def test_a_configuration_that_is_not_whole_yet_is_no_fault(here: Path, clp: Clp) -> None:
    assert do(clp, "create c\nadd mon mrw mrw1\nadd group g\nset group.g.servers=s1,s2") == ""
    assert clp("clpcfchk", str(here)).code == 8


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("set monitor.mrw1.interval=abc", 8, "monitor mrw1: interval = \"abc\": must be a number"),
        ("set monitor.mrw1.recovery.action=failovr", 8, "Did you mean failover?"),
        ("set cluster.lease=9999999", 8, "must be from 0.1 to 3600 seconds"),
        ("set group.failover1.startup=yes", 8, "must be one of auto, manual"),
        ("set monitor.mrw1.category=" + "x" * 33, 8, "33 bytes, at most 32"),
        ("set monitor.mrw1.intervall=3", 2, "Did you mean interval?"),
        ("set monitor.mrw9.interval=3", 5, "mrw9: no such monitor.\nDid you mean mrw1?"),
        ("set resource.exec9.timeout=3", 5, "Did you mean exec1?"),
        ("set interconnect.lankhb1.address.server9=1.1.1.1", 5, "server9: no such server."),
        ("set monitr.mrw1.interval=3", 2, "Did you mean monitor?"),
        ("set monitor.mrw1.name=x", 2, "clpcfset rename monitor mrw1 x"),
        ("set monitor.mrw1.type=mrv", 8, "no such monitor type"),
        ("set cluster.lease", 2, "set PATH=VALUE"),
        ("unset monitor.mrw1.nonsense", 2, "there is no key"),
        ("add mon mrv", 8, "mrv: no such monitor type.\nDid you mean mrw?"),
        ("add resource failover9 exec e", 5, "Did you mean failover1?"),
        ("add rsc failover1 md md1", 8, "there are no mirror disks"),
        ("add rsc failover1 hd hd1", 8, "there are no mirror disks"),
        ("add hb comhb 100 3", 8, "serial line"),
        ("add hb diskhb 300 3", 8, "shared disk"),
        ("add device server1 mdc 400 10.1.1.1", 8, "no mirror communication"),
        ("add device server1 com 100 /dev/ttyS0", 8, "serial line"),
        ("add device server1 disk 300 /dev/sdb1", 8, "shared disk"),
        ("add device server9 lan 3 10.9.9.9", 5, "no such server"),
        ("add hb lankhb 7 0", 5, "7: no such lan device"),
        ("add grp virtualmachine vm1", 8, "virtual machines are not carried"),
        ("add group exec1", 6, "group resource exec1: is there already"),
        ("add group 'All Groups'", 8, "not a name"),
        ("add srv a b c", 2, "clpcfset add srv SERVER [PRIORITY]"),
        ("add srv a first", 2, "first: PRIORITY is a number"),
        ("add sever a", 2, "Did you mean server?"),
        ("add alertservice dn1000s", 8, "no warning lamps"),
        ("add monparam genw mrw1 polling/interval 3", 5, "monitor mrw1 is mrw, not genw"),
        ("add monparam mrw mrw1 polling/interval soon", 8, "soon is not a number"),
        ("add grpparam failover failover1 exclusive 7", 8, "that code has no equivalent"),
        ("add grpparam failover failover1 policy@server9/order 1", 5, "no such server"),
        ("add rscparam exec exec1 parameters/nonsense 1", 8, "there is no equivalent"),
        ("add clsparam cluster/networkpartition/npaction 11", 8, "I/O fencing"),
        ("add clsparam cluster/cialert/use 1", 8, "the LED is switched by clpledctrl"),
        ("add monparam mrw mrw1 emergency/action 15", 8, "I/O fencing"),
        ("add monparam mrw mrw1 'no tag' 1", 2, "not a tag path"),
        ("add clsparam server@server9/survive 1", 5, "no such server"),
        ("add rscdep exec exec1 nosuch", 5, "no such group resource"),
        ("del mon nosuch", 5, "no such monitor"),
        ("del rsc nosuch exec exec1", 5, "not of nosuch"),
        ("rename mon mrw1 userw", 6, "monitor userw: is there already"),
        ("rename mon mrw1 a/b", 8, "not a name"),
        ("move srv server1 first", 2, "PLACE is a number"),
        ("buid", 2, "no such verb"),
        ("create other", 6, "is there already"),
        ("show nosuch", 2, "there is no nosuch"),
    ],
)  # fmt: skip
def test_what_is_refused_names_the_thing_and_the_mend_and_changes_nothing(
    here: Path, clp: Clp, line: str, code: int, said: str
) -> None:
    here.write_text(SAMPLE)
    ran = clp("clpcfset", *shlex.split(line))
    assert ran.code == code, ran
    assert said in ran.err
    assert ran.out == ""
    assert here.read_text() == SAMPLE


def test_comments_and_layout_of_the_rest_stay(here: Path, clp: Clp) -> None:
    here.write_text(SAMPLE)
    do(clp, "set monitor.mrw1.interval=5\nadd mon ipw targets=10.0.0.254\ndel rsc fip1")
    text = here.read_text()
    gone = [line for line in SAMPLE.splitlines() if line not in text.splitlines()]
    assert all("fip" in line or "192.168.0.100" in line or "depends" in line for line in gone)
    assert not (here.parent / "clp.toml.bak").exists()


def test_what_cannot_be_changed_in_place_keeps_the_file_as_it_was(here: Path, clp: Clp) -> None:
    old = "# ours\nserver = [{ name = 'a' }]\n[group]\nx = 1\n[monitor]\n"
    here.write_text(old.replace("[group]\nx = 1\n[monitor]\n", ""))
    said = do(clp, "set server.a.bmc.address=10.9.0.1")
    assert said == "" and here.read_text().startswith("# ours\n")
    here.write_text(old)
    ran = clp("clpcfset", "add", "group", "g")
    assert (ran.code, here.read_text()) == (8, old)


def test_the_original_reads_a_place_in_the_order(here: Path, clp: Clp) -> None:
    assert do(clp, "create c\nadd srv b 0\nadd srv c 1\nadd srv a 0\nadd srv z 9") == ""
    told = json.loads(clp("clpcfset", "show", "--json").out)
    assert [s["name"] for s in told["configuration"]["server"]] == ["a", "b", "c", "z"]
    do(clp, "add device a lan 0 10.0.0.1\nadd device a lan 1 10.1.0.1\nadd device a lan 2 10.2.0.1")
    do(clp, "add hb lankhb 1 0\nadd hb lankhb 2 1\nadd hb lankhb 0 0\nadd device b lan 0 10.0.0.2")
    links = json.loads(clp("clpcfset", "show", "--json").out)["configuration"]["interconnect"]
    assert [(link["name"], link["address"]["a"]) for link in links] == [
        ("lankhb3", "10.0.0.1"), ("lankhb1", "10.1.0.1"), ("lankhb2", "10.2.0.1"),
    ]  # fmt: skip
    assert links[0]["address"]["b"] == "10.0.0.2"


def test_np_resolution_in_the_originals_words(here: Path, clp: Clp) -> None:
    do(
        clp,
        """
        create c
        add srv a
        add device a ping 10200 1
        add np pingnp 10200 0 0 0 10.0.0.254
        add np pingnp 10200 0 0 1 10.0.0.253
        add np httpnp 10700 1 witness:8080
        add device a witness 700 1 witness:80
        add hb witnesshb 700 0 witness:80
        add np etcd endpoints=http://10.0.0.9:2379 required=true
        """,
    )
    told = json.loads(clp("clpcfset", "show", "--json").out)["configuration"]
    assert [(np["type"], np.get("targets"), np.get("url")) for np in told["np"]] == [
        ("ping", ["10.0.0.254", "10.0.0.253"], None),
        ("http", None, "http://witness:8080/"),
        ("etcd", None, None),
    ]
    assert told["interconnect"][0]["url"] == "http://witness:80/"
    do(clp, "del np httpnp 10700\ndel hb witnesshb 700")
    assert "every server asks" in do(clp, "add device a ping 10200 0")


def test_del_takes_out_what_add_put_in(here: Path, clp: Clp) -> None:
    do(clp, ORIGINAL)
    do(
        clp,
        """
        del rscdep exec exec1 fip1
        del rscparam exec exec1 parameters/timeout/start
        del monparam mrw mrw1 server@server2/parameters/keyword
        del monparam mrw mrw1 emergency/threshold/restart
        del grpparam failover failover1 policy@server1/order
        del device server1 1
        del rsc failover1 exec exec1
        del mon userw userw
        """,
    )
    told = json.loads(clp("clpcfset", "show", "--json").out)["configuration"]
    assert [r["name"] for r in told["group"][0]["resource"]] == ["fip1"]
    assert told["group"][0]["servers"] == ["server2"]
    (mrw,) = told["monitor"]
    assert mrw["keyword_on"] == {"server1": "192.168.0.1"}
    assert mrw["recovery"]["action"] == "failover"
    assert told["interconnect"][1]["address"] == {"server2": "10.0.0.2"}


def test_the_originals_thresholds_decide_with_what_recovery_begins(here: Path, clp: Clp) -> None:
    def param(tag: str, value: object) -> dict[str, object]:
        do(clp, f"add monparam genw genw1 {tag} {value}")
        told = json.loads(clp("clpcfset", "show", "monitor.genw1", "--json").out)
        return dict(told["keys"]["recovery"])

    do(clp, "create c\nadd mon genw genw1")
    assert param("relation/name", "failover1") == {"action": "restart", "target": "failover1"}
    assert param("emergency/threshold/restart", 0)["action"] == "failover"
    assert param("emergency/threshold/fo", 0)["action"] == "final"
    assert param("emergency/threshold/fo", 1)["action"] == "failover"
    assert param("relation/name", "LocalServer")["action"] == "final"
    assert param("emergency/threshold/restart", 1)["action"] == "final"
    assert param("emergency/action", 5)["final_action"] == "reboot"
    assert param("emergency/threshold/script", 1)["script"] == "preaction.sh"
    assert param("emergency/preaction/use", 1)["pre_action_script"] == "preaction.sh"
    both = param("emergency/preaction/path", "mine.sh")
    assert (both["script"], both["pre_action_script"]) == ("mine.sh", "mine.sh")


def test_a_renamed_server_is_renamed_wherever_it_is_named(here: Path, clp: Clp) -> None:
    here.write_text(SAMPLE)
    said = do(clp, "rename server server2 db2")
    text = here.read_text()
    assert "server2" not in "".join(line.partition("#")[0] for line in text.splitlines(True))
    assert good(text).names == ("server1", "db2")
    for place in ("lankhb1: address", "failover1: servers", "mrw1: keyword_on", "clpbmccnf db2"):
        assert place in said


def test_a_renamed_group_takes_its_scripts_with_it(here: Path, clp: Clp) -> None:
    do(clp, OURS)
    said = do(clp, "rename grp failover1 db\nrename rsc exec1 web\nadd mon genw genw1")
    assert "recovery.target" in said
    assert (here.parent / "scripts/db/web/start.sh").exists()
    assert good(here.read_text()).monitor("mrw1").recovery.target == "db"  # type: ignore[union-attr]  # it is there


def test_groups_that_wait_for_a_group_follow_its_name(here: Path, clp: Clp) -> None:
    both = '[[group]]\nname = "app"\n[[group.resource]]\ntype = "exec"\nname = "run"\n'
    here.write_text(f"{SAMPLE}\n{both}")
    do(clp, "set group.app.start_after=failover1 group.app.exclusive=normal")
    do(clp, "set group.app.stop_after=failover1 group.app.exclusive_with=failover1")
    said = do(clp, "rename grp failover1 db")
    app = good(here.read_text()).group("app")
    assert app is not None
    assert (app.start_after, app.stop_after, app.exclusive_with) == (("db",),) * 3
    assert all(f"group app: {key}" in said for key in ("start_after", "exclusive_with"))
    do(clp, "del grp failover db")
    assert "start_after = []" in here.read_text()


def test_a_deleted_server_leaves_the_lists_and_a_deleted_group_is_still_named(
    here: Path, clp: Clp
) -> None:
    here.write_text(SAMPLE)
    assert do(clp, "del srv server2") == ""
    text = here.read_text()
    assert 'servers = ["server1"]' in text and "server2 =" not in text
    assert do(clp, "del grp failover failover1") == (
        "Still named: failover1 in monitor mrw1: recovery.target.\n"
    )
    here.write_text(SAMPLE.replace('["server1", "server2"]', '["server2"]'))
    do(clp, "del srv server2")
    assert "servers = []" in here.read_text()  # left out, it would mean all of them


def test_names_made_from_places_do_not_change_when_another_goes(here: Path, clp: Clp) -> None:
    here.write_text(
        '[[interconnect]]\ntype = "lanhb"\n[[interconnect]]\ntype = "lanhb"\n'
        '[[np]]\ntype = "ping"\n[[np]]\ntype = "ping"\n'
    )
    do(clp, "del hb lanhb1\nmove np pingnp2 0")
    told = json.loads(clp("clpcfset", "show", "--json").out)["configuration"]
    assert told["interconnect"] == [{"type": "lanhb", "name": "lanhb2"}]
    assert told["np"] == [{"type": "ping", "name": "pingnp2"}, {"type": "ping"}]
    assert "pingnp2 (ping), pingnp1 (ping)" in clp("clpcfset", "show").out


def test_a_new_exec_resource_gets_frames_of_its_scripts(here: Path, clp: Clp) -> None:
    do(clp, "create c\nadd group g")
    said = do(clp, "add rsc g exec app")
    for name in ("start.sh", "stop.sh"):
        script = here.parent / "scripts/g/app" / name
        assert stat.S_IMODE(script.stat().st_mode) == 0o750
        assert script.read_text().startswith("#!/bin/sh\n")
        assert str(Path("scripts/g/app") / name) in said
    start = str(here.parent / "scripts/g/app/start.sh")
    for event, code in (("START", 0), ("FAILOVER", 0), ("RECOVER", 1), ("", 1)):
        # What the agent never says has no branch that would never be gone.
        ran = subprocess.run(["sh", start], env={"CLP_EVENT": event}, capture_output=True)
        assert ran.returncode == code, event
    script.write_text("mine")
    do(clp, "del rsc app\nadd rsc g exec app")
    assert script.read_text() == "mine"


def test_the_file_may_lie_elsewhere_and_keeps_its_mode(here: Path, clp: Clp) -> None:
    do(clp, "create c -x etc")
    file = here.parent / "etc/clp.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    file.chmod(0o600)
    do(clp, f"add group g -x etc\nadd rsc g exec app --file {file}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (here.parent / "etc/scripts/g/app/start.sh").exists()
    assert not here.exists()
    assert clp("clpcfset", "show").code == 1
    assert clp("clpcfset", "show", "-x", "etc", "--file", "x").code == 2


def test_a_link_stays_a_link(here: Path, clp: Clp) -> None:
    real = here.parent / "real.toml"
    real.write_text(SAMPLE)
    here.symlink_to(real)
    do(clp, "set cluster.lease=4")
    assert here.is_symlink() and "lease = 4" in real.read_text()


def test_what_is_no_toml_is_named_with_its_line(here: Path, clp: Clp) -> None:
    here.write_text("[cluster]\nname = cluster\n")
    ran = clp("clpcfset", "set", "cluster.lease=4")
    assert ran.code == 8
    assert "clp.toml:2: not TOML" in ran.err


def test_made_anew_by_force_the_old_one_is_kept(here: Path, clp: Clp) -> None:
    here.write_text(SAMPLE)
    said = do(clp, "create other EUC-JP --force")
    assert "clp.toml.bak" in said
    assert (here.parent / "clp.toml.bak").read_text() == SAMPLE
    assert 'name = "other"' in here.read_text()


def test_show_says_what_is_set_what_could_be_and_one_value(here: Path, clp: Clp) -> None:
    here.write_text(SAMPLE)
    overview = clp("clpcfset", "show").out
    assert "monitor       userw (userw), mrw1 (mrw)" in overview
    keys = clp("clpcfset", "show", "monitor.mrw1").out
    assert 'category = "BMCNOTICE"' in keys
    assert "# interval = 60" in keys
    assert 'recovery.target = "failover1"' in keys
    assert "# heartbeat_interval = 0.2" in clp("clpcfset", "show", "cluster").out
    assert clp("clpcfset", "show", "monitor.mrw1.keyword_on.server2").out == "192.168.0.2\n"
    assert clp("clpcfset", "show", "cluster.lease").out == "3.0\n"
    told = json.loads(clp("clpcfset", "show", "group.failover1.servers", "--json").out)
    assert (told["value"], told["set"]) == (["server1", "server2"], True)


def test_names_may_have_dots(here: Path, clp: Clp) -> None:
    do(clp, "create c\nadd group a\nadd group a.b\nset group.a.b.comment=x group.a.comment=y")
    told = json.loads(clp("clpcfset", "show", "--json").out)["configuration"]
    assert [g["comment"] for g in told["group"]] == ["y", "x"]


def test_programs_read_what_was_changed(here: Path, clp: Clp) -> None:
    told = json.loads(clp("clpcfset", "create", "c", "--json").out)
    assert (told["schema"], told["result"], told["file"], told["changed"]) == (
        1, "done", "clp.toml", True,
    )  # fmt: skip
    again = json.loads(clp("clpcfset", "set", "cluster.name=c", "--json").out)
    assert again["changed"] is False
    bad = json.loads(clp("clpcfset", "set", "cluster.name=/", "--json").out)
    assert bad["error"]["code"] == 8


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_where_it_may_not_write_the_code_says_so(here: Path, clp: Clp) -> None:
    here.parent.chmod(0o500)
    assert clp("clpcfset", "create", "c").code == 4


SITE = """\
# The site's rows.
[[trap_profile]]
name = "site"
enterprise = "1.3.6.1.4.1.232"          # the maker's

# Two tables of one fault.
[[trap_profile.trap]]
name = "power supply"                   # what fails
match = ["0.6050"]
class = "ERROR"

[[trap_profile.trap]]
name = "power supply"                   # what mends it
match = ["0.6048"]
class = "CLEAR"
"""


def test_rows_and_traps_of_a_trap_profile_are_added_changed_shown_and_taken_out(
    here: Path, clp: Clp
) -> None:
    here.write_text(SAMPLE + SITE)
    do(
        clp,
        """
        set 'trap_profile.site.rows.0Dh/6F/2=PREDICT'
        set 'trap_profile.site.rows.redfish OpenBMC.CPUError=off'
        add trap site fan 'match=0.6036,0.6035' class=ERROR instance=6.2.6.7.1.1
        add trap site 'match={"0.6055" = "CLEAR"}' closes=fan
        set trap_profile.site.trap.fan.test.variable=11.2.1 trap_profile.site.trap.fan.test.value=7
        set trap_profile.site.trap.1.mask=0x1C trap_profile.site.trap.1.variable=11.2.11.1
        set trap_profile.site.trap.1.classes=0x08=CLEAR,12..16=ERROR
        rename trap site fan 'system fan'
        move trap site 'system fan' 0
        """,
    )
    text = here.read_text()
    for comment in ("# The site's rows.", "# the maker's", "# Two tables", "# what mends it"):
        assert comment in text
    profile = tomllib.loads(text)["trap_profile"][0]
    assert profile["rows"] == {"0Dh/6F/2": "PREDICT", "redfish OpenBMC.CPUError": "off"}
    fan, failed, mended, again = profile["trap"]
    shown = clp("clpcfset", "show", "trap_profile.site").out.splitlines()
    traps = [line.partition(" #")[0].rstrip() for line in shown if line.startswith("trap.")]
    assert traps == ["trap.system fan", "trap.2", "trap.3", "trap.4"]
    assert shown[-1].endswith('# match = { "0.6055" = "CLEAR" }; closes = ["system fan"]')
    assert fan["name"] == "system fan"
    assert fan["match"] == ["0.6036", "0.6035"]
    assert fan["test"] == {"variable": "11.2.1", "value": [7]}
    assert again == {"match": {"0.6055": "CLEAR"}, "closes": ["system fan"]}
    assert (failed["name"], mended["name"]) == ("power supply", "power supply")
    assert mended == {"name": "power supply", "match": ["0.6048"], "class": "CLEAR"}
    assert (failed["mask"], failed["classes"]) == (28, {"0x08": "CLEAR", "12..16": "ERROR"})
    assert clp("clpcfset", "show", "trap_profile.site.trap.3.class").out == "CLEAR\n"
    shown = clp("clpcfset", "show", "trap_profile.site.trap.system fan").out
    assert 'match = ["0.6036", "0.6035"]' in shown
    assert "test.variable" in shown

    do(clp, "unset trap_profile.site.trap.1.test 'trap_profile.site.rows.0Dh/6F/2'")
    do(clp, "del trap site 'system fan'")
    do(clp, "del trap site 3")
    do(clp, "del trap site 1")
    profile = tomllib.loads(here.read_text())["trap_profile"][0]
    assert profile["trap"] == [mended]
    do(clp, "del trap site 'power supply'")
    assert "trap" not in tomllib.loads(here.read_text())["trap_profile"][0]


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("add trap site a class=BAD", 8, "must be one of"),
        ("add trap site a match=0.6050,x..y class=ERROR", 0, "succeeded"),
        ("add trap sote a", 5, "no such trap profile"),
        ("set trap_profile.site.trap.9.class=ERROR", 5, "no such trap"),
        ("set 'trap_profile.site.trap.power supply.class=INFO'", 5, "no such trap"),
        ("set trap_profile.site.trap.1.match.0.6051=ERROR", 8, "is a list"),
        ("set trap_profile.site.trap.1.clas=ERROR", 2, "Did you mean"),
        ("set trap_profile.site.trap.1.test.variable=x", 8, "variable = "),
        ("set 'trap_profile.site.rows.0Dh/6F/2=WRONG'", 8, "rows.0Dh/6F/2"),
        ("add trap_profile other", 0, ""),
    ],
)
def test_traps_that_cannot_be_are_refused_with_the_mend(
    here: Path, clp: Clp, line: str, code: int, told: str
) -> None:
    here.write_text(SAMPLE + SITE)
    ran = clp("clpcfset", *shlex.split(line))
    assert ran.code == code, ran
    assert told in ran.out + ran.err
    assert (here.read_text() == SAMPLE + SITE) is (code != 0)


@pytest.mark.parametrize(
    "line",
    [
        """set 'trap_profile.site.trap.1.test={variable = "1.9", value = 1}'""",
        "set trap_profile.site.trap.1.test=variable=1.9,value=1",
        "set trap.1.test.mask=3 trap.1.test=variable=1.9,value=1",
    ],
)
def test_a_table_within_a_table_is_set_whole(here: Path, clp: Clp, line: str) -> None:
    here.write_text(SAMPLE + SITE)
    do(clp, line)
    test = tomllib.loads(here.read_text())["trap_profile"][0]["trap"][0]["test"]
    assert test in ({"variable": "1.9", "value": 1}, {"variable": "1.9", "value": [1]})
    refused = clp("clpcfset", "set", "server.server1.bmc=10.0.0.1")
    assert refused.code == 2
    assert "bmc is a table" in refused.err and "address" in refused.err


def test_a_trap_of_one_name_in_two_profiles_needs_its_profile(here: Path, clp: Clp) -> None:
    here.write_text(SAMPLE + SITE)
    do(clp, "add trap_profile other\nadd trap other fan class=ERROR\nadd trap site fan class=INFO")
    ran = clp("clpcfset", "set", "trap.fan.class=CLEAR")
    assert ran.code == 2
    assert "trap_profile.site.trap.fan" in ran.err
    do(clp, "del trap other fan")
    assert clp("clpcfset", "show", "trap.fan.class").out == "INFO\n"


def test_a_server_that_joins_is_told_of_what_it_still_needs(here: Path, clp: Clp) -> None:
    do(clp, ORIGINAL)
    do(clp, "set monitor.mrw1.keyword_on=server1=192.168.0.1,server2=192.168.0.2")
    said = do(clp, "add server server3").splitlines()
    command = "server3 still needs: clpcfset set "
    assert said[0].startswith(command)
    assert said[0].removeprefix(command).split() == [
        "server.server3.bmc.address=ADDRESS",
        "server.server3.bmc.user=USER",
        "interconnect.lankhb1.address.server3=ADDRESS",
        "interconnect.lanhb1.address.server3=ADDRESS",
        "monitor.mrw1.keyword_on.server3=ADDRESS",
    ]
    assert said[1] == "No group moves to server3 before it is in: group.failover1.servers"
    given = said[0].removeprefix(command).replace("USER", "clp").split()
    filled = [each.replace("ADDRESS", f"192.168.9.{n}") for n, each in enumerate(given, 1)]
    do(clp, f"set {' '.join(filled)}")
    assert clp("clpcfchk", "clp.toml").code == 0


def test_show_says_that_an_edit_is_not_what_the_cluster_runs_with(
    here: Path, clp: Clp, node: Path
) -> None:
    etc = node / "etc/clptools"
    etc.mkdir(parents=True)
    (etc / "clp.toml").write_text(SAMPLE)
    history.remember(4, SAMPLE)
    assert clp("clpcfset", "show", "cluster.lease").err == ""
    do(clp, f"set cluster.lease=4.0 -x {etc}")
    ran = clp("clpcfset", "show", "cluster.lease")
    assert ran.out == "4.0\n"
    assert "was edited and not pushed: revision 4 is in force" in ran.err


def test_show_looks_at_this_servers_where_the_folder_has_none(
    here: Path, clp: Clp, node: Path
) -> None:
    assert clp("clpcfset", "show").code == 1
    etc = node / "etc/clptools"
    etc.mkdir(parents=True)
    (etc / "clp.toml").write_text('[cluster]\nname = "of-this-server"\n')
    assert "of-this-server" in clp("clpcfset", "show").out
    do(clp, "create here")
    assert "of-this-server" not in clp("clpcfset", "show").out
    assert clp("clpcfset", "add", "server", "a", "-x", "nosuch").code == 1


def test_nothing_that_it_shows_is_obeyed_by_a_terminal(here: Path, clp: Clp) -> None:
    here.write_text(
        SAMPLE + '[[trap_profile]]\nname = "a\\u001b[2J"\nrows = { "a\\u0007" = "b" }\n'
    )
    for path in ([], ["trap_profile.a\x1b[2J"], ["trap_profile.a\x1b[3J"], ["x\x1b[2J.y"]):
        shown = clp("clpcfset", "show", *path)
        assert all(c.isprintable() or c == "\n" for c in shown.out + shown.err)
    assert r"no such trap profile" in clp("clpcfset", "show", "trap_profile.b\x1b[2J").err


def test_fence_agents_are_added_with_each_servers_plug(clp: Clp, here: Path) -> None:
    do(
        clp,
        """
        create cluster
        add server server1
        add server server2
        add fence pdu1 agent=fence_apc parameters=ip=10.0.9.1
        set fence.pdu1.parameters_on.server1=plug=1
        set fence.pdu1.parameters_on.server2=plug=2
        set fence.pdu1.parameters.username=clp
        set fence.pdu1.poll=true
        rename server server2 server9
        """,
    )
    (fence,) = tomllib.loads(here.read_text())["fence"]
    assert fence["parameters"] == {"ip": "10.0.9.1", "username": "clp"}
    assert fence["parameters_on"] == {"server1": "plug=1", "server9": "plug=2"}
    assert fence["poll"] is True
    ran = clp("clpcfset", "set", "fence.pdu1.parameters_on.server1.plug=3")
    assert ran.code == 8 and "parameters_on.server1 is written as text" in ran.err
    do(
        clp,
        """
        unset fence.pdu1.parameters_on
        set fence.pdu1.parameters_on.server1.plug=3
        set fence.pdu1.parameters_on.server1.ip=10.0.9.2
        """,
    )
    (fence,) = tomllib.loads(here.read_text())["fence"]
    assert fence["parameters_on"] == {"server1": {"plug": "3", "ip": "10.0.9.2"}}
    for key in ("parameters.password", "parameters.passwd", "parameters_on.server1.community"):
        before = here.read_bytes()
        ran = clp("clpcfset", "set", f"fence.pdu1.{key}=s3cret")
        assert ran.code == 8 and "a password comes from password_file alone" in ran.err
        assert "s3cret" not in ran.err + ran.out and here.read_bytes() == before
    ran = clp("clpcfset", "set", "fence.pdu1.agent=fence/apc")
    assert ran.code == 8 and "no name of a fence agent" in ran.err
    do(clp, "del fence pdu1")
    assert "fence" not in tomllib.loads(here.read_text())
