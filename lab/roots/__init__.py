"""The packages in fresh Debian systems: `python -m lab.roots [CASE …]`; without names, all cases.

Each server is a Debian 12 in a container (systemd-nspawn) with its own systemd and network, and no
way to any mirror or registry.  All of it runs in namespaces that end with it (`lab.alone`).
"""
