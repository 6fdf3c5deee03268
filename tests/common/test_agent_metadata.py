"""Meta-data of agents: read loosely, and without trust."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clptools.common.agent_metadata import MAX_BYTES, Kind, parse, seconds
from clptools.faults import ClpError

OCF = b"""<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="Files" version="1.0">
<version>1.0</version>
<longdesc lang="en">Long &nbsp; text.</longdesc>
<shortdesc lang="en">Manages
  files</shortdesc>
<parameters>
<parameter name="device" required="1" unique="1">
<shortdesc lang="en">block device</shortdesc><content type="string" default="" />
</parameter>
<parameter name="force"><content type="boolean" default="false"/></parameter>
<parameter name="mode" required="true"><content type="select" default="rw">
<option value="rw"/><option value="ro"/></content></parameter>
<parameter name="old"><deprecated><replaced-with name="device"/></deprecated>
<content type="volume"/></parameter>
<parameter name="device"><content type="integer"/></parameter>
</parameters>
<actions>
<action name="start" timeout="60s"/>
<action name="monitor" depth="0" timeout="40" interval="20s"/>
<action name="monitor" depth="10" timeout="1min" interval="100ms" role="Promoted"/>
</actions>
</resource-agent>
"""

FENCE = b"""<?xml version="1.0" ?>
<resource-agent name="fence_x" shortdesc="Fence agent for X" >
<symlink name="fence_y" shortdesc="Y"/>
<parameters>
<parameter name="plug" unique="0" required="1" obsoletes="port">
<getopt mixed="-n" /><content type="string"  /></parameter>
<parameter name="port" unique="0" required="1" deprecated="1"><content type="string"/></parameter>
<parameter name="delay"><content type="second" default="0"/></parameter>
</parameters>
<actions><action name="on" automatic="1" on_target="1"/><action name="off"/></actions>
</resource-agent>
"""


def test_resource_agent() -> None:
    found = parse(OCF)
    assert (found.name, found.shortdesc) == ("Files", "Manages files")
    assert [one.name for one in found.parameters] == ["device", "force", "mode", "old"]
    device, force, mode, old = found.parameters
    assert device.required and device.unique and device.must_be_given
    assert (device.default, device.shortdesc, device.kind) == ("", "block device", Kind.STRING)
    assert (force.kind, force.default, force.required) == (Kind.BOOLEAN, "false", False)
    assert mode.choices == ("rw", "ro") and mode.required and not mode.must_be_given
    assert old.deprecated and old.kind is Kind.STRING
    start = found.action("start")
    assert start is not None and start.timeout_s == 60.0
    deep = found.action("monitor", 10)
    assert deep is not None
    assert (deep.timeout_s, deep.interval_s, deep.role) == (60.0, 0.1, "Promoted")
    plain = found.action("monitor")
    assert plain is not None and (plain.depth, plain.timeout_s) == (0, 40.0)
    assert found.action("promote") is None


def test_fence_agent() -> None:
    found = parse(FENCE)
    assert (found.name, found.shortdesc, found.aliases) == (
        "fence_x",
        "Fence agent for X",
        ("fence_y",),
    )
    plug, port, delay = found.parameters
    assert plug.obsoletes == "port" and plug.required
    assert port.deprecated
    assert delay.kind is Kind.SECOND
    on = found.action("on")
    assert on is not None and on.automatic and on.on_target


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"   \n", "empty"),
        (b"usage: start|stop", "line 1"),
        (b"<agent/>", "no resource-agent"),
        (b"<resource-agent name='x'>", "line 1"),
        (b"<!DOCTYPE r [<!ENTITY a 'x'>]><resource-agent name='&a;'/>", "document type"),
        (b"<resource-agent>" + b"<a>" * 50 + b"</a>" * 50 + b"</resource-agent>", "nested"),
        (b"<resource-agent>" + b"<action name='a'/>" * 3000 + b"</resource-agent>", "more than"),
        (b"<?xml version='1.0' encoding='klingon'?><resource-agent name='x'/>", "encoding"),
        (b"<resource-agent>" + b" " * MAX_BYTES, "larger than"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_refused(data: bytes, why: str) -> None:
    with pytest.raises(ClpError) as caught:
        parse(data)
    assert why in caught.value.message


def test_nothing_in_it_is_obeyed_by_a_terminal() -> None:
    text = (
        '<resource-agent name="x\u202e"><shortdesc>clears \u009b2J</shortdesc><parameters>'
        '<parameter name="de\u009bvice"><shortdesc>a\u202eb</shortdesc>'
        '<content type="select" default="r&#10;w"><option value="r\u2028w"/></content>'
        "</parameter></parameters></resource-agent>"
    )
    found = parse(text.encode())
    (one,) = found.parameters
    shown = (found.name, found.shortdesc, one.name, one.shortdesc, one.default, *one.choices)
    assert all(word and word.isprintable() for word in shown)
    assert one.name == "de\\x9bvice"


def test_no_external_entity_is_fetched() -> None:
    text = b'<!DOCTYPE r SYSTEM "file:///etc/passwd"><resource-agent name="&root;x"/>'
    assert "root" not in parse(text).name


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    for text in (data, OCF.replace(b"block device", data), FENCE[: len(data)] + data):
        try:
            parse(text)
        except ClpError as fault:
            assert "meta-data" in fault.message


@pytest.mark.parametrize(
    ("text", "value"),
    [("20s", 20.0), ("20", 20.0), ("1.5min", 90.0), ("500 ms", 0.5), ("1h", 3600.0)]
    + [(bad, None) for bad in ("", "soon", "-1s", "20 parsecs", "9" * 30, "٣s")],
)
def test_seconds(text: str, value: float | None) -> None:
    assert seconds(text) == value
