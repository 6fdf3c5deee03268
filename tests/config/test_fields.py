"""The table of fields agrees with the core's settings, and is fit for a manual."""

from __future__ import annotations

import msgspec
import pytest

from clptools.config import fields, fields_of_monitors
from clptools.config.field import Field
from clptools.config.load import Alert
from clptools.core.model.settings import (
    Arbiter,
    Cluster,
    ForcedStop,
    Group,
    Monitor,
    Recovery,
    Resource,
    SnmpUser,
)
from clptools.registries import registries

PAIRS: list[tuple[type[msgspec.Struct], tuple[Field, ...]]] = [
    (Cluster, fields.CLUSTER),
    (Arbiter, fields.NP),
    (ForcedStop, fields.FORCED_STOP),
    (Group, fields.GROUP),
    (Resource, fields.RESOURCE),
    (Monitor, (*fields_of_monitors.MONITOR, *fields_of_monitors.MRW)),
    (Recovery, fields_of_monitors.RECOVERY),
    (SnmpUser, fields_of_monitors.SNMP_USER),
    (Alert, fields_of_monitors.ALERT),
]


@pytest.mark.parametrize(("struct", "table"), PAIRS, ids=lambda x: getattr(x, "__name__", ""))
def test_defaults_are_those_of_the_core(
    struct: type[msgspec.Struct], table: tuple[Field, ...]
) -> None:
    core = {f.name: f.default for f in msgspec.structs.fields(struct)}
    for field in table:
        if field.default is not None and field.option in core:
            assert field.default_value() == core[field.option], field.name


def test_every_key_is_explained_once_in_its_table() -> None:
    for heading, table in fields.sections(registries()):
        names = [field.name for field in table]
        assert len(names) == len(set(names)), heading
        for field in table:
            assert field.help.endswith("."), (heading, field.name)
            assert heading.replace("[", "").replace("]", "").split(" ")[0] == field.section
            assert not (field.required and field.default is not None), field.name
            assert field.parse.name, field.name


def test_every_type_of_every_room_is_in_the_manual() -> None:
    headings = [heading for heading, _ in fields.sections(registries())]
    assert '[[monitor]] type = "mrw"' in headings
    assert '[[np]] type = "etcd"' in headings
    assert '[[group.resource]] type = "exec"' in headings
