"""The commands: arguments in, one request, text or JSON out, exit code.

A command is one module with `COMMAND` (its data) and `run`, a line in `registry`, and an entry in
`pyproject.toml`.  `main` starts every command and prints; `command` reads its line; `requests` asks
the agent.  `render/` has what is shown, `pages/` what `generate` writes.  `cfctrl_*` and
`of_clp_conf` belong to `clpcfctrl`, `cfset_*` and `wizard*` to `clpcfset`, `sim_systematic` to
`clpsim`, `stat_*` and `past*` to `clpstat`, `trap_through_bmc` to `clptrap`; `bmc_alerts` and
`times` are shared.  Whatever is slow to load is imported inside of functions.
"""
