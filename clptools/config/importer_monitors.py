"""Monitors of a `clp.conf`."""

from __future__ import annotations

from typing import Any

from clptools.config import offers, original
from clptools.config.clpconf import Node, number
from clptools.config.groups import ALL_GROUPS
from clptools.config.importer_account import Account, parts, put
from clptools.config.monitors import is_driver_category
from clptools.config.original import Grade, NotCarried
from clptools.config.translation import Remark

_BEFORE = "emergency/preaction/"
_USES = ("userestart", "usefailover", "use")
"""Whether the script runs before a restart, a failover, the final action."""
_POLLING = {"interval": "interval", "timeout": "timeout", "reconfirmation": "retries"}
_RELATIONS = {"rsc": 0, "grp": 1, "cls": 2}
"""Which of several targets is recovered: the least number."""


class MonitorAccount(Account):
    """Translates monitors."""

    def monitor(self, monitor: Node) -> dict[str, Any] | None:
        name, kind, label = monitor.label, monitor.tag, f"monitor {monitor.label}"
        if kind not in original.MONITORS:
            offer = name if kind in offers.CHECKS else ""
            if offer:
                self.offered_monitors.append(monitor)
            self.refused[name] = self.refuse("monitor", monitor, kind, label, offer=offer)
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
        self.rows(monitor, found, label, "monitor", kind)
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
        servers = [one.value("name") for one in parts(monitor, "polling", "servers")]
        if any(servers):
            found["servers"] = list(dict.fromkeys(filter(None, servers)))
        steps = [f"polling/{one.step}" for one in parts(monitor, "polling", "servers")]
        self.carried(monitor, label, *steps, *(f"{step}/name" for step in steps))
        target = self.target(monitor.find("target"), "target", label)
        if target:
            found["target"] = target
            if monitor.tag in ("fipw", "pidw"):
                found["timing"] = "active"

    def _script(self, monitor: Node, found: dict[str, Any], label: str) -> None:
        """What is special of genw: exit statuses, and whether it is waited for."""
        statuses = monitor.find("parameters/normalval")
        if statuses is not None and statuses.text:
            values = [one.strip() for one in statuses.text.split(",")]
            if all(one.isascii() and one.isdigit() and number(one, 999) < 256 for one in values):
                wanted = [int(one) for one in values]
                if wanted != [0]:
                    found["normal"] = wanted
                self.end(statuses, label, "parameters/normalval", Grade.CARRIED)
        sync = monitor.find("parameters/sync")
        if sync is not None and sync.text == "0":
            self.end(
                sync, label, "parameters/sync", Grade.DECISION,
                "its script is run to its end here, so it is without recovery: one that goes on "
                "would count as an error at its timeout",
                "Let the script check once and end, or watch the program with pidw; then write "
                "[monitor.recovery].",
            )  # fmt: skip
        elif sync is not None and sync.text in ("", "1"):
            self.carried(monitor, label, "parameters/sync")

    def _lists(self, monitor: Node, found: dict[str, Any], label: str) -> None:
        """Addresses of ipw, those of single servers, too."""
        steps: list[str] = []
        for owner, path in ((monitor, "targets"), *(
            (one, f"targets_on.{one.label}") for one in monitor.all("server")
        )):  # fmt: skip
            lists = parts(owner, "parameters", "list")
            addresses = list(dict.fromkeys(filter(None, (one.value("ip") for one in lists))))
            if addresses:
                put(found, path, addresses)
            before = f"{owner.step}/" if owner is not monitor else ""
            steps += [f"{before}parameters/{one.step}" for one in lists]
        self.carried(monitor, label, *steps, *(f"{step}/ip" for step in steps))

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
                self.end(node, label, tag, Grade.DECISION, reason)
        for tag, key in (("restart", "restart_count"), ("fo", "failover_count")):
            if counts[tag] is not None:
                recovery[key] = counts[tag]
        self._final_action(monitor, recovery, label)
        uses = [use for use in _USES if monitor.value(_BEFORE + use) == "1"]
        if uses and is_driver_category(monitor.value("parameters/category")):
            for use in uses:
                reason = "a driver's message is acted on at once, without a script before"
                self.end(monitor.find(_BEFORE + use), label, _BEFORE + use, Grade.LOST, reason)
        elif uses:
            recovery["pre_action_script"] = path
            if len(uses) < len(_USES):
                text = f"{label}: the script of {_BEFORE}{uses[0]} runs before every step here"
                self.remarks.append(Remark(about=f"{label}: before", text=text))
        self._preaction(monitor, label, used=bool(uses or counts["script"]))
        found["recovery"] = recovery

    def _preaction(self, monitor: Node, label: str, *, used: bool) -> None:
        """A `clp.conf` names the script even where no step uses it."""
        self.carried(monitor, label, f"{_BEFORE}path")
        self.switches(monitor, label, *(_BEFORE + use for use in _USES))
        for tag in ("default", "timeout"):
            node = monitor.find(_BEFORE + tag)
            grade = Grade.DECISION if used else Grade.EQUIVALENT
            reason = "the script may run as long as timeout of the monitor"
            self.end(node, label, _BEFORE + tag, grade, reason)

    def _final_action(self, monitor: Node, recovery: dict[str, Any], label: str) -> None:
        tag = "emergency/action"
        node = monitor.find(tag)
        if node is None or not node.text:
            return
        why_not = {code: why for code, why in original.NO_FINAL_ACTION.items() if code != "0"}
        row = original.code("final_action", original.FINAL_ACTIONS, why_not)  # 0 is of resources
        try:
            recovery["final_action"] = row.read(node.text)
            self.end(node, label, tag, Grade.CARRIED)
        except NotCarried as reason:
            self.end(node, label, tag, reason.grade, str(reason))

    def _count(self, monitor: Node, tag: str, label: str) -> int | None:
        node = monitor.find(tag)
        if node is None or not node.text:
            return None
        try:
            found = _whole(node.text)
        except NotCarried as reason:
            self.end(node, label, tag, reason.grade, str(reason))
            return None
        self.end(node, label, tag, Grade.CARRIED)
        return found

    def _recovery_target(self, monitor: Node, label: str) -> str:
        relations = [one for one in monitor.all("relation") if not one.label]
        if not relations:
            return ALL_GROUPS
        best = min(relations, key=lambda one: _RELATIONS.get(one.value("type"), 9))
        for one in relations:
            if one is not best:
                reason = "one target is recovered: the resource, or else the group"
                self.all_lost(one, label, reason)
        if best.value("type") in _RELATIONS:
            self.end(best.find("type"), label, "relation/type", Grade.CARRIED)
        if best.value("name") in ("", "LocalServer"):
            self.carried(monitor, label, "relation", "relation/name")
            return ""
        return self.target(best.find("name"), "relation/name", label)


def _whole(text: str) -> int:
    found = original.number("count").read(text)
    assert isinstance(found, int)
    return found
