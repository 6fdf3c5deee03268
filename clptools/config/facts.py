"""What the check wants to know of this machine; gathered apart, so that the check is a function.

Gathering reads `/proc`, `/sys` and file modes and changes nothing; only `unechoed` asks the
network.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from clptools import paths
from clptools.common.ping import ping
from clptools.common.trust import check_script
from clptools.config.machine import devices, enabled_by, unit_name
from clptools.config.scripts import scripts_of
from clptools.config.secretfile import MAKE_AUTHKEY, how_bmc, how_snmp, read_secret
from clptools.config.variants import Registries
from clptools.core.model.settings import Settings
from clptools.faults import ClpError, ExitCode


class FileFault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a file, naming it, and the mend."""

    text: str
    mend: str = ""


class AccountFault(msgspec.Struct, frozen=True, kw_only=True):
    """What our account lacks at a BMC, or what keeps it out, and the mend."""

    text: str
    mend: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """This machine, as far as a configuration concerns it."""

    server: str
    """Its name."""
    addresses: frozenset[str] = frozenset()
    """Its own IP addresses, canonical; empty: not known."""
    devices: dict[str, frozenset[str]] = {}
    """Category -> what a keyword can name here; absent: not known."""
    processes: frozenset[str] = frozenset()
    """Command names that run."""
    absent: frozenset[str] = frozenset()
    """Of the paths that the configuration names, those that do not exist here."""
    files: dict[str, FileFault] = {}
    """Scripts and secret files that cannot be used."""
    enabled: dict[str, str] = {}
    """Unit of a `service` resource -> the enabled unit that starts it at boot."""
    bmc: dict[str, AccountFault] = {}
    """Server -> what is wrong with our account at its BMC, from whoever asked that."""
    power_key: str = ""
    """What logind does when the power button is pressed; empty: it does not run, or nothing."""
    unechoed: frozenset[str] = frozenset()
    """Servers with a BMC that answer, but to no ICMP echo, from whoever asked (`unechoed`)."""


def gather(
    settings: Settings,
    registries: Registries,
    bmc: dict[str, AccountFault] | None = None,
    folder: str = "",
    unechoed: frozenset[str] = frozenset(),
) -> Facts:
    """Look at this machine; `bmc` and `unechoed` as in `Facts`, `folder` is where the
    configuration lies."""
    server = paths.server_name()
    files: dict[str, FileFault] = {}
    for use in scripts_of(settings, registries, server):
        if not (folder and _comes_with(folder, use.path)):
            _note(files, use.path, check_script)
    _note(files, paths.config_file(), _check_writers)
    for path, mend in secret_files(settings):
        _note(files, path, partial(read_secret, mend=mend))
    return Facts(
        server=server,
        addresses=own_addresses(),
        devices=devices(),
        processes=_processes(),
        power_key=power_key(),
        absent=frozenset(path for path in _named_paths(settings) if not os.path.exists(path)),
        files=files,
        enabled=_enabled(settings),
        bmc=bmc or {},
        unechoed=unechoed,
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


def _comes_with(folder: str, script: str) -> bool:
    """Whether a push of `folder` brings the script, executable and ours wherever it runs."""
    if not script.startswith(paths.scripts_dir() + "/"):
        return False
    if os.path.realpath(folder) == os.path.realpath(paths.config_dir()):
        return False  # the script is run where it lies
    return os.path.isfile(os.path.join(folder, os.path.relpath(script, paths.config_dir())))


def _note(files: dict[str, FileFault], path: str, check: Callable[[str], object]) -> None:
    try:
        check(path)
    except ClpError as fault:
        files[path] = FileFault(text=fault.message, mend=fault.hint)


def _check_writers(path: str) -> None:
    """Whoever writes the configuration names the scripts that root runs."""
    with contextlib.suppress(FileNotFoundError):
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & 0o022:
            text = f"{path}: mode {mode:04o}, others than its owner may change it"
            raise ClpError(ExitCode.FAILED, text, f"chmod 0640 {path}")


def secret_files(settings: Settings) -> Iterator[tuple[str, str]]:
    """The files with secrets that every server needs, each with how it is made."""
    yield paths.authkey_file(), MAKE_AUTHKEY
    for server in settings.servers:
        if server.bmc is not None:
            yield paths.bmc_password_file(server.name), how_bmc(server.name)
    users = {user.user for monitor in settings.monitors for user in monitor.snmpv3_users}
    for user in sorted(users):
        yield paths.snmp_key_file(user), how_snmp(user)
    for arbiter in settings.arbiters:
        password = arbiter.options.get("password_file")
        if isinstance(password, str) and password:
            yield password, f"Write the password of {arbiter.name} into it, mode 0400."


def _named_paths(settings: Settings) -> list[str]:
    """Devices and files that monitors and watchdogs open."""
    found = ["/dev/watchdog", "/dev/ipmi0"]
    for monitor in settings.monitors:
        path = monitor.options.get("path")
        if isinstance(path, str):
            found.append(path)
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


# ---------------------------------------------------------------------- echoes


ECHO_TIMEOUT_S = 1.0


def unechoed(settings: Settings, server: str) -> frozenset[str]:
    """Servers with a BMC that answer on their port and to no ICMP echo, on every LAN interconnect.

    Asked from `server`.  An "off" of a BMC is not believed while its server's kernel answers an
    echo (`[server.bmc]`); an echo that is filtered takes that guard away, and nothing else shows
    it.  One that answers on no port may be down, and is not among them.
    """
    return asyncio.run(_unechoed(settings, server))


async def _unechoed(settings: Settings, server: str) -> frozenset[str]:
    peers = [peer.name for peer in settings.servers if peer.bmc and peer.name != server]
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
    """Whether it answers on its port, and to an echo; also where we may not send any."""
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
