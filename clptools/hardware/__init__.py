"""BMCs and this host.

`bmcs` has one client for each server: `ipmi` (whose processes are `ipmi_worker`, `ipmi_session`
and `pyghmi_adapter`), `ipmi_device` for the own BMC by the kernel, or `redfish`.  On these:
`power`, `watchdog` (the BMC's timer), `bmc_checks`, `alerts` with `ipmi_alerts`.  `host` carries
out final actions here.

A new host action is done in `host`, and it has a word and numbers in the core (ARCHITECTURE.md,
*Where to add what*); a new notice is a class in `notices`.
"""
