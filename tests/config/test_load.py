"""What a good configuration becomes: names resolved, defaults filled, every table read."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from clptools.cli.render.findings import render_report
from clptools.config.document import Document
from clptools.config.load import load, loads
from clptools.registries import registries
from tests.config.sample import BMCS, EXAMPLES, SAMPLE, THREE, TWO, changed, good, read


@pytest.mark.parametrize("name", sorted(p.parent.name for p in EXAMPLES.glob("*/clp.toml")))
def test_every_example_loads_without_error_or_warning(name: str) -> None:
    loaded = load(str(EXAMPLES / name / "clp.toml"), registries())
    assert loaded.settings is not None, loaded.errors
    assert not [report for report in loaded.reports if report.severity != "note"]


def test_the_sample_is_the_interface() -> None:
    cluster = good(SAMPLE)
    assert cluster.names == ("server1", "server2")
    assert [(link.name, link.interval_ms) for link in cluster.interconnects] == [
        ("lankhb1", 200),
        ("lanhb1", 200),
        ("bmchb1", 1000),
    ]
    group = cluster.groups[0]
    assert group.servers == ("server1", "server2")
    assert [(r.name, r.depends) for r in group.resources] == [("fip1", ()), ("exec1", ("fip1",))]
    mrw = cluster.monitor("mrw1")
    assert mrw is not None
    assert mrw.keywords == {"server1": "192.168.0.1", "server2": "192.168.0.2"}
    assert mrw.stall_on_predictive_failure
    assert mrw.recovery.after_recovery_deadline_ms == 300_000
    assert mrw.communities == ("public",)


def test_a_service_comes_between_address_and_script() -> None:
    group = good(
        TWO
        + '[[group]]\nname = "g"\n[[group.resource]]\ntype = "exec"\nname = "e"\n'
        + '[[group.resource]]\ntype = "service"\nname = "s"\nunit = "x.service"\n'
        + '[[group.resource]]\ntype = "fip"\nname = "f"\naddress = "10.0.0.9/24"\n'
    ).groups[0]
    assert {r.name: set(r.depends) for r in group.resources} == {
        "f": set(),
        "s": {"f"},
        "e": {"f", "s"},
    }
    assert [r.name for r in group.resources] == ["f", "s", "e"]


def test_depends_written_out_is_what_counts() -> None:
    group = good(
        TWO
        + '[[group]]\nname = "g"\n[[group.resource]]\ntype = "exec"\nname = "e"\ndepends = []\n'
        + '[[group.resource]]\ntype = "fip"\nname = "f"\naddress = "10.0.0.9/24"\n'
        + 'depends = ["e"]\n'
    ).groups[0]
    assert [(r.name, r.depends) for r in group.resources] == [("e", ()), ("f", ("e",))]


def test_a_user_mode_monitor_is_added_with_a_note() -> None:
    loaded = read(TWO)
    assert loaded.settings is not None
    userw = loaded.settings.monitor("userw")
    assert userw is not None and userw.options["method"] == "guard"
    assert [r.severity for r in loaded.reports] == ["note"]
    assert 'method "guard"' in loaded.reports[0].message


def test_keepalive_is_taken_as_guard_with_a_note() -> None:
    loaded = read(TWO + '[[monitor]]\ntype = "userw"\nmethod = "keepalive"\n')
    assert loaded.settings is not None
    assert loaded.settings.monitors[0].options["method"] == "guard"
    assert [(r.severity, r.key) for r in loaded.reports] == [("note", "monitor.userw.method")]


def test_a_keyword_of_all_servers_and_one_of_a_single_server() -> None:
    text = TWO + '[[monitor]]\ntype = "mrw"\ncategory = "NIC"\nkeyword = "eth0"\n'
    assert good(text + 'keyword_on = { server2 = "ens3" }\n').monitors[0].keywords == {
        "server1": "eth0",
        "server2": "ens3",
    }
    assert good(TWO + '[[monitor]]\ntype = "mrw"\ncategory = "NIC"\n').monitors[0].keywords == {}


def test_limits_are_in_bytes_and_the_last_allowed_is_allowed() -> None:
    text = TWO + f'[[monitor]]\ntype = "mrw"\ncategory = "{"ä" * 16}"\nkeyword = "{"k" * 1023}"\n'
    assert len(good(text).monitors[0].keywords["server1"]) == 1023


@pytest.mark.parametrize("keyword", ["192.168.0.2:162", "[fd00::2]:162", "fd00::2", "fe80::1%eth0"])
def test_trap_addresses_may_have_a_port_and_be_ipv6(keyword: str) -> None:
    text = changed('server2 = "192.168.0.2" }\nst', f'server2 = "{keyword}" }}\nst')
    mrw = good(text).monitor("mrw1")
    assert mrw is not None and mrw.keywords["server2"] == keyword


def test_recovery_without_target_means_all_groups() -> None:
    text = TWO + '[[monitor]]\ntype = "ipw"\ntargets = ["10.0.0.9"]\n[monitor.recovery]\n'
    assert good(text + 'action = "restart"\n').monitors[0].recovery.target == "All Groups"
    assert good(text + 'final_action = "reboot"\n').monitors[0].recovery.target == ""


def test_a_final_action_may_depend_on_a_target_that_is_online_here() -> None:
    text = changed('action = "failover" ', 'action = "final"')
    mrw = good(changed('final_action = "none"', 'final_action = "shutdown"', text)).monitor("mrw1")
    assert mrw is not None
    assert (mrw.recovery.action, mrw.recovery.target) == ("final", "failover1")


@pytest.mark.parametrize("action", ["restart", "final"])
def test_what_the_bmc_was_going_to_do_follows_a_failover_alone(action: str) -> None:
    loaded = read(changed('action = "failover" ', f'action = "{action}"'))
    assert loaded.settings is not None
    (report,) = [r for r in loaded.reports if r.severity == "warning"]
    assert report.key == "monitor.mrw1.recovery.after_recovery"
    assert f'not action = "{action}"' in report.message


def test_scripts_of_monitors_lie_in_a_folder_of_their_own() -> None:
    text = TWO + '[[monitor]]\ntype = "ipw"\ntargets = ["10.0.0.9"]\n[monitor.recovery]\n'
    recovery = good(text + 'action = "script"\nscript = "mend.sh"\n').monitors[0].recovery
    assert recovery.script == "monitor.s/ipw1/mend.sh"


def test_a_group_without_servers_takes_those_of_its_server_groups() -> None:
    cluster = good(
        THREE
        + '[[server_group]]\nname = "near"\nservers = ["b", "a"]\n'
        + '[[server_group]]\nname = "far"\nservers = ["c"]\n'
        + '[[group]]\nname = "g"\nserver_groups = ["near", "far"]\n[[group]]\nname = "h"\n'
    )
    assert [group.servers for group in cluster.groups] == [("b", "a", "c"), ("a", "b", "c")]


def test_bmc_heartbeats_use_the_servers_own_bmcs() -> None:
    text = BMCS + '[[interconnect]]\ntype = "bmchb"\naddress = { server2 = "10.9.0.9:9623" }\n'
    assert good(text).interconnects[1].addresses == {
        "server1": "10.9.0.1",
        "server2": "10.9.0.9:9623",
    }


def test_a_bmc_by_redfish() -> None:
    bytes_ = ":".join(["AB"] * 32)
    text = TWO.replace(
        '[[server]]\nname = "server1"',
        '[[server]]\nname = "server1"\n[server.bmc]\naddress = "10.9.0.1"\nuser = "clp"\n'
        f'protocol = "redfish"\ncertificate = "{bytes_}"\nsystem = "node1"',
    )
    bmc = good(text).servers[0].bmc
    assert bmc is not None
    assert bmc.where == "10.9.0.1:443"
    assert (bmc.system, bmc.certificate) == ("node1", "sha256:" + "ab" * 32)


def test_a_reset_with_two_servers_is_taken_as_power_off() -> None:
    loaded = read(BMCS + '[forced_stop]\naction = "reset"\n')
    assert loaded.settings is not None
    assert loaded.settings.forced_stop.action == "power-off"
    assert [r.key for r in loaded.reports if r.severity == "warning"] == ["forced_stop.action"]


def test_arbiters_profiles_and_alerts() -> None:
    loaded = read(
        TWO
        + '[[np]]\ntype = "disk"\npath = { server1 = "/dev/sdb", server2 = "/dev/sdc" }\n'
        + '[[trap_profile]]\nname = "site"\nmanufacturer = 674\nrows = { "0Ch/6F/5" = "PREDICT" }\n'
        + '[alert]\nmail_to = ["ops@example.org"]\nsnmp_to = ["10.0.0.8:1162"]\n'
    )
    assert loaded.settings is not None
    arbiter = loaded.settings.arbiter
    assert arbiter is not None and arbiter.strong and arbiter.name == "disknp1"
    assert arbiter.options["path"] == {"server1": "/dev/sdb", "server2": "/dev/sdc"}
    assert loaded.settings.trap_profiles[0].manufacturers == (674,)
    assert loaded.alert.snmp_to == ("10.0.0.8:1162",)


def test_durations_of_variants_are_milliseconds_too() -> None:
    for kinds in (registries().resources, registries().monitors, registries().arbiters):
        for own in kinds.values():
            for field in own:
                assert field.option == field.name + ("_ms" if field.parse.is_duration else "")
                if field.default is not None:
                    field.default_value()


def test_a_file_that_cannot_be_read_is_a_report(tmp_path: Path) -> None:
    missing = load(str(tmp_path / "clp.toml"), registries())
    assert missing.settings is None
    assert str(missing.reports[0]) == f"{tmp_path}/clp.toml: no such file or directory."
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'# fine\nname = "\xe4"\n')
    (report,) = load(str(latin), registries()).reports
    assert str(report) == f"{latin}:2: not UTF-8 text: byte 16 is 0xe4."


def test_a_binary_file_is_named_once_and_without_a_line(tmp_path: Path) -> None:
    binary = tmp_path / "bin.toml"
    binary.write_bytes(b"\x7fELF\0\0\n\xff\xfe")
    (report,) = load(str(binary), registries()).reports
    assert next(render_report(report)) == f"{binary}: not UTF-8 text: byte 8 is 0xff."


def test_a_byte_order_mark_that_an_editor_hides_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "clp.toml"
    file.write_bytes(b"\xef\xbb\xbf" + TWO.encode())
    loaded = load(str(file), registries())
    assert loaded.settings == good(TWO)
    assert loaded.text == TWO
    assert Document("\ufeff" + TWO).text() == TWO


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-10, 10**10)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["server1", "exec", "mrw", "BMCNOTICE", "192.168.0.1", "All Groups"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "type", "address", "server1"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)


def _places(value: object) -> list[tuple[object, object]]:
    """(container, key) of everything in a document."""
    found: list[tuple[object, object]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value)  # type: ignore[call-overload]  # only containers come here
    for key, inner in list(items):
        found.append((value, key))
        if isinstance(inner, (dict, list)):
            found += _places(inner)
    return found


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_stands_there_it_is_read_or_refused_but_never_breaks(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([SAMPLE, THREE, BMCS]))
    document = copy.deepcopy(tomllib.loads(text))
    for _ in range(data.draw(st.integers(1, 3))):
        places = _places(document)
        if not places:
            break
        container, key = data.draw(st.sampled_from(places))
        value = data.draw(junk)
        if value is None:
            del container[key]  # type: ignore[attr-defined]  # a dict or a list
        else:
            container[key] = value  # type: ignore[index]  # a dict or a list
    try:
        written = tomli_w.dumps(document)
    except TypeError:
        return
    loaded = loads(written, registries())
    assert (loaded.settings is None) == bool(loaded.errors)
    for report in loaded.reports:
        assert report.line <= written.count("\n") + 1


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(SAMPLE) - 1), st.text(max_size=3))
def test_a_torn_file_is_refused_in_one_piece(at: int, noise: str) -> None:
    for text in (SAMPLE[:at] + noise, SAMPLE[:at] + noise + SAMPLE[at + 1 :]):
        loaded = loads(text, registries())
        assert (loaded.settings is None) == bool(loaded.errors)


def test_a_bmc_heartbeat_by_power_alone_where_the_timer_is_taken() -> None:
    text = SAMPLE.replace('type = "bmchb"', 'type = "bmchb"\ncarrier = "power"')
    assert [link.carrier for link in good(text).interconnects if link.type == "bmchb"] == ["power"]
    refused = loads(text.replace('"power"', '"sensor"'), registries())
    assert "carrier" in str(refused.errors[0])
