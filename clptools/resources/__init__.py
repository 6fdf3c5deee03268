"""Group resources, and the runner of scripts.

A type of resource (`exec`, `fip`, `service`) is a module with `Options`, `start`, `stop` and
maybe `migrate` (`operations`), and a line with its keys in `registry`.  `script` runs every
script of the product; `output` reads what it writes, `leftovers` finds it again after the agent
restarts.
"""
