"""What is not well on a server itself: shown from its beginning to its end."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clptools.agent import notices
from clptools.agent.conditions import Conditions
from clptools.agent.records import Records
from clptools.agent.view import blank
from clptools.core.model.actions import Record
from clptools.core.model.events import ConditionSeen, Event
from clptools.core.model.view import ClusterView, ServerView, StatusView
from clptools.core.model.words import Level
from clptools.core.notices.form import Notice
from clptools.links.notices import CONTROL_CHANNEL, LinkGivenUp, LinkNotOpen, LinkOpen


def test_a_notice_begins_a_condition_and_another_ends_it() -> None:
    told: list[Event] = []
    conditions = Conditions("server1", told.append)
    unwritten = notices.JournalUnwritten("No space left on device", "/var/lib/clptools/journal")
    conditions.noticed(unwritten)
    conditions.noticed(unwritten)
    (begun,) = told
    assert isinstance(begun, ConditionSeen) and "No space left" in begun.text
    conditions.noticed(notices.JournalWritten(7))
    conditions.noticed(notices.JournalWritten(7))
    assert told[1:] == [ConditionSeen(name=begun.name)]


@pytest.mark.parametrize("end", [LinkOpen, LinkGivenUp])
def test_an_address_on_which_nobody_can_reach_this_server_is_a_condition(
    end: type[LinkOpen | LinkGivenUp],
) -> None:
    told: list[Event] = []
    conditions = Conditions("server1", told.append)
    conditions.noticed(LinkNotOpen("interconnect lankhb1", "10.0.0.1", 29002, "in use"))
    assert not told, "its heartbeat has a status"
    for address in ("10.0.0.1", "10.0.1.1"):
        conditions.noticed(LinkNotOpen(CONTROL_CHANNEL, address, 29002, "in use"))
    conditions.noticed(end(CONTROL_CHANNEL, "10.0.0.1"))
    one, other, ended = (event for event in told if isinstance(event, ConditionSeen))
    assert one.text.startswith("control channel: cannot listen on 10.0.0.1 port 29002 (in use)")
    assert ended == ConditionSeen(name=one.name) and other.name != one.name


def test_another_text_under_the_same_number_is_a_condition_until_it_is_one_again() -> None:
    told: list[Event] = []
    conditions = Conditions("server1", told.append)
    for server in ("server2", "server3"):
        conditions.noticed(notices.TwoRevisions(server, 6))
    conditions.noticed(notices.OneRevision("server2", 7))
    one, other, ended = (event for event in told if isinstance(event, ConditionSeen))
    assert one.text.startswith("server2 has another revision 6 than server1")
    assert "clpcfctrl --push" in one.mend
    assert ended == ConditionSeen(name=one.name) and other.name != one.name


def test_a_new_core_is_told_of_what_goes_on() -> None:
    told: list[Event] = []
    conditions = Conditions("server1", told.append)
    conditions.begin("disk", "it hangs")
    conditions.begin("keys", "unusable")
    conditions.end("keys")
    del told[:]
    conditions.tell_all()
    assert [event.name for event in told if isinstance(event, ConditionSeen)] == ["disk"]


def test_what_a_core_that_waits_for_the_disk_does_not_know_is_shown_all_the_same() -> None:
    conditions = Conditions("server1", lambda _: None)
    servers = tuple(ServerView(name=n, status="Online", local=n == "server1") for n in ("server1",
                    "server2"))  # fmt: skip
    view = StatusView(cluster=ClusterView(name="c", status="Normal"), servers=servers)
    assert conditions.added(view) is view
    full = notices.StateUnwritten("/run/clptools/state", "No space left on device", "/run")
    conditions.noticed(full)
    shown = conditions.added(view)
    assert [one.status for one in shown.servers] == ["Caution", "Online"]
    assert shown.cluster.status == "Caution"
    assert "No space left" in shown.servers[0].conditions[0].text
    assert conditions.added(shown) == shown, "once"
    assert conditions.added(blank("server1")).servers[0].conditions
    conditions.noticed(notices.StateWritten())
    assert conditions.added(view) is view


def test_records_that_a_disk_refused_are_written_when_it_takes_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    folder = tmp_path / "var/lib/clptools"
    # A file where the folder is to be: what root cannot write either.
    os.makedirs(folder.parent)
    folder.write_text("")
    told: list[Notice] = []

    async def main() -> None:
        with ThreadPoolExecutor(1) as worker:
            records = Records("server1", "00", worker)
            records.on_refused = told.append

            def add(text: str) -> None:
                records.add(
                    Record(module="nm", event_id=1, level=Level.INFO, text=text, subjects=())
                )

            add("one")
            await records.durable()
            add("two")
            await records.durable()
            await records.try_again()
            assert [type(one) for one in told] == [notices.RecordsUnwritten]
            folder.unlink()
            await records.try_again()
            assert [type(one) for one in told[1:]] == [notices.RecordsWritten]
            await records.close()

    asyncio.run(main())
    written = (folder / "records.ndjson").read_text()
    assert '"one"' in written and '"two"' in written
