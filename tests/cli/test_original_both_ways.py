"""The same cluster by a `clp.conf` and by a script of `clpcfset` lines, in any order."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from clptools.config.clpconf import Node, written
from clptools.config.importer import translated
from tests.cli.conftest import Clp
from tests.config.original_clusters import MONITOR, whole
from tests.config.test_original import by_name

_LEFT_OUT = ("messages", "trekking", "alertservice", "statsd", "rstd", "webalert", "pm", "haltp")
"""Sections of the whole cluster of which one would show nothing more, and takes its time."""


def cluster() -> Node:
    root = whole()
    root.children = [one for one in root.children if one.tag not in _LEFT_OUT]
    monitors = root.make("monitor")
    kept = ("userw", "mrw", "genw", "ipw", "miiw", "fipw", "mdw")
    monitors.children = [one for one in monitors.children if one.tag in (*kept, "types")]
    for one in monitors.children:
        if one.tag not in ("types", "genw"):
            for tag in MONITOR:
                if not tag.startswith(("relation", "polling/servers")):
                    one.drop(tag)
    for one in objects(root, "resource"):
        if one.tag not in ("exec", "fip"):
            one.children = [each for each in one.children if each.tag == "depend"]
    for tag in ("mail/smtp", "cialert", "syslog", "dn1000s", "comment", "uuid"):
        root.drop(f"cluster/{tag}")
    return root


def stages(root: Node) -> Iterator[list[list[str]]]:
    """The lines that make it; those of one stage may come in any order."""
    yield [["create", root.value("cluster/name"), "ASCII"]]
    servers = root.all("server")
    yield [["add", "srv", one.label, one.value("priority")] for one in servers]
    yield [
        ["add", "device", one.label, device.value("type"), device.label, device.value("info")]
        for one in servers
        for device in one.all("device")
    ] + [["add", "grp", one.value("type"), one.label] for one in root.all("group")]
    yield [*links(root)] + [
        ["add", "rsc", group.label, *reference.label.split("@")]
        for group in root.all("group")
        for reference in group.all("resource")
    ]
    yield [["add", "mon", one.tag, one.label] for one in objects(root, "monitor")] + [
        ["add", "rscdep", one.tag, one.label, depend.label]
        for one in objects(root, "resource")
        for depend in one.all("depend")
    ]
    yield [*parameters(root)]


def objects(root: Node, section: str) -> list[Node]:
    return [one for one in root.make(section).children if one.tag != "types"]


def links(root: Node) -> Iterator[list[str]]:
    for one in objects(root, "heartbeat"):
        host = [f"{one.value('host')}:{one.value('port')}"] if one.find("host") else []
        yield ["add", "hb", one.tag, one.value("device"), one.value("priority"), *host]
    for one in objects(root, "networkpartition"):
        start = ["add", "np", one.tag, one.value("device"), one.value("priority")]
        if one.tag == "httpnp":
            yield [*start, one.value("host")]
        for group in one.all("grp"):
            for item in group.all("list"):
                yield [*start, group.label, item.label, item.value("ip")]


def parameters(root: Node) -> Iterator[list[str]]:
    for section, word in (("resource", "rscparam"), ("monitor", "monparam")):
        for one in objects(root, section):
            for tag, leaf in one.leaves():
                if leaf.tag != "depend":
                    yield ["add", word, one.tag, one.label, tag, leaf.text]
    for group in root.all("group"):
        for tag, leaf in group.leaves():
            if leaf.tag not in ("resource", "type", "gid"):
                yield ["add", "grpparam", "failover", group.label, tag, leaf.text]
    for server in root.all("server"):
        for tag, leaf in server.leaves():
            if not tag.startswith(("device@", "priority")):
                yield ["add", "clsparam", f"{server.step}/{tag}", leaf.text]
    for tag, leaf in root.leaves():
        if tag.partition("/")[0].partition("@")[0] in ("all", "cluster", "rm", "rc"):
            yield ["add", "clsparam", tag, leaf.text]


def run(clp: Clp, lines: list[list[str]]) -> None:
    for line in lines:
        ran = clp("clpcfset", *line)
        assert ran.code in (0, 8), (line, ran)
        assert "should not have happened" not in ran.err


@pytest.mark.parametrize("seed", [None, 1])
def test_both_ways_make_the_same_configuration_and_once_more_changes_nothing(
    clp: Clp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int | None
) -> None:
    monkeypatch.chdir(tmp_path)
    root = cluster()
    lines = list(stages(root))
    for stage in lines:
        if seed is not None:
            random.Random(seed).shuffle(stage)
        run(clp, stage)
    text = (tmp_path / "clp.toml").read_text()
    assert by_name(tomllib.loads(text)) == by_name(translated(root).tables)
    if seed is None:
        assert clp("clpcfset", *lines[0][0]).code == 6
        for stage in lines[1:]:
            run(clp, stage)
        assert (tmp_path / "clp.toml").read_text() == text


def test_the_file_of_either_way_says_the_other(
    clp: Clp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clp.conf").write_bytes(written(cluster()))
    assert clp("clpcfctrl", "--import", "clp.conf").code == 0
    assert clp("clpcfctrl", "--export", "again.conf", "-x", ".").code == 0
    text = (tmp_path / "clp.toml").read_text()
    ran = clp("clpcfctrl", "--import", "again.conf", "--merge")
    assert (ran.code, (tmp_path / "clp.toml").read_text()) == (0, text), ran
