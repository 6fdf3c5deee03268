"""`clp.conf` (XML of EXPRESSCLUSTER) as `clp.toml`, with a warning for all that is left behind.

Only what differs from the original's defaults is in a `clp.conf`, so those defaults are supplied
here where they are not those of clptools.  Element names and codes are from public samples;
tags that no sample shows (those of message receive monitors) are read by analogy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

import msgspec

from clptools.config.write import dumps
from clptools.faults import ClpError, ExitCode
from clptools.reports import Report

MAX_BYTES = 4 << 20

FINAL_ACTIONS = {
    1: "none", 2: "stop-group", 3: "stop-cluster", 4: "shutdown", 5: "reboot", 8: "sysrq-panic",
    9: "keepalive-reset", 10: "keepalive-panic", 11: "bmc-reset", 12: "bmc-power-off",
    13: "bmc-power-cycle", 14: "bmc-nmi", 16: "stop-resource",
}  # fmt: skip
"""`emergency/action` of a monitor."""

PARTITION_ACTIONS = {
    0: "none", 1: "stop", 2: "shutdown", 3: "reboot", 4: "sysrq-panic", 5: "keepalive-reset",
    6: "keepalive-panic", 7: "bmc-reset", 8: "bmc-power-off", 9: "bmc-power-cycle", 10: "bmc-nmi",
}  # fmt: skip
"""`cluster/networkpartition/npaction`."""

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*encoding\s*=\s*["']([A-Za-z0-9_-]+)["'][^>]*\?>""")


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an import."""

    text: str
    """A `clp.toml`; still to be loaded and checked."""
    reports: tuple[Report, ...] = ()
    """What was left behind or guessed."""


def import_clp_conf(data: bytes, file: str = "clp.conf") -> Imported:
    """Translate a `clp.conf`.

    Raises:
        ClpError: it is no such file (too large, not XML, another root, an unknown encoding).
    """
    return _Import(_parse(data, file), file).result()


def _parse(data: bytes, file: str) -> ElementTree.Element:
    def refused(reason: str) -> ClpError:
        return ClpError(ExitCode.INVALID_CONFIG, f"{file}: {reason}")

    if len(data) > MAX_BYTES:
        raise refused(f"larger than {MAX_BYTES >> 20} MiB")
    declared = _DECLARED.match(data)
    encoding = declared[1].decode().lower() if declared else "utf-8"
    try:
        # Python knows EUC-JP, GB2312 and SJIS; the XML parser does not.
        text = data.decode("utf-8" if encoding == "ascii" else encoding)
    except LookupError:
        raise refused(f'unknown encoding "{encoding}"') from None
    except UnicodeDecodeError:
        raise refused(f"not {encoding} text") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise refused("has a document type declaration, as no clp.conf has")
    try:
        root = ElementTree.fromstring(text[declared.end() :] if declared else text)
    except ElementTree.ParseError as fault:
        raise refused(f"not XML: {fault}") from None
    if root.tag != "root" or root.find("cluster") is None:
        raise refused("not a clp.conf: there is no <root><cluster>")
    return root


def _text(element: ElementTree.Element, path: str, default: str = "") -> str:
    return (element.findtext(path) or default).strip()


def _number(element: ElementTree.Element, path: str, default: int) -> int:
    value = _text(element, path)
    return int(value) if value.isascii() and value.isdigit() else default


def _name(element: ElementTree.Element) -> str:
    return element.get("name", "")


class _Import:
    def __init__(self, root: ElementTree.Element, file: str) -> None:
        self.root = root
        self.file = file
        self.reports: list[Report] = []
        self.servers = sorted(
            root.findall("server"), key=lambda server: _number(server, "priority", 0)
        )
        self.resources: dict[str, ElementTree.Element] = {}
        for element in self._objects("resource"):
            self.resources[f"{element.tag}@{_name(element)}"] = element

    def warn(self, message: str, hint: str = "") -> None:
        self.reports.append(
            Report(severity="warning", message=f"{message}.", hint=hint, file=self.file)
        )

    def _objects(self, section: str) -> Iterator[ElementTree.Element]:
        """The objects of a section: one element each, named by its type."""
        found = self.root.find(section)
        for element in found if found is not None else ():
            if element.tag != "types" and _name(element):
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
        document = {key: value for key, value in document.items() if value}
        return Imported(text=dumps(document), reports=tuple(self.reports))

    # -- cluster and servers ------------------------------------------------------------

    def _cluster(self) -> dict[str, object]:
        cluster = self.root.find("cluster")
        assert cluster is not None  # _parse saw it
        found: dict[str, object] = {"name": _text(cluster, "name", "cluster")}
        timeout = _number(cluster, "heartbeat/timeout", 0)
        if timeout:
            self.warn(
                f"heartbeat time-out {timeout / 1000:g} s is not taken over: here a lost server is "
                "proven down within seconds, and the default is 3.0",
                "Set [cluster] heartbeat_timeout if the network needs more.",
            )
        action = PARTITION_ACTIONS.get(_number(cluster, "networkpartition/npaction", 1))
        if action:
            found["partition_action"] = action
        return found

    def _devices(self, kind: str) -> dict[int, dict[str, str]]:
        """Device id -> server -> what the device is there."""
        found: dict[int, dict[str, str]] = {}
        for server in self.servers:
            for device in server.findall("device"):
                number = device.get("id", "")
                if _text(device, "type") == kind and number.isdigit() and _text(device, "info"):
                    found.setdefault(int(number), {})[_name(server)] = _text(device, "info")
        return found

    def _server(self, server: ElementTree.Element) -> dict[str, object]:
        found: dict[str, object] = {"name": _name(server)}
        devices = self._devices("bmc").values()
        bmcs = [device[_name(server)] for device in devices if _name(server) in device]
        if bmcs:
            found["bmc"] = {"address": bmcs[0]}
            self.warn(
                f"server {_name(server)}: the BMC account is not in a readable form",
                f"Set server.bmc.user, and the password: clpbmccnf -u USER {_name(server)}",
            )
        return found

    def _interconnects(self) -> Iterator[dict[str, object]]:
        lans = {**self._devices("lan"), **self._devices("bmc")}
        links = sorted(self._objects("heartbeat"), key=lambda link: _number(link, "priority", 0))
        for link in links:
            if link.tag not in ("lankhb", "lanhb", "bmchb", "witnesshb"):
                self.warn(f"interconnect {_name(link)}: {link.tag} is not carried")
                continue
            table: dict[str, object] = {"name": _name(link), "type": link.tag}
            if link.tag == "witnesshb":
                table["url"] = f"http://{_text(link, 'host')}:{_text(link, 'port', '80')}/"
            else:
                table["address"] = lans.get(_number(link, "device", 0), {})
            yield table

    def _arbiters(self) -> Iterator[dict[str, object]]:
        for np in self._objects("networkpartition"):
            if np.tag == "pingnp":
                targets = [ip.text.strip() for ip in np.iter("ip") if ip.text]
                yield {"name": _name(np), "type": "ping", "targets": list(dict.fromkeys(targets))}
            elif np.tag == "httpnp":
                url = f"http://{_text(np, 'host')}:{_text(np, 'port', '80')}/"
                yield {"name": _name(np), "type": "http", "url": url}
            else:
                self.warn(f"NP resolution {_name(np)}: {np.tag} is not carried")

    # -- groups -------------------------------------------------------------------------

    def _group(self, group: ElementTree.Element) -> dict[str, object]:
        name = _name(group)
        order = sorted(group.findall("policy"), key=lambda policy: _number(policy, "order", 0))
        found: dict[str, object] = {
            "name": name,
            "startup": "auto" if _number(group, "start", 1) else "manual",
            "failover": "auto" if _number(group, "failover", 1) else "manual",
            "failback": "auto" if _number(group, "failback", 0) else "manual",
        }
        if order:
            found["servers"] = [_name(policy) for policy in order]
        if _text(group, "comment"):
            found["comment"] = _text(group, "comment")
        resources = [
            self._resource(self.resources.get(_name(one)), _name(one), name)
            for one in group.findall("resource")
        ]
        kept = [resource for resource in resources if resource is not None]
        names = {str(resource["name"]) for resource in kept}
        for resource in kept:
            depends = resource.get("depends")
            if isinstance(depends, list):
                resource["depends"] = [one for one in depends if one in names]
        if kept:
            found["resource"] = kept
        return found

    def _resource(
        self, resource: ElementTree.Element | None, reference: str, group: str
    ) -> dict[str, object] | None:
        if resource is None or resource.tag not in ("exec", "fip"):
            kind = reference.partition("@")[0]
            self.warn(f"group resource {reference} of {group}: {kind} is not carried")
            return None
        found: dict[str, object] = {"type": resource.tag, "name": _name(resource)}
        depends = [_name(one).rpartition("@")[2] for one in resource.findall("depend")]
        if depends:
            found["depends"] = depends
        if resource.tag == "exec":
            found["start"] = _text(resource, "parameters/act/path", "start.sh")
            found["stop"] = _text(resource, "parameters/deact/path", "stop.sh")
            found["timeout"] = _number(resource, "parameters/timeout/start", 1800)
        else:
            address = _text(resource, "parameters/ip")
            found["address"] = address if "/" in address else f"{address}/24"
            if "/" not in address:
                self.warn(f"group resource {_name(resource)}: prefix length /24 is a guess")
        return found

    # -- monitors -----------------------------------------------------------------------

    def _monitors(self) -> Iterator[dict[str, object]]:
        for monitor in self._objects("monitor"):
            table = self._monitor(monitor)
            if table is not None:
                yield table

    def _monitor(self, monitor: ElementTree.Element) -> dict[str, object] | None:
        name = _name(monitor)
        found: dict[str, object] = {"type": monitor.tag, "name": name}
        parameters = monitor.find("parameters")
        parameters = parameters if parameters is not None else ElementTree.Element("parameters")
        if monitor.tag == "userw":
            found["method"] = _text(parameters, "method", "keepalive")
            return found
        if monitor.tag == "mrw":
            found["category"] = _text(parameters, "category")
            keyword = _text(parameters, "keyword")
            if keyword:
                found["keyword"] = keyword
            single = {
                _name(server): _text(server, "parameters/keyword")
                for server in monitor.findall("server")
                if _text(server, "parameters/keyword")
            }
            if single:
                found["keyword_on"] = single
        elif monitor.tag == "genw":
            found["script"] = _text(parameters, "path", "genw.sh")
        elif monitor.tag == "ipw":
            found["targets"] = [ip.text.strip() for ip in parameters.iter("ip") if ip.text]
        else:
            self.warn(f"monitor {name}: {monitor.tag} is not taken over")
            return None
        for key, path in (("interval", "polling/interval"), ("timeout", "polling/timeout")):
            if _text(monitor, path):
                found[key] = _number(monitor, path, 60)
        found["recovery"] = self._recovery(monitor)
        return found

    def _recovery(self, monitor: ElementTree.Element) -> dict[str, object]:
        restarts = _number(monitor, "emergency/threshold/restart", 3)
        failovers = _number(monitor, "emergency/threshold/fo", 1)
        code = _number(monitor, "emergency/action", 1)
        action = FINAL_ACTIONS.get(code, "none")
        if code not in FINAL_ACTIONS:
            self.warn(f"monitor {_name(monitor)}: final action {code} is not carried")
        related = {_text(one, "type"): _text(one, "name") for one in monitor.findall("relation")}
        target = related.get("rsc", "").rpartition("@")[2] or related.get("grp", "")
        found: dict[str, object] = {
            "action": "restart" if restarts else "failover" if failovers else "final",
            "restart_count": restarts,
            "failover_count": failovers,
            "final_action": action,
        }
        if target and found["action"] != "final":
            found["target"] = target
        return found
