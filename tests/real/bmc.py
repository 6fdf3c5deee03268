"""The BMC of one test server, run in the namespace of the wires: `bmc.py FOLDER ADDRESS COMMAND…`.

The command is the machine: powered on it runs, powered off it is killed with its session.
Lines on standard input act as a person would: `off`, `on`, `freeze`, `thaw`, `restart` (the BMC
alone), or make it err: `blind` (it says off whatever is), `sees`.
"""

from __future__ import annotations

import sys

from clptools.sim.demo_bmc import SimulatedBmc

PASSWORD = "s3cret-Pass"


def main() -> None:
    """Runs until standard input ends."""
    folder, address, *machine = sys.argv[1:]
    bmc = SimulatedBmc(folder, address, 623, password=PASSWORD, machine=tuple(machine))
    bmc.start(on=True)
    print("ready", flush=True)
    try:
        for line in sys.stdin:
            word = line.strip()
            if word in ("on", "off"):
                bmc.switch(word == "on")
            elif word == "freeze":
                bmc.freeze()
            elif word == "thaw":
                bmc.thaw()
            elif word == "restart":
                bmc.restart()
            elif word in ("blind", "sees"):
                bmc.senses(word == "sees")
            print(f"{word} {bmc.power()}", flush=True)
    finally:
        bmc.thaw()
        bmc.stop()


if __name__ == "__main__":
    main()
