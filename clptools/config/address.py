"""Addresses as they are written in `clp.toml`: IPv4, IPv6, and each with a port."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple


class Endpoint(NamedTuple):
    """An IP address in its canonical spelling, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def canonical(text: str) -> str:
    """The canonical spelling of an IPv4 or IPv6 address (a zone such as `%eth0` is kept).

    Raises ValueError, with a plain sentence, if it is none.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("not an IPv4 or IPv6 address") from None


def endpoint(text: str, default_port: int) -> Endpoint:
    """Read `address`, `address:port` or `[IPv6]:port`.

    Raises ValueError, with a plain sentence, if it is none of them.
    """
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError('an IPv6 address with a port is written "[address]:port"')
        if rest == ":":
            raise ValueError("the port is missing after the colon")
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if not port:
            raise ValueError("the port is missing after the colon")
    number = default_port
    if port:
        if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
            raise ValueError(f'"{port}" is not a port (1 to 65535)')
        number = int(port)
    return Endpoint(canonical(host), number)
