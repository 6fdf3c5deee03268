"""Each guard of the rules, taken away once, is missed: by its schedule, or by a random seed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from clptools.core.node import Node
from clptools.sim import revise
from clptools.sim.clusters import sample
from clptools.sim.explore import Plan, run_seed
from clptools.sim.scenario import play, run
from clptools.sim.verbs import perform
from clptools.sim.world import World
from tests.sim.mutations import MUTATIONS, mutant

SCENARIOS = Path(__file__).parent.parent / "scenarios"

UNSAFE = [
    ("nonewcomer", "p24-left-silence-does-not-end-by-time"),
    ("leaveescape", "p24-left-silence-does-not-end-by-time"),
    ("admitsbymost", "p23-most-do-not-admit"),
    ("nopurge", "p09-state-lost"),
    ("purgefree", "p09-state-lost"),
    ("purgesown", "s08-not-its-server-and-state-lost"),
    ("norestartsilence", "restart-silence"),
    ("shortboot", "lapse-off-ends-after-B"),
    ("reduceatonce", "p01-h1-out-counts-late"),
    ("lapse", "lapse-off-ends-after-B"),
    ("lapse2", "lapse-off-ends-after-B"),
    ("stalereads", "p11-stale-left-and-off"),
    ("offwhileheard", "s01-one-false-off"),
    ("noecho", "s01-false-off-while-the-agent-is-paused"),
    ("anysession", "s01b-bmc-restarts-with-the-shared-port"),
    ("agentsatonce", "f03-outlet-that-has-not-sensed-its-server"),
    ("agentsgap", "f06-outlet-that-restarts-again-and-again"),
    ("oldaddress", "s22-on-of-another-bmc"),
    ("latewords", "s07-late-confirm-down"),
    ("staywords", "s07-word-of-a-server-that-stood-still"),
    ("deafwords", "k1-authkey-differs"),
    ("blindwords", "s15-confirm-down-is-checked"),
    ("bindsbyone", "s05-arbiter-removed-and-cut"),
    ("staleleft", "p25-lateleft"),
    ("recvauth", "recv-authority-counts-from-send-time"),
    ("freetie", "tie-etcd"),
    ("officestays", "p31-who-left-ends-with-the-boot"),
    ("noselfstop", "lease-proof"),
    ("noselfstopwait", "stop-hangs-lease"),
    ("nowatchdog", "p13-vm-pause"),
    ("recvlease", "h4-lease-counts-from-send-time"),
    ("answeranyway", "h5-only-authority-renews"),
    ("wdfull", "p08-wd-check-pause-pet"),
    ("nodrift", "p14-drift-1-percent"),
    ("grantforever", "p03-h3-late-grant"),
    ("noinc", "g10-young-grant-to-the-boot-before"),
    ("oldterm", "p06-old-grant-of-an-old-term"),
    ("oldepoch", "dup-epoch-is-taken-once"),
    ("nooffice", "lease-proof"),
    ("noepochack", "p05-rep-grant-in-flight"),
    ("oldreports", "p05-rep-grant-in-flight"),
    ("onelength", "lengths-longer-holder-first"),
    ("onelength", "lengths-shorter-coordinator-first"),
    ("stretchedlease", "toratio-holder-alone"),
    ("nodoubt", "revision-off-servers-boot-with-the-old"),
    ("partlist", "p34-list-not-whole"),
    ("countsbehind", "revision-left-servers-come-with-the-old"),
    ("shortdoubt", "g14-offered-and-cut-off"),
    ("pushesanyway", "push-off-servers-vote-by-the-one-before"),
    ("strangersrelease", "g15-stranger-releases-nothing"),
    ("futurevotes", "g03-machine-set-back"),
    ("anyterm", "g17-vote-of-the-boot-before"),
    ("oldyes", "g16-late-yes-of-an-arbiter"),
    ("oldyes", "g20-yes-that-was-given-back"),
    ("freshlease", "s06-agent-restarts-after-its-lease"),
    ("feedsanyway", "s06-agent-restarts-after-its-lease"),
    ("disarmsatonce", "s04-watchdog-taken-away-and-cut"),
    ("stillarmed", "g09-watchdog-not-armed-anew"),
    ("noshorten", "g08-shorter-lease-and-cut"),
    ("armedsuspended", "g01-suspended-holder-promises-nothing"),
    ("waivesuntold", "g02-suspended-and-not-known"),
]
"""(guard, schedule): without it two coordinators rule, or a group is active twice."""

NEEDLESS = [
    ("mute", "p13-vm-pause"),
    ("slowvotes", "p15-two-coordinators-die"),
    ("norunstate", "kill-agent"),
    ("onends", "p17-standby-powered-on"),
    ("slowalways", "power-loss"),
    ("novoid", "void-promise"),
    ("norelay", "one-link-cut"),
    ("shortlease", "p15-standby-coordinator-dies"),
    ("minorityfences", "p20-minority-does-not-fence"),
    ("noturns", "p20-fence-race"),
    ("anyholder", "s10-two-groups-cut-of-two"),
    ("anystill", "fence-beat-stopped-before"),
    ("deaffences", "p27-deaf-coordinator-in-authority"),
    ("unprovenmoves", "failover-nobody-could-take"),
    ("purgeholds", "purge-after-boot"),
    ("givenup", "start-failure-one-left"),
    ("purgebars", "s09-purge-fails-after-boot"),
    ("strangersheard", "s18-replayed-to-an-agent-that-started"),
    ("relaysdeaf", "g04-one-direction-cut"),
    ("votesbelow", "g18-late-asking-of-a-term-below"),
    ("carriesgrants", "g19-office-carries-no-grant"),
    ("keepsarbiter", "required-cut-off-coordinator"),
    ("offersatonce", "required-all-cut-off"),
    ("takesoffered", "required-all-cut-off"),
]
"""(guard, schedule): without it the group is out of service for longer."""

TOLD = [
    ("nocalloff", "f07-order-to-a-fence-agent-is-called-off"),
    ("oldrequests", "late-requests"),
    ("oldforwards", "late-requests-of-others"),
    ("dropatonce", "p17-standby-powered-on"),
    ("nostandagain", "fence-cut-of-two"),
    ("deafasks", "p16-deaf-coordinator"),
    ("oneway", "p16-deaf-coordinator"),
    ("stopstays", "restart-all-one-is-quicker"),
    ("movedark", "start-waits-for-proof"),
    ("grantout", "p26-gout-grant-to-one-that-is-out"),
    ("neveroff", "s03-back-while-an-order-waits"),
    ("believesliars", "s01-liar-is-no-proof-until-it-reads-on"),
    ("purgefirst", "s09-purge-fails-after-boot"),
    ("anyecho", "p11-stale-left-and-off"),
    ("believesold", "g07-unheard-incarnation-is-replayed"),
    ("takesleaving", "g06-grant-while-leaving"),
    ("grantnolease", "g11-grant-renews-the-lease"),
    ("notmeant", "g05-request-to-the-boot-before"),
    ("unsteady", "s03-bmc-network-back-first"),
    ("saysitcounts", "revision-off-servers-boot-with-the-old"),
    ("countsolder", "push-goes-on-without-one-that-is-off"),
    ("timeadmitsolder", "push-goes-on-without-one-that-is-off"),
    ("fencesboots", "p19-majority-lets-it-boot"),
    ("losershoots", "tie-holder-behind-cut-cables"),
    ("keepsarbiter", "required-cut-off-holder-of-five"),
    ("offersagain", "required-survivor"),
    ("closedmoves", "planned-move-event-closed"),
    ("oneclock", "planned-move-clocks"),
    ("unannounced", "planned-move-clocks"),
    ("notedlate", "mirror-move-at-once"),
    ("hurries", "planned-move-waits"),
    ("plansagain", "planned-move-once"),
    ("nevercalledoff", "planned-move-called-off"),
    ("leavesfirst", "order-stop-cluster"),
    ("waitsmoved", "order-recovery"),
    ("besides", "apart-normal"),
]
"""(guard, schedule): without it the story goes another way."""

BROKEN = [
    ("unaware", "I5", "s11-suspended-and-elected-unaware"),
    ("ownturns", "I13", "g12-turns-of-both-revisions"),
    ("wholeturn", "I13", "g13-end-of-the-own-turn"),
    ("newcomershalf", "I13", "p20-newcomer-is-no-half"),
    ("shortturns", "I13", "s03-slow-heartbeats-longer-turns"),
    ("anystart", "I14", "order-awaited-fails"),
    ("anystop", "I14", "order-stop-cluster"),
    ("shares", "I14", "apart-absolute"),
    ("ownexchange", "I13", "s03-exchange-of-a-machine-that-stood-still"),
    ("deputiesshoot", "I13", "p20-four-one-after-the-other"),
    ("aloneshoots", "I13", "p20-alone-then-half"),
    ("blindshoots", "I13", "fence-own-beat-not-read"),
    ("changedisnew", "I13", "fence-own-beat-read-after-a-gap"),
    ("outdatedshoots", "I13", "revision-outdated-takes-no-turn"),
    ("believesleft", "I12", "s18-left-and-replayed"),
]
"""(guard, promise, schedule): without it this promise is broken."""

BEHIND = [
    ("newcomergrants", "grantout", "p26-gout-grant-to-one-that-is-out"),
    ("longsteps", "outdatedshoots", "s03-interval-pushed-and-cut"),
]
"""(guard, the one before it, schedule): without both it goes another way than without one."""

LIMITS = [("nolimits", "restart-by-message"), ("nolimits", "monitor-error")]
"""(guard, schedule): without it recovery goes beyond its limits (I2)."""

BY_SEED = [
    ("losespromise", "2strong", range(7373, 7374)),
]
"""(guard, sample cluster, seeds): without it one of the seeds breaks a promise."""

STRICT = [
    ("neverstarts", "2bmc", "I10", ""),
    ("neverstarts", "3lease", "I10", ""),
    ("neverfences", "2bmc", "I10", "stall server1"),
    ("stopsforfun", "3lease", "I11", ""),
    ("stopsbylease", "3lease", "I11", ""),
    ("shootsfriends", "2bmc", "I12", ""),
    ("duel", "2bmc", "I13", ""),
    ("unheardsuspend", "3bmc", "I5", "request server1 suspend"),
]
"""(what goes wrong, sample cluster, promise, what happens after 20 s): the checker sees it."""


@pytest.mark.parametrize(("guard", "schedule"), UNSAFE)
def test_without_it_two_rule_or_run(guard: str, schedule: str) -> None:
    text = (SCENARIOS / f"{schedule}.txt").read_text()
    cls = mutant(guard)
    world = play(text, cls, cls.restore)
    assert {v.invariant for v in world.check.violations} & {"I1", "AUTH"}


@pytest.mark.parametrize(("guard", "schedule"), NEEDLESS)
def test_without_it_a_service_is_longer_away(guard: str, schedule: str) -> None:
    text = (SCENARIOS / f"{schedule}.txt").read_text()
    cls = mutant(guard)
    kept = play(text, Node, Node.restore).check.service.away_s()
    lost = play(text, cls, cls.restore).check.service.away_s()
    assert lost > kept + 1.0


@pytest.mark.parametrize(("guard", "schedule"), TOLD)
def test_without_it_the_story_is_another(guard: str, schedule: str) -> None:
    text = (SCENARIOS / f"{schedule}.txt").read_text()
    cls = mutant(guard)
    assert run(text, cls, cls.restore).text != run(text, Node, Node.restore).text


@pytest.mark.parametrize(("guard", "before", "schedule"), BEHIND)
def test_without_it_and_the_guard_before_it_the_story_is_another(
    guard: str, before: str, schedule: str
) -> None:
    text = (SCENARIOS / f"{schedule}.txt").read_text()
    one, both = mutant(before), mutant(before, guard)
    assert run(text, both, both.restore).text != run(text, one, one.restore).text


@pytest.mark.parametrize(("guard", "schedule"), LIMITS)
def test_without_it_recovery_goes_beyond_its_limits(guard: str, schedule: str) -> None:
    cls = mutant(guard)
    world = play((SCENARIOS / f"{schedule}.txt").read_text(), cls, cls.restore)
    assert "I2" in {v.invariant for v in world.check.violations}


@pytest.mark.parametrize(("guard", "name", "seeds"), BY_SEED)
def test_without_it_a_seed_breaks(guard: str, name: str, seeds: range) -> None:
    cls = mutant(guard)
    plan = Plan(settings=sample(name), seconds=120)
    assert any(
        run_seed(plan, seed, make_node=cls, restore_node=cls.restore).violations for seed in seeds
    )


@pytest.mark.parametrize(("guard", "name", "promise", "line"), STRICT)
def test_the_checker_sees_it(guard: str, name: str, promise: str, line: str) -> None:
    cls = mutant(guard)
    plan = Plan(
        settings=sample(name), seconds=95, lines=((20.0, line),) if line else (), strict=True
    )
    run = run_seed(plan, 1, make_node=cls, restore_node=cls.restore)
    assert promise in {v.invariant for v in run.violations}
    assert not run_seed(plan, 1).violations


@pytest.mark.parametrize("asked", [False, True])
def test_a_suspension_that_ends_by_itself_is_seen(asked: bool) -> None:
    world = World(sample("3lease"), 1, Node, Node.restore)
    world.check.strict = True
    for line in ("start", "advance 8", "request server1 suspend", "advance 2"):
        perform(world, line)
    assert all(h.node.state.policy.shared.suspended for h in world.hosts.values())
    if asked:
        perform(world, "request server1 resume")
    for host in world.hosts.values():
        shared = host.node.state.policy.shared
        later = shared.version._replace(n=shared.version.n + 5)
        host.node.state.policy.shared = msgspec.structs.replace(
            shared, version=later, suspended=False
        )
    world.advance(1)
    assert [v.invariant for v in world.check.violations] == ([] if asked else ["I5"])


@pytest.mark.parametrize(("guard", "promise", "schedule"), BROKEN)
def test_without_it_another_promise_is_broken(guard: str, promise: str, schedule: str) -> None:
    cls = mutant(guard)
    world = play((SCENARIOS / f"{schedule}.txt").read_text(), cls, cls.restore)
    assert promise in {v.invariant for v in world.check.violations}


def test_every_guard_has_its_place() -> None:
    tables = (UNSAFE, NEEDLESS, TOLD, BROKEN, BEHIND, LIMITS, BY_SEED, STRICT)
    assert {guard for table in tables for guard, *_ in table} == set(MUTATIONS)


def test_servers_that_join_are_told_last_or_two_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (SCENARIOS / "revision-joins-last.txt").read_text()
    monkeypatch.setattr(revise, "joining", lambda names, known: ())
    world = play(text, Node, Node.restore)
    assert {v.invariant for v in world.check.violations} & {"I1", "AUTH"}
