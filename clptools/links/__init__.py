"""Heartbeats and the control channel between servers.

`wire` is a heartbeat as bytes; `lan`, `bmc` and `witness` carry it, one module for each type, with
its keys in `registry`.  `peer` connects all servers by TLS (`sockets`, `connection`,
`credentials`), and `delivery` brings messages, requests and replies over what is connected.
"""
