"""Floating addresses as the original writes them: `192.0.2.9`, `192.0.2.9/24`, `192.0.2.9%eth1`."""

from __future__ import annotations

from clptools.config.original import PREFIXES


def fip_address(text: str) -> tuple[str, str, bool]:
    """Address with its prefix length, interface (or empty), whether the length is our choice."""
    host, _, interface = text.partition("%")
    interface, slash, prefix = interface.partition("/")
    if not slash:
        host, slash, prefix = host.partition("/")
    if slash:
        return f"{host}/{prefix}", interface, False
    return f"{host}/{PREFIXES[6 if ':' in host else 4]}", interface, True
