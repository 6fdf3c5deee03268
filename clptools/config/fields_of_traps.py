"""`[[trap_profile]]` and what is below it; see `fields`.  Profiles that ship have the same keys."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from clptools.config.address import canonical
from clptools.config.field import (
    BOOLEAN,
    NAME,
    TEXT,
    Fault,
    Field,
    Kind,
    choice,
    integer,
    list_of,
    near,
    numbers,
    table_of,
    toml_type,
)
from clptools.config.trap_names import oid_fault, part_fault
from clptools.core.model.settings import Option, TrapSource
from clptools.core.model.words import EventClass

CLASSES = tuple(EventClass)
"""Classes of hardware events."""
_CLASS = choice(*CLASSES)
MASK = (1 << 64) - 1


def _worded(find: Callable[[str], tuple[str, str] | None], what: str) -> Kind:
    def read(value: object) -> Option | Fault:
        if not isinstance(value, str):
            return Fault(text=f"must be text in quotes, not {toml_type(value)}")
        fault = find(value)
        return value if fault is None else Fault(text=fault[0], hint=fault[1])

    return Kind(name=what, read=read)


OID = _worded(oid_fault, "OID")
_OIDS = list_of(OID, at_least=1)
_PARTS = list_of(_worded(part_fault, "variable"))


def _one_or_more(value: object) -> Option | Fault:
    return _OIDS([value] if isinstance(value, str) else value)


def _values(value: object) -> Option | Fault:
    found: list[str] = []
    for one in value if isinstance(value, list | tuple) else [value]:
        if isinstance(one, bool) or not isinstance(one, int | str) or one == "":
            return Fault(text=f"must be a number or text, not {toml_type(one)}")
        found.append(str(one))
    return tuple(found) if found else Fault(text="must not be empty")


def _match(value: object) -> Option | Fault:
    return table_of("name", _CLASS)(value) if isinstance(value, dict) else list_of(TEXT)(value)


_profile = partial(Field, section="trap_profile")

TRAP_PROFILE = (
    _profile(name="name", parse=NAME, required=True, help="Name."),
    _profile(
        name="manufacturer",
        parse=numbers(1, 2**32 - 1),
        help="IANA numbers of the makers whose PETs the rows are for. Default: every BMC. A "
        "redfish row applies if the service names that maker (Vendor, or its system's "
        "Manufacturer). An oid row applies to every trap that has that name.",
    ),
    _profile(
        name="rows",
        parse=table_of("row", choice(*CLASSES, "off")),
        help='Rows of the class table, such as "0Dh/6F/2" or "redfish REGISTRY.MESSAGE", each with '
        "its class, or with off.",
    ),
    _profile(
        name="meanings",
        parse=table_of("row", TEXT),
        help="Rows of the class table, each with its text for the operator.",
    ),
    _profile(
        name="enterprise",
        parse=Kind(name="OID or list of OIDs", read=_one_or_more, empty=(), shape="text or list"),
        help="OID of its traps and their variables. OIDs in trap_profile.trap are below it, unless "
        "they begin with 1.3.6.1.",
    ),
    _profile(
        name="text",
        parse=OID,
        help="The variable with the vendor's own text. test, recovered, ok, clear_if and "
        "clear_unless may also stand here, for all its traps.",
    ),
)

_trap = partial(Field, section="trap_profile.trap")

TRAP = (
    _trap(
        name="match",
        parse=Kind(
            name="list of names, or table of name to class",
            read=_match,
            empty=(),
            shape="list or table",
        ),
        required=True,
        help='Names of traps: "0.6050", "0.6050..6069", "2.1.*" for all below; a table gives each '
        "its class. The 0 before the last number may be left out. The first trap table that gives "
        "a class decides; your own tables come before those of the package.",
    ),
    _trap(
        name="name",
        parse=TEXT,
        default="",
        help="Name in the fault's key. Tables with the same name open and close the same fault. "
        "Default: each number is a fault of its own.",
    ),
    _trap(name="class", parse=_CLASS, help="The class of a trap that gets no class otherwise."),
    _trap(name="variable", parse=OID, help="The variable whose value decides."),
    _trap(
        name="mask",
        parse=integer(1, MASK),
        help="Only these bits of the variable are used.",
    ),
    _trap(
        name="classes",
        parse=table_of("value", _CLASS),
        help='Values of the variable and their classes: 4, 0x10, "3..5", "PSU0001", "PSU*"; if '
        "none fits, match and class decide, or the next table.",
    ),
    _trap(
        name="step",
        parse=integer(2, 65536),
        help="The trap's number is step * thing + level + base. Without a name, the thing is in "
        "the fault's key.",
    ),
    _trap(name="base", parse=integer(0, 2**32 - 1), default=0, help="See step."),
    _trap(
        name="levels",
        parse=table_of("level", _CLASS),
        help="Levels and their classes. If there is also a variable, CLEAR here ends the fault "
        "that the variable's class would open.",
    ),
    _trap(
        name="ipmi",
        parse=BOOLEAN,
        default=False,
        help="The name ends in sensor type + 256 * event type, and 16 * offset + 1, or + 2 for a "
        "deassertion. The rows of the class table give the class.",
    ),
    _trap(
        name="instance",
        parse=_PARTS,
        help='Variables that name the part, for the fault\'s key. "1.6": its value. "1.18[2:]": '
        'its value without the first two characters ("1.18[0x2:]": of a hexadecimal number, not '
        'counting 0x). "6.2[#]": the index of the variables below it, not their values. '
        '"1.18|1.21": two variables, of which a trap may have only one; the first one that both '
        "the beginning and the end have is compared.",
    ),
    _trap(
        name="closes",
        parse=list_of(TEXT),
        help="Names of other tables. A CLEAR also ends their fault of the same part (or an INFO "
        "does, in a table that gives nothing else).",
    ),
    _trap(
        name="meaning",
        parse=TEXT,
        default="",
        help="Text for the operator. {0} is the first of instance, {1.2} a variable.",
    ),
    _trap(
        name="text",
        parse=OID,
        help="The variable with the vendor's own text.",
    ),
    _trap(
        name="own_watchdog",
        parse=BOOLEAN,
        default=False,
        help="The trap is about the BMC's timer. It is INFO if this cluster armed the timer.",
    ),
)

CONDITIONS = ("test", "recovered", "ok", "clear_if", "clear_unless")
"""Tables within a trap, or within a profile for all its traps."""
_condition = partial(Field, section="trap_profile.trap.CONDITION")

CONDITION = (
    _condition(name="variable", parse=OID, required=True, help="The variable that is compared."),
    _condition(
        name="value",
        parse=Kind(name="number, text or list of them", read=_values, empty=(), shape="numbers"),
        required=True,
        help="Values; one of them must fit. The condition test makes a trap INFO. recovered makes "
        "a trap CLEAR that would open a fault. With ok, nothing is opened. clear_if must fit for a "
        "CLEAR. clear_unless must not fit for a CLEAR that only the trap's number gives.",
    ),
    _condition(
        name="mask", parse=integer(1, MASK), help="Only these bits of a number are compared."
    ),
)


# --- sources of traps

_SOURCE_KEYS = ("address", "variable", "value")
_SOURCE_MEND = 'Write { address = "…", variable = "1.3.6.1.4.1.…", value = 3 }.'


def source_of(entry: object) -> TrapSource | Fault:
    """One entry: an address, or a table."""
    if isinstance(entry, str):
        entry = {"address": entry}
    if not isinstance(entry, dict):
        return Fault(text=f"must be an address or a table, not {toml_type(entry)}")
    unknown = next((key for key in entry if key not in _SOURCE_KEYS), "")
    if unknown:
        return Fault(text=f'unknown key "{unknown}"', hint=near(unknown, _SOURCE_KEYS))
    address, variable, value = (entry.get(key, "") for key in _SOURCE_KEYS)
    try:
        address = canonical(str(address))
    except ValueError as error:
        return Fault(text=str(error), hint='Write "192.168.0.50", without a port.')
    if not isinstance(variable, str) or isinstance(value, bool) or not isinstance(value, str | int):
        return Fault(text="variable is an OID in quotes, value a number or text", hint=_SOURCE_MEND)
    if (variable == "") is not (value == ""):
        return Fault(text="variable and value go together", hint=_SOURCE_MEND)
    if variable and (fault := oid_fault(variable)) is not None:
        return Fault(text=f"variable: {fault[0]}", hint=fault[1])
    return TrapSource(address=address, variable=variable.strip("."), value=str(value))


def _sources(value: object) -> Option | Fault:
    if not isinstance(value, list | tuple):
        return Fault(
            text=f"must be a list, not {toml_type(value)}", hint='Write ["…"], with brackets.'
        )
    for place, entry in enumerate(value):
        found = source_of(entry)
        if isinstance(found, Fault):
            return Fault(text=found.text, hint=found.hint, at=(place,))
    return tuple(str(entry) for entry in value)


TRAP_SOURCES = Kind(name="list of addresses or tables", read=_sources, empty=(), shape="list")
