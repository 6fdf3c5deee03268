"""The base stories of systematic runs: what a cluster lives through, as lines of `verbs.py`.

`{h}` holds the first group when the story begins, `{o}` is another server, `{g}` that group,
`{mrw}` and `{genw}` are monitors.  Each ends in a cluster that works.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from clptools.core.model.settings import Settings
from clptools.sim.catalogue import late_s

NEW = "start"
"""How most stories begin: agents that have run long enough to be members on disk."""
_LONG = 35
"""Seconds until the disk has it for sure."""


class Tale(NamedTuple):
    """One story; in its text `LATE` stands for the seconds after which the others have gone on."""

    name: str
    needs: str
    """What the cluster must have: two, three, bmc, arbiter, mrw, genw; `few`: three at most, its
    course being the same with more."""
    text: str


TALES = (
    Tale("first-start", "", "start; advance 12"),
    Tale("start-again", "few", "kill; advance 0.3; start; advance 10"),
    Tale("boot-all", "few", "off; advance 2; on; advance 15"),
    Tale("boot-holder", "two", "reset {h}; advance 12"),
    Tale("agent-restart", "few", "kill {h}; advance 0.5; start {h}; advance 8"),
    Tale("agent-leaves", "two", "leave {h}; advance 6; start {h}; advance 8"),
    Tale("move", "two", "request {h} move {g} {o}; advance 5"),
    Tale(
        "move-back", "few two", "request {o} move {g} {o}; until {g} {o} 20;"
        "request {o} move {g} {h}; advance 5"
    ),
    Tale(
        "group-stop-start", "few", "request {h} stop {g}; advance 3;"
        "request {h} start {g}; advance 3"
    ),
    Tale(
        "trap", "two mrw", "trap {h} {mrw} FATAL cpu1; advance 8; trap {h} {mrw} CLEAR cpu1;"
        "advance 3"
    ),
    Tale(
        "traps-everywhere", "few two mrw", "trap {h} {mrw} FATAL cpu1; advance 1;"
        "trap {o} {mrw} FATAL cpu1; advance 8; trap {h} {mrw} CLEAR cpu1;"
        "trap {o} {mrw} CLEAR cpu1; advance 4"
    ),
    Tale("monitor", "few genw", "monitor {h} {genw} error; advance 14; monitor {h} {genw} normal"),
    Tale("power-loss", "two", "off {h}; advance LATE; on {h}; advance 12"),
    Tale("standby-power-loss", "few two", "off {o}; advance LATE; on {o}; advance 12"),
    Tale("cut-long", "two", "isolate {h}; advance LATE; heal; advance 9"),
    Tale("cut-short", "two", "isolate {h}; advance 4; heal; advance 8"),
    Tale("standby-cut", "three", "isolate {o}; advance LATE; heal; advance 6"),
    Tale("holder-mute", "few two", "mute {h}; advance LATE; heal; advance 9"),
    Tale("holder-deaf", "two", "deaf {h}; advance LATE; heal; advance 9"),
    Tale("holder-hangs", "two", "stall {h} 30; advance 32"),
    Tale(
        "bmc-gone-power-loss", "few two bmc", "bmc {h} dead; advance 3; off {h}; advance 6;"
        "request {o} confirm-down {h}; advance LATE; bmc {h} mend; on {h}; advance 12"
    ),
    Tale(
        "confirm-down", "two", "off {h}; advance 4; request {o} confirm-down {h}; advance 8;"
        "on {h}; advance 12"
    ),
    Tale("suspend", "few", "request {o} suspend; advance 2; request {h} resume; advance 3"),
    Tale(
        "suspend-power-loss", "two", "request {o} suspend; advance 1; off {h}; advance 8;"
        "request {o} resume; advance LATE; on {h}; advance 12"
    ),
    Tale(
        "service-stop", "few two", "request {h} service-stop {h}; advance 6;"
        "request {h} service-start {h}; advance 8"
    ),
    Tale(
        "service-stop-all", "", "request {h} service-stop *; advance 6;"
        "request {h} service-start *; request {o} service-start *; advance 10"
    ),
    Tale("push-same", "few", "revise {h} same; advance 4"),
    Tale("push-shorter", "", "revise {h} leases 2 3 20; advance 8"),
    Tale("push-longer", "few", "revise {h} leases 5 10 30; advance 8"),
    Tale(
        "push-server", "three", "request {o} service-stop {o}; advance 4; revise {h} remove {o};"
        "advance 3; revise {h} add {o}; advance 8"
    ),
    Tale(
        "push-group", "few", "request {h} stop {g}; advance 3;"
        "revise {h} remove-group {g}; advance 3; revise {h} add-group {g}; advance 3;"
        "request {h} start {g}; advance 3"
    ),
    Tale(
        "push-arbiter", "two arbiter", "revise {h} remove-arbiter; advance 5;"
        "revise {h} add-arbiter; advance 6"
    ),
    Tale(
        "push-arbiter-lost-word", "two arbiter", "revise {h} remove-arbiter -{o}; isolate {h};"
        "advance LATE; heal; revise {h} again; advance 6"
    ),
)  # fmt: skip


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A tale of one cluster."""

    name: str
    begin: tuple[str, ...]
    """Lines before any fault comes."""
    lines: tuple[str, ...]


def stories(settings: Settings) -> tuple[Story, ...]:
    """All stories that this cluster can live through; none where it has no group."""
    if not settings.groups:
        return ()
    group = settings.groups[0]
    holder = group.servers[0] if group.servers else settings.names[0]
    kinds = {m.type: m.name for m in settings.monitors if holder in m.servers}
    words = {
        "h": holder,
        "o": next((n for n in settings.names if n != holder), holder),
        "g": group.name,
        "mrw": kinds.get("mrw", ""),
        "genw": kinds.get("genw", ""),
    }
    has = _has(settings) | {kind for kind in ("mrw", "genw") if kind in kinds}
    begin = ("start", f"until {group.name} {holder} 120", f"advance {_LONG}")
    return tuple(
        Story(
            name=tale.name,
            begin=() if tale.text.startswith(NEW) else begin,
            lines=_lines(tale.text, late_s(settings), words),
        )
        for tale in TALES
        if set(tale.needs.split()) <= has
    )


def _has(settings: Settings) -> set[str]:
    has = set()
    if len(settings.names) > 1:
        has.add("two")
    if len(settings.names) > 2:
        has.add("three")
    if len(settings.names) < 4:
        has.add("few")
    if all(s.bmc is not None for s in settings.servers):
        has.add("bmc")
    if any(x.decides for x in settings.arbiters):
        has.add("arbiter")
    return has


def _lines(text: str, late: float, words: dict[str, str]) -> tuple[str, ...]:
    whole = text.replace("LATE", f"{late:g}").format(**words)
    return tuple(line.strip() for line in whole.split(";") if line.strip())
