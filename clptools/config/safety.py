"""What a configuration promises: is it safe, how long a take-over takes, what may wait.

*Safe* means: with clocks within 1 % and watchdogs that work, no schedule of faults makes a
group run on two servers (`docs/rules.md`).  The lengths are those
of `core.timing`, which the core itself runs by.  Times are milliseconds; None: unbounded.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from clptools.core.cluster.power import SESSION_MS
from clptools.core.model.options import watchdog_method
from clptools.core.model.settings import Server, Settings
from clptools.core.model.timing import Times, times
from clptools.core.model.words import BmcAction
from clptools.core.phrases import listed

POWER_READ_MS = 50
"""What a BMC usually takes to say that the power is off."""
ECHO_MS = 50
"""How long an "off" waits for the answer of the server's kernel."""
FORCED_STOP_MS = 5000
"""What a forced stop usually takes at most until it is read back (BMCs need 1 to 5 s)."""

AGENT_READ_MS = 2000
"""What a fence agent usually takes to say that the power is off."""
AGENT_STOP_MS = 10_000
"""What a forced stop by a fence agent usually takes at most until it is read back."""

MORE_VOTES = "a third server, or an arbiter ([[np]] etcd, witness, disk)"


class Fault(StrEnum):
    """What happens to a server; the words follow `If a server ...`."""

    POWER = "loses power"
    FREEZE = "freezes"
    CUT = "is cut off"
    DARK = "dies with its BMC"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from one fault of one or all servers."""

    fault: Fault
    servers: tuple[str, ...]
    """Empty: any server."""
    after_ms: int | None = None
    """Its groups run elsewhere after about this long; None: they wait."""
    proof: str = ""
    outcome: str = ""
    """Where it waits: what for."""
    mend: str = ""


class WorstCase(msgspec.Struct, frozen=True, kw_only=True):
    """Upper bounds; None: there is none."""

    detect_ms: int | None
    """Until a silent server counts as lost."""
    self_stop_ms: int | None
    """Until a holder that gets no answer has stopped its groups or was reset."""
    fence_ms: int | None
    """Until a forced stop succeeded or failed."""
    takeover_ms: int | None
    """Until the groups of a lost server run elsewhere if its BMC is dead, too."""


class Lacks(msgspec.Struct, frozen=True, kw_only=True):
    """What servers are known not to be able to do: no length relies on it."""

    watchdogs: dict[str, str] = {}
    """Server -> why its watchdog cannot be armed."""
    unfenced: frozenset[str] = frozenset()
    """Servers whose BMC our account cannot make stop them."""
    unread: frozenset[str] = frozenset()
    """Servers whose BMC our account cannot even ask for the power."""
    passwords: dict[str, tuple[str, ...]] = {}
    """Server -> those of the others that do not have the password of its BMC."""


class Safety(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict."""

    safe: bool
    reasons: tuple[str, ...] = ()
    """Why it is unsafe; empty where it is safe."""
    worst_case: WorstCase
    waits: tuple[str, ...] = ()
    """What a group could end up waiting for."""
    cases: tuple[Case, ...] = ()


def seconds(ms: int) -> str:
    """As messages write it: `13.4 s`."""
    return f"{ms / 1000:.1f} s"


class _Cluster:
    """The configuration with what follows from it for each server."""

    def __init__(self, settings: Settings, lacks: Lacks) -> None:
        self.settings = settings
        self.lacks = lacks
        self.times: Times = times(settings.cluster)
        self.two = len(settings.servers) == 2

    def bound(self, server: Server) -> bool:
        """Whether it can be cleared by lease alone: it binds, and a watchdog enforces it."""
        if server.name in self.lacks.watchdogs:
            return False
        armed = self.settings.leases_armed
        return armed and watchdog_method(self.settings, server.name) != "none"

    def fenced(self, server: Server) -> bool:
        """Whether it can be forced to stop."""
        wanted = self.settings.forced_stop.action is not BmcAction.NONE
        return wanted and server.has_power_control and server.name not in self.lacks.unfenced

    def election_ms(self) -> int:
        """Until another server has authority, if nobody saw that the coordinator died."""
        return self.times.silence_ms + self.times.give_up_ms + 2 * self.times.interval_ms

    def by_lease_ms(self) -> int:
        return self.election_ms() + self.times.clear_by_lease_ms

    def turn_ms(self) -> int:
        """Until it is surely our turn to fence: two exact halves take turns."""
        arbiter = self.settings.arbiter
        if len(self.settings.servers) % 2 or (arbiter is not None and arbiter.strong):
            return 0
        return len(self.settings.servers) * self.times.fence_delay_ms

    def by_power_ms(self, read_ms: int) -> int:
        # With two servers the survivor needs no election: all others are out.
        election = 0 if self.two else self.times.give_up_ms + 2 * self.times.interval_ms
        return self.times.missed_ms + election + read_ms + ECHO_MS

    def by_agents_ms(self, server: Server) -> int:
        """Until an off of fence agents counts: at once after an on, else once it has lasted."""
        ms = self.by_power_ms(AGENT_READ_MS)
        return ms if server.power_is_polled and server.bmc is None else ms + SESSION_MS

    def by_force_ms(self, stop_ms: int = FORCED_STOP_MS) -> int:
        known = self.times.lost_ms + 2 * self.times.interval_ms
        start = known if self.two else max(known, self.election_ms())
        return start + self.turn_ms() + stop_ms

    def without_proof_ms(self) -> int:
        """`takeover_without_proof`."""
        return self.times.lost_ms + self.times.interval_ms

    # -- one fault of one server ---------------------------------------------------------

    def case(self, fault: Fault, server: Server) -> Case:
        ways: list[tuple[int, str]] = []
        readable = server.bmc is not None and server.name not in self.lacks.unread
        agents = bool(server.fences) and server.name not in self.lacks.unread
        if fault is Fault.POWER and readable:
            ways.append((self.by_power_ms(POWER_READ_MS), "BMC reads off"))
        elif fault is Fault.POWER and agents:
            ways.append((self.by_agents_ms(server), "fence agent reads off"))
        if fault in (Fault.FREEZE, Fault.CUT) and self.fenced(server):
            by_bmc = server.bmc is not None
            ms = self.by_force_ms(FORCED_STOP_MS if by_bmc else AGENT_STOP_MS)
            ways.append((ms, "forced stop"))
        if fault is Fault.DARK and agents and self.fenced(server):
            # Its outlet reads on, and is switched off: a server without power has that as well.
            ways.append((self.by_force_ms(AGENT_STOP_MS), "forced stop by fence agent"))
        if self.bound(server):
            ways.append((self.by_lease_ms(), "lease"))
        if self.settings.cluster.takeover_without_proof:
            ways.append((self.without_proof_ms(), "none: takeover_without_proof"))
        if ways:
            after, proof = min(ways)
            return Case(fault=fault, servers=(server.name,), after_ms=after, proof=proof)
        return Case(
            fault=fault,
            servers=(server.name,),
            outcome=self._wait(fault, server),
            mend=self._mend(fault, server),
        )

    def _wait(self, fault: Fault, server: Server) -> str:
        if fault is Fault.CUT and not self.settings.leases_armed:
            return "its groups stay on it, and cannot move until it is heard again"
        resets = watchdog_method(self.settings, server.name) != "none"
        if fault is Fault.FREEZE and resets and server.name not in self.lacks.watchdogs:
            return "its groups wait until its watchdog has reset it and it is back, or for you"
        return "its groups wait for you"

    def _mend(self, fault: Fault, server: Server) -> str:
        mends: list[str] = []
        account = server.name in self.lacks.unfenced | self.lacks.unread
        without = self.lacks.passwords.get(server.name, ())
        if without and fault is not Fault.DARK:
            mends.append(f"the password of its BMC on {listed(without)} (there: clpbmccnf)")
        elif account and fault is not Fault.DARK and server.bmc is None:
            mends.append(f"a {server.power_by} that can be used there")
        elif account and fault is not Fault.DARK:
            mends.append("an account that its BMC lets in, with the level OPERATOR")
        elif fault is Fault.POWER:
            mends.append("[server.bmc] or [[fence]]")
        elif fault is not Fault.DARK and not self.fenced(server):
            bmc = "" if server.has_power_control else " and [server.bmc]"
            mends.append(f'[forced_stop] action = "power-off"{bmc}')
        if not self.settings.leases_armed:
            mends.append(MORE_VOTES)
        elif server.name in self.lacks.watchdogs:
            mends.append(f"a watchdog that can be armed ({self.lacks.watchdogs[server.name]})")
        elif not self.bound(server):
            mends.append("a userw method other than none")
        return ", or ".join(mends)

    def cases(self) -> tuple[Case, ...]:
        """Every fault, servers with the same outcome together."""
        found: list[Case] = []
        servers = self.settings.servers
        for fault in Fault:
            alike: dict[Case, list[str]] = {}
            for server in servers:
                if fault is Fault.DARK and server.bmc is None:
                    continue  # the same as losing power
                case = self.case(fault, server)
                one = msgspec.structs.replace(case, servers=())
                alike.setdefault(one, []).append(server.name)
            for one, names in alike.items():
                every = len(names) == len(servers)
                found.append(msgspec.structs.replace(one, servers=() if every else tuple(names)))
        return tuple(found)

    # -- the verdict ---------------------------------------------------------------------

    def self_stop_ms(self) -> int | None:
        if not self.settings.leases_armed:
            return None
        return self.times.holder_ms + self.times.self_stop_ms

    def reasons(self) -> list[str]:
        found: list[str] = []
        stops = self.self_stop_ms()
        stop = "self-stop, which never comes"
        if stops is not None:
            stop = f"self-stop at {seconds(stops)}"
        if self.settings.cluster.takeover_without_proof:
            found.append(
                f"take-over at {seconds(self.without_proof_ms())} can precede {stop}, because "
                "takeover_without_proof = true asks for no proof that the lost server stopped"
            )
        arbiter = self.settings.arbiter
        bound = [server.name for server in self.settings.servers if self.bound(server)]
        if arbiter is not None and not arbiter.strong and bound:
            found.append(
                f"take-over at {seconds(self.by_lease_ms())} can precede self-stop, which never "
                f"comes, because both halves of a partition can win {arbiter.name} "
                f"({arbiter.type}): each has a coordinator that keeps its own leases running"
            )
        return found

    def waits(self, cases: tuple[Case, ...]) -> list[str]:
        found: list[str] = []
        for case in cases:
            if case.after_ms is None:
                who = " or ".join(case.servers) or "a server"
                mend = f" (mend: {case.mend})" if case.mend else ""
                found.append(f"if {who} {case.fault}, {case.outcome}{mend}")
        if any(server.bmc is not None for server in self.settings.servers):
            found.append(
                f"if a server loses power within {SESSION_MS // 1000} s of a restart of its BMC, "
                "its off proves nothing before that time is over"
            )
        late = [
            server.name
            for server in self.settings.servers
            if server.fences and not server.power_is_polled
        ]
        if late:
            found.append(
                f"if {' or '.join(late)} loses power, off proves nothing before its fence agent "
                f"has read it for {SESSION_MS // 1000} s: nothing reads on before (mend: poll = "
                "true)"
            )
        arbiter = self.settings.arbiter
        count = len(self.settings.servers)
        if arbiter is not None and arbiter.required:
            found.append(f"while {arbiter.name} cannot be reached, every group stops and waits")
        elif arbiter is not None and self.two:
            found.append(
                f"if a server and {arbiter.name} are lost at once and its BMC does not read off, "
                "its groups wait for you"
            )
        elif count > 2 and (arbiter is None or count % 2):
            lost = count - count // 2
            found.append(
                f"if {lost} of {count} servers are lost at once and their BMCs do not read off, "
                "all groups wait for you"
            )
        return found

    def worst_case(self) -> WorstCase:
        stop = self.settings.forced_stop
        fence = self.turn_ms() + stop.timeout_ms
        takeover: int | None = None
        if all(self.bound(server) for server in self.settings.servers):
            takeover = self.by_lease_ms()
        if self.settings.cluster.takeover_without_proof:
            takeover = self.without_proof_ms()
        return WorstCase(
            detect_ms=self.times.lost_ms + self.times.interval_ms,
            self_stop_ms=self.self_stop_ms(),
            fence_ms=fence if all(self.fenced(s) for s in self.settings.servers) else None,
            takeover_ms=takeover,
        )


def safety(settings: Settings, lacks: Lacks | None = None) -> Safety:
    """Judge a configuration that loaded without error, on servers that lack these things."""
    cluster = _Cluster(settings, lacks or Lacks())
    if len(settings.servers) < 2:
        nothing = WorstCase(detect_ms=None, self_stop_ms=None, fence_ms=None, takeover_ms=None)
        wait = "there is no other server: if this one is lost, its groups wait for it"
        return Safety(safe=True, worst_case=nothing, waits=(wait,))
    cases = cluster.cases()
    reasons = cluster.reasons()
    return Safety(
        safe=not reasons,
        reasons=tuple(reasons),
        worst_case=cluster.worst_case(),
        waits=tuple(cluster.waits(cases)),
        cases=cases,
    )
