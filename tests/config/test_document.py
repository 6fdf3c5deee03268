"""A configuration is changed where it stands: comments and layout of the rest stay."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from clptools.config.document import Document, rendered, written
from tests.config.sample import EXAMPLES, SAMPLE


def edited(text: str, change: Any) -> str:
    """The text after a change, which must be read back as it was meant, comments kept."""
    document = Document(text)
    change(document.tables)
    new, kept = document.text()
    assert kept
    assert tomllib.loads(new) == document.tables
    return new


def lines_gone(old: str, new: str) -> list[str]:
    return [line for line in old.splitlines() if line not in new.splitlines()]


def lines_come(old: str, new: str) -> list[str]:
    return lines_gone(new, old)


def test_a_text_without_changes_is_the_same_text() -> None:
    for path in EXAMPLES.glob("*/clp.toml"):
        assert Document(path.read_text()).text() == (path.read_text(), True)


def test_a_value_changes_where_it_stands_and_its_comment_stays_in_its_column() -> None:
    new = edited(SAMPLE, lambda t: t["monitor"][1].update(keyword="192.168.0.1:1162"))
    (old_line,), (new_line,) = lines_gone(SAMPLE, new), lines_come(SAMPLE, new)
    assert new_line.startswith('keyword = "192.168.0.1:1162"')
    assert new_line.index("#") == old_line.index("#")


def test_a_new_key_follows_the_last_one_of_its_table() -> None:
    new = edited(SAMPLE, lambda t: t["monitor"][0].update(interval=5, comment='say "hi"'))
    at = new.index("interval = 5\n" + 'comment = "say \\"hi\\""\n')
    assert new.index("gives no lease proof") < at < new.index('type = "mrw"')
    assert not lines_gone(SAMPLE, new)


def test_an_entry_of_a_table_on_one_line() -> None:
    new = edited(SAMPLE, lambda t: t["interconnect"][0]["address"].update(server3="192.168.0.3"))
    assert 'server2 = "192.168.0.2", server3 = "192.168.0.3" }' in new
    assert len(lines_gone(SAMPLE, new)) == 1


def test_a_key_goes_with_its_line() -> None:
    new = edited(SAMPLE, lambda t: t["group"][0].pop("startup"))
    assert [line.partition(" ")[0] for line in lines_gone(SAMPLE, new)] == ["startup"]
    assert not lines_come(SAMPLE, new)


def test_new_tables_stand_behind_their_like_with_a_blank_line_before() -> None:
    def change(t: Any) -> None:
        t["server"].append({"name": "server3", "bmc": {"address": "192.168.0.13"}})
        t["group"][0]["resource"].append({"type": "service", "name": "web", "unit": "nginx"})
        t["forced_stop"] = {"action": "power-off"}

    new = edited(SAMPLE, change)
    assert not lines_gone(SAMPLE, new)
    for part, behind, before in (
        (
            '\n\n[[server]]\nname = "server3"\n[server.bmc]\n',
            'name = "server2"',
            "[[interconnect]]",
        ),
        ('\n\n[[group.resource]]\ntype = "service"\n', 'name = "fip1"', "[[monitor]]"),
        ("\n\n[forced_stop]\n", 'type = "bmchb"', "[[group]]"),
    ):
        assert new.index(behind) < new.index(part) < new.index(before), part


COMMENTED = """\
# The file is about this.

# -- servers -----------------

# a is the old one
[[server]]
name = "a"  # short
# it goes soon

# -- more of them ------------

# b is the new one
[[server]]
name = "b"
# c is a spare
[[server]]
name = "c"

# The end.
"""


def test_a_table_goes_with_the_comments_that_touch_it_and_no_others() -> None:
    new = edited(COMMENTED, lambda t: t["server"].pop(0))
    assert lines_gone(COMMENTED, new) == [
        "# a is the old one",
        'name = "a"  # short',
        "# it goes soon",
    ]
    new = edited(COMMENTED, lambda t: t["server"].pop(1))
    assert lines_gone(COMMENTED, new) == ["# b is the new one", 'name = "b"']
    new = edited(COMMENTED, lambda t: t["server"].pop(2))
    assert lines_gone(COMMENTED, new) == ["# c is a spare", 'name = "c"']


def test_a_table_moves_with_the_comments_that_touch_it() -> None:
    new = edited(COMMENTED, lambda t: t["server"].insert(0, t["server"].pop()))
    assert not lines_gone(COMMENTED, new)
    order = [
        "-- servers",
        "c is a spare",
        '"c"',
        "a is the old",
        '"a"',
        "-- more",
        "b is",
        "The end",
    ]
    assert sorted(order, key=new.index) == order


def test_keys_with_dots_and_tables_on_one_line_are_changed_as_they_are_written() -> None:
    text = '[[server]]\nname = "a"\nbmc.address = "1.1.1.1"  # over there\n[[server]]\nname = "b"\n'
    text += 'bmc = { address = "2.2.2.2" }\n'

    def change(t: Any) -> None:
        t["server"][0]["bmc"]["address"] = "1.1.1.9"
        t["server"][0]["bmc"]["user"] = "clp"
        t["server"][1]["bmc"]["user"] = "clp"

    new = edited(text, change)
    assert 'bmc.address = "1.1.1.9"  # over there\nbmc.user = "clp"\n' in new
    assert 'bmc = { address = "2.2.2.2", user = "clp" }\n' in new
    assert "bmc" not in edited(text, lambda t: [s.pop("bmc") for s in t["server"]])


def test_what_cannot_be_changed_in_place_is_written_anew_and_that_is_said() -> None:
    text = '# two\nserver = [{ name = "a" }, { name = "b" }]\n[group]\nx.y = 1\n'
    document = Document(text)
    document.tables["group"] = [{"name": "g"}]
    new, kept = document.text()
    assert not kept
    assert tomllib.loads(new) == document.tables


def test_lines_end_as_toml_says() -> None:
    text = '[cluster]\r\nname = "x" # a\u2028b\x85c\r\n\r\n[[server]]\r\nname = "a"\r\n'
    new = edited(text, lambda t: t["cluster"].update(lease=4))
    assert 'name = "x" # a\u2028b\x85c\r\nlease = 4\n' in new


# ---------------------------------------------------------------------- any document, any change

NAMES = st.text(st.sampled_from("ab-. é"), min_size=1, max_size=4)
VALUES = st.recursive(
    st.booleans() | st.integers(-9, 99) | st.floats(0, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=3,
)
KEYS = st.dictionaries(NAMES.map(lambda n: f"k{n}"), VALUES, max_size=3)
SERVERS = st.builds(lambda k, b: {**k, **b}, KEYS, st.just({}) | KEYS.map(lambda k: {"bmc": k}))
GROUPS = st.builds(
    lambda k, r: {**k, **({"resource": r} if r else {})}, KEYS, st.lists(KEYS, max_size=3)
)
TABLES = st.fixed_dictionaries(
    {},
    optional={
        "cluster": KEYS,
        "server": st.lists(SERVERS, min_size=1, max_size=3),
        "group": st.lists(GROUPS, min_size=1, max_size=3),
        "alert": KEYS,
    },
)
COMMENTS = st.lists(st.sampled_from(["", "# x", "", "# [y]"]), max_size=4)


def commented(data: st.DataObject, tables: dict[str, Any]) -> str:
    """A text of these tables with comments and blank lines strewn in."""
    lines: list[str] = []
    for line in rendered(tables).removesuffix("\n").split("\n"):
        lines += data.draw(COMMENTS)
        lines.append(line + data.draw(st.sampled_from(["", "", "  # z"])))
    return "\n".join([*lines, *data.draw(COMMENTS)]) + data.draw(st.sampled_from(["", "\n"]))


def change_some(data: st.DataObject, old: Any, new: Any) -> None:
    """Makes `old` like `new`, in place, keeping some of its tables."""
    for key in list(old):
        if key not in new:
            del old[key]
    for key, value in new.items():
        mine = old.get(key)
        if isinstance(mine, dict) and isinstance(value, dict):
            change_some(data, mine, value)
        elif key in ("server", "group", "resource") and isinstance(mine, list):
            kept = data.draw(st.permutations(mine))
            for at, table in enumerate(value):
                if at < len(kept) and data.draw(st.booleans()):
                    change_some(data, kept[at], table)
                    value[at] = kept[at]
            mine[:] = value
        else:
            old[key] = value


@settings(max_examples=150, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.data())
def test_any_change_is_read_back_and_keeps_comments(data: st.DataObject) -> None:
    text = commented(data, data.draw(TABLES))
    document = Document(text)
    change_some(data, document.tables, data.draw(TABLES))
    new, kept = document.text()
    assert tomllib.loads(new) == document.tables
    assert kept, text


@given(VALUES)
def test_any_value_is_written_on_one_line(value: Any) -> None:
    text = written(value)
    assert "\n" not in text
    assert tomllib.loads(f"v = {text}")["v"] == value


def test_a_new_file_reads_well(tmp_path: Path) -> None:
    assert (
        rendered(
            {"cluster": {"name": "c"}, "server": [{"name": "a", "bmc": {"address": "1.1.1.1"}}]}
        )
        == '[cluster]\nname = "c"\n\n[[server]]\nname = "a"\n[server.bmc]\naddress = "1.1.1.1"\n'
    )
