"""`clpcfset wizard`: the steps of the original's window, as questions.

Every step shows what there is and can be repeated; answers are checked as they come.  Nothing is
written before the last step.
"""

from __future__ import annotations

import os
import sys

from clptools.cli.cfset_forms import lines_of
from clptools.cli.cfset_session import HEAD, Session, alone, path_of, read
from clptools.cli.command import SUCCEEDED, Answer, done
from clptools.cli.wizard_steps import STEPS, Cancelled, Ended, Step, Talk, describe, listing
from clptools.config.edit import Found
from clptools.config.references import forget, rename
from clptools.config.table import SINGLE
from clptools.faults import ClpError, ExitCode

_INTERRUPTED = 130
"""128 + SIGINT, as shells count."""


def run(path: str, *, as_json: bool = False) -> Answer:
    """Asks, shows, writes.  Raises ClpError where the file cannot be read or written."""
    talk = Talk(sys.stderr if as_json else sys.stdout)
    try:
        session = Session(path, read(path))
        talk.say(f"{path} is there: it is changed.")
    except FileNotFoundError:
        session = Session(path, HEAD, new=True)
        talk.say(f"A new {path}.")
    talk.say("Enter takes what stands in brackets; ? explains, < leaves a question, Ctrl-C all.")
    try:
        written = _Wizard(session, talk).run()
    except Ended:
        text = f"The answers ended too early. Nothing was written: {_as_it_was(session)}."
        raise ClpError(ExitCode.FAILED, text) from None
    except KeyboardInterrupt:
        text = f"\nNothing was written: {_as_it_was(session)}."
        return Answer(text, {"result": "nothing written"}, _INTERRUPTED)
    if not written:
        text = f"Nothing was written: {_as_it_was(session)}."
        return Answer(text, {"result": "nothing written", "file": path})
    text = "\n".join([*session.notes, f"{path} written. {_next(session)}", SUCCEEDED])
    return done(text, file=path, notes=session.notes)


def _as_it_was(session: Session) -> str:
    return f"there is no {session.path}" if session.new else f"{session.path} is as it was"


def _next(session: Session) -> str:
    folder = f" -x {session.folder or '.'}"
    return f"It takes effect by: clpcfctrl --push{folder}"


class _Wizard:
    def __init__(self, session: Session, talk: Talk) -> None:
        self.session = session
        self.config = session.config
        self.talk = talk
        self._before = session.document.text()

    def run(self) -> bool:
        """Goes through the steps; returns whether the file was written."""
        number = 0
        while True:
            try:
                last = number == len(STEPS)
                ended = self._end() if last else self._step(number, STEPS[number])
            except KeyboardInterrupt:
                if self._thrown_away():
                    raise
                continue
            if ended == "quit" and not self._thrown_away():
                continue
            if ended in ("written", "quit"):
                return ended == "written"
            number = max(0, number + (-1 if ended == "back" else 1))

    def _thrown_away(self) -> bool:
        """Whether what was entered may go: a person who entered something is asked."""
        if not sys.stdin.isatty() or self.session.document.text() == self._before:
            return True
        try:
            return self.talk.yes("\nThrow away what was entered", False)
        except Cancelled:
            return False
        except (Ended, KeyboardInterrupt):
            return True  # a second time: it is meant

    # -- one step ------------------------------------------------------------------------

    def _step(self, number: int, step: Step) -> str:
        self.talk.say(f"\nStep {number + 1} of {len(STEPS) + 1}: {step.title}")
        self.talk.say(f"  {step.about}")
        if step.add is None:
            return self._cluster()
        while True:
            objects = self.config.all_of(step.kind)
            for line in listing(step.kind, objects, self.config.names("server")):
                self.talk.say(line)
            default = "a" if len(objects) < step.wanted else "n"
            verbs = "[a]dd, [c]hange, [r]ename, [d]elete, [m]ove" if objects else "[a]dd"
            try:
                said = self.talk.ask(f"{verbs}, [n]ext, [b]ack, [q]uit", default).lower()
            except Cancelled:
                return "back"
            ended = {"n": "next", "b": "back", "q": "quit"}.get(said[:1])
            if ended:
                return ended
            self._one(step, said[:1], objects)

    def _one(self, step: Step, verb: str, objects: list[Found]) -> None:
        """One change; if it is cancelled or refused, everything stays as it was."""
        try:
            if verb == "a":
                self._add(step)
                return
            action = {"c": self._change, "r": self._rename, "d": self._delete, "m": self._move}
            if verb in action and objects:
                action[verb](self._which(objects))
            else:
                self.talk.say("  Type one of the letters in brackets.")
        except Cancelled:
            self.talk.say("  Left as it was.")
        except ClpError as fault:
            self.talk.say(f"  {fault.message}")

    def _cluster(self) -> str:
        name = self.config.place("cluster.name").value or "cluster"
        while True:
            try:
                self.talk.until("Name", lambda given: self.config.set("cluster.name", given), name)
                self._keys("cluster")
            except Cancelled:
                continue
            return "next"

    def _add(self, step: Step) -> None:
        before = len(self.session.made)
        try:
            if step.add is not None:
                step.add(self.session, self.talk)
        except (Cancelled, ClpError, KeyboardInterrupt):
            for found in self.session.made[before:]:
                self.config.delete(found)
            del self.session.made[before:]
            raise

    def _which(self, objects: list[Found]) -> Found:
        if len(objects) == 1:
            return objects[0]
        names = [found.name for found in objects]
        chosen: list[Found] = []

        def take(given: str) -> None:
            if given.isdigit() and 1 <= int(given) <= len(objects):
                chosen.append(objects[int(given) - 1])
            elif given in names:
                chosen.append(objects[names.index(given)])
            else:
                raise ClpError(ExitCode.NO_SUCH, f"Give a number from 1 to {len(objects)}.")

        self.talk.until("Which one", take)
        return chosen[-1]

    def _change(self, found: Found) -> None:
        self._keys(path_of(found))

    def _keys(self, path: str) -> None:
        """Any key of an object, until there is no more to change."""
        while True:
            given = self.talk.ask("KEY=VALUE (? lists the keys, Enter: no more)")
            if not given:
                return
            if given == "?":
                for line in lines_of(self.config, path):
                    self.talk.say(f"  {line}")
                continue
            key, equals, value = (part.strip() for part in given.partition("="))
            single = path in SINGLE and key.partition(".")[0] in SINGLE
            where = key if single else f"{path}.{key}"
            try:
                if equals:
                    self.config.set(where, value)
                else:
                    self.config.take_out(where)
            except ClpError as fault:
                self.talk.say(f"  {fault.message} {fault.hint}".rstrip())

    def _rename(self, found: Found) -> None:
        def take(new: str) -> None:
            if new == found.name:
                return
            followed = rename(self.config, found, new)
            self.session.rename_scripts(found, new)
            if followed:
                self.talk.say(f"  Also changed: {'; '.join(followed)}.")

        self.talk.until("New name", take, found.name)

    def _delete(self, found: Found) -> None:
        self.config.delete(found)
        still = forget(self.config, found)
        self.session.made = [one for one in self.session.made if one.table is not found.table]
        if still:
            self.talk.say(f"  Still named: {found.name} in {'; '.join(still)}.")

    def _move(self, found: Found) -> None:
        def take(given: str) -> None:
            if not (given.isdigit() and 1 <= int(given) <= len(found.siblings)):
                text = f"Give a number from 1 to {len(found.siblings)}."
                raise ClpError(ExitCode.USAGE, text)
            self.config.move(found, int(given) - 1)

        self.talk.until("To which place", take, "1")

    # -- the end -------------------------------------------------------------------------

    def _end(self) -> str:
        from clptools.cli.clpcfchk import judge
        from clptools.cli.render.findings import render_text
        from clptools.cli.render.text import screen_columns
        from clptools.config.load import loads
        from clptools.registries import registries

        self.talk.say(f"\nStep {len(STEPS) + 1} of {len(STEPS) + 1}: look it through and write it")
        for step in STEPS[1:]:
            for found in self.config.all_of(step.kind):
                self.talk.say(f"  {step.kind:<13} {describe(found)}")
        text = self.session.document.text()
        reports, verdict = judge(loads(text, registries(), self.session.path))
        said = render_text(reports, verdict, screen_columns()).removesuffix(" Nothing was changed.")
        self.talk.say(said)
        default = "b" if verdict is None else "w"
        while True:
            try:
                answer = self.talk.ask("[w]rite, [b]ack, [q]uit", default).lower()[:1]
            except Cancelled:
                return "back"
            if answer == "w":
                self._write()
                return "written"
            if answer in ("b", "q"):
                return {"b": "back", "q": "quit"}[answer]

    def _write(self) -> None:
        session = self.session
        with alone(session.path):
            there = os.path.lexists(session.path)
            now = read(session.path) if there else ""
            if there == session.new or (there and now != session.document.original):
                raise ClpError(
                    ExitCode.REFUSED,
                    f"{session.path} has changed meanwhile. Nothing was written.",
                    "Start again: clpcfset wizard",
                )
            session.save()
