"""An agent of an earlier version among newer ones: nobody takes a beat for what it is not.

The earlier version says all its holdings in every beat, knows nothing of lists, drops datagrams
of the form that it does not know, and passes on of a beat only what it knows of.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from clptools.core.model import actions as a
from clptools.core.model.datagram import PACKED, form
from clptools.core.model.messages import Beat
from clptools.core.node import Node
from clptools.sim.clusters import sample
from clptools.sim.explore import Plan, run_seed
from clptools.sim.host import Host
from clptools.sim.network import Delivery

OLD = "server1"


def as_read(beat: Beat) -> Beat:
    """What the earlier version has of a beat."""
    return msgspec.structs.replace(beat, lists=False, have=0)


class Mixed(Node):
    """server1 is of the earlier version; the others never find room for their holdings."""

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        fits = self.me == OLD
        self.holdings.fits = lambda beat: fits  # type: ignore[method-assign]


@pytest.mark.parametrize("seed", range(12))
def test_random_faults_with_one_server_of_an_earlier_version(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, arrives = Delivery.send_beat, Delivery._beat_arrives
    forms: set[tuple[bool, int]] = set()

    def sends(delivery: Delivery, host: Host, action: a.SendBeat, now: int) -> None:
        beat = as_read(action.beat) if host.name == OLD else action.beat
        forms.add((OLD in (host.name, action.via or beat.to), form(beat)))
        send(delivery, host, msgspec.structs.replace(action, beat=beat), now)

    def comes(delivery: Delivery, sender: Host, to: str, link: str, beat: Beat) -> None:
        if to != OLD:
            arrives(delivery, sender, to, link, beat)
        elif form(beat) != PACKED:
            arrives(delivery, sender, to, link, as_read(beat))

    monkeypatch.setattr(Delivery, "send_beat", sends)
    monkeypatch.setattr(Delivery, "_beat_arrives", comes)
    name = ("2bmc", "3lease", "3bmc", "2strong")[seed % 4]
    plan = Plan(settings=sample(name, groups=2), seconds=60)
    run = run_seed(plan, seed, make_node=Mixed, restore_node=Mixed.restore)
    assert not run.violations
    assert (True, 1) in forms
    assert (False, 2) in forms or name.startswith("2")
