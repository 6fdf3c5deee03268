"""`clpsim --systematic` and `--play`: all faults in turn instead of some by chance."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from clptools.cli.command import Answer, Args
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.core.model.settings import Settings
    from clptools.sim.children import Broken, Outcome
    from clptools.sim.systematic import Task

_SHOWN = 10
"""How many broken schedules are listed for people; JSON has more."""


def run(args: Args, settings: Settings | None) -> Answer:
    """Every fault at every place of every story."""
    from clptools.sim.children import cpu_s

    tasks = _tasks(args, settings)
    kind = "pairs of faults" if args.given("pairs") else "single faults"
    told: list[str] = []
    clusters: list[dict[str, object]] = []
    broken: list[Broken] = []
    stories = schedules = broke = 0
    for name, task in tasks:
        begun, used = time.monotonic(), cpu_s()
        total = _cluster(args, name, task)
        took, cpu = time.monotonic() - begun, cpu_s() - used
        played = sum(x.schedules for x in total)
        possible = sum(x.possible for x in total)
        of = f" of {possible:,}" if args.given("most") and not args.given("pairs") else ""
        bases = f"{len(total)} {'story' if len(total) == 1 else 'stories'}"
        told.append(
            f"{name}: {bases}, {played:,}{of} schedules of {kind} in {took:.0f} s "
            f"({played / max(took, 0.001):.0f} a second)"
        )
        clusters.append(
            {
                "cluster": name,
                "stories": len(total),
                "schedules": played,
                "seconds": round(took, 3),
                "cpu_s": round(cpu, 3),
            }
        )
        stories, schedules = stories + len(total), schedules + played
        broke += sum(x.broke for x in total)
        broken += [item for x in total for item in x.broken]
    fields: dict[str, object] = {
        "stories": stories,
        "schedules": schedules,
        "broken": broke,
        "violations": [_violation(each) for each in broken],
        "clusters": clusters,
        "cpu_s": round(cpu_s(), 3),
    }
    if not broken:
        told.append(f"Every promise held in {schedules:,} schedules.")
        return Answer("\n".join(told), fields)
    told.append(f"Broken in {broke:,} of {schedules:,} schedules:")
    return Answer("\n".join([*told, *_listed(broken)]).rstrip(), fields, ExitCode.FOUND)


def _violation(broken: Broken) -> dict[str, object]:
    from clptools.sim.promises import PROMISES

    return {
        "story": broken.story,
        "at": broken.at,
        "faults": list(broken.faults),
        "invariant": broken.invariant,
        "promise": PROMISES[broken.invariant],
        "text": broken.text,
        "reproduce": broken.reproduce,
    }


def _listed(broken: list[Broken]) -> list[str]:
    """The first broken schedules for people, and the very first as a scenario."""
    lines: list[str] = []
    for each in broken[:_SHOWN]:
        what = " and ".join(each.faults) or "no fault at all"
        lines += [
            f"  {each.story}: {each.text}",
            f"    after: {what}",
            f"    at:    {each.at or '-'}",
        ]
    if len(broken) > _SHOWN:
        lines.append(f"  {len(broken) - _SHOWN} more: --json has their scenarios.")
    head = "The first as a scenario; clpsim --play FILE repeats it:"
    return [*lines, head, "", broken[0].reproduce]


def _tasks(args: Args, settings: Settings | None) -> list[tuple[str, Task]]:
    from clptools.sim.catalogue import TALES
    from clptools.sim.clusters import Unknown
    from clptools.sim.systematic import SAMPLES, own_task, sample_task

    known = [tale.name for tale in TALES]
    only = tuple(x.strip() for x in args.text("stories").split(",") if x.strip())
    unknown = [name for name in only if name not in known]
    if unknown:
        raise ClpError(
            ExitCode.USAGE,
            f"--stories {', '.join(unknown)}: no such story.",
            f"Known: {', '.join(known)}",
        )
    if args.given("stories") and not only:
        raise ClpError(ExitCode.USAGE, "--stories names no story.", f"Known: {', '.join(known)}")
    options = {
        "pairs": args.given("pairs"),
        "most": args.whole("most", 0),
        "jobs": args.whole("jobs", os.cpu_count() or 1),
        "only": only,
    }
    if settings is not None and not args.given("sample"):
        tasks = [("this configuration", own_task(settings, **options))]
    else:
        names = [args.text("sample")] if args.given("sample") else list(SAMPLES)
        try:
            tasks = [(name, sample_task(name, **options)) for name in names]
        except Unknown as error:
            raise ClpError(ExitCode.USAGE, f"--sample {error}.") from None
    _check_needs(only, tasks)
    return tasks


_NEEDS = {
    "two": "two servers",
    "three": "three servers",
    "ordered": "a group that starts after the first one",
    "few": "three servers at most",
    "bmc": "a BMC for each server",
    "arbiter": "an arbiter",
    "mrw": "a message receive monitor",
    "genw": "a custom monitor",
}
"""Words of `Tale.needs`, for people."""


def _check_needs(only: tuple[str, ...], tasks: list[tuple[str, Task]]) -> None:
    """Raises ClpError for a story that fits none of the clusters: it would be left out silently."""
    from clptools.sim.catalogue import TALES, stories

    told = {story.name for _, task in tasks for story in stories(task.settings)}
    needs = {tale.name: tale.needs for tale in TALES}
    for name in only:
        if name not in told:
            where = ", ".join(cluster for cluster, _ in tasks)
            raise ClpError(
                ExitCode.USAGE,
                f"--stories {name}: {where} cannot live through it; it needs: "
                f"{', '.join(_NEEDS[x] for x in needs[name].split()) or 'a group'}.",
                f"Known there: {', '.join(sorted(told)) or 'none'}",
            )


def _cluster(args: Args, name: str, task: Task) -> list[Outcome]:
    """Plays all stories of one cluster; shows its progress on a terminal."""
    from clptools.sim.systematic import run as play_all

    quiet = args.given("json") or not sys.stderr.isatty()
    total: list[Outcome] = []
    for story, outcome in play_all(task):
        total.append(outcome)
        if not quiet:
            done = sum(x.schedules for x in total)
            print(f"\r\033[K{name}: {story}, {done:,}", end="", file=sys.stderr, flush=True)
    if not quiet:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return total


_LARGEST = 4_000_000
"""Bytes of a scenario; what is longer is something else."""


def play(args: Args, settings_of: Callable[[Args], Settings | None]) -> Answer:
    """Play one scenario file, and say what happened and which promises were broken."""
    from clptools.core.node import Node
    from clptools.sim import scenario
    from clptools.sim.promises import PROMISES
    from clptools.sim.words import BadLine

    file = args.text("play")
    name = "standard input" if file == "-" else file
    text = _read(file, name)
    settings = None
    if scenario.wants_config(text):
        settings = settings_of(args)
    elif args.given("config"):
        raise ClpError(
            ExitCode.USAGE,
            f"--config says nothing here: {name} is about another cluster.",
            f"Leave it out, or begin the scenario with: cluster {scenario.HANDED}",
        )
    written: list[str] = []
    expected: list[str] = []
    try:
        world = scenario.play(
            text, Node, Node.restore, settings=settings, written=written, expected=expected
        )
    except BadLine as error:
        raise ClpError(ExitCode.USAGE, f"{name}:{error.line}: {error}") from None
    violations = world.check.violations
    fields: dict[str, object] = {
        "violations": [
            {**msgspec.to_builtins(v), "promise": PROMISES[v.invariant]} for v in violations
        ]
    }
    told = [*written, *[f"Broken: {v.told()}" for v in violations]]
    if not violations:
        told.append("Every promise held.")
    found = any(v.invariant not in expected for v in violations)
    return Answer("\n".join(told), fields, ExitCode.FOUND if found else ExitCode.DONE)


def _read(file: str, name: str) -> str:
    """The text of a scenario.  A file that cannot be opened is a fault (1), not wrong usage."""
    try:
        with open(0 if file == "-" else file, "rb", closefd=file != "-") as opened:
            data = opened.read(_LARGEST + 1)
    except OSError as error:
        if isinstance(error, PermissionError):
            raise
        raise ClpError(ExitCode.FAILED, f"{name}: {error.strerror or error}.") from None
    if len(data) > _LARGEST:
        raise ClpError(
            ExitCode.USAGE, f"{name}:1: more than {_LARGEST:,} bytes; that is no scenario."
        )
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ClpError(
            ExitCode.USAGE,
            f"{name}:{line}: not UTF-8 text: byte {error.object[error.start]:#04x}; a scenario is "
            "plain text",
        ) from None
