"""NP resolution: who decides an exact tie.

One module for each type, with `build` and its `Options`, and its keys in `registry`; `base` is what
all of them promise, and `np_resolution` what the agent holds.  `witness_server` is `clpwitnessd`,
for a machine outside the cluster; `disk_worker` is the process that may hang on a shared disk.
"""
