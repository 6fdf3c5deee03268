"""A `clp.conf` (EXPRESSCLUSTER) as the tables of `clp.toml`, with what became of each parameter.

What a parameter is here stands in `config/original.py`.  Only what differs from the original's
defaults is in a `clp.conf`, so those that are not ours are written out.  Each leaf of the file ends
in one `Entry`; the order of elements never matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from clptools.config import original
from clptools.config.clpconf import Node, number, parsed, spelled
from clptools.config.document import rendered
from clptools.config.fip_address import fip_address
from clptools.config.groups import ALL_GROUPS, REFUSED_GROUPS
from clptools.config.monitors import is_driver_category
from clptools.config.original import Grade, NotCarried, row_of
from clptools.config.original_alerts import alerts
from clptools.config.translation import Entry, Remark, Translation, reports_of
from clptools.config.variants import REFUSED
from clptools.reports import Report

_BEFORE = "emergency/preaction/"
_USES = ("userestart", "usefailover", "use")
"""Whether the script runs before a restart, a failover, the final action."""
_POLLING = {"interval": "interval", "timeout": "timeout", "reconfirmation": "retries"}


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an import."""

    text: str
    """A `clp.toml`; still to be loaded and checked."""
    reports: tuple[Report, ...] = ()
    """What was not carried, or is our choice."""
    counts: dict[Grade, int]
    """How many parameters came to which grade."""
    windows: bool = False


def import_clp_conf(data: bytes, file: str = "clp.conf") -> Imported:
    """Translate a `clp.conf`.

    Raises:
        ClpError: it is no such file (too large, not XML, another root, an unknown encoding).
    """
    found = translated(parsed(data, file))
    counts = Counter(entry.grade for entry in found.entries)
    return Imported(
        text=rendered(found.tables),
        reports=tuple(reports_of(found, file)),
        counts={grade: counts[grade] for grade in Grade},
        windows=found.windows,
    )


def translated(root: Node) -> Translation:
    """The tree of a `clp.conf` as tables."""
    return _Translator(root).result()


def _put(table: dict[str, Any], path: str, value: Any) -> None:
    key, _, rest = path.partition(".")
    if rest:
        _put(table.setdefault(key, {}), rest, value)
    else:
        table[key] = value


# ---------------------------------------------------------------------- translating


class _Translator:
    def __init__(self, root: Node) -> None:
        self.root = root
        self.done: dict[int, Entry] = {}
        """What became of each leaf, by its identity."""
        self.remarks: list[Remark] = []
        self.refused: dict[str, str] = {}
        servers = sorted(self._once(root.all("server")), key=lambda one: one.number("priority"))
        self.servers = servers
        self.groups = self._once(root.all("group"))
        self.resources = {one.step: one for one in self._objects("resource")}
        self.windows = root.value("all/serveros").lower().startswith("win")
        self.group_of: dict[str, str] = {}
        """Group resource -> the group that is carried and has it."""
        self.kept: set[str] = set()
        """Group resources that are carried."""
        for group in self.groups:
            if _group_type(group) != "failover":
                continue
            for one in group.all("resource"):
                kind, _, name = one.label.rpartition("@")
                self.group_of.setdefault(name, group.label)
                if kind in original.RESOURCES and one.label in self.resources:
                    self.kept.add(name)

    # -- what became of a leaf ----------------------------------------------------------

    def _end(
        self, node: Node | None, label: str, tag: str, grade: Grade, reason: str = "",
        hint: str = "",
    ) -> None:  # fmt: skip
        if node is not None and id(node) not in self.done:
            self.done[id(node)] = Entry(
                label=label, tag=tag, value=node.text, grade=grade, reason=reason, hint=hint,
                line=node.line,
            )  # fmt: skip

    def _carried(self, owner: Node, label: str, *tags: str) -> None:
        """These leaves of an object, or all below them, are read by special code."""
        for tag, leaf in owner.leaves():
            if any(f"{tag}/".startswith(f"{wanted}/") for wanted in tags):
                self._end(leaf, label, tag, Grade.CARRIED)

    def _all_lost(self, owner: Node, label: str, reason: str, hint: str = "") -> None:
        """An object that is not carried, with everything that it has."""
        found = list(owner.leaves()) or [("", owner)]
        for tag, leaf in found:
            self._end(leaf, label, tag, Grade.LOST, reason, hint)

    def _refuse(self, what: str, owner: Node, kind: str, label: str) -> str:
        """An object of a type that is not carried."""
        default = f"no such {what} type"
        if self.windows and kind not in REFUSED[what]:
            default = f"no such {what} type here: the file is of Windows"
        reason, mend = REFUSED[what].get(kind, (default, ""))
        self._all_lost(owner, f"{label} ({kind})", reason, mend)
        return reason

    def _once(self, nodes: Iterable[Node]) -> list[Node]:
        """The objects, each once."""
        found: dict[str, Node] = {}
        for node in nodes:
            if node.step in found:
                self._all_lost(node, node.step, "it is in the file twice: the first one counts")
            else:
                found[node.step] = node
        return list(found.values())

    def _objects(self, section: str) -> list[Node]:
        """The objects of a section: one element each, named by its type."""
        found = [
            one
            for part in self.root.all(section)
            for one in part.children
            if one.tag != "types" and one.label
        ]
        return self._once(found)

    def _rows(
        self, owner: Node, table: dict[str, Any], label: str, section: str, kind: str = ""
    ) -> None:
        """Sets the keys that the parameters of an object mean."""
        seen: set[str] = set()
        for tag, leaf in owner.leaves():
            if id(leaf) in self.done:
                continue
            if leaf.children:
                self._end(leaf, label, tag, Grade.LOST, "text between elements means nothing")
            elif tag in seen:
                reason = "it is there twice: the first one counts"
                self._end(leaf, label, tag, Grade.LOST, reason)
            else:
                self._row(leaf, tag, table, label, section, kind)
            seen.add(tag)
        if not owner.children:
            self._end(owner, label, "", Grade.CARRIED)

    def _row(
        self, leaf: Node, tag: str, table: dict[str, Any], label: str, section: str, kind: str
    ) -> None:
        server, below = "", tag
        if tag.startswith("server@") and section in ("resource", "monitor"):
            server, _, below = tag.removeprefix("server@").partition("/")
        row = row_of(section, kind, below)
        try:
            if not leaf.text and (row.key or not row.why.startswith("there is no")):
                self._end(leaf, label, tag, Grade.CARRIED)
                return
            value = row.read(leaf.text)
        except NotCarried as reason:
            if row is original.EDITOR:
                label, tag = "cluster", tag if section == "cluster" else f"{label}: {tag}"
            self._end(leaf, label, tag, reason.grade, str(reason))
            return
        if server and not row.by_server:
            self._end(leaf, label, tag, Grade.LOST, "all servers have the same")
            return
        self._end(leaf, label, tag, Grade.CARRIED)
        _put(table, f"{row.key}_on.{server}" if server else row.key, value)

    # -- the whole ----------------------------------------------------------------------

    def result(self) -> Translation:
        for part in self.root.children:
            for types in part.all("types"):
                self._end(types, "cluster", types.step, Grade.CARRIED)
        found: dict[str, Any] = {"cluster": {"name": "cluster"}}
        links, nps = self._sorted("heartbeat"), self._sorted("networkpartition")
        tables = {
            "server": [self._server(one, links) for one in self.servers],
            "interconnect": [one for link in links if (one := self._interconnect(link))],
            "np": [one for np in nps if (one := self._arbiter(np))],
            "group": [one for group in self.groups if (one := self._group(group))],
            "monitor": [one for node in self._objects("monitor") if (one := self._monitor(node))],
        }
        for step, node in self.resources.items():
            self._all_lost(node, f"group resource {step}", "no group has it")
        self._cluster(found, bool(nps))
        tables = {
            "cluster": found["cluster"],
            **{name: objects for name, objects in tables.items() if objects},
        }
        if "alert" in found:
            tables["alert"] = found["alert"]
        self._say_what_is_ours(tables)
        return Translation(
            tables=tables,
            entries=tuple(self.done.values()),
            remarks=tuple(self.remarks),
            windows=self.windows,
            refused=self.refused,
        )

    def _sorted(self, section: str) -> list[Node]:
        return sorted(self._objects(section), key=lambda one: one.number("priority"))

    def _say_what_is_ours(self, tables: dict[str, Any]) -> None:
        """What a `clp.conf` leaves to defaults of the original that are not ours."""
        silent = [
            resource["name"]
            for group in tables.get("group", ())
            for resource in group.get("resource", ())
            if not self.resources[f"{resource['type']}@{resource['name']}"].value("deact/action")
        ]
        if silent:
            self.remarks.append(
                Remark(
                    about="deact/action",
                    text=f"group resources {', '.join(silent)}: the original's default "
                    "deact/action, shutdown, not carried: a group whose stop failed stays where "
                    "it is",
                    hint="Set final_action of a resource: it is for a start that failed "
                    "everywhere, too.",
                )
            )

        tag = "emergency/timeout/notrecovery/use"
        polled = [one for one in self._objects("monitor") if one.tag in original.POLLING]
        silent = [one.label for one in polled if not one.value(tag)]
        if silent:
            self.remarks.append(
                Remark(
                    about="time-outs",
                    text=f"monitors {spelled(', '.join(silent))}: a time-out is recovered from as "
                    "any failure here; in the original it is not, unless the file says so",
                    hint="Set timeout so long that only what has failed exceeds it.",
                )
            )

    def _cluster(self, found: dict[str, Any], has_nps: bool) -> None:
        """`[cluster]` and `[alert]`, and all that no object has read."""
        if has_nps:  # without one the original does nothing
            found["cluster"]["partition_action"] = original.PARTITION_ACTION
        recovery = self.root.value("rm/errordetect/norecovery")
        if recovery not in ("", "0"):
            self.remarks.append(
                Remark(
                    about="norecovery",
                    text="rm/errordetect/norecovery: the original's recovery is switched off, "
                    "and here it will be ON: monitors restart, move and stop groups and servers "
                    "as [monitor.recovery] says",
                    hint="Leave the [[monitor]] tables out until that is wanted, or suspend the "
                    "cluster as soon as it runs: clpcl --suspend",
                    first=True,
                )
            )
        if self.root.find("cluster/heartbeat") is None:
            text = "the original's heartbeat interval and time-out are not taken over: here a lost "
            text += "server is proven down within seconds"
            hint = "Set [cluster] heartbeat_timeout if the network needs more."
            self.remarks.append(Remark(about="heartbeat", text=text, hint=hint))
        if self.windows:
            reason = "servers, disks and scripts are those of Linux"
            node = self.root.find("all/serveros")
            self._end(node, "cluster", "all/serveros", Grade.LOST, reason)
        for leaf, tag, value in alerts(self.root, found):
            if isinstance(value, NotCarried):
                self._end(leaf, "cluster", tag, value.grade, str(value))
            else:
                self._end(leaf, "cluster", tag, Grade.CARRIED)
        self._rows(self.root, found, "cluster", "cluster")

    # -- servers and their devices ------------------------------------------------------

    def _devices(self, kind: str) -> dict[int, dict[str, str]]:
        """Number -> server -> what the device is there."""
        found: dict[int, dict[str, str]] = {}
        for server in self.servers:
            for device in server.all("device"):
                if device.value("type") == kind and device.label.isdigit() and device.value("info"):
                    of_each = found.setdefault(number(device.label), {})
                    of_each.setdefault(server.label, device.value("info"))
        return found

    def _bmcs(self) -> dict[str, str]:
        """Server -> the address of its BMC, which a bmchb has by default."""
        found: dict[str, str] = {}
        for _, addresses in sorted(self._devices("bmc").items()):
            found = {**addresses, **found}
        return found

    def _server(self, server: Node, links: list[Node]) -> dict[str, Any]:
        found: dict[str, Any] = {"name": server.label}
        label = f"server {server.label}"
        self._carried(server, label, "priority")
        lans = {link.value("device", "0") for link in links if link.tag in ("lankhb", "lanhb")}
        bmc = ""
        for device in self._once(server.all("device")):
            kind, info = device.value("type"), device.value("info")
            reason = self._unused(device, kind, lans)
            if reason:
                self._all_lost(device, f"{label}: device {device.label} ({kind})", reason)
            elif kind in ("ping", "http", "witness") and info == "0":
                reason = "every server asks, so this one does, too"
                where = f"{label}: device {device.label} ({kind})"
                self._carried(device, where, "type")
                self._end(device.find("info"), where, "info", Grade.DECISION, reason)
            elif kind == "bmc":
                bmc = bmc or info
            for tag, leaf in device.leaves():
                self._end(leaf, label, f"{device.step}/{tag}", Grade.CARRIED)
        if bmc:
            found["bmc"] = {"address": bmc}
            self.remarks.append(
                Remark(
                    about=f"{label}: bmc",
                    text=f"{label}: the BMC account is not in a readable form",
                    hint="Set server.bmc.user, and the password: clpbmccnf -u USER "
                    f"{spelled(server.label)}",
                )
            )
        self._rows(server, found, label, "server")
        return found

    def _unused(self, device: Node, kind: str, lans: set[str]) -> str:
        """Why a device is not carried; empty: it is."""
        if kind in original.LINK_DEVICES:
            return REFUSED["interconnect"][original.LINK_DEVICES[kind]][0]
        if kind == "lan":
            return "" if device.label in lans else "no interconnect is on it"
        return "" if kind in original.DEVICES else "there is no equivalent"

    def _interconnect(self, link: Node) -> dict[str, Any] | None:
        label = f"interconnect {link.label}"
        if link.tag not in original.LINKS:
            self._refuse("interconnect", link, link.tag, label)
            return None
        device = link.number("device")
        table: dict[str, Any] = {"name": link.label, "type": link.tag, "device": device}
        if link.tag == "witnesshb":
            table["url"] = _url(link)
            self._carried(link, label, "host", "port")
        else:
            kind = "bmc" if link.tag == "bmchb" else "lan"
            addresses = self._devices(kind).get(device, {})
            if kind == "lan" or addresses != self._bmcs():
                table["address"] = addresses
        self._carried(link, label, "priority", "device")
        self._rows(link, table, label, "link")
        return table

    def _arbiter(self, np: Node) -> dict[str, Any] | None:
        label = f"NP resolution {np.label}"
        own: dict[str, Any] = {}
        if np.tag == "pingnp":
            groups = np.all("grp")
            targets = [one.value("ip") for group in groups for one in group.all("list")]
            own["targets"] = list(dict.fromkeys(filter(None, targets)))
            for group in groups[1:]:
                for tag, leaf in group.leaves():
                    self._end(
                        leaf, label, f"{group.step}/{tag}", Grade.DECISION,
                        "each grp is a list of its own there; here one answer of any target "
                        "is enough, so take out of targets what is not to count",
                    )  # fmt: skip
            self._carried(np, label, *(group.step for group in groups[:1]))
        elif np.tag == "httpnp":
            own["url"] = _url(np)
            self._carried(np, label, "host", "port")
        else:
            self._refuse("np", np, np.tag, label)
            return None
        self._carried(np, label, "priority", "device")
        self._rows(np, {}, label, "link")
        kind = np.tag.removesuffix("np")
        return {"name": np.label, "type": kind, "device": np.number("device"), **own}

    # -- groups -------------------------------------------------------------------------

    def _group(self, group: Node) -> dict[str, Any] | None:
        name, label, kind = group.label, f"group {group.label}", _group_type(group)
        if kind != "failover":
            reason = REFUSED_GROUPS.get(kind, "no such group type")
            self.refused[name] = reason
            self._all_lost(group, f"{label} ({kind})", reason)
            for one in group.all("resource"):
                if one.label in self.resources:
                    self.refused[one.label.rpartition("@")[2]] = reason
                    self._all_lost(
                        self.resources[one.label], f"group resource {one.label} of {name}", reason
                    )
            return None
        self._carried(group, label, "type")
        order = sorted(group.all("policy"), key=lambda one: one.number("order"))
        found: dict[str, Any] = {"name": name}
        if order:
            found["servers"] = list(dict.fromkeys(one.label for one in order))
            self._carried(group, label, *(one.step for one in order))
        self._waits(group, found, label)
        self._apart(group, found, label)
        self._rows_but_resources(group, found, label)
        kept = []
        for one in self._once(group.all("resource")):
            table = self._resource(one, name)
            if table is not None:
                self._end(one, label, one.step, Grade.CARRIED)
                kept.append(table)
        if kept:
            found["resource"] = kept
        return found

    def _waits(self, group: Node, found: dict[str, Any], label: str) -> None:
        """The groups after which it starts and stops."""
        known = {one.label for one in self.groups if _group_type(one) == "failover"}
        for part, key in (("act", "start_after"), ("deact", "stop_after")):
            holder = group.find(f"depend/{part}")
            for one in holder.all("depend") if holder is not None else ():
                tag = f"depend/{part}/{one.step}"
                if one.label not in known or one.label == group.label:
                    reason = "there is no such group to wait for"
                    self._all_lost_below(one, label, tag, reason)
                    continue
                same = one.value("sameserver") or group.value("depend/act/sameserver")
                own = f"{key}_same_server" if part == "act" and same == "1" else key
                found[own] = [*found.get(own, ()), one.label]
                self._carried(group, label, tag)
        for key in ("start_after", "start_after_same_server", "stop_after"):
            if key in found:
                found[key].sort(key=[one.label for one in self.groups].index)
        self._carried(group, label, "depend/act/sameserver")
        uses = {
            stop: group.value(f"depend/deact/{stop}/use", str(int(usual)))
            for stop, (_, usual) in original.STOPS.items()
        }
        stops = [original.STOPS[stop][0] for stop, use in uses.items() if use == "1"]
        if "stop_after" in found and stops != ["cluster"]:
            found["stop_after_at"] = stops
        self._carried(group, label, *(f"depend/deact/{stop}/use" for stop in uses))

    def _all_lost_below(self, node: Node, label: str, tag: str, reason: str) -> None:
        self._end(node if not node.children else None, label, tag, Grade.LOST, reason)
        for below, leaf in node.leaves():
            self._end(leaf, label, f"{tag}/{below}", Grade.LOST, reason)

    def _apart(self, group: Node, found: dict[str, Any], label: str) -> None:
        """The groups from which it is kept apart: all that are exclusive, as it is."""
        node = group.find("exclusive")
        if node is None or not node.text:
            return
        if node.text not in original.EXCLUSIVE:
            self._end(node, label, "exclusive", Grade.LOST, "that code has no equivalent")
            return
        others = [
            one.label
            for one in self.groups
            if one is not group
            and _group_type(one) == "failover"
            and original.EXCLUSIVE.get(one.value("exclusive"))
        ]
        how = original.EXCLUSIVE[node.text]
        if how and not others:
            reason = "no other group is exclusive, so it is kept apart from none"
            self._end(node, label, "exclusive", Grade.EQUIVALENT, reason)
            return
        if how:
            found |= {"exclusive_with": others, "exclusive": how}
        self._end(node, label, "exclusive", Grade.CARRIED)

    def _rows_but_resources(self, group: Node, found: dict[str, Any], label: str) -> None:
        for one in group.all("resource"):
            if one.children or one.text:
                self._all_lost(one, label, "a resource stands in its own section")
        own = Node(group.tag, group.label)
        own.children = [one for one in group.children if one.tag != "resource"]
        self._rows(own, found, label, "group")
        if not group.children:
            self._end(group, label, "", Grade.CARRIED)

    def _resource(self, reference: Node, group: str) -> dict[str, Any] | None:
        kind, _, name = reference.label.rpartition("@")
        label = f"group resource {reference.label} of {group}"
        resource = self.resources.get(reference.label)
        if kind not in original.RESOURCES:
            self.refused[name] = self._refuse("group resource", reference, kind, label)
            if resource is not None:
                self._refuse("group resource", resource, kind, label)
            return None
        if resource is None:
            self.refused[name] = "it is not in the file"
            self._all_lost(reference, label, "it is not in the file")
            return None
        if self.group_of[name] != group:
            self._all_lost(reference, label, f"it is in group {self.group_of[name]} already")
            return None
        label = f"group resource {name}"
        found: dict[str, Any] = {"type": kind, "name": name}
        retries = original.START_RETRIES.get(kind, original.START_RETRIES_OF_OTHERS)
        if retries:
            found["start_retries"] = retries
        depends = self._depends(resource, group, label)
        if depends:
            found["depends"] = depends
        if kind == "exec":
            self._exec(resource, found, label)
        else:
            self._floating(resource, found, label)
        self._rows(resource, found, label, "resource", kind)
        return found

    def _depends(self, resource: Node, group: str, label: str) -> list[str]:
        """What a resource waits for; of one that is not carried, what that one waits for."""
        found: list[str] = []
        for one in resource.all("depend"):
            name = one.label.rpartition("@")[2]
            if name in self.kept and self.group_of.get(name) == group:
                found.append(name)
                self._end(one, label, one.step, Grade.CARRIED)
            elif self.group_of.get(name) == group:
                instead = self._behind(name, group, set())
                found += instead
                what = (
                    f"waits for {', '.join(instead)} in its place"
                    if instead
                    else ("has the order of the types instead: fip, service, exec")
                )
                reason = f"{name} is not carried, and this {what}"
                self._end(one, label, one.step, Grade.EQUIVALENT, reason)
            else:
                reason = "it is not in the group" if name in self.group_of else "not in the file"
                self._end(one, label, one.step, Grade.LOST, reason)
        return list(dict.fromkeys(found))

    def _behind(self, name: str, group: str, seen: set[str]) -> list[str]:
        """What a resource that is not carried depends on, as far as that is carried."""
        seen.add(name)
        node = next((one for one in self.resources.values() if one.label == name), None)
        depends = [one.label.rpartition("@")[2] for one in node.all("depend")] if node else []
        if not depends:  # then the order of the types holds: addresses come first
            fips = [one.label for one in self.resources.values() if one.tag == "fip"]
            return [one for one in fips if self.group_of.get(one) == group]
        found: list[str] = []
        for one in depends:
            if one in self.kept and self.group_of.get(one) == group:
                found.append(one)
            elif one not in seen:
                found += self._behind(one, group, seen)
        return found

    def _exec(self, resource: Node, found: dict[str, Any], label: str) -> None:
        start, stop = (f"parameters/timeout/{op}" for op in ("start", "stop"))
        times = [resource.value(tag, str(original.SCRIPT_TIMEOUT_S)) for tag in (start, stop)]
        try:
            row = original.number("timeout")
            wanted = [row.read(one) for one in times]
        except NotCarried as reason:
            for tag in (start, stop):
                self._end(resource.find(tag), label, tag, reason.grade, str(reason))
        else:
            if resource.value(start):
                found["timeout"] = wanted[0]
            if wanted[1] != wanted[0]:
                found["stop_timeout"] = wanted[1]
            self._carried(resource, label, start, stop)
        sync = resource.find("parameters/act/sync")
        if sync is not None and sync.text in ("", "0", "1"):
            if sync.text == "0":
                found["background"] = True
            self._end(sync, label, "parameters/act/sync", Grade.CARRIED)

    def _floating(self, resource: Node, found: dict[str, Any], label: str) -> None:
        """The address of a fip, with its interface and its prefix length."""
        for tag, leaf in resource.leaves():
            server = tag.removeprefix("server@").partition("/")[0] if "server@" in tag else ""
            if not tag.endswith("parameters/ip") or not leaf.text or id(leaf) in self.done:
                continue
            address, interface, guessed = fip_address(leaf.text)
            suffix = f"_on.{server}" if server else ""
            _put(found, f"address{suffix}", address)
            if interface:
                _put(found, f"interface{suffix}", interface)
            if guessed:
                text = f"{label}: {address.rpartition('/')[2]} is our choice of prefix length for "
                text += f"{spelled(leaf.text)}"
                hint = "Set address if the network is of another size."
                self.remarks.append(Remark(about=leaf.text, text=text, hint=hint))
            self._end(leaf, label, tag, Grade.CARRIED)

    # -- monitors -----------------------------------------------------------------------

    def _monitor(self, monitor: Node) -> dict[str, Any] | None:
        name, kind, label = monitor.label, monitor.tag, f"monitor {monitor.label}"
        if kind not in original.MONITORS:
            self.refused[name] = self._refuse("monitor", monitor, kind, label)
            return None
        found: dict[str, Any] = {"type": kind, "name": name}
        if kind == "userw":
            found["method"] = "keepalive"
        elif kind == "genw":
            found["script"] = "genw.sh"
        self._polling(monitor, found, label)
        self._watched(monitor, found, label)
        if kind == "genw":
            self._script(monitor, found, label)
        elif kind == "ipw":
            self._lists(monitor, found, label)
        if kind != "userw":
            self._recovery(monitor, found, label)
        self._rows(monitor, found, label, "monitor", kind)
        if kind == "genw" and monitor.value("parameters/sync") == "0":
            found["recovery"] = {"action": "final", "final_action": "none"}
        last = (*_POLLING.values(), "recovery")
        return {key: value for key, value in found.items() if key not in last} | {
            key: found[key] for key in last if key in found
        }

    def _polling(self, monitor: Node, found: dict[str, Any], label: str) -> None:
        """Interval, time-out, retries: what the file leaves out is ours."""
        if monitor.tag not in original.POLLING:
            return
        ours = []
        times = original.POLLING[monitor.tag]
        for (tag, key), value in zip(_POLLING.items(), times, strict=True):
            if not monitor.value(f"polling/{tag}"):
                found[key] = value
                ours.append(f"{key} {value}")
        if ours:
            text = f"{label}: {', '.join(ours)} {'are' if len(ours) > 1 else 'is'} our choice, as "
            text += "clp.conf does not state it: in the original it differs by type"
            hint = "Set it as the Cluster WebUI shows it."
            self.remarks.append(Remark(about=f"{label}: polling", text=text, hint=hint))

    def _watched(self, monitor: Node, found: dict[str, Any], label: str) -> None:
        """Where it runs: its servers, its target, when."""
        servers = [one.value("name") for one in _parts(monitor, "polling", "servers")]
        if any(servers):
            found["servers"] = list(dict.fromkeys(filter(None, servers)))
        steps = [f"polling/{one.step}" for one in _parts(monitor, "polling", "servers")]
        self._carried(monitor, label, *steps)
        target = self._target(monitor.find("target"), "target", label)
        if target:
            found["target"] = target
            if monitor.tag in ("fipw", "pidw"):
                found["timing"] = "active"

    def _target(self, node: Node | None, tag: str, label: str) -> str:
        """A group or group resource; of one that is not carried, the group that had it."""
        if node is None:
            return ""
        name = node.text.rpartition("@")[2]
        resources = {one.label for one in self.resources.values()} | set(self.group_of)
        if name in self.kept or name not in resources:
            self._end(node, label, tag, Grade.CARRIED)
            return name
        group = self.group_of.get(name, "")
        if group:
            reason = f"it is not carried: group {group}, which had it, stands for it"
            self._end(node, label, tag, Grade.EQUIVALENT, reason)
        else:
            self._end(node, label, tag, Grade.LOST, "it is not carried, and no group has it")
        return group

    def _script(self, monitor: Node, found: dict[str, Any], label: str) -> None:
        """What is special of genw: exit statuses, and whether it is waited for."""
        statuses = monitor.find("parameters/normalval")
        if statuses is not None and statuses.text:
            values = [one.strip() for one in statuses.text.split(",")]
            if all(one.isascii() and one.isdigit() and number(one, 999) < 256 for one in values):
                wanted = [int(one) for one in values]
                if wanted != [0]:
                    found["normal"] = wanted
                self._end(statuses, label, "parameters/normalval", Grade.CARRIED)
        sync = monitor.find("parameters/sync")
        if sync is not None and sync.text == "0":
            self._end(
                sync, label, "parameters/sync", Grade.DECISION,
                "its script is run to its end here, so it is without recovery: one that goes on "
                "would count as an error at its timeout",
                "Let the script check once and end, or watch the program with pidw; then write "
                "[monitor.recovery].",
            )  # fmt: skip
        else:
            self._carried(monitor, label, "parameters/sync")

    def _lists(self, monitor: Node, found: dict[str, Any], label: str) -> None:
        """Addresses of ipw, those of single servers, too."""
        for owner, path in ((monitor, "targets"), *(
            (one, f"targets_on.{one.label}") for one in monitor.all("server")
        )):  # fmt: skip
            lists = _parts(owner, "parameters", "list")
            addresses = list(dict.fromkeys(filter(None, (one.value("ip") for one in lists))))
            if addresses:
                _put(found, path, addresses)
            before = f"{owner.step}/" if owner is not monitor else ""
            self._carried(monitor, label, *(f"{before}parameters/{one.step}" for one in lists))

    def _recovery(self, monitor: Node, found: dict[str, Any], label: str) -> None:
        """`[monitor.recovery]`; its first step follows from the counts.

        Without a target (`LocalServer`) there is nothing to restart or to fail over.
        """
        recovery: dict[str, Any] = {}
        target = self._recovery_target(monitor, label)
        counts = {
            tag: self._count(monitor, f"emergency/threshold/{tag}", label)
            for tag in ("restart", "fo", "script")
        }
        if counts["fo"] is None:  # so it is called in other versions
            counts["fo"] = self._count(monitor, "emergency/threshold/fo2", label)
        if monitor.tag == "mrw" and counts["restart"] is None:
            # Broken hardware is still broken after a restart on it (hardware guide: choose
            # failover).
            counts["restart"] = 0
        restarts = original.RESTARTS if counts["restart"] is None else counts["restart"]
        failovers = original.FAILOVERS if counts["fo"] is None else counts["fo"]
        action = "restart" if restarts else "failover" if failovers else "final"
        recovery["action"] = action if target else "final"
        if target:
            recovery["target"] = target
        path = monitor.value(f"{_BEFORE}path", original.ACTION_SCRIPT)
        if counts["script"]:
            recovery |= {"action": "script", "script": path}
            node = monitor.find("emergency/threshold/script")
            if counts["script"] > 1 and node is not None:
                reason = "the recovery script runs once; then come restart and failover"
                del self.done[id(node)]
                tag = "emergency/threshold/script"
                self._end(node, label, tag, Grade.DECISION, reason)
        for tag, key in (("restart", "restart_count"), ("fo", "failover_count")):
            if counts[tag] is not None:
                recovery[key] = counts[tag]
        self._final_action(monitor, recovery, label)
        uses = [use for use in _USES if monitor.value(_BEFORE + use) == "1"]
        if uses and is_driver_category(monitor.value("parameters/category")):
            for use in uses:
                reason = "a driver's message is acted on at once, without a script before"
                self._end(monitor.find(_BEFORE + use), label, _BEFORE + use, Grade.LOST, reason)
        elif uses:
            recovery["pre_action_script"] = path
            if len(uses) < len(_USES):
                text = f"{label}: the script of {_BEFORE}{uses[0]} runs before every step here"
                self.remarks.append(Remark(about=f"{label}: before", text=text))
        self._preaction(monitor, label, used=bool(uses or counts["script"]))
        found["recovery"] = recovery

    def _preaction(self, monitor: Node, label: str, *, used: bool) -> None:
        """A `clp.conf` names the script even where no step uses it."""
        for tag in ("path", *_USES):
            self._carried(monitor, label, _BEFORE + tag)
        for tag in ("default", "timeout"):
            node = monitor.find(_BEFORE + tag)
            grade = Grade.DECISION if used else Grade.EQUIVALENT
            reason = "the script may run as long as timeout of the monitor"
            self._end(node, label, _BEFORE + tag, grade, reason)

    def _final_action(self, monitor: Node, recovery: dict[str, Any], label: str) -> None:
        tag = "emergency/action"
        node = monitor.find(tag)
        if node is None or not node.text:
            return
        row = original.code("final_action", original.FINAL_ACTIONS, original.NO_FINAL_ACTION)
        try:
            recovery["final_action"] = row.read(node.text)
            self._end(node, label, tag, Grade.CARRIED)
        except NotCarried as reason:
            self._end(node, label, tag, reason.grade, str(reason))

    def _count(self, monitor: Node, tag: str, label: str) -> int | None:
        node = monitor.find(tag)
        if node is None or not node.text:
            return None
        try:
            found = _whole(node.text)
        except NotCarried as reason:
            self._end(node, label, tag, reason.grade, str(reason))
            return None
        self._end(node, label, tag, Grade.CARRIED)
        return found

    def _recovery_target(self, monitor: Node, label: str) -> str:
        relations = monitor.all("relation")
        if not relations:
            return ALL_GROUPS
        best = min(relations, key=lambda one: _RELATIONS.get(one.value("type"), 9))
        for one in relations:
            if one is not best:
                reason = "one target is recovered: the resource, or else the group"
                self._all_lost(one, label, reason)
        for tag, leaf in best.leaves():
            if tag != "name":
                self._end(leaf, label, f"relation/{tag}", Grade.CARRIED)
        if best.value("name") in ("", "LocalServer"):
            self._carried(monitor, label, "relation")
            return ""
        return self._target(best.find("name"), "relation/name", label)


_RELATIONS = {"rsc": 0, "grp": 1, "cls": 2}


def _whole(text: str) -> int:
    found = original.number("count").read(text)
    assert isinstance(found, int)
    return found


def _parts(owner: Node, within: str, tag: str) -> list[Node]:
    """Numbered elements below another one."""
    node = owner.find(within)
    return node.all(tag) if node is not None else []


def _group_type(group: Node) -> str:
    return group.value("type", "failover")


def _url(node: Node) -> str:
    host = node.value("host")
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{host}:{node.value('port', original.DEFAULT_PORT)}/"
