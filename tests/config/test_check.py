"""`clpcfchk` warns of what loads but would not work, or not as it was meant."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clptools import paths
from clptools.config import facts as machine_facts
from clptools.config.check import check
from clptools.config.check_machine import check_machine, check_others, lacks
from clptools.config.facts import gather, handle_power_key
from clptools.core.model.machine import AccountFault, Facts, FileFault, ServerFacts
from clptools.registries import registries
from tests.config.sample import BMCS, EXAMPLES, SAMPLE, THREE, TWO, changed, good, read

HERE = Facts(
    server="server1",
    addresses=frozenset({"192.168.0.1", "10.0.0.1"}),
    devices={"NIC": frozenset({"lo", "eth0"})},
)


def warnings(text: str, facts: Facts | None = None) -> list[str]:
    loaded = read(text)
    assert loaded.settings is not None, loaded.errors
    found = check(loaded)
    if facts is not None:
        found += check_machine(loaded, facts, registries())
    return [f"{r.line}: {r.message} {r.hint}" for r in found]


def test_the_sample_needs_no_warning_on_a_machine_that_fits_it() -> None:
    assert warnings(SAMPLE, HERE) == []


def test_a_group_that_waits_for_one_that_nobody_starts_is_told() -> None:
    base = '[cluster]\nname = "c"\n[[server]]\nname = "s1"\n'
    text = base + '[[group]]\nname = "a"\nstartup = "manual"\n[[group]]\nname = "b"\n'
    for key in ("start_after", "start_after_same_server"):
        [said] = [one for one in warnings(f'{text}{key} = ["a"]\n') if "manual" in one]
        assert f'10: group b: {key} names a, which has startup = "manual"' in said
        assert "b does not start before somebody starts that" in said
    both = f'{text}startup = "manual"\nstart_after = ["a"]\n'
    neither = both.replace('"manual"', '"auto"')
    assert not [one for one in (*warnings(both), *warnings(neither)) if "somebody starts" in one]


def test_a_password_for_etcd_that_goes_over_the_network_as_it_is() -> None:
    etcd = '[[np]]\ntype = "etcd"\nname = "etcd1"\nendpoints = ["%s://10.0.0.9:2379"]\n'
    user = 'user = "u"\npassword_file = "/etc/clptools/etcd"\n'
    [said] = [one for one in warnings(TWO + etcd % "http" + user) if "np etcd1" in one]
    line = (TWO + etcd).splitlines().index('endpoints = ["%s://10.0.0.9:2379"]') + 1
    assert f"{line}: np etcd1: the password of user u goes to http://10.0.0.9:2379 as it is" in said
    for text in (etcd % "http", etcd % "https" + user):
        assert not [one for one in warnings(TWO + text) if "np etcd1" in one]


NP = '[[np]]\ntype = "ping"\ntargets = ["10.0.0.9"]\n'


@pytest.mark.parametrize(
    ("cluster", "np"),
    [
        ("lease = 0.1", ""),
        ("lease = 0.5", ""),
        ("lease = 1.2", ""),
        ("lease = 0.1\nheartbeat_interval = 0.02", ""),
        ("heartbeat_interval = 1.337\nheartbeat_timeout = 9", ""),
        ("heartbeat_interval = 60\nheartbeat_timeout = 600", ""),
        ("lease = 0.3", NP),
        ("lease = 0.3", NP + "interval = 2\n"),
        ("lease = 1.5\nheartbeat_interval = 0.5", NP + "timeout = 1.2\n"),
        ("lease = 1.5", NP + "interval = 60\ntimeout = 60\n"),
    ],
)
def test_a_lease_that_is_too_short_is_mended_in_one_step(cluster: str, np: str) -> None:
    def complaints(lease: str) -> list[str]:
        keys = [x for x in cluster.split("\n") if not (lease and x.startswith("lease"))]
        loaded = read(THREE + "\n".join(["[cluster]", *keys, lease, np]))
        found = loaded.errors or check(loaded)
        return [r.hint for r in found if "lease" in r.hint]

    first = complaints("")
    mends = {found[1] for hint in first if (found := re.search(r"(lease = [0-9.]+)", hint))}
    assert len(mends) == 1, first
    assert complaints(mends.pop()) == []


@pytest.mark.parametrize(
    ("category", "meant"), [("BMCNOTIC", "BMCNOTICE"), ("nic", "NIC"), ("HA/SA", "HA/SS")]
)
def test_a_category_one_letter_from_a_known_one(category: str, meant: str) -> None:
    text = TWO + f'[[monitor]]\ntype = "mrw"\nname = "m"\ncategory = "{category}"\n'
    assert any(f"is one letter from {meant}" in w for w in warnings(text))


def test_a_category_of_ones_own_is_fine() -> None:
    text = TWO + '[[monitor]]\ntype = "mrw"\nname = "m"\ncategory = "BACKUP"\n'
    assert not any("one letter" in w for w in warnings(text))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (TWO, "there is one LAN interconnect"),
        (BMCS, "have a BMC, but there is no bmchb"),
        (BMCS.replace(', user = "clp"', "", 1), "anonymous account"),
        (BMCS + '[forced_stop]\naction = "nmi"\n[cluster]\nfence_delay = 1\n', "fence_delay (1 s)"),
        (BMCS + "[cluster]\nstartup_wait = 60\n", "startup_wait (60 s) is shorter"),
        (
            THREE + "[cluster]\nlease = 1.5\nself_stop = 4\nheartbeat_interval = 0.5\n",
            "lease (1.5 s) is short for heartbeats every 0.5 s",
        ),
        (THREE, 'method "guard" is weaker than a hardware timer'),
        (THREE + '[[monitor]]\ntype = "userw"\nmethod = "none"\n', "no proof by lease"),
        (TWO + '[[group]]\nname = "server1"\n', "has the same name"),
        (
            TWO + '[[monitor]]\ntype = "mrw"\nname = "m"\ncategory = "BMCNOTICE"\n'
            'keyword_on = { server1 = "10.0.0.1", server2 = "10.0.0.2" }\n',
            "no [server.bmc] for server1 and server2",
        ),
    ],
)
def test_the_configuration_alone_shows_it(text: str, part: str) -> None:
    assert any(part in w for w in warnings(text)), warnings(text)


@pytest.mark.parametrize(
    ("method", "part"),
    [
        ("guard", 'method "guard" is weaker than a hardware timer'),
        ("none", 'method "none" gives no proof by lease'),
    ],
)
def test_a_weak_watchdog_is_told_also_where_no_lease_binds(method: str, part: str) -> None:
    """As a note: the guide's sample of two servers without an arbiter rests on no lease."""
    text = SAMPLE.replace('method = "softdog"', f'method = "{method}"')
    found = [r for r in check(read(text)) if part in r.message]
    assert [r.severity for r in found] == ["note"]
    assert found[0].key == "monitor.userw.method"
    found = [r for r in check(read(SAMPLE)) if "method" in r.message]
    assert not found


@pytest.mark.parametrize("name", ["ipmievd", "bmc-watchdog", "watchdog", "wd_keepalive"])
def test_programs_that_act_on_the_same_events(name: str) -> None:
    facts = Facts(server="server1", processes=frozenset({name}))
    assert any(f"{name} runs on server1" in w for w in warnings(SAMPLE, facts))


def test_a_timer_that_redfish_does_not_reach() -> None:
    text = SAMPLE.replace(
        'user = "clp"',
        f'user = "clp"\nprotocol = "redfish"\ncertificate = "{"ab" * 32}"',
        1,
    )
    there = HERE
    absent = msgspec.structs.replace(HERE, absent=frozenset({"/dev/ipmi0"}))
    assert warnings(text, there) == []
    by_ipmi = re.sub(r'^method = "\w+"', 'method = "ipmi"', text, flags=re.MULTILINE)
    assert by_ipmi != text
    (found,) = [w for w in warnings(by_ipmi, absent) if 'method "ipmi"' in w]
    assert "by Redfish the timer of the BMC is not reached" in found


def test_esmpro_is_told_which_events_to_leave_alone() -> None:
    found = warnings(SAMPLE, Facts(server="server1", processes=frozenset({"ESMamvmain"})))
    assert any("C00001FD, C0000203, C0000454" in w for w in found)


def test_addresses_that_this_machine_does_not_have() -> None:
    facts = Facts(server="server2", addresses=frozenset({"10.0.0.2", "192.168.0.3"}))
    found = warnings(SAMPLE, facts)
    lines = SAMPLE.split("\n")
    assert any("interconnect lankhb1: address.server2" in w for w in found)
    (keyword,) = [w for w in found if "traps cannot be received" in w]
    assert lines[int(keyword.split(":")[0]) - 1].startswith("keyword_on")


def test_devices_that_this_machine_does_not_have() -> None:
    monitors = (
        '[[monitor]]\ntype = "mrw"\nname = "nic"\ncategory = "NIC"\nkeyword = "eth00"\n'
        '[[monitor]]\ntype = "miiw"\ninterface = "eth1"\n'
        '[[monitor]]\ntype = "userw"\nmethod = "softdog"\n'
    )
    facts = Facts(
        server="server1",
        devices={"NIC": frozenset({"eth0"})},
        watchdogs={"softdog": "there is no /dev/watchdog"},
    )
    found = warnings(TWO + monitors, facts)
    assert any('keyword "eth00" names no NIC' in w and "mean eth0?" in w for w in found)
    assert any('interface "eth1" is not there' in w for w in found)
    (watchdog,) = [w for w in found if "there is no /dev/watchdog" in w]
    assert "the watchdog of server1 cannot be armed" in watchdog


@pytest.mark.parametrize("enabled", ["db.service", "db.socket", "db.timer", ""])
def test_a_unit_that_systemd_starts_at_boot_by_itself(
    enabled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wants = tmp_path / "multi-user.target.wants"
    wants.mkdir()
    for name in (enabled, "other.service"):
        if name:
            (wants / name).symlink_to(f"/lib/systemd/system/{name}")
    monkeypatch.setattr(machine_facts, "DIRECTORIES", (str(tmp_path), str(tmp_path / "none")))
    text = TWO + (
        '[[group]]\nname = "failover1"\n'
        '[[group.resource]]\ntype = "service"\nname = "db1"\nunit = "db"\n'
    )
    loaded = read(text)
    assert loaded.settings is not None, loaded.errors
    facts = msgspec.structs.replace(HERE, enabled=gather(loaded.settings, registries()).enabled)
    found = [w for w in warnings(text, facts) if "is enabled" in w]
    assert len(found) == (1 if enabled else 0)
    if enabled:
        assert f"systemctl disable {enabled}" in found[0] and "at boot" in found[0]
        line = text.split("\n")[int(found[0].split(":")[0]) - 1]
        assert line.startswith("unit")


def test_scripts_and_secrets_that_cannot_be_used() -> None:
    start = paths.scripts_dir() + "/failover1/exec1/start.sh"
    facts = Facts(
        server="server1",
        files={
            start: FileFault(text=f"{start}: not executable", mend="chmod +x"),
            "/etc/clptools/authkey": FileFault(text="/etc/clptools/authkey: not there"),
        },
    )
    found = warnings(SAMPLE, facts)
    (script,) = [w for w in found if "not executable" in w]
    assert SAMPLE.split("\n")[int(script.split(":")[0]) - 1].startswith("start")
    assert any("authkey: not there" in w for w in found)


def test_what_the_bmc_itself_says_is_at_its_table() -> None:
    fault = AccountFault(text='the account "clp" may read power alone', mend="Raise it.")
    (found,) = warnings(SAMPLE, Facts(server="server1", bmc={"server2": fault}))
    assert f"server2.bmc: {fault.text}." in found
    assert SAMPLE.split("\n")[int(found.split(":")[0]) - 1] == "[server.bmc]"


def test_a_server_that_answers_no_echo_is_told_at_its_table() -> None:
    (found,) = warnings(SAMPLE, Facts(server="server1", unechoed=frozenset({"server2"})))
    assert "server server2: it answers here, but not to ICMP echoes" in found
    assert "firewall of server2" in found
    line = int(found.split(":")[0])
    assert 'name = "server2"' in "\n".join(SAMPLE.split("\n")[line - 1 : line + 1])


def test_on_another_machine_only_the_configuration_is_checked() -> None:
    (found,) = warnings(SAMPLE, Facts(server="laptop", processes=frozenset({"ipmievd"})))
    assert "laptop, which is none of the servers" in found


def test_facts_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    exec1 = tmp_path / "etc/clptools/scripts/failover1/exec1"
    exec1.mkdir(parents=True)
    for name in ("start.sh", "stop.sh"):
        (exec1 / name).write_text("#!/bin/sh\n")
    (exec1 / "start.sh").chmod(0o755)
    key = tmp_path / "etc/clptools/authkey"
    key.write_bytes(b"k" * 32)
    key.chmod(0o644)
    config = tmp_path / "etc/clptools/clp.toml"
    config.write_text(SAMPLE)
    config.chmod(0o666)
    facts = gather(good(SAMPLE), registries())
    assert "others than its owner may change it" in facts.files[str(config)].text
    config.chmod(0o640)
    os.chown(config, 12_345, 0)
    fault = gather(good(SAMPLE), registries()).files[str(config)]
    assert "belongs to user 12345, who may change it" in fault.text
    assert fault.mend == f"chown root {config}"
    assert facts.server == "server1"
    assert "lo" in facts.devices["NIC"]
    assert "127.0.0.1" in facts.addresses
    assert Path("/proc/self/comm").read_text().strip() in facts.processes
    assert str(exec1 / "stop.sh") in facts.files
    assert "mode 0644" in facts.files[str(key)].text
    assert facts.files[str(key)].mend == f"chmod 0400 {key}"


def test_every_script_of_the_examples_may_be_run() -> None:
    for script in EXAMPLES.glob("*/scripts/*/*/*.sh"):
        assert os.access(script, os.X_OK), script
        assert script.read_text().startswith("#!/bin/sh\n")


def test_a_warning_on_an_unnamed_interconnect_has_its_own_line() -> None:
    facts = Facts(server="server1", addresses=frozenset({"10.0.0.1"}))
    text = changed('server1 = "192.168.0.1", server2', 'server1 = "192.168.0.9", server2')
    (found,) = [w for w in warnings(text, facts) if "interconnect" in w]
    assert "192.168.0.9" in text.split("\n")[int(found.split(":")[0]) - 1]


@pytest.mark.parametrize(
    ("category", "keyword", "more", "said"),
    [
        ("HA/SS", "sdc", "", "Did you mean sdb?"),
        ("HA/SS", "wwn-0x5000", "", ""),
        ("HA/SS", "/nowhere", "", "is not there on server1"),
        ("FC", "host9", "", "Did you mean host3?"),
        ("HA/AM", "postgres.service", "", "Did you mean postgresql.service?"),
        ("HA/AM", "postgresql", "", ""),
        ("HA/AM", "getty@tty1.service", "", ""),
        ("HA/AM", "my-own", 'health_command = "/bin/true"\n', ""),
        ("HA/RS", "disk", "", "Known: cpu, io."),
        ("MCE", "mc0", "", ""),
        ("OWN", "anything", "", ""),
    ],
)
def test_a_device_that_is_not_there(category: str, keyword: str, more: str, said: str) -> None:
    facts = Facts(
        server="server1",
        devices={
            "HA/SS": frozenset({"sdb", "wwn-0x5000"}),
            "FC": frozenset({"host3"}),
            "HA/AM": frozenset({"postgresql.service", "getty@.service"}),
            "HA/RS": frozenset({"cpu", "io"}),
            "MCE": frozenset({"mc0"}),
        },
        absent=frozenset({"/nowhere"}),
    )
    text = f'[[monitor]]\ntype = "mrw"\ncategory = "{category}"\nkeyword = "{keyword}"\n{more}'
    found = [w for w in warnings(TWO + text, facts) if keyword in w]
    assert bool(found) is bool(said)
    assert all(said in w for w in found)


def test_a_device_is_looked_for_on_this_server_alone() -> None:
    text = '[[monitor]]\ntype = "mrw"\ncategory = "NIC"\nkeyword_on = { server2 = "ens9" }\n'
    facts = Facts(server="server1", devices={"NIC": frozenset({"eth0"})})
    assert not [w for w in warnings(TWO + text, facts) if "ens9" in w]


def test_keys_belong_to_their_category() -> None:
    text = '[[monitor]]\ntype = "mrw"\ncategory = "{}"\nspace_used = 80\n'
    loaded = read(TWO + text.format("HA/RS"))
    assert loaded.settings is not None
    assert loaded.settings.monitors[0].options["space_used"] == 80
    wrong = read(TWO + text.format("NIC"))
    assert any("space_used" in str(r) for r in wrong.errors)


MIGRATING = """
[[group]]
name = "vms"
[[group.resource]]
type = "exec"
name = "vm1"
{migrate}
[[monitor]]
type = "mrw"
name = "nic"
category = "NIC"
[monitor.recovery]
action = "failover"
target = "{target}"
migrate_before_failover = {before}
"""


def test_a_migration_that_nothing_can_carry_out_or_nothing_asks_for() -> None:
    def told(migrate: str, before: str, target: str = "vms") -> list[str]:
        text = TWO + MIGRATING.format(migrate=migrate, before=before, target=target)
        return [w for w in warnings(text) if "migrat" in w]

    script = 'migrate = "migrate.sh"'
    for target in ("vms", "vm1", "All Groups"):
        assert told(script, "true", target) == []
    assert told("", "false") == []
    (unable,) = told("", "true")
    assert "no resource of vms has migrate" in unable and 'Add migrate = "migrate.sh"' in unable
    line = next(
        n
        for n, text in enumerate((TWO + MIGRATING).splitlines(), 1)
        if text.startswith("migrate_before_failover")
    )
    assert unable.startswith(f"{line}: monitor nic: ")
    (unasked,) = told(script, "false")
    assert "group resource vm1: migrate is never run" in unasked


def test_a_migrate_script_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    text = TWO + MIGRATING.format(migrate='migrate = "m.sh"', before="true", target="vms")
    settings = good(text)
    (resource,) = settings.groups[0].resources
    assert resource.migrates and resource.migrate_timeout_ms == resource.stop_timeout_ms
    found = warnings(text, gather(settings, registries()))
    (missing,) = [w for w in found if "group resource vm1: migrate: " in w]
    assert "no such file" in missing


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({}, "poweroff"),
        ({"etc/logind.conf": "[Login]\n#HandlePowerKey=ignore\n"}, "poweroff"),
        ({"etc/logind.conf": "[Login]\nHandlePowerKey=ignore\n"}, ""),
        (
            {
                "etc/logind.conf": "[Login]\nHandlePowerKey=ignore\n",
                "lib/logind.conf.d/50.conf": "[Login]\nHandlePowerKey = suspend\n",
            },
            "suspend",
        ),
        (
            {
                "lib/logind.conf.d/50.conf": "[Login]\nHandlePowerKey=suspend\n",
                "etc/logind.conf.d/50.conf": "[Login]\nHandlePowerKey=ignore\n",
            },
            "",
        ),
    ],
)
def test_what_logind_does_with_the_power_button(
    tmp_path: Path, files: dict[str, str], word: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert handle_power_key((str(tmp_path / "lib"), str(tmp_path / "etc"))) == word


@pytest.mark.parametrize(
    ("known", "who"), [({"power_key": "poweroff"}, "logind"), ({"processes": {"acpid"}}, "acpid")]
)
def test_who_shuts_down_when_the_button_is_pressed_is_told(known: Any, who: str) -> None:
    found = warnings(SAMPLE, Facts(server="server1", **known))
    assert any(f"{who} of server1 shuts down when the power button" in line for line in found)
    assert not any("power button" in line for line in warnings(SAMPLE, Facts(server="server1")))


# ---------------------------------------------------------------------- other servers


def told_by_others(text: str, *told: ServerFacts) -> list[str]:
    loaded = read(text)
    return [f"{r.severity} {r}  {r.hint}" for r in check_others(loaded, "a", told, registries())]


def test_what_other_servers_tell_names_them() -> None:
    facts = Facts(
        server="b",
        addresses=frozenset({"10.0.0.9"}),
        taken={"udp 10.0.0.2:162": "snmptrapd"},
        processes=frozenset({"pacemakerd"}),
        clock="no time service keeps it synchronised",
        files={"/etc/clptools/authkey": FileFault(text="/etc/clptools/authkey: not there")},
    )
    found = told_by_others(THREE, ServerFacts(name="b", facts=facts, clock_off_s=-30.4))
    assert len(found) == 6 and all("warning" in line and " b" in line for line in found)
    for part in (
        'address.b = "10.0.0.2" is no address of b',
        "snmptrapd on b has udp 10.0.0.2:162",
        "pacemakerd runs on b",
        "the clock of b is not synchronised",
        "on b: /etc/clptools/authkey: not there",
        "its clock is 30 s behind that of a",
    ):
        assert any(part in line for line in found), part


def test_of_a_server_that_does_not_answer_nothing_is_known() -> None:
    told = (ServerFacts(name="b", unreachable="no answer within 10 s."),
            ServerFacts(name="a", unreachable="it is this one"),
            ServerFacts(name="x", unreachable="it is none of them"))  # fmt: skip
    (line,) = told_by_others(THREE, *told)
    assert line.startswith("note ") and "server b: nothing is known of its machine" in line
    assert "(no answer within 10 s)" in line


def test_what_may_take_a_floating_address_away_is_a_note() -> None:
    facts = Facts(server="server1", managed={"fip1": "systemd-networkd configures eth0"})
    loaded = read(SAMPLE)
    (found,) = check_machine(loaded, facts, registries())
    assert found.severity == "note" and "may take its address away" in found.message


def test_only_what_is_known_not_to_work_is_lacking() -> None:
    userw = '[[monitor]]\ntype = "userw"\nmethod = "METHOD"\n'
    facts = Facts(
        server="server1",
        watchdogs={"softdog": "none is there", "ipmi": "there is no /dev/ipmi0"},
        bmc={"server1": AccountFault(text="level USER", reads=True),
             "server2": AccountFault(text="wrong password"),
             "server3": AccountFault(text="2 s for an answer", reads=True, stops=True)},
    )  # fmt: skip
    softdog = lacks(good(BMCS + userw.replace("METHOD", "softdog")), [facts])
    assert softdog.watchdogs == {"server1": "none is there"}
    assert softdog.unfenced == {"server1", "server2"} and softdog.unread == {"server2"}
    nothing = FileFault(text="no BMC password there")
    files = {"/etc/clptools/bmc/server1": nothing, "/etc/clptools/bmc/server2": nothing}
    without = lacks(good(BMCS), [Facts(server="server1", files=files)])
    assert without.passwords == {"server2": ("server1",)}, "it does not ask its own from afar"
    assert without.unread == without.unfenced == {"server2"}
    guard = lacks(good(BMCS + userw.replace("METHOD", "guard")), [facts])
    assert not guard.watchdogs
    by_lan = lacks(good(BMCS + userw.replace("METHOD", "ipmi")), [facts])
    assert not by_lan.watchdogs, "its BMC is reached over the network"
