"""`clpsim --systematic` and `--play`: all faults in turn instead of some by chance."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from clptools.cli.command import Answer, Args
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.core.settings import Settings
    from clptools.sim.systematic import Broken, Outcome, Task

_SHOWN = 10
"""How many broken schedules are listed for people; JSON has more."""


def run(args: Args, settings: Settings | None) -> Answer:
    """Every fault at every place of every story."""
    from clptools.sim.systematic import cpu_s

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
        told.append(
            f"{name}: {len(total)} stories, {played:,}{of} schedules of {kind} in {took:.0f} s "
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
        "violations": [
            {
                "story": x.story,
                "at": x.at,
                "faults": list(x.faults),
                "invariant": x.invariant,
                "text": x.text,
                "reproduce": x.reproduce,
            }
            for x in broken
        ],
        "clusters": clusters,
        "cpu_s": round(cpu_s(), 3),
    }
    if not broken:
        told.append(f"Every promise held in {schedules:,} schedules.")
        return Answer("\n".join(told), fields)
    told.append(f"Broken in {broke:,} of {schedules:,} schedules:")
    for x in broken[:_SHOWN]:
        what = " and ".join(x.faults) or "no fault at all"
        told += [f"  {x.story}: {x.text}", f"    after: {what}", f"    at:    {x.at or '-'}"]
    if len(broken) > _SHOWN:
        told.append(f"  {len(broken) - _SHOWN} more: --json has their scenarios.")
    told += ["The first as a scenario; clpsim --play FILE repeats it:", "", broken[0].reproduce]
    return Answer("\n".join(told).rstrip(), fields, ExitCode.FOUND)


def _tasks(args: Args, settings: Settings | None) -> list[tuple[str, Task]]:
    from clptools.sim.clusters import Unknown
    from clptools.sim.stories import TALES
    from clptools.sim.systematic import SAMPLES, own_task, sample_task

    known = [tale.name for tale in TALES]
    only = tuple(x.strip() for x in args.text("stories").split(",") if x.strip())
    unknown = [name for name in only if name not in known]
    if unknown:
        raise ClpError(
            ExitCode.NO_SUCH, f"{', '.join(unknown)}: no such story.", f"Known: {', '.join(known)}"
        )
    options = {
        "pairs": args.given("pairs"),
        "most": args.whole("most", 0),
        "jobs": args.whole("jobs", os.cpu_count() or 1),
        "only": only,
    }
    if settings is not None and not args.given("sample"):
        return [("this configuration", own_task(settings, **options))]
    names = [args.text("sample")] if args.given("sample") else list(SAMPLES)
    try:
        return [(name, sample_task(name, **options)) for name in names]
    except Unknown as error:
        raise ClpError(ExitCode.NO_SUCH, f"{error}.") from None


def _cluster(args: Args, name: str, task: Task) -> list[Outcome]:
    """All stories of one cluster; on a terminal it shows how far it is."""
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


def play(args: Args, settings: Settings | None) -> Answer:
    """Play one scenario file, and say what happened and which promises were broken."""
    from clptools.core.node import Node
    from clptools.sim import scenario
    from clptools.sim.verbs import BadLine

    file = args.text("play")
    try:
        if file == "-":
            text = sys.stdin.read()
        else:
            with open(file, encoding="utf-8") as opened:
                text = opened.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ClpError(ExitCode.FAILED, f"{file}: {error}.") from None
    written: list[str] = []
    expected: list[str] = []
    try:
        world = scenario.play(
            text, Node, Node.restore, settings=settings, written=written, expected=expected
        )
    except BadLine as error:
        raise ClpError(ExitCode.USAGE, f"{file}: {error}") from None
    violations = world.check.violations
    fields: dict[str, object] = {"violations": msgspec.to_builtins(violations)}
    told = [*written, *[f"Broken: {v.line()}" for v in violations]]
    if not violations:
        told.append("Every promise held.")
    found = any(v.invariant not in expected for v in violations)
    return Answer("\n".join(told), fields, ExitCode.FOUND if found else ExitCode.DONE)
