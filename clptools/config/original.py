"""The one table of what EXPRESSCLUSTER's parameters are here: tag path -> key, or the reason.

The import of a `clp.conf`, `clpcfset` in the original's words, and the export all go by it.  Paths
and codes are from public samples and tools.  Where neither shows a tag (those of message receive
monitors, `parameters/object`) or a default, what stands here is our choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from clptools.config.clpconf import spelled


class Grade(StrEnum):
    """What became of a parameter."""

    CARRIED = "carried"
    EQUIVALENT = "equivalent"
    """Done in another way here; nothing is lost."""
    DECISION = "needs your decision"
    LOST = "lost"


class NotCarried(Exception):
    """A parameter, or a value of one, that sets no key here; the text is the reason."""

    def __init__(self, reason: str, grade: Grade = Grade.LOST) -> None:
        super().__init__(reason)
        self.grade = grade


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one parameter is here."""

    key: str = ""
    """The key that it sets; empty: none."""
    unit: int = 0
    """How many of its units make one of ours (1,000 for milliseconds); 0: it is text."""
    codes: Mapping[str, str] = {}
    """It is a code -> the word for it here."""
    why_not: Mapping[str, str] = {}
    """Code -> why it has no word here."""
    same: str | None = None
    """The value that says what is always done here."""
    why: str = "there is no equivalent"
    """Why it is not carried, where it sets no key."""
    grade: Grade = Grade.LOST
    by_server: bool = False
    """A value of a single server sets the key with `_on` after its name."""

    def read(self, value: str) -> Any:
        """The key's value.  Raises NotCarried."""
        if self.codes:
            if value not in self.codes:
                reason = self.why_not.get(value, "that code has no equivalent")
                raise NotCarried(reason, self.grade)
            return self.codes[value]
        if not self.key:
            if value == self.same:
                raise NotCarried("that is how it is always done here", Grade.CARRIED)
            raise NotCarried(self.why, self.grade)
        return self._number(value) if self.unit else value

    def _number(self, value: str) -> int | float:
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise NotCarried(f"{spelled(value[:20])} is not a number of up to nine digits")
        found = int(value) / self.unit
        return int(found) if found == int(found) else found

    def write(self, value: object) -> str | None:
        """The parameter's text for a key's value; None: it has none for it."""
        if self.codes:
            return next((code for code, word in self.codes.items() if word == value), None)
        if self.unit:
            if not isinstance(value, int | float) or isinstance(value, bool):
                return None
            found = value * self.unit
            return str(int(found)) if found == int(found) else None
        return str(value)


FINAL_ACTIONS = {
    "1": "none", "2": "stop-group", "3": "stop-cluster", "4": "shutdown", "5": "reboot",
    "8": "sysrq-panic", "9": "keepalive-reset", "10": "keepalive-panic", "11": "bmc-reset",
    "12": "bmc-power-off", "13": "bmc-power-cycle", "14": "bmc-nmi", "16": "stop-resource",
}  # fmt: skip
"""`emergency/action` of a monitor, and `act/action` of a resource."""
NO_FINAL_ACTION = {
    "0": "to go on with the next resource after a failed start is not possible here",
    "15": "I/O fencing is the original's own hardware option: use bmc-reset (11)",
}
"""The codes that have no word."""

PARTITION_ACTIONS = {
    "0": "none", "1": "stop", "2": "shutdown", "3": "reboot", "4": "sysrq-panic",
    "5": "keepalive-reset", "6": "keepalive-panic", "7": "bmc-reset", "8": "bmc-power-off",
    "9": "bmc-power-cycle", "10": "bmc-nmi",
}  # fmt: skip
"""`cluster/networkpartition/npaction`."""

# ---------------------------------------------------------------------- the original's defaults

RESTARTS, FAILOVERS = 3, 1
"""Thresholds of a monitor; a `clp.conf` has only what differs from its defaults."""
PARTITION_ACTION = "shutdown"
STOPS = {"cluster": ("cluster", True), "server": ("server", False), "other": ("group", False)}
"""Below `depend/deact`: the stops at which a group waits for others -> our word, the default."""
EXCLUSIVE = {"0": "", "1": "normal", "2": "absolute"}
"""`exclusive` of a group: how strictly those that have it are kept apart."""
START_RETRIES = {"exec": 0}
"""`act/retry` by type."""
START_RETRIES_OF_OTHERS = 5
SCRIPT_TIMEOUT_S = 1800
"""Of the start and of the stop script of an exec."""
POLLING = {
    "genw": (60, 120, 0), "ipw": (60, 120, 0), "miiw": (10, 180, 3), "pidw": (30, 60, 0),
    "diskw": (60, 120, 0), "fipw": (60, 180, 0), "bmcw": (60, 120, 0),
}  # fmt: skip
"""Type of monitor -> interval and time-out in seconds, retries: ours for what a file leaves out.
The original's differ by type; its files and public pages do not tell them."""
PREFIXES = {4: 24, 6: 128}
"""IP version -> prefix length of a floating address that is written without; our choice."""
ACTION_SCRIPT = "preaction.sh"
DEVICES = {
    "lan": 0, "com": 100, "disk": 300, "mdc": 400, "bmc": 600, "witness": 700, "ping": 10200,
    "http": 10700,
}  # fmt: skip
"""Type of device -> its first number in a file; `clpcfset` also counts each type from 0."""
HEARTBEAT_DEVICES = {
    "lankhb": "lan", "lanhb": "lan", "bmchb": "bmc", "witnesshb": "witness", "diskhb": "disk",
    "comhb": "com", "pingnp": "ping", "httpnp": "http",
}  # fmt: skip
DEFAULT_PORT = "80"
"""Of witnesshb and httpnp."""
RESOURCES = ("exec", "fip")
MONITORS = ("userw", "mrw", "genw", "ipw", "miiw", "pidw", "bmcw", "diskw", "fipw")
LINKS = ("lankhb", "lanhb", "bmchb", "witnesshb")
LINK_DEVICES = {"mdc": "mdc", "disk": "diskhb", "com": "comhb"}
"""Types of devices -> the interconnect that they are for, which is not carried."""
PASSWORDS = ("passwd", "password", "encrypwd", "authkey")
"""Last steps of tags whose values are neither shown nor kept."""
SECRETS = (*PASSWORDS, "snmpcom")
"""Those whose values are never shown."""

# ---------------------------------------------------------------------- rows


def text(key: str) -> Row:
    """The same text here."""
    return Row(key=key)


def number(key: str, unit: int = 1) -> Row:
    """A number."""
    return Row(key=key, unit=unit)


def code(key: str, codes: Mapping[str, str], why_not: Mapping[str, str] | None = None) -> Row:
    """A number that stands for a word."""
    return Row(key=key, codes=codes, why_not=why_not or {})


def only(value: str, why: str, grade: Grade = Grade.LOST) -> Row:
    """Only one value is what is always done here."""
    return Row(same=value, why=why, grade=grade)


def lost(why: str) -> Row:
    """Not carried, and something is lost."""
    return Row(why=why)


def decision(why: str) -> Row:
    """Not carried: somebody must say how it is to be."""
    return Row(why=why, grade=Grade.DECISION)


def otherwise(why: str) -> Row:
    """Not carried, and nothing is lost."""
    return Row(why=why, grade=Grade.EQUIVALENT)


EDITOR = otherwise("it is a note of the original's editor")
_FOLLOWS = otherwise("it follows from timeout")
_LOGS = otherwise(
    "the last lines that a script prints are in the alert log, and all in the journal"
)
_SUSPENDED = (
    "the original's recovery is switched off, and here it is on: leave out the [[monitor]] tables, "
    "or suspend the cluster as soon as it runs (clpcl --suspend)"
)
_NO_WEB = otherwise("there is no Cluster WebUI: clpstat shows, and the other commands change")
_HEARTBEAT = otherwise(
    "a lost server is proven down within seconds here; set heartbeat_interval and "
    "heartbeat_timeout of [cluster] only if the network needs more"
)
_MESSAGES = decision("alerts are chosen by alert.level, not one by one")
_WORDING = otherwise("the subject and the charset of alert mails are not chosen")
_RELAY = otherwise("alert mails go to the relay of alert.smtp")
_ALERTS_TO = {
    "mail/subject": _WORDING,
    "mail/smtp/charset": _WORDING,
    "mail/smtp/subencode": _WORDING,
    "mail/sendtype": _RELAY,
    "mail/smtp/timeout": _RELAY,
}
"""What is not the address, a relay or a receiver: `config/original_alerts.py` has those.  What is
not known is lost, and never taken for a matter of taste."""
_STANDBY = "scripts run only where the group starts or stops"

EMPTY = (
    "heartbeat", "networkpartition", "server", "group", "resource", "monitor", "cluster/trap",
    "cluster/mail", "cluster/mail/smtp", "mail", "mail/smtp",
)  # fmt: skip
"""Sections that a file may have without anything in them."""
CLUSTER: dict[str, Row] = {
    "cluster/name": text("cluster.name"),
    "cluster/comment": otherwise("it has no key; write it as a comment into clp.toml"),
    "cluster/uuid": EDITOR,
    "cluster/heartbeat/": _HEARTBEAT,
    "cluster/networkpartition/npaction": code(
        "cluster.partition_action",
        PARTITION_ACTIONS,
        {"11": "I/O fencing is the original's own hardware option: use bmc-reset (7)"},
    ),
    "cluster/networkpartition/": lost("there is no equivalent"),
    "cluster/cialert/": lost("the LED is switched by clpledctrl, not when a server goes down"),
    "cluster/rsctimeout/": Row(
        same="0", why="each resource has its timeout and final_action", grade=Grade.DECISION
    ),
    "cluster/sysinfo/": only("0", "figures of the system are not collected"),
    "cluster/messages/": _MESSAGES,
    **{f"cluster/{tag}": row for tag, row in _ALERTS_TO.items()},
    "cluster/syslog/": otherwise("alerts are in the journal, with their level"),
    "cluster/dn1000s/": lost("there are no warning lamps: alert.script can switch one"),
    "alertservice/": lost("there are no warning lamps: alert.script can switch one"),
    "all/charset": otherwise("clp.toml is UTF-8"),
    "all/encode": EDITOR,
    "all/serveros": only("linux", "servers, disks and scripts are those of Linux"),
    "dummyconf": EDITOR,
    "trekking/": EDITOR,
    "haltp/": otherwise("a shutdown that hangs is ended by the watchdog of userw"),
    "pm/": otherwise("the agent is started again by systemd, and what runs goes on meanwhile"),
    "rm/errordetect/norecovery": Row(same="0", why=_SUSPENDED, grade=Grade.DECISION),
    "rc/errordetect/": Row(same="0", why=_SUSPENDED, grade=Grade.DECISION),
    "rm/haltcount": lost(
        "there is no limit of final actions: no final action takes the last server"
    ),
    "messages/": _MESSAGES,
    **_ALERTS_TO,
    "webmgr/": _NO_WEB,
    "webalert/": _NO_WEB,
    **dict.fromkeys(EMPTY, otherwise("it is empty")),
    "statsd/": lost("times are not sent to StatsD: metrics are served for Prometheus"),
    "rstd/": lost("there is no REST API: every command has --json"),
}
SERVER: dict[str, Row] = {
    "priority": Row(why="it is the place of the server"),
    "comment": otherwise("it has no key; write it as a comment into clp.toml"),
    "survive": Row(
        same="0",
        why="never do two servers run a group, so none has to survive that",
        grade=Grade.EQUIVALENT,
    ),
}
LINK: dict[str, Row] = {}
"""Of interconnects and NP resolutions."""
GROUP: dict[str, Row] = {
    "comment": text("comment"),
    "gid": EDITOR,
    "start": code("startup", {"1": "auto", "0": "manual"}),
    "failover": code("failover", {"1": "auto", "0": "manual"}),
    "failback": code("failback", {"0": "manual", "1": "auto"}),
    "depend/act/timeout": number("start_wait"),
    "depend/deact/timeout": number("stop_wait"),
}
RESOURCE: dict[str, Row] = {
    "comment": text("comment"),
    "act/retry": number("start_retries"),
    "act/fo": number("failover_on_failure"),
    "act/action": code("final_action", FINAL_ACTIONS, NO_FINAL_ACTION),
    "act/timeout": _FOLLOWS,
    "deact/timeout": _FOLLOWS,
    "deact/retry": only("0", "a stop is tried once: clpgrp -t GROUP -f tries it again"),
    "deact/action": only("1", "a group whose stop failed stays where it is, as Offline Failure"),
}
RESOURCE_TYPES: dict[str, dict[str, Row]] = {
    "exec": {
        "parameters/act/path": text("start"),
        "parameters/deact/path": text("stop"),
        "parameters/deact/sync": only("1", "a stop is always waited for", Grade.EQUIVALENT),
        "parameters/userlog": _LOGS,
        "parameters/logrotate/": _LOGS,
        "parameters/act/postrunothers": only("0", _STANDBY),
        "parameters/act/prerunothers": only("0", _STANDBY),
        "parameters/deact/prerunothers": only("0", _STANDBY),
        "parameters/deact/postrunothers": only("0", _STANDBY),
        "parameters/timeout/startothers": otherwise(_STANDBY),
        "parameters/timeout/stopothers": otherwise(_STANDBY),
    },
    "fip": {"parameters/ip": Row(key="address", by_server=True)},
}
MONITOR: dict[str, Row] = {
    "comment": text("comment"),
    "polling/interval": number("interval"),
    "polling/timeout": number("timeout"),
    "polling/reconfirmation": number("retries"),
    "polling/timing": code("timing", {"0": "always", "1": "active"}),
    "firstmonwait": number("start_wait"),
    "emergency/timeout/notreconfirmation/use": only("1", "a time-out is never retried"),
    "emergency/timeout/notrecovery/use": only(
        "0",
        "a time-out is recovered from as any failure: make timeout long enough",
        Grade.DECISION,
    ),
    "emergency/dumpcollect/": lost("no dump of a process that hangs is taken"),
}
MONITOR_TYPES: dict[str, dict[str, Row]] = {
    "userw": {
        "parameters/method": text("method"),
        "parameters/action": only("RESET", "the timer resets"),
        "parameters/": otherwise("its lengths follow from cluster.self_stop"),
        "polling/": otherwise("its lengths follow from cluster.self_stop"),
        "emergency/": otherwise("what it does is its method"),
        "relation/type": Row(same="cls", why="what it does is its method", grade=Grade.EQUIVALENT),
        "relation/name": Row(
            same="LocalServer", why="what it does is its method", grade=Grade.EQUIVALENT
        ),
        "target": otherwise("it watches its server"),
    },
    "mrw": {
        "parameters/category": text("category"),
        "parameters/keyword": Row(key="keyword", by_server=True),
    },
    "genw": {
        "parameters/path": text("script"),
        "parameters/userlog": _LOGS,
        "parameters/logrotate/": _LOGS,
        "parameters/waitstop": only("0", "there is no equivalent"),
        "parameters/waitmonstart": otherwise("it is for a script that is not waited for"),
        "parameters/default": otherwise("a path that begins with / is an application's"),
    },
    "miiw": {"parameters/object": Row(key="interface", by_server=True)},
    "diskw": {
        "parameters/object": Row(key="path", by_server=True),
        "parameters/size": otherwise("one block is read"),
        "parameters/method": decision("a device is read past the cache, a folder is written to"),
    },
    "fipw": {
        "parameters/monmii": Row(
            same="1", why="the link is always watched, too", grade=Grade.EQUIVALENT
        ),
    },
}
"""Type -> its own rows, which come before those of every monitor."""

SECTIONS: dict[str, dict[str, Row]] = {
    "cluster": CLUSTER, "server": SERVER, "link": LINK, "group": GROUP, "resource": RESOURCE,
    "monitor": MONITOR,
}  # fmt: skip
_TYPES = {"resource": RESOURCE_TYPES, "monitor": MONITOR_TYPES}


def rows_of(section: str, kind: str = "") -> dict[str, Row]:
    """The rows of one sort of object, those of its type first."""
    own = _TYPES.get(section, {}).get(kind, {})
    return {**own, **{tag: row for tag, row in SECTIONS[section].items() if tag not in own}}


def row_of(section: str, kind: str, tag: str) -> Row:
    """The row of a tag path: its own, else the longest one of a part of the tree."""
    own = _TYPES.get(section, {}).get(kind, {})
    for rows in (own, SECTIONS[section]):
        if tag in rows:
            return rows[tag]
        parts = [part for part in rows if part.endswith("/") and f"{tag}/".startswith(part)]
        if parts:
            return rows[max(parts, key=len)]
    return Row()


def device_number(kind: str, number: int) -> int:
    """The number in a file of a device that `clpcfset` may count from 0."""
    return number + DEVICES[kind] if number < 100 else number
