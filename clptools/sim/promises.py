"""The promises that the simulator checks: number -> what it promises, in one sentence.

The one source of them: `clpsim` prints the sentence beside the number, `docs/rules.md` lists them.
"""

from __future__ import annotations

PROMISES = {
    "I1": "a failover group is never active on two servers",
    "AUTH": "no two coordinators have authority at one instant",
    "I2": "restarts and failovers of a recovery stay within their configured counts",
    "I3": "an incident leads to one final action at most, and to none on the last server that runs",
    "I4": "every change of a group or a monitor has a record that names it and says why",
    "I5": "nothing recovers, fences or starts while the cluster is suspended",
    "I6": "the end of a hardware event closes exactly that event",
    "I7": "a trap that comes twice acts once",
    "I8": "once every fault is mended, the cluster settles in time and every group runs",
    "I9": "the journal, replayed, leads to the same decisions byte for byte",
    "I10": "a group that some server may run, by proof that can be had, runs there in time",
    "I11": "a healthy server that is heard does not stop its group without a reason",
    "I12": "nobody is powered off whom the one that fences had heard for more than a second",
    "I13": "no two servers power each other off, and servers do not until none is left",
    "STORM": "the servers do not answer each other without end",
    "CRASH": "the agent's decisions raise no error of their own",
}


def named(invariant: str) -> str:
    """The number with its sentence, as people are shown it."""
    return f"{invariant} ({PROMISES[invariant]})" if invariant in PROMISES else invariant
