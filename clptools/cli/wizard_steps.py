"""The steps of `clpcfset wizard`: what each is about, what it asks for a new object, and how."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple, TextIO

from clptools.cli.cfset_session import Session, make, path_of
from clptools.config.edit import Configuration, Found
from clptools.config.monitors import BMCNOTICE
from clptools.config.references import lacking
from clptools.config.table import fields_of
from clptools.faults import ClpError, ExitCode


class Step(NamedTuple):
    """One step."""

    title: str
    about: str
    kind: str
    wanted: int
    """How many there usually are: while there are fewer, Enter adds one."""
    add: Callable[[Session, Talk], None] | None = None
    """None: there is one, always."""


class _Asking:
    """Asks for the keys of one object."""

    def __init__(self, session: Session, talk: Talk, found: Found) -> None:
        self.config = session.config
        self.talk = talk
        self.path = path_of(found)

    def key(self, key: str, default: str = "", question: str = "") -> str:
        """One key; left alone where the answer is empty."""
        path = f"{self.path}.{key}"
        about = self._about(path)

        def take(given: str) -> None:
            if given:
                self.config.set(path, given)

        return self.talk.until(f"  {question or key}", take, default, about)

    def required(self) -> None:
        """Asks for the required keys of the object's type."""
        found, _ = self.config.object_at(self.path)
        for field in fields_of(found.kind, found.table, self.config.registries).values():
            if field.required and field.name not in found.table:
                while not self.key(field.name):
                    self.talk.say(f"  It needs {field.name}: {field.help}")

    def _about(self, path: str) -> str:
        field = self.config.place(path).field
        return f"{field.help} ({field.parse.name})"


def _ask_type(session: Session, talk: Talk, kind: str, question: str, default: str) -> str:
    """Asks for a type; types of the original that are not carried are refused with the reason."""
    return talk.until(question, lambda given: session.config.check_type(kind, given), default)


def _named(
    session: Session, talk: Talk, kind: str, default: str, *, type: str = "", owner: str = ""
) -> Found:
    made: list[Found] = []

    def take(name: str) -> None:
        if name in session.config.names(kind):
            raise ClpError(ExitCode.REFUSED, f"{name} is there already.", "Change that: [c].")
        made.append(make(session, kind, name, type=type, owner=owner))

    talk.until("Name", take, default)
    return made[-1]


def _free(config: Configuration, kind: str, stem: str) -> str:
    taken = [*config.names(kind), *(config.names("group") if kind == "resource" else ())]
    return next(name for n in range(1, len(taken) + 2) if (name := f"{stem}{n}") not in taken)


# ---------------------------------------------------------------------- what each step asks


def _server(session: Session, talk: Talk) -> None:
    name = _free(session.config, "server", "server")
    asking = _Asking(session, talk, _named(session, talk, "server", name))
    if asking.key("bmc.address", question="Address of its BMC (empty: it has none)"):
        asking.key("bmc.user", "clp", "Account on its BMC (the password: clpbmccnf)")
    joined = asking.path.partition(".")[2]
    for path in lacking(session.config, joined):
        if ".bmc." in path:
            continue  # asked above
        of, _, key = path.removesuffix(f".{joined}").rpartition(".")

        def take(given: str, path: str = path) -> None:
            if given:
                session.config.set(path, given)

        talk.until(f"  Its {key} in {of.partition('.')[2]}", take)


def _interconnect(session: Session, talk: Talk) -> None:
    talk.say("  lankhb: LAN, kernel mode in the original; lanhb: LAN, user mode; bmchb: BMC;")
    talk.say("  witnesshb: a witness server. DISK, COM and mirror communication are not carried.")
    kind = _ask_type(session, talk, "interconnect", "Type", "lankhb")
    found = make(session, "interconnect", type=kind)
    asking = _Asking(session, talk, found)
    if kind in ("lankhb", "lanhb"):
        for server in session.config.names("server"):
            asking.key(f"address.{server}", question=f"Address of {server}")
    elif kind == "bmchb":
        for each in session.config.all_of("server"):
            if "bmc" not in each.table:
                talk.say(f"  {each.name} has no BMC yet: step back and change it.")
    asking.required()


def _np(session: Session, talk: Talk) -> None:
    talk.say("  etcd, witness, disk: strong, one side alone can win; ping, http: both may.")
    kind = _ask_type(session, talk, "np", "Type", "ping")
    _Asking(session, talk, make(session, "np", type=kind)).required()


def _group(session: Session, talk: Talk) -> None:
    config = session.config
    found = _named(session, talk, "group", _free(config, "group", "failover"), type="failover")
    asking = _Asking(session, talk, found)
    asking.key("servers", ",".join(config.names("server")), "Servers that may run it, best first")
    asking.key("startup", "auto", "Start with the cluster")
    asking.key("failover", "auto", "Failover")
    asking.key("failback", "manual", "Failback")


def _resource(session: Session, talk: Talk) -> None:
    config = session.config
    groups = config.names("group")
    group = talk.until("Group", lambda given: _exists(config, given), groups[-1] if groups else "")
    kind = _ask_type(session, talk, "resource", "Type (exec, fip, ocf, service)", "exec")
    found = _named(session, talk, "resource", _free(config, "resource", kind), type=kind,
                   owner=group)  # fmt: skip
    asking = _Asking(session, talk, found)
    asking.required()
    if kind == "ocf":
        _agent(session, asking, found)
    if kind == "exec":
        asking.key("timeout", "1800", "Seconds that its start or stop may take")
        talk.say(f"  Its scripts: scripts/{group}/{found.name}/start.sh and stop.sh.")


def _agent(session: Session, asking: _Asking, found: Found) -> None:
    """The times that the agent advises, and the parameters that it needs."""
    from clptools.cli.cfset_agents import offer

    made = offer(session, found)
    for one in made.lacks if made is not None else ():
        asking.key(f"parameters.{one.name}", "", one.shortdesc or one.name)


def _exists(config: Configuration, group: str) -> None:
    config.find("group", group)


def _monitor(session: Session, talk: Talk) -> None:
    config = session.config
    types = [str(one.table.get("type")) for one in config.all_of("monitor")]
    default = "mrw" if "userw" in types else "userw"
    known = ", ".join(config.registries.monitors)
    kind = _ask_type(session, talk, "monitor", f"Type ({known})", default)
    found = _named(session, talk, "monitor", config.free_name("monitor", kind), type=kind)
    asking = _Asking(session, talk, found)
    if kind == "userw":
        asking.key("method", "softdog", "What resets a server that stands still")
        return
    if kind == "mrw":
        _message_receive(session, talk, asking, found)
    asking.required()
    if kind != "mrw":
        asking.key("interval", "60", "Seconds between two checks")
    _recovery(session, asking, found)


def _message_receive(session: Session, talk: Talk, asking: _Asking, found: Found) -> None:
    asking.key("category", BMCNOTICE, "Category")
    if found.table.get("category") != BMCNOTICE:
        asking.key("keyword", question="Keyword: the device that is meant (empty: any)")
        return
    talk.say("  The keyword is the address[:port] on which a server receives its BMC's traps.")
    servers = session.config.names("server")
    first = _first_lan(session.config)
    asking.key("keyword", first.get(servers[0], "") if servers else "", "Keyword, common")
    for server in servers:
        asking.key(f"keyword_on.{server}", first.get(server, ""), f"Keyword on {server}")
    for key, said in (
        ("stall_on_predictive_failure", "Status Stall when the BMC predicts a failure"),
        ("stall_on_performance_down", "Status Stall when the BMC tells of low performance"),
    ):
        value = "true" if talk.yes(f"  {said}", True) else "false"
        session.config.set(f"{asking.path}.{key}", value)
    asking.key("community", "public", "SNMP community")


def _first_lan(config: Configuration) -> dict[str, str]:
    for found in config.all_of("interconnect"):
        if found.table.get("type") in ("lankhb", "lanhb"):
            return dict(found.table.get("address", {}))
    return {}


def _recovery(session: Session, asking: _Asking, found: Found) -> None:
    config = session.config
    groups = config.names("group")
    action = asking.key(
        "recovery.action", "failover", "Recovery (script, restart, failover, final)"
    )
    if action == "script":
        asking.key("recovery.script", "recovery.sh", "Its script")
    if action in ("restart", "failover"):
        target = groups[0] if groups else "All Groups"
        asking.key("recovery.target", target, "Recovery target: a group, a resource, All Groups")
    asking.key("recovery.final_action", "none", "Final action")
    if found.table.get("category") == BMCNOTICE:
        asking.key("recovery.after_recovery", "reset", "What the BMC does after the recovery")


STEPS = (
    Step(
        "the cluster",
        "Its name, and other keys: lease=4, forced_stop.action=power-off.",
        "cluster",
        1,
    ),
    Step("servers", "By host name, best first, each with its BMC.", "server", 2, _server),
    Step(
        "interconnects",
        "The paths of heartbeats, by priority.",
        "interconnect",
        1,
        _interconnect,
    ),
    Step("NP resolution", "Who decides when servers no longer hear each other.", "np", 0, _np),
    Step("failover groups", "What moves as one between servers.", "group", 1, _group),
    Step("group resources", "What starts and stops with its group.", "resource", 1, _resource),
    Step("monitors", "What is watched, and what is done then.", "monitor", 2, _monitor),
)


# ---------------------------------------------------------------------- showing


def listing(kind: str, objects: list[Found], servers: list[str]) -> list[str]:
    """The objects of a kind, numbered; interconnects as a table with a column a server."""
    if kind != "interconnect" or not objects:
        return [f"  {place:>2}  {describe(found)}" for place, found in enumerate(objects, 1)]
    rows = [["", "TYPE", "NAME", *servers]]
    for place, found in enumerate(objects, 1):
        given = found.table.get("address", {})
        addresses = [str(given.get(server, "-")) for server in servers]
        rows.append([str(place), str(found.table.get("type", "")), found.name, *addresses])
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(size) for cell, size in zip(row, wide, strict=True)).rstrip()
        for row in rows
    ]


def describe(found: Found) -> str:
    """An object on one line."""
    said = [f"{found.name:<12}"]
    for key, value in found.table.items():
        if key in ("name", "user", "resource", "snmpv3_user") or (key == "type" and not value):
            continue
        said.append(str(value) if key == "type" else f"{key}={_short(value)}")
    if found.owner:
        said.append(f"(in {found.owner})")
    line = "  ".join(said)
    return line if len(line) <= 110 else line[:109] + "…"


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}:{_short(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ",".join(_short(one) for one in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---------------------------------------------------------------------- questions and answers


CANCEL = "<"


class Ended(Exception):
    """There are no more answers: end of the pipe, or Ctrl-D."""


class Cancelled(Exception):
    """The operator does not want to answer this: `<`."""


class Talk:
    """Asks on `out`, reads from standard input."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._echo = not sys.stdin.isatty()

    def say(self, text: str = "") -> None:
        print(text, file=self._out)

    def ask(self, question: str, default: str = "", about: str = "") -> str:
        """One line; the default where it is empty.  `?` shows what it is about.

        Raises Ended, and Cancelled for `<`.
        """
        shown = f" [{default}]" if default else ""
        while True:
            print(f"{question}{shown}: ", end="", file=self._out, flush=True)
            line = sys.stdin.readline()
            if not line:
                self.say()
                raise Ended
            answer = line.strip()
            if self._echo:
                self.say(answer)
            if answer == CANCEL:
                raise Cancelled
            if answer != "?" or not about:
                return answer or default
            self.say(f"  {about}")

    def until(
        self, question: str, take: Callable[[str], None], default: str = "", about: str = ""
    ) -> str:
        """Asks until `take` accepts the answer; its fault is shown before the next try."""
        while True:
            answer = self.ask(question, default, about)
            try:
                take(answer)
            except ClpError as fault:
                self.say(f"  {fault.message}")
                if fault.hint:
                    self.say(f"  {fault.hint}")
            else:
                return answer

    def yes(self, question: str, default: bool) -> bool:
        while True:
            answer = self.ask(f"{question} (y/n)", "y" if default else "n").lower()
            if answer in ("y", "yes", "n", "no"):
                return answer.startswith("y")
