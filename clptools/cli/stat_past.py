"""`clpstat` looking back: `--explain --at`, and `--events` of a time, a level, an object."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

import msgspec

from clptools.api.messages import EventRecord
from clptools.cli.command import Answer, Args, as_json
from clptools.cli.past import Past, gather, short_of
from clptools.cli.render.text import event_line
from clptools.cli.times import past, span
from clptools.core.model.view import StatusView
from clptools.core.phrases import with_reasons
from clptools.core.report import explain as story_of
from clptools.core.report.history import at, tells_of
from clptools.core.report.story import Step, Story
from clptools.faults import ClpError, ExitCode, no_such

if TYPE_CHECKING:
    from clptools.cli.json_types import BecauseJson, EventJson, ExplanationJson, StatusJson

LEVELS = ("INFO", "WARN", "ERROR")
AFTERWARDS = 5
"""Records that are told of what came after the instant."""
LATER_S = 3600.0
"""How far the journal is read for them."""
_ENCODER = msgspec.json.Encoder()


class Wanted(msgspec.Struct, frozen=True):
    """Which records were asked for."""

    begin: float | None = None
    end: float | None = None
    level: str = LEVELS[0]
    of: str = ""

    def takes(self, record: EventRecord) -> bool:
        """Whether it is one of them."""
        if self.begin is not None and record.time < self.begin:
            return False
        if self.end is not None and record.time > self.end:
            return False
        if LEVELS.index(self.level) > (LEVELS.index(record.level) if record.level in LEVELS else 0):
            return False
        return not self.of or tells_of(self.of, (record,))


def wanted(args: Args) -> Wanted:
    """What `--from`, `--to`, `--level` and `--of` ask for.  Raises ClpError (USAGE)."""
    begin, end = span(args, time.time())
    level = args.text("level", LEVELS[0]).upper()
    if level not in LEVELS:
        known = ", ".join(LEVELS)
        text = f"--level: {args.text('level')!r} is no level; write one of {known}."
        raise ClpError(ExitCode.USAGE, text)
    return Wanted(begin, end, level, args.text("of"))


def check_name(found: Past, name: str) -> None:
    """Raises ClpError (NO_SUCH) for a name that neither is configured nor was told of."""
    known = story_of.names(found.present)
    if name in known or tells_of(name, found.records):
        return

    raise no_such("object", name, list(dict.fromkeys(known)))


def remark(*lines: str) -> None:
    """Notes on standard error, so that they do not end up in a pipe."""
    for line in filter(None, lines):
        print(f"clpstat: {line}", file=sys.stderr)


# ---------------------------------------------------------------------- --events


def events(args: Args, *, in_text: bool) -> Answer:
    """`--events` with any of `--from`, `--to`, `--level`, `--of`, in one order.

    `in_text`: for people, not for programs.
    """
    asked = wanted(args)
    found = gather(asked.begin, asked.end)
    if asked.of:
        check_name(found, asked.of)
    some = False
    for record, raw in zip(found.records, found.raw, strict=True):
        if not asked.takes(record):
            continue
        some = True
        # Programs get what the server said; people get times by one clock.
        fields = msgspec.to_builtins(record if in_text else raw)
        line = event_line(cast("EventJson", fields)) if in_text else as_json(fields)
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    short = short_of(found, asked.begin) if asked.begin is not None else ""
    remark("" if some else "No event was recorded there.", short, *found.remarks)
    return Answer()


# ---------------------------------------------------------------------- --explain --at


def explain(args: Args) -> Answer:
    """`--explain NAME --at TIME`, or of every group."""
    instant_s = past(args.text("at"), "--at", time.time())
    found = gather(instant_s, instant_s + LATER_S, before=True)
    was = at(found.present, found.records, instant_s, found.now)
    if args.word():
        check_name(found, args.word())
    subjects = [args.word()] if args.word() else [group.name for group in was.groups]
    told = [
        (_story(found, was, name, instant_s), _later(found, name, instant_s)) for name in subjects
    ]
    short = short_of(found, instant_s)
    remark(short, *found.remarks)
    if args.given("json"):
        fields = [{**story, "at": instant_s, "later": later} for story, later in told]
        return Answer(fields=fields[0] if args.word() else {"explanations": fields})
    from clptools.cli.render import explain as page

    status = cast("StatusJson", _json(was))
    tenths = int(instant_s * 10 + 0.5)
    before = ", before the first record, as what came later shows it" if short else ""
    when = time.strftime("At %Y-%m-%d %H:%M:%S", time.localtime(tenths // 10))
    parts = [f"{when}.{tenths % 10}{before}:"]
    for story, later in told:
        parts.append(page.explanation(story, status, now=instant_s).rstrip("\n"))
        if later:
            shown = cast("ExplanationJson", {**story, "because": later[:AFTERWARDS]})
            parts += ["Later", *page.steps(shown, page.COLUMNS, instant_s)]
        if len(later) > AFTERWARDS:
            more = f"clpstat --events --from @{instant_s:.1f} --of {story['subject']} --text"
            parts.append(f"  {len(later) - AFTERWARDS} more: {more}")
        parts.append("")
    return Answer("\n".join(parts).rstrip("\n"))


def _story(found: Past, was: StatusView, name: str, instant_s: float) -> ExplanationJson:
    from clptools.cli.render.text import clock

    def clocked(wall: float) -> str:
        return clock(wall, instant_s)

    before = tuple(r for r in found.records if r.time <= instant_s)
    told = None
    if name not in story_of.paths(was):
        told = story_of.explain(name, was, before, instant_s, clocked)
    if told is None:
        own = [r for r in before if tells_of(name, (r,))]
        told = Story(
            subject=name,
            state=f"{name}, as the records before {clocked(instant_s)} tell it.",
            because=tuple(_step(record) for record in own[-story_of.RECENT :]),
        )
    # What to do about it was advice for then.
    then = tuple(line for line in told.then if ": clp" not in line)
    return cast("ExplanationJson", _json(msgspec.structs.replace(told, then=then)))


def _later(found: Past, name: str, instant_s: float) -> list[BecauseJson]:
    """What became of it: the records about it from after the instant."""
    after = [r for r in found.records if r.time > instant_s and tells_of(name, (r,))]
    return cast("list[BecauseJson]", _json([_step(record) for record in after]))


def _step(record: EventRecord) -> Step:
    text = with_reasons(record.text, record.because)
    return Step(time=record.time, server=record.server, text=text)


def _json(value: object) -> object:
    """As `json` reads it: what the layouts are made for."""
    return msgspec.json.decode(_ENCODER.encode(value))


def follow(args: Args, recorded: Iterable[EventJson]) -> Iterator[EventJson]:
    """The events that `--level` and `--of` leave of a stream, as they come."""
    asked = wanted(args)
    for event in recorded:
        if asked.takes(msgspec.convert(event, EventRecord)):
            yield event
