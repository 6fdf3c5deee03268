"""`clpcfchk` says which configurations are safe, how long a take-over takes, and what waits."""

from __future__ import annotations

import msgspec
import pytest

from clptools.cli.render.findings import as_json, render_text
from clptools.config.safety import Case, Fault, Lacks, Safety, safety
from tests.config.sample import BMCS, SAMPLE, THREE, TWO, good, read

USERW = '[[monitor]]\ntype = "userw"\nmethod = "softdog"\n'
NO_USERW = '[[monitor]]\ntype = "userw"\nmethod = "none"\n'
FENCED = '[forced_stop]\naction = "power-off"\n'
ETCD = '[[np]]\ntype = "etcd"\nendpoints = ["https://10.0.0.9:2379"]\n'
PING = '[[np]]\ntype = "ping"\ntargets = ["10.0.0.9"]\n'
HTTP = '[[np]]\ntype = "http"\nurl = "http://10.0.0.9/"\n'


def judge(text: str) -> Safety:
    return safety(good(text))


def case(verdict: Safety, fault: Fault) -> Case:
    (found,) = [case for case in verdict.cases if case.fault is fault]
    return found


@pytest.mark.parametrize(
    "text",
    [
        SAMPLE,
        TWO,
        BMCS + FENCED,
        TWO + ETCD + USERW,
        THREE + USERW,
        THREE + NO_USERW,
        THREE + ETCD + USERW,
        TWO + PING + NO_USERW,
    ],
)
def test_is_safe(text: str) -> None:
    verdict = judge(text)
    assert verdict.safe and verdict.reasons == ()


def test_two_servers_with_bmcs_and_forced_stop() -> None:
    verdict = judge(BMCS + FENCED)
    assert case(verdict, Fault.POWER).after_ms == 550
    assert case(verdict, Fault.FREEZE).after_ms == 18_400
    assert case(verdict, Fault.CUT).proof == "forced stop"
    assert case(verdict, Fault.DARK).after_ms is None
    assert verdict.worst_case.takeover_ms is None
    assert verdict.worst_case.fence_ms == 40_000
    assert verdict.worst_case.self_stop_ms is None
    assert any("dies with its BMC" in wait and "third server" in wait for wait in verdict.waits)


def test_three_servers_take_over_by_lease_within_17_s_at_defaults() -> None:
    verdict = judge(THREE + USERW)
    worst = verdict.worst_case
    assert worst.detect_ms == 3_200
    assert worst.self_stop_ms == 12_000
    assert worst.takeover_ms is not None and 12_340 < worst.takeover_ms < 17_000
    assert case(verdict, Fault.POWER).proof == "lease"
    assert not [c for c in verdict.cases if c.fault is Fault.DARK]  # there is no BMC to die


def test_shorter_leases_take_over_within_8_s() -> None:
    lengths = "[cluster]\nlease = 1\nself_stop = 2.5\n"
    worst = judge(THREE + USERW + lengths).worst_case
    assert worst.takeover_ms is not None and worst.takeover_ms < 8_000


def test_without_watchdog_there_is_no_proof_by_lease() -> None:
    verdict = judge(THREE + NO_USERW)
    assert verdict.worst_case.takeover_ms is None
    assert "userw" in case(verdict, Fault.FREEZE).mend
    assert verdict.safe


@pytest.mark.parametrize("arbiter", [PING, HTTP])
@pytest.mark.parametrize("servers", [TWO, BMCS + FENCED, THREE])
def test_an_arbiter_that_both_halves_can_win_is_unsafe_with_leases(
    servers: str, arbiter: str
) -> None:
    verdict = judge(servers + arbiter + USERW)
    (reason,) = verdict.reasons
    assert not verdict.safe
    assert "take-over at" in reason and "both halves" in reason


def test_takeover_without_proof_is_unsafe_and_says_by_how_much() -> None:
    text = "[cluster]\ntakeover_without_proof = true\n"
    (reason,) = judge(THREE + USERW + text).reasons
    assert "take-over at 3.2 s can precede self-stop at 12.0 s, because" in reason
    (reason,) = judge(TWO + text).reasons
    assert "self-stop, which never comes" in reason


def test_servers_that_differ_are_told_apart() -> None:
    text = BMCS.replace('bmc = { address = "10.9.0.2", user = "clp" }\n', "") + FENCED
    found = {c.servers: c.after_ms for c in judge(text).cases if c.fault is Fault.POWER}
    assert found == {("server1",): 550, ("server2",): None}


def test_a_deciding_etcd_is_something_to_wait_for() -> None:
    waits = judge(THREE + ETCD + "required = true\n" + USERW).waits
    assert any("etcdnp1 cannot be reached" in wait for wait in waits)


def test_one_server_has_nobody_to_take_over() -> None:
    verdict = judge('[[server]]\nname = "alone"\n')
    assert verdict.safe and verdict.worst_case.takeover_ms is None and verdict.waits


def test_the_json_has_the_promised_shape() -> None:
    loaded = read(THREE + USERW)
    assert loaded.settings is not None
    found = msgspec.json.decode(
        msgspec.json.encode(as_json(loaded.reports, safety(loaded.settings)))
    )
    assert found["schema"] == 1 and found["errors"] == [] and found["warnings"] == []
    assert set(found["safety"]) == {"safe", "reasons", "worst_case_s", "waits"}
    assert found["safety"]["worst_case_s"] == {
        "detect": 3.2,
        "self_stop": 12.0,
        "fence": None,
        "takeover": pytest.approx(16.65, abs=0.1),
    }
    bad = as_json(read("[cluster]\nport = 0\n").reports, None)
    (first, *_) = msgspec.to_builtins(bad)["errors"]
    assert set(first) == {"file", "line", "key", "message", "hint"}


def test_the_text_shows_every_case() -> None:
    loaded = read(BMCS + FENCED + NO_USERW)
    assert loaded.settings is not None
    assert render_text(loaded.reports, safety(loaded.settings)).split("\n") == [
        "Configuration is valid.",
        "Safety: safe.",
        (
            "  If a server loses power     its groups start elsewhere after 0.6 s "
            "(proof: BMC reads off)"
        ),
        "  If a server freezes         after 18.4 s (proof: forced stop)",
        "  If a server is cut off      after 18.4 s (proof: forced stop)",
        (
            "  If its BMC dies with it     its groups wait for you.  "
            "Mend: a third server, or an arbiter ([[np]] etcd, witness, disk)"
        ),
    ]


def test_the_text_of_errors_has_the_hint_below_the_message() -> None:
    text = render_text(read('[[server]]\nname = "a"\n[clster]\n').reports, None)
    assert text.split("\n") == [
        'clp.toml:3: configuration: unknown table "clster".',
        "            Did you mean cluster?",
        "1 error. Nothing was changed.",
    ]


def test_three_servers_without_a_watchdog_are_not_promised_proof_by_lease() -> None:
    none = dict.fromkeys("abc", "there is no /dev/watchdog")
    verdict = safety(good(THREE + USERW), Lacks(watchdogs=none))
    frozen = case(verdict, Fault.FREEZE)
    assert frozen.after_ms is None and frozen.outcome == "its groups wait for you"
    assert "a watchdog that can be armed (there is no /dev/watchdog)" in frozen.mend
    assert verdict.worst_case.takeover_ms is None
    assert any("loses power, its groups wait for you" in wait for wait in verdict.waits)


def test_one_server_without_a_watchdog_is_named() -> None:
    verdict = safety(good(THREE + USERW), Lacks(watchdogs={"b": "it is taken"}))
    by_lease = [c for c in verdict.cases if c.fault is Fault.FREEZE and c.after_ms is not None]
    assert [c.servers for c in by_lease] == [("a", "c")] and by_lease[0].proof == "lease"
    assert any("if b freezes" in wait for wait in verdict.waits)


def test_a_bmc_whose_password_the_other_server_does_not_have_proves_and_stops_nothing() -> None:
    text = good(BMCS + FENCED)
    out = safety(
        text,
        Lacks(
            unfenced=frozenset({"server2"}),
            unread=frozenset({"server2"}),
            passwords={"server2": ("server1",)},
        ),
    )
    waiting = {(c.fault, c.servers): c.mend for c in out.cases if c.after_ms is None}
    mend = waiting[Fault.POWER, ("server2",)]
    assert mend.startswith("the password of its BMC on server1 (there: clpbmccnf)")


def test_a_bmc_that_lets_us_not_in_proves_and_stops_nothing() -> None:
    text = good(BMCS + FENCED)
    out = safety(text, Lacks(unfenced=frozenset({"server2"}), unread=frozenset({"server2"})))
    waiting = {(c.fault, c.servers) for c in out.cases if c.after_ms is None}
    assert (Fault.POWER, ("server2",)) in waiting and (Fault.CUT, ("server2",)) in waiting
    assert any("an account that its BMC lets in" in c.mend for c in out.cases)
    reads = safety(text, Lacks(unfenced=frozenset({"server2"})))
    assert all(c.after_ms is not None for c in reads.cases if c.fault is Fault.POWER)
