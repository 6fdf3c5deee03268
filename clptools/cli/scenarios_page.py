"""`docs/scenarios.md`: the language of scenarios, from the tables that read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clptools.sim.clusters import LARGE, NAMED
from clptools.sim.hardware_verbs import BMC_WAYS
from clptools.sim.promises import PROMISES
from clptools.sim.request_verbs import REQUESTS
from clptools.sim.revise import REVISIONS
from clptools.sim.scenario import CLUSTER_KEYS, FRAME, WORLD_KEYS, Key
from clptools.sim.verbs import VERBS

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
            "cut cut-oneway isolate deaf mute split heal lose lose-large late double hold tap pass "
            "release record replay"
        ),
    ),
    ("BMC, arbiter, scripts", "bmc arbiter script"),
    ("Hardware, messages, monitors", "trap storm message monitor"),
    ("People", "request revise"),
    ("Time, and looking", "advance until log state"),
)
"""Every verb stands in one of them."""

_HEAD = """\
# The language of scenarios

For whoever tells a story to `clpsim --play FILE`, or reads one of `tests/scenarios/`. This page
is made from the tables that read the language (`python -m clptools.cli.generate`).

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

`clpsim --play FILE` plays it in virtual time, prints each block of lines with what happened below
`----`, and last each promise that was broken, or that all held. It ends with 0 if all held, with
9 if one was broken, and with 2 if the file is wrong; then it says `FILE:LINE:`, what is wrong,
and what would mend it. `clpsim --systematic` prints what it finds in this language.

## How a file is written

- A line is a verb and its words, with blanks between them. A `#` begins a comment. Words with
  blanks in them stand in quotes.
- A verb that finds nothing to do does nothing: `kill server1` while its agent is down.
- `----` ends a block of lines; below it stands what the block printed, up to a blank line. The
  player does not compare it; the tests of this project do, and write it (`pytest --rewrite`).
- In the usages below words in capitals stand for something, `[...]` may be left out, `...` says
  that more may follow, and `a|b` is a choice. SERVER, GROUP, MONITOR, RESOURCE and INTERCONNECT
  are names of the cluster; SECONDS is a number such as 4.5; SHARE is a number from 0 to 1.
- `@holder` and `@coordinator` stand for the server that runs a group, or that is coordinator,
  when the word is first met; `@holder2` is another such word with a memory of its own.
- Without `boot`, `pause` and the like a simulated server boots in 10 s, and its scripts take a
  moment by chance. Chance follows from `seed`: a file is the same story every time.

## The frame
"""

_SAMPLES = f"""\
NAME is a sample cluster: {", ".join(f"`{name}`" for name in NAMED)}, or any other such name up
to 32 servers. It is the number of servers; `bmc` if each has a BMC; then `lease` (no arbiter,
watchdogs that enforce the lease), `strong` (an arbiter that only one side can win), `req` (it
decides for everyone) or `weak` (both sides can win it). Servers are `server1`, `server2`, ...;
groups `failover1`, ...; their resources `exec1`, `exec1b`, ...; monitors `userw` (the
watchdog), `mrw1` (traps), `mrw2` (messages of the category NIC) and `genw1` (looks every 5 s).
Large ones such as `{LARGE[-1][0]}` are slow. The keys, with the default at the end of each row:"""
_PROMISES = f"""\
With `cluster config` only the last {len(WORLD_KEYS)} may be given.
The promises that `expect` names:"""
_BMC = "What a BMC can do wrong, after `bmc SERVER`:"
_REQUESTS = (
    "What a person can ask for, after `request SERVER`; `force` is the `-f` of the commands:"
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
    """The page."""
    lines = [_HEAD]
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
