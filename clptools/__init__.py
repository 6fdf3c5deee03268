"""A cluster manager: commands, an agent on each server, and a simulator around one pure core.

`ARCHITECTURE.md` says which room may import which, and where to add what.  The modules beside the
rooms are for all of them but the core.
"""
