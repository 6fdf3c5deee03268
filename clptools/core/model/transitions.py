"""Tables of state transitions.

A component looks the next state up in its table. A pair that is not in the table is a bug of ours
and ends the step; the journal holds the events that led to it. ARCHITECTURE.md shows the tables,
and a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Generic, TypeVar

from clptools.core.model.states import (
    Contact,
    GrantStage,
    GroupState,
    Office,
    WatchdogState,
)

State = TypeVar("State", bound=StrEnum)
Change = TypeVar("Change", bound=StrEnum)


class UnknownTransition(Exception):
    """Something happened that cannot happen in this state."""


class Transitions(Generic[State, Change]):
    """(state, what happens) -> the next state."""

    def __init__(self, what: str, table: Mapping[tuple[State, Change], State]) -> None:
        self.what = what
        self.table = table

    def after(self, state: State, change: Change) -> State:
        """The next state. Raises UnknownTransition if the table has none."""
        found = self.table.get((state, change))
        if found is None:
            raise UnknownTransition(f"{self.what}: {state}, and then: {change}")
        return found


class GroupChange(StrEnum):
    """What happens to a group on a server; the words of ARCHITECTURE.md."""

    GRANTED = "a grant is taken; a purge gives way to it"
    PURGE = "what an agent without state may have left is being stopped, or stopped again"
    ALL_ONLINE = "every resource is online"
    PARTIAL = "a resource is stopped, started or restarted"
    STOP = "a stop is wanted, or a start failed"
    STOP_FAILED = "a stop failed: still held"
    ALL_OFF = "everything is off: released"
    RESTART = "everything is off: it was a restart in place"
    PURGE_FAILED = "stopping leftovers from before the boot failed: not held"
    HALF_DONE = "an agent that starts finds the operation half done"


GROUP: Transitions[GroupState, GroupChange] = Transitions(
    "group",
    {
        (GroupState.NONE, GroupChange.GRANTED): GroupState.STARTING,
        (GroupState.NONE, GroupChange.PURGE): GroupState.STOPPING,
        (GroupState.STARTING, GroupChange.ALL_ONLINE): GroupState.ONLINE,
        (GroupState.STARTING, GroupChange.STOP): GroupState.STOPPING,
        (GroupState.STARTING, GroupChange.STOP_FAILED): GroupState.STOP_FAILED,
        (GroupState.STARTING, GroupChange.HALF_DONE): GroupState.STOPPING,
        (GroupState.ONLINE, GroupChange.PARTIAL): GroupState.STARTING,
        (GroupState.ONLINE, GroupChange.STOP): GroupState.STOPPING,
        (GroupState.STOPPING, GroupChange.ALL_OFF): GroupState.NONE,
        (GroupState.STOPPING, GroupChange.RESTART): GroupState.STARTING,
        (GroupState.STOPPING, GroupChange.GRANTED): GroupState.STARTING,
        (GroupState.STOPPING, GroupChange.STOP_FAILED): GroupState.STOP_FAILED,
        (GroupState.STOPPING, GroupChange.PURGE_FAILED): GroupState.NONE,
        (GroupState.STOPPING, GroupChange.PURGE): GroupState.STOPPING,
        (GroupState.STOPPING, GroupChange.HALF_DONE): GroupState.STOPPING,
        (GroupState.STOP_FAILED, GroupChange.STOP): GroupState.STOPPING,
        (GroupState.STOP_FAILED, GroupChange.PURGE): GroupState.STOPPING,
        (GroupState.STOP_FAILED, GroupChange.HALF_DONE): GroupState.STOPPING,
    },
)
"""A group on a server (`core/groups/lifecycle.py`)."""


class OfficeChange(StrEnum):
    """What happens to our candidacy or office."""

    MAY_WIN = "may stand, and hears enough for a majority"
    ALONE = "all others are out"
    HIGHER_TERM = "a higher term was heard of in office: stands again with a term above it"
    PROMISED = "enough would give their vote"
    ELECTED = "enough gave their vote"
    GIVEN_UP = "too few answer within a quarter of the lease, or the arbiter is left to others"
    VOTED = "votes for another"
    RESIGNED = "authority lapsed, a higher term was heard of, or the service stops"


OFFICE: Transitions[Office, OfficeChange] = Transitions(
    "election",
    {
        (Office.NONE, OfficeChange.MAY_WIN): Office.PRE,
        (Office.NONE, OfficeChange.ALONE): Office.CANDIDATE,
        (Office.NONE, OfficeChange.HIGHER_TERM): Office.CANDIDATE,
        (Office.PRE, OfficeChange.PROMISED): Office.CANDIDATE,
        (Office.PRE, OfficeChange.GIVEN_UP): Office.NONE,
        (Office.PRE, OfficeChange.VOTED): Office.NONE,
        (Office.PRE, OfficeChange.RESIGNED): Office.NONE,
        (Office.CANDIDATE, OfficeChange.ELECTED): Office.COORDINATOR,
        (Office.CANDIDATE, OfficeChange.GIVEN_UP): Office.NONE,
        (Office.CANDIDATE, OfficeChange.RESIGNED): Office.NONE,
        (Office.COORDINATOR, OfficeChange.RESIGNED): Office.NONE,
    },
)
"""Our part in the election (`core/cluster/election.py`)."""


class GrantChange(StrEnum):
    """What happens to a grant, as the coordinator that gave it sees it."""

    UNSEEN = "its server has not acknowledged it, or has since started without state: repeated"
    HELD = "its server holds the group"
    ONLINE = "the group is online there"
    NOT_HELD = "its server saw it but does not hold the group: refused, or failed to start"
    CLEARED = "its server held the group, and is proven not to run it any more"
    OVERTAKEN = "another server holds the group, or it was ours and is gone"
    NOT_ELIGIBLE = "its server may no longer take it"
    EXPIRED = "older than the holder's lease: no server may take it any more"


GRANT: Transitions[GrantStage, GrantChange] = Transitions(
    "grant",
    {
        (GrantStage.GRANTED, GrantChange.UNSEEN): GrantStage.GRANTED,
        (GrantStage.GRANTED, GrantChange.HELD): GrantStage.TAKEN,
        (GrantStage.GRANTED, GrantChange.ONLINE): GrantStage.DONE,
        (GrantStage.GRANTED, GrantChange.NOT_HELD): GrantStage.VOID,
        (GrantStage.GRANTED, GrantChange.CLEARED): GrantStage.VOID,
        (GrantStage.GRANTED, GrantChange.OVERTAKEN): GrantStage.VOID,
        (GrantStage.GRANTED, GrantChange.NOT_ELIGIBLE): GrantStage.VOID,
        (GrantStage.GRANTED, GrantChange.EXPIRED): GrantStage.VOID,
        (GrantStage.TAKEN, GrantChange.UNSEEN): GrantStage.GRANTED,
        (GrantStage.TAKEN, GrantChange.HELD): GrantStage.TAKEN,
        (GrantStage.TAKEN, GrantChange.ONLINE): GrantStage.DONE,
        (GrantStage.TAKEN, GrantChange.NOT_HELD): GrantStage.VOID,
        (GrantStage.TAKEN, GrantChange.CLEARED): GrantStage.VOID,
        (GrantStage.TAKEN, GrantChange.OVERTAKEN): GrantStage.VOID,
        (GrantStage.TAKEN, GrantChange.NOT_ELIGIBLE): GrantStage.VOID,
        (GrantStage.TAKEN, GrantChange.EXPIRED): GrantStage.VOID,
    },
)
"""A grant, as the coordinator that gave it sees it (`core/groups/grants.py`)."""


class WatchdogChange(StrEnum):
    """What happens to the watchdog."""

    PREDECESSOR = "the agent starts, and no watchdog is configured"
    ARM = "armed as configured; a different method only once all others know"
    UNWANTED = "a different method, or none, is configured: the others are told"
    KEEP = "the method that is armed is configured again"
    DISARM = "none is configured and all others know, or the service has stopped: disarmed"


WATCHDOG: Transitions[WatchdogState, WatchdogChange] = Transitions(
    "watchdog",
    {
        (WatchdogState.OFF, WatchdogChange.ARM): WatchdogState.FED,
        (WatchdogState.OFF, WatchdogChange.PREDECESSOR): WatchdogState.LEFT,
        (WatchdogState.LEFT, WatchdogChange.UNWANTED): WatchdogState.LEFT,
        (WatchdogState.LEFT, WatchdogChange.ARM): WatchdogState.FED,
        (WatchdogState.LEFT, WatchdogChange.DISARM): WatchdogState.OFF,
        (WatchdogState.FED, WatchdogChange.ARM): WatchdogState.FED,
        (WatchdogState.FED, WatchdogChange.UNWANTED): WatchdogState.TOLD,
        (WatchdogState.FED, WatchdogChange.DISARM): WatchdogState.OFF,
        (WatchdogState.TOLD, WatchdogChange.KEEP): WatchdogState.FED,
        (WatchdogState.TOLD, WatchdogChange.ARM): WatchdogState.FED,
        (WatchdogState.TOLD, WatchdogChange.DISARM): WatchdogState.OFF,
    },
)
"""The watchdog (`core/safety/lease.py`)."""


class ContactChange(StrEnum):
    """What a heartbeat of an incarnation that is not believed says."""

    SPOKE = (
        "a beat of another incarnation that answers no beat we sent since we last heard the server"
    )
    ANSWERED = "a beat of another incarnation that answers such a beat: it is running now"
    SAID_LEFT = "it said that it left"


CONTACT: Transitions[Contact, ContactChange] = Transitions(
    "contact",
    {
        (Contact.UNKNOWN, ContactChange.SPOKE): Contact.STRANGER,
        (Contact.UNKNOWN, ContactChange.ANSWERED): Contact.BELIEVED,
        (Contact.UNKNOWN, ContactChange.SAID_LEFT): Contact.LEFT,
        (Contact.STRANGER, ContactChange.SPOKE): Contact.STRANGER,
        (Contact.STRANGER, ContactChange.ANSWERED): Contact.BELIEVED,
        (Contact.STRANGER, ContactChange.SAID_LEFT): Contact.LEFT,
        (Contact.BELIEVED, ContactChange.SPOKE): Contact.BELIEVED,
        (Contact.BELIEVED, ContactChange.ANSWERED): Contact.BELIEVED,
        (Contact.BELIEVED, ContactChange.SAID_LEFT): Contact.LEFT,
        (Contact.LEFT, ContactChange.SPOKE): Contact.STRANGER,
        (Contact.LEFT, ContactChange.ANSWERED): Contact.BELIEVED,
    },
)
"""Whether an incarnation of another server is believed (`core/cluster/membership.py`)."""

TABLES = (GROUP, OFFICE, GRANT, WATCHDOG, CONTACT)
