"""`docs/events.md` and `docs/scenarios.md`, from the notices and from the verbs of scenarios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path

from clptools.core.notices.form import OTHERS, Notice, Slot, catalogue, pieces
from clptools.sim.clusters import LARGE, NAMED
from clptools.sim.hardware_verbs import BMC_WAYS
from clptools.sim.promises import PROMISES
from clptools.sim.request_verbs import REQUESTS
from clptools.sim.revise import REVISIONS
from clptools.sim.scenario import CLUSTER_KEYS, FRAME, WORLD_KEYS, Key
from clptools.sim.verbs import VERBS

_PACKAGE = Path(__file__).parents[2]

MODULES = {
    "nm": "servers and the coordinator",
    "rc": "failover groups and forced stops",
    "rm": "monitors and recoveries",
    "mm": "hardware events",
    "lanhb": "heartbeats",
    "userw": "the watchdog",
    "pm": "the agent, and what operators do",
    "cfmgr": "the configuration",
    "trnsv": "requests from outside",
}
"""Title of each section, in order; the module that a notice names first decides."""

_EVENTS_HEAD = """\
# Events

This page is for anyone who reads the alert log, filters it, or is woken by an alert. It is
generated from the catalogue in the source (`python -m clptools.cli.generate`).

Each line of the alert log has a module and a level. syslog, mail, SNMP traps and
`clpstat --events --json` also have the event's number. Modules and numbers are those of the
original, so filters on them keep working. Events that the original does not have are numbered from
900. If several events share a number, the code after the level distinguishes them (`code` in the
JSON).

In the texts, a word in capitals stands for the object of the event, and `ME` for the server that
reports it. Text in brackets appears only if it applies. Of `(one | another)`, one appears.
`clpstat --explain NAME` shows the incident that an event belongs to.
"""


def every_notice() -> tuple[type[Notice], ...]:
    """All notices of the package, in the order in which they are declared."""
    core = (_PACKAGE / "core" / "notices").glob("*.py")
    for path in sorted({*core, *_PACKAGE.rglob("notices.py")}):
        import_module(".".join(path.relative_to(_PACKAGE.parent).with_suffix("").parts))
    return tuple(catalogue())


def events_page() -> str:
    """The text of the page."""
    notices = every_notice()
    return "\n".join([_EVENTS_HEAD, *(_events_of(module, notices) for module in MODULES)])


def _events_of(module: str, notices: Iterable[type[Notice]]) -> str:
    found = [kind for kind in notices if kind.entry.modules[0] == module]
    found.sort(key=_order)
    others = sorted({m for kind in found for m in kind.entry.modules} - {module})
    beside = f" (also {', '.join(others)})" if others else ""
    title = f"## {module}{beside}: {MODULES[module]}"
    return "\n".join([title, "", *map(_entry, found)])


def _order(kind: type[Notice]) -> tuple[int, str]:
    """By number, then by the declaring module, so that the order of imports does not matter."""
    return min(number for _, number in kind.entry.places()), kind.__module__


def _entry(kind: type[Notice]) -> str:
    lines = [
        f"### {_places(kind)} · {kind.entry.level} · {kind.code()}",
        "",
        f"> {_shown(kind.says)}",
        "",
        " ".join((kind.__doc__ or "").split()),
    ]
    if kind.hint:
        lines += ["", f"To do: {_shown(kind.hint)}"]
    return "\n".join([*lines, ""])


def _places(kind: type[Notice]) -> str:
    entry = kind.entry
    modules = ", ".join(entry.modules)
    if isinstance(entry.number, int):
        return f"{modules} {entry.number}"
    if entry.by == "module":
        return ", ".join(f"{module} {number}" for module, number in entry.number.items())
    of: dict[int, list[str]] = {}
    for value, number in entry.number.items():
        of.setdefault(number, []).append("any other" if value == OTHERS else value)
    each = ", ".join(f"{number} {'/'.join(values)}" for number, values in of.items())
    return f"{modules} {each}"


def _shown(template: str) -> str:
    words = []
    for optional, parts in pieces(template):
        told = "".join(p if isinstance(p, str) else _slot(p) for p in parts)
        words.append(f"[{told}]" if optional else told)
    return "".join(words).replace("*", r"\*").replace("<", r"\<")


def _slot(slot: Slot) -> str:
    if "|" in slot.form:
        return f"({slot.form.replace('|', ' | ')})"
    return slot.fact.removesuffix("_ms").upper()


# ---------------------------------------------------------------------- the language of scenarios


SECTIONS = (
    (
        "Servers",
        (
            "start kill leave off on reset boot pause stall resume wipe forget run disk snapshot "
            "restore drift watchdog"
        ),
    ),
    ("At an exact place", "interrupt upon before after"),
    (
        "Network",
        (
            "cut cut-oneway isolate deaf mute split heal authkey lose lose-large late double hold "
            "tap pass release record replay"
        ),
    ),
    ("BMC, arbiter, scripts", "bmc arbiter script"),
    ("Hardware, messages, monitors", "trap storm message monitor gone unwell window"),
    ("People", "request revise fetch"),
    ("Time, and looking", "advance until log state"),
)
"""Every verb is in one of them."""

_SCENARIOS_HEAD = """\
# The language of scenarios

This page is for anyone who writes a scenario for `clpsim --play FILE`, or reads one in
`tests/scenarios/`. It is generated from the parser's own tables
(`python -m clptools.cli.generate`).

```
# A power loss: the BMC reads off, and that is the proof.
cluster 2bmc
log none
start
advance 6
log story
off server1
until failover1 server2 20
state
```

`clpsim --play FILE` plays the scenario in virtual time. It prints each block of lines, and below
`----` what happened. At the end it prints each promise that was broken, or that all held. The exit
status is 0 if all held, and 9 if one was broken. It is 2 if the file is wrong; `clpsim` then
prints `FILE:LINE:`, what is wrong, and how to correct it. `clpsim --systematic` prints its
findings in this language.

## How a file is written

- A line is a verb and its words, with blanks between them. A `#` begins a comment. Quote words that
  contain blanks.
- A verb that finds nothing to do does nothing, such as `kill server1` while its agent is down.
- `----` ends a block of lines. The output of the block is below it, up to a blank line. `clpsim`
  does not compare this output; the tests of this project compare and write it (`pytest --rewrite`).
- In the usages below, words in capitals are placeholders, `[...]` may be left out, `...` means
  that more may follow, and `a|b` is a choice. SERVER, GROUP, MONITOR, RESOURCE and INTERCONNECT
  are names of the cluster; SECONDS is a number such as 4.5; SHARE is a number from 0 to 1.
- `@holder` and `@coordinator` stand for the server that runs a group, or that is coordinator,
  when the word first occurs; `@holder2` is another such word, which remembers its own server.
- Without `boot`, `pause` and similar verbs, a simulated server boots in 10 s, and its scripts take
  a short random time. `seed` determines all randomness: a file plays the same way every time.

## The frame
"""

_SAMPLES = f"""\
NAME is a sample cluster: {", ".join(f"`{name}`" for name in NAMED)}, or another name of the same
form with up to 32 servers. The name begins with the number of servers; then comes `bmc` if each
has a BMC; then `lease` (no arbiter, watchdogs that enforce the lease), `strong`, `witness` or
`disk` (an arbiter that only one side can win), `req` (an arbiter that decides instead of the
majority) or `weak` (an arbiter that both sides can win). Servers are `server1`, `server2`, ...;
groups are `failover1`, ...; their resources are `exec1`, `exec1b`, ...; monitors are `userw` (the
watchdog), `mrw1` (traps), `mrw2` (messages of the category NIC) and `genw1` (checks every 5 s).
Large ones such as `{LARGE[-1][0]}` are slow. The keys, with the default at the end of each row:"""
_PROMISES = f"""\
With `cluster config` you may give only the last {len(WORLD_KEYS)}.
`expect` takes these promises:"""
_BMC = "How a BMC can misbehave, after `bmc SERVER`:"
_REQUESTS = (
    "What a person can request, after `request SERVER`; `force` is the `-f` of the commands:"
)
_REVISIONS = "What can be pushed, after `revise SERVER`:"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _text(text: str) -> str:
    return text.replace("|", "\\|")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _verbs(names: Iterable[str]) -> list[str]:
    chosen = [VERBS[name] for name in names]
    rows = ((_code(v.usage), _text(v.does), _code(v.example)) for v in chosen)
    return _table(("line", "what happens", "example"), rows)


def _usages(table: Mapping[str, tuple[object, str, str]]) -> list[str]:
    """Of `Way`, `Ask` and `Revision`: what they do comes last, how they are written before."""
    rows = ((_code(usage), _text(does)) for _, usage, does in table.values())
    return _table(("words", "what they mean"), rows)


def _takes(key: Key) -> str:
    if isinstance(key.takes, tuple):
        return ", ".join(key.takes)
    if key.takes is str:
        return "a word"
    kind = "whole" if key.takes is int else "number"
    return f"{kind}, {key.low:,.12g} to {key.high:,.12g}"


def scenarios_page() -> str:
    lines = [_SCENARIOS_HEAD]
    rows = ((_code(f.usage), _text(f.does), _code(f.example)) for f in FRAME.values())
    lines += _table(("line", "what it is for", "example"), rows)
    lines += ["", _SAMPLES, ""]
    keys = {**CLUSTER_KEYS, **WORLD_KEYS}
    lines += _table(
        ("key", "takes", "what it is"), ((_code(n), _takes(k), k.does) for n, k in keys.items())
    )
    lines += ["", _PROMISES, ""]
    lines += [f"- `{number}`: {promise}." for number, promise in PROMISES.items()]
    for title, names in SECTIONS:
        lines += ["", f"## {title}", "", *_verbs(names.split())]
        if title.startswith("BMC"):
            lines += ["", _BMC, "", *_usages(BMC_WAYS)]
        if title == "People":
            lines += ["", _REQUESTS, "", *_usages(REQUESTS)]
            lines += ["", _REVISIONS, "", *_usages(REVISIONS)]
    return "\n".join(lines) + "\n"
