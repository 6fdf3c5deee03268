"""The configuration as the core knows it: frozen, typed, every name resolved.

`clptools.config` fills these from `clp.toml`; no other room sees a missing key or a TOML
table.  Durations are integer milliseconds (`_ms`); order in a tuple is priority.
"""

from __future__ import annotations

from functools import cached_property
from hashlib import blake2b

import msgspec

from clptools.core.model.trap_profiles import TrapProfile
from clptools.core.model.words import (
    BmcAction,
    EventClass,
    Exclusive,
    Failback,
    Failover,
    FinalAction,
    RecoveryStep,
    Startup,
    StopKind,
    Timing,
)

Option = str | int | float | bool | tuple[str, ...] | dict[str, str] | None
"""Value of a key that only one variant (a resource type, a monitor type) understands."""


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every settings value."""


class TrapSource(Frozen, frozen=True, kw_only=True):
    """A further address from which a server's traps may come: the BMC's other port, or the
    manager of a chassis that speaks for several servers."""

    address: str
    variable: str = ""
    """OID of the variable that names the server; empty: every trap from that address is this
    server's."""
    value: str = ""
    """What that variable says for this server (its slot)."""


class Bmc(Frozen, frozen=True, kw_only=True):
    """A server's baseboard management controller, as reached over the BMC network."""

    address: str
    port: int = 623
    user: str = ""
    protocol: str = "ipmi"
    """`ipmi` or `redfish`."""
    system: str = ""
    """`redfish`: which of the BMC's systems is meant; empty: it has only one."""
    certificate: str = ""
    """`redfish`: SHA-256 of the BMC's certificate, `sha256:` and 64 digits."""
    ca: str = ""
    """`redfish`: PEM file of the certificate authority, if `certificate` is empty."""
    trap_sources: tuple[TrapSource, ...] = ()

    @property
    def is_redfish(self) -> bool:
        """Whether it is reached by Redfish rather than by IPMI over LAN."""
        return self.protocol == "redfish"

    @property
    def where(self) -> str:
        """Address and port, which identify the BMC."""
        return f"{self.address}:{self.port}"


class FenceAgent(Frozen, frozen=True, kw_only=True):
    """`[[fence]]`: an installed fence agent, with its parameters for one server."""

    name: str
    agent: str
    """File name of the program: `fence_apc_snmp`."""
    parameters: dict[str, str] = {}
    """Its parameters as the agent reads them, including those of this server (`parameters_on`)."""
    password_file: str = ""
    """File with its password; empty: it needs none."""
    order: int = 1
    """The server's agents of the same order form a level: all of them are switched, then all are
    read."""
    poll: bool = False
    """Its `status` is read at intervals, not only once its server is silent."""
    timeout_ms: int = 30_000
    """Time-out of one run."""


class Server(Frozen, frozen=True, kw_only=True):
    """One configured server."""

    name: str
    bmc: Bmc | None = None
    fences: tuple[FenceAgent, ...] = ()
    """Sorted by `order`."""

    @property
    def has_power_control(self) -> bool:
        """Whether its power can be read and switched: by its BMC, or by fence agents."""
        return self.bmc is not None or bool(self.fences)

    @property
    def power_is_polled(self) -> bool:
        """Whether its power is read while it is heard."""
        return self.bmc is not None or any(fence.poll for fence in self.fences)

    @property
    def power_by(self) -> str:
        """What reads and switches its power, in words; empty: nothing does."""
        if self.bmc is not None:
            return "BMC"
        names = " and ".join(fence.name for fence in self.fences)
        return f"fence agent {names}" if names else ""

    @property
    def levels(self) -> tuple[tuple[FenceAgent, ...], ...]:
        """Its fence agents, grouped by `order`."""
        orders = sorted({fence.order for fence in self.fences})
        return tuple(tuple(f for f in self.fences if f.order == order) for order in orders)

    @property
    def order_ms(self) -> int:
        """How long its fence agents may take to carry out one command; 0: it has none."""
        return max((sum(f.timeout_ms for f in level) for level in self.levels), default=0)


class Interconnect(Frozen, frozen=True, kw_only=True):
    """One heartbeat path; the order in `Settings.interconnects` is its priority."""

    name: str
    type: str
    """`lankhb`, `lanhb`, `bmchb` or `witnesshb`."""
    addresses: dict[str, str]
    """Server name -> its address on this path (for `bmchb`: its BMC's)."""
    interval_ms: int = 200
    url: str = ""
    """`witnesshb` only."""
    carrier: str = "timer"
    """`bmchb` only: `timer` (the BMC's watchdog timer carries beats) or `power`."""

    @property
    def is_lan(self) -> bool:
        """Whether heartbeats travel on it as datagrams between the servers."""
        return self.type in ("lankhb", "lanhb")


class Arbiter(Frozen, frozen=True, kw_only=True):
    """One NP resolution resource (`[[np]]`): who decides an exact tie."""

    name: str
    type: str
    """`majority`, `ping`, `http`, `witness`, `disk` or `etcd`."""
    interval_ms: int = 1000
    timeout_ms: int = 1000
    required: bool = False
    """etcd only: it replaces the majority, for everyone."""
    options: dict[str, Option] = {}

    @property
    def decides(self) -> bool:
        """Whether it can decide a tie at all (`majority` is only a name for the default)."""
        return self.type != "majority"

    @property
    def strong(self) -> bool:
        """Whether at most one side of a partition can win it."""
        return self.type in ("witness", "disk", "etcd")


class ForcedStop(Frozen, frozen=True, kw_only=True):
    """`[forced_stop]`: how a server is fenced if it cannot be cleared otherwise."""

    action: BmcAction = BmcAction.NONE
    timeout_ms: int = 30_000
    retries: int = 2


class ServerGroup(Frozen, frozen=True, kw_only=True):
    """`[[server_group]]`: a dynamic failover prefers servers of the same server group."""

    name: str
    servers: tuple[str, ...]


class Resource(Frozen, frozen=True, kw_only=True):
    """One group resource; `options` belong to its type alone."""

    name: str
    type: str
    depends: tuple[str, ...] = ()
    """Names of resources of the same group that start before it and stop after it."""
    start_timeout_ms: int = 1_800_000
    stop_timeout_ms: int = 1_800_000
    migrate_timeout_ms: int = 1_800_000
    migrates: bool = False
    """It can move its state to another server before a failover (`migrate`)."""
    prepare: str = ""
    """Script that prepares the target server of a planned move: absolute, or relative to
    `scripts/`; empty: there is none."""
    prepare_timeout_ms: int = 1_800_000
    start_retries: int = 0
    failover_on_failure: int = 1
    final_action: FinalAction = FinalAction.NONE
    comment: str = ""
    options: dict[str, Option] = {}


class Group(Frozen, frozen=True, kw_only=True):
    """One failover group."""

    name: str
    servers: tuple[str, ...]
    """Servers that may run it, best first."""
    startup: Startup = Startup.AUTO
    failover: Failover = Failover.AUTO
    failback: Failback = Failback.MANUAL
    server_groups: tuple[str, ...] = ()
    start_after: tuple[str, ...] = ()
    """Groups that must be online, on any server, before it is started."""
    start_after_same_server: tuple[str, ...] = ()
    """As `start_after`, but a group that runs or starts on another server is not waited for."""
    start_wait_ms: int = 1_800_000
    """How long it waits for these before people are told. It still starts later."""
    stop_after: tuple[str, ...] = ()
    """Groups that must have stopped before it is stopped."""
    stop_after_at: tuple[StopKind, ...] = (StopKind.CLUSTER,)
    """At which stops it waits for these."""
    stop_wait_ms: int = 1_800_000
    """How long it waits for these; then it stops anyway."""
    exclusive_with: tuple[str, ...] = ()
    """Groups from which it is kept apart: see `Settings.apart`."""
    exclusive: Exclusive = Exclusive.ABSOLUTE
    resources: tuple[Resource, ...] = ()
    """In an order that respects `depends`."""
    comment: str = ""

    def resource(self, name: str) -> Resource | None:
        """The resource of that name, or None."""
        return next((r for r in self.resources if r.name == name), None)


def dependents(group: Group | None, resource: str) -> list[str]:
    """Everything that directly or indirectly depends on `resource`, in start order."""
    found: list[str] = []
    for candidate in group.resources if group is not None else ():
        if any(d == resource or d in found for d in candidate.depends):
            found.append(candidate.name)
    return found


def dependencies(group: Group, resource: str) -> list[str]:
    """Everything that `resource` directly or indirectly depends on, in start order."""
    wanted = {resource}
    for candidate in reversed(group.resources):
        if candidate.name in wanted:
            wanted.update(candidate.depends)
    return [r.name for r in group.resources if r.name in wanted and r.name != resource]


class Recovery(Frozen, frozen=True, kw_only=True):
    """What a monitor's error leads to (`[monitor.recovery]`)."""

    action: RecoveryStep = RecoveryStep.FINAL
    target: str = ""
    """A group, a group resource, or `All Groups`; empty: this server (final action only)."""
    script: str = ""
    """Absolute, or relative to `scripts/`: loading the configuration has put `monitor.s/<monitor>/`
    before it. The same goes for `pre_action_script`."""
    restart_count: int = 3
    failover_count: int = 1
    window_ms: int = 86_400_000
    """Restarts and failovers are counted within a window of this length."""
    final_action: FinalAction = FinalAction.NONE
    migrate_before_failover: bool = False
    """Before the target's resources are stopped, those that can migrate move their state to the
    other server."""
    failover_outside_server_group: bool = False
    pre_action_script: str = ""
    after_recovery: BmcAction = BmcAction.NONE
    """What the BMC does after the recovery."""
    after_recovery_deadline_ms: int = 300_000


class SnmpUser(Frozen, frozen=True, kw_only=True):
    """`[[monitor.snmpv3_user]]`: a USM user; its keys are in `snmp/<user>`, never here."""

    user: str
    auth_protocol: str = "sha256"
    """`md5`, `sha`, `sha224`, `sha256`, `sha384` or `sha512`."""
    priv_protocol: str = "aes"
    """`aes`, `aes192`, `aes256`, `des`, or `none` (authNoPriv, an explicit choice)."""


class QuietWindow(Frozen, frozen=True, kw_only=True):
    """A local time of day in which a planned move does the least harm."""

    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    """Weekdays on which it may begin; Monday is 0."""
    begin: int
    """Minutes after midnight."""
    end: int
    """Minutes after midnight, up to 24 h. If not above `begin`, it is on the day after."""


class Monitor(Frozen, frozen=True, kw_only=True):
    """One monitor resource, with the reference's common parameters."""

    name: str
    type: str
    servers: tuple[str, ...]
    interval_ms: int = 60_000
    timeout_ms: int = 120_000
    retries: int = 0
    start_wait_ms: int = 0
    timing: Timing = Timing.ALWAYS
    target: str = ""
    comment: str = ""
    recovery: Recovery = Recovery()
    # message receive monitors only
    category: str = ""
    keywords: dict[str, str] = {}
    """Server -> keyword there. An absent server has none: any device of the category counts."""
    stall_on_predictive_failure: bool = False
    stall_on_performance_down: bool = False
    prepare_on_stall: bool = False
    """A predicted failure plans a move of the recovery's target into the next quiet window."""
    quiet_windows: tuple[QuietWindow, ...] = ()
    recover_on: tuple[EventClass, ...] = (EventClass.FATAL,)
    communities: tuple[str, ...] = ()
    """For BMCNOTICE (key `community`). Empty: `public`, or none at all if there are
    `snmpv3_users`."""
    snmpv3_users: tuple[SnmpUser, ...] = ()
    options: dict[str, Option] = {}


class Cluster(Frozen, frozen=True, kw_only=True):
    """`[cluster]`."""

    name: str = "cluster"
    port: int = 29002
    heartbeat_interval_ms: int = 200
    heartbeat_timeout_ms: int = 3_000
    lease_ms: int = 3_000
    self_stop_ms: int = 6_000
    fence_delay_ms: int = 5_000
    startup_wait_ms: int = 300_000
    takeover_without_proof: bool = False
    partition_action: str = "stop"
    action_command: str = ""
    journal_bytes: int = 268_435_456
    metrics: str = ""
    """Loopback address with port, or path of a Unix socket, where agents serve metrics."""
    revoked: tuple[str, ...] = ()
    """Names of secrets for callers outside (`clpcfctrl --keygen --name`) that open nothing."""
    max_reboots: int = 3
    """How many final actions in a row may end this machine; 0: no limit."""
    max_reboots_reset_ms: int = 3_600_000
    """After running this long without another one, the count starts again."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """The durations on which promise 1 depends. They must not differ between servers
        unnoticed."""
        return (self.lease_ms, self.self_stop_ms, self.startup_wait_ms, self.fence_delay_ms)


FIRST_START = "first start"
"""`Pushed.how` of the file that the first agent of a cluster found."""


class Pushed(Frozen, frozen=True, kw_only=True):
    """How a revision came to be in force."""

    user: str = ""
    server: str = ""
    """The server where it was asked for."""
    how: str = "push"
    """`push`, `rollback to 3`, `first start`."""
    at: float = 0.0
    """Wall clock of that server, seconds since 1970."""
    without: tuple[str, ...] = ()
    """Servers that it did not reach. Each takes the configuration over before it takes part."""


class InForce(Frozen, frozen=True, kw_only=True):
    """The part of a revision that decides between servers. While two revisions are in force, both
    are asked."""

    names: tuple[str, ...]
    arbiter: Arbiter | None
    cluster: Cluster
    first: str
    """The first configured group; empty: there is none."""
    lost_ms: int
    """`heartbeat_timeout` as configured, not stretched, because stretching reaches the servers one
    after another."""

    @property
    def leases_armed(self) -> bool:
        """Whether the holder's lease binds: three or more servers, or an arbiter."""
        return len(self.names) >= 3 or self.arbiter is not None


class Settings(Frozen, frozen=True, kw_only=True, dict=True):
    """A whole configuration, checked."""

    cluster: Cluster = Cluster()
    servers: tuple[Server, ...] = ()
    interconnects: tuple[Interconnect, ...] = ()
    arbiters: tuple[Arbiter, ...] = ()
    forced_stop: ForcedStop = ForcedStop()
    server_groups: tuple[ServerGroup, ...] = ()
    groups: tuple[Group, ...] = ()
    monitors: tuple[Monitor, ...] = ()
    trap_profiles: tuple[TrapProfile, ...] = ()
    revision: int = 0
    ratio: int = 1
    """How many times as long as configured these time-outs are."""

    # These are cached, because every step of a core asks for them several times.

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Server names, best first."""
        return tuple(s.name for s in self.servers)

    @cached_property
    def voters(self) -> int:
        """Servers, arbiter and durations as one number, which is equal if votes are counted
        equally.

        It includes which servers' power can be read: after a boot, a server whose power cannot be
        read is admitted by its `member` bit.
        """
        servers = [(s.name, s.has_power_control) for s in self.servers]
        what = msgspec.msgpack.encode((servers, self.arbiter, self.cluster.lengths))
        return int.from_bytes(blake2b(what, digest_size=6).digest(), "big")

    @property
    def halves_take_turns(self) -> bool:
        """Whether two exact halves may each fence the other, one after the other."""
        return len(self.servers) % 2 == 0 and not (self.arbiter is not None and self.arbiter.strong)

    def server(self, name: str) -> Server | None:
        """The server of that name, or None."""
        return self._servers.get(name)

    def addresses_of(self, name: str) -> tuple[str, ...]:
        """That server's addresses on the interconnects, by priority, each once."""
        found = (path.addresses.get(name, "") for path in self.interconnects if path.is_lan)
        return tuple(dict.fromkeys(filter(None, found)))

    def power_at(self, name: str) -> str:
        """What answers for that server's power: its BMC's address, or its fence agents as
        configured; empty: nothing."""
        found = self.server(name)
        if found is None:
            return ""
        where = "" if found.bmc is None else found.bmc.where
        if not found.fences:
            return where
        told = [(f.name, f.agent, f.order, sorted(f.parameters.items())) for f in found.fences]
        digest = blake2b(msgspec.msgpack.encode(told), digest_size=6).hexdigest()
        return f"{where} fence {digest}".strip()

    def group(self, name: str) -> Group | None:
        """The group of that name, or None."""
        return self._groups.get(name)

    def group_of(self, target: str) -> Group | None:
        """The group called `target`, or the group of the resource called `target`."""
        return self._groups.get(target) or self._groups_by_resource.get(target)

    def monitor(self, name: str) -> Monitor | None:
        """The monitor of that name, or None."""
        return self._monitors.get(name)

    def monitors_on(self, server: str) -> tuple[Monitor, ...]:
        """The monitors that run on a server."""
        return self._monitors_by_server.get(server, ())

    # If two have one name, which only a faulty file has, the first counts; so the dict is built
    # from the end.

    @cached_property
    def _servers(self) -> dict[str, Server]:
        return {s.name: s for s in reversed(self.servers)}

    @cached_property
    def _groups(self) -> dict[str, Group]:
        return {g.name: g for g in reversed(self.groups)}

    @cached_property
    def _groups_by_resource(self) -> dict[str, Group]:
        return {r.name: g for g in reversed(self.groups) for r in g.resources}

    @cached_property
    def _monitors(self) -> dict[str, Monitor]:
        return {m.name: m for m in reversed(self.monitors)}

    @cached_property
    def _monitors_by_server(self) -> dict[str, tuple[Monitor, ...]]:
        found: dict[str, list[Monitor]] = {}
        for monitor in self.monitors:
            for server in dict.fromkeys(monitor.servers):
                found.setdefault(server, []).append(monitor)
        return {server: tuple(there) for server, there in found.items()}

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Group -> its place in the configuration, from 0."""
        return {
            name: place for place, name in enumerate(dict.fromkeys(g.name for g in self.groups))
        }

    @cached_property
    def apart(self) -> dict[str, dict[str, Exclusive]]:
        """Group -> groups that it is kept apart from, and how strictly.

        Either of the two groups may say so; if both do, the stricter word counts.
        """
        found: dict[str, dict[str, Exclusive]] = {}
        for group in self.groups:
            for other in group.exclusive_with:
                for one, two in ((group.name, other), (other, group.name)):
                    told = found.setdefault(one, {})
                    if told.get(two) is not Exclusive.ABSOLUTE:
                        told[two] = group.exclusive
        return found

    @cached_property
    def arbiter(self) -> Arbiter | None:
        """The arbiter that decides a tie: the first configured one that can."""
        return next((a for a in self.arbiters if a.decides), None)

    def without_communities(self) -> Settings:
        """A copy without SNMP communities, because the journal keeps settings but never secrets."""
        return msgspec.structs.replace(
            self,
            monitors=tuple(
                msgspec.structs.replace(m, communities=()) if m.communities else m
                for m in self.monitors
            ),
        )

    @cached_property
    def in_force(self) -> InForce:
        """The part of this configuration that decides between servers."""
        cluster = self.cluster
        return InForce(
            names=self.names,
            arbiter=self.arbiter,
            cluster=cluster,
            first=self.groups[0].name if self.groups else "",
            lost_ms=cluster.heartbeat_timeout_ms // self.ratio,
        )

    @cached_property
    def leases_armed(self) -> bool:
        """Whether the holder's lease binds: three or more servers, or an arbiter."""
        return self.in_force.leases_armed
