"""Groups and group resources of a `clp.conf`."""

from __future__ import annotations

from typing import Any

from clptools.config import original
from clptools.config.clpconf import Node, spelled
from clptools.config.groups import REFUSED_GROUPS
from clptools.config.importer_account import Account, group_type, put
from clptools.config.offers import Agent, agent_for
from clptools.config.original import PREFIXES, Grade, NotCarried
from clptools.config.translation import Remark


class GroupAccount(Account):
    """Translates groups and their resources."""

    def __init__(self, root: Node) -> None:
        super().__init__(root)
        self._first_of: dict[str, list[str]] = {}
        """Group -> its addresses that wait for nothing, once they are known."""

    def group(self, group: Node) -> dict[str, Any] | None:
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
            self.refused[name] = self._instead(reference, resource, group, label)
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

    def _instead(self, reference: Node, resource: Node | None, group: str, label: str) -> str:
        """A resource of a type that is not carried: what does its work is offered."""
        kind, _, name = reference.label.rpartition("@")
        if resource is None:
            return self.refuse("group resource", reference, kind, label)
        instead = agent_for(resource)
        why_not = instead if isinstance(instead, str) else ""
        offer = ""
        if isinstance(instead, Agent) and self.group_of[name] == group:
            offer = name
            self.offered_resources.append((group, resource))
        self.refuse("group resource", reference, kind, label, offer=offer, why_not=why_not)
        return self.refuse("group resource", resource, kind, label, offer=offer, why_not=why_not)

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
        if group not in self._first_of:
            fips = self._fips(group)
            waiting = {one for one in fips if self._behind(one, group, [])}
            self._first_of[group] = [one for one in fips if one not in waiting]
        return self._first_of[group]

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
            address, interface, guessed = _fip_address(leaf.text)
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


def _fip_address(text: str) -> tuple[str, str, bool]:
    """Address with its prefix length, interface (or empty), whether the length is our choice.

    The original writes `192.0.2.9`, `192.0.2.9/24` or `192.0.2.9%eth1`.
    """
    host, _, interface = text.partition("%")
    interface, slash, prefix = interface.partition("/")
    if not slash:
        host, slash, prefix = host.partition("/")
    if slash:
        return f"{host}/{prefix}", interface, False
    return f"{host}/{PREFIXES[6 if ':' in host else 4]}", interface, True
