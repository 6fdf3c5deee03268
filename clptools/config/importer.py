"""A `clp.conf` (EXPRESSCLUSTER) as the tables of `clp.toml`, with what became of each parameter.

`config/original.py` says what each parameter is here.  A `clp.conf` has only what differs from the
original's defaults, so defaults that are not ours are written out.  Each leaf of the file ends
in one `Entry`; the order of elements never matters.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from clptools.config import original
from clptools.config.clpconf import MAX_BYTES, Node, number, parsed, spelled
from clptools.config.document import rendered
from clptools.config.importer_offers import OfferAccount
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
    text = rendered(found.tables, offered=[(one.group, one.text) for one in found.offers])
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


class _Translator(OfferAccount):
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
            "group": [one for group in self.groups if (one := self.group(group))],
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
            offers=tuple(self.offers(tables)),
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


def _url(node: Node) -> str:
    host = node.value("host")
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{host}:{node.value('port', original.DEFAULT_PORT)}/"
