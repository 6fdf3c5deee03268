"""`clpstat -s`, `--long`, `-g`, `-m`, `-n`, `-p`: the layouts that scripts parse, byte for byte."""

from __future__ import annotations

import re
from typing import Any

import pytest

from clptools.cli.json_types import StatusJson
from clptools.cli.render import maps
from clptools.cli.render.status import status
from clptools.core.model.view import ClusterView, ResourceView
from tests.cli import clpstat_samples as samples

FIELD_SAMPLE = """\
 ========================  CLUSTER STATUS  ===========================
  Cluster : cluster-x600
  <server>
   *116rhel94 .......: Online           
      lankhb1        : Normal           Kernel Mode LAN Heartbeat
      pingnp1        : Normal           ping resolution
    117rhel94 .......: Online           
      lankhb1        : Normal           Kernel Mode LAN Heartbeat
      pingnp1        : Normal           ping resolution
  <group>
    failover1 .......: Online           Group for MariaDB
      current        : 116rhel94
      exec1          : Online           
  <monitor>
    userw            : Normal           User mode monitor
 =====================================================================
"""  # noqa: W291 - the trailing blanks are part of the layout


def field_cluster() -> StatusJson:
    """The cluster of the measured sample."""
    names = ("116rhel94", "117rhel94")
    found = samples.status(
        cluster=ClusterView(name="cluster-x600", status="Normal"),
        servers=tuple(
            samples.server(
                name,
                tuple(n for n in names if n != name),
                local=name == names[0],
                np=(samples.np(),),
            )
            for name in names
        ),
        groups=(
            samples.group(
                names[0],
                comment="Group for MariaDB",
                resources=(ResourceView(name="exec1", type="exec", status="Online"),),
            ),
        ),
    )
    for one in found["servers"]:
        one["heartbeats"] = one["heartbeats"][:1]
    found["monitors"] = found["monitors"][:1]
    found["monitors"][0]["comment"] = "User mode monitor"
    return found


def test_the_measured_sample_comes_out_byte_for_byte() -> None:
    assert status(field_cluster()) == FIELD_SAMPLE


def test_long_moves_the_colon_to_column_38() -> None:
    text = status(field_cluster(), long=True)
    rows = [line for line in text.splitlines()[3:-1] if not line.startswith("  <")]
    assert rows
    assert {line.index(": ") for line in rows} == {38}
    assert "   *116rhel94 ........................: Online           \n" in text
    assert "      current                         : 116rhel94\n" in text
    assert "    userw                             : Normal           User mode monitor\n" in text


def test_a_name_too_long_is_cut_to_16_and_a_blank_children_to_14() -> None:
    found = samples.status(
        groups=(
            samples.group(
                name="container-recovery",
                resources=(ResourceView(name="exec-with-long-name", type="exec", status="x"),),
            ),
        )
    )
    lines = status(found).splitlines()
    assert "    container-recove : Online           " in lines
    assert "      exec-with-long : x                " in lines
    assert (
        "    container-recovery ...............: Online           "
        in status(found, long=True).splitlines()
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a" * 15, "a" * 15 + " ."), ("a" * 16, "a" * 16 + " "), ("a" * 17, "a" * 16 + " ")],
)
def test_at_the_edge_of_the_field_the_colon_stays(name: str, shown: str) -> None:
    text = status(samples.status(groups=(samples.group(name=name),)))
    assert f"    {shown}: Online" in text


def test_default_comments_of_heartbeats_and_np_resolution() -> None:
    found = samples.status(
        servers=(
            samples.server(
                "server1", (), local=True, np=(samples.np(), samples.np("httpnp1", "http"))
            ),
        )
    )
    text = status(found)
    for line in (
        "      lankhb1        : Normal           Kernel Mode LAN Heartbeat",
        "      lanhb1         : Normal           LAN Heartbeat",
        "      bmchb1         : Normal           BMC Heartbeat",
        "      pingnp1        : Normal           ping resolution",
        "      httpnp1        : Normal           http resolution",
    ):
        assert line in text.splitlines()


def test_a_stopped_cluster_shows_everything_offline() -> None:
    found = samples.status(cluster=ClusterView(name="cluster", status="Stopped"))
    text = status(found)
    values = re.findall(r"^.{21}: (\S+)", text, re.MULTILINE)
    assert set(values) == {"Offline", "None"}
    assert "      current        : None\n" in text
    assert "[x]" in maps.group_map(found) and "failover1" not in maps.group_map(found)


def test_an_empty_cluster_keeps_its_sections() -> None:
    found = samples.status(servers=(), groups=(), monitors=())
    assert status(found).splitlines()[2:5] == ["  <server>", "  <group>", "  <monitor>"]
    for page in (maps.group_map, maps.monitor_map, maps.heartbeat_map, maps.np_map):
        assert page(found).endswith(" " + "=" * 69 + "\n")


def test_wide_characters_and_hostile_ones_keep_the_columns() -> None:
    found = samples.status(
        groups=(samples.group(name="業務グループ", comment="red\x1b[31m\nnext"),)
    )
    (line,) = [row for row in status(found).splitlines() if "業務" in row]
    assert line == "    業務グループ ....: Online           red?[31m?next"


def test_32_servers_each_have_their_line() -> None:
    text = status(samples.many(32))
    assert len(re.findall(r"^   [ *]server\d+ \.*: Online", text, re.MULTILINE)) == 32
    rows = maps.heartbeat_map(samples.many(32)).splitlines()
    assert rows.count("    server31 : o   o   o") == 32


def consumer(text: str) -> dict[str, Any]:
    """The public SNMP agent script's reading of `clpstat --local`, its expressions unchanged."""
    read: dict[str, Any] = {"servers": [], "groups": [], "monitors": []}
    section = ""
    for line in text.splitlines():
        if re.match(r"^ =+$", line):
            break
        if found := re.match(r"^  Cluster : (.*?)$", line):
            read["cluster"] = found[1]
        elif found := re.match(r"^  <(\w+)>", line):
            section = found[1]
        elif section == "server" and not line.startswith(" " * 6):
            found = re.match(r"   .(\S.*?)\s\.*: (.*?)\s*$", line)
            assert found, line
            read["servers"].append((found[1], found[2]))
        elif section == "group":
            if found := re.match(r"^\s{4}(\S.*?)\s\.*: (.*?)\s*$", line):
                read["groups"].append([found[1], found[2], "", []])
            elif found := re.match(r"^\s{6}current        : (.*?)\s*$", line):
                read["groups"][-1][2] = found[1]
            elif found := re.match(r"^\s{6}(\S.*?)\s.*:\s(.*?)\s*$", line):
                read["groups"][-1][3].append((found[1], found[2]))
        elif section == "monitor":
            found = re.match(r"^\s{4}(\S.*?)\s.*: (.*?)\s*$", line)
            assert found, line
            read["monitors"].append((found[1], found[2]))
    return read


def test_the_consumer_in_the_field_reads_it() -> None:
    assert consumer(status(samples.stall())) == {
        "cluster": "cluster",
        "servers": [("server1", "Online"), ("server2", "Online")],
        "groups": [["failover1", "Online", "server1", [("fip1", "Online"), ("exec1", "Online")]]],
        "monitors": [("userw", "Normal"), ("mrw1", "Caution")],
    }


def test_the_group_map() -> None:
    found = samples.status(
        groups=(
            samples.group("server1"),
            samples.group("server2", name="failover2", status="Online Failure"),
        )
    )
    assert maps.group_map(found) == (
        " ======================  GROUPMAP INFORMATION  =======================\n"
        "  Cluster : cluster\n"
        "   *server0 : server1\n"
        "    server1 : server2\n"
        "\n"
        "  --------------------------------------------------------------------\n"
        "    server0 [o] : failover1[o] \n"
        "    server1 [o] : failover2[f] \n"
        " =====================================================================\n"
    )


def test_the_monitor_map_answers_the_greps_of_the_field() -> None:
    text = maps.monitor_map(samples.stall())
    assert text == (
        " =================== MONITOR RESOURCE STATUS =========================\n"
        "  Cluster : cluster\n"
        "   *server0 : server1\n"
        "    server1 : server2\n"
        "\n"
        "  Monitor0 [userw : Normal]\n"
        "  --------------------------------------------------------------------\n"
        "    server0 [o] : Online\n"
        "    server1 [o] : Online\n"
        "\n"
        "  Monitor1 [mrw1 : Caution]\n"
        "  --------------------------------------------------------------------\n"
        "    server0 [o] : Online\n"
        "    server1 [o] : Stall\n"
        " =====================================================================\n"
    )
    rows = [line for line in text.splitlines() if "Monitor" in line]
    assert [bool(re.search(r"Normal\]", row)) for row in rows] == [True, False]


def test_the_heartbeat_matrix() -> None:
    assert maps.heartbeat_map(samples.waits()) == (
        " ====================== HEARTBEAT RESOURCE STATUS ====================\n"
        "  Cluster : cluster\n"
        "    server0 : server1\n"
        "   *server1 : server2\n"
        "  HB0 : lankhb1\n"
        "  HB1 : lanhb1\n"
        "  HB2 : bmchb1\n"
        "\n"
        "  [on server0 : Offline]\n"
        "          HB   0   1   2\n"
        "  --------------------------------------------------------------------\n"
        "    server0  : x   x   x\n"
        "    server1  : x   x   x\n"
        "\n"
        "  [on server1 : Online]\n"
        "          HB   0   1   2\n"
        "  --------------------------------------------------------------------\n"
        "    server0  : x   x   x\n"
        "    server1  : x   x   x\n"
        " =====================================================================\n"
    )


def test_the_np_matrix() -> None:
    found = samples.status(
        servers=(
            samples.server("server1", ("server2",), local=True, np=(samples.np(),)),
            samples.server("server2", ("server1",), np=(samples.np(word="Error"),)),
        )
    )
    text = maps.np_map(found)
    assert "  NP0 : pingnp1\n" in text
    assert "          NP   0\n" in text
    assert text.count("    server0  : o\n    server1  : x\n") == 2


def test_the_fencing_map_is_that_of_np_and_who_can_be_fenced() -> None:
    found = samples.status()
    for server, bmc in zip(found["servers"], (True, False), strict=True):
        server["bmc"] = samples.status()["servers"][0]["bmc"]
        assert server["bmc"] is not None
        server["bmc"]["reachable"] = bmc
    text = maps.fencing_map(found)
    _, _, np = maps.np_map(found).partition("\n")
    assert (
        text.splitlines()[0]
        == " =====================  FENCING RESOURCE STATUS  ====================="
    )
    assert np.rpartition("\n =")[0] in text
    assert "  [forced stop]\n  " + "-" * 68 + "\n    server0  : o\n    server1  : x\n" in text


def test_a_group_that_runs_twice_is_plain_in_every_layout() -> None:
    both = {"server1": "Online", "server2": "Stopping"}
    twice = samples.group("server2", status="Error", copies=("server1", "server2"), on=both)
    found = samples.status(groups=(twice,))
    assert "      current        : server1 and server2\n" in status(found)
    assert "    server0 [o] : failover1[e] \n    server1 [o] : failover1[e] \n" in maps.group_map(
        found
    )


# ---------------------------------------------------------------------- what no status word says


def noted(view: StatusJson) -> list[str]:
    """The lines after the layout, with its times left out."""
    layout, _, told = status(view).rpartition("=====\n")
    assert layout.endswith("=")
    times = re.compile(r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d")
    return [times.sub("TIME", line) for line in told.splitlines()]


def test_who_suspended_the_cluster_and_since_when_comes_after_the_layout() -> None:
    view = samples.status()
    assert noted(view) == []
    view["cluster"].update(suspended=True, suspended_by="root", suspended_s=7_260.0)
    assert " ".join(" ".join(noted(view)).split()) == (
        "The cluster is suspended by root since TIME (2 h 1 min): nothing moves by itself. "
        "clpcl --resume"
    )
    del view["cluster"]["suspended_s"]  # type: ignore[misc]  # an older agent does not say
    assert noted(view)[0] == "  The cluster is suspended by root: nothing moves by itself."


def test_stretched_time_outs_tell_their_end() -> None:
    view = samples.status()
    view["cluster"].update(toratio=3, toratio_by="root", toratio_left_s=60.0)
    assert noted(view) == [
        "  Time-outs are 3 times as long until TIME (in 1 min), by root.",
        "    clptoratio -i",
    ]


def test_a_suspended_monitor_tells_where_and_by_whom() -> None:
    view = samples.status()
    view["monitors"][1]["servers"]["server2"].update(
        status="Suspend", suspended_by="root", suspended_s=240.0
    )
    assert " ".join(" ".join(noted(view)).split()) == (
        "mrw1 is suspended on server2 by root since TIME (4 min): nothing is recovered there. "
        "clpmonctrl -r -m mrw1 -h server2"
    )


def test_two_copies_of_a_group_are_critical() -> None:
    view = samples.status(groups=(samples.group(status="Error", copies=("server1", "server2")),))
    assert noted(view)[0].startswith("  CRITICAL: failover1 runs on server1 and server2 at once")
    assert noted(view)[-1] == ("    clpgrp -t failover1 -h server2")


def test_a_server_whose_datagrams_are_refused_is_told() -> None:
    why = "datagrams from 192.168.0.2 are refused: its key differs"
    view = samples.status()
    view["servers"][1].update(status="Unknown", refused=why)
    assert noted(view) == [f"  server2: {why}.", "    clpstat --explain server2"]
