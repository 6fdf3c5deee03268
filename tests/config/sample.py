"""The sample cluster's text, and short ways to change it for one test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clptools.config.load import Loaded, loads
from clptools.core.model.settings import Settings
from clptools.registries import registries

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SAMPLE = (EXAMPLES / "sample-cluster" / "clp.toml").read_text()

TWO = """\
[[server]]
name = "server1"
[[server]]
name = "server2"
[[interconnect]]
type = "lanhb"
address = { server1 = "10.0.0.1", server2 = "10.0.0.2" }
"""
"""Two servers on one network, nothing else."""

NAMED = '[cluster]\nname = "cluster"\n' + TWO
"""The same with a name, which a `clp.conf` and `clpcfget` have."""

BMCS = """\
[[server]]
name = "server1"
bmc = { address = "10.9.0.1", user = "clp" }
[[server]]
name = "server2"
bmc = { address = "10.9.0.2", user = "clp" }
[[interconnect]]
type = "lanhb"
address = { server1 = "10.0.0.1", server2 = "10.0.0.2" }
"""
"""The same with BMCs."""

THREE = """\
[[server]]
name = "a"
[[server]]
name = "b"
[[server]]
name = "c"
[[interconnect]]
type = "lanhb"
address = { a = "10.0.0.1", b = "10.0.0.2", c = "10.0.0.3" }
"""


def with_trap_monitor(bmcs: Sequence[str], keyword_on: Sequence[str], more: str = "") -> str:
    """Two servers with those BMCs, a group, and `mrw1`, which listens at those addresses.

    `more`: further keys of `mrw1`.
    """
    servers = [
        f'[[server]]\nname = "server{number}"\nbmc = {{ address = "{bmc}", user = "clp" }}\n'
        for number, bmc in enumerate(bmcs, start=1)
    ]
    first, second = keyword_on
    return f"""\
{"".join(servers)}
[[interconnect]]
type = "lankhb"
address = {{ server1 = "127.0.1.1", server2 = "127.0.1.2" }}
[[group]]
name = "failover1"
[[monitor]]
type = "mrw"
name = "mrw1"
category = "BMCNOTICE"
keyword_on = {{ server1 = "{first}", server2 = "{second}" }}
{more}"""


def read(text: str) -> Loaded:
    """Load a text with the registries of this package."""
    return loads(text, registries())


def good(text: str) -> Settings:
    """The settings of a text without errors."""
    loaded = read(text)
    assert loaded.settings is not None, [str(report) for report in loaded.errors]
    return loaded.settings


def changed(old: str, new: str, text: str = SAMPLE) -> str:
    """The text with one place changed, which must be there."""
    assert old in text, old
    return text.replace(old, new, 1)


def errors(text: str) -> list[str]:
    """`LINE KEY: MESSAGE | HINT` of each error."""
    return [f"{r.line} {r.key}: {r.message} | {r.hint}" for r in read(text).errors]
