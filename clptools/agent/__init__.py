"""The asyncio shell of one server: what happens becomes events, actions are carried out.

It decides nothing; the core does (`clptools.core`).

`main` is the command, `agent` one run of it, `service` the core with its loop and journal.
`surroundings` holds what the configuration names: links, BMCs, traps, monitors.  An action of the
core gets its handler in `executor`; something that only the agent knows and people are told gets a
notice in `notices`; a question of a command goes to `backend`, one of another server to
`peer_answers`.  A push begins in `push`, and is received by every server in `push_receiver`.
"""
