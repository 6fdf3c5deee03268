"""Active monitors, and the watchdog `userw`.

`engine` runs the rounds of all monitors; a type of monitor (`ipw`, `pidw`, ...) is a module with
`Options` and a `check` (`base`), and a line with its keys in `registry`.  `userw` arms `softdog`,
the BMC's timer or the guard process (`guard`, by `guard_client`).
"""
