"""Resource agents in commands: offered, checked before a push, shown without secrets."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from clptools.common import agent_files
from tests.cli.conftest import Clp
from tests.config.sample import TWO
from tests.resources.ocf_agents import META, actions, make_agent

GROUP = '[[group]]\nname = "g"\n'


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`/etc/clptools/clp.toml` of a node below a folder that has the agent `ocf:test:mine`."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    monkeypatch.setattr(agent_files, "_known", {})
    make_agent(tmp_path, "mine", "exit 0")
    path = tmp_path / "etc/clptools/clp.toml"
    path.parent.mkdir(parents=True)
    path.write_text(TWO + GROUP)
    return path


def test_a_new_resource_begins_with_what_its_agent_advises(clp: Clp, config: Path) -> None:
    words = ("add", "resource", "g", "ocf", "r", "agent=ocf:test:mine", "stop_timeout=50")
    ran = clp("clpcfset", *words, "-x", str(config.parent))
    assert ran.code == 0
    assert "still needs: clpcfset set resource.r.parameters.device=VALUE" in ran.out
    assert "It also takes: passwd, force, port, mode." in ran.out
    (resource,) = tomllib.loads(config.read_text())["group"][0]["resource"]
    assert resource == {
        "type": "ocf", "name": "r", "agent": "ocf:test:mine", "timeout": 60, "stop_timeout": 50,
        "monitor_interval": 10, "monitor_timeout": 30,
    }  # fmt: skip
    words = ("set", "resource.r.parameters.device=/dev/x", "resource.r.parameters.port=81")
    assert clp("clpcfset", *words, "-x", str(config.parent)).code == 0
    (resource,) = tomllib.loads(config.read_text())["group"][0]["resource"]
    assert resource["parameters"] == {"device": "/dev/x", "port": "81"}
    assert clp("clpcfchk", str(config)).code == 0


def test_times_that_cannot_be_are_not_taken_over(clp: Clp, config: Path) -> None:
    make_agent(config.parents[2], "odd", "exit 0", META.replace("60s", "999999999"))
    words = ("add", "resource", "g", "ocf", "r", "agent=ocf:test:odd", "-x", str(config.parent))
    ran = clp("clpcfset", *words)
    assert ran.code == 0 and "advises timeout = 1e+09, which cannot be" in ran.out
    (resource,) = tomllib.loads(config.read_text())["group"][0]["resource"]
    assert "timeout" not in resource and resource["stop_timeout"] == 40


def test_a_parameter_of_one_server_is_set_and_taken_out_by_command(clp: Clp, config: Path) -> None:
    where = ("-x", str(config.parent))
    assert (
        clp("clpcfset", "add", "resource", "g", "ocf", "r", "agent=ocf:test:mine", *where).code == 0
    )
    key = "resource.r.parameters_on.server1"
    assert clp("clpcfset", "set", f"{key}.device=a,b=c", f"{key}.port=81", *where).code == 0
    (resource,) = tomllib.loads(config.read_text())["group"][0]["resource"]
    assert resource["parameters_on"] == {"server1": {"device": "a,b=c", "port": "81"}}
    assert clp("clpcfset", "show", f"{key}.port", *where).out.strip() == "81"
    assert clp("clpcfset", "unset", f"{key}.port", *where).code == 0
    (resource,) = tomllib.loads(config.read_text())["group"][0]["resource"]
    assert resource["parameters_on"] == {"server1": {"device": "a,b=c"}}
    assert clp("clpcfset", "unset", f"{key}.device", *where).code == 0
    (resource,) = tomllib.loads(config.read_text())["group"][0]["resource"]
    assert not resource.get("parameters_on")
    ran = clp("clpcfset", "set", "resource.r.parameters_on.server9.port=81", *where)
    assert ran.code == 5 and "server9: no such server." in ran.err


def test_what_is_given_on_every_server_is_not_asked_for(clp: Clp, config: Path) -> None:
    words = ("add", "resource", "g", "ocf", "r", "agent=ocf:test:mine", "-x", str(config.parent))
    one = "parameters_on={ server1 = { device = 'x', port = 1 } }"
    assert (
        "still needs: clpcfset set resource.r.parameters.device" in clp("clpcfset", *words, one).out
    )
    assert clp("clpcfset", "del", "resource", "r", "-x", str(config.parent)).code == 0
    both = "parameters_on={ server1 = { device = 'x', port = 1 }, server2 = { device = 'y' } }"
    ran = clp("clpcfset", *words, both)
    assert ran.code == 0 and "still needs" not in ran.out
    assert "It also takes: passwd, force, port, mode." in ran.out


def test_a_server_is_followed_when_it_is_renamed(clp: Clp, config: Path) -> None:
    with open(config, "a") as file:
        file.write(
            '[[group.resource]]\ntype = "ocf"\nname = "r"\nagent = "ocf:test:mine"\n'
            'parameters = { device = "x" }\nparameters_on = { server2 = { device = "y" } }\n'
        )
    words = ("rename", "server", "server2", "db2", "-x", str(config.parent))
    assert clp("clpcfset", *words).code == 0
    (resource,) = tomllib.loads(config.read_text())["group"][0]["resource"]
    assert resource["parameters_on"] == {"db2": {"device": "y"}}
    assert clp("clpcfset", "del", "server", "db2", "-x", str(config.parent)).code == 0
    (resource,) = tomllib.loads(config.read_text())["group"][0]["resource"]
    assert not resource.get("parameters_on")


def test_an_agent_that_is_not_here_may_be_elsewhere(clp: Clp, config: Path) -> None:
    words = ("add", "resource", "g", "ocf", "r", "agent=ocf:test:mime", "-x", str(config.parent))
    ran = clp("clpcfset", *words)
    assert ran.code == 0 and "Did you mean ocf:test:mine?" in ran.out


def test_a_faulty_parameter_is_found_by_clpcfchk_and_refuses_a_push(clp: Clp, config: Path) -> None:
    with open(config, "a") as file:
        file.write(
            '[[group.resource]]\ntype = "ocf"\nname = "r"\nagent = "ocf:test:mine"\n'
            'parameters = { devise = "x" }\n'
        )
    ran = clp("clpcfchk", str(config))
    assert ran.code == 8
    assert 'has no parameter "devise"' in ran.out and "Did you mean device?" in ran.out
    ran = clp("clpcfctrl", "--push", "-x", str(config.parent))
    assert ran.code == 8
    assert 'has no parameter "devise"' in ran.err and "1 more: clpcfchk" in ran.err
    assert "--force" in ran.err


def test_an_agent_is_asked_itself_where_nobody_else_wrote_the_file(clp: Clp, config: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    root = config.parents[2]
    make_agent(root, "mine", "echo 'ocf-exit-reason:no such device' >&2; exit 5")
    with open(config, "a") as file:
        file.write(
            '[[group.resource]]\ntype = "ocf"\nname = "r"\nagent = "ocf:test:mine"\n'
            'parameters = { device = "x" }\n'
        )
    config.chmod(0o666)
    assert "no such device" not in clp("clpcfchk", str(config)).out
    assert actions(root) == []
    config.chmod(0o640)
    ran = clp("clpcfchk", str(config))
    assert ran.code == 0 and '"no such device"' in ran.out
    assert actions(root) == ["validate-all"]


def test_it_is_shown_without_what_nobody_should_see(clp: Clp, config: Path) -> None:
    with open(config, "a") as file:
        file.write(
            '[[group.resource]]\ntype = "ocf"\nname = "r"\nagent = "ocf:test:mine"\n'
            'parameters = { device = "/dev/x", passwd = "sesame" }\n'
        )
    ran = clp("clpstat", "--rsc")
    assert "ocf:test:mine" in ran.out and "device = /dev/x" in ran.out
    assert "passwd = (not shown)" in ran.out and "sesame" not in ran.out
    ran = clp("clpstat", "--rsc", "--json")
    (resource,) = json.loads(ran.out)["resources"]
    assert resource["options"]["parameters"] == {"device": "/dev/x", "passwd": "(not shown)"}
    assert "sesame" not in ran.out
    # A group has its resources in it.
    ran = clp("clpstat", "--grp", "--json")
    (group,) = json.loads(ran.out)["groups"]
    assert group["resources"][0]["options"]["parameters"]["passwd"] == "(not shown)"
    assert "sesame" not in ran.out
    assert "sesame" not in clp("clpstat", "--grp", "--detail").out
