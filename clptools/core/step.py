"""One step of a core: who and when we are, and all that a part may do.

A part reads the time, the settings and this incarnation's life here.  It acts through `do` and
`notice`, and reports through `changed` what its work touches; `core/node.py` acts on that.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from clptools.core.model.actions import Action, SetTimer
from clptools.core.model.settings import Settings
from clptools.core.model.state import Life, StepState
from clptools.core.model.timing import NEVER, Times
from clptools.core.notices.form import Notice, record_of

DUE_TIMER = "due"
"""The next instant at which a lease, a promise or a candidacy ends."""


class Change(Enum):
    """What a part's work touches."""

    DECISIONS = auto()
    """Something that decisions depend on: everything is settled again."""
    REQUESTS = auto()
    """Something that only requests wait for: everything is settled again, too."""
    BEATS = auto()
    """What our heartbeats say: they are sent in this step."""
    REPORT = auto()
    """What we report of ourselves: the others are told, at most once an interval."""
    REPORT_AT_ONCE = auto()
    """The same, in this step: somebody acts on an answer of ours that rests on it."""


class Step:
    """The context of one step."""

    def __init__(
        self, me: str, settings: Settings, times: Times, state: StepState, life: Life
    ) -> None:
        self.me = me
        self.settings = settings
        self.times = times
        self.state = state
        self.life = life
        self.now = 0
        """Milliseconds of this server's monotonic clock."""
        self.woke_at = 0
        """When this server last ran on after standing still: what it did not hear until then was
        not the silence of others."""
        self.actions: list[Action] = []
        self.listener: Callable[[str, tuple[str, ...]], None] = lambda text, subjects: None
        """Receives the text and subjects of each record: a request may wait for them."""
        self.moment = 0
        """Grows wherever what other servers said may have changed (`look_again`)."""
        self._urgent = False
        self._requests_due = False

    def advance(self, now: int) -> None:
        """An event is taken at `now`; after a long gap this server has stood still."""
        self.look_again()
        if now > self.now:
            if now - self.now > self.times.hear_ms:
                self.woke_at = now
            self.now = now

    # ------------------------------------------------------------------ what a part may do

    def do(self, action: Action) -> None:
        """Adds an action to this step's list."""
        self.actions.append(action)

    def notice(self, notice: Notice, because: tuple[str, ...] = (), event: int = 0) -> None:
        """Records one line for the alert log, the journal and `--explain`.

        `because`: further sentences, the evidence; `event`: the open hardware event it speaks of.
        """
        record = record_of(notice, self.me, because, event)
        self.actions.append(record)
        self.listener(record.text, record.subjects)

    def changed(self, *what: Change) -> None:
        """Reports what the work of a part touches."""
        for each in what:
            if each is Change.DECISIONS:
                self.state.decisions_due = True
            elif each is Change.REPORT:
                self.state.report_due = True
            elif each is Change.REPORT_AT_ONCE:
                self.state.report_due = True
                self.state.reported_at = NEVER
            elif each is Change.BEATS:
                self._urgent = True
            else:
                self._requests_due = True

    def set_timer(self, name: str, at: int) -> None:
        """Wakes us at `at`; a timer that is set for that instant already is left alone."""
        if self.state.timers.get(name) != at:
            self.state.timers[name] = at
            self.do(SetTimer(name=name, at=at))

    def wake_by(self, due: int) -> None:
        """Wakes us at `due`, the earliest of all deadlines; `NEVER`: there is none.

        The timer is only moved to earlier: a deadline that moved away is noticed when it fires.
        """
        current = self.state.timers.get(DUE_TIMER, NEVER)
        if due == NEVER or (self.now < current <= due):
            return
        if due - self.now < self.times.interval_ms or current <= self.now:
            self.set_timer(DUE_TIMER, due)

    def draw(self, below: int) -> int:
        """The next number of this core's own sequence, in `range(below)` (splitmix64)."""
        self.state.draws += 1
        z = (self.state.seed + self.state.draws * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        return (z ^ (z >> 31)) % max(below, 1)

    def token(self) -> int:
        """A number that this incarnation uses only once."""
        number = self.state.next_token
        self.state.next_token += 1
        return number

    # ------------------------------------------------------------------ what is due

    @property
    def beats_due(self) -> bool:
        """Whether our heartbeats have something new to say since they were sent."""
        return self._urgent

    @property
    def settling_due(self) -> bool:
        """Whether anything is to be settled."""
        return self.state.decisions_due or self._requests_due

    def look_again(self) -> None:
        """What other servers said may have changed: what was made of it is checked."""
        self.moment += 1

    def settling(self) -> None:
        """A round of settling begins: a change from here on needs another round."""
        self.look_again()
        self.state.decisions_due = False
        self._requests_due = False

    def beats_sent(self) -> None:
        """Every peer was sent a heartbeat with all that is new."""
        self._urgent = False

    def take(self) -> list[Action]:
        """Ends the step: its actions, in order."""
        actions, self.actions = self.actions, []
        return actions
