"""What two or more rooms share; nothing here knows of a cluster.

HTTP (`http`, `http_client`, `redfish`), ICMP echo, processes and threads for what may hang, the
system bus, and files of others.
"""
