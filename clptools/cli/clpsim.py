"""`clpsim`: rehearse faults in virtual time, on one's own configuration or on sample clusters."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from clptools.cli.command import Answer, Args, Command, Option
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.core.model.settings import Settings
    from clptools.sim.draw import Line
    from clptools.sim.explore import Plan, Run
    from clptools.sim.world import Tell

_CLUSTER = "[--config FILE | --sample NAME]"

COMMAND = Command(
    "clpsim",
    summary="simulate faults on this configuration in virtual time",
    synopsis=(
        f"{_CLUSTER} [--seeds A:B] [--hours H] [--faults LIST] [--deep] [--jobs N]",
        f"{_CLUSTER} --seed N [--hours H] [--faults LIST] [--deep] [--explain] [--shrink]",
        f"{_CLUSTER} --systematic [--pairs] [--most N] [--stories LIST] [--jobs N]",
        "[--config FILE] --play FILE",
    ),
    description=(
        (
            "Runs the decisions of all agents of the configuration on simulated servers, networks, "
            "BMCs and scripts. It injects every fault that it knows, and checks after every step "
            "that no group is active twice. Nothing on this machine is changed."
        ),
        (
            "A seed gives the same run every time. Without a configuration the sample clusters "
            "are used in turn."
        ),
        (
            "With --systematic nothing is random. Base stories (start, move, power loss, cut, "
            "push, ...) are played again and again. Each fault of a catalogue comes once, alone, "
            "and is repaired soon or late, at every place between two actions of a server where "
            "anything unusual happens. With --pairs, every two faults of a short list come "
            "together. A run that breaks a promise is printed as a scenario, which --play repeats. "
            "docs/scenarios.md of the source tree describes the language."
        ),
        (
            "Exit code 9: a promise was broken. The line says which one, what it promises, and how "
            "to repeat the run. Exit code 2: the scenario is wrong. The line has FILE:LINE and the "
            "correction."
        ),
    ),
    options=(
        Option("--config", metavar="FILE", help="Simulate this configuration.", complete="file"),
        Option(
            "--sample",
            metavar="NAME",
            help="Simulate a sample cluster: 3bmc, 5lease, ..., large; `KEY=VALUE` words may "
            "follow, as in scenarios: '3lease fence=polled'.",
        ),
        Option("--seed", metavar="N", help="Run only this seed.", whole=True),
        Option("--seeds", metavar="A:B", help="Run the seeds from A to B."),
        Option(
            "--hours",
            metavar="H",
            help="Simulated hours of each run.",
            number=True,
            low=0.001,
            high=87600,
        ),
        Option(
            "--faults",
            metavar="LIST",
            help="all, mild, beyond (faults that no rule survives), or kinds of faults, separated "
            "by commas.",
        ),
        Option(
            "--jobs",
            metavar="N",
            help="With --seeds or --systematic: processes to use.",
            whole=True,
            low=1,
            high=1024,
        ),
        Option("--deep", help="Also check records, ledger and replay (slower)."),
        Option(
            "--explain",
            help="With --seed: print the whole story; with --shrink, that of the shorter schedule.",
        ),
        Option(
            "--shrink", help="With --seed: find a shorter schedule that breaks the same promise."
        ),
        Option("--systematic", help="Every fault at every place of every story."),
        Option("--pairs", help="With --systematic: every two faults of a short list instead."),
        Option(
            "--most",
            metavar="N",
            help="With --systematic: about N schedules of each cluster, spread evenly.",
            whole=True,
            low=1,
        ),
        Option("--stories", metavar="LIST", help="With --systematic: only these stories."),
        Option(
            "--play", metavar="FILE", help="Play a scenario; - is standard input.", complete="file"
        ),
    ),
    examples=(
        ("clpsim --hours 1 --seeds 1:100", "100 runs of an hour on this configuration"),
        ("clpsim --seed 417 --explain", "prints what happened in run 417"),
        ("clpsim --systematic --sample 3bmc", "every single fault at every place, three servers"),
    ),
)

SAMPLE_HOURS = 0.04
_SHRINKING_RUNS = 40
_LARGE = "large"
"""`--sample large`: clusters of 7 to 32 servers in turn."""

MODES = ("play", "systematic", "seed", "seeds")
"""What is done; `seeds` if none of them is given."""
_CHANCE = ("seeds", "seed")
NEEDS = {
    "config": MODES,
    "sample": ("systematic", *_CHANCE),
    "hours": _CHANCE,
    "faults": _CHANCE,
    "deep": _CHANCE,
    "jobs": ("seeds", "systematic"),
    "explain": ("seed",),
    "shrink": ("seed",),
    "pairs": ("systematic",),
    "most": ("systematic",),
    "stories": ("systematic",),
}
"""Option -> the modes in which it has a meaning."""


def run(args: Args) -> Answer:
    mode = _mode(args)
    if mode == "play":
        from clptools.cli import sim_systematic

        return sim_systematic.play(args, settings_of)
    if mode == "systematic":
        from clptools.cli import sim_systematic

        return sim_systematic.run(args, settings_of(args))
    seeds = _seeds(args)
    hours = args.number("hours")
    settings = settings_of(args)
    made = [
        _plan(args, x, hours or (SAMPLE_HOURS if settings is None else 1.0))
        for x in ([settings] if settings is not None else _samples(args.text("sample") == _LARGE))
    ]
    if args.given("seed"):
        return _one(args, made[seeds[0] % len(made)], seeds[0])
    return _many(args, made, seeds)


def _mode(args: Args) -> str:
    """Which of `MODES`; an option that has no meaning in it is refused."""
    given = [mode for mode in MODES if args.given(mode)]
    if len(given) > 1:
        raise ClpError(
            ExitCode.USAGE,
            f"--{given[1]} cannot go with --{given[0]}: each is a run of its own.",
            f"Leave --{given[0]} or --{given[1]} out.",
        )
    mode = given[0] if given else "seeds"
    for name, modes in NEEDS.items():
        if args.given(name) and mode not in modes:
            needed = " or ".join(f"--{x}" for x in modes)
            with_it = f", and says nothing with --{mode}" if given else ""
            # Random runs of many seeds are what is done without any of them.
            add = "" if given else f"Add --{modes[0]}{_value(modes[0])}, or leave it out."
            raise ClpError(
                ExitCode.USAGE,
                f"--{name} needs {needed}{with_it}.",
                add or f"Leave --{name} or --{mode} out.",
            )
    if args.given("config") and args.given("sample"):
        raise ClpError(
            ExitCode.USAGE,
            "--sample cannot go with --config: one cluster is rehearsed.",
            "Leave one of them out.",
        )
    return mode


def _value(mode: str) -> str:
    metavar = next(option.metavar for option in COMMAND.options if option.name == mode)
    return f" {metavar}" if metavar else ""


def _seeds(args: Args) -> range:
    if args.given("seed"):
        seed = int(args.number("seed") or 0)
        return range(seed, seed + 1)
    first, colon, last = args.text("seeds", "1:100").partition(":")
    if not (first.isdecimal() and (last.isdecimal() or not colon)):
        raise ClpError(
            ExitCode.USAGE,
            f"--seeds {args.text('seeds')}: not two numbers.",
            "For example: --seeds 1:100",
        )
    begin, end = int(first), int(last or first)
    if end < begin:
        raise ClpError(
            ExitCode.USAGE,
            f"--seeds {args.text('seeds')}: the last comes before the first, so nothing would run.",
            f"For example: --seeds {end}:{begin}",
        )
    return range(begin, end + 1)


def settings_of(args: Args) -> Settings | None:
    """The configuration to rehearse; None: sample clusters in turn."""
    from clptools import paths
    from clptools.config.load import load
    from clptools.registries import registries
    from clptools.sim.clusters import Unknown
    from clptools.sim.scenario import sample_of
    from clptools.sim.words import BadLine

    if args.text("sample") == _LARGE:
        return None
    if args.given("sample"):
        try:
            return sample_of(args.text("sample"))
        except (BadLine, Unknown) as error:
            raise ClpError(
                ExitCode.USAGE, f"--sample {error}; {_LARGE} is 7 to 32 servers in turn."
            ) from None
    file = args.text("config")
    if not file:
        file = paths.config_file()
        if not os.path.exists(file):
            return None
    loaded = load(file, registries())
    if loaded.settings is None:
        text = "\n".join(str(report) for report in loaded.errors)
        raise ClpError(ExitCode.INVALID_CONFIG, text, f"See all of it: clpcfchk {file}")
    return loaded.settings


def _samples(large: bool) -> list[Settings]:
    from clptools.sim.clusters import LARGE, TURNS, sample

    return [sample(name, **options) for name, options in (LARGE if large else TURNS)]


def _plan(args: Args, settings: Settings, hours: float) -> Plan:
    from clptools.sim.explore import Plan
    from clptools.sim.faults import kinds_of

    faults = args.text("faults", "all")
    try:
        kinds_of(faults)
    except ValueError as error:
        raise ClpError(ExitCode.USAGE, f"--faults: {error}.") from None
    return Plan(settings=settings, seconds=hours * 3600, faults=faults, deep=args.given("deep"))


def _repeat(args: Args) -> str:
    """The command that repeats a run, without its seed."""
    words = ["clpsim"]
    for name in ("config", "sample", "hours", "faults"):
        if args.given(name):
            words += [f"--{name}", args.text(name)]
    if args.given("deep"):
        words.append("--deep")
    return " ".join(words)


def _many(args: Args, plans: list[Plan], seeds: range) -> Answer:
    from clptools.sim.explore import Summary, run_jobs, shorten
    from clptools.sim.promises import PROMISES

    jobs = int(args.number("jobs") or os.cpu_count() or 1)
    total = Summary()
    quiet = args.given("json") or not sys.stderr.isatty()
    for done in run_jobs([(plans[seed % len(plans)], seed) for seed in seeds], jobs):
        total.add(done)
        if not quiet and total.runs % 10 == 0:
            print(f"\r{total.runs} of {len(seeds)}", end="", file=sys.stderr, flush=True)
    if not quiet:
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    repeat = _repeat(args)
    fields: dict[str, object] = {
        "runs": total.runs,
        "simulated_s": round(total.simulated_s, 3),
        "cpu_s": round(total.cpu_s, 3),
        "violations": [
            {
                "seed": v.seed,
                "invariant": v.invariant,
                "time_s": v.time_s,
                "group": v.group,
                "servers": list(v.servers),
                "promise": PROMISES[v.invariant],
                "text": v.text,
                "reproduce": f"{repeat} --seed {v.seed} --explain",
            }
            for v in total.violations
        ],
        "takeover_s": total.takeover(),
        "waited": total.waited,
    }
    text = total.lines(_head(args, plans), repeat)
    if not total.violations:
        return Answer("\n".join(text), fields)
    seed = total.violations[0].seed
    lines, _ = shorten(plans[seed % len(plans)], seed, _SHRINKING_RUNS)
    text += [f"What breaks it, of the schedule of seed {seed}:", *_schedule(lines)]
    fields["schedule"] = {"seed": seed, "lines": _schedule_fields(lines)}
    return Answer("\n".join(text), fields, ExitCode.FOUND)


def _schedule(lines: tuple[Line, ...]) -> list[str]:
    return [f"{at:9.3f}  {line}" for at, line in lines]


def _schedule_fields(lines: tuple[Line, ...]) -> list[dict[str, object]]:
    return [{"time_s": at, "line": line} for at, line in lines]


def _head(args: Args, plans: list[Plan]) -> str:
    hours = plans[0].seconds / 3600
    length = f"{hours:g} h" if hours >= 1 else f"{plans[0].seconds:g} s"
    servers = sorted({len(p.settings.servers) for p in plans})
    many = "-".join(str(n) for n in (servers[0], servers[-1])) if len(servers) > 1 else servers[0]
    return f"{length}, {many} server{'' if many == 1 else 's'}, {args.text('faults', 'all')} faults"


def _one(args: Args, plan: Plan, seed: int) -> Answer:
    from clptools.sim.explore import run_seed

    told: list[str] = []
    tell = told.append if args.given("explain") else None
    if args.given("shrink"):
        return _shrunk(plan, seed, tell, told)
    done = run_seed(plan, seed, tell=tell)
    return Answer("\n".join([*told, *_verdict(done)]), _fields(done), _code(done))


def _shrunk(plan: Plan, seed: int, tell: Tell | None, told: list[str]) -> Answer:
    from clptools.sim.explore import shorten

    lines, done = shorten(plan, seed, tell=tell)
    if not done.violations:
        lines = ()  # nothing was broken, and hundreds of lines would hide that
    fields = _fields(done) | {"schedule": _schedule_fields(lines)}
    return Answer("\n".join([*_schedule(lines), *told, *_verdict(done)]), fields, _code(done))


def _fields(done: Run) -> dict[str, object]:
    from clptools.sim.promises import PROMISES

    return {
        "seed": done.seed,
        "simulated_s": done.simulated_s,
        "violations": [
            {
                "invariant": v.invariant,
                "promise": PROMISES[v.invariant],
                "time_s": v.time_s,
                "group": v.group,
                "text": v.text,
            }
            for v in done.violations
        ],
    }


def _code(done: Run) -> int:
    return ExitCode.FOUND if done.violations else ExitCode.DONE


def _verdict(done: Run) -> list[str]:
    if done.violations:
        return [f"Broken: {v.told()}" for v in done.violations]
    longest = max(done.gaps_s, default=0.0)
    return [f"Seed {done.seed}: every promise held; longest interruption {longest:.1f} s."]
