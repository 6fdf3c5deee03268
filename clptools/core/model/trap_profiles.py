"""Trap profiles as the configuration gives them: what a vendor's or a site's traps mean."""

from __future__ import annotations

import msgspec


class TrapCondition(msgspec.Struct, frozen=True, kw_only=True):
    """A condition on a trap: what one of its variables must say."""

    variable: str
    """OID, relative to the profile's `enterprise`; variables below it count as well."""
    values: tuple[str, ...]
    """Values that fulfil the condition: decimal numbers, or texts (`*` at an end matches any
    text)."""
    mask: int = 0
    """Bits of a number that are compared; 0: all."""


class TrapFamily(msgspec.Struct, frozen=True, kw_only=True):
    """`[[trap_profile.trap]]`: traps that are not PETs and report one kind of part."""

    match: dict[str, str]
    """Trap names below `enterprise` (`0.6050`, `0.6050..6069`, `2.1.*`) -> class; an empty class:
    see `event_class`, `variable` and `levels`."""
    name: str = ""
    """The name in the fault's key; empty: the trap's own number (or the quotient by `step`)."""
    event_class: str = ""
    """Key `class`: the class of traps for which `match` gives none."""
    variable: str = ""
    """The variable whose value gives the class, if `classes` has it."""
    mask: int = 0
    classes: dict[str, str] = {}
    """Value -> class; `*` at an end matches any text."""
    step: int = 0
    """The trap's number is `step * thing + level + base`; 0: it is not composed."""
    base: int = 0
    levels: dict[str, str] = {}
    """Level -> class."""
    ipmi: bool = False
    """The name ends in `sensor type + 256 * event type` and `16 * offset + 1`, or `+ 2` for a
    deassertion: the rows of the class table give the class."""
    instance: tuple[str, ...] = ()
    """Variables that name the part. `6.2.9.3.1.1` is one; `1.18[2:]` is one without its first two
    characters; `1.18|1.21` are two of which a trap may carry only one: the first that both traps
    carry is compared."""
    closes: tuple[str, ...] = ()
    """Other families of the profile: a CLEAR or INFO of this family ends their fault of the same
    part."""
    meaning: str = ""
    """For people; `{0}` is the first of `instance`, `{1.2}` a variable."""
    text: str = ""
    """The variable with the vendor's own sentence."""
    own_watchdog: bool = False
    """It may report the BMC's timer that this cluster armed itself."""
    test: TrapCondition | None = None
    """If it holds, the trap is INFO, whatever it says."""
    recovered: TrapCondition | None = None
    """If it holds, a trap that would open a fault ends it."""
    ok: TrapCondition | None = None
    """If it holds, nothing is opened."""
    clear_if: TrapCondition | None = None
    """A CLEAR counts only if this holds; otherwise it is INFO."""
    clear_unless: TrapCondition | None = None
    """If it holds, a CLEAR that only the trap's number indicates is INFO."""


class TrapProfile(msgspec.Struct, frozen=True, kw_only=True):
    """`[[trap_profile]]`: rows that replace or switch off rows of the shipped class table."""

    name: str
    manufacturers: tuple[int, ...] = ()
    """IANA numbers of the manufacturers that it is for (key `manufacturer`); empty: every BMC."""
    rows: dict[str, str] = {}
    """Row id (`0Dh/6F/2`, `*/0A/6`, `specific 1001`, `oid 1.3.6...`) -> class, or `off`."""
    meanings: dict[str, str] = {}
    """Row id -> text for the operator."""
    enterprises: tuple[str, ...] = ()
    """OIDs (key `enterprise`) below which its `traps` and their variables lie; empty: the root."""
    traps: tuple[TrapFamily, ...] = ()
    """The first family that gives a trap a class decides. The site's come before the shipped
    ones."""
