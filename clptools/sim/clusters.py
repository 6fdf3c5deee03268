"""Sample clusters to rehearse on, by name: `3bmc` is three servers with BMCs, and so on.

bmc     every server has a BMC, and forced stop powers off
lease   no BMC: proof by released, left and lease only (armed watchdogs)
strong  an arbiter of which only one side can hold the lease (etcd); witness and disk likewise
req     that arbiter decides for everyone (`required = true`)
weak    an arbiter that both sides can win (ping): finds a split brain, as it must

`migrate` of 1: resources migrate before the failovers of mrw1.  `prepare` of 1: a failure that mrw1
expects plans a move into its quiet window.  `userw`: the watchdog's method.
`fence`: a server without a BMC has a fence agent, `polled` or asked once it is `silent`.
`ordered` of 1: each group starts after the one before.  `apart`: the first is kept apart from the
others.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from clptools.core.model.settings import (
    Arbiter,
    Bmc,
    Cluster,
    FenceAgent,
    ForcedStop,
    Group,
    Interconnect,
    Monitor,
    Recovery,
    Resource,
    Server,
    Settings,
)
from clptools.core.model.words import (
    BmcAction,
    Exclusive,
    FinalAction,
    RecoveryStep,
    StopKind,
    Timing,
)

NAMED = (
    "1bmc", "2bmc", "2strong", "2bmcstrong", "2req", "3lease", "3bmc", "3bmcreq",
    "4bmcstrong", "5lease", "5bmc", "5bmcstrong",
)  # fmt: skip
"""Configurations that are safe: none of them may ever show a group active twice."""

TURNS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {}) for name in NAMED),
    ("3bmc", {"groups": 3, "resources": 2, "links": 2, "migrate": 1, "prepare": 1}),
    ("2bmc", {"after_recovery": "power-off", "final_action": "bmc-reset", "script": "mend"}),
    ("3lease", {"groups": 2, "final_action": "shutdown", "migrate": 1}),
    ("2bmc", {"groups": 2, "links": 2, "bmchb": 1}),
    ("2bmcstrong", {"groups": 2, "after_recovery": "reset", "final_action": "reboot"}),
    ("5bmc", {"groups": 5, "final_action": "stop-cluster", "script": "mend"}),
    ("3bmcreq", {"links": 2, "final_action": "sysrq-panic", "interval_s": 0.5}),
    ("4bmc", {"groups": 2, "forced_stop": "reset", "final_action": "bmc-power-off"}),
    ("3bmcstrong", {"lease_s": 1.5, "self_stop_s": 3.0, "after_recovery": "power-cycle"}),
    ("2witness", {"groups": 2, "userw": "guard"}),
    ("2bmcwitness", {"links": 2, "bmchb": 1}),
    ("2disk", {"groups": 2, "userw": "ipmi"}),
    ("2bmcdisk", {"final_action": "bmc-reset", "userw": "ipmi"}),
    ("4bmcdisk", {"groups": 2}),
    ("3lease", {"groups": 2, "userw": "guard"}),
    ("3bmc", {"links": 2, "userw": "ipmi"}),
    ("2bmc", {"groups": 2, "userw": "guard"}),
    ("3bmc", {"userw": "none", "forced_stop": "reset"}),
    ("3bmc", {"groups": 3, "ordered": 1}),
    ("3lease", {"groups": 2, "ordered": 1, "apart": "absolute"}),
    ("2bmc", {"groups": 2, "ordered": 1, "apart": "normal"}),
)  # fmt: skip
"""Name and keywords of the clusters that random runs take in turn; all of them are safe."""

LARGE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("7lease", {"groups": 4}),
    ("9bmc", {"groups": 3, "links": 2}),
    ("16lease", {"groups": 8, "interval_s": 1.0, "timeout_s": 5.0, "lease_s": 8.0}),
    ("32bmc", {"groups": 4, "interval_s": 1.0, "timeout_s": 5.0, "lease_s": 8.0}),
)
"""Large ones, which take long: `--sample large` takes them in turn."""

_ARBITERS = {
    "strong": (Arbiter(name="etcd1", type="etcd"),),
    "witness": (Arbiter(name="witness1", type="witness"),),
    "disk": (Arbiter(name="disk1", type="disk"),),
    "req": (Arbiter(name="etcd1", type="etcd", required=True),),
    "weak": (Arbiter(name="ping1", type="ping"),),
}
_NAME = re.compile(r"(\d+)(bmc)?(lease|strong|witness|disk|req|weak)?")


class Unknown(ValueError):
    """No such sample cluster."""


def _parts_of(name: str) -> tuple[int, bool, str]:
    """How many servers, whether they have BMCs, and the kind of arbiter.  Raises Unknown."""
    match = _NAME.fullmatch(name)
    if match is None or not 1 <= int(match[1]) <= 32:
        raise Unknown(f"{name}: no such sample cluster; known: {', '.join(NAMED)}")
    return int(match[1]), match[2] is not None, match[3] or ""


def sample(
    name: str,
    *,
    groups: int = 1,
    resources: int = 1,
    lease_s: float = 3.0,
    self_stop_s: float = 6.0,
    timeout_s: float = 3.0,
    startup_wait_s: float = 60.0,
    interval_s: float = 0.2,
    links: int = 1,
    forced_stop: str = "",
    after_recovery: str = "none",
    final_action: str = "none",
    script: str = "",
    userw: str = "",
    migrate: int = 0,
    prepare: int = 0,
    bmchb: int = 0,
    raid: int = 0,
    ordered: int = 0,
    apart: str = "none",
    fence: str = "none",
) -> Settings:
    """The settings of a sample cluster.  Raises Unknown."""
    count, bmc, kind = _parts_of(name)
    names = tuple(f"server{i + 1}" for i in range(count))
    method = userw or ("softdog" if count >= 3 or kind else "none")
    servers = tuple(
        Server(
            name=n,
            bmc=Bmc(address=f"192.168.0.{11 + i}", user="clp") if bmc else None,
            fences=_fences(i, fence),
        )
        for i, n in enumerate(names)
    )
    interconnects = _lans(names, links, round(interval_s * 1000))
    if bmchb:
        interconnects = (*interconnects, _bmc_heartbeat(servers))
    stops = bmc or fence != "none"
    action = BmcAction(forced_stop or ("power-off" if stops else "none"))
    mrw1 = _bmc_monitor(names, after_recovery, final_action, bool(migrate), bool(prepare))
    monitors = _monitors(names, method, mrw1, script, final_action)
    if raid:
        # A category of its own, whatever the device.
        monitors += (Monitor(name="mrw3", type="mrw", servers=names, category="RAID"),)
    made = (_group(i + 1, names, resources, bool(migrate), bool(prepare)) for i in range(groups))
    return Settings(
        cluster=Cluster(
            heartbeat_interval_ms=round(interval_s * 1000),
            heartbeat_timeout_ms=round(timeout_s * 1000),
            lease_ms=round(lease_s * 1000),
            self_stop_ms=round(self_stop_s * 1000),
            startup_wait_ms=round(startup_wait_s * 1000),
            # A turn is long enough for an agent that logs in before it switches.
            fence_delay_ms=5_000 if fence == "none" else 10_000,
        ),
        servers=servers,
        interconnects=interconnects,
        arbiters=_ARBITERS.get(kind, ()),
        forced_stop=ForcedStop(action=action, timeout_ms=10_000 if fence == "none" else 20_000),
        groups=_ordered_and_apart(tuple(made), bool(ordered), apart),
        monitors=monitors,
    )


def _ordered_and_apart(groups: tuple[Group, ...], ordered: bool, apart: str) -> tuple[Group, ...]:
    """`ordered`: each group starts after the one before and stops after the next one has.

    `apart`: how strictly the first group is kept apart from all others.
    """
    names = [group.name for group in groups]
    if ordered:
        groups = tuple(
            msgspec.structs.replace(
                group,
                start_after=tuple(names[max(0, i - 1) : i]),
                stop_after=tuple(names[i + 1 : i + 2]),
                stop_after_at=tuple(StopKind),
                start_wait_ms=20_000,
                stop_wait_ms=20_000,
            )
            for i, group in enumerate(groups)
        )
    if apart == "none":
        return groups
    first = msgspec.structs.replace(
        groups[0], exclusive_with=tuple(names[1:]), exclusive=Exclusive(apart)
    )
    return first, *groups[1:]


def _fences(place: int, fence: str) -> tuple[FenceAgent, ...]:
    if fence == "none":
        return ()
    plug = {"ip": "192.168.0.9", "plug": str(place + 1)}
    return (FenceAgent(name="pdu1", agent="fence_apc", parameters=plug, poll=fence == "polled"),)


def _bmc_heartbeat(servers: tuple[Server, ...]) -> Interconnect:
    bmcs = {server.name: server.bmc.address for server in servers if server.bmc is not None}
    return Interconnect(name="bmchb1", type="bmchb", addresses=bmcs, interval_ms=1000)


def _lans(names: tuple[str, ...], count: int, interval_ms: int) -> tuple[Interconnect, ...]:
    return tuple(
        Interconnect(
            name=f"lankhb{i + 1}",
            type="lankhb",
            addresses={n: f"10.0.{i}.{j + 1}" for j, n in enumerate(names)},
            interval_ms=interval_ms,
        )
        for i in range(count)
    )


def _group(
    number: int, names: tuple[str, ...], resources: int, migrate: bool, prepare: bool
) -> Group:
    turn = (number - 1) % len(names)
    made: list[Resource] = []
    for i in range(resources):
        name = f"exec{number}" if i == 0 else f"exec{number}{chr(97 + i)}"
        made.append(
            Resource(
                name=name,
                type="exec",
                depends=(made[-1].name,) if made else (),
                start_timeout_ms=10_000,
                stop_timeout_ms=10_000,
                migrate_timeout_ms=10_000,
                migrates=migrate,
                prepare=f"failover{number}/{name}/prepare.sh" if prepare else "",
                prepare_timeout_ms=10_000,
            )
        )
    return Group(
        name=f"failover{number}", servers=names[turn:] + names[:turn], resources=tuple(made)
    )


def _bmc_monitor(
    names: tuple[str, ...], after_recovery: str, final_action: str, migrate: bool, prepare: bool
) -> Monitor:
    return Monitor(
        name="mrw1",
        type="mrw",
        servers=names,
        category="BMCNOTICE",
        keywords={n: f"192.168.0.{i + 1}" for i, n in enumerate(names)},
        stall_on_predictive_failure=True,
        prepare_on_stall=prepare,
        recovery=Recovery(
            action=RecoveryStep.FAILOVER,
            target="failover1",
            final_action=FinalAction(final_action),
            migrate_before_failover=migrate,
            after_recovery=BmcAction(after_recovery),
        ),
    )


def _monitors(
    names: tuple[str, ...],
    method: str,
    mrw1: Monitor,
    script: str,
    final_action: str,
) -> tuple[Monitor, ...]:
    userw = Monitor(
        name="userw",
        type="userw",
        servers=names,
        options={"method": method},
    )
    nic = Monitor(
        name="mrw2",
        type="mrw",
        servers=names,
        category="NIC",
        recovery=Recovery(action=RecoveryStep.RESTART, target="failover1", restart_count=1),
    )
    genw = Monitor(
        name="genw1",
        type="genw",
        servers=names,
        interval_ms=5_000,
        timing=Timing.ACTIVE,
        target="failover1",
        recovery=Recovery(
            action=RecoveryStep.SCRIPT if script else RecoveryStep.RESTART,
            script=script,
            pre_action_script=f"before-{script}" if script else "",
            target="failover1",
            restart_count=2,
            failover_count=1,
            final_action=FinalAction(final_action),
        ),
    )
    return (userw, mrw1, nic, genw)
