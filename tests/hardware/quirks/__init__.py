"""BMCs as they are sold: one file for each habit, each a BMC that a test or a person can start.

with quirky(folder, "busy_after_off", seconds=4) as bmc: ...
python -m tests.hardware.quirks busy_after_off 127.0.0.2 6230 seconds=4     (user clp, "secret")
"""
