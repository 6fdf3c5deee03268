"""Notices of the cluster: who is there, who decides, and what all servers share."""

from __future__ import annotations

from clptools.core.notices.form import ERROR, INFO, WARN, Entry, Names, Notice

# ---------------------------------------------------------------------- servers


class TakesPart(Notice, frozen=True):
    """A server that has started is admitted: it votes and may run groups."""

    entry = Entry("nm", 1, INFO)
    about = ("me",)
    says = (
        "{me} takes part: {by_all:every other server counts it, or is out|it is a member, and the "
        "start-up wait is over}."
    )

    by_all: bool


class ServerLeft(Notice, frozen=True):
    """A server ended its cluster service in order; its groups may start elsewhere at once."""

    entry = Entry("nm", 2, INFO)
    about = ("server",)
    says = "{server} has left the cluster: it released everything and said so."

    server: str


class ServerReadsOff(Notice, frozen=True):
    """A server lost its power, by the word of its BMC: that is proof, and its groups may start
    elsewhere."""

    entry = Entry("nm", 2, WARN)
    about = ("server",)
    says = "The {means} of {server} read power off."

    server: str
    means: str = "BMC"


class ServerLost(Notice, frozen=True):
    """No heartbeat of a server arrived for `heartbeat_timeout`.  Its groups start elsewhere once
    something proves that it does not run them any more."""

    entry = Entry("nm", 80, WARN)
    about = ("server",)
    says = "{server} was last heard {ago_ms:s} ago[ on {links}]: it is lost."

    server: str
    ago_ms: int
    links: Names


class HeardAgain(Notice, frozen=True):
    """Heartbeats of a lost server arrive again."""

    entry = Entry("nm", 81, INFO)
    about = ("server",)
    says = "{server} is heard again."

    server: str


class DuplicateName(Notice, frozen=True):
    """Two agents use one server name, as after a disk was cloned."""

    entry = Entry("nm", 11, ERROR)
    about = ("me",)
    says = "Another agent calls itself {me} as well; it is not listened to."
    hint = "Give it its own name."


class HeartbeatsReplayed(Notice, frozen=True):
    """Heartbeats that are long over arrive once more."""

    entry = Entry("nm", 12, WARN)
    about = ("server",)
    says = (
        "Old heartbeats of {server} arrive again: they are recorded and replayed, or a path "
        "delivers very late. They count for nothing."
    )

    server: str


class HeartbeatsRefused(Notice, frozen=True):
    """Something sends from the address of a server that is not heard, with another key or in
    another cluster.  So that server is probably not down."""

    entry = Entry("nm", 13, ERROR)
    about = ("server", "me")
    says = "Datagrams from {address} ({server}) are refused: {why}."
    hint = "{mends}"

    server: str
    address: str
    why: str
    mends: str


class HeartbeatsTaken(Notice, frozen=True):
    """Heartbeats of a server whose datagrams were refused are authentic."""

    entry = Entry("nm", 13, INFO)
    about = ("server", "me")
    says = "The datagrams of {server} are no longer refused on {me}: it is heard."

    server: str


class HeartbeatsLate(Notice, frozen=True):
    """Heartbeats of a server need most of `heartbeat_timeout` on one interconnect."""

    entry = Entry(("lanhb", "lankhb", "bmchb", "witnesshb"), 71, WARN)
    about = ("server", "link", "me")
    says = "Heartbeats of {server} on {link} are late: {delay_ms:s} of {limit_ms:s} ({percent} %)."

    module: str
    server: str
    link: str
    delay_ms: int
    limit_ms: int
    percent: int


class PathSilent(Notice, frozen=True):
    """No heartbeat of a server arrived on one interconnect for `heartbeat_timeout`, while others
    carry them: a cable, a switch port or an address."""

    entry = Entry(("lanhb", "lankhb", "bmchb", "witnesshb"), 930, WARN)
    about = ("server", "link", "me")
    says = (
        "Heartbeats of {server} no longer arrive on {link} of {me}: the last one came "
        "{ago_ms:s} ago; they still arrive {by}."
    )
    hint = "See what is cut: clpstat --explain {link}"

    module: str
    server: str
    link: str
    ago_ms: int
    by: str


class PathHeard(Notice, frozen=True):
    """Heartbeats of a server arrive again on an interconnect that was silent."""

    entry = Entry(("lanhb", "lankhb", "bmchb", "witnesshb"), 931, INFO)
    about = ("server", "link", "me")
    says = "Heartbeats of {server} arrive on {link} of {me} again, after {for_ms:s}."

    module: str
    server: str
    link: str
    for_ms: int


class PagesMissing(Notice, frozen=True):
    """Heartbeats arrive, but larger datagrams, which tell of many groups, do not."""

    entry = Entry("nm", 932, WARN)
    about = ("server", "me")
    says = (
        "{server} is heard[ over {links}], but its larger datagrams, which tell of its groups, do "
        "not arrive: MTU?"
    )
    hint = "Packets of {size} bytes must pass; the MTU must be the same on every server and switch."

    server: str
    links: Names
    size: int


class PagesAgain(Notice, frozen=True):
    """The larger datagrams of a server get through again."""

    entry = Entry("nm", 933, INFO)
    about = ("server",)
    says = "The larger datagrams of {server} arrive again."

    server: str


# ---------------------------------------------------------------------- BMCs


class BmcLies(Notice, frozen=True):
    """A BMC said off of a server that was running: what it says proves nothing for now."""

    entry = Entry("nm", 3, WARN)
    about = ("server",)
    says = (
        "The {means} of {server} read off while {server} was heard: it is no proof until it reads "
        "on while {server} is heard."
    )
    hint = "Check that {key} of {server} names its own {what}."

    server: str
    means: str = "BMC"
    key: str = "[server.bmc]"
    what: str = "BMC"


class BmcTruthful(Notice, frozen=True):
    """A BMC that had said off of a running server says on again."""

    entry = Entry("nm", 3, INFO)
    about = ("server",)
    says = "The {means} of {server} reads on while {server} is heard: what it says counts again."

    server: str
    means: str = "BMC"


class BmcRefuses(Notice, frozen=True):
    """A BMC cannot be asked until a person did something: it is no proof until then."""

    entry = Entry("nm", 5, WARN)
    about = ("server", "me")
    says = "{me} cannot ask the BMC of {server}: {why}."
    hint = "{mends}"

    server: str
    why: str
    mends: str


class BmcAnswers(Notice, frozen=True):
    """What kept a BMC from being asked was mended."""

    entry = Entry("nm", 5, INFO)
    about = ("server", "me")
    says = "{me} can ask the BMC of {server} again."

    server: str


class BmcLacks(Notice, frozen=True):
    """A BMC can be read, but our account there may not switch the power: a forced stop fails."""

    entry = Entry("nm", 5, WARN)
    about = ("server", "me")
    says = "{me} can read the BMC of {server}, and cannot stop {server} by it: {why}."
    hint = "{mends}"

    server: str
    why: str
    mends: str


class BmcSuffices(Notice, frozen=True):
    """Our account at a BMC may switch the power now."""

    entry = Entry("nm", 5, INFO)
    about = ("server", "me")
    says = "{me} may switch the power of {server} by its BMC now."

    server: str


class CountsAgain(Notice, frozen=True):
    """A server that was off is on and silent.  An off read lasts for `startup_wait`: after that
    it counts for the majority again, and those that run may have none without it."""

    entry = Entry("nm", 4, WARN)
    about = ("server", "me")
    says = (
        "{server} is switched on and not heard. In {left_ms:s} it counts again for the majority, "
        "and {me} stops {groups} unless a majority is heard by then."
    )
    hint = "If {server} does not come up: clpforcestop {server} --yes"

    server: str
    left_ms: int
    groups: Names


class StoppedIfSilent(Notice, frozen=True):
    """A server boots for very long.  An exact half has to power it off before it may run its
    groups."""

    entry = Entry("nm", 4, WARN)
    about = ("server", "me")
    says = (
        "{server} is switched on and not heard. In {left_ms:s} it counts again for the majority, "
        "and {me} powers it off unless it is heard by then."
    )
    hint = (
        "If it only takes longer to boot: clpcl --suspend --force until it is up, then a longer "
        "[[cluster]] startup_wait"
    )

    server: str
    left_ms: int


# ---------------------------------------------------------------------- the coordinator


class CoordinatorElected(Notice, frozen=True):
    """A majority elected this server; it alone decides where groups run."""

    entry = Entry("nm", 50, INFO)
    about = ("me",)
    says = "{me} is coordinator in term {term}; the electorate is {electorate}."

    term: int
    electorate: Names


class AuthorityLapsed(Notice, frozen=True):
    """A coordinator had no answer of a majority for the length of `lease`."""

    entry = Entry("nm", 930, WARN)
    about = ("me",)
    says = "{me} is no longer coordinator: the authority of term {term} lapsed."

    term: int


class ArbiterOffered(Notice, frozen=True):
    """A coordinator that hears half of the servers leaves the arbiter to the other half for a
    while, as that may hear more."""

    entry = Entry("nm", 930, WARN)
    about = ("me",)
    says = (
        "{me} is no longer coordinator: it hears {heard} of {of} servers, itself included, and "
        "leaves {arbiter} to others that hear half of them."
    )

    arbiter: str
    heard: int
    of: int


class HigherTerm(Notice, frozen=True):
    """Somebody stood for election meanwhile, so the coordinator is elected anew."""

    entry = Entry("nm", 930, WARN)
    about = ("me",)
    says = "{me} stands again: term {term} is known to others."

    term: int


class CoordinatorLeaves(Notice, frozen=True):
    """The coordinator ends its cluster service; another one is elected."""

    entry = Entry("nm", 930, WARN)
    about = ("me",)
    says = "{me} is no longer coordinator: it leaves."


# ---------------------------------------------------------------------- what all share


class RevisionInForce(Notice, frozen=True):
    """A configuration that was pushed is in force."""

    entry = Entry("cfmgr", 1, INFO)
    about = ("me",)
    says = "{me} took over configuration revision {revision}."

    revision: int


class FileEdited(Notice, frozen=True):
    """`clp.toml` on the disk is not what is in force; the agent runs what is in force."""

    entry = Entry("pm", 902, WARN)
    about = ("me",)
    says = (
        "{path} {what}; revision {revision} is in force[, and the file was last written at {when}]."
    )
    hint = "{mends}"

    path: str
    what: str
    revision: int
    mends: str
    when: str = ""


class FileAsInForce(Notice, frozen=True):
    """A `clp.toml` that had been edited is what is in force again."""

    entry = Entry("pm", 902, INFO)
    about = ("me",)
    says = "{path} is again what is in force: revision {revision}."

    path: str
    revision: int


class NotCounted(Notice, frozen=True):
    """A server has started with a configuration that counts other votes than ours."""

    entry = Entry("cfmgr", 2, WARN)
    about = ("server", "me")
    says = (
        "{server} runs configuration revision {theirs}, whose servers, arbiters or leases are not "
        "those of revision {ours}: it takes part when it has the newest (clpcfctrl --push)."
    )

    server: str
    theirs: int
    ours: int


class StartedWithOlder(Notice, frozen=True):
    """A server has started that missed a push; it takes the configuration over by itself."""

    entry = Entry("cfmgr", 2, WARN)
    about = ("server", "me")
    says = (
        "{server} runs configuration revision {theirs}: it takes part when it has revision {ours}."
    )

    server: str
    theirs: int
    ours: int


class CountsNewer(Notice, frozen=True):
    """A server has started with a newer configuration, which counts other votes than ours."""

    entry = Entry("cfmgr", 2, WARN)
    about = ("server", "me")
    says = (
        "{server} runs configuration revision {theirs}, whose servers, arbiters or leases are not "
        "those of revision {ours}: it takes part when {me} has its newer one (on {server}: "
        "clpcfctrl --push)."
    )

    server: str
    theirs: int
    ours: int


class ClusterSuspended(Notice, frozen=True):
    """Nothing moves by itself until the cluster is resumed."""

    entry = Entry("pm", 35, INFO)
    about = ("cluster", "me")
    says = "The cluster was suspended[ by {user}]; {me} knows it."

    cluster: str
    user: str


class ClusterStillSuspended(Notice, frozen=True):
    """Somebody may have forgotten to resume the cluster; told once a day."""

    entry = Entry("pm", 35, WARN)
    about = ("me",)
    says = "The cluster has been suspended for {for_ms:span}[, by {user}]: nothing moves by itself."
    hint = "Resume it: clpcl --resume"

    for_ms: int
    user: str


class ClusterResumed(Notice, frozen=True):
    """Groups move by themselves again."""

    entry = Entry("pm", 34, INFO)
    about = ("cluster", "me")
    says = "The cluster was resumed[ by {user}]; {me} knows it."

    cluster: str
    user: str


class TimeoutsStretched(Notice, frozen=True):
    """Time-outs that declare a failure are longer for a while (`clptoratio`)."""

    entry = Entry("pm", 942, INFO)
    about = ("cluster", "me")
    says = "Time-outs are {ratio} times as long for {for_ms:span}[, by {user}]; {me} knows it."

    cluster: str
    ratio: int
    for_ms: int
    user: str


class TimeoutsAsConfigured(Notice, frozen=True):
    """The time of longer time-outs is over, or was ended."""

    entry = Entry("pm", 943, INFO)
    about = ("cluster", "me")
    says = "Time-outs are as configured again[, by {user}]; {me} knows it."

    cluster: str
    user: str


class ClockSet(Notice, frozen=True):
    """Somebody, or a time service, set the wall clock.  No decision depends on it, but the times of
    records before and after do not follow each other."""

    entry = Entry("pm", 916, WARN)
    about = ("me",)
    says = "The clock of {me} was set {which} by {by_ms:s}: {was} became {became}."

    which: str
    by_ms: int
    was: str
    became: str


class RulesUnsettled(Notice, frozen=True):
    """A fault of clptools: two of its rules contradict each other."""

    entry = Entry("nm", 934, ERROR)
    about = ("me",)
    says = (
        "The rules on {me} came to no end within {rounds} rounds; they go on with the next event. "
        "This is a fault of clptools: send the journal with a report (clplogcc)."
    )

    rounds: int
