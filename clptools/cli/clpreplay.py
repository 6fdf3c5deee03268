"""`clpreplay`: the events of a journal, fed to the core again, and what it decides."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from clptools.cli.command import Answer, Args, Argument, Command, Option
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clptools.sim.other_policy import Compared
    from clptools.sim.replay import LeftOut, Segment, Step

COMMAND = Command(
    "clpreplay",
    summary="recompute an incident from the journal",
    synopsis=("[JOURNAL...] [--all] [--from TIME] [--to TIME] [--with-config FILE]",),
    description=(
        (
            "Runs the core again on the journal of an agent, and prints what happened, what was "
            "decided, and why. With --all it shows every event with all actions that followed, "
            "down to heartbeats, timers and readings."
        ),
        (
            "--with-config shows what would have been decided with FILE in the same incident: the "
            "first difference, and both stories from there on (exit code 9), or that there is no "
            "difference. After the first difference the events are still those that happened, so a "
            "server that would have been stopped with FILE still sends messages. Servers, arbiter, "
            "lease lengths, and which servers have a BMC must be the same as in the incident. To "
            "try other values: clpsim --config."
        ),
        "JOURNAL is a segment, or a folder of segments. Default: the journal of this server.",
        (
            "Exit code 9: a segment does not begin with the state that the one before it led to, "
            "because the agent and this program have different versions or a bug. Or the journal "
            "is damaged; the command then shows what it can read and names what it left out. A "
            "last write that a power loss cut short does not count as damage."
        ),
    ),
    options=(
        Option("--all", help="Show every event and every action, heartbeats and timers too."),
        Option(
            "--with-config", metavar="FILE", help="Tell what this configuration would have done."
        ),
        Option("--from", metavar="TIME", help="Begin here: 03:12:06, 'yesterday 03:12', -2h."),
        Option("--to", metavar="TIME", help="End here."),
    ),
    arguments=(Argument("JOURNAL", help="Segment or folder.", many=True, complete="file"),),
    examples=(
        ("clpreplay --from 03:12 --to 03:13", "shows what happened in that minute of today"),
        (
            "clpreplay --with-config new.toml --from 03:12",
            "shows whether new.toml would have helped",
        ),
    ),
)


def run(args: Args) -> Answer:
    from clptools.cli.times import span
    from clptools.sim.replay import Difference, LeftOut, in_order, replay

    begin, end = span(args, time.time())
    shown: list[dict[str, object]] = []
    differences: list[str] = []
    steps = some = 0
    first = last = 0.0
    segments, left = in_order(_files(args))
    told = [_left_out(item) for item in left]
    if not segments:
        raise ClpError(ExitCode.FAILED, f"{left[0].file}: {left[0].text}.")
    if args.given("with-config"):
        return _other(args, segments, left, begin, end)
    for item in replay(segments):
        if isinstance(item, Difference):
            differences.append(item.text)
            told.append(f"DIFFERS: {item.text}")
            continue
        if isinstance(item, LeftOut):
            left.append(item)
            told.append(_left_out(item))
            continue
        steps += 1
        first, last = first or item.wall, item.wall
        inside = (begin is None or item.wall >= begin) and (end is None or item.wall <= end)
        lines = item.lines() if args.given("all") else item.story()
        if inside and lines:
            some += 1
            told += _lines(item, lines)
            if args.given("json"):
                shown.append(_fields(item))
    damaged = any(item.damaged for item in left)
    if not some and (begin is not None or end is not None):
        told.append(
            f"Nothing was decided then; the journal is of {_clock(first)} to {_clock(last)}."
        )
    told.append(f"{steps:,} events replayed; {_verdict(differences, damaged)}")
    fields: dict[str, object] = {
        "events": steps,
        "steps": shown,
        "differences": differences,
        "left_out": [{"file": x.file, "text": x.text, "damaged": x.damaged} for x in left],
    }
    found = differences or damaged
    return Answer("\n".join(told), fields, ExitCode.FOUND if found else ExitCode.DONE)


def _other(
    args: Args,
    segments: list[Segment],
    left: list[LeftOut],
    begin: float | None,
    end: float | None,
) -> Answer:
    """`--with-config`."""
    from clptools.config.load import load
    from clptools.registries import registries
    from clptools.sim.other_policy import OtherVoters, compare
    from clptools.sim.replay import LeftOut

    file = args.text("with-config")
    loaded = load(file, registries())
    if loaded.settings is None:
        raise ClpError(
            ExitCode.INVALID_CONFIG,
            "\n".join(str(report) for report in loaded.errors),
            f"Check it: clpcfchk {file}",
        )
    told: list[Compared] = []
    decisions = 0
    try:
        for item in compare(segments, loaded.settings):
            if isinstance(item, LeftOut):
                left.append(item)
                continue
            inside = (begin is None or item.wall >= begin) and (end is None or item.wall <= end)
            decisions += inside
            if inside and (told or item.differs):
                told.append(item)
    except OtherVoters as error:
        raise ClpError(
            ExitCode.REFUSED,
            f"{file}: servers, arbiter, lease lengths or BMCs are others than those of the journal "
            f"of {error}; what would have been answered to them is not in it.",
            f"Rehearse it: clpsim --config {file}",
        ) from None
    lines = [_left_out(item) for item in left]
    lines += (
        _compared(told, file)
        if told
        else [f"{file} would have decided the same: {decisions:,} events with decisions compared."]
    )
    fields: dict[str, object] = {
        "differs": bool(told),
        "compared": decisions,
        "first": _as_fields(told[0]) if told else None,
        "after": [_as_fields(each) for each in told[1:]],
        "left_out": [{"file": x.file, "text": x.text, "damaged": x.damaged} for x in left],
    }
    found = bool(told) or any(item.damaged for item in left)
    return Answer("\n".join(lines), fields, ExitCode.FOUND if found else ExitCode.DONE)


def _compared(told: list[Compared], file: str) -> Iterator[str]:
    yield f"The first difference; = both, - was decided, + {file} would have:"
    for place, each in enumerate(told):
        if place == 1:
            yield "From here on the events are those that happened; what + says is a guess."
        yield f"{_clock(each.wall)} {each.server} {each.event}"
        yield from (f"  = {line}" for line in each.decided if line in each.would)
        yield from (f"  - {line}" for line in each.decided if line not in each.would)
        yield from (f"  + {line}" for line in each.would if line not in each.decided)


def _as_fields(each: Compared) -> dict[str, object]:
    from msgspec import to_builtins

    return dict(to_builtins(each))


def _left_out(item: LeftOut) -> str:
    return f"{'DAMAGED' if item.damaged else 'left out'}: {item.file}: {item.text}."


def _verdict(differences: list[str], damaged: bool) -> str:
    decides = "the core decides the same again"
    if differences:
        decides = f"{len(differences)} differences"
    return f"{decides}{', but events are missing' if damaged else ''}."


def _files(args: Args) -> list[tuple[str, bytes]]:
    """Name and bytes of each; of a folder, those that are called segments."""
    from clptools import paths

    places = args.words or (paths.data_dir() + "/journal",)
    files: list[str] = []
    for place in places:
        here = [place] if os.path.lexists(place) else []
        if os.path.isdir(place):
            here = sorted(os.path.join(place, n) for n in os.listdir(place) if n.endswith(".clpj"))
        if not here:
            raise ClpError(
                ExitCode.NO_SUCH,
                f"{place}: no journal there.",
                "The node agent writes one; of another server, or a copy: clpreplay FOLDER",
            )
        files += here
    found = []
    for name in files:
        with open(name, "rb") as file:
            found.append((name, file.read()))
    return found


def _clock(wall: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(wall).isoformat(sep=" ", timespec="milliseconds")


def _lines(step: Step, lines: list[str]) -> list[str]:
    head = f"{_clock(step.wall)} {step.server}"
    first, *rest = lines
    return [f"{head} {first}", *(f"{' ' * 23} {line}" for line in rest)]


def _fields(step: Step) -> dict[str, object]:
    from msgspec import to_builtins

    return {
        "time": step.wall,
        "server": step.server,
        "now": step.now,
        "event": to_builtins(step.event),
        "actions": [to_builtins(action) for action in step.actions],
        "text": step.lines(),
    }
