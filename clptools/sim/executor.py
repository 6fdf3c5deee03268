"""Carries out the actions of a core in the simulated world, as `agent/executor.py` does really.

Long work is only begun; its end comes back as an event, to the incarnation that began it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from clptools.core.cluster.timeout_ratio import stretched
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.options import watchdog_method
from clptools.sim.host import SECOND, Host, Watchdog
from clptools.sim.network import Delivery
from clptools.sim.operations import Operations

if TYPE_CHECKING:
    from clptools.sim.world import World


DISK_US = 5_000
"""Until the disk has what is written to it."""


def configured_method(host: Host) -> str:
    """By which means the configuration on this server arms its watchdog."""
    return watchdog_method(host.settings, host.name)


class Executor:
    """One row of the table for each kind of action."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.delivery = Delivery(world)
        self.operations = Operations(world)
        self.do: dict[type, Callable[[Host, Any, int], None]] = {
            a.Persist: self._persist,
            a.SetMember: self._set_member,
            a.KeepLedger: self._keep_ledger,
            a.SendBeat: self.delivery.send_beat,
            a.SendControl: self.delivery.send_control,
            a.SetTimer: self._set_timer,
            a.ClearTimer: self._clear_timer,
            a.ReadPower: lambda h, x, now: world.bmcs.read(h.name, x.server, now, x.echo, x.keep),
            a.Fence: self._fence,
            a.CallOffFence: lambda h, x, now: world.bmcs.call_off(h.name, x.server),
            a.HoldArbiter: lambda h, x, now: world.arbiters[x.name].hold(h.name, x.lease_ms, now),
            a.ReleaseArbiter: lambda h, x, now: world.arbiters[x.name].release(h.name),
            a.RunResource: self.operations.run_resource,
            a.WatchResource: self._nothing,
            a.RunScript: self.operations.run_script,
            a.RunMonitor: self.operations.run_monitor,
            a.FaultMonitor: self.operations.fault_monitor,
            a.ArmWatchdog: self._arm_watchdog,
            a.PetWatchdog: self._pet_watchdog,
            a.DisarmWatchdog: self._disarm_watchdog,
            a.HostAction: self._host_action,
            a.ArmDeadman: self._arm_deadman,
            a.StandDown: self._stand_down,
            a.Stretch: self._stretch,
            a.Record: self._record,
            a.Progress: self._nothing,
            a.Reply: self._reply,
            a.SetService: self._set_service,
            a.Reincarnate: self._reincarnate,
            a.Exit: self._exit,
        }

    # --- actions: state ------------------------------------------------------------------

    def _nothing(self, host: Host, action: Any, now: int) -> None:
        """Only for people, or nothing that this world has."""

    # What cannot be written ends the agent before anything that follows in its list.

    def _persist(self, host: Host, action: a.Persist, now: int) -> None:
        if host.run_fails:
            self._world.agent_fails(host, "/run")
            return
        host.run = action.durable

    def _set_member(self, host: Host, action: a.SetMember, now: int) -> None:
        if host.disk.read_only:
            self._world.agent_fails(host, "the disk")
            return
        host.disk.member = action.member
        if not action.member:
            host.disk.synced = False
        else:
            boot = host.boots
            self._world.at(self._world.t + 30 * SECOND, self._written_back, host, boot)

    def _written_back(self, host: Host, boot: int) -> None:
        if host.boots == boot and host.powered:
            host.disk.synced = host.disk.member

    def _keep_ledger(self, host: Host, action: a.KeepLedger, now: int) -> None:
        if host.disk.read_only:
            if action.ledger.behind != host.disk.ledger.behind:
                self._kept(host, e.CopiesKept(fault="Read-only file system"))
            return
        before, host.disk.ledger = host.disk.ledger.behind, action.ledger
        host.disk.ledger_boot_us = host.boot_us
        if action.ledger.behind != before:
            self._kept(host, e.CopiesKept(behind=action.ledger.behind))

    def _kept(self, host: Host, event: e.CopiesKept) -> None:
        self._world.at(self._world.t + DISK_US, self._told, host, host.incarnation, event)

    def _told(self, host: Host, incarnation: str, event: e.CopiesKept) -> None:
        if host.incarnation == incarnation and host.node is not None:
            self._world.step(host, event)

    def _set_service(self, host: Host, action: a.SetService, now: int) -> None:
        if host.run_fails:
            self._world.agent_fails(host, "/run")
            return
        host.service_stopped = action.stopped

    def _exit(self, host: Host, action: a.Exit, now: int) -> None:
        self._world.note(f"agent of {host.name} ends")
        self._world.end_agent(host)
        if host.enabled:
            self._world.at(self._world.t + SECOND, self._world.start_agent, host)

    def _reincarnate(self, host: Host, action: a.Reincarnate, now: int) -> None:
        world = self._world
        world.end_agent(host)
        host.run, host.service_stopped = None, False
        world.at(world.t + 1000, world.start_agent, host)

    def _stretch(self, host: Host, action: a.Stretch, now: int) -> None:
        host.ratio = action.ratio
        self._world.at(self._world.t, self._stretched, host, host.incarnation)

    def _stretched(self, host: Host, incarnation: str) -> None:
        if host.incarnation == incarnation:
            settings = stretched(host.settings, host.ratio)
            self._world.step(host, e.SettingsChanged(settings=settings, stretch=True))

    def _reply(self, host: Host, action: a.Reply, now: int) -> None:
        world = self._world
        world.outcomes.append((world.t, host.name, action))
        if action.outcome.code and world.tell and not (world.verbose or world.silent):
            told = f"{action.outcome.text} {action.outcome.hint}".rstrip()
            at = f"{world.t / SECOND:9.3f}"
            world.tell(f"{at}  * {host.name} answers {action.outcome.code}: {told}")

    def _record(self, host: Host, action: a.Record, now: int) -> None:
        world = self._world
        if action.text.startswith("Heartbeats of "):
            return  # every cut is preceded by these, and followed
        if world.tell is not None and not world.verbose and not world.silent:
            because = "".join(f" ({line})" for line in action.because)
            world.tell(f"{world.t / SECOND:9.3f}  {host.name}: {action.text}{because}")

    def clock_changed(self, host: Host) -> None:
        """Its clock runs at another rate: every timer is due at another true instant."""
        for name, at in host.timers.items():
            due = max(host.when(at), self._world.t)
            host.armed[name] = due
            self._world.at(due, self._timer_reached, host, host.incarnation, name, due)

    # --- actions: timers -----------------------------------------------------------------
    # The core moves some timers with every heartbeat: the heap keeps one entry a name, which
    # looks at its instant again when it is reached.

    def _set_timer(self, host: Host, action: a.SetTimer, now: int) -> None:
        name = action.name
        host.timers[name] = action.at
        due = max(host.when(action.at), self._world.t)
        armed = host.armed.get(name)
        if armed is None or due < armed:
            host.armed[name] = due
            self._world.at(due, self._timer_reached, host, host.incarnation, name, due)

    def _clear_timer(self, host: Host, action: a.ClearTimer, now: int) -> None:
        host.timers.pop(action.name, None)

    def _timer_reached(self, host: Host, incarnation: str, name: str, due: int) -> None:
        if host.incarnation != incarnation or host.armed.get(name) != due or host.node is None:
            return
        del host.armed[name]
        at = host.timers.get(name)
        if at is None:
            return
        later = host.when(at)
        if later > self._world.t:
            host.armed[name] = later
            self._world.at(later, self._timer_reached, host, incarnation, name, later)
        else:
            self.timer_due(host, name)

    def timer_due(self, host: Host, name: str) -> None:
        """A timer's instant came: the core is told, unless it moved the timer meanwhile."""
        if host.frozen:
            host.backlog.append(("timer", name))
            return
        at = host.timers.get(name)
        if at is not None and at <= host.now(self._world.t):
            del host.timers[name]
            self._world.step(host, e.TimerFired(name=name))
        elif at is not None and name not in host.armed:
            due = host.when(at)
            host.armed[name] = due
            self._world.at(due, self._timer_reached, host, host.incarnation, name, due)

    # --- actions: BMC, watchdog, host ----------------------------------------------------

    def _fence(self, host: Host, action: a.Fence, now: int) -> None:
        self._world.note(f"{host.name} orders the BMC of {action.server}: {action.action}")
        self._world.check.fencing(host, action)
        self._world.bmcs.fence(host.name, action, now)

    def _arm_watchdog(self, host: Host, action: a.ArmWatchdog, now: int) -> None:
        world, dog = self._world, host.watchdog
        method = action.method or configured_method(host)
        if not dog.works or method == "none":
            # What is armed is still fed, by the agent that fed it until now.
            text = "method is none" if method == "none" else "no device"
            world.tell_later(
                world.t, host.name, e.WatchdogChanged(armed=False, method=method, text=text)
            )
            return
        was = None if dog.dead else dog.due_us
        dog.timeout_us = action.timeout_ms * 1000
        dog.due_us = world.t + dog.timeout_us
        dog.method, dog.open, dog.dead = method, True, False
        if was is None or dog.due_us < was:
            world.at(dog.due_us, self._watchdog_due, host, host.boots)
        world.tell_later(world.t, host.name, e.WatchdogChanged(armed=True, method=method))

    def _pet_watchdog(self, host: Host, action: a.PetWatchdog, now: int) -> None:
        dog = host.watchdog
        if not dog.open:
            return
        if not dog.dead:
            dog.due_us = self._world.t + dog.timeout_us
        elif dog.method == "softdog":
            self._watchdog_gone(host, host.incarnation)

    def _disarm_watchdog(self, host: Host, action: a.DisarmWatchdog, now: int) -> None:
        method = host.watchdog.method
        host.watchdog = Watchdog(works=host.watchdog.works)
        self._world.tell_later(
            self._world.t, host.name, e.WatchdogChanged(armed=False, method=method)
        )

    def watchdog_runs_on(self, host: Host) -> None:
        """A machine's memory was set back: an armed watchdog in it counts from here."""
        dog = host.watchdog
        if dog.due_us is not None:
            dog.due_us = self._world.t + dog.timeout_us
            self._world.at(dog.due_us, self._watchdog_due, host, host.boots)

    def watchdog_dies(self, host: Host, after_us: int | None) -> None:
        """It will not act from now on; its agent hears of it after so long.

        None: as soon as it can: the end of a guard is heard at once, a device that fails when it
        is fed, a BMC when two requests were not answered.
        """
        dog = host.watchdog
        if dog.due_us is None or dog.dead:
            return
        self._world.note(f"the watchdog of {host.name} dies")
        dog.due_us, dog.dead = None, True
        soon = {"guard": 10_000, "keepalive": 10_000, "softdog": None}.get(dog.method, 4_000_000)
        told = soon if after_us is None else after_us
        if told is not None:
            self._world.at(self._world.t + told, self._watchdog_gone, host, host.incarnation)

    def _watchdog_gone(self, host: Host, incarnation: str) -> None:
        """The agent that armed it learns that it is gone; another guard is begun at once."""
        dog = host.watchdog
        if host.incarnation != incarnation or not dog.open or not dog.dead:
            return
        method, timeout_ms = dog.method, dog.timeout_us // 1000
        dog.open = False
        gone = e.WatchdogChanged(armed=False, method=method, text=f"{method} is gone")
        self._world.step(host, gone)
        if method in ("guard", "keepalive") and host.incarnation == incarnation and host.node:
            again = a.ArmWatchdog(timeout_ms=timeout_ms, method=method)
            self._arm_watchdog(host, again, host.now(self._world.t))

    def _watchdog_due(self, host: Host, boot: int) -> None:
        due = host.watchdog.due_us
        if due is None or host.boots != boot:
            return
        if due > self._world.t:  # it was fed
            self._world.at(due, self._watchdog_due, host, boot)
            return
        self._world.note(f"watchdog of {host.name} fires")
        self._world.reset(host)

    def _host_action(self, host: Host, action: a.HostAction, now: int) -> None:
        self._world.note(f"{host.name} does {action.action}: {action.reason}")
        self._world.check.host_action(host, action)
        if host.scripts.fails(action.action, "act"):
            failed = e.HostActionDone(action=action.action, ok=False, text="no answer")
            self._world.tell_later(self._world.t + 1000, host.name, failed)
            return
        self._world.at(self._world.t + 500_000, self._host_acts, host, host.boots, action.action)
        done = e.HostActionDone(action=action.action, ok=True)
        self._world.tell_later(self._world.t + 1000, host.name, done)

    def _host_acts(self, host: Host, boot: int, action: str) -> None:
        if host.boots != boot or not host.powered:
            return
        if action in ("shutdown", "bmc-power-off"):
            self._world.power_off(host)
        elif action != "none":
            self._world.reset(host)

    def _arm_deadman(self, host: Host, action: a.ArmDeadman, now: int) -> None:
        host.deadman += 1
        due = self._world.t + action.deadline_ms * 1000
        self._world.at(due, self._deadman_due, host, (host.boots, host.deadman), action.action)

    def _stand_down(self, host: Host, _: a.StandDown, __: int) -> None:
        host.deadman += 1

    def _deadman_due(self, host: Host, armed: tuple[int, int], action: str) -> None:
        if (host.boots, host.deadman) == armed and host.powered:
            self._world.note(f"the BMC of {host.name} acts: {action}")
            if action == "power-off":
                self._world.power_off(host)
            else:
                self._world.reset(host)

    # --- actions: scripts ----------------------------------------------------------------
