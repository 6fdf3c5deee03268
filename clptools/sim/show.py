"""The state of a simulated cluster as text: what is true, and what the cores believe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core.describe import describe_epoch, describe_term

if TYPE_CHECKING:
    from clptools.sim.host import Host
    from clptools.sim.world import World


def describe_world(world: World) -> str:
    """A line for each server, then one for each group."""
    lines = [f"{h.name}  {_host(world, h)}" for h in world.hosts.values()]
    for group in world.settings.groups:
        on = [h.name for h in world.hosts.values() if group.name in h.groups_active()]
        lines.append(f"{group.name}  active on {', '.join(on) if on else 'no server'}")
    return "\n".join(lines)


def _host(world: World, host: Host) -> str:
    if not host.powered:
        return "off"
    if not host.os_up:
        return "boots"
    if not host.configured:
        return "not configured"
    if host.node is None:
        return "up, no agent"
    state = host.node.state
    words = []
    if host.frozen:
        words.append("paused")
    if state.life.newcomer:
        words.append("newcomer")
    if state.election.office == "coordinator":
        words.append(f"coordinator {describe_term(state.election.office_term)}")
    elif state.election.told:
        words.append(f"follows {state.election.told}")
    else:
        words.append("no coordinator")
    others = [n for n in host.node.settings.names if n != host.name]
    out = [n for n in others if host.node.peers.is_out(n)]
    if out:
        words.append(f"out {','.join(out)}")
    for name, group in state.lifecycle.runs.items():
        if group.held:
            words.append(f"holds {name} {describe_epoch(group.seen)} {group.state}")
    for name, monitor in state.monitors.items():
        if monitor.status not in ("Normal", "Offline", "Unused"):
            words.append(f"{name} {monitor.status}")
    if state.policy.shared.suspended:
        words.append("suspended")
    if state.ratio.ratio > 1:
        words.append(f"time-outs x{state.ratio.ratio}")
    return ", ".join(words)
