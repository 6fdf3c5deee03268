"""What `clpstat` says in words: explanations, waiting groups, hardware, events, configuration."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from clptools.agent.lock import LockFile
from clptools.api.messages import ConfigFiles
from clptools.cli.json_types import ExplanationJson, HardwareJson
from clptools.cli.main import run
from clptools.cli.render import maps
from clptools.cli.render.configuration import Kind, configuration
from clptools.cli.render.explain import afterwards, explanation
from clptools.cli.render.status import hardware, status
from clptools.cli.render.text import clean, clock, cut, duration, event_line, field, width, wrap
from clptools.config.load import Alert
from clptools.core.model.view import ConditionView
from clptools.faults import ClpError, ExitCode
from tests.api.fake import Agent, socket_path
from tests.cli import clpstat_samples as samples
from tests.config.sample import NAMED, SAMPLE, good

NOW = samples.NOW
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC in here."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def story() -> ExplanationJson:
    """A failover after a fatal trap, as the agent tells it."""
    at = NOW - 240
    return {
        "schema": 1,
        "subject": "failover1",
        "state": f"failover1 is Online on server2 since {clock(at)} (4 min ago), epoch 9.",
        "because": [
            {
                "time": at - 0.5,
                "server": "server1",
                "text": "BMC of server1 reported a fatal error: processor 1, internal error.",
                "event": {"id": 4711, "monitor": "mrw1", "server": "server1"},
            },
            {
                "time": at,
                "server": "server2",
                "text": "server2 has started fip1, exec1 (0.2 s).",
                "event": {},
            },
        ],
        "then": [
            f"{clock(at + 0.1, NOW)}  The BMC of server1 does its reset now.",
            (
                "server1 gets no group while event 4711 is open. "
                "Close it: clpmonctrl --acknowledge -m mrw1 --event 4711"
            ),
        ],
        "waiting_for": None,
    }


def test_an_explanation_in_80_columns() -> None:
    told = {**story(), "state": "failover1 is Online on server2 since 03:08:41.0 (4 min ago)."}
    found = samples.status(groups=(samples.group("server2"),))
    assert explanation(told, found, now=NOW) == (  # type: ignore[arg-type]  # a changed copy
        "failover1 is Online on server2 since 03:08:41.0 (4 min ago).\n"
        "\n"
        "Why there\n"
        "  03:08:40.5  BMC of server1 reported a fatal error: processor 1, internal\n"
        "              error. (mrw1, event 4711)\n"
        "  03:08:41.0  server2 has started fip1, exec1 (0.2 s).\n"
        "Then\n"
        "  03:08:41.1  The BMC of server1 does its reset now.\n"
        "  server1 gets no group while event 4711 is open. Close it:\n"
        "    clpmonctrl --acknowledge -m mrw1 --event 4711\n"
    )


def test_several_commands_stand_each_on_a_line_of_its_own() -> None:
    then = (
        "On server1 for 35 s: clp.toml was edited and not pushed: revision 1 is in force. See "
        "it: clpcfctrl --diff. Push it, once clpcfchk finds no fault in it: clpcfctrl --push. "
        "Drop it: clpcfctrl --rollback 1"
    )
    told = {**story(), "because": [], "then": [then]}
    assert explanation(told, samples.status(), now=NOW).splitlines()[1:] == [  # type: ignore[arg-type]  # a changed copy
        "",
        "  On server1 for 35 s: clp.toml was edited and not pushed: revision 1 is in",
        "    force. See it:",
        "    clpcfctrl --diff",
        "    Push it, once clpcfchk finds no fault in it:",
        "    clpcfctrl --push",
        "    Drop it:",
        "    clpcfctrl --rollback 1",
    ]


def test_a_story_of_other_days_shows_the_dates() -> None:
    found = samples.status()
    text = explanation(story(), found, now=NOW + 3 * 86_400)
    lines = text.splitlines()
    steps = [line for line in lines if line.startswith("  2026-11-23 03:08:4")]
    assert len(steps) == 2
    assert lines[4].startswith(" " * 25)


def test_a_waiting_group_shows_the_missing_proofs_and_the_mend() -> None:
    told: ExplanationJson = {
        "schema": 1,
        "subject": "failover1",
        "state": "failover1 is Offline and waits for proof.",
        "because": [],
        "then": [],
        "waiting_for": "waits for proof",
    }
    assert explanation(told, samples.waits(), now=NOW) == (
        "failover1 is Offline and waits for proof that it is down on server1 since\n"
        "03:12:06.0 (35 s).\n"
        "  It may still run on server1, last heard 03:12:02.2 on lankhb1, lanhb1 and\n"
        "  bmchb1.\n"
        "  released    no: server1 does not answer\n"
        "  power off   no: its BMC 192.168.0.11 does not answer (3 tries, 5.0 s each;\n"
        "              last: no route)\n"
        "  forced stop no: not configured\n"
        "  lease       not armed: two servers without an arbiter\n"
        "Nothing else will happen by itself. If you have made sure that server1 is down\n"
        "and stays down:\n"
        "  clpnode confirm-down server1 --yes\n"
    )


def test_a_proof_on_its_way_is_said_to_come_by_itself() -> None:
    found = samples.waits()
    waiting = found["groups"][0]["waiting_for"]
    assert waiting is not None
    waiting["proofs"]["lease"] = "in 4.2 s"
    text = status(found, detail=True)
    assert "It goes on as soon as one of them is there." in " ".join(text.split())
    assert "Nothing else will happen" not in text


def test_the_status_without_detail_says_nothing_of_proofs() -> None:
    assert "proof" not in status(samples.waits())
    assert "      failover1 is Offline and waits for proof" in status(samples.waits(), detail=True)


def test_open_hardware_events_and_what_was_refused() -> None:
    event = samples.stall()["servers"][1]["open_events"][0]
    opened = [{**event, "first": 1_000 - event["first_s"], "last": 1_000 - event["last_s"]}]
    view: HardwareJson = {
        "schema": 1,
        "servers": [
            {
                "name": "server1",
                "open": [],
                "counters": {"received": 4, "not_allowed": 1},
                "unreachable": None,
                "bmcs": [
                    {"server": "server1", "fault": "no answer within 5 s", "mend": ""},
                    {
                        "server": "server2",
                        "fault": "Incorrect password provided",
                        "mend": "Set it on this server: clpbmccnf -u clp server2",
                    },
                ],
            },
            {"name": "server2", "open": opened, "counters": {}, "unreachable": None, "bmcs": []},
            {
                "name": "server3",
                "open": [],
                "counters": {},
                "unreachable": "server3: no path",
                "bmcs": [],
            },
        ],
    }
    assert hardware(view, 1_000.0) == (
        "server1: no open hardware events\n"
        "  Traps  received 4, not allowed 1\n"
        "  BMC    its own BMC: no answer within 5 s.\n"
        "  BMC    that of server2: Incorrect password provided. Set it on this server:\n"
        "         clpbmccnf -u clp server2\n"
        "server2: 1 open hardware event\n"
        "  4711   PREDICT     drive slot 3: predictive failure (mrw1; 3 times, first 35 s\n"
        "                     ago, last 2.0 s ago)\n"
        "server3: no open hardware events\n"
        "  Traps  not known: server3: no path\n"
        "To close an event whose end the hardware never reports:\n"
        "  clpmonctrl --acknowledge -m mrw1 --event 4711 -h server2\n"
    )
    assert hardware({"schema": 1, "servers": []}, 0.0) == "No server is configured.\n"


def test_an_event_as_a_line_cannot_move_the_cursor() -> None:
    event = samples.event("\x1b[2Jmrw1 on server2\nwent", 35, "WARN")
    event["because"] = ["a trap came"]
    assert event_line(event) == (
        "2026-11-23 03:12:06.0  server1  WARN   rm 9  ?[2Jmrw1 on server2?went | a trap came"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0 s"), (0.26, "0.3 s"), (9.96, "10 s"), (60, "1 min"), (3600, "1 h 0 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_tenth_carries_into_the_second() -> None:
    assert clock(NOW + 0.96, NOW) == "03:12:42.0"


def test_widths_count_terminal_columns() -> None:
    assert width("業務e\u0301") == 5
    assert cut("業務グループ", 5) == "業務"
    assert field("業務", 8, ".") == "業務 ..."
    assert clean("a\u202eb\x9bc") == "a?b?c"
    assert wrap("aa bb cc", 5, "  ", first="> ") == ["> aa", "  bb", "  cc"]


CONFIG = (
    NAMED
    + """
[[group]]
name = "failover1"

[[group.resource]]
type = "exec"
name = "exec1"
start = "/bin/true"
stop = "/bin/true"

[[monitor]]
type = "userw"
name = "userw"
method = "none"

[[monitor]]
type = "mrw"
name = "mrw1"
category = "BMCNOTICE"
keyword_on = { server1 = "127.0.0.1:10162", server2 = "127.0.0.2:10162" }
community = ["geheim"]
[monitor.recovery]
action = "failover"
target = "failover1"
"""
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured node whose agent does not run."""
    folder = tmp_path / "etc/clptools"
    folder.mkdir(parents=True)
    (folder / "clp.toml").write_text(CONFIG)
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server2")
    return tmp_path


def test_without_an_agent_the_layout_comes_from_the_file(root: Path, capsys: Output) -> None:
    assert run("clpstat", []) == 3
    out, err = capsys.readouterr()
    assert "   *server2 .........: Offline          \n" in out
    assert "      lanhb1         : Offline          LAN Heartbeat\n" in out
    assert "      current        : None\n" in out
    assert "    mrw1             : Offline          \n" in out
    assert err.startswith("clpstat: No node agent answers at ")
    assert err.count("\n") == 1
    assert run("clpstat", ["-g"]) == 3
    assert "    server1 [x] : \n" in capsys.readouterr().out


def test_an_agent_that_runs_without_its_socket_is_named_and_nothing_is_shown_as_offline(
    root: Path, capsys: Output
) -> None:
    """`/run` was wiped under it: it makes its socket again."""
    path = root / "var/lib/clptools/lock"
    path.parent.mkdir(parents=True)
    lock = LockFile(str(path))
    lock.take()
    try:
        for words in ([], ["--mon"], ["--json"]):
            assert run("clpstat", words) == 3
            out, err = capsys.readouterr()
            assert "Offline" not in out
            told = f"The node agent (process {os.getpid()}) runs, but its socket "
            assert told in out + err
            assert "ask again in a second" in out + err
        assert run("clphealthchk", []) == 100
        assert "stopped" not in capsys.readouterr().out
        assert run("clpmsg", ["NIC", "link down"]) == 3
        assert "is missing" in capsys.readouterr().err
    finally:
        lock.release()
    assert run("clpstat", []) == 3
    assert "No node agent answers" in capsys.readouterr().err, "it has ended, its lock file stays"


def test_without_an_agent_json_holds_the_view_and_the_fault(root: Path, capsys: Output) -> None:
    assert run("clpstat", ["--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["cluster"]["status"] == "Stopped"
    assert told["error"]["code"] == 3


@pytest.mark.parametrize("line", [["--hw"], ["--explain"], ["--events"], ["-s", "-h", "server1"]])
def test_without_an_agent_other_views_say_so(line: list[str], root: Path, capsys: Output) -> None:
    assert run("clpstat", line) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "clpcl -s" in err


def test_without_agent_and_configuration_there_is_only_the_fault(
    root: Path, capsys: Output
) -> None:
    (root / "etc/clptools/clp.toml").write_text("[cluster\n")
    assert run("clpstat", []) == 3
    assert capsys.readouterr().out == ""
    assert run("clpstat", ["-i"]) == 8
    assert "clp.toml:1" in capsys.readouterr().err


def test_members_of_the_group_read_the_configuration_from_its_file(
    root: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent hands out its scripts, too, and only to who may change them."""

    class Refusing:
        def __enter__(self) -> Refusing:
            return self

        def __exit__(self, *_: object) -> None: ...

        def call(self, *_: object) -> None:
            raise ClpError(ExitCode.NOT_PERMITTED, "uid 7 may read, but not change it.")

    monkeypatch.setattr("clptools.cli.stat_configuration.Client", Refusing)
    assert run("clpstat", ["-i"]) == 0
    assert "  [Server0 : server1]" in capsys.readouterr().out
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read anything
    assert run("clpstat", ["-i"]) == 4
    assert capsys.readouterr().err.startswith("clpstat: uid 7 may read, but not change it.")


def test_the_configuration_answers_the_greps_of_the_field(root: Path, capsys: Output) -> None:
    assert run("clpstat", ["-i"]) == 0
    out = capsys.readouterr().out
    for line in (
        " =======================  CLUSTER INFORMATION  =======================",
        "  [Server0 : server1]",
        "  [HB0 : lanhb1]",
        "  [Group0 : failover1]",
        "  [Resource0 : exec1]",
        "  [Monitor0 : userw]",
        f"    {'Type':<57}: exec",
        f"    {'Heartbeat Timeout':<57}: 3000",
    ):
        assert line in out.splitlines()
    assert run("clpstat", ["--cl", "--detail"]) == 0
    assert f"{'Shutdown Monitoring Method':<57}: none" in capsys.readouterr().out


def test_the_receivers_of_alerts_are_details_of_the_cluster(root: Path, capsys: Output) -> None:
    alert = (
        '[alert]\nmail_to = ["a@b.c", "d@e.f"]\nsmtp = "192.0.2.9:25"\nsmtp_tls = "starttls"\n'
        'smtp_user = "joe"\nsmtp_password_file = "/etc/secret"\nsnmp_to = ["192.0.2.8"]\n'
        'snmp_community = "geheim"\n\n'
    )
    (root / "etc/clptools/clp.toml").write_text(CONFIG + "\n" + alert)
    assert run("clpstat", ["--cl", "--detail"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for key, value in (
        ("Alert Level", "ERROR"),
        ("E-mail Address", "a@b.c, d@e.f"),
        ("SMTP Server", "192.0.2.9:25"),
        ("SMTP Encryption", "starttls"),
        ("SNMP Trap Destination", "192.0.2.8 (v2c)"),
    ):
        assert f"    {key:<57}: {value}" in lines
    assert run("clpstat", ["--cl"]) == 0
    assert "Alert" not in capsys.readouterr().out
    assert run("clpstat", ["--cl", "--json"]) == 0
    told = capsys.readouterr().out
    assert json.loads(told)["alert"]["mail_to"] == ["a@b.c", "d@e.f"]
    assert "geheim" not in "\n".join(lines) + told


def test_an_address_stands_alone_on_its_line(root: Path, capsys: Output) -> None:
    """`clpstat --rsc fip1 | grep IP | awk -F:` goes into `arping -s`, which takes no prefix."""
    fip = '[[group.resource]]\ntype = "fip"\nname = "fip1"\naddress = "10.0.0.9/16"\n\n'
    changed = CONFIG.replace("[[monitor]]\n", fip + "[[monitor]]\n", 1)
    (root / "etc/clptools/clp.toml").write_text(changed)
    assert run("clpstat", ["--rsc", "fip1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].strip() for line in lines if "IP" in line] == ["10.0.0.9"]
    assert f"    {'Prefix Length':<57}: 16" in lines


def test_fencing_is_np_resolution_and_forced_stop(root: Path, capsys: Output) -> None:
    assert run("clpstat", ["--fnc"]) == 0
    assert "No NP resolution resource or forced stop is configured." in capsys.readouterr().out
    more = '[[np]]\ntype = "ping"\nname = "pingnp1"\ntargets = ["10.0.0.1"]\n\n[forced_stop]\n'
    named = '[[server]]\nname = "server1"\n'
    bmc = f'{named}bmc = {{ address = "10.0.9.1", user = "clp" }}\n'
    text = CONFIG.replace(named, bmc) + f'\n{more}action = "power-off"\n'
    (root / "etc/clptools/clp.toml").write_text(text)
    assert run("clpstat", ["--fnc"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  [NP0 : pingnp1]" in lines and "  [ForcedStop : forced_stop]" in lines
    assert f"    {'Forced Stop Action':<57}: power-off" in lines
    assert run("clpstat", ["--fnc", "pingnp1"]) == 0
    assert "[ForcedStop" not in capsys.readouterr().out
    assert run("clpstat", ["--fnc", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["np"][0]["name"] == "pingnp1" and told["forced_stop"]["action"] == "power-off"
    assert run("clpstat", ["-i"]) == 0
    assert capsys.readouterr().out.count("[NP0 : pingnp1]") == 1


def test_groups_that_are_kept_apart_are_the_exclusion_rules(root: Path, capsys: Output) -> None:
    assert run("clpstat", ["--xcl"]) == 0
    assert "No exclusion rule is configured." in capsys.readouterr().out
    two = '[[group]]\nname = "failover2"\nexclusive_with = ["failover1"]\nexclusive = "normal"\n'
    text = CONFIG.replace("[[monitor]]\n", two + "[[monitor]]\n", 1)
    (root / "etc/clptools/clp.toml").write_text(text)
    for words in (["--xcl"], ["--xcl", "failover2"], ["-i"]):
        assert run("clpstat", words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert "  [Exclusion0 : failover2]" in lines
        assert f"    {'Exclusive':<57}: normal" in lines
        assert f"    {'Groups':<57}: failover2, failover1" in lines
    assert run("clpstat", ["--xcl", "failover1"]) == 5
    capsys.readouterr()
    assert run("clpstat", ["--xcl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["exclusions"] == [
        {"name": "failover2", "exclusive": "normal", "groups": ["failover2", "failover1"]}
    ]


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ("", ["192.168.0.100"]),
        (
            'address_on = { server2 = "192.168.0.99/25" }\n',
            ["192.168.0.100 (server1)", "192.168.0.99 (server2)"],
        ),
    ],
)
def test_a_floating_address_is_shown_as_arping_takes_it(more: str, shown: list[str]) -> None:
    address = 'address = "192.168.0.100/24"'
    line = next(one for one in SAMPLE.splitlines(True) if one.startswith(address))
    text = configuration(good(SAMPLE.replace(line, line + more)), Alert(), (Kind.RESOURCE,), "fip1")
    found = [line.partition(":")[2].strip() for line in text.splitlines() if "IP" in line]
    assert found == shown
    assert f"    {'Prefix Length':<57}: 24" in text


def test_one_object_is_shown_by_its_name_or_refused_with_near_ones(
    root: Path, capsys: Output
) -> None:
    assert run("clpstat", ["--sv", "server2"]) == 0
    assert "  [Server1 : server2]\n" in capsys.readouterr().out
    assert run("clpstat", ["--mon", "mrw2"]) == 5
    assert (
        capsys.readouterr().err == "clpstat: mrw2: no such monitor resource.\nKnown: mrw1, userw\n"
    )


def test_the_configuration_as_json_and_text_keeps_the_community_to_itself(
    root: Path, capsys: Output
) -> None:
    assert run("clpstat", ["-i", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {s["name"] for s in told["servers"]} == {"server1", "server2"}
    assert told["monitors"][1]["category"] == "BMCNOTICE"
    assert run("clpstat", ["-i", "--detail"]) == 0
    assert "geheim" not in json.dumps(told) + capsys.readouterr().out


def revision_shown(capsys: Output) -> str:
    assert run("clpstat", ["--cl", "--detail"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return next(line for line in lines if "Configuration Revision" in line).partition(" : ")[2]


def test_the_revision_is_that_of_the_push_whatever_the_file_says(
    root: Path, capsys: Output
) -> None:
    assert revision_shown(capsys) == "none: it was never in force like this"
    history = root / "etc/clptools/history"
    history.mkdir()
    (history / "0006.toml").write_text("[cluster]\n")
    (history / "0007.toml").write_text(CONFIG)
    assert revision_shown(capsys) == "7"
    assert run("clpstat", ["-i", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["revision"] == 7
    (root / "etc/clptools/clp.toml").write_text(CONFIG + "\n# edited\n")
    assert revision_shown(capsys) == "7"


def test_with_an_agent_the_revision_is_the_one_in_force(root: Path, capsys: Output) -> None:
    with Agent(socket_path(root)).running() as agent:
        agent.backend.files = ConfigFiles(revision=12, files={"clp.toml": CONFIG})
        assert revision_shown(capsys) == "12"


def test_why_a_server_is_caution_stands_behind_the_layout() -> None:
    deaf = ConditionView(
        name="trap receiver 10.0.0.1:162",
        text="Trap receiver 10.0.0.1:162: another program has this port",
        mend="Stop it.",
        monitors=("mrw1",),
    )
    well, unwell = (samples.server(name, ()) for name in ("server1", "server2"))
    unwell = msgspec.structs.replace(unwell, status="Caution", conditions=(deaf,))
    view = samples.as_json(samples.sample(servers=(well, unwell)))
    plain = samples.as_json(
        samples.sample(servers=(well, msgspec.structs.replace(unwell, conditions=())))
    )
    said = "  server2: Trap receiver 10.0.0.1:162: another program has this port. Stop it.\n"
    assert status(view) == status(plain) + said
    assert maps.monitor_map(view) == maps.monitor_map(plain) + said


def test_a_long_line_of_what_follows_is_wrapped_and_its_command_stands_alone() -> None:
    """A file's name is no command: `: clp.toml was edited` was a line of 170 columns."""
    edit = "clp.toml was edited and not pushed: revision 1 is in force"
    line = f"On server2 for 2.1 s: {edit}. See it there: clpcfctrl --diff. Drop it there: "
    told = afterwards(f"{line}clpcfctrl --rollback 1", 80)
    assert max(map(len, told)) <= 80
    assert told[-1] == "    clpcfctrl --rollback 1"
