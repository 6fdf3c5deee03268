"""Editing a document: every key that the configuration knows can be set, by its own field."""

from __future__ import annotations

import re
import tomllib

import pytest

from clptools.config.document import Document
from clptools.config.edit import SORTS, Configuration
from clptools.config.field import (
    NAME,
    TEXT,
    Field,
    list_of,
    near,
    numbers,
    one_or_per_server,
    per_server,
    seconds,
)
from clptools.config.fields import sections
from clptools.config.references import forget, rename
from clptools.config.statements import written
from clptools.config.table import SINGLE, checked, from_word
from clptools.faults import ClpError
from clptools.registries import registries
from tests.config.sample import SAMPLE


def configuration(text: str = SAMPLE) -> Configuration:
    return Configuration(Document(text), registries())


def every_key() -> list[tuple[str, Field]]:
    """Heading in the manual, field."""
    return [(heading, f) for heading, some in sections(registries()) for f in some]


def place_for(config: Configuration, heading: str) -> str:
    """The path of a table as the manual's heading means it, made where it must be."""
    table = re.findall(r"\[+([\w.]+)\]", heading)[0]
    given = dict(re.findall(r'(\w+) = "([^"]+)"', heading))
    kind, _, inner = table.partition(".")
    if kind in SINGLE:
        return kind
    if inner == "resource":
        config.add("group", "g")
        config.add("resource", "r", type=given.get("type", "exec"), owner="g")
        return "resource.r"
    if kind == "trap_profile":
        config.add(kind, "x")
        if inner:
            config.add("trap", "t", owner="x")
        return {"": "trap_profile.x", "trap": "trap_profile.x.trap.t"}.get(
            inner, "trap_profile.x.trap.t.test"
        )
    default = {"interconnect": "lanhb", "np": "ping", "monitor": "mrw"}.get(kind, "")
    config.add(kind, "x", type=given.get("type", default))
    if "category" in given:
        config.set(f"{kind}.x.category", given["category"])
    if inner == "snmpv3_user":
        config.add("snmpv3_user", "u", owner="x")
        return f"{kind}.x.{inner}.u"
    return f"{kind}.x.{inner}".rstrip(".")


@pytest.mark.parametrize(
    ("heading", "field"), every_key(), ids=lambda v: v.name if isinstance(v, Field) else v
)
def test_every_key_of_the_configuration_can_be_set_shown_and_taken_out(
    heading: str, field: Field
) -> None:
    config = configuration('[[server]]\nname = "s"\n')
    path = f"{place_for(config, heading)}.{field.name}"
    place = config.place(path, make=True)
    assert (place.field.section, place.field.help) == (field.section, field.help)
    if field.name in ("name", "user", "type") and place.owner and not place.inner:
        return  # by add and rename
    value = field.default
    if value is None:
        what = field.parse.name.partition(" to one of ")[0]
        value = str(field.parse.choices[0]) if what.startswith("one of ") else EXAMPLES[what]
    value = list(value) if isinstance(value, tuple) else value
    if isinstance(value, list):
        word = ",".join(map(str, value))
    else:
        word = value if isinstance(value, str) else written(value)
    config.set(path, word)
    assert config.place(path).value == value
    assert tomllib.loads(config.document.text()) == config.tables
    assert config.take_out(path)
    assert config.place(path).value is None


EXAMPLES: dict[str, object] = {
    "windows": "02:00-04:00",
    "name of an agent": "fence_apc", "table of an agent's parameters": {"plug": "1"},
    "table of server to table of an agent's parameters": {"s": "plug=1"},
    "path": "/a", "text": "t", "name": "n", "address[:port]": "10.0.0.1", "seconds": 5,
    "ocf:PROVIDER:TYPE": "ocf:heartbeat:Dummy",
    "url": "http://a/", "unit": "u", "interface, or table of server to interface": "eth0",
    "interface": "eth0", "address/prefix": "10.0.0.1/24", "list of address": ["10.0.0.1"],
    "path, or table of server to path": "/a", "list of name": ["n"], "list of url": ["http://a/"],
    "list of text": ["abc"], "number": 7, "list of address[:port]": ["10.0.0.1:7"],
    "table of server to address[:port]": {"s": "10.0.0.1"},
    "table of server to path": {"s": "/a"}, "table of server to interface": {"s": "eth0"},
    "table of server to address/prefix": {"s": "10.0.0.1/24"},
    "table of server to list of address": {"s": "10.0.0.1"},
    "table of server to text": {"s": "k"}, "number or list of numbers": [7],
    "table of row to text": {"0Dh/6F/2": "t"}, "table of row": {"0Dh/6F/2": "ERROR"},
    "category": "NIC", "keyword": "eth0", "table of server to keyword": {"s": "eth0"},
    "script": "a.sh", "OID": "1.3.6", "OID or list of OIDs": "1.3.6.1.4.1.99",
    "list of addresses or tables": ["10.0.0.50"],
    "list of names, or table of name to class": ["0.7", "0.9..12"],
    "table of value": {"3..5": "ERROR"}, "table of level": {"1": "ERROR"},
    "list of variable": ["1.6", "1.18[2:]"], "number, text or list of them": [1, "x"],
}  # fmt: skip


FIELDS = {
    "number": Field(section="x", name="k", parse=seconds(0), help=""),
    "list": Field(section="x", name="k", parse=list_of(NAME), help=""),
    "numbers": Field(section="x", name="k", parse=numbers(1, 999), help=""),
    "table": Field(section="x", name="k", parse=per_server(TEXT), help=""),
    "either": Field(section="x", name="k", parse=one_or_per_server(TEXT), help=""),
    "text": Field(section="x", name="k", parse=TEXT, help=""),
}


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        ("number", "5", 5),
        ("number", "0.25", 0.25),
        ("number", ".5", 0.5),
        ("list", "a,b, c", ["a", "b", "c"]),
        ("list", '["a", "b"]', ["a", "b"]),
        ("list", "a", ["a"]),
        ("list", "", []),
        ("numbers", "674,11", [674, 11]),
        ("table", "a=1,b=x=y", {"a": "1", "b": "x=y"}),
        ("table", '{ a = "1,2" }', {"a": "1,2"}),
        ("either", "eth0", "eth0"),
        ("either", '{ a = "eth0" }', {"a": "eth0"}),
        ("text", "true", "true"),
        ("text", "7", "7"),
        ("text", "[a]", "[a]"),
    ],
)
def test_a_word_is_read_as_the_key_needs_it(kind: str, word: str, value: object) -> None:
    read = checked("", FIELDS[kind], from_word(FIELDS[kind], word))
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "word", "said"),
    [
        ("number", "soon", "must be a number of seconds"),
        ("number", "1e400", "must be a number of seconds"),
        ("number", "9" * 30, "must be a number of seconds"),
        ("list", "a,,b", "not a name"),
        ("list", "a,a", "is listed twice"),
        ("list", "[a", "not text"),
        ("numbers", "one", "must be a whole number"),
        ("table", "a", "must be a table"),
        ("table", "{ a = 1 }", "k.a: must be text in quotes"),
        ("text", "a\nb", "control characters"),
    ],
)
def test_a_word_that_a_key_does_not_take_is_named_with_the_reason(
    kind: str, word: str, said: str
) -> None:
    with pytest.raises(ClpError) as refused:
        checked("x: ", FIELDS[kind], from_word(FIELDS[kind], word))
    assert said in refused.value.message
    assert "\n" not in refused.value.message
    assert refused.value.code == 8


TARGETS = """\
[[server]]
name = "s"
[[server]]
name = "t"
[[server_group]]
name = "sg"
servers = ["s", "t"]
[[group]]
name = "g"
server_groups = ["sg"]
servers = ["t", "s"]
[[group.resource]]
type = "fip"
name = "f"
address = "10.0.0.9/24"
interface = { s = "eth0", t = "eth1" }
[[group.resource]]
type = "exec"
name = "e"
depends = ["f"]
[[np]]
type = "disk"
path = { s = "/a", t = "/b" }
[[monitor]]
type = "pidw"
name = "p"
servers = ["s"]
timing = "active"
target = "e"
pid_file = { s = "/run/p" }
[monitor.recovery]
action = "restart"
target = "e"
[[monitor]]
type = "mrw"
name = "m"
category = "NIC"
keyword_on = { s = "eth0" }
[monitor.recovery]
action = "failover"
target = "g"
"""


@pytest.mark.parametrize(
    ("kind", "old", "places"),
    [
        ("server", "s", 7),
        ("server_group", "sg", 1),
        ("group", "g", 1),
        ("resource", "e", 2),
        ("resource", "f", 1),
        ("monitor", "p", 0),
    ],
)
def test_a_new_name_is_followed_everywhere(kind: str, old: str, places: int) -> None:
    config = configuration(TARGETS)
    assert len(rename(config, config.find(kind, old), "new")) == places
    text = config.document.text()
    assert text == re.sub(rf'(["{{ ]){old}(["\s])(?!=)', r"\1new\2", text) or kind != "server"
    assert f'"{old}"' not in text
    assert rename(config, config.find(kind, "new"), old)[:0] == []
    assert config.document.text() == TARGETS


def test_a_forgotten_server_stands_nowhere_any_more() -> None:
    config = configuration(TARGETS)
    found = config.find("server", "s")
    config.delete(found)
    assert forget(config, found) == []
    text = config.document.text()
    assert not re.search(r'"s"|\bs =', text)


def test_every_sort_of_object_has_its_list_in_the_document() -> None:
    config = configuration('[[server]]\nname = "s"\n')
    for kind, sort in SORTS.items():
        owner = {"group": "g", "monitor": "m", "trap_profile": "p"}.get(sort.within, "")
        if owner and owner not in config.names(sort.within):
            config.add(sort.within, owner, type="mrw" if sort.within == "monitor" else "")
        type = {"interconnect": "lanhb", "np": "ping", "resource": "exec", "monitor": "mrw"}
        found, new = config.add(kind, "x1", type=type.get(kind, ""), owner=owner)
        assert new and found.name == "x1" and config.find(kind, "x1").table is found.table
        assert config.add(kind, "x1", type=type.get(kind, ""), owner=owner)[1] is False
        config.delete(config.find(kind, "x1"))
        assert "x1" not in config.names(kind)


def test_near_names_are_of_the_same_sort() -> None:
    assert near("servr1", configuration().names("server")) == "Did you mean server1?"
