"""What variants declare as their options, against the keys that the configuration reads."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import msgspec
import pytest

from clptools.arbiters import registry as arbiters
from clptools.config.field import ON_SERVERS, Field
from clptools.core.model.options import HealthOptions, VariantOptions, on_server, read
from clptools.core.model.words import FinalAction
from clptools.core.notices.monitors import ACTIONS
from clptools.intake.registry import OWN
from clptools.monitors import registry as monitors
from clptools.resources import registry as resources

ROOMS = (arbiters, monitors, resources)
KEYS = [
    (kind, import_module(registry.VARIANTS[kind]), own)
    for registry in ROOMS
    for kind, own in registry.FIELDS.items()
    if own
]


@pytest.mark.parametrize(("kind", "module", "own"), KEYS, ids=[kind for kind, _, _ in KEYS])
def test_a_variant_declares_the_keys_of_its_registry(
    kind: str, module: ModuleType, own: tuple[Field, ...]
) -> None:
    declared: type[VariantOptions] = module.Options
    info = {field.name: field for field in msgspec.structs.fields(declared)}
    names = {field.option for field in own}
    own = tuple(
        f for f in own if f.parse.within or f.name.removesuffix(ON_SERVERS) not in names - {f.name}
    )
    assert set(info) == {field.option for field in own}
    for field in own:
        if field.required:
            assert info[field.option].required, f"{kind}: {field.option}"
    defaults = {field.option: field.default_value() for field in own if not field.required}
    needed = {
        name: () if "tuple" in str(one.type) else "x" for name, one in info.items() if one.required
    }
    options = read(declared, {**needed, **defaults})
    for name, value in defaults.items():
        assert getattr(options, name) == (info[name].default if value is None else value)


def test_the_core_knows_the_key_by_which_a_message_monitor_checks() -> None:
    found = {field.option for own in OWN.values() for field in own}
    assert {field.name for field in msgspec.structs.fields(HealthOptions)} <= found


def test_the_core_has_a_word_and_a_number_for_every_final_action() -> None:
    assert set(FinalAction) - set(ACTIONS) == {FinalAction.NONE}


def test_a_wrong_kind_of_value_is_no_option() -> None:
    module = import_module(monitors.VARIANTS["ipw"])
    with pytest.raises(msgspec.ValidationError):
        read(module.Options, {"targets": "192.168.0.1"})


def test_a_value_by_server() -> None:
    assert on_server("eth0", "server1") == "eth0"
    assert on_server({"server1": "eth0"}, "server1") == "eth0"
    assert on_server({"server1": "eth0"}, "server2") == ""
