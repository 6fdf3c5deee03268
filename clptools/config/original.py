"""The original's parameters: tag paths of `clp.conf` and of its `clpcfset`, as keys of `clp.toml`.

Shared by the import of a `clp.conf` and by `clpcfset`.  Paths and codes are from public samples
and tools; tags that no sample shows (those of message receive monitors, and `parameters/object`)
are by analogy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

FINAL_ACTIONS = {
    1: "none", 2: "stop-group", 3: "stop-cluster", 4: "shutdown", 5: "reboot", 8: "sysrq-panic",
    9: "keepalive-reset", 10: "keepalive-panic", 11: "bmc-reset", 12: "bmc-power-off",
    13: "bmc-power-cycle", 14: "bmc-nmi", 16: "stop-resource",
}  # fmt: skip
"""`emergency/action` of a monitor, and `act/action` of a resource."""

PARTITION_ACTIONS = {
    0: "none", 1: "stop", 2: "shutdown", 3: "reboot", 4: "sysrq-panic", 5: "keepalive-reset",
    6: "keepalive-panic", 7: "bmc-reset", 8: "bmc-power-off", 9: "bmc-power-cycle", 10: "bmc-nmi",
}  # fmt: skip
"""`cluster/networkpartition/npaction`."""

RESTARTS, FAILOVERS = 3, 1
"""The original's default thresholds; a `clp.conf` has only what differs from them."""
PARTITION_ACTION = PARTITION_ACTIONS[2]
"""The original's default `npaction`."""
START_RETRIES = 5
"""The original's default `act/retry`; that of exec is 0."""


class NotCarried(Exception):
    """A parameter, or a value of one, without an equivalent here; the text is the reason."""


class Key(NamedTuple):
    """A key to set: its path within the object, and its value; None takes it out."""

    path: str
    value: Any


class Meant(NamedTuple):
    """What a parameter means here."""

    keys: tuple[Key, ...] = ()
    notes: tuple[str, ...] = ()


Table = Mapping[str, Any]
Reader = Callable[[Table, str], Meant]
"""The object as it is, the value (empty: taken out) -> what is to be set."""


def tag_of(path: str) -> str:
    """A tag path as the tables here have it: without `/root/` before it."""
    return path.strip("/").removeprefix("root/")


def cluster_parameter(tag: str, value: str) -> Meant:
    """A parameter of the whole cluster; keys are paths from the top.  Raises NotCarried."""
    reader = _CLUSTER.get(tag)
    if reader is not None:
        return reader({}, value)
    if tag.startswith("server@"):
        return server_parameter({}, tag.partition("/")[2], value)
    for start, reason in _CLUSTER_REFUSED.items():
        if tag.startswith(start):
            raise NotCarried(reason)
    raise NotCarried("there is no equivalent")


def server_parameter(server: Table, tag: str, value: str) -> Meant:
    """A parameter of a server, other than its devices.  Raises NotCarried."""
    return _read(_SERVER, server, tag, value)


def other_parameter(table: Table, tag: str, value: str) -> Meant:
    """A parameter of an object of which no parameter is carried.  Raises NotCarried."""
    return _read({}, table, tag, value)


def group_parameter(group: Table, tag: str, value: str) -> Meant:
    """A parameter of a failover group.  Raises NotCarried."""
    if tag.startswith("policy@") and tag.endswith("/order"):
        server = tag[len("policy@") : -len("/order")]
        return Meant((_place(group, "servers", server, value),))
    for start, reason in _GROUP_REFUSED.items():
        if tag.startswith(start):
            raise NotCarried(reason)
    return _read(_GROUP, group, tag, value)


def resource_parameter(resource: Table, tag: str, value: str) -> Meant:
    """A parameter of a group resource.  Raises NotCarried."""
    if tag.startswith("server@"):
        raise NotCarried("all servers have the same")
    of_type = _RESOURCE_TYPES.get(str(resource.get("type")), {})
    return _read({**_RESOURCE, **of_type}, resource, tag, value)


def monitor_parameter(monitor: Table, tag: str, value: str) -> Meant:
    """A parameter of a monitor.  Raises NotCarried."""
    kind = str(monitor.get("type"))
    if kind == "mrw" and tag.startswith("server@") and tag.endswith("/parameters/keyword"):
        server = tag[len("server@") : -len("/parameters/keyword")]
        return Meant((Key(f"keyword_on.{server}", value or None),))
    if tag.startswith("polling/servers@") and tag.endswith("/name"):
        return Meant((_item(monitor, "servers", tag, value),))
    if kind == "ipw" and tag.startswith("parameters/list@") and tag.endswith("/ip"):
        return Meant((_item(monitor, "targets", tag, value),))
    return _read({**_MONITOR, **_MONITOR_TYPES.get(kind, {})}, monitor, tag, value)


def recovery_of(monitor: Table, **changes: Any) -> Meant:
    """Keys of `[monitor.recovery]` with what changes; its first step follows from the counts.

    Without a target (`LocalServer`) there is nothing to restart or to fail over.
    """
    known = {**monitor.get("recovery", {}), **{k: v for k, v in changes.items() if v is not None}}
    for key, value in changes.items():
        if value is None:
            known.pop(key, None)
    if monitor.get("type") == "mrw":
        # Broken hardware is still broken after a restart on it (hardware guide: choose failover).
        known.setdefault("restart_count", 0)
    known["action"] = "final"
    if known.get("target"):
        restarts = known.get("restart_count", RESTARTS)
        failovers = known.get("failover_count", FAILOVERS)
        known["action"] = "restart" if restarts else "failover" if failovers else "final"
    if known.get("script"):
        known["action"] = "script"
    order = ("action", "target", "script", "restart_count", "failover_count")
    names = [*order, *(name for name in known if name not in order)]
    names += [name for name in monitor.get("recovery", {}) if name not in names]
    return Meant(tuple(Key(f"recovery.{name}", known.get(name)) for name in names))


# ---------------------------------------------------------------------- readers


def _read(known: Mapping[str, Reader], table: Table, tag: str, value: str) -> Meant:
    if tag not in known:
        raise NotCarried("there is no equivalent")
    return known[tag](table, value)


def _number(value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise NotCarried(f"{value!r} is not a number")
    return int(value)


def text(key: str) -> Reader:
    """A parameter that is the same text here."""
    return lambda table, value: Meant((Key(key, value or None),))


def number(key: str, unit: float = 1) -> Reader:
    """A number; `unit`: how many of it are one here (1,000 for milliseconds)."""

    def read(table: Table, value: str) -> Meant:
        if not value:
            return Meant((Key(key, None),))
        found = _number(value) / unit
        return Meant((Key(key, int(found) if found == int(found) else found),))

    return read


def code(key: str, codes: Mapping[int, str]) -> Reader:
    """A number that stands for a word."""

    def read(table: Table, value: str) -> Meant:
        if not value:
            return Meant((Key(key, None),))
        if _number(value) not in codes:
            raise NotCarried(f"{value} has no equivalent")
        return Meant((Key(key, codes[int(value)]),))

    return read


def only(value: str, reason: str) -> Reader:
    """A parameter of which only one value is carried: the way it is always done here."""

    def read(table: Table, given: str) -> Meant:
        if given not in ("", value):
            raise NotCarried(reason)
        return Meant()

    return read


def refused(reason: str) -> Reader:
    """A parameter that is refused, with the reason."""

    def read(table: Table, value: str) -> Meant:
        raise NotCarried(reason)

    return read


def _place(table: Table, key: str, name: str, place: str) -> Key:
    """A name's place in a list, from 0."""
    names = [one for one in table.get(key, []) if one != name]
    if place:
        names.insert(_number(place), name)
    return Key(key, names or None)


def _item(table: Table, key: str, tag: str, value: str) -> Key:
    """An item of a list: its number stands after the `@` of the tag."""
    index = _number(tag.partition("@")[2].partition("/")[0])
    items = list(table.get(key, []))
    if value:
        items[index : index + 1] = [value]
    else:
        del items[index : index + 1]
    return Key(key, list(dict.fromkeys(items)) or None)


def _recovery_count(key: str) -> Reader:
    def read(table: Table, value: str) -> Meant:
        return recovery_of(table, **{key: _number(value) if value else None})

    return read


def _final(table: Table, value: str) -> Meant:
    if value and _number(value) not in FINAL_ACTIONS:
        raise NotCarried(f"final action {value} has no equivalent")
    return recovery_of(table, final_action=FINAL_ACTIONS[int(value)] if value else None)


def _target(table: Table, value: str) -> Meant:
    """`relation/name`; the type before it (rsc, grp, cls) is known by the name."""
    name = value.rpartition("@")[2]
    return recovery_of(table, target=None if name in ("", "LocalServer") else name)


def _scripts(table: Table, value: str) -> Meant:
    recovery = table.get("recovery", {})
    if not value or not _number(value):
        return recovery_of(table, script=None)
    meant = recovery_of(table, script=recovery.get("script", "recovery.sh"))
    return Meant(meant.keys, ("The recovery script runs once; then come restart and failover.",))


def _before(table: Table, value: str) -> Meant:
    return recovery_of(table, pre_action_script=value or None)


def _uses_before(table: Table, value: str) -> Meant:
    if value in ("", "0"):
        return recovery_of(table, pre_action_script=None)
    given = table.get("recovery", {}).get("pre_action_script")
    return recovery_of(table, pre_action_script=given or "preaction.sh")


def _stop_timeout(table: Table, value: str) -> Meant:
    """Start and stop have one time-out here: the longer of the two."""
    if not value:
        return Meant()
    wanted, now = _number(value), table.get("timeout", 1800)
    if wanted <= now:
        told = f"timeout stays {now}: it is for start and stop." if wanted != now else ""
        return Meant((), (told,) if told else ())
    return Meant((Key("timeout", wanted),), (f"timeout is now {wanted}, for start and stop.",))


def _address(table: Table, value: str) -> Meant:
    if "/" in value or not value:
        return Meant((Key("address", value or None),))
    prefix = 64 if ":" in value else 24
    told = f"prefix length /{prefix} is a guess"
    return Meant((Key("address", f"{value}/{prefix}"),), (told,))


_AUTO = {1: "auto", 0: "manual"}
_FOLLOWS = refused("it follows from timeout")
_LOGS = refused("the last lines that a script prints are in the alert log")
_SUSPENDED = "recovery rests while the cluster is suspended: clpcl --suspend"
_ALERTS = "alerts go where alert.mail_to and alert.snmp_to say"
_NO_WEB = "there is no Cluster WebUI: clpstat shows and the other commands change"

_CLUSTER: dict[str, Reader] = {
    "cluster/name": text("cluster.name"),
    "cluster/heartbeat/timeout": number("cluster.heartbeat_timeout", 1000),
    "cluster/heartbeat/interval": number("cluster.heartbeat_interval", 1000),
    "cluster/networkpartition/npaction": code("cluster.partition_action", PARTITION_ACTIONS),
    "rm/errordetect/norecovery": only("0", _SUSPENDED),
    "all/serveros": only("linux", "servers, disks and scripts are those of Linux"),
}
_CLUSTER_REFUSED = {
    "haltp/": "a shutdown that hangs is ended by the watchdog of userw",
    "pm/": "the agent is started again by systemd, and what runs goes on meanwhile",
    "cluster/cialert": "the LED is switched by clpledctrl",
    "cluster/rsctimeout": "each resource has its timeout and final_action",
    "rm/errordetect": _SUSPENDED,
    "messages/": "alerts are chosen by alert.level",
    "cluster/messages/": "alerts are chosen by alert.level",
    "cluster/mail/": _ALERTS,
    "cluster/trap/": _ALERTS,
    "mail/": _ALERTS,
    "webmgr/": _NO_WEB,
    "webalert/": _NO_WEB,
}
_SERVER: dict[str, Reader] = {
    "survive": only("0", "never do two servers run a group, so none has to survive that"),
}
_GROUP: dict[str, Reader] = {
    "start": code("startup", _AUTO),
    "failover": code("failover", _AUTO),
    "failback": code("failback", {0: "manual", 1: "auto"}),
    "comment": text("comment"),
}
_GROUP_REFUSED = {
    "exclusive": "groups do not exclude each other: give them different servers",
    "depend/": "groups do not wait for each other: put what belongs together into one group",
}
_RESOURCE: dict[str, Reader] = {
    "comment": text("comment"),
    "act/retry": number("start_retries"),
    "act/fo": number("failover_on_failure"),
    "act/action": code("final_action", FINAL_ACTIONS),
    "act/timeout": _FOLLOWS,
    "deact/timeout": _FOLLOWS,
    "deact/retry": only("0", "a stop is tried once: clpgrp -t GROUP -f tries it again"),
    "deact/action": refused("a group whose stop failed stays where it is, as Offline Failure"),
}
_RESOURCE_TYPES: dict[str, dict[str, Reader]] = {
    "exec": {
        "parameters/act/path": text("start"),
        "parameters/deact/path": text("stop"),
        "parameters/timeout/start": number("timeout"),
        "parameters/timeout/stop": _stop_timeout,
        "parameters/act/sync": only("1", "a start is always waited for"),
        "parameters/deact/sync": only("1", "a stop is always waited for"),
        "parameters/userlog": _LOGS,
        "parameters/logrotate/use": _LOGS,
        "parameters/logrotate/size": _LOGS,
    },
    "fip": {"parameters/ip": _address},
}
_MONITOR: dict[str, Reader] = {
    "comment": text("comment"),
    "polling/interval": number("interval"),
    "polling/timeout": number("timeout"),
    "polling/reconfirmation": number("retries"),
    "polling/timing": code("timing", {0: "always", 1: "active"}),
    "firstmonwait": number("start_wait"),
    "target": lambda table, value: Meant((Key("target", value.rpartition("@")[2] or None),)),
    "relation/type": lambda table, value: Meant(),
    "relation/name": _target,
    "emergency/threshold/restart": _recovery_count("restart_count"),
    "emergency/threshold/fo": _recovery_count("failover_count"),
    "emergency/threshold/script": _scripts,
    "emergency/action": _final,
    "emergency/preaction/path": _before,
    "emergency/preaction/use": _uses_before,
    "emergency/preaction/userestart": only("1", "that script runs before every step"),
    "emergency/preaction/usefailover": only("1", "that script runs before every step"),
    "emergency/timeout/notreconfirmation/use": only("1", "a time-out is never retried"),
    "emergency/timeout/notrecovery/use": only("0", "a time-out is recovered from as any failure"),
}
_MONITOR_TYPES: dict[str, dict[str, Reader]] = {
    "userw": {
        "parameters/method": text("method"),
        "parameters/action": only("RESET", "the timer resets"),
        "parameters/usehb": only("1", "its lengths follow from cluster.self_stop"),
    },
    "mrw": {"parameters/category": text("category"), "parameters/keyword": text("keyword")},
    "genw": {"parameters/path": text("script")},
    "miiw": {"parameters/object": text("interface")},
    "diskw": {"parameters/object": text("path")},
}
