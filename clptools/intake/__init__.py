"""What hardware and system report about this server.

Traps: `listener` (sockets), `trap_receiver`, `triage` (what may wait), `admission`, `rates`,
`snmp` on `ber` and `usm`, `snmp_users` (SNMPv3 users and their keys), `pet` on `pet_fields`,
`families` and `class_table` on `trap_rows` (classes), `trap_delivery`.
A BMC that speaks Redfish: `redfish` and its `redfish_*`.  The system itself: `sources` runs one
module for each category of `registry`, on `kernel`; programs and drivers write to
`message_socket`.

A new source is a module with `sources.Watch` and a line in `registry`.  A vendor's traps, or a
BMC's peculiarity, are rows in `profiles/`.
"""
