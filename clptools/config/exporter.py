"""A configuration as a `clp.conf` (EXPRESSCLUSTER), with what such a file cannot say.

The way back of `config/importer.py`, by the same table: what is imported from here is the same
cluster.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from clptools.config import original
from clptools.config.clpconf import Node, written
from clptools.config.document import Document
from clptools.config.edit import Configuration, Found
from clptools.config.exporter_account import Account
from clptools.config.groups import ALL_GROUPS
from clptools.config.lines import Json
from clptools.config.monitors import ACTIVE_TYPES
from clptools.config.original import rows_of
from clptools.config.variants import Registries

_URL = re.compile(r"http://(\[[^]]+\]|[^/:]+)(?::(\d+))?/?", re.ASCII)
_UNSAID = ("server_group", "trap_profile", "forced_stop")
"""Tables for which a `clp.conf` has no place that is known."""
_OURS = {"interval": 60, "timeout": 120, "retries": 0}
"""Keys of monitors -> our defaults, as a file that leaves them out means the original's."""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an export."""

    root: Node
    unsaid: tuple[str, ...]
    """What the file cannot say: objects, and keys with their values."""


def exported(config: Configuration) -> Exported:
    """The tree of a `clp.conf` that says as much of a configuration as such a file can."""
    return _Exporter(config).result()


def export_clp_conf(text: str, registries: Registries) -> tuple[bytes, tuple[str, ...]]:
    """The `clp.conf` of a `clp.toml`, and what it cannot say.

    Raises tomllib.TOMLDecodeError, and ClpError for what is no list of tables.
    """
    found = exported(Configuration(Document(text), registries))
    return written(found.root), found.unsaid


class _Exporter(Account):
    def __init__(self, config: Configuration) -> None:
        super().__init__(config)
        self._given: set[int] = set()
        """Numbers that were given to devices without one of their own."""

    def result(self) -> Exported:
        root = self.root
        root.set("all/charset", "UTF-8")
        root.set("all/serveros", "linux")
        root.set("all/encode", "UTF-8")
        self._cluster()
        for place, server in enumerate(self.config.all_of("server")):
            self._server(server, place)
        for place, link in enumerate(self.config.all_of("interconnect")):
            self._interconnect(link, place)
        for place, np in enumerate(self.config.all_of("np")):
            self._np(np, place)
        for number, group in enumerate(self.config.all_of("group")):
            self._group(group, number)
        for monitor in self.config.all_of("monitor"):
            self._monitor(monitor)
        for kind in _UNSAID:
            if kind in self.config.tables:
                self.unsaid.append(f"every {kind.replace('_', ' ')}")
        self._count()
        return Exported(root=root, unsaid=tuple(self.unsaid))

    # -- cluster, servers, interconnects ------------------------------------------------

    def _cluster(self) -> None:
        table = self.single("cluster")
        holder = self.root.make("cluster")
        holder.set("name", str(table.pop("name", "cluster")))
        action = table.get("partition_action")
        if action is None and self.config.all_of("np"):
            action = "stop"
        row = original.CLUSTER["cluster/networkpartition/npaction"]
        said = row.write(action)
        if said is not None:
            holder.set("networkpartition/npaction", said)
            table.pop("partition_action", None)
        self.left("cluster", table, "cluster")
        self._alert(holder)

    def _alert(self, holder: Node) -> None:
        table = self.single("alert")
        if "mail_to" in table:
            holder.set("mail/address", ",".join(table.pop("mail_to")))
            holder.set("mail/sendtype", "SMTP")
        relay = "mail/smtp/smtpsrv@0"
        if "smtp" in table:
            host, port = _split(str(table.pop("smtp")), "25")
            holder.set(f"{relay}/srvname", host)
            holder.set(f"{relay}/port", port)
        if "mail_from" in table:
            holder.set(f"{relay}/senderaddress", str(table.pop("mail_from")))
        version, community = table.pop("snmp_version", None), table.pop("snmp_community", None)
        for number, receiver in enumerate(table.pop("snmp_to", ())):
            host, port = _split(str(receiver), "162")
            before = f"trap/snmpsrv@{number}"
            holder.set(f"{before}/srvname", host)
            holder.set(f"{before}/port", port)
            if version is not None:
                holder.set(f"{before}/snmpver", f"v{version}")
            if community is not None:
                holder.set(f"{before}/snmpcom", str(community))
        self.left("alert", table, "alert")

    def _server(self, server: Found, place: int) -> None:
        table = self.table(server)
        node = self.root.make(f"server@{server.name}")
        node.set("priority", str(place))
        bmc = table.get("bmc", {})
        address = bmc.pop("address", None) if isinstance(bmc, dict) else None
        if address:
            self._device(server.name, "bmc", original.DEVICES["bmc"], str(address))
        table.pop("name", None)
        self.left(server.label, table, server.kind, server.table)

    def _device(self, server: str, kind: str, number: int, info: str) -> None:
        node = self.root.find(f"server@{server}")
        if node is not None:
            node.set(f"device@{number}/type", kind)
            node.set(f"device@{number}/info", info)

    def _number(self, table: Json, kind: str) -> int:
        """The number of an object's device: its own, or the first free one."""
        given = table.pop("device", None)
        if isinstance(given, int):
            return given
        objects = (*self.config.all_of("interconnect"), *self.config.all_of("np"))
        taken = [one.table.get("device") for one in objects]
        number = original.DEVICES[kind]
        while number in taken or number in self._given:
            number += 1
        self._given.add(number)
        return number

    def _interconnect(self, link: Found, place: int) -> None:
        table = self.table(link)
        kind = str(table.pop("type", ""))
        url = _URL.fullmatch(str(table.get("url", "")))
        if kind not in original.LINKS or (kind == "witnesshb" and url is None):
            self.unsaid.append(f"{link.label} ({kind})")
            return
        node = self.add("heartbeat", kind, link.name)
        device = original.HEARTBEAT_DEVICES[kind]
        number = self._number(table, device)
        node.set("priority", str(place))
        node.set("device", str(number))
        addresses = table.pop("address", {})
        if kind == "witnesshb":
            assert url is not None
            addresses = dict.fromkeys(self.servers, "1")
            node.set("host", url[1].strip("[]"))
            node.set("port", url[2] or original.DEFAULT_PORT)
            del table["url"]
        for server, address in addresses.items() if isinstance(addresses, dict) else ():
            self._device(server, device, number, str(address))
        table.pop("name", None)
        self.left(link.label, table, link.kind, link.table)

    def _np(self, np: Found, place: int) -> None:
        table = self.table(np)
        kind = str(table.pop("type", ""))
        url = _URL.fullmatch(str(table.get("url", "")))
        if kind not in ("ping", "http") or (kind == "http" and url is None):
            self.unsaid.append(f"{np.label} ({kind})")
            return
        node = self.add("networkpartition", f"{kind}np", np.name)
        number = self._number(table, kind)
        node.set("priority", str(place))
        node.set("device", str(number))
        for server in self.servers:
            self._device(server, kind, number, "1")
        if url is not None and kind == "http":
            node.set("host", url[1].strip("[]"))
            node.set("port", url[2] or original.DEFAULT_PORT)
            del table["url"]
        for index, target in enumerate(table.pop("targets", ())):
            node.set(f"grp@0/list@{index}/ip", str(target))
        table.pop("name", None)
        self.left(np.label, table, np.kind, np.table)

    # -- groups -------------------------------------------------------------------------

    def _group(self, group: Found, number: int) -> None:
        table = self.table(group)
        node = Node("group", group.name)
        self.root.children.append(node)
        self.rows(node, table, rows_of("group"))
        self._waits(node, table)
        if self._said_apart() and table.pop("exclusive_with", ()):
            codes = {word: code for code, word in original.EXCLUSIVE.items()}
            node.set("exclusive", codes[str(table.pop("exclusive", "absolute"))])
        node.set("gid", str(number))
        for place, server in enumerate(table.pop("servers", ())):
            node.set(f"policy@{server}/order", str(place))
        for one in self.config.all_of("resource"):
            if one.owner == group.name and self._resource(one):
                kind = one.table["type"]
                node.children.append(Node("resource", f"{kind}@{one.name}"))
        for key in ("name", "type", "resource"):
            table.pop(key, None)
        self.left(group.label, table, group.kind, group.table)

    def _waits(self, node: Node, table: Json) -> None:
        for name in table.pop("start_after", ()):
            node.make(f"depend/act/depend@{name}")
        for name in table.pop("start_after_same_server", ()):
            node.set(f"depend/act/depend@{name}/sameserver", "1")
        for name in table.pop("stop_after", ()):
            node.make(f"depend/deact/depend@{name}")
        if "stop_after_at" in table:
            stops = table.pop("stop_after_at")
            for stop, (word, _) in original.STOPS.items():
                node.set(f"depend/deact/{stop}/use", str(int(word in stops)))

    def _said_apart(self) -> bool:
        """Whether groups that are kept apart all are so from each other, as in a `clp.conf`."""
        apart: dict[str, set[str]] = {}
        for group in self.config.all_of("group"):
            others = group.table.get("exclusive_with")
            for other in others if isinstance(others, list) else ():
                apart.setdefault(group.name, set()).add(str(other))
        return all(others == set(apart) - {name} for name, others in apart.items())

    def _resource(self, resource: Found) -> bool:
        """Whether the file can say it."""
        table = self.table(resource)
        kind = str(table.pop("type", ""))
        if kind not in original.RESOURCES:
            self.unsaid.append(f"{resource.label} ({kind})")
            return False
        node = self.add("resource", kind, resource.name)
        if kind != "exec":
            table.setdefault("start_retries", 0)
        else:
            self._times(node, table)
            if table.pop("background", False):
                node.set("parameters/act/sync", "0")
        if kind == "fip":
            self._floating(node, table)
        self.rows(node, table, rows_of("resource", kind))
        for one in table.get("depends", ()):
            node.children.append(Node("depend", str(one)))
        if table.get("depends") or kind == "fip":
            table.pop("depends", None)
        table.pop("name", None)
        self.left(resource.label, table, resource.kind, resource.table)
        return True

    def _times(self, node: Node, table: Json) -> None:
        row = original.number("timeout")
        start = table.pop("timeout", original.SCRIPT_TIMEOUT_S)
        stop = table.pop("stop_timeout", start)
        for op, value in (("start", start), ("stop", stop)):
            if value != original.SCRIPT_TIMEOUT_S and (said := row.write(value)) is not None:
                node.set(f"parameters/timeout/{op}", said)

    def _floating(self, node: Node, table: Json) -> None:
        """The address with its interface, and those of single servers."""
        address, interface = str(table.get("address", "")), table.get("interface", "")
        if not address:
            return
        addresses = table.pop("address_on", {})
        interfaces = table.pop("interface_on", {})
        if isinstance(interface, dict):
            interfaces, interface = {**interface, **interfaces}, ""
        table.pop("interface", None)
        table["address"] = f"{address}%{interface}" if interface else address
        for server in self.servers:
            if server in addresses or server in interfaces:
                own = interfaces.get(server, interface)
                of_it = addresses.get(server, address)
                said = f"{of_it}%{own}" if own else of_it
                node.set(f"server@{server}/parameters/ip", said)

    # -- monitors -----------------------------------------------------------------------

    def _monitor(self, monitor: Found) -> None:
        table = self.table(monitor)
        kind = str(table.pop("type", ""))
        if kind not in original.MONITORS:
            self.unsaid.append(f"{monitor.label} ({kind})")
            return
        node = self.add("monitor", kind, monitor.name)
        if kind in original.POLLING:
            table = {**_OURS, **table}
        if table.get("target"):
            table.setdefault("timing", "active" if kind in ACTIVE_TYPES else "always")
        if kind == "userw":
            method = str(table.pop("method", "guard"))
            node.set("parameters/method", "keepalive" if method == "guard" else method)
        for number, server in enumerate(table.pop("servers", ())):
            node.set(f"polling/servers@{number}/name", str(server))
        if table.get("target"):
            node.set("target", str(table.pop("target")))
        if kind == "genw" and "normal" in table:
            normal = table.pop("normal")
            values = normal if isinstance(normal, list) else [normal]
            node.set("parameters/normalval", ",".join(map(str, values)))
        if kind == "ipw":
            self._targets(node, table)
        self.rows(node, table, rows_of("monitor", kind))
        if kind != "userw":
            self._recovery(node, table.setdefault("recovery", {}))
        table.pop("name", None)
        self.left(monitor.label, table, monitor.kind, monitor.table)

    def _targets(self, node: Node, table: Json) -> None:
        for number, target in enumerate(table.pop("targets", ())):
            node.set(f"parameters/list@{number}/ip", str(target))
        for server, targets in table.pop("targets_on", {}).items():
            given = targets.split(",") if isinstance(targets, str) else targets
            for number, target in enumerate(given):
                node.set(f"server@{server}/parameters/list@{number}/ip", str(target).strip())

    def _recovery(self, node: Node, table: Json) -> None:
        action = table.pop("action", "final")
        target = str(table.pop("target", ""))
        if not target and action in ("restart", "failover"):
            target = ALL_GROUPS
        if target != ALL_GROUPS:
            kind = "cls" if not target else "grp" if target in self.config.names("group") else "rsc"
            node.set("relation/type", kind)
            node.set("relation/name", target or "LocalServer")
        restarts = table.pop("restart_count", None)
        failovers = table.pop("failover_count", None)
        script = table.pop("script", "")
        if action == "script":
            node.set("emergency/threshold/script", "1")
            node.set("emergency/preaction/path", str(script))
        elif action != "restart":
            restarts = 0
        if action == "final":
            failovers = 0
        self._thresholds(node, target, restarts, failovers)
        said = original.code("", original.FINAL_ACTIONS).write(table.pop("final_action", "none"))
        if said is not None:
            node.set("emergency/action", said)
        before = table.get("pre_action_script")
        if before and (action != "script" or before == script):
            node.set("emergency/preaction/path", str(table.pop("pre_action_script")))
            for use in ("use", "userestart", "usefailover"):
                node.set(f"emergency/preaction/{use}", "1")

    def _thresholds(self, node: Node, target: str, restarts: Any, failovers: Any) -> None:
        defaults = {"restart": original.RESTARTS, "fo": original.FAILOVERS}
        for tag, value in (("restart", restarts), ("fo", failovers)):
            if target or value is not None:
                said = defaults[tag] if value is None else value
                node.set(f"emergency/threshold/{tag}", str(said))

    def _count(self) -> None:
        """The editor's count of objects: measured on public files."""
        servers = len(self.servers)
        of_each = [len(self.config.all_of(kind)) for kind in ("interconnect", "np")]
        others = [len(self.config.all_of(kind)) for kind in ("group", "resource", "monitor")]
        count = servers + servers * sum(of_each) + sum(others) + 4
        self.root.set("webmgr/client/objectnumber", str(count))


def _split(endpoint: str, port: str) -> tuple[str, str]:
    """Host and port of `HOST`, `HOST:PORT` or `[IPv6]:PORT`."""
    if endpoint.startswith("["):
        host, _, rest = endpoint[1:].partition("]")
        return host, rest.removeprefix(":") or port
    if endpoint.count(":") == 1:
        host, _, given = endpoint.partition(":")
        return host, given
    return endpoint, port
