"""`[[fence]]`: which agents and parameters are taken, and what is said of the others."""

from __future__ import annotations

import pytest

from clptools.config.check import check
from clptools.config.check_machine import check_machine, lacks
from clptools.config.fence_agents import IN_ENGLISH, NO_PROOF, READS_AS_OFF, SHOWS_PASSWORD
from clptools.config.load import Loaded, loads
from clptools.config.safety import safety
from clptools.core.model.machine import Facts, FenceFault
from clptools.core.model.settings import Settings
from clptools.registries import registries

BASE = """
[cluster]
name = "cluster"
{cluster}
[[server]]
name = "server1"
[[server]]
name = "server2"
[[interconnect]]
type = "lanhb"
address = {{ server1 = "10.0.0.1", server2 = "10.0.0.2" }}
[[monitor]]
type = "userw"
name = "userw"
method = "none"
[forced_stop]
action = "{action}"
"""
PDU = """
[[fence]]
name = "pdu1"
agent = "fence_apc"
password_file = "/etc/clptools/fence/pdu1"
parameters = { ip = "10.0.9.1", username = "clp", power_wait = 2, ssh = true }
parameters_on = { server1 = { plug = 1 }, server2 = { plug = "2" } }
"""


def loaded(fences: str, action: str = "power-off", cluster: str = "") -> Loaded:
    return loads(BASE.format(action=action, cluster=cluster) + fences, registries())


def settings(fences: str, **more: str) -> Settings:
    found = loaded(fences, **more)
    assert found.settings is not None, found.errors
    return found.settings


def faults(fences: str, **more: str) -> list[str]:
    return [f"{report.line} {report.message}" for report in loaded(fences, **more).errors]


def test_each_server_has_its_plug_and_what_all_have() -> None:
    one, two = settings(PDU).servers
    assert one.fences[0].parameters == {
        "ip": "10.0.9.1", "username": "clp", "power_wait": "2", "ssh": "1", "plug": "1",
    }  # fmt: skip
    assert two.fences[0].parameters["plug"] == "2"
    assert one.has_power_control and not one.power_is_polled
    assert one.power_by == "fence agent pdu1"
    assert settings(PDU).power_at("server1") != settings(PDU).power_at("server2")


def test_levels_are_in_order_and_equal_ones_together() -> None:
    more = "".join(
        PDU.replace("pdu1", name).replace("10.0.9.1", address) + f"order = {order}\n"
        for name, address, order in (("b", "10.0.9.2", 2), ("c", "10.0.9.3", 1))
    )
    (server, _) = settings(PDU + more).servers
    assert [[fence.name for fence in level] for level in server.levels] == [["pdu1", "c"], ["b"]]


@pytest.mark.parametrize("agent", sorted(NO_PROOF))
def test_what_is_no_proof_is_refused_with_the_reason(agent: str) -> None:
    (fault,) = faults(f'[[fence]]\nname = "x"\nagent = "{agent}"\nservers = ["server1"]\n')
    assert NO_PROOF[agent] in fault


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ('action = "reboot"', "stated by clptools alone"),
        ('option = "off"', "stated by clptools alone"),
        ('passwd = "s3cret"', "password_file alone"),
        ('community = "s3cret"', "password_file alone"),
        ('password_script = "/bin/x"', "password_file alone"),
        ("verbose = true", "into a file"),
        ('debug = "/tmp/x"', "into a file"),
        ('method = "cycle"', "off is never seen"),
        ("delay = 5", "fence_delay"),
        ("disable_timeout = true", "no end"),
        ("missing_as_off = true", "mistyped"),
        ('"a b" = 1', "no name of a parameter"),
        ('ip = " 10.0.9.1"', "blanks and quotes"),
        ('ip = ["10.0.9.1"]', "must be text in quotes, not a list"),
    ],
)
def test_what_would_reboot_or_tell_secrets_or_take_the_proof_away(
    parameter: str, said: str
) -> None:
    text = (
        f'[[fence]]\nname = "x"\nagent = "fence_apc"\nservers = ["server1"]\n'
        f"parameters = {{ {parameter} }}\n"
    )
    (fault,) = faults(text)
    assert said in fault
    assert fault.startswith(f"{BASE.format(action='', cluster='').count(chr(10)) + 5} ")
    assert "s3cret" not in fault


def test_two_servers_are_not_one_plug() -> None:
    (fault,) = faults(PDU.replace('plug = "2"', "port = 1"))
    assert "server2 and server1 have the same parameters, so they are the same plug" in fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PDU + 'servers = ["server3"]', 'no such server "server3"'),
        (PDU.replace("server2 =", "server3 ="), 'no such server "server3"'),
        (PDU + 'servers = ["server1"]', "is none of servers"),
        (PDU.replace("fence_apc", "/bin/sh"), "no name of a fence agent"),
        (PDU.replace("fence_apc", "fence_../sh"), "no name of a fence agent"),
        (PDU + PDU, "a fence agent of this name is already on line"),
    ],
)
def test_names_must_be_there(text: str, said: str) -> None:
    assert any(said in fault for fault in faults(text)), faults(text)


def test_a_forced_stop_is_by_what_the_servers_have() -> None:
    (fault,) = faults("")
    assert "no server has a BMC or a fence agent to do it" in fault
    (fault,) = faults(PDU, action="nmi")
    assert "fence agents send no NMI" in fault


def said_of(fences: str, **more: str) -> list[str]:
    return [report.message for report in check(loaded(fences, **more))]


def test_a_password_on_a_command_line_is_told_with_the_way_round() -> None:
    assert not [line for line in said_of(PDU) if "hands its password" in line]
    for agent in SHOWS_PASSWORD:
        found = said_of(PDU.replace("fence_apc", agent))
        assert any(f"{agent} hands its password to" in line for line in found)


@pytest.mark.parametrize("agent", sorted(READS_AS_OFF))
def test_what_takes_more_than_off_for_off_is_to_be_polled(agent: str) -> None:
    pdu = PDU.replace("fence_apc", agent)
    said = f"{agent} takes for off {READS_AS_OFF[agent]}; without poll that shows only once it"
    assert any(said in line for line in said_of(pdu))
    assert not any("takes for off" in line for line in said_of(pdu + "poll = true"))
    assert not any("takes for off" in line for line in said_of(PDU))


def test_what_reads_words_has_them_in_english() -> None:
    virsh = PDU.replace("fence_apc", "fence_virsh")
    own = {"ssh_options": IN_ENGLISH["fence_virsh"]}
    assert "LC_ALL=C " in own["ssh_options"]
    for server in settings(virsh).servers:
        assert own.items() <= server.fences[0].parameters.items()
    mine = virsh.replace("ssh = true", """ssh-options = '-t "LC_ALL=C bash"'""")
    parameters = settings(mine).servers[0].fences[0].parameters
    assert parameters["ssh-options"] == '-t "LC_ALL=C bash"' and "ssh_options" not in parameters


@pytest.mark.parametrize("parameter", ['ssh_options = "-t bash"', "ssh = false", 'secure = "No"'])
def test_what_reads_words_of_another_language_is_refused(parameter: str) -> None:
    virsh = PDU.replace("fence_apc", "fence_virsh").replace("ssh = true", parameter)
    (fault,) = faults(virsh)
    assert "fence_virsh would take words of another language for off" in fault
    assert not faults(PDU.replace("ssh = true", parameter))


def test_turns_must_be_longer_than_an_agent_takes() -> None:
    assert any("fence_delay (5 s) is short" in line for line in said_of(PDU))
    assert not any("fence_delay" in line for line in said_of(PDU, cluster="fence_delay = 15"))


def test_levels_need_their_time() -> None:
    more = PDU.replace("pdu1", "pdu2").replace("10.0.9.1", "10.0.9.2") + "order = 2\n"
    assert any("timeout (30 s) may be over" in line for line in said_of(PDU + more))


def test_the_safety_page_says_what_is_proof() -> None:
    late = safety(settings(PDU))
    assert late.safe
    assert any("has read it for 60 s" in line for line in late.waits)
    polled = safety(settings(PDU + "poll = true\n"))
    (before,), (after,) = (
        [c.after_ms for c in page.cases if c.proof == "fence agent reads off"]
        for page in (late, polled)
    )
    assert before is not None and after is not None
    assert before - after == 60_000 and after < 5_000
    assert not any("60 s" in line for line in polled.waits)


def test_what_an_agent_does_not_take_is_told_with_its_line_and_promises_nothing() -> None:
    found = loaded(PDU)
    fault = FenceFault(
        fence="pdu1",
        server="server2",
        key="parameters.power_wait",
        text='fence_apc: "2" is no time',
        mend="Mend it.",
    )
    facts = Facts(server="server1", fences=(fault,))
    (report,) = (r for r in check_machine(found, facts, registries()) if r.key.startswith("fence"))
    assert report.message == (
        'fence agent pdu1: for server2, on server1: fence_apc: "2" is no time.'
    )
    line = found.text.split("\n")[report.line - 1]
    assert line.startswith("parameters = ") and report.hint == "Mend it."
    assert found.settings is not None
    lack = lacks(found.settings, [facts])
    assert lack.unfenced == lack.unread == {"server2"}
    assert not any(
        case.proof == "fence agent reads off" and "server2" in case.servers
        for case in safety(found.settings, lack).cases
    )
