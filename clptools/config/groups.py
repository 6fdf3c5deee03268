"""Reading `[[server_group]]`, `[[group]]` and `[[group.resource]]`."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import msgspec

from clptools.common.ocf import ADDRESS, SERVICE, place
from clptools.config import fields
from clptools.config.field import near
from clptools.config.servers import note_keepalive
from clptools.config.table import Names, Source, Table, build, elements, known_servers
from clptools.config.typed_tables import options_of, variant
from clptools.config.variants import Registries
from clptools.core.model.settings import Group, Resource, ServerGroup

ALL_GROUPS = "All Groups"

_PLACES = {"fip": ADDRESS, "service": SERVICE, "exec": SERVICE + 10}
"""Without `depends`, a resource depends on those of its group whose place is before its own;
`ocf` has one for each agent."""

REFUSED_GROUPS = {
    "cluster": "there is no management group: commands answer on every server",
    "virtualmachine": "groups of virtual machines are not carried",
}


def read_server_groups(
    source: Source, document: dict[str, object], servers: tuple[str, ...]
) -> tuple[ServerGroup, ...]:
    """`[[server_group]]`."""
    names = Names("a server group")
    found: list[ServerGroup] = []
    for table in elements(source, document, "server_group"):
        group = build(ServerGroup, table.read(fields.SERVER_GROUP))
        known_servers(table, "servers", group.servers, servers)
        if names.take(table, group.name):
            found.append(group)
    return tuple(found)


class _Groups:
    """The groups read so far; groups and resources share the names of recovery targets."""

    def __init__(
        self,
        source: Source,
        registries: Registries,
        servers: tuple[str, ...],
        server_groups: tuple[ServerGroup, ...],
    ) -> None:
        self.source = source
        self.registries = registries
        self.servers = servers
        self.server_groups = {group.name: group for group in server_groups}
        self.names = Names("a group or group resource")

    def read(self, table: Table) -> Group:
        values = table.read(fields.GROUP, inner=("resource",))
        name = str(values["name"])
        if name == ALL_GROUPS:
            table.error("name", "means all of them; choose another")
        self.names.take(table, name)
        kind = str(values["type"])
        if kind != "failover":
            reason = REFUSED_GROUPS.get(kind, "no such group type")
            table.error("type", reason, 'Write type = "failover", or leave it out.')
        inside = self._server_groups(table, values["server_groups"])
        return build(
            Group,
            values,
            servers=self._servers(table, values["servers"], inside),
            server_groups=tuple(group.name for group in inside),
            resources=self._resources(table, name),
        )

    def _server_groups(self, table: Table, given: object) -> list[ServerGroup]:
        found: list[ServerGroup] = []
        for index, name in enumerate(given if isinstance(given, tuple) else ()):
            if name in self.server_groups:
                found.append(self.server_groups[name])
            else:
                hint = near(name, self.server_groups) or "Add [[server_group]] tables."
                table.error("server_groups", f'no such server group "{name}"', hint, (index,))
        return found

    def _servers(self, table: Table, given: object, inside: list[ServerGroup]) -> tuple[str, ...]:
        within = tuple(dict.fromkeys(s for group in inside for s in group.servers))
        if not isinstance(given, tuple):
            return within or self.servers
        known_servers(table, "servers", given, self.servers)
        for index, server in enumerate(given):
            if within and server in self.servers and server not in within:
                text = f"{server} is in none of the group's server groups"
                table.error("servers", text, "A failover would never reach it.", (index,))
        return given

    # -- resources ----------------------------------------------------------------------

    def _resources(self, group: Table, group_name: str) -> tuple[Resource, ...]:
        read: list[tuple[Table, Resource]] = []
        for inner in group.many("resource"):
            given = inner.raw.get("name")
            name = given if isinstance(given, str) and given else str(len(read) + 1)
            table = Table(
                self.source,
                inner.path,
                inner.raw,
                f"group resource {name}",
                f"group.{group_name}.resource.{name}",
            )
            resource = self._resource(table, group_name)
            if resource is not None:
                read.append((table, resource))
        return self._ordered([self._with_depends(one, read) for one in read])

    def _resource(self, table: Table, group_name: str) -> Resource | None:
        own = variant(table, "group resource", self.registries.resources)
        if own is None:
            return None
        values = table.read(fields.RESOURCE, own)
        self.names.take(table, str(values["name"]))
        note_keepalive(table, "final_action", str(values["final_action"]))
        timeout = values.pop("timeout_ms")
        stop_timeout = values.pop("stop_timeout_ms") or timeout
        depends = values.pop("depends")
        options = options_of(table, values, own, self.servers)
        prepare = str(values.pop("prepare", "") or "")
        if prepare and not prepare.startswith("/"):
            prepare = f"{group_name}/{values['name']}/{prepare}"
        return build(
            Resource,
            values,
            depends=depends if depends is not None else (),
            start_timeout_ms=timeout,
            stop_timeout_ms=stop_timeout,
            migrate_timeout_ms=timeout,
            migrates=bool(values.get("migrate")),
            prepare=prepare,
            prepare_timeout_ms=timeout,
            options=options,
        )

    def _with_depends(
        self, one: tuple[Table, Resource], group: list[tuple[Table, Resource]]
    ) -> tuple[Table, Resource]:
        """The resource with its default dependencies, or with its own checked."""
        table, resource = one
        others = [r for _, r in group if r is not resource]
        if "depends" not in table.raw:
            before = tuple(r.name for r in others if _rank(r) < _rank(resource))
            return table, msgspec.structs.replace(resource, depends=before)
        names = [r.name for r in others]
        for index, name in enumerate(resource.depends):
            if name == resource.name:
                table.error("depends", "a resource cannot depend on itself", at=(index,))
            elif name not in names:
                text = f'no such resource in this group: "{name}"'
                table.error("depends", text, near(name, names), (index,))
        return table, resource

    def _ordered(self, group: list[tuple[Table, Resource]]) -> tuple[Resource, ...]:
        """In an order that respects `depends`, else as written; a cycle is an error."""
        by_name = {resource.name: resource for _, resource in group}
        graph = {
            name: [d for d in resource.depends if d in by_name and d != name]
            for name, resource in by_name.items()
        }
        sorter = TopologicalSorter(graph)
        try:
            sorter.prepare()
        except CycleError as cycle:
            names = list(reversed(cycle.args[1]))
            table = next(t for t, resource in group if resource.name == names[0])
            table.error("depends", f"goes round in a circle: {' needs '.join(names)}")
            return tuple(resource for _, resource in group)
        ordered: list[str] = []
        while sorter.is_active():
            ready = sorted(sorter.get_ready(), key=list(by_name).index)
            ordered += ready
            sorter.done(*ready)
        return tuple(by_name[name] for name in ordered)


def _rank(resource: Resource) -> int:
    if resource.type == "ocf":
        return place(str(resource.options.get("agent")))
    return _PLACES.get(resource.type, SERVICE)


def read_groups(
    source: Source,
    document: dict[str, object],
    registries: Registries,
    servers: tuple[str, ...],
    server_groups: tuple[ServerGroup, ...],
) -> tuple[Group, ...]:
    """`[[group]]`, best first."""
    groups = _Groups(source, registries, servers, server_groups)
    read = [(table, groups.read(table)) for table in elements(source, document, "group")]
    known = [group.name for _, group in read]
    for table, group in read:
        for key in ("start_after", "start_after_same_server", "stop_after", "exclusive_with"):
            _known_groups(table, key, group, known)
    _no_circle(read, "start_after", "start_after_same_server")
    _no_circle(read, "stop_after")
    return tuple(group for _, group in read)


def _known_groups(table: Table, key: str, group: Group, known: list[str]) -> None:
    for index, name in enumerate(getattr(group, key)):
        if name == group.name:
            table.error(key, "names the group itself", "Name other groups, or none.", (index,))
        elif name not in known:
            others = [other for other in known if other != group.name]
            table.error(key, f'no such group "{name}"', near(name, others), (index,))


def _no_circle(read: list[tuple[Table, Group]], *keys: str) -> None:
    """Groups that wait for each other in a circle would never start, or stop only by time."""
    graph = {
        group.name: {n for key in keys for n in getattr(group, key) if n != group.name}
        for _, group in read
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        names = list(reversed(cycle.args[1]))
        table, group = next(one for one in read if one[1].name == names[0])
        key = next(key for key in keys if names[1] in getattr(group, key))
        text = f"goes round in a circle: {' waits for '.join(names)}"
        table.error(key, text, f"Take {names[1]} out of it, or one of the others out of theirs.")
