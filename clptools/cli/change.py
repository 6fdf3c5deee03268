"""Commands that change something: one request, its steps as they come, its end."""

from __future__ import annotations

import sys

from clptools.api.client import Client, Silent, user
from clptools.cli.command import TYPE_CHECKING, Answer, Args, Command, done
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.cli.json_types import RequestJson

REFUSALS_TAKE_S = 1.0
"""How long `-w 0` still waits: long enough to hear of a refusal, not of the end."""


def one_of(command: Command, args: Args, *names: str) -> str:
    """The one option of `names` that was given.  Raises ClpError (USAGE)."""
    given = [name for name in names if args.given(name)]
    if len(given) == 1:
        return given[0]
    flags = [option.flags[0] for option in command.options if option.name in names]
    either = ", ".join(flags[:-1]) + " or " + flags[-1]
    raise ClpError(
        ExitCode.USAGE,
        f"Give one of {either}, not {'several' if given else 'none'}.",
        f"More: {command.name} --help",
    )


def change(args: Args, request: RequestJson, timeout_s: float | None = None) -> Answer:
    """Has the agent carry out a request of `clptools.core.model.requests`; waits for its end.

    A terminal sees each step, unless one JSON object is wanted.
    `timeout_s` None waits as long as it takes, 0 only for a refusal.  Raises ClpError with
    the code of the outcome.
    """
    shows = sys.stdout.isatty() and not args.given("json")
    return outcome(follow(request, timeout_s, shows=shows))


def follow(request: RequestJson, timeout_s: float | None, *, shows: bool) -> dict[str, object]:
    """The outcome of a request, as it came; `shows` its steps as they come."""
    asked = {key: value for key, value in request.items() if value not in ("", None)}
    patience = REFUSALS_TAKE_S if timeout_s == 0 else timeout_s
    with Client() as client:
        client.finish_within(patience)
        try:
            for reply in client.stream("Request", request=asked, user=user()):
                if shows and isinstance(reply.get("progress"), str):
                    print(reply["progress"], flush=True)
                ended = reply.get("outcome")
                if isinstance(ended, dict):
                    return ended
        except Silent:
            raise
        except ClpError as error:
            if error.code == ExitCode.TIMED_OUT and timeout_s == 0:
                return {"text": "Asked; it goes on without being waited for."}
            if error.code == ExitCode.TIMED_OUT:
                raise ClpError(
                    ExitCode.TIMED_OUT,
                    f"Not done within {patience:g} s. The work goes on.",
                    "See how far it is: clpstat",
                ) from error
            raise
    raise ClpError(ExitCode.FAILED, "The node agent ended without saying how.", "See: clpstat")


def outcome(ended: dict[str, object]) -> Answer:
    """An outcome as the command's own: done, or raised as ClpError; 9 (found) is no fault."""
    raw = ended.get("code", 0)
    code = next((known for known in ExitCode if known == raw), ExitCode.FAILED)
    text, hint = str(ended.get("text", "")), str(ended.get("hint", ""))
    if code == ExitCode.FOUND:
        return Answer("\n".join(filter(None, (text, hint))), {"text": text, "hint": hint}, code)
    if code != ExitCode.DONE:
        raise ClpError(code, text or "Refused without a reason.", hint)
    return done("\n".join(filter(None, (text, hint))))
