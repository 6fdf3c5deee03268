"""The firewall of this host: which one filters, and what opens a port in it.

firewalld gets a service `clusterpro`, the original's name, which scripts ask for.  Where plain
nftables filters, a rule goes into each chain that filters input: an accept elsewhere would not
keep such a chain from dropping.  Tables of iptables and of ufw are left to their own programs.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from clptools.faults import ClpError, ExitCode

SERVICE = "clusterpro"
COMMENT = "clptools"
"""Marks the rules that are ours."""


class Port(NamedTuple):
    """A port that the others must reach."""

    protocol: str
    number: int

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


class Step(NamedTuple):
    """One command, as it is shown and run."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(f"'{word}'" if set(word) & set(' {};"') else word for word in self.words)


class Plan(NamedTuple):
    """What is to be done, and what it is for."""

    firewall: str
    """`firewalld`, `nftables`, or empty: nothing filters."""
    steps: tuple[Step, ...]
    lasts: bool = True
    """Whether it outlives a boot."""


def plan(ports: Sequence[Port], *, add: bool) -> Plan:
    """What opens these ports, or takes back what opened them.  Raises ClpError."""
    if _runs("firewall-cmd", "--quiet", "--state"):
        return Plan("firewalld", tuple(_firewalld(ports, add=add)))
    chains = tuple(_chains())
    steps = tuple(_open(chains, ports)) if add else tuple(_close())
    return Plan("nftables" if chains else "", steps, lasts=False)


def carry_out(found: Plan) -> None:
    """Runs the steps.  Raises ClpError at the first that fails."""
    for step in found.steps:
        ran = _run(*step.words)
        if ran is None or ran.returncode != 0:
            why = "not installed" if ran is None else (ran.stderr.strip() or ran.stdout.strip())
            raise ClpError(ExitCode.FAILED, f"{step}: {why}", "What came before it is done.")


# ---------------------------------------------------------------------- firewalld


def _firewalld(ports: Sequence[Port], *, add: bool) -> Iterator[Step]:
    """The permanent configuration, then a reload; nothing where all is so already."""
    lasting = ("firewall-cmd", "--permanent")
    there = SERVICE in _said(*lasting, "--get-services").split()
    if not add:
        if there:
            if _runs(*lasting, f"--query-service={SERVICE}"):
                yield Step((*lasting, f"--remove-service={SERVICE}"))
            yield Step((*lasting, f"--delete-service={SERVICE}"))
            yield Step(("firewall-cmd", "--reload"))
        return
    has = set(_said(*lasting, f"--service={SERVICE}", "--get-ports").split()) if there else set()
    steps = [] if there else [Step((*lasting, f"--new-service={SERVICE}"))]
    steps += [
        Step((*lasting, f"--service={SERVICE}", f"--add-port={port}"))
        for port in ports
        if str(port) not in has
    ]
    if not there or not _runs(*lasting, f"--query-service={SERVICE}"):
        steps.append(Step((*lasting, f"--add-service={SERVICE}")))
    if steps:
        yield from (*steps, Step(("firewall-cmd", "--reload")))


# ---------------------------------------------------------------------- nftables


class _Chain(NamedTuple):
    family: str
    table: str
    name: str


def _chains() -> Iterator[_Chain]:
    """The chains that filter what comes in to this host.  Raises ClpError for those of others."""
    for chain in _nft("chain"):
        if chain.get("hook") != "input" or chain.get("type") != "filter":
            continue
        family, table, name = (str(chain[key]) for key in ("family", "table", "name"))
        if family not in ("inet", "ip", "ip6"):
            continue
        if name == "INPUT":
            raise ClpError(
                ExitCode.REFUSED,
                f"The table {family} {table} is that of iptables or ufw: it is left to them.",
                "Open the ports there, as: ufw allow 29002; ufw allow 162/udp",
            )
        yield _Chain(family, table, name)


def _open(chains: Sequence[_Chain], ports: Sequence[Port]) -> Iterator[Step]:
    there = {(chain, port) for chain, port, _ in _ours()}
    for chain in chains:
        for port in ports:
            if (chain, port) not in there:
                rule = (port.protocol, "dport", str(port.number), "accept")
                yield Step(("nft", "insert", "rule", *chain, *rule, "comment", f'"{COMMENT}"'))


def _close() -> Iterator[Step]:
    for where, _, handle in _ours():
        yield Step(("nft", "delete", "rule", *where, "handle", str(handle)))


def _ours() -> Iterator[tuple[_Chain, Port, int]]:
    """Chain, port and handle of our rules."""
    for rule in _nft("rule"):
        if rule.get("comment") != COMMENT:
            continue
        family, table, chain = (str(rule[key]) for key in ("family", "table", "chain"))
        match = next((one["match"] for one in rule["expr"] if "match" in one), None)
        if match is None or "payload" not in match["left"]:
            continue
        if not isinstance(match["right"], int):  # somebody's own rule, of several ports
            continue
        port = Port(str(match["left"]["payload"]["protocol"]), int(match["right"]))
        yield _Chain(family, table, chain), port, int(rule["handle"])


def _nft(kind: str) -> Iterator[dict[str, Any]]:
    """All objects of a kind in the rule set; none where nft is not installed."""
    ran = _run("nft", "-j", "-a", "list", "ruleset")
    if ran is None:
        return
    if ran.returncode != 0:
        raise ClpError(ExitCode.NOT_PERMITTED, f"nft: {ran.stderr.strip()}", "Run it as root.")
    for one in json.loads(ran.stdout)["nftables"]:
        if kind in one:
            yield one[kind]


# ---------------------------------------------------------------------- programs


def _run(*words: str) -> subprocess.CompletedProcess[str] | None:
    """None: the program is not installed."""
    try:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None


def _runs(*words: str) -> bool:
    ran = _run(*words)
    return ran is not None and ran.returncode == 0


def _said(*words: str) -> str:
    ran = _run(*words)
    return ran.stdout if ran is not None and ran.returncode == 0 else ""
