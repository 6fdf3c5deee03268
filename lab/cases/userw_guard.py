"""As `agent-stopped` with `method = "guard"`: the second process resets the server."""

from lab.case import Lab
from lab.cases import agent_stopped
from lab.cluster import ARBITER, sample

CONFIG = sample(forced_stop="none", method="guard", more=ARBITER)


def run(lab: Lab) -> None:
    agent_stopped.run(lab)
