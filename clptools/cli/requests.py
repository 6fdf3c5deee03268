"""What commands ask of the agent: the status, the names in it, and requests.

`clpgrp --complete group` prints live names, one a line.  Every command answers it; it is no option
for people.  Without an agent the names come from the configuration file; without one there are
none.  It never fails.  What `--complete line` answers is in `cfset_words.py`.
"""

from __future__ import annotations

import sys

from clptools.api.client import Client, Silent, user
from clptools.cli.command import TYPE_CHECKING, Answer, Args, Command, done
from clptools.faults import ClpError, ExitCode, no_such

if TYPE_CHECKING:
    from clptools.cli.command import Query
    from clptools.cli.json_types import RequestJson

Json = dict[str, object]


def objects(parent: Json, key: str) -> list[Json]:
    """The list of objects under `key`; empty where there is none."""
    value = parent.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def status(client: Client, *, local: bool = False) -> Json:
    """The status of the cluster."""
    return status_in(client.call("GetStatus", local=local))


def status_in(reply: Json) -> Json:
    """The status in a reply of the agent."""
    found = reply.get("status")
    return found if isinstance(found, dict) else {}


GET_STATUS: tuple[tuple[str, Json], ...] = (("GetStatus", {"local": False}),)
"""The calls of a query that asks for the status of the cluster."""


def ask(query: Query, columns: int = 0) -> Answer:
    """What the agent's replies make of a query.  Raises ClpError."""
    with Client() as client:
        told = [client.call(method, **parameters) for method, parameters in query.calls]
    return query.answer(told, columns)


def local_server(of: Json) -> str:
    """The name of the server that gave the status."""
    return next((str(s.get("name")) for s in objects(of, "servers") if s.get("local")), "")


def server_called(of: Json, host: str) -> str:
    """The name of the server that HOST means: its name, or one of its addresses.

    What is neither stays as it is, so that whoever needs the server can say that there is none.
    """
    servers = objects(of, "servers")
    if not is_address(host) or any(server.get("name") == host for server in servers):
        return host
    from ipaddress import ip_address

    for server in servers:
        found = server.get("addresses")  # an agent from before does not say
        known = found if isinstance(found, list) else []
        if any(is_address(each) and ip_address(each) == ip_address(host) for each in known):
            return str(server.get("name"))
    return host


def is_address(host: str) -> bool:
    """Whether it is an IPv4 or IPv6 address.  Cheap for most names."""
    if ":" not in host and not host.replace(".", "").isdigit():
        return False
    from ipaddress import ip_address

    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def known_group(of: Json, name: str) -> Json:
    """The group of that name in a status.  Raises ClpError (NO_SUCH)."""
    return find(objects(of, "groups"), "group", name)


def known_resource(of: Json, name: str) -> tuple[Json, Json]:
    """The group and the resource of that name in a status.  Raises ClpError (NO_SUCH)."""
    groups = objects(of, "groups")
    everything = [(group, item) for group in groups for item in objects(group, "resources")]
    found = find([item for _, item in everything], "resource", name)
    return next(pair for pair in everything if pair[1] is found)


def find(of: list[Json], kind: str, name: str) -> Json:
    """The object of that name.  Raises ClpError: NO_SUCH, or USAGE for no name at all."""
    if not name:
        raise ClpError(ExitCode.USAGE, f"The name of a {kind} is missing.")
    for item in of:
        if item.get("name") == name:
            return item
    raise no_such(kind, name, (str(item.get("name")) for item in of))


# ---------------------------------------------------------------------- requests


SERVERS = ("server", "to", "down")
"""Keys of a request that name a server; people may give its address instead."""
REFUSALS_TAKE_S = 1.0
"""How long `-w 0` still waits: long enough for a refusal, not for the end."""


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
    """The outcome of a request, as the agent sent it; with `shows` its steps are printed."""
    asked = {key: value for key, value in request.items() if value not in ("", None)}
    patience = REFUSALS_TAKE_S if timeout_s == 0 else timeout_s
    with Client() as client:
        hosts = {key: str(asked[key]) for key in SERVERS if key in asked}
        if any(map(is_address, hosts.values())):
            state = status(client)
            asked |= {key: server_called(state, host) for key, host in hosts.items()}
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
                return {"text": "Requested; the work goes on in the background."}
            if error.code == ExitCode.TIMED_OUT:
                raise ClpError(
                    ExitCode.TIMED_OUT,
                    f"Not done within {patience:g} s. The work goes on.",
                    "See how far it is: clpstat",
                ) from error
            raise
    raise ClpError(ExitCode.FAILED, "The node agent ended without an outcome.", "See: clpstat")


def outcome(ended: dict[str, object]) -> Answer:
    """An outcome as an answer.  Raises ClpError unless it is done or 9 (found, no fault)."""
    raw = ended.get("code", 0)
    code = next((known for known in ExitCode if known == raw), ExitCode.FAILED)
    text, hint = str(ended.get("text", "")), str(ended.get("hint", ""))
    if code == ExitCode.FOUND:
        return Answer("\n".join(filter(None, (text, hint))), {"text": text, "hint": hint}, code)
    if code != ExitCode.DONE:
        raise ClpError(code, text or "Refused without a reason.", hint)
    answer = done("\n".join(filter(None, (text, hint))))
    if did := str(ended.get("did", "")):
        # The original's words stay a line of their own, as scripts look for them.
        answer.text = f"{did}\n{answer.text}"
        answer.fields = {**(answer.fields or {}), "did": did}
    return answer


# ---------------------------------------------------------------------- names for the shells


KINDS = ("group", "resource", "server", "monitor")
PATIENCE_S = 1.0


def live_names(kind: str) -> list[str]:
    """The names of one kind; `any` is all kinds."""
    if kind == "revision":
        return _revisions()
    kinds = KINDS if kind == "any" else (kind,)
    state = _state()
    return [name for each in kinds for name in _of(state, each)]


def _revisions() -> list[str]:
    """The numbers of the configurations that were in force, newest first."""
    from clptools.config.history import entries

    try:
        return [str(entry.number) for entry in reversed(entries())]
    except OSError:
        return []


def _state() -> Json:
    try:
        with Client(timeout_s=PATIENCE_S) as client:
            return status(client)
    except ClpError:
        return _from_file()


def _from_file() -> Json:
    import tomllib

    from clptools.config.history import text_in_force

    try:
        read = tomllib.loads(text_in_force()[0])
    except (OSError, ValueError, ClpError):
        return {}
    groups = [{**group, "resources": group.get("resource")} for group in objects(read, "group")]
    return {
        "groups": groups,
        "servers": read.get("server"),
        "monitors": read.get("monitor"),
    }


def _of(state: Json, kind: str) -> list[str]:
    if kind == "resource":
        found = [r for group in objects(state, "groups") for r in objects(group, "resources")]
    else:
        found = objects(state, f"{kind}s")
    return [str(item["name"]) for item in found if "name" in item]
