"""What a kind of fault draws from: servers, spans and other things that chance chooses."""

from __future__ import annotations

from random import Random

from clptools.core.model.settings import Settings

Line = tuple[float, str]
"""(true seconds, line)."""


class Draw:
    """What a kind of fault draws from."""

    def __init__(self, settings: Settings, rng: Random, at: float) -> None:
        self.rng = rng
        self.at = at
        self.settings = settings
        self.names = settings.names

    def server(self) -> str:
        """One server: often the one that matters, named only when its time comes."""
        choice = self.rng.random()
        if choice < 0.4:
            word = "@coordinator" if choice < 0.2 else "@holder"
            return f"{word}{round(self.at * 1000)}"
        return self.rng.choice(self.names)

    def two(self) -> tuple[str, str]:
        """Two, as a rule different."""
        if len(self.names) < 2:
            return self.names[0], self.names[0]
        first, second = self.rng.sample(self.names, 2)
        if self.rng.random() < 0.4:
            first = self.server()
        return first, second

    def some(self) -> list[str]:
        """One to all but one."""
        return self.rng.sample(self.names, self.rng.randint(1, max(1, len(self.names) - 1)))

    def group(self) -> str:
        """One group."""
        return self.rng.choice([g.name for g in self.settings.groups])

    def resource(self) -> str:
        """One group resource, or all."""
        names = [x.name for g in self.settings.groups for x in g.resources]
        return self.rng.choice([*names, "*"])

    def monitor(self, kind: str) -> str:
        """A monitor of that type, or an empty name."""
        names = [m.name for m in self.settings.monitors if m.type == kind]
        return self.rng.choice(names) if names else ""

    def span(self) -> float:
        """A duration: mostly near the lengths of the rules, at times long."""
        choice = self.rng.random()
        if choice < 0.45:
            return self.rng.uniform(0.1, 4.0)
        if choice < 0.92:
            return self.rng.uniform(2.0, 18.0)
        return self.rng.uniform(15.0, 70.0)

    def long(self) -> float:
        """A duration beyond the lengths of the rules."""
        return self.rng.uniform(20.0, 70.0)

    def silence(self) -> float:
        """How long a cut lasts: about as long as leases do, or longer."""
        return self.rng.choice((self.span(), self.rng.uniform(3.0, 25.0)))
