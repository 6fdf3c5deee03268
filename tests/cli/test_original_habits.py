"""Habits of the original: scripts of `clpcfset` lines, and folders with a `clp.conf`."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from clptools.config.clpconf import written
from clptools.config.importer import import_clp_conf
from tests.cli.conftest import Clp, Ran
from tests.config.original_clusters import whole
from tests.config.sample import SAMPLE

START = """
create cluster ASCII
add srv server1 0
add srv server2 1
add grp failover failover1
add rsc failover1 fip fip1
add rscparam fip fip1 parameters/ip 192.0.2.9/24
add rsc failover1 exec exec1
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "clp.toml"


def line(clp: Clp, words: str) -> Ran:
    return clp("clpcfset", *shlex.split(words))


def do(clp: Clp, lines: str) -> str:
    """Every line must succeed."""
    said = ""
    for words in filter(None, map(str.strip, lines.splitlines())):
        ran = line(clp, words)
        assert (ran.code, ran.err) == (0, ""), (words, ran)
        said += ran.out.removesuffix("Command succeeded.\n")
    return said


def tables(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("add rscparam exec exec1 parameters/userlog /var/log/x", 0, "alert log"),
        ("add rscparam exec exec1 parameters/logrotate/use 1", 0, "alert log"),
        ("add rscparam exec exec1 parameters/logrotate/size 1000000", 0, "alert log"),
        ("add rscparam exec exec1 act/timeout 480", 0, "it follows from timeout"),
        ("add rscparam exec exec1 deact/timeout 480", 0, "it follows from timeout"),
        ("add clsparam haltp/method softdog", 0, "ended by the watchdog"),
        ("add clsparam pm/exec0/recover 7", 0, "started again by systemd"),
        ("add clsparam webmgr/client/objectnumber 19", 0, "no Cluster WebUI"),
        ("add clsparam cluster/heartbeat/timeout 50000", 0, "proven down within seconds"),
        ("add clsparam server@server1/survive 1", 0, "none has to survive that"),
        ("add webmgr clientlist 192.0.2.0/24", 0, "no Cluster WebUI"),
        ("add objnum 19", 0, "no Cluster WebUI"),
        ("add messages rc 10 1 0 0 0 1", 0, "alerts are chosen by alert.level"),
        ("add alertservice dn1000s@dn1000s1", 8, "no warning lamps"),
        ("add alert server1 20000 dn1000s 192.0.2.9 0 0", 8, "no warning lamps"),
        ("add rscparam exec exec1 act/action 0", 8, "go on with the next resource"),
        ("add rscparam exec exec1 act/action 15", 8, "I/O fencing"),
        ("add rscparam exec exec1 deact/action 4", 8, "stays where it is"),
        ("add grpparam failover failover1 nonsense 1", 8, "there is no equivalent"),
    ],
)
def test_what_loses_nothing_is_a_note_and_what_loses_is_refused(
    here: Path, clp: Clp, words: str, code: int, said: str
) -> None:
    do(clp, START)
    ran = line(clp, words)
    assert ran.code == code, ran
    assert said in ran.out + ran.err


def test_lines_about_a_refused_object_say_so(here: Path, clp: Clp) -> None:
    do(clp, START + "add mon genw genw1")
    assert line(clp, "add rsc failover1 md md1").code == 8
    for words in (
        "add rscparam md md1 parameters/mount/point /mnt",
        "add rscparam md md1 act/retry 3",
    ):
        ran = line(clp, words)
        assert (ran.code, ran.out) == (8, "")
        assert ran.err == "clpcfset: md1 was refused: there are no mirror disks.\n"
    said = do(
        clp,
        """
        add rsc failover1 exec before
        add rscdep md md1 before
        add rscdep exec exec1 md1
        add monparam genw genw1 relation/type rsc
        add monparam genw genw1 relation/name md1
        """,
    )
    assert "md1 is not carried, and this waits for before in its place" in said
    assert "group failover1, which had it, stands for it" in said
    found = tables(here)
    assert found["group"][0]["resource"][1]["depends"] == ["before"]
    assert found["monitor"][0]["recovery"]["target"] == "failover1"
    do(clp, "del rsc failover1 md md1")
    assert "no such group resource" in line(clp, "add rscparam md md1 act/retry 3").err


def test_a_monitor_or_group_that_is_refused_is_remembered_too(here: Path, clp: Clp) -> None:
    do(clp, START)
    assert line(clp, "add mon mtw mtw1").code == 8
    assert "mtw1 was refused" in line(clp, "add monparam mtw mtw1 target exec1").err
    assert line(clp, "add grp virtualmachine vm1").code == 8
    assert "vm1 was refused: groups of virtual" in line(clp, "add rsc vm1 vm vm2").err


def test_what_an_agent_or_a_script_does_is_told_with_the_text_of_an_import(
    here: Path, clp: Clp
) -> None:
    do(clp, START)
    for words in (
        "add rsc failover1 disk disk1",
        "add rscparam disk disk1 parameters/device /dev/sdb1",
        "add rscparam disk disk1 parameters/mount/point /mnt/disk1",
        "add rscparam disk disk1 act/retry 2",
        "add mon httpw httpw1",
        "add monparam httpw httpw1 parameters/servername localhost",
    ):
        ran = line(clp, words)
        assert (ran.code, ran.err) == (0, ""), ran
        assert "needs your decision" in ran.out and "This is not in clp.toml yet" in ran.out
    disk = line(clp, "add rscparam disk disk1 parameters/fs ext4").out
    http = line(clp, "add monparam httpw httpw1 parameters/port 8080").out
    told = here.parent / "clp.toml.clpcfset"
    text = import_clp_conf(told.read_bytes()).text
    for said, begin in ((disk, "## disk1,"), (http, "## httpw1,")):
        block = said[said.index(begin) :].removesuffix("Command succeeded.\n")
        assert block in text
    assert 'fstype = "ext4"' in disk and "http://localhost:8080/" in http
    assert "disk1" not in str(tables(here)) and "httpw1" not in str(tables(here))


def test_a_line_about_what_is_offered_is_checked_and_taken_back(here: Path, clp: Clp) -> None:
    do(clp, f"{START}\nadd rsc failover1 disk disk1")
    ran = line(clp, "add rscparam md disk1 parameters/device /dev/sdb1")
    assert ran.code == 5 and "disk1 is not md" in ran.err
    said = do(clp, "add rscparam disk disk1 parameters/device /dev/sdb1")
    assert "/dev/sdb1" in said
    assert "/dev/sdb1" not in do(clp, "del rscparam disk disk1 parameters/device")
    do(clp, "del rsc failover1 disk disk1")
    ran = line(clp, "add rscparam disk disk1 parameters/device /dev/sdb1")
    assert "no such group resource" in ran.err


def test_what_is_refused_is_refused_again_and_its_name_is_free(here: Path, clp: Clp) -> None:
    do(clp, START)
    for words in ("add rsc failover1 md md1", "add mon mdw mdw1", "add grp cluster c1"):
        assert line(clp, words).code == 8
        again = line(clp, words)
        assert again.code == 8 and "was refused: there " in again.err
    do(clp, "add rsc failover1 exec md1\nadd rscparam exec md1 act/retry 2")
    assert "md1 is exec, not md" in line(clp, "add rscparam md md1 act/retry 3").err


def test_what_was_told_of_a_file_is_forgotten_with_it_and_has_no_password(
    here: Path, clp: Clp
) -> None:
    kept = here.parent / "clp.toml.clpcfset"
    relay = "cluster/mail/smtp/smtpsrv@0"
    do(clp, f"{START}\nadd clsparam {relay}/auth 1\nadd clsparam {relay}/passwd 80000009b91b")
    assert "passwd" in kept.read_text() and "80000009b91b" not in kept.read_text()
    assert line(clp, "add rsc failover1 md md1").code == 8
    (here.parent / "clp.conf").write_bytes(written(whole()))
    for words in (("clpcfset", "create", "c", "--force"), ("clpcfctrl", "--import", "clp.conf")):
        clp(*words, *(["--force"] if "--force" not in words else []))
        assert not kept.exists()
    assert "no such group resource" in line(clp, "add rscparam md md1 act/retry 3").err


def test_devices_are_counted_by_type_from_0_or_as_in_the_file(here: Path, clp: Clp) -> None:
    do(
        clp,
        """
        create c
        add srv s1 0
        add device s1 lan 0 192.0.2.1
        add device s1 bmc 0 203.0.113.1
        add hb lankhb 0 0
        add hb bmchb 0 1
        add hb bmchb 600 1
        add np pingnp 0 0 0 0 192.0.2.254
        add np pingnp 10200 0 0 1 192.0.2.253
        add np httpnp 0 1 192.0.2.80:8080
        add np httpnp 10700 1 192.0.2.80:8081
        """,
    )
    found = tables(here)
    assert [(one["type"], one["device"]) for one in found["interconnect"]] == [
        ("lankhb", 0), ("bmchb", 600),
    ]  # fmt: skip
    assert [(one["type"], one["device"]) for one in found["np"]] == [
        ("ping", 10200), ("http", 10700),
    ]  # fmt: skip
    assert found["np"][0]["targets"] == ["192.0.2.254", "192.0.2.253"]
    assert found["np"][1]["url"] == "http://192.0.2.80:8081/"
    assert found["server"][0]["bmc"] == {"address": "203.0.113.1"}


def test_after_an_import_a_target_joins_the_resolution_that_is_there(here: Path, clp: Clp) -> None:
    (here.parent / "clp.conf").write_bytes(written(whole()))
    assert clp("clpcfctrl", "--import", "clp.conf").code == 0
    do(clp, "add np pingnp 0 0 0 7 192.0.2.250")
    assert [np["type"] for np in tables(here)["np"]] == ["ping", "http"]
    assert "192.0.2.250" in tables(here)["np"][0]["targets"]


def test_an_added_device_or_parameter_takes_the_place_of_the_one_before(
    here: Path, clp: Clp
) -> None:
    do(clp, START + "add device server1 lan 0 192.0.2.1\nadd hb lankhb 0 0")
    do(clp, "add device server1 lan 0 192.0.2.11\nadd mon ipw ipw1")
    assert tables(here)["interconnect"][0]["address"] == {"server1": "192.0.2.11"}
    do(clp, "add monparam ipw ipw1 parameters/list@1/ip 192.0.2.253")
    do(clp, "add monparam ipw ipw1 parameters/list@0/ip 192.0.2.254")
    assert tables(here)["monitor"][0]["targets"] == ["192.0.2.254", "192.0.2.253"]
    do(clp, "add monparam ipw ipw1 parameters/list@1/ip 192.0.2.252")
    assert tables(here)["monitor"][0]["targets"] == ["192.0.2.254", "192.0.2.252"]


def test_what_was_set_by_another_way_in_between_counts(here: Path, clp: Clp) -> None:
    do(clp, START + "add mon genw genw1\nadd monparam genw genw1 polling/interval 10")
    do(clp, "set monitor.genw1.interval=20 monitor.genw1.comment=ours")
    do(clp, "add monparam genw genw1 polling/timeout 30")
    monitor = tables(here)["monitor"][0]
    assert (monitor["interval"], monitor["timeout"], monitor["comment"]) == (20, 30, "ours")
    do(clp, "add monparam genw genw1 polling/interval 10")
    assert tables(here)["monitor"][0]["interval"] == 10
    do(clp, "del mon genw1\nadd mon genw genw1")
    assert tables(here)["monitor"][0]["interval"] == 60
    do(clp, "rename rsc exec1 web\nadd rscparam exec web act/retry 3")
    assert [one["name"] for one in tables(here)["group"][0]["resource"]] == ["fip1", "web"]
    (here.parent / "clp.toml.clpcfset").write_text("<root>")
    do(clp, "add rscparam exec web act/retry 4")
    assert tables(here)["group"][0]["resource"][1]["start_retries"] == 4


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("add grpparam failover failover1 policy@server1/order first", "is not a number"),
        ("add rscdep exec exec1 exec@exec1", "cannot depend on itself"),
    ],
)
def test_what_can_never_be_is_refused(here: Path, clp: Clp, line: str, said: str) -> None:
    here.write_text(SAMPLE)
    ran = clp("clpcfset", *line.split())
    assert (ran.code, said in ran.err) == (8, True), ran
    assert here.read_text() == SAMPLE


def test_a_script_with_the_line_ends_of_windows_runs(here: Path, clp: Clp) -> None:
    for words in filter(None, START.splitlines()):
        ran = clp("clpcfset", *shlex.split(words)[:-1], shlex.split(words)[-1] + "\r")
        assert (ran.code, ran.err) == (0, "")
    assert "\r" not in here.read_text() and 'name = "cluster"' in here.read_text()


def test_lines_come_at_once_from_several_shells(here: Path, clp: Clp) -> None:
    do(clp, START)
    command = Path(sys.executable).with_name("clpcfset")
    jobs = [
        subprocess.Popen(
            [command, "add", "mon", "ipw", f"ipw{number}"],
            cwd=here.parent,
            stdout=subprocess.DEVNULL,
        )
        for number in range(4)
    ]
    assert [job.wait() for job in jobs] == [0] * 4
    assert sorted(one["name"] for one in tables(here)["monitor"]) == [f"ipw{n}" for n in range(4)]


# ---------------------------------------------------------------------- folders with a clp.conf


@pytest.mark.parametrize(
    "words",
    [
        ("clpcfset", "add", "srv", "a"),
        ("clpcfset", "show", "-x", "."),
        ("clpcfctrl", "--push", "-x", "."),
        ("clpcfchk", "clp.toml"),
        ("clpcfchk", "clp.conf"),
    ],
)
def test_where_only_a_clp_conf_is_the_mend_is_named(
    here: Path, clp: Clp, words: tuple[str, ...]
) -> None:
    (here.parent / "clp.conf").write_bytes(written(whole(), "EUC-JP"))
    ran = clp(*words)
    assert ran.code != 0
    assert "clpcfctrl --import" in ran.out + ran.err


def test_a_folder_is_imported_with_its_scripts(here: Path, clp: Clp, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    script = old / "scripts/failover1/exec1/start.sh"
    script.parent.mkdir(parents=True)
    script.write_bytes(b"#!/bin/sh\n# \xb3\xab\xbb\xcf\n")
    (old / "scripts/monitor.s/genw1").mkdir(parents=True)
    (old / "scripts/monitor.s/genw1/genw.sh").write_text("exit 0\n")
    (old / "clp.conf").write_bytes(written(whole()))
    ran = clp("clpcfctrl", "--import", str(old), "-x", str(new))
    assert ran.code == 0, ran
    assert "2 scripts copied" in ran.out and "lost" in ran.out
    assert "Configuration is valid." in clp("clpcfchk", str(new)).out
    copied = new / "scripts/failover1/exec1/start.sh"
    assert copied.read_bytes() == script.read_bytes()
    assert stat.S_IMODE(copied.stat().st_mode) == 0o750
    copied.write_text("mine")
    ran = clp("clpcfctrl", "--import", str(old / "clp.conf"), "-x", str(new), "--force")
    assert "is not copied: import the folder" in ran.out and copied.read_text() == "mine"
    assert clp("clpcfctrl", "--import", str(old), "-x", str(new)).code == 6


def test_a_configuration_of_windows_is_refused_unless_it_is_forced(here: Path, clp: Clp) -> None:
    root = whole()
    root.set("all/serveros", "windows")
    root.make("group@failover1/resource@sd@sd1")
    root.make("resource/sd@sd1").set("parameters/x", "1")
    (here.parent / "clp.conf").write_bytes(written(root))
    ran = clp("clpcfctrl", "--import", "clp.conf")
    assert ran.code == 8 and "for Windows" in ran.err and not here.exists()
    ran = clp("clpcfctrl", "--import", "clp.conf", "--force")
    assert ran.code == 0 and "(sd)" in ran.out and "the file is of Windows" in ran.out


def test_a_file_of_200_mb_is_refused_at_once(here: Path, clp: Clp) -> None:
    with (here.parent / "clp.conf").open("wb") as file:
        file.truncate(200 << 20)
    ran = clp("clpcfctrl", "--import", "clp.conf")
    assert ran.code == 8 and "larger than 4 MiB" in ran.err


def test_an_edited_export_changes_only_what_it_says_otherwise(here: Path, clp: Clp) -> None:
    here.write_text(SAMPLE)
    ran = clp("clpcfctrl", "--export", "clp.conf", "-x", ".")
    assert ran.code == 0 and "Not said in it: monitor mrw1: stall_on_" in ran.out
    conf = here.parent / "clp.conf"
    assert clp("clpcfctrl", "--export", "clp.conf", "-x", ".").code == 6
    assert "says the same already" in clp("clpcfctrl", "--import", "clp.conf", "--merge").out
    assert here.read_text() == SAMPLE
    text = conf.read_text()
    conf.write_text(text.replace("192.168.0.100/24", "192.168.0.101/24"))
    assert clp("clpcfctrl", "--import", "clp.conf", "--merge").code == 0
    assert here.read_text() == SAMPLE.replace("192.168.0.100/24", "192.168.0.101/24")
    conf.write_text(text.replace("<name>cluster</name>", "<name>c</name><nonsense>1</nonsense>"))
    ran = clp("clpcfctrl", "--import", "clp.conf", "--merge", "--json")
    assert "nonsense = 1 not carried" in ran.out


# ---------------------------------------------------------------------- careless places


SMALL = (
    '<?xml version="1.0"?><root><cluster><name>c</name></cluster>'
    '<server name="s1"><priority>0</priority></server></root>'
)


@pytest.fixture
def conf(here: Path) -> Path:
    """A folder with a `clp.conf`."""
    conf = here.parent / "old/clp.conf"
    conf.parent.mkdir()
    conf.write_text(SMALL)
    return conf


def test_a_file_that_is_none_holds_nobody_up_and_is_named(here: Path, clp: Clp) -> None:
    os.mkfifo("fifo")
    for name, said in (
        ("fifo", "fifo: is no plain file"),
        ("nowhere", "Give the clp.conf, or the folder"),
        ("", "--import needs the name of a file"),
        ("/dev/zero", "larger than 4 MiB"),
    ):
        ran = clp("clpcfctrl", "--import", name)
        assert ran.code in (1, 2, 8) and said in ran.err and not here.exists()


@pytest.mark.parametrize("part", range(0, 100, 5))
def test_a_file_that_ends_in_the_middle_is_refused_with_its_place(
    here: Path, clp: Clp, part: int
) -> None:
    data = written(whole())
    Path("clp.conf").write_bytes(data[: len(data) * part // 100])
    ran = clp("clpcfctrl", "--import", "clp.conf")
    assert (ran.code, ran.out) == (8, "") and "clp.conf:" in ran.err and not here.exists()


def test_what_lies_where_an_import_goes_stays(here: Path, clp: Clp, conf: Path) -> None:
    there = Path("new")
    there.mkdir()
    (there / "clp.toml").symlink_to("../elsewhere.toml")
    ran = clp("clpcfctrl", "--import", str(conf), "-x", "new")
    assert ran.code == 6 and not Path("elsewhere.toml").exists()
    ran = clp("clpcfctrl", "--import", str(conf), "-x", "new", "--force")
    assert (there / "clp.toml").is_symlink() and 'name = "s1"' in Path("elsewhere.toml").read_text()
    Path("file").write_text("mine")
    for folder in ("file", "file/below"):
        ran = clp("clpcfctrl", "--import", str(conf), "-x", folder)
        assert ran.code == 1 and f"{folder}: is no folder." in ran.err
    Path("folder/clp.toml").mkdir(parents=True)
    ran = clp("clpcfctrl", "--import", str(conf), "-x", "folder", "--force")
    assert ran.code == 1 and "folder/clp.toml: Is a directory" in ran.err
    assert [*Path("folder").iterdir()] == [Path("folder/clp.toml")]
    assert Path("file").read_text() == "mine"


def test_an_export_says_where_it_cannot_go_or_what_it_cannot_read(
    here: Path, clp: Clp, conf: Path
) -> None:
    here.write_text(SAMPLE)
    Path("gone").symlink_to("nowhere")
    bad = Path("bad/clp.toml")
    bad.parent.mkdir()
    for line, code, said in (
        (("old", "-x", "."), 1, "Name the file, too: old/clp.conf"),
        (("gone", "-x", "."), 6, "gone: is there already"),
        (("", "-x", "."), 2, "--export needs the name of a file"),
        (("e.conf", "-x", "nowhere"), 1, "nowhere/clp.toml: no such file"),
        (("e.conf", "-x", "old"), 1, "clpcfctrl --import old"),
    ):
        ran = clp("clpcfctrl", "--export", *line)
        assert ran.code == code and said in ran.err, ran
    for content in (b"\xff", b"a = " + b"[" * 5000, b"a = "):
        bad.write_bytes(content)
        for line in (("clpcfctrl", "--export", "e.conf"), ("clpcfget", "-e", "/root")):
            ran = clp(*line, "-x", "bad")
            assert ran.code == 8 and "should not" not in ran.err, ran
    assert not Path("e.conf").exists() and not Path("nowhere").exists()


def test_scripts_that_are_not_copied_are_named_and_the_account_is_given_all_the_same(
    here: Path, clp: Clp, conf: Path
) -> None:
    scripts = conf.parent / "scripts/g"
    scripts.mkdir(parents=True)
    (scripts / "good.sh").write_text("exit 0\n")
    (scripts / "gone.sh").symlink_to("nowhere")
    (scripts / "linked").symlink_to(scripts.parent)
    os.mkfifo(scripts / "fifo")
    with (scripts / "large").open("wb") as file:
        file.truncate(5 << 20)
    ran = clp("clpcfctrl", "--import", str(conf.parent), "-x", "new")
    assert ran.code == 1 and "1 script copied" in ran.out and "Parameters: " in ran.out
    for name in ("gone.sh", "linked", "fifo", "large"):
        assert f"{name} is not copied: " in ran.out
    assert "Command succeeded." not in ran.out
    assert sorted(one.name for one in Path("new/scripts/g").iterdir()) == ["good.sh"]


def test_two_imports_at_one_time_make_one_file(here: Path, conf: Path) -> None:
    command = Path(sys.executable).with_name("clpcfctrl")
    jobs = [
        subprocess.Popen(
            [command, "--import", conf, "-x", "new"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(4)
    ]
    assert sorted(job.wait() for job in jobs) == [0, 6, 6, 6]
    assert 'name = "s1"' in Path("new/clp.toml").read_text()
    assert [one.name for one in Path("new").iterdir()] == ["clp.toml"]


def test_a_comparison_with_a_folder_names_the_mend(here: Path, clp: Clp, conf: Path) -> None:
    for line, code, said in (
        (("--diff", "old"), 2, "clpcfctrl --diff -x old"),
        (("--diff", "-x", "nowhere"), 1, "Give the folder of a clp.toml: -x DIR"),
        (("--diff", "-x", "old"), 1, "clpcfctrl --import old"),
    ):
        ran = clp("clpcfctrl", *line)
        assert ran.code == code and said in ran.err, ran
    here.mkdir()
    ran = clp("clpcfctrl", "--diff", "-x", ".")
    assert ran.code == 1 and "clp.toml: is a directory" in ran.err


def test_a_name_that_is_missing_is_said_to_be(here: Path, clp: Clp) -> None:
    do(clp, START)
    for words in ("show group", "show group.", "del group ''", "set monitor..interval=3"):
        ran = line(clp, words)
        what = "monitor" if "monitor" in words else "group"
        assert ran.code == 2 and f"The name of a {what} is missing." in ran.err, ran
    assert "Known: failover1." in line(clp, "show grp").err


@pytest.mark.parametrize("tag", ["a/" * 3000 + "b", "a/" * 40 + "b", "''", "//", "<x"])
def test_what_is_no_tag_path_is_said_to_be_none(here: Path, clp: Clp, tag: str) -> None:
    do(clp, START)
    before = here.read_text()
    ran = line(clp, f"add clsparam {tag} 1")
    assert ran.code == 2 and "not a tag path" in ran.err and len(ran.err) < 400
    assert here.read_text() == before
