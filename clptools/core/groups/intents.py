"""What is wanted of each group: policy that all servers share, and that only an office changes."""

from __future__ import annotations

import msgspec

from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.model.messages import Intent
from clptools.core.step import Step


class Intents:
    """The intents in the shared policy."""

    def __init__(self, step: Step, policy: SharedPolicy) -> None:
        self.step = step
        self.policy = policy

    def of(self, group: str) -> Intent:
        """What is wanted of a group; by default what its `startup` says."""
        for intent in self.policy.shared.intents:
            if intent.group == group:
                return intent
        configured = self.step.settings.group(group)
        return Intent(group=group, wanted=configured is None or configured.startup == "auto")

    def amend(self, intent: Intent) -> None:
        """Replaces the intent for one group."""
        shared = self.policy.shared
        others = tuple(i for i in shared.intents if i.group != intent.group)
        self.policy.share(msgspec.structs.replace(shared, intents=(*others, intent)))
