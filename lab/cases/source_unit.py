"""A unit's process dies: restart in place; again and again: Error until it is steady."""

from lab import sources
from lab.case import Lab

CONFIG = sources.CONFIG

# Without systemd's own limit (five starts within 10 s), after which the unit stays failed.
UNIT = """\
[Unit]
StartLimitIntervalSec=0

[Service]
ExecStart=/bin/sleep 3600
Restart=always
RestartSec=300ms
"""
KILL = f"systemctl kill --kill-whom=main -s KILL {sources.UNIT}"


def run(lab: Lab) -> None:
    holder = lab.holder()
    holder.write(f"/etc/systemd/system/{sources.UNIT}", UNIT)
    holder.sh(f"systemctl daemon-reload; systemctl restart {sources.UNIT}")
    sources.becomes(lab, holder, "application", "Normal")
    before = len({word.run for word in lab.words()})
    since = sources.break_it(lab, holder, f"the main process of {sources.UNIT} is killed", KILL)
    lab.expect(
        "the group was started anew in place",
        lambda: len({word.run for word in lab.words()}) == before + 1,
        40,
    )
    sources.measure(lab, holder, "application", since)
    sources.becomes(lab, holder, "application", "Normal")
    looping = f"for n in 1 2 3 4; do {KILL}; sleep 1; done"
    sources.break_it(lab, holder, "it is killed again and again", looping)
    sources.becomes(lab, holder, "application", "Error")
    sources.says(holder, f"{sources.UNIT} was restarted")
    sources.recovered(lab, holder, "application")
    holder.sh(f"systemctl stop {sources.UNIT}")
    if lab.collector.speaker(5.0) != holder.name:
        raise AssertionError("a restart was to be enough")
