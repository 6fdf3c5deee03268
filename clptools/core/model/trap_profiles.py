"""Trap profiles as the configuration gives them: what a vendor's or a site's traps mean."""

from __future__ import annotations

import msgspec


class TrapCondition(msgspec.Struct, frozen=True, kw_only=True):
    """What a variable of a trap must say, for something to follow."""

    variable: str
    """OID, below the profile's `enterprise`; whatever is below it counts as well."""
    values: tuple[str, ...]
    """One of these: numbers in decimal, or texts (`*` at an end: any text there)."""
    mask: int = 0
    """Only these bits of a number are looked at; 0: all."""


class TrapFamily(msgspec.Struct, frozen=True, kw_only=True):
    """`[[trap_profile.trap]]`: traps that are no PETs, and all speak of one sort of part."""

    match: dict[str, str]
    """Names: `0.6050`, `0.6050..6069`, `2.1.*`, below `enterprise` -> class; empty: see below."""
    name: str = ""
    """What stands in the fault's key; empty: the trap's own number (or `step`'s quotient)."""
    event_class: str = ""
    """Key `class`: of all that `match` gives none."""
    variable: str = ""
    """The variable whose value decides, where `classes` has it."""
    mask: int = 0
    classes: dict[str, str] = {}
    """Value -> class; `*` at an end of a text: any text there."""
    step: int = 0
    """The trap's number is `step * thing + level + base`; 0: it is not made so."""
    base: int = 0
    levels: dict[str, str] = {}
    """Level -> class."""
    ipmi: bool = False
    """The name ends in `sensor type + 256 * event type` and `16 * offset + 1`, or `+ 2` for a
    deassertion: the rows of the class table give the class."""
    instance: tuple[str, ...] = ()
    """Variables that name the part: `6.2.9.3.1.1`, `1.18[2:]` without its first two characters,
    `1.18|1.21` two of which a trap may say one alone: the first that two traps both say counts."""
    closes: tuple[str, ...] = ()
    """Other families of the profile whose fault of the same part its CLEAR or INFO ends."""
    meaning: str = ""
    """For people; `{0}` is the first of `instance`, `{1.2}` a variable."""
    text: str = ""
    """The variable with the vendor's own sentence."""
    own_watchdog: bool = False
    """It may be the BMC's timer that this cluster itself armed."""
    test: TrapCondition | None = None
    """Where it fits, the trap is INFO whatever it says."""
    recovered: TrapCondition | None = None
    """Where it fits, what would open a fault ends it."""
    ok: TrapCondition | None = None
    """Where it fits, nothing is opened."""
    clear_if: TrapCondition | None = None
    """Only where it fits, a CLEAR is one; else it is INFO."""
    clear_unless: TrapCondition | None = None
    """Where it fits, a CLEAR that only the number tells is INFO."""


class TrapProfile(msgspec.Struct, frozen=True, kw_only=True):
    """`[[trap_profile]]`: rows that replace or switch off rows of the shipped class table."""

    name: str
    manufacturers: tuple[int, ...] = ()
    """IANA numbers it is for (key `manufacturer`); empty: every BMC."""
    rows: dict[str, str] = {}
    """Row id (`0Dh/6F/2`, `*/0A/6`, `specific 1001`, `oid 1.3.6...`) -> class, or `off`."""
    meanings: dict[str, str] = {}
    """Row id -> text for the operator."""
    enterprises: tuple[str, ...] = ()
    """OIDs (key `enterprise`) below which its `traps` and their variables are; empty: the root."""
    traps: tuple[TrapFamily, ...] = ()
    """The first that gives a trap a class decides; the site's come before those that ship."""
