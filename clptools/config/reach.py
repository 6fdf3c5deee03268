"""Which servers answer on their port and not to an ICMP echo; this asks the network.

An "off" of a BMC is not believed while its server's kernel answers an echo (`[server.bmc]`), so
an echo that is filtered takes that guard away, and nothing shows it until a BMC errs.
"""

from __future__ import annotations

import asyncio
import contextlib

from clptools.common.ping import ping
from clptools.core.settings import Settings

TIMEOUT_S = 1.0


def unechoed(settings: Settings, server: str) -> frozenset[str]:
    """The servers with a BMC for which that is so on every LAN interconnect, asked from `server`.

    One that answers on no port may be down, and is not among them.
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
        echoed = await ping(other, TIMEOUT_S, source=own)
    except PermissionError:
        return False, True
    except OSError:
        return False, False
    with contextlib.suppress(OSError):
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(other, port, local_addr=(own, 0))
            writer.close()
            return True, echoed
    return False, echoed
