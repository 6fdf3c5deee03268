"""`clptoratio`: time-outs stretched for a while."""

from __future__ import annotations

import re
import time
from typing import cast

from clptools.cli.command import TYPE_CHECKING, Answer, Args, Command, Option, Query, wait
from clptools.cli.requests import GET_STATUS, ask, change, one_of
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.cli.command import Told
    from clptools.cli.json_types import ClusterJson, StatusJson, StretchTimeoutsJson

COMMAND = Command(
    "clptoratio",
    summary="extend time-outs for a while",
    synopsis=("-r RATIO -t TIME [-w SEC]", "-i [-w SEC]", "-s"),
    description=(
        (
            "Makes time-outs RATIO times as long as configured, on all servers, for TIME. Use it "
            "while everything is slow, for example during a backup or the rebuild of a disk. After "
            "TIME the configured time-outs apply again. If you give the same command again, TIME "
            "starts again."
        ),
        (
            "It extends [cluster] heartbeat_timeout; the start, stop and migrate time-outs of "
            "group resources; start_wait and stop_wait of groups; interval and timeout of monitors "
            "that check something, a health_command's among them; [forced_stop] timeout."
        ),
        (
            "It does not extend lease, self_stop, startup_wait and fence_delay, the time-outs of "
            "NP resolution resources and the userw watchdog. These keep a group from running twice "
            "and must be equal on all servers at every moment. It also does not extend "
            "heartbeat_interval, after_recovery_deadline, windows and start_wait of monitors, and "
            "the three minutes that a recovery script has. So if leases are in force (three or "
            "more servers, or an NP resolution resource that decides), a server that is cut off "
            "still stops its groups when its lease and self_stop are over, whatever the ratio is."
        ),
        (
            "Servers do not compare their clocks. On each server TIME begins when the server hears "
            "of the ratio; the coordinator ends it for all. A server that starts meanwhile gets "
            "the ratio from the others. If all servers boot or stop the cluster service, the ratio "
            "is forgotten. Monitors begin their intervals again when the ratio changes. clpstat, "
            "clp.toml and clpcfctrl show the configured time-outs."
        ),
        (
            "-r and -t need all servers to be online (exit code 6). -i is always possible. While "
            "there is no coordinator, it applies only to the local server."
        ),
    ),
    options=(
        Option("-r", "--ratio", metavar="RATIO", help="How many times as long: 1 to 10000."),
        Option(
            "-t",
            "--time",
            metavar="TIME",
            help="For how long: minutes (m), hours (h) or days (d), 1m to 30d.",
        ),
        Option("-i", "--initialize", help="Go back to the configured time-outs, as with -r 1."),
        Option("-s", "--show", help="Show the present ratio, when it ends, and who set it."),
        wait("Wait this long for it (30)."),
    ),
    examples=(
        ("clptoratio -r 3 -t 2h", "makes time-outs three times as long, for two hours"),
        ("clptoratio -i", "ends it early, after the backup"),
    ),
)

WAIT_S = 30.0
MAX_RATIO = 10_000
UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
MAX_MS = 30 * UNIT_MS["d"]

WHAT = ("ratio", "initialize", "show")


def run(args: Args) -> Answer:
    what = one_of(COMMAND, args, *WHAT)
    ratio = _ratio(args.text("ratio")) if what == "ratio" else 1
    if args.given("time") != (ratio > 1):
        raise ClpError(
            ExitCode.USAGE,
            "-r RATIO needs -t TIME, such as 30m." if ratio > 1 else "-t is for -r RATIO alone.",
        )
    if what == "show":
        return ask(show())
    request: StretchTimeoutsJson = {"type": "stretch-timeouts", "ratio": ratio}
    if ratio > 1:
        request["for_ms"] = _time_ms(args.text("time"))
    given_s = args.number("wait")
    return change(args, request, timeout_s=WAIT_S if given_s is None else given_s)


def query(args: Args) -> Query | None:
    """`-s`; all else changes something."""
    shows = one_of(COMMAND, args, *WHAT) == "show" and not args.given("time")
    return show() if shows else None


def show() -> Query:
    """The ratio as the local server knows it."""

    def answer(told: Told, _columns: int) -> Answer:
        return shown(cast("StatusJson", told[0]["status"])["cluster"])

    return Query(GET_STATUS, answer)


def shown(cluster: ClusterJson) -> Answer:
    """The ratio of a cluster, and when it ends."""
    from clptools.cli.render.status import ratio_end

    ratio = cluster.get("toratio", 1)
    fields = {
        "toratio": ratio,
        "by": cluster.get("toratio_by", ""),
        "left_s": cluster.get("toratio_left_s"),
    }
    end = ratio_end(cluster, time.time()).strip() if ratio > 1 else ""
    return Answer(f"present toratio : {ratio}" + (f"\n{end}" if end else ""), fields)


def _ratio(word: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", word) or not 1 <= int(word) <= MAX_RATIO:
        raise ClpError(ExitCode.USAGE, f"-r {word}: not a whole number from 1 to {MAX_RATIO}.")
    return int(word)


def _time_ms(word: str) -> int:
    match = re.fullmatch("([0-9]{1,6})([mhd])", word)
    time_ms = int(match[1]) * UNIT_MS[match[2]] if match else 0
    if not UNIT_MS["m"] <= time_ms <= MAX_MS:
        raise ClpError(
            ExitCode.USAGE, f"-t {word}: not a time from 1m to 30d, such as 30m, 2h or 3d."
        )
    return time_ms
