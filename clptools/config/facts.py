"""Facts about this machine, gathered for `check_machine`, which compares them.

Gathering reads `/proc`, `/sys`, `/dev`, unit files and file modes, and changes nothing; only
`unechoed` uses the network.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from functools import partial

from clptools import paths
from clptools.common.foreign_files import check_script
from clptools.common.ping import ping
from clptools.common.system_bus import unit_name
from clptools.config import agents
from clptools.config.files import MAKE_AUTHKEY, how_bmc, how_snmp, read_secret
from clptools.config.machine import clock_fault, managed, taken, watchdog_faults
from clptools.config.scripts import scripts_of
from clptools.config.variants import Registries
from clptools.core.model.machine import AccountFault, Facts, FenceFault, FileFault
from clptools.core.model.settings import Settings
from clptools.faults import ClpError, ExitCode


def gather(
    settings: Settings,
    registries: Registries,
    bmc: dict[str, AccountFault] | None = None,
    folder: str = "",
    unechoed: frozenset[str] = frozenset(),
    *,
    validate: bool = False,
) -> Facts:
    """Looks at this machine.

    `bmc` and `unechoed` are as in `Facts`; `folder` is where the configuration lies; `validate`
    is as in `agents.agent_faults`.
    """
    server = paths.server_name()
    files: dict[str, FileFault] = {}
    for use in scripts_of(settings, registries, server):
        if not (folder and is_replaced(folder, use.path)):
            _note(files, use.path, check_script)
    _note(files, paths.config_file(), _check_writers)
    for path, mend in (*secret_files(settings), *agents.secret_files(settings, server).items()):
        _note(files, path, partial(read_secret, mend=mend))
    return Facts(
        server=server,
        addresses=own_addresses(),
        devices=devices(),
        processes=_processes(),
        fences=_fences(settings, server),
        power_key=power_key(),
        absent=frozenset(path for path in _named_paths(settings) if not os.path.exists(path)),
        files=files,
        enabled=_enabled(settings),
        bmc=bmc or {},
        unechoed=unechoed,
        watchdogs=watchdog_faults(),
        taken=taken(settings, server),
        managed=managed(settings, server),
        agents=agents.agent_faults(settings, server, validate=validate),
        clock=clock_fault(),
    )


_LOGIND = ("/usr/lib/systemd", "/run/systemd", "/etc/systemd")
"""Where logind.conf and logind.conf.d may be, the last word last (logind.conf(5))."""


def power_key(folders: tuple[str, ...] = _LOGIND) -> str:
    """`HandlePowerKey` of logind's configuration; empty: logind does not run, or ignores it."""
    if not os.path.isdir("/run/systemd/seats"):
        return ""
    return handle_power_key(folders)


def handle_power_key(folders: tuple[str, ...]) -> str:
    """`HandlePowerKey` in the files there; empty: ignore."""
    files = [os.path.join(folder, "logind.conf") for folder in folders]
    dropped: dict[str, str] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            for name in os.listdir(os.path.join(folder, "logind.conf.d")):
                if name.endswith(".conf"):
                    dropped[name] = os.path.join(folder, "logind.conf.d", name)
    word = "poweroff"
    for path in [*files, *(dropped[name] for name in sorted(dropped))]:
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                key, equals, value = line.strip().partition("=")
                if equals and key.strip() == "HandlePowerKey":
                    word = value.strip() or "poweroff"
    return "" if word == "ignore" else word


def is_replaced(folder: str, script: str) -> bool:
    """Whether a push of `folder` brings the script or takes it away, whatever is there now.

    A pushed script is executable and ours.
    """
    return bool(pushed_from(folder, script)) and not is_own_folder(folder)


def is_own_folder(folder: str) -> bool:
    """Whether it is the one whose scripts are run where they lie."""
    return os.path.realpath(folder) == os.path.realpath(paths.config_dir())


def pushed_from(folder: str, script: str) -> str:
    """Where a push of `folder` takes the script from; empty: it does not distribute it."""
    if not script.startswith(paths.scripts_dir() + "/"):
        return ""
    return os.path.join(folder, os.path.relpath(script, paths.config_dir()))


def _note(files: dict[str, FileFault], path: str, check: Callable[[str], object]) -> None:
    try:
        check(path)
    except ClpError as fault:
        files[path] = FileFault(text=fault.message, mend=fault.hint)


def _check_writers(path: str) -> None:
    """Raises ClpError where others may write: the configuration names scripts that root runs."""
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(path)
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid not in (0, os.geteuid()):
            text = f"{path}: belongs to user {found.st_uid}, who may change it"
            raise ClpError(ExitCode.FAILED, text, f"chown root {path}")
        if mode & 0o022:
            text = f"{path}: mode {mode:04o}, others than its owner may change it"
            raise ClpError(ExitCode.FAILED, text, f"chmod 0640 {path}")


def secret_files(settings: Settings) -> Iterator[tuple[str, str]]:
    """The secret files that every server needs, and how each is made."""
    yield paths.authkey_file(), MAKE_AUTHKEY
    for server in settings.servers:
        if server.bmc is not None:
            yield paths.bmc_password_file(server.name), how_bmc(server.name, server.bmc.user)
    yield from fence_secrets(settings)
    users = {user.user for monitor in settings.monitors for user in monitor.snmpv3_users}
    for user in sorted(users):
        yield paths.snmp_key_file(user), how_snmp(user)
    for arbiter in settings.arbiters:
        password = arbiter.options.get("password_file")
        if isinstance(password, str) and password:
            yield password, f"Write the password of {arbiter.name} into it, mode 0400."


def fence_secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    """The password files of fence agents, each once, and how each is made."""
    files = {f.password_file: f.name for s in settings.servers for f in s.fences}
    for path, name in files.items():
        if path:
            yield path, f"Write the password of {name} into it, mode 0400."


_AGENT_S = 2.0
"""For a fence agent to tell of itself; the agent here has mostly asked it before."""


def _fences(settings: Settings, server: str) -> tuple[FenceFault, ...]:
    """What of the fence agents cannot be used here; nobody fences itself."""
    if not any(peer.fences for peer in settings.servers if peer.name != server):
        return ()
    from clptools.config.fence_checks import faults

    return tuple(faults(settings, server, _AGENT_S))


def _named_paths(settings: Settings) -> list[str]:
    """Devices and files that monitors and watchdogs open."""
    found = ["/dev/watchdog", "/dev/ipmi0"]
    for monitor in settings.monitors:
        path = monitor.options.get("path")
        found += path.values() if isinstance(path, dict) else [str(path)] if path else []
        found += [keyword for keyword in monitor.keywords.values() if keyword.startswith("/")]
    return found


def _enabled(settings: Settings) -> dict[str, str]:
    units = (
        unit_name(str(resource.options.get("unit")))
        for group in settings.groups
        for resource in group.resources
        if resource.type == "service"
    )
    return {unit: by for unit in units if (by := enabled_by(unit))}


def _names(folder: str) -> frozenset[str]:
    with contextlib.suppress(OSError):
        return frozenset(os.listdir(folder))
    return frozenset()


def own_addresses() -> frozenset[str]:
    """This machine's IP addresses, canonical, from the kernel's tables in `/proc/net`."""
    found: set[str] = set()
    last = ""
    for line in _read("/proc/net/fib_trie").splitlines():
        if "|--" in line:
            last = line.rpartition(" ")[2]
        elif "/32 host LOCAL" in line:
            found.add(last)
    for line in _read("/proc/net/if_inet6").splitlines():
        found.add(str(ipaddress.IPv6Address(int(line.split()[0], 16))))
    return frozenset(found)


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
        return file.read()
    return ""


def _processes() -> frozenset[str]:
    """Command names from `/proc/PID/comm` (at most 15 bytes each, proc(5))."""
    found: set[str] = set()
    for pid in _names("/proc"):
        if pid.isdigit():
            found.add(_read(f"/proc/{pid}/comm").strip())
    return frozenset(found - {""})


# ---------------------------------------------------------------------- devices


UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""systemd.unit(5), without generators."""
KEYWORD_SUFFIXES = frozenset(
    {".service", ".socket", ".target", ".mount", ".path", ".timer", ".swap"}
)
RESOURCES = frozenset({"cpu", "io", "memory", "files", "processes"})


def devices() -> dict[str, frozenset[str]]:
    """Category -> names of its devices."""
    maps = set(_texts("/sys/block", "dm/name"))
    block = set(_names("/sys/class/block"))
    return {
        "NIC": frozenset(name for _, name in socket.if_nameindex()),
        "FC": frozenset(_fibre_channel()),
        "HA/SS": frozenset({*block, *_names("/sys/class/nvme"), *maps, *_persistent()}),
        "HA/AM": frozenset(name for folder in UNIT_FOLDERS for name in _names(folder)),
        "HA/RS": RESOURCES,
        "SPS": frozenset({*maps, *block}),
        "MCE": frozenset(
            {"platform", *_names_like("/sys/devices/system/edac/mc", r"mc\d+"),
             *_names_like("/sys/devices/system/cpu", r"cpu\d+")}
        ),
    }  # fmt: skip


def is_device(keyword: str, category: str, known: frozenset[str]) -> bool:
    """Whether a keyword that is no path names one of the known devices."""
    if keyword in known:
        return True
    if category != "HA/AM":
        return False
    unit = keyword if f".{keyword.rpartition('.')[2]}" in KEYWORD_SUFFIXES else f"{keyword}.service"
    # An instance's file is its template's: getty@tty1.service, getty@.service.
    template = re.sub(r"@[^@]*(\.\w+)$", r"@\1", unit)
    return unit in known or template in known


def _fibre_channel() -> Iterator[str]:
    for folder in ("/sys/class/fc_host", "/sys/class/fc_remote_ports"):
        yield from _names(folder)
        yield from _texts(folder, "port_name")


def _persistent() -> Iterator[str]:
    for folder in _names("/dev/disk"):
        yield from _names(f"/dev/disk/{folder}")


def _texts(folder: str, file: str) -> Iterator[str]:
    for name in _names(folder):
        with contextlib.suppress(OSError), open(f"{folder}/{name}/{file}") as one:
            yield one.read().strip()


def _names_like(folder: str, pattern: str) -> list[str]:
    return [name for name in _names(folder) if re.fullmatch(pattern, name)]


# ---------------------------------------------------------------------- systemd units

DIRECTORIES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""Where links to enabled units lie (systemd.unit(5))."""
_STARTERS = ("socket", "timer", "path")
"""Units that, enabled themselves, start the service of their name."""


def enabled_by(unit: str) -> str:
    """The enabled unit that starts `unit` at boot: itself, or its socket, timer or path.

    Empty: none is enabled here.
    """
    unit = unit_name(unit)
    stem, _, suffix = unit.rpartition(".")
    starters = [f"{stem}.{other}" for other in _STARTERS] if suffix == "service" else []
    enabled = _enabled_units()
    return next((one for one in (unit, *starters) if one in enabled), "")


def _enabled_units() -> set[str]:
    """What a `*.wants` or `*.requires` directory pulls in: that is what `enable` makes."""
    found: set[str] = set()
    for directory in DIRECTORIES:
        for name in _names(directory):
            if name.endswith((".wants", ".requires")):
                found.update(_names(f"{directory}/{name}"))
    return found


# ---------------------------------------------------------------------- echoes


ECHO_TIMEOUT_S = 1.0


def unechoed(settings: Settings, server: str) -> frozenset[str]:
    """Servers whose power can be read and that answer on their port, but to no ICMP echo on any
    LAN interconnect.

    `server` asks.  An "off" of a BMC is not believed while the server's kernel answers an echo; a
    firewall that drops echoes disables that guard, and nothing else shows it.  A server that does
    not answer on its port either may be down and is left out.
    """
    return asyncio.run(_unechoed(settings, server))


async def _unechoed(settings: Settings, server: str) -> frozenset[str]:
    peers = [
        peer.name for peer in settings.servers if peer.has_power_control and peer.name != server
    ]
    found = await asyncio.gather(*(_mute(settings, server, peer) for peer in peers))
    return frozenset(peer for peer, mute in zip(peers, found, strict=True) if mute)


async def _mute(settings: Settings, server: str, peer: str) -> bool:
    paths = [
        (path.addresses[server], path.addresses[peer])
        for path in settings.interconnects
        if path.is_lan and {server, peer} <= path.addresses.keys()
    ]
    answers = await asyncio.gather(
        *(_answers(own, other, settings.cluster.port) for own, other in paths)
    )
    return any(port for port, _ in answers) and not any(echo for _, echo in answers)


async def _answers(own: str, other: str, port: int) -> tuple[bool, bool]:
    """Whether `other` answers on its port, and to an echo (true where none may be sent)."""
    try:
        echoed = await ping(other, ECHO_TIMEOUT_S, source=own)
    except PermissionError:
        return False, True
    except OSError:
        return False, False
    with contextlib.suppress(OSError):
        async with asyncio.timeout(ECHO_TIMEOUT_S):
            _, writer = await asyncio.open_connection(other, port, local_addr=(own, 0))
            writer.close()
            return True, echoed
    return False, echoed
