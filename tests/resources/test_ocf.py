"""`ocf`: agents by what they are given and what they return, and agents that do not behave."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from clptools import paths
from clptools.common import ocf as common
from clptools.common.ocf import Agent
from clptools.core.model.words import Operation, Severity
from clptools.resources import ocf
from clptools.resources.ocf import State
from clptools.resources.registry import perform
from clptools.resources.script import ScriptRunner
from tests.conftest import BUSY_S, until
from tests.resources.ocf_agents import actions, carry_out, context, health, make_agent, resource

AGENT = "ocf:test:mine"


def test_what_an_agent_is_given(node_root: Path) -> None:
    make_agent(node_root, "mine", f"env >{node_root}/env-$1; cat >{node_root}/stdin")
    one = resource(AGENT, {"device": "/dev/x y"}, timeout_ms=45_000, depth=10)
    assert carry_out("start", one).ok
    given = dict(line.split("=", 1) for line in (node_root / "env-start").read_text().splitlines())
    expected = {
        "OCF_ROOT": "/usr/lib/ocf",
        "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "1",
        "OCF_RESOURCE_INSTANCE": "ocf1",
        "OCF_RESOURCE_TYPE": "mine",
        "OCF_RESOURCE_PROVIDER": "test",
        "OCF_RESKEY_device": "/dev/x y",
        "OCF_RESKEY_CRM_meta_interval": "0",
        "OCF_RESKEY_CRM_meta_timeout": "45000",
        "OCF_RESKEY_CRM_meta_on_node": "server1",
        "HA_LOGFACILITY": "none",
        "HA_RSCTMP": f"{node_root}/run/resource-agents",
        "CLP_GROUPNAME": "failover1",
    }
    assert {name: given.get(name) for name in expected} == expected
    assert given["PATH"].startswith(f"{ocf.TOOLS}:") and given["HA_SBIN_DIR"] == ocf.TOOLS
    assert not any(name.startswith("OCF_RESKEY_CRM_meta_clone") for name in given)
    assert "OCF_CHECK_LEVEL" not in given
    assert (node_root / "stdin").read_bytes() == b""
    assert os.stat(node_root / "run/resource-agents").st_mode & 0o7777 == 0o1755

    one = resource(AGENT, depth=10, monitor_interval_ms=5000)
    assert health(one).state is State.ACTIVE
    watched = (node_root / "env-monitor").read_text()
    assert "OCF_RESKEY_CRM_meta_interval=5000\n" in watched and "OCF_CHECK_LEVEL=10\n" in watched
    assert health(one, probe=True).state is State.ACTIVE
    probed = (node_root / "env-monitor").read_text()
    assert "OCF_RESKEY_CRM_meta_interval=0\n" in probed and "OCF_CHECK_LEVEL=0\n" in probed


def test_a_server_may_be_given_other_values(node_root: Path) -> None:
    make_agent(node_root, "mine", f'echo "$OCF_RESKEY_device $OCF_RESKEY_nic" >{node_root}/got')
    on = {"server1/nic": "eth3", "server2/nic": "eth4", "server2/device": "z"}
    assert carry_out("start", resource(AGENT, {"device": "x", "nic": "eth0"}, parameters_on=on)).ok
    assert (node_root / "got").read_text() == "x eth3\n"


def test_secrets_come_from_files_and_never_show(node_root: Path) -> None:
    make_agent(node_root, "mine", f'echo "$OCF_RESKEY_passwd" >{node_root}/got')
    secret = node_root / "secret"
    secret.write_text("open sesame\n")
    secret.chmod(0o400)
    one = resource(AGENT, parameters_from={"passwd": str(secret)})
    lines: list[str] = []
    outcome = carry_out("start", one, lines)
    assert outcome.ok and (node_root / "got").read_text() == "open sesame\n"
    assert "sesame" not in outcome.text + "".join(lines)
    secret.chmod(0o644)
    outcome = carry_out("start", one)
    assert not outcome.ok and f"chmod 0400 {secret}" in outcome.text
    secret.unlink()
    assert ocf.MEND_SECRET in carry_out("start", one).text


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (1, '1 (a general error): "no such disk"'),
        (2, "on this server it cannot start until that is mended"),
        (3, "on this server"),
        (4, "insufficient permissions"),
        (5, "software that it needs is not installed"),
        (6, "it can start on no server until that is mended"),
        (7, "7 (it does not run)"),
        (255, "255 (of no meaning in OCF)"),
    ],
)
def test_a_start_that_fails(node_root: Path, status: int, words: str) -> None:
    body = 'echo "ocf-exit-reason:first" >&2; echo "ocf-exit-reason:no such disk" >&2; echo bye'
    make_agent(node_root, "mine", f"{body}; exit {status}")
    outcome = carry_out("start", resource(AGENT))
    assert not outcome.ok and words in outcome.text and "no such disk" in outcome.text
    assert outcome.text.startswith(f"{AGENT}: start ended with ")
    # Software that is absent is looked for again: then nothing is there to be stopped.
    assert actions(node_root) == (["start", "monitor"] if status == 5 else ["start"])


def test_where_software_is_not_installed_a_failed_start_holds_nobody_up(node_root: Path) -> None:
    """43 of 141 agents end with 5 on a stop as well."""
    make_agent(node_root, "mine", "exit 5")
    one = resource(AGENT, start_retries=1)
    assert not carry_out("start", one).ok
    assert actions(node_root) == ["start", "monitor"]
    outcome = carry_out("stop", one)
    assert outcome.ok and "not installed" in outcome.text
    # What ran before is another matter: it may run on without its software.
    make_agent(node_root, "mine", "exit 0")
    assert carry_out("start", one).ok
    make_agent(node_root, "mine", "exit 5")
    assert not carry_out("start", one).ok and not carry_out("stop", one).ok


def test_a_start_that_never_began_holds_nobody_up(node_root: Path) -> None:
    """A secret that is missing, or an agent that is not root's, on this one server."""
    path = make_agent(node_root, "mine", "exit 0")
    one = resource(AGENT, parameters_from={"passwd": f"{node_root}/nothing"})
    remarks: list[str] = []
    assert not carry_out("start", one).ok and actions(node_root) == []
    assert carry_out("stop", one, remarks=remarks).ok
    assert actions(node_root) == ["monitor", "stop"]
    assert f"{node_root}/nothing" in remarks[0] and "called without it" in remarks[0]
    path.chmod(0o644)
    assert not carry_out("start", resource(AGENT)).ok
    assert not (Path(paths.run_dir()) / "ocf/failover1/ocf1").exists()


def test_it_is_not_started_where_that_cannot_be_noted(node_root: Path) -> None:
    make_agent(node_root, "mine", "exit 0")
    Path(paths.run_dir()).mkdir(parents=True)
    (Path(paths.run_dir()) / "ocf").write_text("")
    assert not carry_out("start", resource(AGENT)).ok
    assert actions(node_root) == []


def test_an_agent_that_repeats_its_secrets(node_root: Path) -> None:
    body = """echo "user=x pass=$OCF_RESKEY_passwd" >&2
head -c 995 /dev/zero | tr '\\0' y; echo "$OCF_RESKEY_passwd"
printf 'sec'; sleep 0.2; printf 'ret-of-mine!\\n'
echo "ocf-exit-reason:login with $OCF_RESKEY_passwd failed"
exit 1"""
    make_agent(node_root, "mine", body.replace("\\\\", "\\"))
    file = node_root / "passwd"
    file.write_text("secret-of-mine!\n")
    file.chmod(0o400)
    for one in (
        resource(AGENT, parameters_from={"passwd": str(file)}),
        resource(AGENT, {"passwd": "secret-of-mine!"}),
    ):
        lines: list[str] = []
        outcome = carry_out("start", one, lines=lines)
        assert 'login with *** failed"' in outcome.text
        told = "".join(lines) + outcome.text + health(one).text
        assert "start: user=x pass=***" in lines
        assert "ecret-of" not in told and "of-mine" not in told and "secret" not in told


def test_before_it_is_started_again_it_is_stopped(node_root: Path) -> None:
    make_agent(node_root, "mine", "exit 1")
    remarks: list[str] = []
    assert not carry_out("start", resource(AGENT, start_retries=1), remarks=remarks).ok
    assert actions(node_root) == ["start", "stop"]
    (remark,) = remarks
    assert remark.startswith(f"after a failed start, {AGENT}: stop ended with 1 (a general error)")


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5, 6, 7, 8, 255])
def test_any_stop_that_is_no_success_may_have_left_it_active(node_root: Path, status: int) -> None:
    make_agent(node_root, "mine", f'[ "$1" = stop ] && exit {status}\nexit 0')
    assert carry_out("start", resource(AGENT)).ok
    outcome = carry_out("stop", resource(AGENT))
    assert not outcome.ok and outcome.text.endswith("it may still be active")
    assert actions(node_root) == ["start", "stop"]


def test_software_that_is_not_installed_needs_no_stop(node_root: Path) -> None:
    make_agent(node_root, "mine", "exit 5")
    outcome = carry_out("stop", resource(AGENT))
    assert outcome.ok and "not installed" in outcome.text
    assert actions(node_root) == ["monitor"]


def test_what_was_started_is_stopped_even_if_its_software_went(node_root: Path) -> None:
    make_agent(node_root, "mine", "exit 0")
    one = resource(AGENT)
    assert carry_out("start", one).ok
    make_agent(node_root, "mine", "exit 5")
    assert not carry_out("stop", one).ok
    (node_root / "usr/lib/ocf/resource.d/test/mine").unlink()
    assert not carry_out("stop", one).ok
    make_agent(node_root, "mine", "exit 0")
    assert carry_out("stop", one).ok and carry_out("stop", one).ok


def test_an_agent_that_is_not_there(node_root: Path) -> None:
    make_agent(node_root, "mine", "exit 0")
    one = resource("ocf:test:mime")
    outcome = carry_out("start", one)
    assert not outcome.ok
    assert "ocf:test:mime is not installed here" in outcome.text and AGENT in outcome.text
    # It was never started: nobody is held up by it.
    stopped = carry_out("stop", one)
    assert stopped.ok and "so it does not run" in stopped.text


@pytest.mark.parametrize(
    ("status", "state", "probed"),
    [
        (0, State.ACTIVE, State.ACTIVE),
        (8, State.ACTIVE, State.ACTIVE),
        (190, State.DEGRADED, State.DEGRADED),
        (191, State.DEGRADED, State.DEGRADED),
        (7, State.INACTIVE, State.INACTIVE),
        (5, State.FAILED, State.INACTIVE),
        (1, State.FAILED, State.FAILED),
        (6, State.FAILED, State.FAILED),
        (9, State.FAILED, State.FAILED),
        (255, State.FAILED, State.FAILED),
    ],
)
def test_monitor(node_root: Path, status: int, state: State, probed: State) -> None:
    make_agent(node_root, "mine", f"exit {status}")
    assert health(resource(AGENT)).state is state
    assert health(resource(AGENT), probe=True).state is probed


async def test_a_monitor_gives_way_to_a_stop(node_root: Path) -> None:
    make_agent(node_root, "mine", f'[ "$1" = monitor ] && exec sleep 600\necho $1 >{node_root}/it')
    runner = ScriptRunner(grace_ms=200)
    around = context(runner)
    one = resource(AGENT)
    assert (await perform(one, "start", around)).ok
    watching = asyncio.create_task(ocf.monitor(one, around, 600_000))
    await until(lambda: "monitor" in actions(node_root))
    assert (await perform(one, "stop", around)).ok
    assert (await watching).state is State.UNKNOWN


async def test_a_monitor_that_reads_a_secret_ends_no_operation(
    node_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = f'[ "$1" = start ] && while [ ! -e {node_root}/go ]; do sleep 0.05; done\nexit 0'
    make_agent(node_root, "mine", hold)
    file = node_root / "passwd"
    file.write_text("secret\n")
    file.chmod(0o400)
    one = resource(AGENT, parameters_from={"passwd": str(file)})
    began, go_on = threading.Event(), threading.Event()

    def slow(files: dict[str, str]) -> dict[str, str]:
        began.set()
        go_on.wait(BUSY_S)
        return {"passwd": "secret"}

    quick = ocf._secrets
    monkeypatch.setattr(ocf, "_secrets", slow)
    found = context(ScriptRunner(grace_ms=200))
    looked = asyncio.ensure_future(ocf.monitor(one, found, 60_000))
    await until(began.is_set)
    monkeypatch.setattr(ocf, "_secrets", quick)
    started = asyncio.ensure_future(perform(one, Operation.START, found))
    await until(lambda: "start" in actions(node_root))
    go_on.set()
    assert (await looked).state is State.UNKNOWN
    (node_root / "go").touch()
    assert (await started).ok
    assert actions(node_root) == ["start"]


async def test_a_secret_that_cannot_be_read_is_a_time_out_and_holds_one_thread(
    node_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_agent(node_root, "mine", "exit 0")
    one = resource(AGENT, timeout_ms=30, parameters_from={"passwd": "/nfs/passwd"})
    asked: list[dict[str, str]] = []
    answer = threading.Event()

    def hang(files: dict[str, str]) -> dict[str, str]:
        asked.append(files)
        answer.wait(BUSY_S)
        return {"passwd": "secret"}

    monkeypatch.setattr(ocf, "_secrets", hang)
    remarks: list[str] = []
    around = context(ScriptRunner(grace_ms=200), remarks)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await ocf.monitor(one, around, 30)
    for _ in range(2):
        outcome = await perform(one, Operation.START, around)
        assert outcome.timed_out and "did not end within" in outcome.text
    assert actions(node_root) == [] and len(asked) == 2
    # Nothing was started here, so a stop goes on without it.
    assert await ocf._Agent(one, around, needs_secrets=False)._secrets("stop", 30) == {}
    assert "called without it" in remarks[-1]
    answer.set()
    assert (await ocf.monitor(one, around, 60_000)).state is State.ACTIVE


async def test_no_monitor_beside_an_operation(node_root: Path) -> None:
    make_agent(
        node_root,
        "mine",
        f'[ "$1" = monitor ] && exit 1\nwhile [ ! -e {node_root}/go ]; do sleep 0.02; done',
    )
    around = context(ScriptRunner(grace_ms=200))
    one = resource(AGENT)
    starting = asyncio.create_task(perform(one, "start", around))
    await until(lambda: actions(node_root) == ["start"])
    assert (await ocf.monitor(one, around, 60_000)).state is State.UNKNOWN
    (node_root / "go").touch()
    assert (await starting).ok
    assert actions(node_root) == ["start"]


# ---------------------------------------------------------------------- hostile agents


def test_it_hangs_and_ignores_term(node_root: Path) -> None:
    make_agent(node_root, "mine", "trap '' TERM; while :; do sleep 600; done")
    begun = time.monotonic()
    outcome = carry_out("start", resource(AGENT, timeout_ms=300))
    assert not outcome.ok and outcome.timed_out and "within 0.3 s and was killed" in outcome.text
    assert time.monotonic() - begun < 3 * BUSY_S
    outcome = carry_out("stop", resource(AGENT, timeout_ms=300))
    assert outcome.timed_out and outcome.text.endswith("it may still be active")
    found = health(resource(AGENT), timeout_ms=300)
    assert found.state is State.FAILED and found.timed_out


def test_a_daemon_keeps_its_output(node_root: Path) -> None:
    make_agent(node_root, "mine", f"setsid sleep 600 & echo $! >{node_root}/pid")
    outcome = carry_out("start", resource(AGENT, timeout_ms=500_000))
    assert outcome.ok
    pid = int((node_root / "pid").read_text())
    os.kill(pid, 0)  # it goes on


def test_it_prints_megabytes(node_root: Path) -> None:
    make_agent(node_root, "mine", "yes 'a line of noise' | head -c 5000000; exit 1")
    lines: list[str] = []
    outcome = carry_out("start", resource(AGENT), lines)
    assert not outcome.ok and len(outcome.text) < 2000 and len(lines) <= 1001


def test_what_it_prints_has_no_control_characters(node_root: Path) -> None:
    make_agent(node_root, "mine", r"printf 'ocf-exit-reason:\033[31mred\007\n' >&2; exit 1")
    assert carry_out("start", resource(AGENT)).text.isprintable()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the owner of a file is changed")
def test_it_is_not_roots(node_root: Path) -> None:
    path = make_agent(node_root, "mine", "exit 0")
    os.chown(path, 12345, 0)
    outcome = carry_out("start", resource(AGENT))
    assert not outcome.ok and f"chown root {path}" in outcome.text
    assert actions(node_root) == []


def test_it_changes_between_two_calls(node_root: Path) -> None:
    make_agent(node_root, "mine", "exit 0")
    assert carry_out("start", resource(AGENT)).ok
    make_agent(node_root, "mine", "exit 1")
    assert health(resource(AGENT)).state is State.FAILED


def test_it_is_killed(node_root: Path) -> None:
    make_agent(node_root, "mine", "kill -9 $$")
    outcome = carry_out("start", resource(AGENT))
    assert not outcome.ok and "killed by SIGKILL" in outcome.text
    assert "cannot start" not in outcome.text


# ---------------------------------------------------------------------- stand-ins, refusals


def test_its_lines_name_the_action(node_root: Path) -> None:
    make_agent(node_root, "mine", "echo doing it; echo and more >&2")
    lines: list[str] = []
    assert carry_out("start", resource(AGENT), lines).ok
    assert lines == ["start: doing it", "start: and more"]


async def test_a_monitor_that_succeeds_logs_nothing(node_root: Path) -> None:
    make_agent(node_root, "mine", f"echo noise\n[ ! -e {node_root}/bad ]")
    lines: list[str] = []
    around = context(ScriptRunner(log=lambda _, line: lines.append(line)))
    assert (await ocf.monitor(resource(AGENT), around, 60_000)).state is State.ACTIVE
    assert lines == []
    (node_root / "bad").touch()
    assert (await ocf.monitor(resource(AGENT), around, 60_000)).state is State.FAILED
    assert lines == ["monitor: noise"]


def test_stand_ins_keep_what_an_agent_sets(node_root: Path) -> None:
    make_agent(
        node_root,
        "mine",
        f"""exec >{node_root}/said 2>&1
        crm_master -l reboot -v 5; crm_attribute --promotion -G -q
        crm_attribute -p -D; crm_attribute -p -G -q -d none; crm_attribute -p -G; echo $?
        attrd_updater -n ready -v "1 2" -d 5; $HA_SBIN_DIR/attrd_updater --query -n ready
        crm_node -n
        crm_attribute -N server2 -n ready -v 1; echo $?
        crm_attribute -l forever -n ready -v 1; echo $?
        crm_attribute -n ../x -v 1; echo $?
        crm_node -l; echo $?""",
    )
    assert carry_out("start", resource(AGENT)).ok
    said = (node_root / "said").read_text().splitlines()
    assert said[:5] == [
        "5",
        "none",
        "crm_attribute: master-ocf1 is not set on server1",
        "105",
        'name="ready" host="server1" value="1 2"',
    ]
    assert said[5] == "server1"
    assert "knows no attributes of server2" in said[6] and said[7] == "1"
    assert "beyond a boot" in said[8] and said[9] == "1"
    assert "no attribute of the name" in said[10] and said[11] == "1"
    assert said[13] == "1"


@pytest.mark.parametrize("name", ["ocf:heartbeat:galera", "ocf:pacemaker:ping", "ocf:linbit:drbd"])
def test_agents_that_cannot_work_here_are_refused(node_root: Path, name: str) -> None:
    refused = common.refusal(common.named(name), {})
    assert refused is not None and all(refused)
    assert carry_out("stop", resource(name)).ok  # a purge: it was never started


TWO_ROLES = """state=$(cat "$here/state" 2>/dev/null)
[ -e "$here/fails.$1" ] && exit 1
case $1 in
start) [ "$state" = promoted ] && exit 8; echo unpromoted >"$here/state" ;;
promote) echo promoted >"$here/state" ;;
demote) [ -z "$state" ] && exit 7; echo unpromoted >"$here/state" ;;
stop) rm -f "$here/state" ;;
monitor) case $state in promoted) exit 8 ;; unpromoted) exit 0 ;; *) exit 7 ;; esac ;;
esac
exit 0"""


def two_roles(root: Path) -> None:
    make_agent(root, "mirror", f"here={root}\n{TWO_ROLES}")


def test_a_start_promotes_and_a_stop_leaves_it_unpromoted(node_root: Path) -> None:
    two_roles(node_root)
    one = resource("ocf:test:mirror", role="promoted", monitor_interval_ms=1_000)
    assert health(one, probe=True).state is State.INACTIVE
    assert carry_out("start", one).ok
    assert (node_root / "state").read_text() == "promoted\n"
    assert health(one).state is State.ACTIVE
    assert health(one, probe=True).state is State.ACTIVE
    assert carry_out("start", one).ok, "it is so already"
    assert carry_out("stop", one).text == "ocf:test:mirror has demoted it"
    assert (node_root / "state").read_text() == "unpromoted\n"
    assert health(one, probe=True).state is State.INACTIVE
    found = health(one)
    assert (found.state, found.text) == (
        State.FAILED,
        "ocf:test:mirror: it runs, but is not promoted",
    )
    done = actions(node_root)
    assert [x for x in done if x != "monitor"] == ["start", "promote", "start", "demote"]
    # A purge: what is unpromoted may be so on every server.
    assert carry_out("stop", one).text == "ocf:test:mirror: it is not promoted here"


def test_a_promotion_that_fails_is_undone_by_the_stop(node_root: Path) -> None:
    two_roles(node_root)
    one = resource("ocf:test:mirror", role="promoted")
    (node_root / "fails.promote").touch()
    started = carry_out("start", one)
    assert not started.ok and "promote ended with 1" in started.text
    assert carry_out("stop", one).ok
    assert actions(node_root) == ["start", "promote", "demote"]
    # Before the next try of several it is demoted at once.
    again = resource("ocf:test:mirror", role="promoted", name="ocf2", start_retries=1)
    assert not carry_out("start", again).ok
    assert actions(node_root)[3:] == ["start", "promote", "demote"]


def test_what_cannot_be_demoted_is_stopped_or_held(node_root: Path) -> None:
    two_roles(node_root)
    one = resource("ocf:test:mirror", role="promoted")
    assert carry_out("start", one).ok
    (node_root / "fails.demote").touch()
    (node_root / "fails.stop").touch()
    stopped = carry_out("stop", one)
    assert not stopped.ok and "it may still be active" in stopped.text
    (node_root / "fails.stop").unlink()
    remarks: list[str] = []
    assert carry_out("stop", one, remarks=remarks).text == "ocf:test:mirror has stopped it"
    assert "demote ended with 1" in remarks[0] and "it may still be promoted" in remarks[0]
    assert not (node_root / "state").exists()


def test_a_mirror_is_told_that_it_has_two_copies_and_one_is_promoted(node_root: Path) -> None:
    make_agent(node_root, "told", f"env >>{node_root}/env; exit 0")
    assert carry_out("start", resource("ocf:test:told")).ok
    assert "clone_max" not in (node_root / "env").read_text()
    assert carry_out("start", resource("ocf:test:told", role="promoted")).ok
    told = (node_root / "env").read_text()
    for line in ("master_max=1", "clone_max=2", "clone_node_max=1", "notify=true"):
        assert f"OCF_RESKEY_CRM_meta_{line}\n" in told


def test_drbd_is_taken_with_its_role_alone() -> None:
    drbd = common.named("ocf:linbit:drbd")
    assert common.refusal(drbd, {}, promoted=True) is None
    refused = common.refusal(drbd, {})
    assert refused is not None and refused[1] == 'Write role = "promoted".'
    assert common.refusal(common.named("ocf:heartbeat:galera"), {}, promoted=True) is not None


def test_one_parameter_can_make_an_agent_unfit() -> None:
    agent = Agent("heartbeat", "pgsql")
    assert common.refusal(agent, {"rep_mode": "none"}) is None
    assert common.refusal(agent, {"rep_mode": "sync"}) is not None


@pytest.mark.parametrize(
    ("status", "severity"),
    [*((n, Severity.HARD) for n in (2, 3, 4, 5)), (6, Severity.FATAL),
     *((n, Severity.SOFT) for n in (1, 7, 9, 255))],
)  # fmt: skip
def test_what_a_failed_start_says_of_other_tries(
    node_root: Path, status: int, severity: Severity
) -> None:
    make_agent(node_root, "fails", f'[ "$1" = start ] && exit {status}\nexit 0')
    assert carry_out("start", resource("ocf:test:fails")).severity is severity


def test_a_start_without_its_agent_or_secret_fails_on_this_server(node_root: Path) -> None:
    make_agent(node_root, "plain", "exit 0")
    lacks = {"parameters_from": {"passwd": f"{node_root}/none"}}
    for one in (resource("ocf:test:none"), resource("ocf:test:plain", **lacks)):
        assert carry_out("start", one).severity is Severity.HARD


@pytest.mark.parametrize(
    "name", ["", "Filesystem", "ocf:heartbeat", "ocf:../x:y", "ocf:a:b/c", "ocf:a:" + "b" * 300]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="ocf:PROVIDER:TYPE"):
        common.named(name)
