"""What a monitoring system reads of this server: Prometheus text.

The figures are those of the status, the counters, and what was counted here since the agent
started.  A scrape costs the core one view at most every half second, however many ask.
Format: https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import msgspec

from clptools.agent import clock
from clptools.agent.service_history import History
from clptools.api.messages import EventRecord
from clptools.core.model.view import ServerView, StatusView
from clptools.core.model.words import PowerState
from clptools.version import VERSION

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FRESH_MS = 500
"""A text of this age is handed out again."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

CLUSTER_WORDS = ("Normal", "Caution", "Error", "Stopped")
Labels = Mapping[str, str]


class Family(msgspec.Struct, frozen=True):
    """One metric with all its values."""

    name: str
    kind: str
    """`gauge` or `counter`."""
    help: str
    values: tuple[tuple[Labels, float], ...]


class Metrics:
    """The text, made at most every half second."""

    def __init__(
        self,
        server: str,
        view: Callable[[], StatusView],
        counters: Callable[[], Mapping[str, int]],
        checks_took_s: Callable[[], Mapping[str, float]],
    ) -> None:
        """`counters`: everything counted, by `door.reason`."""
        self.history = History(server)
        self._view = view
        self._counters = counters
        self._checks_took_s = checks_took_s
        self._made = (-FRESH_MS, "")

    def saw(self, record: EventRecord) -> None:
        """A record that is new."""
        self.history.saw(record, clock.boot_ms())

    def text(self) -> str:
        """All metrics."""
        now = clock.boot_ms()
        at, text = self._made
        if now - at >= FRESH_MS:
            text = "".join(written(family) for family in self.families() if family.values)
            self._made = now, text
        return text

    def families(self) -> tuple[Family, ...]:
        """All metrics, those without a value too."""
        view = self._view()
        self.history.holds(view.groups)
        return (
            *_of_cluster(view),
            *_of_servers(view),
            *_of_groups(view),
            *_of_monitors(view),
            _of_checks(self._checks_took_s()),
            *_of_history(self.history),
            *_of_agent(self._counters()),
        )


def written(family: Family) -> str:
    """A family as lines."""
    lines = [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
    for labels, value in family.values:
        named = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        lines.append(
            f"{family.name}{{{named}}} {value:.10g}" if named else f"{family.name} {value:.10g}"
        )
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _one(name: str, help: str, value: float) -> Family:
    return Family(name, "gauge", help, (({}, value),))


def _of_cluster(view: StatusView) -> Iterable[Family]:
    cluster = view.cluster
    mine = next((s for s in view.servers if s.local), None)
    yield Family(
        "clptools_info",
        "gauge",
        "The agent that answers.",
        (
            (
                {
                    "cluster": cluster.name,
                    "server": mine.name if mine else "",
                    "version": VERSION,
                },
                1,
            ),
        ),
    )
    yield Family(
        "clptools_cluster_status",
        "gauge",
        "1 for the word that clpstat shows for the cluster.",
        tuple(({"status": word}, word == cluster.status) for word in CLUSTER_WORDS),
    )
    yield _one("clptools_cluster_quorate", "Whether a coordinator has authority.", cluster.quorate)
    yield _one("clptools_cluster_suspended", "Whether the cluster is suspended.", cluster.suspended)
    yield _one("clptools_cluster_term", "Number of the election in force.", cluster.term)
    yield _one("clptools_cluster_timeout_ratio", "See clptoratio.", cluster.toratio)
    yield _one("clptools_configuration_revision", "Configuration in force here.", cluster.revision)


def _of_servers(view: StatusView) -> Iterable[Family]:
    servers = view.servers
    yield Family(
        "clptools_server_online",
        "gauge",
        "Whether a server is Online, or Caution, as this one sees it.",
        tuple(({"server": s.name}, s.status in ("Online", "Caution")) for s in servers),
    )
    yield Family(
        "clptools_server_status",
        "gauge",
        "1 for the word that clpstat shows for the server.",
        tuple(({"server": s.name, "status": s.status}, 1) for s in servers),
    )
    yield Family(
        "clptools_server_coordinator",
        "gauge",
        "Whether a server is the coordinator.",
        tuple(({"server": s.name}, s.name == view.cluster.coordinator) for s in servers),
    )
    yield Family(
        "clptools_watchdog_armed",
        "gauge",
        "Whether a watchdog resets the server when its user space stands still.",
        tuple(({"server": s.name, "method": s.watchdog or "none"}, s.armed) for s in servers),
    )
    yield Family(
        "clptools_holder_lease_seconds",
        "gauge",
        "How long the lease still runs that a server's groups are held by.",
        tuple(({"server": s.name}, s.lease_s) for s in servers if s.lease_s is not None),
    )
    yield from _of_heartbeats(servers)
    yield from _of_bmcs(servers)
    open_events: Counter[tuple[str, str]] = Counter()
    for server in servers:
        open_events.update((server.name, event.event_class) for event in server.open_events)
    yield Family(
        "clptools_hardware_events_open",
        "gauge",
        "Open hardware events by class; a server without any has one line with 0.",
        tuple(
            ({"server": name, "class": kind}, count) for (name, kind), count in open_events.items()
        )
        + tuple(({"server": s.name, "class": "none"}, 0) for s in servers if not s.open_events),
    )


def _of_heartbeats(servers: tuple[ServerView, ...]) -> Iterable[Family]:
    mine = [s for s in servers if s.local]
    paths = [
        ({"heartbeat": path.name, "type": path.type, "peer": peer}, seen)
        for server in mine
        for path in server.heartbeats
        for peer, seen in path.peers.items()
    ]
    yield Family(
        "clptools_heartbeat_normal",
        "gauge",
        "Whether this server hears the peer on that path.",
        tuple((labels, seen.status == "Normal") for labels, seen in paths),
    )
    yield Family(
        "clptools_heartbeat_age_seconds",
        "gauge",
        "How long ago the newest heartbeat of the peer came on that path.",
        tuple((labels, seen.last_seen_s) for labels, seen in paths if seen.last_seen_s is not None),
    )
    yield Family(
        "clptools_arbiter_normal",
        "gauge",
        "Whether an NP resolution resource answers the server.",
        tuple(
            ({"server": s.name, "arbiter": a.name, "type": a.type}, a.status == "Normal")
            for s in servers
            for a in s.np
        ),
    )


def _of_bmcs(servers: tuple[ServerView, ...]) -> Iterable[Family]:
    with_bmc = [(s.name, s.bmc) for s in servers if s.bmc is not None and s.bmc.asked]
    yield Family(
        "clptools_bmc_reachable",
        "gauge",
        "Whether a server's BMC answers this one.",
        tuple(({"server": name}, bmc.reachable) for name, bmc in with_bmc),
    )
    yield Family(
        "clptools_bmc_can_prove",
        "gauge",
        "Whether the BMC's off would be accepted as proof now.",
        tuple(({"server": name}, bmc.can_prove) for name, bmc in with_bmc),
    )
    yield Family(
        "clptools_bmc_latency_seconds",
        "gauge",
        "How long the newest answer of the BMC took.",
        tuple(
            ({"server": name}, bmc.latency_ms / 1000)
            for name, bmc in with_bmc
            if bmc.latency_ms is not None
        ),
    )
    yield Family(
        "clptools_bmc_power_on",
        "gauge",
        "Whether the BMC reads on; no line while that is unknown.",
        tuple(
            ({"server": name}, bmc.power == PowerState.ON)
            for name, bmc in with_bmc
            if bmc.power in (PowerState.ON, PowerState.OFF)
        ),
    )


def _of_groups(view: StatusView) -> Iterable[Family]:
    groups = view.groups
    yield Family(
        "clptools_group_online",
        "gauge",
        "Whether a group is Online, by the server that holds it.",
        tuple(({"group": g.name, "server": g.current or ""}, g.status == "Online") for g in groups),
    )
    yield Family(
        "clptools_group_status",
        "gauge",
        "1 for the word that clpstat shows for the group.",
        tuple(({"group": g.name, "status": g.status}, 1) for g in groups),
    )
    yield Family(
        "clptools_group_waiting_seconds",
        "gauge",
        "How long a group has waited to be started, mostly for proof; 0: it does not wait.",
        tuple(({"group": g.name}, g.waiting_for.since_s if g.waiting_for else 0) for g in groups),
    )
    yield Family(
        "clptools_group_wanted",
        "gauge",
        "Whether a group is to run: nobody stopped it.",
        tuple(({"group": g.name}, g.wanted) for g in groups),
    )
    yield Family(
        "clptools_group_failed_starts",
        "gauge",
        "Servers on which the start failed since the group ran last.",
        tuple(({"group": g.name}, g.failures) for g in groups),
    )
    yield Family(
        "clptools_group_copies",
        "gauge",
        "Servers that each say that they run the group, if more than one does; else 0.",
        tuple(({"group": g.name}, len(g.copies)) for g in groups),
    )
    yield Family(
        "clptools_resource_online",
        "gauge",
        "Whether a group resource is Online.",
        tuple(
            ({"group": g.name, "resource": r.name, "type": r.type}, r.status == "Online")
            for g in groups
            for r in g.resources
        ),
    )


def _of_monitors(view: StatusView) -> Iterable[Family]:
    each = [
        ({"monitor": m.name, "type": m.type, "server": server}, here)
        for m in view.monitors
        for server, here in m.servers.items()
    ]
    yield Family(
        "clptools_monitor_status",
        "gauge",
        "1 for the word that clpstat shows for the monitor on that server.",
        tuple(({**labels, "status": here.status}, 1) for labels, here in each),
    )
    for name, what in (
        ("restarts", "restarts"),
        ("failovers", "failovers"),
        ("scripts", "scripts"),
    ):
        yield Family(
            f"clptools_monitor_{name}",
            "gauge",
            f"How many {what} its recovery has used up; reset by clpmonctrl -c.",
            tuple((labels, getattr(here, name)) for labels, here in each),
        )


def _of_checks(took_s: Mapping[str, float]) -> Family:
    return Family(
        "clptools_monitor_check_seconds",
        "gauge",
        "How long the newest check of a monitor on this server took.",
        tuple(({"monitor": name}, seconds) for name, seconds in took_s.items()),
    )


def _of_history(history: History) -> Iterable[Family]:
    services = [({"group": name}, s) for name, s in history.services.items()]
    since = "as this server saw it since its agent started."
    yield Family(
        "clptools_group_moves_total",
        "counter",
        f"How often a group came online on another server, {since}",
        tuple((labels, s.moves) for labels, s in services),
    )
    yield Family(
        "clptools_group_interruptions_total",
        "counter",
        f"How often a group was out of service and came back, {since}",
        tuple((labels, s.interruptions) for labels, s in services),
    )
    yield Family(
        "clptools_group_interruption_seconds_total",
        "counter",
        f"How long all of these were together, {since}",
        tuple((labels, s.out_ms / 1000) for labels, s in services),
    )
    yield Family(
        "clptools_group_last_interruption_seconds",
        "gauge",
        "How long the newest of these was.",
        tuple((labels, s.last_ms / 1000) for labels, s in services),
    )
    yield Family(
        "clptools_server_losses_total",
        "counter",
        f"How often a server fell silent for heartbeat_timeout, {since}",
        tuple(({"server": name}, count) for name, count in history.lost.items()),
    )
    yield Family(
        "clptools_records_total",
        "counter",
        "Lines of the alert log by server and level since this agent started.",
        tuple(
            ({"server": server, "level": level}, count)
            for (server, level), count in history.records.items()
        ),
    )


_GAUGES = ("lag_ms", "worst_lag_ms", "queue", "waiting")
"""Counters of the agent that go up and down."""


def _of_agent(counters: Mapping[str, int]) -> Iterable[Family]:
    doors = {name: name.partition(".")[::2] for name in counters}
    yield Family(
        "clptools_traps_total",
        "counter",
        "Traps by what became of them, as clpstat --hw counts them.",
        tuple(
            ({"fate": fate}, counters[name])
            for name, (door, fate) in doors.items()
            if door == "trap"
        ),
    )
    yield Family(
        "clptools_agent_events_total",
        "counter",
        "Everything else that the agent counts, as GetCounters has it.",
        tuple(
            ({"door": door, "what": what}, counters[name])
            for name, (door, what) in doors.items()
            if door != "trap" and what not in _GAUGES
        ),
    )
    yield Family(
        "clptools_agent_level",
        "gauge",
        "Queues and delays of the agent; those in _ms are milliseconds.",
        tuple(
            ({"door": door, "what": what}, counters[name])
            for name, (door, what) in doors.items()
            if door != "trap" and what in _GAUGES
        ),
    )
    yield from _of_process()


def _of_process() -> Iterable[Family]:
    """The names that Prometheus client libraries use; nothing where /proc does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        used, started = int(fields[11]) + int(fields[12]), int(fields[19])
        yield Family(
            "process_cpu_seconds_total", "counter", "CPU time used.", (({}, used / _TICKS),)
        )
        yield _one("process_resident_memory_bytes", "Memory in use.", int(fields[21]) * _PAGE)
        began = clock.wall_s() - clock.boot_ms() / 1000 + started / _TICKS
        yield _one("process_start_time_seconds", "When it started, since 1970.", round(began, 2))
        yield _one("process_open_fds", "Open files.", len(os.listdir("/proc/self/fd")))
