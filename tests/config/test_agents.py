"""Resources of type ocf: their keys, their order, their monitors, and what agents take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clptools.cli.clpcfchk import judge
from clptools.common import agent_files
from clptools.common.ocf import parameters_shown
from clptools.config.agents import agent_faults, secret_files
from clptools.config.check_machine import check_machine, check_others
from clptools.config.load import Loaded
from clptools.core.model.machine import AgentFault, Facts, ServerFacts
from clptools.core.model.settings import Settings
from clptools.registries import registries
from tests.config.sample import TWO, good, read
from tests.resources.ocf_agents import META, actions, make_agent

AGENT = "ocf:test:mine"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    monkeypatch.setattr(agent_files, "_known", {})
    make_agent(tmp_path, "mine", "exit 0")
    return tmp_path


def text(*keys: str, agent: str = AGENT) -> str:
    lines = [f'agent = "{agent}"', *keys]
    body = "\n".join(lines)
    return f'{TWO}[[group]]\nname = "g"\n[[group.resource]]\ntype = "ocf"\nname = "r"\n{body}\n'


def errors(loaded: Loaded) -> list[str]:
    return [str(report) for report in loaded.reports if report.severity == "error"]


def faults(*keys: str, agent: str = AGENT) -> list[AgentFault]:
    return list(agent_faults(good(text(*keys, agent=agent)), "server1").get("r", ()))


# ---------------------------------------------------------------------- reading


def test_values_are_text_numbers_true_or_false() -> None:
    settings = good(text('parameters = { device = "/dev/x", port = 81, force = true, f = 1.5 }'))
    resource = settings.groups[0].resources[0]
    given = {"device": "/dev/x", "port": "81", "force": "true", "f": "1.5"}
    assert resource.options["parameters"] == given
    assert not resource.migrates


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (("parameters = { device = [1] }",), "parameters.device"),
        (("parameters = 5",), "must be a table"),
        (("parameters = { CRM_meta_interval = 1 }",), "is set by clptools"),
        (("parameters = { OCF_ROOT = 1 }",), "is set by clptools"),
        (('parameters = { "a b" = 1 }',), "no name of a parameter"),
        (('parameters = { device = "a\\nb" }',), "control characters"),
        (('parameters_from = { passwd = "secret" }',), "absolute path"),
        (("monitor_interval = -1",), "from 0 to"),
        (('parameter = { device = "x" }',), 'unknown key "parameter"'),
        (('migrate = "x.sh"',), 'unknown key "migrate"'),
    ],
)
def test_keys_that_are_wrong(keys: tuple[str, ...], why: str) -> None:
    (error,) = errors(read(text(*keys)))
    assert why in error
    assert error.startswith("clp.toml:") or "resource r" in error


@pytest.mark.parametrize("agent", ["Filesystem", "ocf:heartbeat", "lsb:x", "ocf:a:../b"])
def test_names_of_agents_that_are_none(agent: str) -> None:
    (error,) = errors(read(text(agent=agent)))
    assert 'must be written as "ocf:PROVIDER:TYPE"' in error


def ordered(*types: str) -> dict[str, tuple[str, ...]]:
    tables = []
    for name in types:
        kind, _, rest = name.partition("=")
        key = {"fip": 'address = "10.0.0.9/24"', "service": 'unit = "x"', "exec": ""}.get(kind)
        key = key if key is not None else f'agent = "ocf:heartbeat:{kind}"'
        kind = kind if kind in ("fip", "service", "exec") else "ocf"
        tables.append(f'[[group.resource]]\ntype = "{kind}"\nname = "{rest}"\n{key}\n')
    settings = good(f'{TWO}[[group]]\nname = "g"\n{"".join(tables)}')
    return {one.name: one.depends for one in settings.groups[0].resources}


def test_storage_before_addresses_before_services() -> None:
    found = ordered(
        "exec=e", "pgsql=p", "service=s", "fip=f", "IPaddr2=a", "Filesystem=fs", "LVM-activate=vg"
    )
    assert list(found)[:2] == ["vg", "fs"]
    assert found["vg"] == () and found["fs"] == ("vg",)
    assert set(found["f"]) == set(found["a"]) == {"vg", "fs"}
    assert set(found["p"]) == set(found["s"]) == {"vg", "fs", "f", "a"}
    assert set(found["e"]) == {"vg", "fs", "f", "a", "p", "s"}


# ---------------------------------------------------------------------- its monitor


def test_an_interval_makes_a_monitor() -> None:
    settings = good(text("monitor_interval = 10", "monitor_timeout = 40", "depth = 10"))
    monitor = settings.monitor("rw")
    assert monitor is not None
    assert (monitor.type, monitor.target, monitor.timing) == ("ocfw", "r", "active")
    assert (monitor.interval_ms, monitor.timeout_ms) == (10_000, 40_000)
    assert monitor.servers == ("server1", "server2")
    assert (monitor.recovery.action, monitor.recovery.target) == ("restart", "r")
    assert good(text()).monitor("rw") is None


def test_a_monitor_of_ones_own_takes_its_place() -> None:
    own = '[[monitor]]\ntype = "ocfw"\nname = "mine"\ntarget = "r"\n'
    settings = good(text("monitor_interval = 10") + own)
    assert settings.monitor("rw") is None
    monitor = settings.monitor("mine")
    assert monitor is not None and monitor.timing == "active"


def test_the_name_of_its_monitor_is_taken() -> None:
    other = '[[monitor]]\ntype = "genw"\nname = "rw"\n'
    (error,) = errors(read(text("monitor_interval = 10") + other))
    assert 'called "rw"' in error
    assert good(text("monitor_interval = 0") + other)


# ---------------------------------------------------------------------- what agents take


def test_nothing_is_wrong() -> None:
    assert faults('parameters = { device = "/dev/x", port = 81, force = "yes", mode = "ro" }') == []


@pytest.mark.parametrize(
    ("keys", "key", "why", "mend"),
    [
        ((), "parameters", 'needs the parameter "device"', "device"),
        (('parameters = { device = "" }',), "parameters", "needs the parameter", "device"),
        (('parameters = { device = "x", devise = 1 }',), "parameters.devise",
         'no parameter "devise"', "Did you mean device?"),
        (('parameters = { device = "x", port = "x" }',), "parameters.port", "no whole number", ""),
        (('parameters = { device = "x", force = "maybe" }',), "parameters.force",
         "neither true nor false", ""),
        (('parameters = { device = "x", mode = "rx" }',), "parameters.mode", "none of rw, ro",
         "rw"),
        (('parameters = { device = "x" }', 'parameters_from = { pw = "/x" }'),
         "parameters_from.pw", 'no parameter "pw"', "passwd"),
        (('parameters = { device = "x", passwd = "" }', 'parameters_from = { passwd = "/x" }'),
         "parameters_from.passwd", "given twice", "Leave one out"),
    ],
)  # fmt: skip
def test_parameters_that_are_wrong(keys: tuple[str, ...], key: str, why: str, mend: str) -> None:
    found = [one for one in faults(*keys) if one.severity == "error"]
    assert len(found) == 1
    assert found[0].key == key and why in found[0].text and mend in found[0].mend


def test_single_servers_may_have_their_own() -> None:
    keys = (
        'parameters = { device = "x", port = 1 }',
        'parameters_on = { server2 = { port = "y", devise = 2, passwd = "z" } }',
    )
    settings = good(text(*keys))
    options = settings.groups[0].resources[0].options
    assert options["parameters"] == {"device": "x", "port": "1"}
    assert parameters_shown(options)["passwd (server2)"] == "(not shown)"
    assert parameters_shown(options)["port (server2)"] == "y"
    assert agent_faults(settings, "server1") == {}
    found = [one for one in agent_faults(settings, "server2")["r"] if one.severity == "error"]
    assert [one.key for one in found] == [
        "parameters_on.server2.devise",
        "parameters_on.server2.port",
    ]
    (error,) = errors(read(text(*keys).replace("server2 = {", "server3 = {")))
    assert 'no such server "server3"' in error
    (error,) = errors(read(text("parameters_on = { server2 = 5 }")))
    assert "parameters_on.server2" in error and "must be a table" in error


def test_a_required_one_may_come_from_a_file() -> None:
    assert faults('parameters_from = { device = "/etc/x" }') == []


@pytest.mark.parametrize(
    ("agent", "why", "mend"),
    [
        ("ocf:test:mime", "is not installed on server1", "ocf:test:mine"),
        ("ocf:linbit:thing", "is not installed", "drbd-utils"),
        ("ocf:heartbeat:galera", "cannot work here", "storage"),
    ],
)
def test_agents_that_cannot_be_used(agent: str, why: str, mend: str) -> None:
    (found,) = faults(agent=agent)
    assert found.severity == "error" and found.key == "agent"
    assert why in found.text and mend in found.mend


@pytest.mark.parametrize(
    ("body", "why"), [("", "it is empty"), ("<resource-agent", "line 1"), ("<a/>", "no resource")]
)
def test_agents_without_metadata(root: Path, body: str, why: str) -> None:
    path = make_agent(root, "mine", "exit 0", meta="")
    path.write_text(f"#!/bin/sh\necho '{body}'\n" if body else "#!/bin/sh\nexit 0\n")
    (found,) = faults()
    assert why in found.text


def test_an_agent_of_an_update_takes_other_parameters(root: Path) -> None:
    keys = 'parameters = { device = "x", fresh = 1 }'
    assert [one.key for one in faults(keys)] == ["parameters.fresh"]
    make_agent(root, "mine", "exit 0", meta=META.replace('name="disk"', 'name="fresh"'))
    assert [one.severity for one in faults(keys)] == ["note"]  # it is the old name of something


def test_advice() -> None:
    found = faults(
        'parameters = { device = "x", passwd = "open sesame", disk = "d" }',
        "timeout = 50", "stop_timeout = 30", "monitor_interval = 10", "monitor_timeout = 20",
        "depth = 5",
    )  # fmt: skip
    assert {(one.key, one.severity) for one in found} == {
        ("parameters.passwd", "warning"),
        ("parameters.disk", "note"),
        ("timeout", "warning"),
        ("stop_timeout", "warning"),
        ("monitor_timeout", "warning"),
        ("depth", "note"),
    }
    assert "sesame" not in str(found)


def test_validate_all_is_asked_only_by_root_itself(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    make_agent(root, "mine", "echo 'ocf-exit-reason:no such device' >&2; exit 5")
    settings = good(text('parameters = { device = "x" }'))
    assert agent_faults(settings, "server1") == {}
    assert actions(root) == []
    (found,) = agent_faults(settings, "server1", validate=True)["r"]
    assert found.severity == "note" and '"no such device"' in found.text
    assert actions(root) == ["validate-all"]


def test_no_fault_repeats_a_secret(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    reason = '"ocf-exit-reason:$OCF_RESKEY_passwd is not taken"'
    make_agent(root, "mine", f"echo {reason} >&2; exit 2")
    settings = good(text('parameters = { device = "x", passwd = "sesame" }'))
    found = agent_faults(settings, "server1", validate=True)["r"]
    assert "sesame" not in str(found) and '"*** is not taken"' in str(found)
    number = '<parameter name="passwd"><content type="integer"/>'
    meta = META.replace('<parameter name="passwd"><content type="string"/>', number)
    make_agent(root, "mine", "exit 0", meta)
    found = agent_faults(settings, "server1")["r"]
    assert "sesame" not in str(found) and "no whole number" in str(found)


def test_values_that_no_two_resources_may_share(root: Path) -> None:
    unique = '<parameter name="device" required="1" unique="1">'
    meta = META.replace('<parameter name="device" required="1">', unique)
    for name in ("port", "mode"):
        meta = meta.replace(f'name="{name}"', f'name="{name}" unique-group="place"')
    make_agent(root, "mine", "exit 0", meta)
    make_agent(root, "other", "exit 0", meta)

    def found(first: str, second: str, agent: str = AGENT) -> str:
        more = f'\n[[group.resource]]\ntype = "ocf"\nname = "s"\nagent = "{agent}"\n'
        config = text(f"parameters = {{ {first} }}") + more + f"parameters = {{ {second} }}\n"
        got = agent_faults(good(config), "server1")
        assert set(got) <= {"s"} and {one.severity for one in got.get("s", ())} <= {"warning"}
        return " ".join(one.text for one in got.get("s", ()))

    assert found('device = "x"', 'device = "y"') == ""
    assert found('device = "x"', 'device = "x"', "ocf:test:other") == ""
    assert 'r has device = "x", too' in found('device = "x"', 'device = "x"')
    same, half = 'device = "{}", port = 1, mode = "ro"', 'device = "y", port = 1'
    assert found(same.format("x"), half) == ""
    assert 'port = "1" and mode = "ro", too' in found(same.format("x"), same.format("y"))


def test_elsewhere_it_is_said_that_agents_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = read(text('parameters = { device = "x" }'))
    monkeypatch.setenv("CLP_SERVER", "laptop")
    reports, verdict = judge(loaded)
    assert verdict is not None
    (note,) = [one for one in reports if "laptop" in one.message]
    assert note.severity == "note" and "the agents of 1 ocf resource are there" in note.message
    monkeypatch.setenv("CLP_SERVER", "server1")
    assert not [one for one in judge(loaded)[0] if "none of the servers" in one.message]


def test_an_agent_that_can_migrate_live_is_told_not_to_be_used_so(root: Path) -> None:
    both = '<action name="migrate_to" timeout="90s"/><action name="migrate_from"/></actions>'
    make_agent(root, "vm", "exit 0", META.replace("</actions>", both))
    (found,) = faults('parameters = { device = "x" }', "timeout = 60", agent="ocf:test:vm")
    assert (found.key, found.severity) == ("agent", "note")
    assert "ocf:test:vm can migrate live, which is not used here" in found.text


def test_a_role_needs_an_agent_that_has_it(root: Path) -> None:
    (found,) = faults('parameters = { device = "x" }', 'role = "promoted"')
    assert (found.key, found.severity) == ("role", "error")
    assert found.text == "ocf:test:mine has no promote and no demote"
    two = '<action name="promote" timeout="90s"/><action name="demote" timeout="10s"/></actions>'
    make_agent(root, "mirror", "exit 0", META.replace("</actions>", two))
    role = ('parameters = { device = "x" }', 'role = "promoted"', "stop_timeout = 40")
    (found,) = faults(*role, "timeout = 60", agent="ocf:test:mirror")
    assert found.mend == "Write timeout = 90."
    assert not faults(*role, "timeout = 90", agent="ocf:test:mirror")
    (error,) = errors(read(text('role = "master"')))
    assert "started, promoted" in str(error)


def test_a_group_of_other_servers_needs_no_agent_here() -> None:
    settings = good(text().replace('name = "g"', 'name = "g"\nservers = ["server2"]'))
    assert agent_faults(settings, "server1") == {}
    assert "r" in agent_faults(settings, "server2")


# ---------------------------------------------------------------------- reports


def test_a_fault_has_its_line_and_mend() -> None:
    config = text('parameters = { device = "x", devise = 1 }')
    loaded = read(config)
    facts = Facts(server="server1", agents=agent_faults(_settings(loaded), "server1"))
    (report,) = [r for r in check_machine(loaded, facts, registries()) if r.severity == "error"]
    assert report.line == config.splitlines().index('parameters = { device = "x", devise = 1 }') + 1
    assert report.key == "group.resource.r.parameters.devise"
    assert "group resource r: parameters.devise: ocf:test:mine has no parameter" in report.message
    assert report.hint == "Did you mean device?"


def test_what_another_server_lacks_is_a_warning() -> None:
    loaded = read(text('parameters = { device = "x" }'))
    same = AgentFault(key="parameters", text="wrong everywhere", severity="error")
    gone = AgentFault(key="agent", text='"x" is not installed on server2', severity="error")
    told = (
        ServerFacts(name="server1", facts=Facts(server="server1", agents={"r": (same,)})),
        ServerFacts(name="server2", facts=Facts(server="server2", agents={"r": (same, gone)})),
    )
    found = check_others(loaded, "server1", told, registries())
    (report,) = [one for one in found if "group resource r" in one.message]
    assert report.severity == "warning" and "is not installed on server2" in report.message


def test_a_faulty_parameter_makes_the_configuration_invalid() -> None:
    reports, verdict = judge(read(text('parameters = { device = "x", devise = 1 }')))
    assert verdict is None and any("devise" in report.message for report in reports)
    _, verdict = judge(read(text('parameters = { device = "x" }')))
    assert verdict is not None


def test_secrets_are_needed_and_never_shown() -> None:
    settings = good(
        text('parameters = { device = "x", api_token = "t" }', 'parameters_from = { p = "/etc/p" }')
    )
    assert list(secret_files(settings, "server1")) == ["/etc/p"]
    options = settings.groups[0].resources[0].options
    shown = {"device": "x", "api_token": "(not shown)", "p": "(in /etc/p)"}
    assert parameters_shown(options) == shown


@pytest.mark.parametrize("name", ["passwd", "user_pass", "dbpwd", "api_token"])
def test_a_secret_of_a_single_server_is_not_shown(name: str) -> None:
    on = {f"server1/{name}": "sesame", "token-keeper/port": "80"}
    shown = {f"{name} (server1)": "(not shown)", "port (token-keeper)": "80"}
    assert parameters_shown({"parameters_on": on}) == shown


def _settings(loaded: Loaded) -> Settings:
    assert loaded.settings is not None
    return loaded.settings
