"""Notices of the agent about things that the core does not know.  They have the core's form."""

from __future__ import annotations

from clptools.core.notices.form import ERROR, INFO, WARN, Entry, Names, Notice

# ---------------------------------------------------------------------- the agent's files


class JournalUnwritten(Notice, frozen=True):
    """The disk is full or hangs, so the journal cannot be written. The gap cannot be replayed."""

    entry = Entry("pm", 901, WARN)
    about = ("me",)
    says = (
        "The journal cannot be written ({why}: {folder}); the cluster goes on without it, and "
        "tries again every few seconds."
    )

    why: str
    folder: str


class JournalWritten(Notice, frozen=True):
    """The journal can be written to the disk again."""

    entry = Entry("pm", 901, WARN)
    about = ("me",)
    says = "The journal is written again; {lost} events are not in it."

    lost: int


class RecordsUnwritten(Notice, frozen=True):
    """The disk is full, so no records are written: the alert log lacks what happens meanwhile."""

    entry = Entry("pm", 911, WARN)
    about = ("me",)
    says = "The alert log and the records cannot be written ({path}: {why}); the cluster goes on."
    hint = "See: df -h {path}; mount"

    path: str
    why: str


class RecordsWritten(Notice, frozen=True):
    """Records can be written to the disk again."""

    entry = Entry("pm", 911, WARN)
    about = ("me",)
    says = "The alert log and the records are written again."


class DiskFull(Notice, frozen=True):
    """The disk has no room left: soon neither journal nor records can be written. The cluster goes
    on."""

    entry = Entry("pm", 913, WARN)
    about = ("me",)
    says = "{folder} has no room left on its disk (No space left on device)."
    hint = "See: df -h {folder}"

    folder: str


class DiskHasRoom(Notice, frozen=True):
    """The disk has room again."""

    entry = Entry("pm", 913, WARN)
    about = ("me",)
    says = "{folder} has room on its disk again."

    folder: str


class DiskHangs(Notice, frozen=True):
    """The disk does not answer, so neither journal nor records are written. The cluster goes on."""

    entry = Entry("pm", 912, WARN)
    about = ("me",)
    says = "{folder} has not answered for {silent_ms:whole}: journal and records wait for it."
    hint = "See: dmesg; mount"

    folder: str
    silent_ms: int


class DiskAnswers(Notice, frozen=True):
    """The disk answers again: journal and records are written."""

    entry = Entry("pm", 912, WARN)
    about = ("me",)
    says = "{folder} answers again, after {silent_ms:whole}."

    folder: str
    silent_ms: int


class StateUnusable(Notice, frozen=True):
    """The state file of this agent exists but could not be read."""

    entry = Entry("pm", 903, WARN)
    about = ("me",)
    says = (
        "{path}: {why}; starting without state: this server stops its groups before it says that "
        "it holds none"
    )

    path: str
    why: str


class MemberUnusable(Notice, frozen=True):
    """The file that says whether this server is a member was garbled. The server counts as one that
    left, which only makes its start more careful."""

    entry = Entry("pm", 903, WARN)
    about = ("me",)
    says = "{path}: garbled; this server counts as none of the cluster until the others admit it"

    path: str


class LedgerUnusable(Notice, frozen=True):
    """The file of open hardware events exists but could not be read."""

    entry = Entry("pm", 903, WARN)
    about = ("me",)
    says = "{path}: {why}; no hardware event counts as open"

    path: str
    why: str


class BootNotNoted(Notice, frozen=True):
    """The note of this boot could not be written. Without it, an agent that starts later could take
    itself for the first one of this boot."""

    entry = Entry("pm", 903, WARN)
    about = ("me",)
    says = "{path}: {why}; this boot is not noted on the disk, so this server takes no group."
    hint = "Mend the file system: it is tried again every few seconds."

    path: str
    why: str


class BootNotedLate(Notice, frozen=True):
    """The note of this boot, which could not be written at the start, is on the disk now."""

    entry = Entry("pm", 903, INFO)
    about = ("me",)
    says = "This boot is noted on the disk now: this server takes groups again."


class BootNotMarked(Notice, frozen=True):
    """The second note of this boot, which outlives a purge of the package, could not be made."""

    entry = Entry("pm", 903, WARN)
    about = ("me",)
    says = (
        "{path}: {why}; this boot is not marked there, so do not purge and install the package "
        "again before the next one"
    )

    path: str
    why: str


class NameTaken(Notice, frozen=True):
    """Another user's process holds the socket name by which agents of one host find each other."""

    entry = Entry("pm", 903, WARN)
    about = ("me",)
    says = (
        "{holder} of another user has the name of this host's agent; the lock files alone keep a "
        "second agent away now."
    )
    hint = "End that process."

    holder: str


class StartWaits(Notice, frozen=True):
    """The agent cannot write its state, so it starts nothing."""

    entry = Entry("pm", 907, ERROR)
    about = ("me",)
    says = "{why}."
    hint = "{mends}"

    why: str
    mends: str


class StartGoesOn(Notice, frozen=True):
    """The state can be written now, so the agent starts."""

    entry = Entry("pm", 908, INFO)
    about = ("me",)
    says = "{folder} can be written again."

    folder: str


class StateUnwritten(Notice, frozen=True):
    """The state cannot be written, and nothing may be sent before it is."""

    entry = Entry("pm", 907, ERROR)
    about = ("me",)
    says = (
        "The state cannot be written ({path}: {why}): until it can, this server does nothing, "
        "sends no heartbeats, and is taken for lost."
    )
    hint = "See: df -h {folders}; mount"

    path: str
    why: str
    folders: str


class StateWritten(Notice, frozen=True):
    """The state can be written again."""

    entry = Entry("pm", 908, WARN)
    about = ("me",)
    says = "The state is written again; this server goes on."


class FilesMadeAgain(Notice, frozen=True):
    """Something on this host removes files of a running agent."""

    entry = Entry("pm", 909, WARN)
    about = ("me",)
    says = "Files of this agent were removed from {folder}; they are made again."
    hint = "Whatever cleans up there must leave that folder alone."

    folder: str


class LockMadeAgain(Notice, frozen=True):
    """The lock file, which keeps a second agent away, was removed."""

    entry = Entry("pm", 909, WARN)
    about = ("me",)
    says = "{path} was gone; it is there again."

    path: str


class LockNotMade(Notice, frozen=True):
    """The lock file, which keeps a second agent away, is gone and cannot be made again."""

    entry = Entry("pm", 909, ERROR)
    about = ("me",)
    says = "{why}; trying again until it can be made again"

    why: str


class FilesNotMade(Notice, frozen=True):
    """A file of the running agent in `/run` is gone and cannot be made again."""

    entry = Entry("pm", 909, ERROR)
    about = ("me",)
    says = "{why}; trying again until it can be made again"

    why: str


# ---------------------------------------------------------------------- the configuration


class ScriptsKept(Notice, frozen=True):
    """A push replaced scripts that were edited on this server and never pushed."""

    entry = Entry("pm", 902, WARN)
    about = ("me",)
    says = (
        "Revision {revision} came while {scripts} {scripts:was|were} edited here; kept below "
        "{folder}."
    )

    revision: int
    scripts: Names
    folder: str


class EditKept(Notice, frozen=True):
    """A push replaced a `clp.toml` that was edited on this server and never pushed."""

    entry = Entry("pm", 902, WARN)
    about = ("me",)
    says = "Revision {revision} came while clp.toml was edited here; the edit is kept as {path}."

    path: str
    revision: int


class PushMended(Notice, frozen=True):
    """An agent ended in the middle of a push. The next agent put the remaining files in place."""

    entry = Entry("pm", 906, WARN)
    about = ("me",)
    says = "The push of revision {revision} was cut short on {me}; its files are in place now."

    revision: int


class TakenOver(Notice, frozen=True):
    """A server that missed a push took the configuration from another one."""

    entry = Entry("pm", 906, WARN)
    about = ("me", "server")
    says = "{me} had missed revision {revision}, and took it over from {server}."

    server: str
    revision: int


class NotTakenOver(Notice, frozen=True):
    """A server that missed a push could not take the configuration over."""

    entry = Entry("pm", 906, ERROR)
    about = ("me", "server")
    says = "{me} missed revision {revision}, and cannot take it over from {server}: {why}."
    hint = "It is tried again."

    server: str
    revision: int
    why: str


class TwoRevisions(Notice, frozen=True):
    """Each of two parts of the cluster that could not hear each other got a push of its own."""

    entry = Entry("pm", 906, ERROR)
    about = ("me", "server")
    says = "{server} has another revision {revision} than {me}: each was pushed without the other."
    hint = "Choose one, and push it: clpcfctrl --diff, then clpcfctrl --push"

    server: str
    revision: int


class OneRevision(Notice, frozen=True):
    """Two servers, each with a push of its own, have the same configuration again."""

    entry = Entry("pm", 906, INFO)
    about = ("me", "server")
    says = "{server} and {me} have the same configuration again: revision {revision}."

    server: str
    revision: int


class PushedWithout(Notice, frozen=True):
    """A push was made without the servers that are down."""

    entry = Entry("pm", 905, WARN)
    about = ("me", "servers")
    says = (
        "Revision {revision} was pushed without {servers}, by {user}; each takes it over before "
        "it takes part."
    )

    revision: int
    servers: Names
    user: str


class NoConfiguration(Notice, frozen=True):
    """A new server waits for the push of a configuration that names it."""

    entry = Entry("pm", 904, INFO)
    about = ("me",)
    says = "{me} has no configuration; waiting for a first push."


class TakenOut(Notice, frozen=True):
    """A push removed this server from the cluster. Its configuration remains only in `history/`."""

    entry = Entry("pm", 914, WARN)
    about = ("me", "by")
    says = "{by} took {me} out of the cluster {cluster} (revision {revision}); it belongs to none."

    by: str
    cluster: str
    revision: int


class ConfigurationInForce(Notice, frozen=True):
    """A pushed configuration took effect on this server."""

    entry = Entry("pm", 905, INFO)
    about = ("me",)
    says = "Configuration revision {revision} by {user}[ from {server}][ ({how})] is in force."

    revision: int
    user: str
    server: str = ""
    how: str = ""


# ---------------------------------------------------------------------- host and hardware


class AgentStoodStill(Notice, frozen=True):
    """The agent did nothing for a large part of the heartbeat time-out: the machine is overloaded
    or stood still, or something in the agent took too long."""

    entry = Entry("pm", 917, WARN)
    about = ("me",)
    says = (
        "The agent of {me} stood still for {lag_ms:s}; after {timeout_ms:s} the other servers take "
        "{me} for lost."
    )

    lag_ms: int
    timeout_ms: int


class HostActed(Notice, frozen=True):
    """What was done to shut down or restart this host, and how that went."""

    entry = Entry("pm", 910, WARN)
    about = ("me",)
    says = "{what}"

    what: str


class ChassisIdentified(Notice, frozen=True):
    """An operator switched the identify LED of a server (`clpledctrl`)."""

    entry = Entry("pm", 941, INFO)
    about = ("server",)
    says = "{what}, by {user}."

    server: str
    what: str
    user: str


# ---------------------------------------------------------------------- alerts


class AlertsWait(Notice, frozen=True):
    """Alerts could not be delivered by mail, SNMP trap or script. Delivery is tried again."""

    entry = Entry("pm", 940, WARN)
    about = ("me",)
    says = "{destination}: {why}; {waiting} {waiting:alert waits|alerts wait}[, {lost} are lost]."

    destination: str
    why: str
    waiting: int
    lost: int


# ---------------------------------------------------------------------- asked from outside


class OutsideDenied(Notice, frozen=True):
    """A program outside the cluster asked for something that it is not allowed to do
    (`clprexec`)."""

    entry = Entry("trnsv", 1, ERROR)
    about = ("me",)
    says = (
        "A notification ({what}) came from outside the cluster, sent by {who}, but it was denied: "
        "{why}."
    )

    what: str
    who: str
    why: str


class KnockDenied(Notice, frozen=True):
    """A caller without the cluster's key was refused."""

    entry = Entry("trnsv", 1, ERROR)
    about = ("me",)
    says = (
        "A notification came from outside the cluster, sent by {address}, but it was denied: {why}"
        "[ (and {others} others before)]."
    )

    address: str
    why: str
    others: int


class OutsideDone(Notice, frozen=True):
    """An action that a program outside the cluster asked for was done."""

    entry = Entry("trnsv", 30, INFO)
    about = ("me",)
    says = "Action ({what}) by {who} has been completed."

    what: str
    who: str


class OutsideFailed(Notice, frozen=True):
    """An action that a program outside the cluster asked for was begun, and failed."""

    entry = Entry("trnsv", 31, ERROR)
    about = ("me",)
    says = "Action ({what}) by {who} failed: {why}."

    what: str
    who: str
    why: str


# ---------------------------------------------------------------------- resource agents


class AgentUnfit(Notice, frozen=True):
    """An `ocf` resource could not be started on this server: its agent is missing, or rejects the
    parameters that it would get."""

    entry = Entry("rc", 944, WARN)
    about = ("me", "resource")
    says = "{resource} cannot be started on {me}: {why}."
    hint = "{mends}"

    resource: str
    why: str
    mends: str


class AgentFit(Notice, frozen=True):
    """The agent of a resource is installed and accepts its parameters."""

    entry = Entry("rc", 944, INFO)
    about = ("me", "resource")
    says = "The agent of {resource} is fit on {me} again."

    resource: str


class RunsUnheld(Notice, frozen=True):
    """A resource runs here without the cluster having started it, so it may be active on two
    servers."""

    entry = Entry("rc", 945, ERROR)
    about = ("me", "group", "resource")
    says = (
        "[CRITICAL, its data is at risk, as {holder} runs it, too: ]{resource} runs on {me}, "
        "which does not hold {group}[ ({what})]."
    )
    hint = "See what started it on {me} (systemctl, /etc/fstab, a person), and stop it there."

    group: str
    resource: str
    holder: str
    what: str = ""
    """How it was found to run, if not by its agent alone."""


class RunsNoMore(Notice, frozen=True):
    """The resource was stopped, or this server holds its group now."""

    entry = Entry("rc", 945, INFO)
    about = ("me", "group", "resource")
    says = "{resource} of {group} does not run on {me} against the cluster any more."

    group: str
    resource: str


# ---------------------------------------------------------------------- metrics


class MetricsUnserved(Notice, frozen=True):
    """Metrics cannot be served at the address in `[cluster] metrics`. The cluster goes on without
    them."""

    entry = Entry("pm", 940, WARN)
    about = ("me",)
    says = "Metrics cannot be served at {at}: {why}."
    hint = (
        "It is tried again. Another place: clpcfset set cluster.metrics=ADDRESS:PORT -x {folder}, "
        "then clpcfctrl --push"
    )

    at: str
    why: str
    folder: str


class MetricsServed(Notice, frozen=True):
    """Metrics are served, after their address could not be used."""

    entry = Entry("pm", 940, INFO)
    about = ("me",)
    says = "Metrics are served at {at} now."

    at: str


# ---------------------------------------------------------------------- the authkey


class KeyRollAsked(Notice, frozen=True):
    """A user asked for the next step of a key roll."""

    entry = Entry("pm", 918, INFO)
    about = ("me",)
    says = "{user} asked {me} for the next step of the key roll."

    user: str


class KeyRollGivenUp(Notice, frozen=True):
    """A user asked to undo the first step of a key roll."""

    entry = Entry("pm", 918, INFO)
    about = ("me",)
    says = "{user} asked {me} to give the key roll up."

    user: str


class KeyAccepted(Notice, frozen=True):
    """First step of a key roll: the new authkey is accepted beside the old one."""

    entry = Entry("pm", 918, INFO)
    about = ("me",)
    says = "A key roll is under way: {me} accepts authkey {new} beside {own}, which it uses."
    hint = "The next step: clpcfctrl --keyroll. Give it up: clpcfctrl --keyroll --cancel"

    new: str
    """Fingerprint, as `own`."""
    own: str


class KeyUsed(Notice, frozen=True):
    """Second step of a key roll: the new authkey signs, and the old one is still accepted."""

    entry = Entry("pm", 918, INFO)
    about = ("me",)
    says = "A key roll is under way: {me} uses authkey {own}, and still accepts {last}."
    hint = "Once no machine outside needs the old one any more: clpcfctrl --keyroll"

    own: str
    """Fingerprint, as `last`."""
    last: str


class KeyDropped(Notice, frozen=True):
    """Last step of a key roll: the old authkey is no longer accepted."""

    entry = Entry("pm", 918, INFO)
    about = ("me",)
    says = "{me} accepts authkey {own} alone: the key roll is through here."

    own: str
    """Fingerprint."""


class KeyForgotten(Notice, frozen=True):
    """A key roll was given up before the new authkey was used."""

    entry = Entry("pm", 918, INFO)
    about = ("me",)
    says = "{me} has forgotten the new authkey {new}: the key roll was given up."

    new: str
    """Fingerprint."""
