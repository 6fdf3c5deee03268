"""`docs/from-expresscluster.md`, from the table of the original's parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module

from clptools.cli.registry import COMMANDS
from clptools.config import original
from clptools.config.groups import REFUSED_GROUPS
from clptools.config.offers import AGENTS, CHECKS, INSTEAD, MIRRORS
from clptools.config.original import Row
from clptools.config.variants import REFUSED

_HEAD = """\
# From EXPRESSCLUSTER

This page is for anyone who brings a configuration, a script or a habit from EXPRESSCLUSTER X. The
tables are generated from those that translate a `clp.conf` (`python -m clptools.cli.generate`).

## Bring a configuration over

1. Copy `clp.conf` and `scripts/` of the original (below `/opt/nec/clusterpro`) into one folder.
2. `clpcfctrl --import FOLDER -x NEW` writes `NEW/clp.toml` and copies the scripts, whose layout is
   the same.
3. Read its output. Each parameter is *carried*, or named with its value. *equivalent*: clptools
   does it in another way, and nothing is lost. *needs your decision*: the text says what to decide.
   *lost*: there is no equivalent. They are counted at the end.
4. Disks, volume groups, cloud addresses and the monitors of databases are not types of clptools:
   an agent or a script does their work. `NEW/clp.toml` has text for them, as comments, with every
   value of the file. Values that the file does not have are named there as missing. To use such a
   block, remove the first `#` of each of its lines. [storage.md](storage.md) says how to build and
   test such a group.
5. Set the accounts of the BMCs with `clpbmccnf`: a `clp.conf` has them in no readable form.
6. `clpcfchk NEW` says whether the configuration fits together and what it can prove.
   `clpcfctrl --push -x NEW` puts it in force.

The order of elements does not matter. A file of EXPRESSCLUSTER for Windows is refused unless
`--force` is given.

## Scripts that build or edit a configuration

`clpcfset` takes the original's words, in any order and any number of times, and gives the same
result as an import. If nothing is lost, or somebody has to decide, it ends with 0 and a note. If
something is lost, it ends with 8 and the reason, so that a script under `sh -e` stops only there.
If an agent or a script of `genw` does the work of a type, it prints the text that an import would
write as a comment, and does not write it: put that text into `clp.toml` yourself.

A script that edits a `clp.conf` with `sed`, or reads it with `xmllint`, works on an export:

```
clpcfctrl --export clp.conf
sed -i 's/192.0.2.9/192.0.2.10/' clp.conf
clpcfctrl --import clp.conf --merge -x /etc/clptools
clpcfctrl --push
```

`--export` names the parts that such a file cannot hold. With `--merge`, these parts stay unchanged
in `clp.toml`.

## Scripts that call commands

Commands have the original's names, and `clpstat` has its columns. For scripts that name the
original's paths and units (`/opt/nec/clusterpro/bin`, `clusterpro_webmgr`), `clpcompat --install`
makes them, and `clpcompat --remove` removes them. These commands exist only for scripts, or differ
most from the original:

"""
_PARAMETERS = """\
## Parameters

`-` means that the parameter sets no key; the remark gives the reason. A parameter that is in none
of the tables has no equivalent.
"""
_FOR_SCRIPTS = (
    "clpbackup", "clpcfadm", "clpcfget", "clpencrypt", "clpforcestop", "clpfwctrl", "clplcnsc",
    "clpmdctrl", "clpmdstat", "clpperfc", "clpperfchk", "clprestore", "clpsvcctrl", "clptrnreq",
)  # fmt: skip
"""Commands of the original whose summary somebody who has its scripts should read."""
_TITLES = {
    "cluster": "The cluster, and what belongs to no object",
    "server": "Servers",
    "group": "Groups",
    "resource": "Group resources",
    "monitor": "Monitors",
}
_MORE = {
    "server": (
        ("priority", "its place in the file", ""),
        ("device@ID", "[[interconnect]] address, [server.bmc] address", ""),
    ),
    "group": (
        ("policy@SERVER/order", "servers", "in this order"),
        ("depend/act/depend@GROUP", "start_after", "with sameserver 1: start_after_same_server"),
        ("depend/deact/depend@GROUP", "stop_after", ""),
        ("depend/deact/cluster, server, other/use", "stop_after_at", ""),
        ("exclusive", "exclusive_with, exclusive", "from all groups that are exclusive"),
    ),
    "resource": (
        ("depend@RESOURCE", "depends", "one that is not carried is replaced by what it depends on"),
        ("exec: parameters/timeout/start", "timeout", ""),
        ("exec: parameters/timeout/stop", "stop_timeout", "if it differs"),
        ("exec: parameters/act/sync", "background", "0 is true"),
        ("fip: parameters/ip", "address, interface", "the interface is behind %"),
    ),
    "monitor": (
        ("target", "target", "its group, if the resource is not carried"),
        ("polling/servers@ID/name", "servers", ""),
        ("relation/name", "recovery.target", "LocalServer: none"),
        ("emergency/threshold/restart", "recovery.restart_count", ""),
        ("emergency/threshold/fo", "recovery.failover_count", ""),
        ("emergency/threshold/script", "recovery.script", "the file of preaction/path"),
        ("emergency/action", "recovery.final_action", ""),
        ("emergency/preaction/use, path", "recovery.pre_action_script", "before every step"),
        ("ipw: parameters/list@ID/ip", "targets", "for single servers: targets_on"),
        ("genw: parameters/normalval", "normal", ""),
        ("genw: parameters/sync", "-", "0 needs your decision: the monitor waits for its script"),
    ),
}  # fmt: skip
"""What code reads, because several parameters make one key."""


def original_page() -> str:
    """The text of the page."""
    summaries = [
        (f"`{name}`", import_module(COMMANDS[name]).COMMAND.summary) for name in _FOR_SCRIPTS
    ]
    parts = [_HEAD + _table(("command", "does"), summaries), _PARAMETERS]
    for section, title in _TITLES.items():
        rows = [
            *((f"`{tag}`", f"`{key}`" if key != "-" else key, why)
              for tag, key, why in _MORE.get(section, ())),
            *(
                _line("", tag, row)
                for tag, row in original.SECTIONS[section].items()
                if tag not in (*original.EMPTY, "priority")
            ),
        ]  # fmt: skip
        types = {"resource": original.RESOURCE_TYPES, "monitor": original.MONITOR_TYPES}
        for kind, own in types.get(section, {}).items():
            rows += [_line(f"{kind}: ", tag, row) for tag, row in own.items()]
        parts.append(f"### {title}\n\n{_table(('parameter', 'key', 'remark'), rows)}")
    parts.append("## Values that a `clp.conf` leaves out\n\n" + _OURS)
    polling = [(kind, *map(str, times)) for kind, times in original.POLLING.items()]
    parts.append(_table(("monitor", "interval", "timeout", "retries"), polling))
    actions = [(code, f"`{word}`") for code, word in original.FINAL_ACTIONS.items()]
    parts.append(f"## Final actions\n\n{_table(('code', 'final_action'), actions)}")
    parts.append(
        f"## What agents do\n\n{_AGENTS}\n{_table(('type', 'agent', 'parameters'), _agents())}"
    )
    parts.append(_table(("monitor", "instead"), _checks()))
    parts.append(f"## What is not carried\n\n{_table(('type', 'why', 'instead'), _types())}")
    return "\n".join(parts)


_OURS = """\
A file contains only values that differ from the original's defaults, and public pages do not
document all of these defaults. The import therefore writes out values that clptools chose, and
says so: the prefix length of a floating address without one (24, IPv6 128), and these values of
monitors:
"""


def _line(before: str, tag: str, row: Row) -> tuple[str, ...]:
    tag = f"{tag}…" if tag.endswith("/") else tag
    name = f"`{before}{tag}`"
    if not row.key:
        only = f" ({row.same} is carried)" if row.same is not None else ""
        return name, "-", f"{row.grade}: {row.why}{only}"
    remark = f"{row.unit:,} are 1" if row.unit > 1 else ""
    if row.codes:
        remark = ", ".join(f"{code} {word}" for code, word in row.codes.items())
        remark = "see below" if len(row.codes) > 4 and row.key == "final_action" else remark
    if row.by_server:
        remark = f"for single servers: `{row.key}_on`"
    return name, f"`{row.key}`", remark


_AGENTS = """\
The import and `clpcfset` offer these as text. Each parameter is followed by the tag path that fills
it in. A parameter that no `clp.conf` contains is *missing*.
"""


def _agents() -> Iterator[tuple[str, str, str]]:
    special = {f"{kind} ({tag} = {value})": one for (kind, tag, value), one in INSTEAD.items()}
    for kind, agent in {**AGENTS, **special}.items():
        if isinstance(agent, str):
            yield f"`{kind}`", "-", agent
            continue
        filled = [f"{name} (`{tag}`)" for name, tag in {**agent.parameters, **agent.keys}.items()]
        filled += [f"{name} (missing)" for name in agent.needs if name not in agent.parameters]
        yield f"`{kind}`", f"`{agent.name}`", ", ".join(filled)


def _checks() -> Iterator[tuple[str, str]]:
    alike: dict[str, list[str]] = {}
    for kind, check in CHECKS.items():
        how = f"ocfw: the monitor of the agent of {', '.join(check.of)}"
        if not check.of:
            agents = " or ".join(f"`{one}`" for one in check.agents)
            how = f"a script of genw{f', or monitor_interval of {agents}' if agents else ''}"
        alike.setdefault(how, []).append(f"`{kind}`")
    for how, kinds in alike.items():
        yield ", ".join(kinds), how


def _types() -> Iterator[tuple[str, str, str]]:
    alike: dict[tuple[str, str, str], list[str]] = {}
    for what, types in REFUSED.items():
        for kind, (reason, mend) in types.items():
            offered = kind in AGENTS.keys() - MIRRORS or kind in CHECKS
            if what != "np" and not offered:
                alike.setdefault((what, reason, mend), []).append(f"`{kind}`")
    for (what, reason, mend), kinds in alike.items():
        yield f"{what} {', '.join(kinds)}", reason, mend
    for kind, reason in REFUSED_GROUPS.items():
        yield f"group `{kind}`", reason, ""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"
