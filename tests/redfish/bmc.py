"""A BMC that speaks Redfish: sushy-tools' emulator, with an event service and a log beside it.

Run as a process, `bmc.py OPTIONS`, one a BMC, as the emulator keeps its state in module globals.
Lines of JSON on standard input act as a person or as hardware would; each is answered by one.
The emulator itself serves systems, chassis, resets and LEDs; `hostile` modes stand before it.
"""

from __future__ import annotations

import base64
import json
import queue
import ssl
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import flask
import msgspec
from sushy_tools.emulator import main as emulator
from sushy_tools.emulator.resources.systems import fakedriver
from werkzeug.test import EnvironBuilder, run_wsgi_app

from clptools.sim.demo_bmc import SimulatedBmc
from tests.conftest import LIMIT_S

EVENTS = "/redfish/v1/EventService"
ACCOUNTS = "/redfish/v1/AccountService"
LOG = "/redfish/v1/Managers/bmc/LogServices/Log"
Json = dict[str, Any]
REFUSALS = {
    "locked": (401, "The account is locked.", "Base.1.8.GeneralError"),
    "change": (403, "The password must be changed.", "Base.1.8.1.PasswordChangeRequired"),
    "sessions": (503, "The maximum number of user sessions is reached.", "IDRAC.2.4.RAC0218"),
    "403": (403, "Not so.", "Base.1.8.InsufficientPrivilege"),
}
"""Mode -> status, and the first message of the error."""


NAMES = (
    *("Systems", "Managers", "EventService", "Members", "LogServices", "Entries", "PowerState"),
    *("ServerSentEventUri", "Subscriptions", "Actions", "Links", "Chassis", "Vendor", "Oem"),
    *("Members@odata.count", "UUID", "error", "IndicatorLED", "@odata.etag", "Destination"),
)
"""What a service is asked for."""


def slowly(data: bytes) -> Iterator[bytes]:
    """A byte at a time."""
    for byte in data:
        yield bytes([byte])
        time.sleep(0.05)


class Options(msgspec.Struct, kw_only=True):
    """What the BMC is like."""

    folder: str
    address: str
    port: int
    user: str = "clp"
    password: str = "s3cret-Pass"
    uuid: str = "27946b59-9e44-4fa7-8e91-f3527a1ef094"
    features: str = "full"
    keeps: bool = True
    """Whether it keeps connections: HTTP/1.1."""
    sse: bool = True
    push: bool = True
    log: bool = True
    enabled: bool = True
    """Whether its event service is switched on."""
    test_keys: tuple[str, ...] = ()
    """The only parameters that a test event may have, all of them; none: any."""
    test_messages: str = ""
    """How the name of the message of a test event must begin."""
    test_action: str = "SubmitTestEvent"
    event_types_only: bool = False
    """It refuses subscriptions with anything newer than EventTypes."""
    machine: tuple[str, ...] = ()
    """The command that is the machine; none: power is a word."""
    role: str = ""
    """Of its account; empty: nobody may read accounts."""
    vendor: str = ""
    """As its root says it."""
    manufacturer: str = ""
    """As its system says it."""
    switch_s: float = 0.0
    """How long a reset takes until it shows."""


class Machine(SimulatedBmc):
    """The machine alone; its IPMI side is never started."""

    def prepare(self) -> None:
        self._write_files()


class RedfishBmc:
    """State and behaviour."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.mode = ""
        self.word = ""
        """PowerState instead of what is."""
        self.chassis = ""
        """The same of the chassis."""
        self.on = True
        self.counters: Counter[str] = Counter()
        self.entries: list[Json] = []
        self.streams: list[queue.Queue[bytes | None]] = []
        self.subscriptions: dict[str, Json] = {}
        self.pushed: list[int] = []
        self.number = 0
        self.machine: Machine | None = None
        if options.machine:
            self.machine = Machine(options.folder, options.address, machine=options.machine)
            self.machine.prepare()
            self.machine.switch(True)
        self.server: ThreadingHTTPServer | None = None

    # ------------------------------------------------------------------ power

    def power(self) -> str:
        if self.machine is not None:
            return "On" if self.machine.power() == "on" else "Off"
        return "On" if self.on else "Off"

    def switch(self, on: bool) -> None:
        if self.machine is not None:
            self.machine.switch(on)
        self.on = on

    def reset(self, kind: str) -> None:
        self.counters[f"reset {kind}"] += 1
        if self.mode == "deaf":
            return

        def later() -> None:
            time.sleep(self.options.switch_s)
            if kind in ("ForceOff", "GracefulShutdown"):
                self.switch(False)
            elif kind == "On":
                self.switch(True)
            else:
                self.switch(False)
                self.switch(True)

        threading.Thread(target=later, daemon=True).start()

    # ------------------------------------------------------------------ events

    def event(self, event: Json, *, sse: bool = True, push: bool = True, log: bool = True) -> None:
        """Hardware says something; told everywhere, or not."""
        self.number += 1
        full = {
            "EventType": "Alert",
            "EventId": str(self.number),
            "EventTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **event,
        }
        if log and self.options.log:
            entry = {k: v for k, v in full.items() if k not in ("EventId", "EventTimestamp")}
            entry |= {"Id": full["EventId"], "Created": full["EventTimestamp"]}
            entry |= {"EntryType": "Event", "@odata.id": f"{LOG}/Entries/{full['EventId']}"}
            self.entries.append(entry)
        body = json.dumps({"@odata.type": "#Event.v1_4_0.Event", "Id": "1", "Events": [full]})
        if sse:
            for stream in list(self.streams):
                stream.put(f"id: {full['EventId']}\r\ndata: {body}\r\n\r\n".encode())
        if push:
            for subscription in list(self.subscriptions.values()):
                self._push(subscription["Destination"], body)

    def _push(self, destination: str, body: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        asked = urllib.request.Request(
            destination, body.encode(), {"Content-Type": "application/json"}
        )

        def post() -> None:
            try:
                with urllib.request.urlopen(asked, timeout=LIMIT_S, context=context) as answer:
                    self.pushed.append(answer.status)
            except OSError as error:
                self.pushed.append(getattr(error, "code", 0))

        threading.Thread(target=post, daemon=True).start()

    # ------------------------------------------------------------------ HTTP

    def routes(self, app: flask.Flask) -> None:
        options = self.options

        @app.before_request
        def before() -> Any:
            self.counters["asked"] += 1
            given = flask.request.headers.get("Authorization", "")
            pair = f"{options.user}:{options.password}".encode()
            if given != f"Basic {base64.b64encode(pair).decode()}":
                self.counters["refused"] += 1
                return flask.jsonify({"error": {"message": "who are you?"}}), 401
            return self._hostile()

        views = app.view_functions
        root = views["root_resource"]
        chassis = views["chassis_resource"]

        def root_with_events() -> Any:
            found = flask.make_response(root()).get_json()
            if options.sse or options.push:
                found["EventService"] = {"@odata.id": EVENTS}
            if options.log:
                found["Managers"] = {"@odata.id": "/redfish/v1/Managers"}
            if options.vendor:
                found["Vendor"] = options.vendor
            if options.role:
                found["AccountService"] = {"@odata.id": ACCOUNTS}
            return flask.jsonify(found)

        @app.get(ACCOUNTS, defaults={"below": ""})
        @app.get(f"{ACCOUNTS}/<path:below>")
        def accounts(below: str) -> Any:
            kind, _, name = below.partition("/")
            if not kind:
                return flask.jsonify({"Accounts": {"@odata.id": f"{ACCOUNTS}/Accounts"}})
            if kind == "Roles":
                more = [] if options.role == "ReadOnly" else ["ConfigureComponents"]
                return flask.jsonify({"AssignedPrivileges": ["Login", *more]})
            if not name:
                rows = [{"@odata.id": f"{ACCOUNTS}/Accounts/{n}"} for n in (1, 2)]
                return flask.jsonify({"Members": rows})
            role = {"Role": {"@odata.id": f"{ACCOUNTS}/Roles/{options.role}"}}
            user = {"1": "root"}.get(name, options.user)
            return flask.jsonify({"UserName": user, "RoleId": options.role, "Links": role})

        system = views["system_resource"]

        def system_of_a_maker(identity: str) -> Any:
            found = flask.make_response(system(identity))
            if not options.manufacturer or found.status_code != HTTPStatus.OK:
                return found
            return flask.jsonify(found.get_json() | {"Manufacturer": options.manufacturer})

        def chassis_that_follows(identity: str) -> Any:
            found = flask.make_response(chassis(identity))
            if flask.request.method != "GET" or found.status_code != HTTPStatus.OK:
                return found
            return flask.jsonify(found.get_json() | {"PowerState": self.chassis or self.power()})

        views["root_resource"] = root_with_events
        views["system_resource"] = system_of_a_maker
        views["chassis_resource"] = chassis_that_follows
        views["manager_collection_resource"] = lambda: flask.jsonify(
            {"Members": [{"@odata.id": "/redfish/v1/Managers/bmc"}]}
        )
        views["manager_resource"] = lambda identity: flask.jsonify(
            {"LogServices": {"@odata.id": "/redfish/v1/Managers/bmc/LogServices"}}
        )

        @app.get("/redfish/v1/Managers/bmc/LogServices")
        def log_services() -> Any:
            return flask.jsonify({"Members": [{"@odata.id": LOG}] if options.log else []})

        @app.get(LOG)
        def log() -> Any:
            return flask.jsonify(
                {"LogEntryType": "Event", "Entries": {"@odata.id": f"{LOG}/Entries"}}
            )

        @app.get(f"{LOG}/Entries")
        def entries() -> Any:
            self.counters["log"] += 1
            newest = list(reversed(self.entries))
            skip = int(flask.request.args.get("$skip", "0"))
            found: Json = {"Members": newest[skip : skip + 50]}
            if len(newest) > skip + 50:
                found["Members@odata.nextLink"] = f"{LOG}/Entries?$skip={skip + 50}"
            return flask.jsonify(found)

        @app.get(EVENTS)
        def service() -> Any:
            found: Json = {
                "ServiceEnabled": options.enabled,
                "Subscriptions": {"@odata.id": f"{EVENTS}/Subscriptions"},
                "RegistryPrefixes": ["ResourceEvent", "Environmental"],
                "Actions": {
                    f"#EventService.{options.test_action}": {
                        "target": f"{EVENTS}/Actions/EventService.{options.test_action}"
                    }
                },
            }
            if options.sse:
                found["ServerSentEventUri"] = f"{EVENTS}/SSE"
            return flask.jsonify(found)

        @app.get(f"{EVENTS}/SSE")
        def sse() -> Any:
            self.counters["sse"] += 1
            stream: queue.Queue[bytes | None] = queue.Queue()
            self.streams.append(stream)

            def pieces() -> Iterator[bytes]:
                yield b": ready\n\n"
                while (piece := stream.get()) is not None:
                    yield piece

            return flask.Response(pieces(), mimetype="text/event-stream")

        @app.route(f"{EVENTS}/Subscriptions", methods=["GET", "POST"])
        def subscriptions() -> Any:
            if flask.request.method == "GET":
                rows = [{"@odata.id": f"{EVENTS}/Subscriptions/{n}"} for n in self.subscriptions]
                return flask.jsonify({"Members": rows})
            body = flask.request.get_json()
            newer = {"RegistryPrefixes", "VerifyCertificate", "EventFormatType"} & set(body)
            if not options.push or (options.event_types_only and newer):
                return flask.jsonify({"error": {"message": "PropertyUnknown"}}), 400
            self.number += 1
            name = str(self.number)
            self.subscriptions[name] = body
            return "", 201, {"Location": f"{EVENTS}/Subscriptions/{name}"}

        @app.route(f"{EVENTS}/Subscriptions/<name>", methods=["GET", "DELETE"])
        def subscription(name: str) -> Any:
            if name not in self.subscriptions:
                return flask.jsonify({"error": {"message": "none"}}), 404
            if flask.request.method == "DELETE":
                del self.subscriptions[name]
                return "", 204
            return flask.jsonify(self.subscriptions[name])

        @app.post(f"{EVENTS}/Actions/EventService.{options.test_action}")
        def test_event() -> Any:
            body = flask.request.get_json()
            message = str(body.get("MessageId", body.get("MessageID", "")))
            fits = not options.test_keys or set(body) == set(options.test_keys)
            if not fits or not message.startswith(options.test_messages):
                return flask.jsonify({"error": {"message": "PropertyUnknown"}}), 400
            self.counters["test event"] += 1
            self.event({"MessageId": message, "Message": "Test", **body})
            return "", 204

    def _hostile(self) -> Any:
        mode, _, path = self.mode.partition(" ")
        if path and not flask.request.path.endswith(path):
            return None
        if mode == "html":
            return flask.Response("<html><body>It works!</body></html>", mimetype="text/html")
        if mode == "redirect":
            return "", 302, {"Location": "https://192.0.2.1/elsewhere"}
        if mode == "401":
            return flask.jsonify({"error": {"message": "no"}}), 401
        if mode in REFUSALS:
            status, message, name = REFUSALS[mode]
            told = {"@Message.ExtendedInfo": [{"Message": message, "MessageId": name}]}
            return flask.jsonify({"error": told}), status
        if mode == "503":
            return "", 503
        if mode == "empty":
            return flask.Response(b"", mimetype="application/json")
        if mode == "list":
            return flask.jsonify([1, 2])
        if mode == "hang":
            time.sleep(3600)
        if mode == "slow":
            return flask.Response(slowly(b"{" + b" " * 9_999), mimetype="application/json")
        if mode == "deep":
            return flask.Response(b'{"a":' * 100_000, mimetype="application/json")
        if mode == "types":
            return flask.jsonify({n: [{"@odata.id": 7}, None, {}, 1e300, "x"] for n in NAMES})
        if mode == "huge":
            piece = bytes(65_536)
            return flask.Response((piece for _ in range(16_384)), mimetype="application/json")
        return None

    # ------------------------------------------------------------------ running

    def start(self) -> None:
        options = self.options
        bmc = self

        class Driver(fakedriver.FakeDriver):  # type: ignore[misc]  # untyped library
            def get_power_state(self, identity: str) -> str:
                self._get(identity)
                return bmc.word or bmc.power()

            def set_power_state(self, identity: str, state: str) -> None:
                bmc.reset(state)

        fakedriver.FakeDriver = Driver
        app = emulator.app
        system = {
            "uuid": options.uuid,
            "name": "fake",
            "power_state": "On",
            "nics": [],
        }
        state = Path(options.folder) / "emulator"
        state.mkdir(parents=True, exist_ok=True)
        app.configure(
            extra_config={
                "SUSHY_EMULATOR_FAKE_DRIVER": True,
                "SUSHY_EMULATOR_FAKE_SYSTEMS": [system],
                "SUSHY_EMULATOR_STATE_DIR": str(state),
                "SUSHY_EMULATOR_FEATURE_SET": options.features,
            }
        )
        self.routes(app)
        self.serve()

    def serve(self) -> None:
        options = self.options

        class Handler(BaseHTTPRequestHandler):
            """Werkzeug's own server closes each connection; this one may keep them."""

            protocol_version = "HTTP/1.1" if options.keeps else "HTTP/1.0"
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                path, _, query = self.path.partition("?")
                builder = EnvironBuilder(
                    path=path,
                    query_string=query,
                    method=self.command,
                    headers=dict(self.headers.items()),
                    data=body,
                )
                pieces, status, headers = run_wsgi_app(emulator.app, builder.get_environ())
                code, _, reason = status.partition(" ")
                self.send_response(int(code), reason)
                for name, value in headers.items():
                    self.send_header(name, value)
                whole = "Content-Length" in headers or int(code) == HTTPStatus.NO_CONTENT
                chunked = not whole and options.keeps
                if chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in pieces:
                    size = f"{len(piece):x}\r\n".encode()
                    self.wfile.write(size + piece + b"\r\n" if chunked and piece else piece)
                if chunked:
                    self.wfile.write(b"0\r\n\r\n")

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None:
                return

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = Path(options.folder)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.server = ThreadingHTTPServer((options.address, options.port), Handler)
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def main() -> None:
    """Runs until standard input ends."""
    bmc = RedfishBmc(msgspec.json.decode(sys.argv[1].encode(), type=Options))
    bmc.start()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        words = json.loads(line)
        answer: Json = {}
        match words.pop("do"):
            case "event":
                where = {k: words.pop(k) for k in ("sse", "push", "log") if k in words}
                bmc.event(words, **where)
            case "raw":
                for stream in list(bmc.streams):
                    stream.put(words["data"].encode())
            case "hang up":
                for stream in list(bmc.streams):
                    stream.put(None)
                bmc.streams.clear()
            case "forget":
                bmc.subscriptions.clear()
            case "switch":
                bmc.switch(words["on"])
            case "set":
                for name, value in words.items():
                    setattr(bmc, name, value)
            case "look":
                answer = {
                    "power": bmc.power(),
                    "counters": dict(bmc.counters),
                    "subscriptions": list(bmc.subscriptions.values()),
                    "streams": len(bmc.streams),
                    "pushed": bmc.pushed,
                }
        print(json.dumps(answer), flush=True)
    if bmc.machine is not None:
        bmc.machine.switch(False)


if __name__ == "__main__":
    main()
