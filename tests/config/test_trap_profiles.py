"""Profiles of traps: what is read, and what can never match, contradicts or is no OID."""

from __future__ import annotations

import pytest

from clptools.cli.pages.man_pages import TRAP_SAMPLE
from clptools.config import trap_checks
from clptools.config.trap_names import instance_parts, part_fault, pattern_bounds
from clptools.core.model.settings import TrapSource
from tests.config.sample import BMCS, TWO, read


def site(keys: str) -> str:
    """A configuration with one profile, up to the first key of its first family."""
    return f'{TWO}[[trap_profile]]\nname = "site"\n{keys}{MORE}'


MORE = "[[trap_profile.trap]]\n"
ROOT = 'enterprise = "1.3.6.1.4.1.49871"\n'
BARE, FLUX = site(""), site(ROOT)
ROW = site(ROOT + 'rows = { "oid 1.3.6.1.4.1.49871.0.7" = "FATAL" }\n')


def sources(first: str, second: str) -> str:
    """Two servers with BMCs, and further sources of their traps."""
    text = BMCS.replace('"10.9.0.1",', f'"10.9.0.1", trap_sources = {first},')
    return text.replace('"10.9.0.2",', f'"10.9.0.2", trap_sources = {second},')


CASES = {
    # text -> parts of the one error: key, message, hint
    "a family without a root": (
        BARE + 'match = ["0.7"]\nclass = "ERROR"\n',
        ["trap_profile.site.trap.match", '"0.7" can never match', "enterprise"],
    ),
    "a family's wrong OID": (
        FLUX + 'match = ["0.7.x"]\nclass = "ERROR"\n',
        ["trap_profile.site.trap.match", '"0.7.x"', "no OID"],
    ),
    "a negative number of a MIB": (
        FLUX + 'match = ["0.-294967296"]\nclass = "ERROR"\n',
        ["trap_profile.site.trap.match", "never negative", "add 4294967296"],
    ),
    "a number above 32 bits": (
        FLUX + 'match = ["0.4294967296"]\nclass = "ERROR"\n',
        ["trap_profile.site.trap.match", "4294967296 is no arc"],
    ),
    "a family that gives no class": (
        FLUX + 'match = ["0.7"]\n',
        ["trap_profile.site.trap.match", "can never decide"],
    ),
    "a family behind a wider one": (
        FLUX + 'match = ["0.*"]\nclass = "INFO"\n' + MORE + 'match = ["0.7"]\nclass = "INFO"\n',
        ["trap_profile.site.trap.match", 'takes "0.*" before', "can never match"],
    ),
    "two families that contradict": (
        FLUX + 'match = ["0.7"]\nclass = "INFO"\n' + MORE + 'match = ["0.7"]\nclass = "ERROR"\n',
        ["trap_profile.site.trap.match", "says INFO", "can never match"],
    ),
    "a family and a row that contradict": (
        ROW + 'match = ["0.7"]\nclass = "INFO"\n',
        ["trap_profile.site.trap.match", "says FATAL of 1.3.6.1.4.1.49871.0.7, this INFO"],
    ),
    "two rows that contradict": (
        TWO
        + '[[trap_profile]]\nname = "a"\nrows = { "0Dh/6F/1" = "FATAL" }\n'
        + '[[trap_profile]]\nname = "b"\nrows = { "0Dh/6F/1" = "INFO" }\n',
        ["trap_profile.b.rows.0Dh/6F/1", "says FATAL of the same row"],
    ),
    "two rows that contradict, one with the 0 that v1 adds": (
        TWO
        + '[[trap_profile]]\nname = "a"\nrows = { "oid 1.3.6.1.4.1.49871.0.7" = "FATAL" }\n'
        + '[[trap_profile]]\nname = "b"\nrows = { "oid 1.3.6.1.4.1.49871.7" = "INFO" }\n',
        ["trap_profile.b.rows.oid 1.3.6.1.4.1.49871.7", "says FATAL of the same row"],
    ),
    "two rows of Redfish that contradict, in another case": (
        TWO
        + '[[trap_profile]]\nname = "a"\nrows = { "redfish Acme.Flux" = "FATAL" }\n'
        + '[[trap_profile]]\nname = "b"\nrows = { "redfish acme.FLUX" = "INFO" }\n',
        ["trap_profile.b.rows.redfish acme.FLUX", "says FATAL of the same row"],
    ),
    "two ranges that contradict": (
        FLUX + 'match = { "0.20..25" = "ERROR", "0.23..30" = "INFO" }\n',
        ["trap_profile.site.trap.match.0.23..30", "says ERROR", "both have 23", "begins"],
    ),
    "a row with the version of a registry": (
        TWO + '[[trap_profile]]\nname = "a"\nrows = { "redfish Power.1.0.Failed" = "FATAL" }\n',
        ["trap_profile.a.rows", "is no row", "without a version"],
    ),
    "a value that its mask takes away": (
        FLUX + 'match = ["0.7"]\nvariable = "1"\nmask = 0x1C\nclasses = { 0x20 = "ERROR" }\n',
        ["trap_profile.site.trap.classes.0x20", "can never match"],
    ),
    "two values that contradict": (
        FLUX + 'match = ["0.7"]\nvariable = "1"\nclasses = { 4 = "INFO", "3..5" = "ERROR" }\n',
        ["trap_profile.site.trap.classes.3..5", "says INFO and ERROR of 4"],
    ),
    "an end of something unknown": (
        FLUX + 'match = ["0.7"]\nclass = "CLEAR"\ncloses = ["flx"]\n',
        ["trap_profile.site.trap.closes", 'called "flx"'],
    ),
    "one fault, named in two ways": (
        FLUX
        + 'name = "flux"\nmatch = ["0.7"]\nclass = "ERROR"\ninstance = ["1"]\n'
        + MORE
        + 'name = "flux"\nmatch = ["0.8"]\nclass = "CLEAR"\n',
        ["trap_profile.site.trap.instance", "names its part in another way"],
    ),
    "a level that no number has": (
        FLUX + 'match = ["0.*"]\nstep = 8\nlevels = { 8 = "ERROR" }\n',
        ["trap_profile.site.trap.levels.8", "no number leaves 8"],
    ),
    "a chassis manager that speaks for nobody": (
        sources('["10.9.0.9"]', '["10.9.0.9"]'),
        ["server.server2.bmc.trap_sources", "both would take the same traps", "slot"],
    ),
    "a trap source that is another server's BMC": (
        sources("[]", '["10.9.0.1"]'),
        ["server.server2.bmc.trap_sources", "server1 has 10.9.0.1 as its BMC"],
    ),
    "a slot without its variable": (
        sources('[{ address = "10.9.0.9", value = 3 }]', "[]"),
        ["server.server1.bmc.trap_sources", "variable and value go together"],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_is_refused_with_one_line(case: tuple[str, list[str]]) -> None:
    text, parts = case
    (report,) = read(text).errors
    whole = f"{report.key} {report.message} {report.hint}"
    assert all(part in whole for part in parts), whole
    assert report.hint and report.file
    line = text.split("\n")[report.line - 1]
    name = report.key.split(".trap.")[-1].partition(".")[0]
    # A key that is missing has the line of its table.
    assert name in line or line == MORE.rstrip() or "rows" in line or "sources" in line, line


HOSTILE = {
    "a value": FLUX + 'match = ["0.7"]\nvariable = "1"\nclasses = { "DIGITS" = "ERROR" }\n',
    "a hexadecimal value": FLUX
    + 'match = ["0.7"]\nvariable = "1"\nclasses = { "0xDIGITS" = "ERROR" }\nclass = 3\n',
    "a level": FLUX + 'match = ["0.*"]\nstep = 8\nlevels = { "DIGITS" = "ERROR" }\n',
    "a row": TWO + '[[trap_profile]]\nname = "a"\nrows = { "oid 1.3.DIGITS" = "INFO" }\n',
    "a pattern": FLUX + 'match = ["0.DIGITS"]\nclass = "ERROR"\n',
    "the end of a range": TWO
    + '[[trap_profile]]\nname = "a"\nrows = { "specific DIGITS" = "INFO" }\n'
    + MORE
    + 'match = ["1.3.6.1.4.1.49871.0.7..DIGITS"]\nclass = "INFO"\n',
    "a place": FLUX + 'match = ["0.7"]\nclass = "INFO"\nmeaning = "{DIGITS}"\n',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_numbers_of_thousands_of_digits_are_refused(text: str) -> None:
    """Python itself refuses to read or write them, and nobody reads a message of them."""
    for digits in ("9" * 4_000, "9" * 5_000):
        found = read(text.replace("DIGITS", digits)).errors
        assert found
        assert all(len(report.message) < 700 > len(report.hint) for report in found)


@pytest.mark.parametrize("where", ["name", "row", "class", "pattern", "key", "registry"])
def test_no_message_has_what_a_terminal_obeys(where: str) -> None:
    bad = r"a\u001b[2J\u0007\u009b"
    said = {
        "name": f'{TWO}[[trap_profile]]\nname = "{bad}"\n',
        "row": f'{TWO}[[trap_profile]]\nname = "a"\nrows = {{ "specific {bad}" = "INFO" }}\n',
        "class": f'{TWO}[[trap_profile]]\nname = "a"\nrows = {{ "specific 1" = "{bad}" }}\n',
        "pattern": f'{FLUX}match = ["{bad}"]\nclass = "INFO"\n',
        "key": f'{FLUX}match = ["0.7"]\nclass = "INFO"\n"{bad}" = 1\n',
        "registry": f'{TWO}[[trap_profile]]\nname = "a"\nrows = {{ "redfish {bad}" = "INFO" }}\n',
    }
    found = read(said[where]).errors
    assert found
    for report in found:
        assert report.message.isprintable() and report.hint.isprintable()
        assert r"\x1b[2J" in report.message


def test_a_profile_of_thousands_of_traps_is_compared_by_its_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each with those alone that its own name begins with."""
    looked: list[str] = []

    def bounds(pattern: str) -> tuple[str, int, int]:
        looked.append(pattern)
        return pattern_bounds(pattern)

    monkeypatch.setattr(trap_checks, "pattern_bounds", bounds)
    tables = (f'match = ["{n}.0.1"]\nclass = "ERROR"\n' for n in range(1, 501))
    loaded = read(FLUX + MORE.join(tables))
    assert not loaded.errors
    assert len(looked) <= 4 * 500
    narrow = MORE + 'match = ["1.2.3..4"]\nclass = "INFO"\n'
    wider = read(FLUX + 'match = ["1.*"]\nclass = "INFO"\n' + narrow)
    assert 'takes "1.*" before' in str(wider.errors[0])


def test_a_number_above_two_to_the_31_is_taken_and_told() -> None:
    loaded = read(FLUX + 'match = ["0.3000000000"]\nclass = "ERROR"\n')
    assert not loaded.errors
    (warning,) = (r for r in loaded.reports if r.severity == "warning")
    assert "sends as -1294967296" in warning.message and warning.line == 12


def test_several_sources_are_read() -> None:
    text = sources(
        '["10.9.0.8", { address = "10.9.0.9", variable = "1.3.6.1.4.1.99.1", value = 3 }]',
        '[{ address = "10.9.0.9", variable = ".1.3.6.1.4.1.99.1", value = "4" }, "fe80::2%eth0"]',
    )
    loaded = read(text)
    assert loaded.settings is not None, loaded.errors
    first, second = (s.bmc.trap_sources for s in loaded.settings.servers if s.bmc)
    assert first == (
        TrapSource(address="10.9.0.8"),
        TrapSource(address="10.9.0.9", variable="1.3.6.1.4.1.99.1", value="3"),
    )
    assert [s.value for s in second] == ["4", ""]


def test_a_profile_in_full_is_read() -> None:
    loaded = read(
        FLUX.replace(
            "[[trap_profile.trap]]", 'test = { variable = "9", value = [1, "yes"] }\n' + MORE
        )
        + 'name = "flux"\n'
        'match = { "0.7..9" = "ERROR", "2.*" = "INFO" }\n'
        'variable = "1.1"\nmask = 0xFF\nclasses = { 0x10 = "FATAL", "3..5" = "PREDICT" }\n'
        'instance = ["1.2[2:]|1.3", ".1.4"]\nmeaning = "flux {0} of {1.9}"\n'
        'clear_if = { variable = "1.5", value = 0x08, mask = 0x1C }\n'
    )
    assert not loaded.errors
    assert loaded.settings is not None
    (profile,) = loaded.settings.trap_profiles
    (family,) = profile.traps
    assert family.classes == {"16": "FATAL", "3": "PREDICT", "4": "PREDICT", "5": "PREDICT"}
    assert family.test is not None and family.test.values == ("1", "yes")
    assert family.clear_if is not None and family.clear_if.mask == 0x1C


def test_the_manuals_example_is_a_profile() -> None:
    loaded = read(TWO + TRAP_SAMPLE)
    assert not loaded.errors
    assert loaded.settings is not None
    (profile,) = loaded.settings.trap_profiles
    assert [family.name for family in profile.traps] == ["supply", "drive", ""]


def test_the_forms_of_a_variable_that_names_the_part() -> None:
    ((plain,), (cut,), (hexadecimal, second), (places,)) = instance_parts(
        ("1.6", "1.18[2:]", "1.18[0x2:] | 1.21", "6.2[#]")
    )
    assert (plain.oid, plain.skip, plain.hexadecimal, plain.places) == ("1.6", 0, False, False)
    assert (cut.oid, cut.skip, cut.hexadecimal) == ("1.18", 2, False)
    assert (hexadecimal.oid, hexadecimal.skip, hexadecimal.hexadecimal) == ("1.18", 2, True)
    assert second.oid == "1.21"
    assert (places.oid, places.places) == ("6.2", True)
    for item in ("1.6", "1.18[2:]", "1.18[0x2:]|1.21", "6.2[#]"):
        assert part_fault(item) is None
    for item in ("6.2[", "6.2[##]", "1.18[0x:]", "1.18[x2:]", "1.18[0x#]"):
        assert part_fault(item) is not None, item
