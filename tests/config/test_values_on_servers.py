"""Values of single servers, in place of the common one."""

from __future__ import annotations

import pytest

from clptools.core.model.settings import Option
from tests.config.sample import TWO, errors, good

OBJECTS = """
[[group]]
name = "g"
[[group.resource]]
type = "fip"
name = "f"
address = "10.0.0.9/24"
"""


@pytest.mark.parametrize(
    ("keys", "option", "found"),
    [
        (
            'type = "miiw"\ninterface = "eth0"\ninterface_on = { server2 = "eth1" }',
            "interface",
            {"server1": "eth0", "server2": "eth1"},
        ),
        (
            'type = "diskw"\npath = "/dev/sda"\npath_on = { server1 = "/dev/sdb" }',
            "path",
            {"server1": "/dev/sdb", "server2": "/dev/sda"},
        ),
        (
            'type = "ipw"\ntargets = ["10.0.0.8", "10.0.0.7"]\ntargets_on.server2 = ["10.0.0.6"]',
            "targets",
            {"server1": "10.0.0.8,10.0.0.7", "server2": "10.0.0.6"},
        ),
        (
            'type = "ipw"\ntargets = ["10.0.0.8"]\ntargets_on = { server2 = "10.0.0.6,10.0.0.5" }',
            "targets",
            {"server1": "10.0.0.8", "server2": "10.0.0.6,10.0.0.5"},
        ),
        ('type = "miiw"\ninterface = "eth0"', "interface", "eth0"),
    ],
)
def test_a_monitor_takes_the_value_of_its_server(keys: str, option: str, found: Option) -> None:
    monitor = good(f"{TWO}[[monitor]]\n{keys}\n").monitors[0]
    assert monitor.options[option] == found
    assert f"{option}_on" not in monitor.options


def test_a_floating_address_may_be_another_one_on_another_server() -> None:
    text = TWO + OBJECTS + 'address_on = { server2 = "10.0.0.10/24" }\n'
    (resource,) = good(text).groups[0].resources
    assert resource.options["address"] == {"server1": "10.0.0.9/24", "server2": "10.0.0.10/24"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('address_on = { server9 = "10.0.0.10/24" }', 'no such server "server9"'),
        ('address_on = { server2 = "10.0.0.10" }', "the prefix length is missing"),
    ],
)
def test_a_value_of_a_server_is_checked_as_the_common_one_is(line: str, said: str) -> None:
    (told,) = errors(TWO + OBJECTS + line + "\n")
    assert said in told


def test_the_stop_of_a_resource_may_have_a_time_out_of_its_own() -> None:
    (resource,) = good(TWO + OBJECTS + "timeout = 300\nstop_timeout = 600\n").groups[0].resources
    assert (resource.start_timeout_ms, resource.stop_timeout_ms) == (300_000, 600_000)
    (resource,) = good(TWO + OBJECTS + "timeout = 300\n").groups[0].resources
    assert (resource.start_timeout_ms, resource.stop_timeout_ms) == (300_000, 300_000)


@pytest.mark.parametrize(
    ("keys", "timing"),
    [
        ('type = "fipw"\ntarget = "f"', "active"),
        ('type = "pidw"\ntarget = "g"', "active"),
        ('type = "pidw"\npid_file = "/run/x.pid"', "always"),
        ('type = "fipw"\ntarget = "f"\ntiming = "always"', "always"),
        ('type = "genw"\ntarget = "f"', "always"),
    ],
)
def test_what_watches_an_address_or_a_program_runs_only_where_it_is(keys: str, timing: str) -> None:
    assert good(f"{TWO}{OBJECTS}[[monitor]]\n{keys}\n").monitors[0].timing == timing
