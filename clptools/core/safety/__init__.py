"""What keeps a group from running on two servers: lease and watchdog, fencing, clearance.

A new proof that a server does not run a group belongs in `clearance`.
"""
