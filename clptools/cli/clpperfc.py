"""`clpperfc`: how long groups took to start and to stop, and monitors to check."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from clptools.api.client import Client
from clptools.cli.command import TYPE_CHECKING, Answer, Args, Argument, Command, Option
from clptools.cli.requests import find, objects, one_of, status
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clptools.api.messages import EventRecord

COMMAND = Command(
    "clpperfc",
    summary="print how long groups took to start and stop, and monitors to check",
    synopsis=("--starttime -g GROUP", "--stoptime -g GROUP", "-g [GROUP]", "-m MONITOR"),
    description=(
        (
            "Prints one whole number, in milliseconds: how long the newest start or stop of GROUP "
            "took, on any server, or the newest check of MONITOR on this server. Scripts and "
            "exporters for the original can read this."
        ),
        (
            "-g alone lists every start and stop of groups in the agent's records: group, start or "
            "stop, when it ended, server, milliseconds. The original does not define this layout. "
            "A start or stop that failed has no time."
        ),
        (
            "If the start, stop or check has not happened yet, the command is refused (6). "
            "Monitors that wait for messages, and userw, do no checks. clpstat --metrics has the "
            "same figures for monitoring systems."
        ),
    ),
    options=(
        Option("--starttime", help="How long GROUP took to start."),
        Option("--stoptime", help="How long GROUP took to stop."),
        Option("-g", "--group", help="For groups.", complete="group"),
        Option(
            "-m",
            "--monitor",
            metavar="MONITOR",
            help="How long the newest check took.",
            complete="monitor",
        ),
    ),
    arguments=(Argument("GROUP", help="A failover group, after -g.", complete="group"),),
    examples=(("clpperfc --starttime -g failover1", "prints, for example, 1240"),),
)


STARTED, STOPPED = "start", "stop"


class Took(NamedTuple):
    """One start or stop of a group that ended well."""

    group: str
    what: str
    ended: float
    """Seconds since 1970, by the clock of `server`."""
    server: str
    ms: int

    def line(self) -> str:
        """As `-g` lists it."""
        when = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(self.ended))
        return f"{self.group} {self.what:<5} {when} {self.server} {self.ms}"


def run(args: Args) -> Answer:
    which = one_of(COMMAND, args, "group", "monitor")
    ends = [name for name in ("starttime", "stoptime") if args.given(name)]
    if which == "monitor":
        if ends or args.words:
            raise ClpError(ExitCode.USAGE, "-m MONITOR stands alone.")
        return check_time(args.text("monitor"))
    if len(ends) > 1:
        raise ClpError(ExitCode.USAGE, "Give --starttime or --stoptime, not both.")
    if not ends:
        return every_time(args.word())
    if not args.word():
        raise ClpError(ExitCode.USAGE, f"--{ends[0]} needs -g GROUP.")
    return newest_time(args.word(), STARTED if ends == ["starttime"] else STOPPED)


def newest_time(group: str, what: str) -> Answer:
    """The number alone."""
    found = [took for took in times(group) if took.what == what]
    if not found:
        text = f"{group}: no {what} that ended well is among the newest records."
        raise ClpError(
            ExitCode.REFUSED, text, f"Older ones: clpstat --events --of {group} --from ..."
        )
    return Answer(str(found[-1].ms), {"group": group, f"{what}_ms": found[-1].ms})


def every_time(group: str) -> Answer:
    """All of them, a line each."""
    found = times(group)
    return Answer(
        "\n".join(one.line() for one in found), {"times": [one._asdict() for one in found]}
    )


def times(group: str) -> list[Took]:
    """Starts and stops in the order of their ends; `group` empty: of all.

    Raises ClpError (NO_SUCH).
    """
    # Imported here: -m does without them.
    import msgspec

    from clptools.api.messages import EventRecord

    records: list[EventRecord] = []
    with Client() as client:
        state = status(client)
        if group:
            find(objects(state, "groups"), "group", group)
        for reply in client.stream("GetEvents", since="", follow=False):
            records += msgspec.convert(reply["events"], list[EventRecord])
    return sorted((one for one in taken(records) if group in ("", one.group)), key=_ended)


def _ended(one: Took) -> float:
    return one.ended


def taken(records: list[EventRecord]) -> Iterator[Took]:
    """Each start and stop of a group, from the two records of its server that frame it."""
    from clptools.core.notices import groups
    from clptools.core.notices.form import Kinds

    pairs = (
        (STARTED, Kinds(groups.GroupStarts), Kinds(groups.GroupOnline)),
        (STOPPED, Kinds(groups.GroupStops), Kinds(groups.GroupReleased)),
    )
    begun: dict[tuple[str, str, str], float] = {}
    for record in records:
        for what, begins, ends in pairs:
            if not record.subjects:
                continue
            key = (what, record.subjects[0], record.server)
            if record in begins:
                begun[key] = record.time
            elif record in ends and key in begun:
                ms = round((record.time - begun.pop(key)) * 1000)
                yield Took(record.subjects[0], what, record.time, record.server, max(ms, 0))


# ---------------------------------------------------------------------- monitors


CHECK = re.compile(r'clptools_monitor_check_seconds\{monitor="((?:[^"\\]|\\.)*)"\} (\S+)')


def check_time(monitor: str) -> Answer:
    """How long its newest check on this server took, the number alone."""
    with Client() as client:
        find(objects(status(client), "monitors"), "monitor", monitor)
        text = str(client.call("GetMetrics").get("text"))
    took_s = {re.sub(r"\\(.)", r"\1", name): float(value) for name, value in CHECK.findall(text)}
    if monitor not in took_s:
        raise ClpError(
            ExitCode.REFUSED,
            f"{monitor} has checked nothing on this server since it began to run here.",
            "Where it runs: clpstat -m",
        )
    ms = round(took_s[monitor] * 1000)
    return Answer(str(ms), {"monitor": monitor, "check_ms": ms})
