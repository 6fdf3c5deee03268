"""A `clp.conf` (EXPRESSCLUSTER) as the tables of `clp.toml`, with what became of each parameter.

What a parameter is here stands in `config/original.py`.  Only what differs from the original's
defaults is in a `clp.conf`, so those that are not ours are written out.  Each leaf of the file ends
in one `Entry`; the order of elements never matters.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from clptools.config import original
from clptools.config.clpconf import MAX_BYTES, Node, number, parsed, spelled
from clptools.config.document import rendered
from clptools.config.fip_address import fip_address
from clptools.config.groups import REFUSED_GROUPS
from clptools.config.importer_account import group_type, put
from clptools.config.importer_monitors import MonitorAccount
from clptools.config.original import Grade, NotCarried
from clptools.config.original_alerts import alerts
from clptools.config.translation import Remark, Translation, reports_of
from clptools.config.variants import REFUSED
from clptools.faults import ClpError, ExitCode
from clptools.reports import Report


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
        ClpError: it is no such file (too large, not XML, another root, an unknown encoding), or
            what it says is too much for a `clp.toml`.
    """
    found = translated(parsed(data, file))
    counts = Counter(entry.grade for entry in found.entries)
    text = rendered(found.tables)
    if len(text.encode()) > MAX_BYTES:
        reason = f"{file}: its clp.toml would be larger than {MAX_BYTES >> 20} MiB"
        raise ClpError(ExitCode.INVALID_CONFIG, reason, "No cluster needs that much: look into it.")
    return Imported(
        text=text,
        reports=tuple(reports_of(found, file)),
        counts={grade: counts[grade] for grade in Grade},
        windows=found.windows,
    )


def translated(root: Node) -> Translation:
    """The tree of a `clp.conf` as tables."""
    return _Translator(root).result()


# ---------------------------------------------------------------------- translating


class _Translator(MonitorAccount):
    # -- the whole ----------------------------------------------------------------------

    def result(self) -> Translation:
        for part in self.root.children:
            for types in part.all("types"):
                self.end(types, "cluster", types.step, Grade.CARRIED)
        found: dict[str, Any] = {"cluster": {"name": "cluster"}}
        links, nps = self._sorted("heartbeat"), self._sorted("networkpartition")
        tables = {
            "server": [self._server(one, links) for one in self.servers],
            "interconnect": [one for link in links if (one := self._interconnect(link))],
            "np": [one for np in nps if (one := self._arbiter(np))],
            "group": [one for group in self.groups if (one := self._group(group))],
            "monitor": [one for node in self.objects("monitor") if (one := self.monitor(node))],
        }
        for step, node in self.resources.items():
            self.all_lost(node, f"group resource {step}", "no group has it")
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
        return sorted(self.objects(section), key=lambda one: one.number("priority"))

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
        polled = [one for one in self.objects("monitor") if one.tag in original.POLLING]
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
            self.end(node, "cluster", "all/serveros", Grade.LOST, reason)
        for leaf, tag, value in alerts(self.root, found):
            if isinstance(value, NotCarried):
                self.end(leaf, "cluster", tag, value.grade, str(value))
            else:
                self.end(leaf, "cluster", tag, Grade.CARRIED)
        self.rows(self.root, found, "cluster", "cluster")

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
        self.placed(server, label, "priority")
        lans = {str(link.number("device")) for link in links if link.tag in ("lankhb", "lanhb")}
        bmc = ""
        for device in self.once(server.all("device")):
            kind, info = device.value("type"), device.value("info")
            reason = self._unused(device, kind, lans)
            if reason:
                self.all_lost(device, f"{label}: device {device.label} ({kind})", reason)
            elif kind in ("ping", "http", "witness") and info == "0":
                reason = "every server asks, so this one does, too"
                where = f"{label}: device {device.label} ({kind})"
                self.carried(device, where, "type")
                self.end(device.find("info"), where, "info", Grade.DECISION, reason)
            elif kind == "bmc":
                bmc = bmc or info
            self.carried(server, label, *(f"{device.step}/{tag}" for tag in ("type", "info")))
            if kind in ("witness", "http"):
                tag, reason = f"{device.step}/extend", "host and port of what asks it say where"
                self.end(device.find("extend"), label, tag, Grade.EQUIVALENT, reason)
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
        self.rows(server, found, label, "server")
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
            self.refuse("interconnect", link, link.tag, label)
            return None
        device = link.number("device")
        table: dict[str, Any] = {"name": link.label, "type": link.tag, "device": device}
        if link.tag == "witnesshb":
            table["url"] = _url(link)
            self.carried(link, label, "host", "port")
        else:
            kind = "bmc" if link.tag == "bmchb" else "lan"
            addresses = self._devices(kind).get(device, {})
            if kind == "lan" or addresses != self._bmcs():
                table["address"] = addresses
        self.placed(link, label, "priority", "device")
        self.rows(link, table, label, "link")
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
                    self.end(
                        leaf, label, f"{group.step}/{tag}", Grade.DECISION,
                        "each grp is a list of its own there; here one answer of any target "
                        "is enough, so take out of targets what is not to count",
                    )  # fmt: skip
            for group in groups[:1]:
                lists = [f"{group.step}/{one.step}" for one in group.all("list")]
                self.carried(np, label, group.step, *lists, *(f"{one}/ip" for one in lists))
        elif np.tag == "httpnp":
            own["url"] = _url(np)
            self.carried(np, label, "host", "port")
        else:
            self.refuse("np", np, np.tag, label)
            return None
        self.placed(np, label, "priority", "device")
        self.rows(np, {}, label, "link")
        kind = np.tag.removesuffix("np")
        return {"name": np.label, "type": kind, "device": np.number("device"), **own}

    # -- groups -------------------------------------------------------------------------

    def _group(self, group: Node) -> dict[str, Any] | None:
        name, label, kind = group.label, f"group {group.label}", group_type(group)
        if kind != "failover":
            reason = REFUSED_GROUPS.get(kind, "no such group type")
            self.refused[name] = reason
            self.all_lost(group, f"{label} ({kind})", reason)
            for one in group.all("resource"):
                if one.label in self.resources:
                    self.refused[one.label.rpartition("@")[2]] = reason
                    self.all_lost(
                        self.resources[one.label], f"group resource {one.label} of {name}", reason
                    )
            return None
        self.carried(group, label, "type")
        order = sorted(group.all("policy"), key=lambda one: one.number("order"))
        found: dict[str, Any] = {"name": name}
        if order:
            found["servers"] = list(dict.fromkeys(one.label for one in order))
            self.placed(group, label, *(f"{one.step}/order" for one in order))
            self.carried(group, label, *(one.step for one in order))
        self._waits(group, found, label)
        self._apart(group, found, label)
        self._rows_but_resources(group, found, label)
        kept = []
        for one in self.once(group.all("resource")):
            table = self._resource(one, name)
            if table is not None:
                self.end(one, label, one.step, Grade.CARRIED)
                kept.append(table)
        if kept:
            found["resource"] = kept
        return found

    def _waits(self, group: Node, found: dict[str, Any], label: str) -> None:
        """The groups after which it starts and stops."""
        waited: list[str] = []
        for part, key in (("act", "start_after"), ("deact", "stop_after")):
            holder = group.find(f"depend/{part}")
            for one in holder.all("depend") if holder is not None else ():
                tag = f"depend/{part}/{one.step}"
                if one.label not in self.failover or one.label == group.label:
                    reason = "there is no such group to wait for"
                    self._all_lost_below(one, label, tag, reason)
                    continue
                same = one.value("sameserver") or group.value("depend/act/sameserver")
                own = f"{key}_same_server" if part == "act" and same == "1" else key
                found[own] = [*found.get(own, ()), one.label]
                waited.append(tag)
        for key in ("start_after", "start_after_same_server", "stop_after"):
            if key in found:
                found[key] = sorted(dict.fromkeys(found[key]), key=self.failover.__getitem__)
        self.carried(group, label, *waited)
        same_server = ("depend/act", *waited)
        self.switches(group, label, *(f"{tag}/sameserver" for tag in same_server))
        uses = {
            stop: group.value(f"depend/deact/{stop}/use", str(int(usual)))
            for stop, (_, usual) in original.STOPS.items()
        }
        stops = [original.STOPS[stop][0] for stop, use in uses.items() if use == "1"]
        if "stop_after" in found and stops != ["cluster"]:
            found["stop_after_at"] = stops
        self.switches(group, label, *(f"depend/deact/{stop}/use" for stop in uses))

    def _all_lost_below(self, node: Node, label: str, tag: str, reason: str) -> None:
        self.end(node if not node.children else None, label, tag, Grade.LOST, reason)
        for below, leaf in node.leaves():
            self.end(leaf, label, f"{tag}/{below}", Grade.LOST, reason)

    def _apart(self, group: Node, found: dict[str, Any], label: str) -> None:
        """The groups from which it is kept apart: all that are exclusive, as it is."""
        node = group.find("exclusive")
        if node is None or not node.text:
            return
        if node.text not in original.EXCLUSIVE:
            self.end(node, label, "exclusive", Grade.LOST, "that code has no equivalent")
            return
        others = [one for one in self.apart if one != group.label]
        how = original.EXCLUSIVE[node.text]
        if how and not others:
            reason = "no other group is exclusive, so it is kept apart from none"
            self.end(node, label, "exclusive", Grade.EQUIVALENT, reason)
            return
        if how:
            found |= {"exclusive_with": others, "exclusive": how}
        self.end(node, label, "exclusive", Grade.CARRIED)

    def _rows_but_resources(self, group: Node, found: dict[str, Any], label: str) -> None:
        for one in group.all("resource"):
            if one.children or one.text:
                self.all_lost(one, label, "a resource stands in its own section")
        own = Node(group.tag, group.label)
        own.children = [one for one in group.children if one.tag != "resource"]
        self.rows(own, found, label, "group")
        if not group.children:
            self.empty(group, label)

    def _resource(self, reference: Node, group: str) -> dict[str, Any] | None:
        kind, _, name = reference.label.rpartition("@")
        label = f"group resource {reference.label} of {group}"
        resource = self.resources.get(reference.label)
        if kind not in original.RESOURCES:
            self.refused[name] = self.refuse("group resource", reference, kind, label)
            if resource is not None:
                self.refuse("group resource", resource, kind, label)
            return None
        if resource is None:
            self.refused[name] = "it is not in the file"
            self.all_lost(reference, label, "it is not in the file")
            return None
        if self.group_of[name] != group:
            self.all_lost(reference, label, f"it is in group {self.group_of[name]} already")
            return None
        label = f"group resource {name}"
        found: dict[str, Any] = {"type": kind, "name": name}
        retries = original.START_RETRIES.get(kind, original.START_RETRIES_OF_OTHERS)
        if retries:
            found["start_retries"] = retries
        depends = self._depends(resource, group, label)
        if depends:
            found["depends"] = depends
        elif kind == "exec" and (first := self._first(group)) != self._fips(group):
            # Here it would wait for every address, also for those that wait for it.
            found["depends"] = first
        if kind == "exec":
            self._exec(resource, found, label)
        else:
            self._floating(resource, found, label)
        self.rows(resource, found, label, "resource", kind)
        return found

    def _depends(self, resource: Node, group: str, label: str) -> list[str]:
        """What a resource waits for; of one that is not carried, what that one waits for.

        The order of the types holds for what waits for nothing: addresses come first.
        """
        first = [] if resource.tag == "fip" else self._first(group)
        found: list[str] = []
        for one in resource.all("depend"):
            name = one.label.rpartition("@")[2]
            if name in self.kept and self.group_of.get(name) == group:
                found.append(name)
                self.end(one, label, one.step, Grade.CARRIED)
            elif self.group_of.get(name) == group:
                instead = self._behind(name, group, first)
                found += instead
                what = (
                    f"waits for {', '.join(instead)} in its place"
                    if instead
                    else ("has the order of the types instead: fip, service, exec")
                )
                reason = f"{name} is not carried, and this {what}"
                self.end(one, label, one.step, Grade.EQUIVALENT, reason)
            else:
                reason = "it is not in the group" if name in self.group_of else "not in the file"
                self.end(one, label, one.step, Grade.LOST, reason)
        return list(dict.fromkeys(found))

    def _first(self, group: str) -> list[str]:
        """The addresses that wait for nothing: what waits for them never goes round in a circle."""
        if group not in self.first:
            fips = self._fips(group)
            waiting = {one for one in fips if self._behind(one, group, [])}
            self.first[group] = [one for one in fips if one not in waiting]
        return self.first[group]

    def _fips(self, group: str) -> list[str]:
        fips = [one.label for one in self.resources.values() if one.tag == "fip"]
        return [one for one in fips if self.group_of.get(one) == group]

    def _behind(self, name: str, group: str, first: list[str]) -> list[str]:
        """What a resource depends on, as far as that is carried; `first`, where on nothing."""
        found: list[str] = []
        seen: set[str] = set()
        todo = [name]
        while todo:
            one = todo.pop()
            if one != name and one in self.kept and self.group_of.get(one) == group:
                found.append(one)
            elif one not in seen:
                seen.add(one)
                node = self.named.get(one)
                depends = [d.label.rpartition("@")[2] for d in node.all("depend")] if node else []
                todo += reversed(depends)
                found += first if not depends else ()
        return found

    def _exec(self, resource: Node, found: dict[str, Any], label: str) -> None:
        start, stop = (f"parameters/timeout/{op}" for op in ("start", "stop"))
        times = [resource.value(tag, str(original.SCRIPT_TIMEOUT_S)) for tag in (start, stop)]
        try:
            row = original.number("timeout")
            wanted = [row.read(one) for one in times]
        except NotCarried as reason:
            for tag in (start, stop):
                self.end(resource.find(tag), label, tag, reason.grade, str(reason))
        else:
            if resource.value(start):
                found["timeout"] = wanted[0]
            if wanted[1] != wanted[0]:
                found["stop_timeout"] = wanted[1]
            self.carried(resource, label, start, stop)
        sync = resource.find("parameters/act/sync")
        if sync is not None and sync.text in ("", "0", "1"):
            if sync.text == "0":
                found["background"] = True
            self.end(sync, label, "parameters/act/sync", Grade.CARRIED)

    def _floating(self, resource: Node, found: dict[str, Any], label: str) -> None:
        """The address of a fip, with its interface and its prefix length."""
        for tag, leaf in resource.leaves():
            server = tag.removeprefix("server@").partition("/")[0] if "server@" in tag else ""
            if not tag.endswith("parameters/ip") or not leaf.text or id(leaf) in self.done:
                continue
            address, interface, guessed = fip_address(leaf.text)
            suffix = f"_on.{server}" if server else ""
            put(found, f"address{suffix}", address)
            if interface:
                put(found, f"interface{suffix}", interface)
            if guessed:
                text = f"{label}: {address.rpartition('/')[2]} is our choice of prefix length for "
                text += f"{spelled(leaf.text)}"
                hint = "Set address if the network is of another size."
                self.remarks.append(Remark(about=leaf.text, text=text, hint=hint))
            self.end(leaf, label, tag, Grade.CARRIED)


def _url(node: Node) -> str:
    host = node.value("host")
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{host}:{node.value('port', original.DEFAULT_PORT)}/"
