"""Many cores under virtual time on a hostile network, with every promise checked.

`world.py`, `host.py`, `network.py`, `bmc_model.py`: what is true, and `executor.py` with
`operations.py`, which carry out what the cores decide.
`promises.py`, `invariants.py`, `evidence.py`, `records.py`: what is promised, and whether it holds.
`scenario.py`, `words.py`, `verbs.py`: the language of stories.  A new fault of reality is a verb in
the `*_verbs.py` that it is about, a row in `catalogue.py` for systematic runs, and a kind in a
`*_faults.py` and in `faults.py` for random ones.
`explore.py`, `systematic.py`, `replay.py`: random runs, every single fault, journals again.
`bmc.py`, `loopback.py`, `demo.py`: real agents on one machine, with simulated BMCs.
"""
