"""`clp.conf` (XML of EXPRESSCLUSTER) as `clp.toml`, with a warning for all that is not carried.

Only what differs from the original's defaults is in a `clp.conf`, so those defaults are supplied
here where they are not those of clptools.  What a parameter means here is in `config/original.py`,
which `clpcfset` reads, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import msgspec

from clptools.config import original
from clptools.config.clpconf import name_of, number_of, parameters_of, parsed, text_of
from clptools.config.document import rendered
from clptools.config.groups import ALL_GROUPS
from clptools.config.original import Meant, NotCarried
from clptools.config.variants import REFUSED
from clptools.reports import Report

_SECTIONS = ("heartbeat", "networkpartition", "resource", "monitor")
"""Sections of objects; servers and groups have none."""
_NOTES = ("all/charset", "all/encode", "dummyconf", "trekking/", "cluster/uuid")
"""Notes of the original's editor; they are no parameters."""
_HEARTBEAT = {"cluster/heartbeat/interval": 3_000, "cluster/heartbeat/timeout": 90_000}
"""The original's defaults, in milliseconds."""
_LINK_DEVICES = {"mdc": "mdc", "disk": "diskhb", "com": "comhb"}
"""Types of devices -> the interconnect that they are for."""
_BEFORE = "emergency/preaction/"
_USES = ("userestart", "usefailover", "use")
"""Whether the script runs before a restart, a failover, the final action."""
_NO_RECOVERY = "rm/errordetect/norecovery"

_RESOURCES = ("exec", "fip")
_POLLING = ("interval", "timeout", "reconfirmation")
_MONITORS = ("userw", "mrw", "genw", "ipw", "miiw", "pidw", "bmcw", "diskw", "fipw")


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an import."""

    text: str
    """A `clp.toml`; still to be loaded and checked."""
    reports: tuple[Report, ...] = ()
    """What was not carried, or was guessed."""


def import_clp_conf(data: bytes, file: str = "clp.conf") -> Imported:
    """Translate a `clp.conf`.

    Raises:
        ClpError: it is no such file (too large, not XML, another root, an unknown encoding).
    """
    return _Import(parsed(data, file), file).result()


def _put(table: dict[str, Any], path: str, value: Any) -> None:
    key, _, rest = path.partition(".")
    if rest:
        _put(table.setdefault(key, {}), rest, value)
    elif value is None:
        table.pop(key, None)
    else:
        table[key] = value


class _Import:
    def __init__(self, root: ElementTree.Element, file: str) -> None:
        self.root = root
        self.file = file
        self.reports: list[Report] = []
        self.servers = sorted(
            root.findall("server"), key=lambda server: number_of(server, "priority", 0)
        )
        self.resources: dict[str, ElementTree.Element] = {}
        for element in self._objects("resource"):
            self.resources[f"{element.tag}@{name_of(element)}"] = element
        self.used = {name_of(one) for one in root.iterfind("group/resource")}

    def warn(self, message: str, hint: str = "") -> None:
        self.reports.append(
            Report(severity="warning", message=f"{message}.", hint=hint, file=self.file)
        )

    def _refuse(self, what: str, kind: str, label: str) -> None:
        reason, mend = REFUSED[what].get(kind, (f"no such {what} type", ""))
        self.warn(f"{label} ({kind}): {reason}", mend)

    def _objects(self, section: str) -> Iterator[ElementTree.Element]:
        """The objects of a section: one element each, named by its type."""
        found = self.root.find(section)
        for element in found if found is not None else ():
            if element.tag != "types" and name_of(element):
                yield element

    def result(self) -> Imported:
        document: dict[str, object] = {
            "cluster": self._cluster(),
            "server": [self._server(server) for server in self.servers],
            "interconnect": list(self._interconnects()),
            "np": list(self._arbiters()),
            "group": [self._group(group) for group in self.root.findall("group")],
            "monitor": list(self._monitors()),
        }
        self._name_resources_without_group()
        self._name_other_defaults()
        document = {key: value for key, value in document.items() if value}
        return Imported(text=rendered(document), reports=tuple(self.reports))

    # -- cluster and servers ------------------------------------------------------------

    def _cluster(self) -> dict[str, object]:
        """`[cluster]`; also reports what is in sections that nothing else here reads."""
        found: dict[str, Any] = {"cluster": {"name": "cluster"}}
        if text_of(self.root, _NO_RECOVERY) not in ("", "0"):
            self.warn(
                f"{_NO_RECOVERY}: the original's recovery is switched off, and here it will be ON: "
                "monitors restart, move and stop groups and servers as [monitor.recovery] says",
                "Leave the [[monitor]] tables out until that is wanted, or suspend the cluster as "
                "soon as it runs: clpcl --suspend",
            )
        interval, timeout = (number_of(self.root, tag, ms) / 1000 for tag, ms in _HEARTBEAT.items())
        self.warn(
            f"heartbeat interval {interval:g} s and time-out {timeout:g} s are not taken over: "
            "here a lost server is proven down within seconds, and the defaults are 0.2 and 3.0",
            "Set [cluster] heartbeat_timeout if the network needs more.",
        )

        def read(table: dict[str, Any], tag: str, value: str) -> Meant:
            return original.cluster_parameter(tag, value)

        objects = [f"{where}/{one.tag}@" for where in _SECTIONS for one in self._objects(where)]
        elsewhere = ("server@", "group@", *objects, *_NOTES, *_HEARTBEAT, _NO_RECOVERY)
        if list(self._objects("networkpartition")):  # without one the original does nothing
            found["cluster"]["partition_action"] = original.PARTITION_ACTION
        self._read(self.root, found, "cluster", read, *elsewhere)
        return dict(found["cluster"])

    def _read(
        self,
        element: ElementTree.Element,
        table: dict[str, Any],
        label: str,
        reader: Callable[[dict[str, Any], str, str], Meant],
        *elsewhere: str,
    ) -> None:
        """Sets the keys that the parameters of an element mean; reports those that are not carried.

        Parameters that begin with one of `elsewhere` are read by other methods.
        """
        left: dict[str, list[str]] = {}
        for tag, value in parameters_of(element):
            if tag.startswith(elsewhere):
                continue
            try:
                meant = reader(table, tag, value)
            except NotCarried as fault:
                named = left.setdefault(str(fault), [])
                # A message (`messages/rc@10`) has five switches, and there may be 760 messages.
                shown = "/".join(tag.split("/")[:2]) if tag.startswith("messages/") else tag
                if shown not in named[-1:]:
                    named.append(shown)
                continue
            for key in meant.keys:
                _put(table, key.path, key.value)
            for note in meant.notes:
                self.warn(f"{label}: {note.removesuffix('.')}")
        for reason, tags in left.items():
            self.warn(f"{label}: {', '.join(tags)} not carried: {reason}")

    def _devices(self, kind: str) -> dict[int, dict[str, str]]:
        """Device id -> server -> what the device is there."""
        found: dict[int, dict[str, str]] = {}
        for server in self.servers:
            for device in server.findall("device"):
                number = device.get("id", "")
                if text_of(device, "type") == kind and number.isdigit() and text_of(device, "info"):
                    found.setdefault(int(number), {})[name_of(server)] = text_of(device, "info")
        return found

    def _server(self, server: ElementTree.Element) -> dict[str, object]:
        found: dict[str, object] = {"name": name_of(server)}
        label = f"server {name_of(server)}"
        self._read(server, found, label, original.server_parameter, "priority", "device@")
        for device in server.findall("device"):
            reason = self._unused(device)
            if reason:
                kind, number = text_of(device, "type"), device.get("id")
                self.warn(f"{label}: device {number} ({kind}) not carried: {reason}")
        devices = self._devices("bmc").values()
        bmcs = [device[name_of(server)] for device in devices if name_of(server) in device]
        if bmcs:
            found["bmc"] = {"address": bmcs[0]}
            self.warn(
                f"{label}: the BMC account is not in a readable form",
                f"Set server.bmc.user, and the password: clpbmccnf -u USER {name_of(server)}",
            )
        return found

    def _unused(self, device: ElementTree.Element) -> str:
        """Why a device is not carried; empty: it is."""
        kind = text_of(device, "type")
        if kind in _LINK_DEVICES:
            return REFUSED["interconnect"][_LINK_DEVICES[kind]][0]
        if kind in ("ping", "http", "witness"):
            off = text_of(device, "info") == "0"
            return "every server asks, so this one does, too" if off else ""
        if kind == "lan":
            used = {text_of(link, "device", "0") for link in self._objects("heartbeat")}
            return "" if device.get("id") in used else "no interconnect is on it"
        return "" if kind == "bmc" else "there is no equivalent"

    def _interconnects(self) -> Iterator[dict[str, object]]:
        lans = {**self._devices("lan"), **self._devices("bmc")}
        links = sorted(self._objects("heartbeat"), key=lambda link: number_of(link, "priority", 0))
        for link in links:
            if link.tag not in ("lankhb", "lanhb", "bmchb", "witnesshb"):
                self._refuse("interconnect", link.tag, f"interconnect {name_of(link)}")
                continue
            device = number_of(link, "device", 0)
            table: dict[str, object] = {"name": name_of(link), "type": link.tag, "device": device}
            if link.tag == "witnesshb":
                table["url"] = f"http://{text_of(link, 'host')}:{text_of(link, 'port', '80')}/"
            else:
                table["address"] = lans.get(device, {})
            self._read_others(link, f"interconnect {name_of(link)}")
            yield table

    def _read_others(self, element: ElementTree.Element, label: str) -> None:
        """Reports the parameters of an interconnect or NP resolution that are not carried."""
        known = ("priority", "device", "host", "port", "grp@")
        self._read(element, {}, label, original.other_parameter, *known)

    def _arbiters(self) -> Iterator[dict[str, object]]:
        nps = sorted(self._objects("networkpartition"), key=lambda np: number_of(np, "priority", 0))
        for np in nps:
            if np.tag == "pingnp":
                targets = [ip.text.strip() for ip in np.iter("ip") if ip.text]
                own: dict[str, object] = {"targets": list(dict.fromkeys(targets))}
            elif np.tag == "httpnp":
                own = {"url": f"http://{text_of(np, 'host')}:{text_of(np, 'port', '80')}/"}
            else:
                self._refuse("np", np.tag, f"NP resolution {name_of(np)}")
                continue
            self._read_others(np, f"NP resolution {name_of(np)}")
            kind = np.tag.removesuffix("np")
            yield {"name": name_of(np), "type": kind, "device": number_of(np, "device", 0), **own}

    # -- groups -------------------------------------------------------------------------

    def _group(self, group: ElementTree.Element) -> dict[str, object]:
        name = name_of(group)
        order = sorted(group.findall("policy"), key=lambda policy: number_of(policy, "order", 0))
        found: dict[str, Any] = {"name": name}
        if order:
            found["servers"] = [name_of(policy) for policy in order]
        reader = original.group_parameter
        self._read(group, found, f"group {name}", reader, "policy@", "gid", "resource")
        resources = [
            self._resource(self.resources.get(name_of(one)), name_of(one), name)
            for one in group.findall("resource")
        ]
        kept = [resource for resource in resources if resource is not None]
        names = {str(resource["name"]) for resource in kept}
        for resource in kept:
            depends = resource.get("depends")
            if isinstance(depends, list):
                resource["depends"] = [one for one in depends if one in names]
                gone = ", ".join(one for one in depends if one not in names)
                if gone:
                    label = f"group resource {resource['name']}"
                    self.warn(f"{label}: depend on {gone} not carried: it is not in the group")
        if kept:
            found["resource"] = kept
        return found

    def _name_resources_without_group(self) -> None:
        for reference in self.resources:
            if reference not in self.used:
                self.warn(f"group resource {reference} not carried: no group has it")

    def _name_other_defaults(self) -> None:
        """Reports what a `clp.conf` leaves to defaults of the original that have no equivalent."""
        used = (self.resources[one] for one in self.resources if one in self.used)
        kept = [one for one in used if one.tag in _RESOURCES]
        silent = [name_of(one) for one in kept if not text_of(one, "deact/action")]
        if silent:
            self.warn(
                f"group resources {', '.join(silent)}: the original's default deact/action, "
                "shutdown, not carried: a group whose stop failed stays where it is",
                "Set final_action of a resource: it is for a start that failed everywhere, too.",
            )
        polled = [one for one in self._objects("monitor") if one.tag in _MONITORS[2:]]
        silent = [
            name_of(one)
            for one in polled
            if not all(text_of(one, f"polling/{tag}") for tag in _POLLING)
        ]
        if silent:
            self.warn(
                f"monitors {', '.join(silent)}: interval, timeout and retries that clp.conf does "
                "not state are the defaults of clp.toml(5): in the original they differ by type",
                "Set them as the Cluster WebUI shows them.",
            )

    def _resource(
        self, resource: ElementTree.Element | None, reference: str, group: str
    ) -> dict[str, object] | None:
        if resource is None or resource.tag not in _RESOURCES:
            kind = reference.partition("@")[0]
            self._refuse("group resource", kind, f"group resource {reference} of {group}")
            return None
        found: dict[str, Any] = {"type": resource.tag, "name": name_of(resource)}
        if resource.tag != "exec":
            found["start_retries"] = original.START_RETRIES
        depends = [name_of(one).rpartition("@")[2] for one in resource.findall("depend")]
        if depends:
            found["depends"] = depends
        label = f"group resource {name_of(resource)}"
        self._read(resource, found, label, original.resource_parameter, "depend")
        return found

    # -- monitors -----------------------------------------------------------------------

    def _monitors(self) -> Iterator[dict[str, object]]:
        for monitor in self._objects("monitor"):
            table = self._monitor(monitor)
            if table is not None:
                yield table

    def _monitor(self, monitor: ElementTree.Element) -> dict[str, object] | None:
        name = name_of(monitor)
        found: dict[str, Any] = {"type": monitor.tag, "name": name}
        if monitor.tag not in _MONITORS:
            self._refuse("monitor", monitor.tag, f"monitor {name}")
            return None
        if monitor.tag == "userw":
            found["method"] = "keepalive"
        elif monitor.tag == "genw":
            found["script"] = "genw.sh"
        label, reader = f"monitor {name}", original.monitor_parameter
        self._read(monitor, found, label, reader, "relation", _BEFORE + "use")
        if monitor.tag != "userw":
            # A clp.conf names the script even where no step uses it.
            uses = [use for use in _USES if text_of(monitor, _BEFORE + use) == "1"]
            for key in reader(found, _BEFORE + "use", "1" if uses else "0").keys:
                _put(found, key.path, key.value)
            if uses and len(uses) < len(_USES):
                self.warn(f"{label}: the script of {_BEFORE}{uses[0]} runs before every step here")
            related = {
                text_of(one, "type"): text_of(one, "name") for one in monitor.iter("relation")
            }
            named = next(iter(related.values()), ALL_GROUPS)
            target = related.get("rsc") or related.get("grp") or named
            for key in reader(found, "relation/name", target).keys:
                _put(found, key.path, key.value)
        return found
