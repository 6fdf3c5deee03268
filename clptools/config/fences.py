"""Reading `[[fence]]`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from clptools.config import fence_agents as agents
from clptools.config.fields_of_fences import FENCE
from clptools.config.table import Names, Source, Table, elements, known_servers
from clptools.core.model.settings import FenceAgent, Server


def with_fences(
    source: Source, document: dict[str, object], servers: tuple[Server, ...]
) -> tuple[Server, ...]:
    """The servers, each with its fence agents by `order`."""
    reader = _Fences(tuple(server.name for server in servers))
    for table in elements(source, document, "fence"):
        reader.read(table)
    return tuple(
        msgspec.structs.replace(
            server, fences=tuple(sorted(reader.of.get(server.name, ()), key=lambda f: f.order))
        )
        for server in servers
    )


class _Fences:
    def __init__(self, servers: tuple[str, ...]) -> None:
        self.servers = servers
        self.names = Names("a fence agent")
        self.of: dict[str, list[FenceAgent]] = {}
        self.taken: dict[tuple[object, ...], str] = {}
        """Agent and parameters -> the server that they switch."""

    def read(self, table: Table) -> None:
        values = table.read(FENCE)
        name, agent = str(values["name"]), str(values["agent"])
        if name and not self.names.take(table, name):
            return
        given = values["servers"] if isinstance(values["servers"], tuple) else self.servers
        known_servers(table, "servers", given if "servers" in table.raw else (), self.servers)
        common = values["parameters"] if isinstance(values["parameters"], dict) else {}
        on: dict[str, dict[str, str]] = {}
        flat = values["parameters_on"] if isinstance(values["parameters_on"], dict) else {}
        for key, value in flat.items():
            server, _, parameter = key.partition("/")
            on.setdefault(server, {})[parameter] = value
        known_servers(table, "parameters_on", on, self.servers)
        for server in on:
            if server in self.servers and server not in given:
                hint = f'Add "{server}" to servers, or leave it out here.'
                table.error("parameters_on", "is none of servers", hint, (server,))
        if agent in agents.NO_PROOF:
            table.error("agent", agents.NO_PROOF[agent], "Choose an agent that switches the power.")
        self._refused(table, "parameters", agent, common, ())
        for server, own in on.items():
            self._refused(table, "parameters_on", agent, own, (server,))
        for server in given:
            if server not in self.servers:
                continue
            fence = FenceAgent(
                name=name,
                agent=agent,
                parameters=merged(_given(agent), merged(common, on.get(server, {}))),
                password_file=str(values["password_file"] or ""),
                order=int(str(values["order"])),
                poll=bool(values["poll"]),
                timeout_ms=int(str(values["timeout_ms"])),
            )
            if agent not in agents.NO_PROOF:
                self._own(table, fence, server)
            self.of.setdefault(server, []).append(fence)

    def _refused(
        self, table: Table, key: str, agent: str, given: Mapping[str, str], at: tuple[str, ...]
    ) -> None:
        """Parameters that would reboot, or take the proof away."""
        for name, value in given.items():
            known = agents.present_name(name)
            word = "1" if value.lower() in agents.TRUE else value.lower()
            if (known, word) in agents.UNSAFE:
                table.error(key, agents.UNSAFE[known, word], "Leave it out.", (*at, name))
            if agent in agents.IN_ENGLISH and (
                (known == "ssh_options" and "LC_ALL=C" not in value)
                or (known == "ssh" and word in agents.FALSE)
            ):
                text = f"{agent} would take words of another language for off"
                hint = "Leave it out, or have LC_ALL=C in ssh_options, as it is by default."
                table.error(key, text, hint, (*at, name))
        if agent in agents.CYCLES and key == "parameters" and given.get("method") != "onoff":
            table.error(
                key,
                f"{agent} would cycle, which never shows off",
                'Add method = "onoff".',
            )

    def _own(self, table: Table, fence: FenceAgent, server: str) -> None:
        """Two servers that one call would switch: a forced stop would hit the wrong one."""
        given = {agents.present_name(k): v for k, v in fence.parameters.items()}
        call = (fence.agent, *sorted(given.items()))
        other = self.taken.setdefault(call, server)
        if other != server:
            table.error(
                "parameters_on",
                f"{server} and {other} have the same parameters, so they are the same plug",
                f'Write parameters_on = {{ {server} = {{ plug = "…" }} }}.',
            )


def _given(agent: str) -> dict[str, str]:
    """What it is told unless the configuration says otherwise."""
    words = agents.IN_ENGLISH.get(agent)
    return {} if words is None else {"ssh_options": words}


def merged(common: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The parameters for one server; an older name gives way to the present one."""
    names = {agents.present_name(name) for name in own}
    kept = {k: v for k, v in common.items() if agents.present_name(k) not in names}
    return {**kept, **own}
