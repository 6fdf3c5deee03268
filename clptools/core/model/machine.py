"""What a server reports of its machine, as far as a configuration depends on it."""

from __future__ import annotations

import msgspec


class FileFault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a file, which the text names, and how to mend it."""

    text: str
    mend: str = ""


class AccountFault(msgspec.Struct, frozen=True, kw_only=True):
    """What our account lacks at a BMC, or why it cannot log in, and the mend."""

    text: str
    mend: str = ""
    reads: bool = False
    """The account may still read the power."""
    stops: bool = False
    """The account may switch the power as well: the fault is only how long that takes."""


class AgentFault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with the agent of a resource or with its parameters, and the mend."""

    key: str
    """The key of the resource that it is about: `agent`, `parameters.device`."""
    text: str
    mend: str = ""
    severity: str = "warning"
    """`error`, `warning` or `note`."""


class FenceFault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a `[[fence]]` cannot be used on a machine, and the mend."""

    fence: str
    server: str
    """The server whose power it controls."""
    key: str
    """The key of the configuration at fault, as `parameters.ip`."""
    text: str
    mend: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one machine."""

    server: str
    """Its name."""
    addresses: frozenset[str] = frozenset()
    """Its own IP addresses, canonical; empty: not known."""
    devices: dict[str, frozenset[str]] = {}
    """Category -> devices that a keyword can name here; absent: not known."""
    processes: frozenset[str] = frozenset()
    """Command names of the running processes."""
    absent: frozenset[str] = frozenset()
    """Paths that the configuration names and that do not exist here."""
    files: dict[str, FileFault] = {}
    """Scripts and secret files that cannot be used."""
    enabled: dict[str, str] = {}
    """Unit of a `service` resource -> the enabled unit that starts it at boot."""
    bmc: dict[str, AccountFault] = {}
    """Server -> what is wrong with our account at its BMC, as seen by the server that asked."""
    fences: tuple[FenceFault, ...] = ()
    """Fence agents that cannot be used here as they are configured."""
    power_key: str = ""
    """What logind does when the power button is pressed; empty: nothing, or logind does not run."""
    unechoed: frozenset[str] = frozenset()
    """Servers with a BMC that are up but do not answer ICMP echoes, as `unechoed` found."""
    watchdogs: dict[str, str] = {}
    """Method of a `userw` monitor -> why it cannot be armed here; absent: no reason is known."""
    taken: dict[str, str] = {}
    """Address that the configuration listens at (`udp 10.0.0.1:162`) -> the other program that uses
    it."""
    managed: dict[str, str] = {}
    """`fip` resource -> `systemd-networkd configures eth0`: what may take its address away."""
    agents: dict[str, tuple[AgentFault, ...]] = {}
    """`ocf` resource -> what is wrong with its agent here."""
    clock: str = ""
    """Why its clock is not synchronised; empty: it is, or that cannot be told."""


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One server's answer when it was asked for its facts."""

    name: str
    facts: Facts | None = None
    unreachable: str = ""
    """Why the server did not answer."""
    clock_off_s: float = 0.0
    """How far its clock is ahead of the asking server's, estimated."""
