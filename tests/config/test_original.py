"""Every parameter of the original, in any order, here and back: nothing vanishes."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from clptools.config.clpconf import MAX_ALIKE, Node, parsed, spelled, written
from clptools.config.document import rendered
from clptools.config.exporter import export_clp_conf
from clptools.config.importer import import_clp_conf, translated
from clptools.config.original import SECRETS, Grade
from clptools.faults import ClpError
from clptools.registries import registries
from tests.config.original_clusters import shuffled, whole
from tests.config.sample import SAMPLE, good, read
from tests.config.test_importer import CONF, EVERYWHERE

FILES = {
    "every parameter": written(whole()),
    "sample": CONF.encode("euc-jp"),
    "everywhere": EVERYWHERE.encode(),
}


def leaves(element: ElementTree.Element, before: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf by the standard library's own reader: last step of its path, and text."""
    for child in element:
        label = child.get("name") or child.get("id")
        step = f"{child.tag}@{label}" if label else child.tag
        if len(child):
            yield from leaves(child, f"{before}{step}/")
        else:
            yield f"{before}{step}", (child.text or "").strip()


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_every_leaf_of_a_file_is_carried_or_named_with_its_value_and_the_reason(
    data: bytes,
) -> None:
    text = data.decode("euc-jp" if b"EUC-JP" in data[:60] else "utf-8")
    text = text.partition("?>")[2] if text.startswith("<?xml") else text
    there = list(leaves(ElementTree.fromstring(text)))
    entries = translated(parsed(data, "clp.conf")).entries
    assert len(entries) == len(there)
    found = [(f"/{entry.tag}", entry.value) for entry in entries if entry.tag]
    for path, value in there:
        own = [one for one in found if f"/{path}".endswith(one[0]) and one[1] == value]
        own = own or [one for one in found if f"/{path}".endswith(one[0].rpartition(": ")[2])]
        assert own or not value, path
    said = "\n".join(str(report) for report in import_clp_conf(data).reports)
    for entry in entries:
        if entry.grade is Grade.CARRIED:
            continue
        assert entry.reason
        secret = entry.tag.rpartition("/")[2] in SECRETS
        value = "(not shown)" if secret else entry.value
        last = entry.tag.rpartition("/")[2]
        shown = f"{spelled(last if entry.tag.startswith('messages/') else entry.tag)}"
        assert f"{shown} = {value}" in said or f"{shown} {value}" in said or not value, entry
        assert entry.reason in said


def test_secrets_are_not_shown() -> None:
    assert "80000009b91b" not in "\n".join(
        map(str, import_clp_conf(FILES["every parameter"]).reports)
    )


def test_grades_are_counted() -> None:
    imported = import_clp_conf(FILES["every parameter"])
    assert sum(imported.counts.values()) == len(translated(whole()).entries)
    assert all(imported.counts[grade] for grade in Grade)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_the_order_of_elements_never_matters(data: bytes, seed: int) -> None:
    root = parsed(data, "clp.conf")
    found = translated(root)
    other = translated(shuffled(root, seed))
    assert by_name(found.tables) == by_name(other.tables)
    assert {(e.label, e.tag, e.value, e.grade) for e in found.entries} == {
        (e.label, e.tag, e.value, e.grade) for e in other.entries
    }


def by_name(value: object) -> object:
    """Tables whose order says nothing, by their names."""
    if isinstance(value, dict):
        return {
            key: {one["name"]: by_name(one) for one in inner}
            if key in ("group", "resource", "monitor")
            else sorted(inner)
            if key == "depends"
            else by_name(inner)
            for key, inner in value.items()
        }
    return value


def test_every_parameter_makes_a_configuration_that_loads() -> None:
    cluster = good(import_clp_conf(FILES["every parameter"]).text)
    ipw = cluster.monitor("ipw1")
    assert ipw is not None and ipw.options["targets"] == {
        "server1": "192.0.2.254,192.0.2.253", "server2": "192.0.2.252",
    }  # fmt: skip
    group, second, third, _ = cluster.groups
    assert (group.start_after, group.start_after_same_server) == (("failover4",), ("failover3",))
    assert (group.stop_after, group.stop_after_at) == (("failover2",), ("server", "group"))
    assert (group.start_wait_ms, group.stop_wait_ms) == (60_000, 90_000)
    assert (second.exclusive_with, second.exclusive) == (("failover3",), "normal")
    assert (third.exclusive_with, third.exclusive) == (("failover2",), "absolute")
    fip, execute = group.resources
    assert fip.options["address"] == {"server1": "192.0.2.200/24", "server2": "192.0.2.201/25"}
    assert fip.options["interface"] == {"server1": "eth1", "server2": "eth2"}
    assert execute.depends == ("fip1",) and execute.options["background"] is True
    assert (execute.start_timeout_ms, execute.stop_timeout_ms) == (300_000, 600_000)


@pytest.mark.parametrize(
    "text",
    [SAMPLE, *(import_clp_conf(data).text for data in FILES.values())],
    ids=["examples", *FILES],
)
def test_an_export_imported_again_is_the_same_cluster_but_for_what_is_named(text: str) -> None:
    data, unsaid = export_clp_conf(text, registries())
    again = import_clp_conf(data)
    second, _ = export_clp_conf(again.text, registries())
    assert second == data
    if text is not SAMPLE:
        assert not unsaid
        assert good(again.text) == good(text)
    lost = [e for e in translated(parsed(data, "")).entries if e.grade is Grade.LOST]
    assert not lost


def test_what_an_export_cannot_say_is_named_with_its_value() -> None:
    text = SAMPLE + '[[np]]\ntype = "etcd"\nendpoints = ["http://10.0.0.9:2379"]\n'
    _, unsaid = export_clp_conf(text, registries())
    for part in (
        "NP resolution etcdnp1 (etcd)",
        'server server1: bmc.user = "clp"',
        "monitor mrw1: stall_on_predictive_failure = true",
        'monitor mrw1: recovery.after_recovery = "reset"',
    ):
        assert part in unsaid, unsaid


@pytest.mark.parametrize("value", ['start = ""', 'start = "\ufffd.sh"', 'comment = "\uffff"'])
def test_what_such_a_file_cannot_hold_is_named_and_left_out(value: str) -> None:
    text = f'[[group]]\nname = "g"\n[[group.resource]]\ntype = "exec"\nname = "e"\n{value}\n'
    data, unsaid = export_clp_conf(text, registries())
    assert unsaid == (f"group resource e: {value}",)
    assert "start" not in import_clp_conf(data).text


WRONG: tuple[object, ...] = (5, 0.5, True, "x", [], ["a"], [1], [["x"]], {}, {"a": 1})


@pytest.mark.parametrize("seed", range(40))
def test_an_export_leaves_out_what_is_no_value_of_its_key(seed: int) -> None:
    chance = random.Random(seed)
    tables = tomllib.loads(import_clp_conf(FILES["every parameter"]).text)
    for _ in range(3):
        table = chance.choice([one for kind in tables.values() for one in every(kind)])
        table[chance.choice(list(table))] = chance.choice(WRONG)
    try:
        data, _ = export_clp_conf(rendered(tables), registries())
    except ClpError:
        return  # what should be a list of tables is none
    assert parsed(data, "").find("cluster") is not None


def every(kind: object) -> list[dict[str, object]]:
    """The tables of one kind, and those within."""
    tables = kind if isinstance(kind, list) else [kind]
    found = [one for one in tables if isinstance(one, dict) and one]
    return [*found, *(one for table in found for inner in table.values() for one in every(inner))]


# ---------------------------------------------------------------------- bad input


def refusal(data: bytes) -> str:
    with pytest.raises(ClpError) as refused:
        import_clp_conf(data)
    message = refused.value.message
    assert message.isprintable()
    return message


def cluster(inside: str, head: str = "") -> str:
    return f"{head}<root><cluster><name>c</name></cluster>{inside}</root>"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (cluster("<a>" * 20_000 + "</a>" * 20_000).encode(), "clp.conf:1: more than 40 elements"),
        (cluster("\n\n<group>").encode(), "clp.conf:3: not XML: mismatched tag"),
        (cluster("")[:-9].encode(), "clp.conf:1: not XML: it ends in the middle"),
        ((cluster("") + "\n" + cluster("")).encode(), "clp.conf:2: something follows </root>"),
        (cluster("\n<cluster><name>d</name></cluster>").encode(), "clp.conf:2: a second <cluster>"),
        (b'<?xml version="1.0" encoding="punycode"?><root/>', 'unknown encoding "punycode"'),
        (b'<?xml version="1.0" encoding="idna"?><root/>', 'unknown encoding "idna"'),
        (b"\0" * 100, "not XML"),
        (b"PK\x03\x04" + b"\xff" * 50, "not XML"),
        (cluster('<server name="\x80"/>').encode("latin-1"), "is not utf-8 text"),
    ],
)  # fmt: skip
def test_what_is_no_clp_conf_is_refused_with_its_place(data: bytes, said: str) -> None:
    assert said in refusal(data)


@pytest.mark.parametrize(
    ("charset", "text", "codec"),
    [
        ("EUC-JP", "①㈱", "euc_jis_2004"),
        ("SJIS", "①㈱髙", "cp932"),
        ("Windows-31J", "①㈱", "cp932"),
        ("GB2312", "镕喆", "gbk"),
        ("UTF-8", "①", "utf-8-sig"),
    ],
)
def test_letters_of_the_makers_extensions_are_read(charset: str, text: str, codec: str) -> None:
    head = f'<?xml version="1.0" encoding="{charset}"?>'
    group = f'<server name="s"/><group name="g"><comment>{text}</comment></group>'
    imported = import_clp_conf(cluster(group, head).encode(codec))
    assert good_group(imported.text).comment == text


def good_group(text: str):  # type: ignore[no-untyped-def]  # of the settings, for one line each
    return good(text + '[[interconnect]]\ntype = "lanhb"\naddress = { s = "10.0.0.1" }\n').groups[0]


def test_what_cannot_be_read_in_a_comment_is_replaced() -> None:
    head = b'<?xml version="1.0" encoding="EUC-JP"?><!-- \xff -->'
    group = (
        b'<root><cluster/><server name="s"/><group name="g"><comment>a\xff</comment></group></root>'
    )
    assert good_group(import_clp_conf(head + group).text).comment == "a\ufffd"


def test_as_few_letters_as_possible_are_replaced() -> None:
    head = '<?xml version="1.0" encoding="EUC-JP"?>'
    text = cluster('<server name="s"/><group name="g"><comment>①X</comment></group>', head)
    data = text.encode("euc_jis_2004").replace(b"X", b"\xff")
    assert good_group(import_clp_conf(data).text).comment == "①\ufffd"


def test_what_cannot_be_read_in_a_name_is_refused_with_what_is_below_it() -> None:
    head = '<?xml version="1.0" encoding="EUC-JP"?>'
    group = cluster('<group name="X"><comment/></group>', head).encode().replace(b"X", b"\xff")
    assert "/comment is not euc-jp text" in refusal(group)


def test_comments_inside_of_elements_are_left_out() -> None:
    inside = '<server name="s"><!-- first --><priority>0<!-- 1 --></priority></server>'
    assert translated(parsed(cluster(inside).encode(), "")).tables["server"] == [{"name": "s"}]


@pytest.mark.parametrize("value", ["9" * 5_000, "-1", "1e3", "¹", "0x1F", ""])
def test_a_number_that_is_none_is_named_or_means_the_default(value: str) -> None:
    monitor = f'<monitor><genw name="m"><polling><interval>{value}</interval></polling></genw>'
    found = translated(parsed(cluster(f"{monitor}</monitor>").encode(), ""))
    (entry,) = [one for one in found.entries if one.tag == "polling/interval"]
    assert entry.grade is (Grade.LOST if value else Grade.CARRIED)
    assert len(entry.shown) < 100


def test_a_final_action_that_is_not_carried_has_the_reason_of_its_object() -> None:
    action = "<action>0</action>"
    inside = (
        '<server name="s"/><group name="g"><resource name="exec@e"/></group><resource>'
        f'<exec name="e"><act>{action}</act></exec></resource>'
        f'<monitor><genw name="m"><emergency>{action}</emergency></genw></monitor>'
    )
    entries = translated(parsed(cluster(inside).encode(), "")).entries
    reasons = {one.tag: one.reason for one in entries if one.grade is Grade.LOST}
    assert "next resource" in reasons["act/action"]
    assert reasons["emergency/action"] == "that code has no equivalent"


@pytest.mark.parametrize("value", ["9" * 5_000, "-1", "first"])
def test_a_place_that_is_no_number_is_named(value: str) -> None:
    inside = (
        f'<server name="s"><priority>{value}</priority></server><heartbeat><lankhb name="l">'
        f"<priority>{value}</priority><device>{value}</device></lankhb></heartbeat>"
        f'<networkpartition><pingnp name="p"><priority>{value}</priority></pingnp>'
        f'</networkpartition><group name="g"><policy name="s"><order>{value}</order></policy>'
        "</group>"
    )
    entries = translated(parsed(cluster(inside).encode(), "")).entries
    assert [one.tag for one in entries if one.grade is Grade.LOST] == [
        "priority", "priority", "device", "priority", "policy@s/order",
    ]  # fmt: skip


ORDER = {"a": "fip", "b": "fip", "d": "disk", "m": "md", "x": "exec", "y": "exec"}
"""Group resources by name; disk and md are not carried."""


@pytest.mark.parametrize("seed", range(60))
def test_what_was_no_circle_in_the_original_is_none_here(seed: int) -> None:
    chance = random.Random(seed)
    names = chance.sample(list(ORDER), chance.randint(2, 6))
    group, resources, before = "", "", list[str]()
    for number, name in enumerate(names):
        kind = ORDER[name]
        group = f'<resource name="{kind}@{name}"/>{group}'
        address = f"<parameters><ip>10.0.0.{number}/24</ip></parameters>" if kind == "fip" else ""
        depends = [one for one in before if chance.random() < 0.5]
        waits = "".join(f'<depend name="{one}"/>' for one in depends)
        resources += f'<{kind} name="{name}">{address}{waits}</{kind}>'
        before.append(name)
    inside = f'<server name="s"/><group name="g">{group}</group><resource>{resources}</resource>'
    assert len(good_group(import_clp_conf(cluster(inside).encode()).text).resources) == len(
        [one for one in names if ORDER[one] in ("fip", "exec")]
    )


def test_an_address_on_a_shared_disk_waits_for_none_and_its_program_for_it() -> None:
    inside = (
        '<server name="s"/><group name="g"><resource name="disk@disk"/><resource name="fip@fip"/>'
        '<resource name="fip@first"/><resource name="exec@exec"/></group><resource>'
        '<disk name="disk"/><fip name="fip"><parameters><ip>10.0.0.9/24</ip></parameters>'
        '<depend name="disk"/></fip><fip name="first"><parameters><ip>10.0.0.8/24</ip></parameters>'
        '</fip><exec name="exec"><depend name="disk"/></exec></resource>'
    )
    tables = translated(parsed(cluster(inside).encode(), "")).tables
    fip, first, execute = tables["group"][0]["resource"]
    assert "depends" not in fip and "depends" not in first
    assert execute["depends"] == ["fip", "first"]


def test_nothing_that_a_terminal_obeys_reaches_it() -> None:
    inside = (
        '<server name="a\x9b31m"><comment>\u202e</comment></server>'
        '<monitor><oraclew name="\u202eo"><parameters><x>\x9b</x></parameters></oraclew></monitor>'
    )
    reports = import_clp_conf(cluster(inside).encode()).reports
    assert all(report.message.isprintable() and report.hint.isprintable() for report in reports)
    assert "\\u202eo" in " ".join(report.message for report in reports)


def test_text_between_elements_and_values_that_are_there_twice_are_named() -> None:
    inside = (
        '<monitor><genw name="m">stray<polling><interval>5</interval><interval>6</interval>'
        '</polling></genw><genw name="m"><polling><interval>7</interval></polling></genw></monitor>'
    )
    imported = import_clp_conf(cluster(inside).encode())
    said = " ".join(report.message for report in imported.reports)
    assert "polling/interval = 6 not carried: it is there twice: the first one counts" in said
    assert "genw@m: polling/interval = 7 not carried: it is in the file twice" in said
    assert translated(parsed(cluster(inside).encode(), "")).tables["monitor"][0]["interval"] == 5
    assert "stray" in said


def test_attributes_that_nobody_knows_are_named() -> None:
    inside = '<server name="s" rack="4"><priority>0</priority></server>'
    said = " ".join(r.message for r in import_clp_conf(cluster(inside).encode()).reports)
    assert "server s: rack = 4 not carried: there is no equivalent" in said


LISTED = ("grp", "list", "servers", "snmpsrv", "types")
"""Elements whose label is a number or a name that says nothing more."""


def places(node: Node, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Node]]:
    """Every element with the way to it."""
    yield path, node
    for number, child in enumerate(node.children):
        yield from places(child, (*path, number))


def changed(root: Node, path: tuple[int, ...], text: str = "", label: str = "") -> Node:
    """A copy in which the element at `path` has another text, or another label."""
    copy = root.copy()
    node = copy
    for number in path:
        node = node.children[number]
    node.text, node.label = text or node.text, label or node.label
    return copy


def with_another(root: Node, path: tuple[int, ...], place: int, another: Node) -> Node:
    """A copy in which the element at `path` has one more child."""
    copy = root.copy()
    node = copy
    for number in path:
        node = node.children[number]
    node.children.insert(place, another)
    return copy


def test_wherever_something_stands_it_is_carried_or_named() -> None:
    """Text, a label, an element that nobody knows, a second value: in every sort of element."""
    root = whole()
    kept = ("cluster", "server", "heartbeat", "networkpartition", "group", "resource", "monitor")
    root.children = [one for one in root.children if one.tag in kept]
    monitors = root.make("monitor")
    kinds = ("userw", "genw", "ipw", "mdw", "types")
    monitors.children = [one for one in monitors.children if one.tag in kinds]
    done: set[tuple[tuple[str, ...], bool]] = set()
    for path, node in places(root):
        way, at = [], root
        for number in path:
            at = at.children[number]
            way.append(at.tag)
        if (tuple(way), bool(node.children)) in done:
            continue
        done.add((tuple(way), bool(node.children)))
        variants = [changed(root, path, text="zz9")]
        variants.append(with_another(root, path, len(node.children), Node("odd", "", "zz9")))
        if node.tag not in LISTED:
            variants.append(changed(root, path, label="zz9"))
        if path and not node.children:
            second = Node(node.tag, node.label, "zz9")
            variants.append(with_another(root, path[:-1], path[-1] + 1, second))
        for variant in variants:
            found = translated(variant)
            named = [e for e in found.entries if e.grade is not Grade.CARRIED]
            said = " ".join(f"{e.label} {e.tag} {e.value}" for e in named)
            told = " ".join(remark.text for remark in found.remarks)
            assert "zz9" in f"{found.tables} {said} {told}", "/".join(way)


def test_a_message_of_many_names_every_one() -> None:
    inside = "".join(f"<unknown{number}>{number}</unknown{number}>" for number in range(500))
    said = [report.message for report in import_clp_conf(cluster(inside).encode()).reports]
    assert all(f"unknown{number} = {number}" in " ".join(said) for number in range(500))
    assert not any("…" in one for one in said)


def test_both_attributes_of_an_element_are_read_and_the_roots_text_is_named() -> None:
    inside = 'above<server name="s" id="7"/>'
    said = " ".join(r.message for r in import_clp_conf(cluster(inside).encode()).reports)
    assert "server s: id = 7 not carried" in said and "root = above not carried" in said


@pytest.mark.parametrize(
    "inside",
    [
        "<unknown>" + "a<b/>" * 60_000 + "</unknown>",
        "".join(f'<group name="g{number}"/>' for number in range(2_000)),
        "<b><c/><d/></b>" * 900 + "".join(f"<e{n}/>" for n in range(100_000)),
    ],
    ids=["text in pieces", "groups", "elements"],
)
def test_more_than_any_file_has_is_refused_with_its_place(inside: str) -> None:
    with pytest.raises(ClpError, match=r"clp\.conf:\d+: more than \d+ .*as no clp\.conf has"):
        parsed(cluster(inside).encode(), "clp.conf")


def test_a_long_chain_of_what_is_not_carried_is_followed_to_its_end() -> None:
    last = MAX_ALIKE - 1
    chain = "".join(
        f'<disk name="d{number}"><depend name="d{number + 1}"/></disk>' for number in range(last)
    )
    members = "".join(f'<resource name="disk@d{number}"/>' for number in range(last - 1))
    inside = (
        f'<group name="g"><resource name="exec@x"/><resource name="fip@d{last}"/>{members}</group>'
        f'<resource><exec name="x"><depend name="d0"/></exec>{chain}'
        f'<fip name="d{last}"><parameters><ip>192.0.2.9</ip></parameters></fip></resource>'
    )
    found = translated(parsed(cluster(inside).encode(), ""))
    assert found.tables["group"][0]["resource"][0]["depends"] == [f"d{last}"]


def test_a_tree_is_written_as_it_is_read() -> None:
    root = whole()
    root.set("cluster/comment", '<&> "受付"\n\r\tof two')
    root.make('group@"<&>\n')
    for encoding in ("UTF-8", "ASCII", "EUC-JP"):
        data = written(root, encoding)
        assert written(parsed(data, ""), encoding) == data


def test_the_tables_are_those_of_the_text() -> None:
    root: Node = whole()
    text = rendered(translated(root).tables)
    assert tomllib.loads(text) == tomllib.loads(import_clp_conf(written(root)).text)


ODD = (
    "", "0", "99999999999", "-1", "é", "a@b", "exec@exec1", "failover1", "192.0.2.1", "\u202e",
    "LocalServer", "../x", "%", "[::1]:3", "'\"\\",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_in_a_file_it_is_refused_or_named_and_the_result_can_be_read(seed: int) -> None:
    chance = random.Random(seed)
    root = whole()
    nodes = [*all_below(root)]
    for _ in range(chance.randint(1, 30)):
        node, odd = chance.choice(nodes), chance.choice(ODD)
        match chance.randrange(5):
            case 0:
                node.text = odd
            case 1:
                node.label = odd
            case 2:
                node.tag = chance.choice(("types", "server", "resource", "depend", "name"))
            case 3 if node.children:
                node.children.remove(chance.choice(node.children))
            case _:
                node.children.append(chance.choice(nodes).copy())
    data = bytearray(written(root))
    if seed % 2:
        data[chance.randrange(len(data))] = chance.randrange(256)
    try:
        imported = import_clp_conf(bytes(data))
    except ClpError as refused:
        assert refused.message.isprintable()
        return
    there = list(parsed(bytes(data), "").leaves())
    assert sum(imported.counts.values()) >= len(there)
    assert all(one.message.isprintable() and one.hint.isprintable() for one in imported.reports)
    read(imported.text)
    again, _ = export_clp_conf(imported.text, registries())
    import_clp_conf(again)


def all_below(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from all_below(child)
