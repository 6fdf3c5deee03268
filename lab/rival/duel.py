"""The same fault, again and again, with clptools and with corosync and pacemaker in its place."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from lab.case import Lab
from lab.collector import longest_gap
from lab.guestagent import Failed, GuestGone
from lab.machine import Machine
from lab.places import Trouble, reports
from lab.rival.contender import DEFAULT_S, Clptools, Contender, Steps
from lab.rival.pacemaker import Pacemaker, Tuning

ROUNDS = int(os.environ.get("ROUNDS", "1"))
CONTENDER = os.environ.get("CONTENDER", "")
"""Only those whose name begins so; what is known of the others is kept."""
TAKEN_OVER_WITHIN_S = 180.0

TUNINGS = (
    Tuning(name="token 3 s", token_ms=3000, power_wait_s=2),
    Tuning(name="token 1 s, no power_wait", token_ms=1000, power_wait_s=0),
    Tuning(
        name="token 1 s, no power_wait, the holder shoots first",
        token_ms=1000,
        power_wait_s=0,
        priority_delay_s=5,
    ),
)
"""Its default; the best that is sensible; the same with clptools' manners in a split."""


QUICKER_S = (1.0,)
"""Heartbeat time-outs of clptools beside its default, for those of pacemaker."""


_ORDER = [
    *(Clptools.called(silence_s) for silence_s in (DEFAULT_S, *QUICKER_S)),
    *(tuning.called for tuning in TUNINGS),
]


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One fault, taken over."""

    contender: str
    silence_s: float
    """Its setting of how long a server may be silent."""
    gap_s: float
    """Silence that the client heard."""
    steps: Steps
    when: str
    """UTC."""
    load: float
    """Load average of this machine when it began."""
    nice: int
    """Of the emulators."""


class Duel(msgspec.Struct, frozen=True, kw_only=True):
    """All rounds of one fault."""

    fault: str
    rounds: tuple[Round, ...]

    def of(self, contender: str) -> list[Round]:
        """The rounds of one of them."""
        return [each for each in self.rounds if each.contender == contender]

    def contenders(self) -> list[str]:
        """Their names, in the order of the results."""
        return sorted({each.contender for each in self.rounds}, key=_ORDER.index)


def fight(
    lab: Lab,
    name: str,
    fault: str,
    action: Callable[[Machine], object],
    tunings: tuple[Tuning, ...] = TUNINGS,
) -> None:
    """`ROUNDS` rounds of each contender; the clptools cluster is back in service afterwards."""
    played: dict[str, list[Round]] = {}

    def play(contender: Contender) -> None:
        rounds = played[contender.name] = []
        for number in range(1, ROUNDS + 1):
            contender.ready()
            rounds.append(_round(lab, contender, f"{fault}, round {number}", action))
            keep(name, fault, rounds)
        contender.ready()

    ours = Clptools(lab)
    for silence_s in (DEFAULT_S, *QUICKER_S):
        if ours.called(silence_s).startswith(CONTENDER):
            ours.retune(silence_s)
            play(ours)
    ours.retune(DEFAULT_S)
    lab.gap_s = max((each.gap_s for rounds in played.values() for each in rounds), default=None)
    rivals = [tuning for tuning in tunings if tuning.called.startswith(CONTENDER)]
    if rivals:
        ours.end()
        try:
            _rivals(lab, rivals, play)
        finally:
            _power(lab)
            ours.begin()
        ours.ready()
    for contender, rounds in played.items():
        gaps = [each.gap_s for each in rounds]
        lab.figures[contender] = f"{statistics.median(gaps):.2f} s, longest {max(gaps):.2f} s"


def _rivals(lab: Lab, tunings: list[Tuning], play: Callable[[Contender], None]) -> None:
    rival = Pacemaker(lab, tunings[0])
    try:
        rival.begin()
        play(rival)
        for tuning in tunings[1:]:
            rival.retune(tuning)
            play(rival)
    finally:
        rival.end()


def _round(lab: Lab, by: Contender, text: str, action: Callable[[Machine], object]) -> Round:
    holder = lab.holder()
    other = lab.other(holder)
    when, load = time.strftime("%Y-%m-%d %H:%M", time.gmtime()), os.getloadavg()[0]
    at = time.monotonic()
    lab.note(f"{by.name}: {text}: {holder.name}")
    action(holder)

    def heard() -> bool:
        return any(word.server == other.name for word in lab.words_since(at))

    lab.until(f"{by.name}: heard from {other.name}", heard, TAKEN_OVER_WITHIN_S)
    gap = longest_gap(lab.words_since(at - 1), at - 1, time.monotonic()).seconds
    lab.note(f"{by.name}: taken over by {other.name} after {gap:.2f} s")
    steps: Steps = {}
    with contextlib.suppress(GuestGone, Failed):
        steps = by.steps(other, at)
    lab.until(f"{holder.name} is off", lambda: not holder.on, 120)
    _power(lab)
    return Round(
        contender=by.name,
        silence_s=by.silence_s,
        gap_s=round(gap, 2),
        steps=steps,
        when=when,
        load=round(load, 1),
        nice=os.nice(0),
    )


def _power(lab: Lab) -> None:
    for each in lab.servers:
        if not each.on:
            with contextlib.suppress(Trouble):
                each.press_on()
    for each in lab.servers:
        each.booted()


def keep(name: str, fault: str, rounds: list[Round]) -> None:
    """Writes a contender's rounds beside the case's report, in place of its earlier ones."""
    before = load(name)
    others = [r for r in before.rounds if r.contender != rounds[0].contender] if before else []
    _file(name).parent.mkdir(parents=True, exist_ok=True)
    duel = Duel(fault=fault, rounds=(*others, *rounds))
    _file(name).write_bytes(msgspec.json.format(msgspec.json.encode(duel)))


def load(name: str) -> Duel | None:
    """The newest rounds of a case; None: it never ran here."""
    try:
        return msgspec.json.decode(_file(name).read_bytes(), type=Duel)
    except FileNotFoundError:
        return None


def _file(name: str) -> Path:
    return reports() / name / "rounds.json"
