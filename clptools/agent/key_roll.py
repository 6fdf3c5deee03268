"""The key roll (`clpcfctrl --keyroll`): a new authkey in the place of the old one, without a gap.

Three steps, each asked for by a person, and each done on every server before the next can begin
(`links/keyring.py`).  A step that was cut short left some servers a step ahead of the others, which
accept what they use: doing it again brings the others there.  The files are `authkey`,
`authkey.next` and `authkey.last`; each step writes them before it takes effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from clptools import paths
from clptools.agent import notices
from clptools.agent.staging import Disk
from clptools.api import messages as said
from clptools.config.files import AUTHKEY_BYTES, sync_folder, write_secret
from clptools.core.model.requests import Outcome
from clptools.core.model.settings import Settings
from clptools.core.notices.form import Notice
from clptools.core.phrases import listed
from clptools.faults import ClpError, ExitCode
from clptools.links.keyring import Keyring, fingerprint

_ANSWER_S = 10.0
_CONNECTIONS_END_S = 1.0
"""After the old key is gone, until connections that it opened end: answers leave before."""
_AGAIN = "Go on with it: clpcfctrl --keyroll"

R = TypeVar("R")


class Calls(Protocol):
    """`links.peer.PeerChannel`, as far as a key roll needs it."""

    async def call(self, to: str, request: msgspec.Struct, reply: type[R], timeout_s: float) -> R:
        """Asks a server.  Raises ClpError."""

    def open_anew(self) -> None:
        """Ends every connection, to be opened again."""


def signs_at_a_witness(settings: Settings) -> str:
    """The NP resolution or interconnect of a witness, which knows one authkey; empty: none."""
    names = [each.name for each in settings.arbiters if each.type == "witness"]
    names += [each.name for each in settings.interconnects if each.type == "witnesshb"]
    return listed(names)


def rolling(keys: Keyring) -> Notice | None:
    """What is told of a server between two steps; None: no roll has begun, or it is through."""
    if keys.next:
        return notices.KeyAccepted(fingerprint(keys.next), fingerprint(keys.own))
    if keys.last:
        return notices.KeyUsed(fingerprint(keys.own), fingerprint(keys.last))
    return None


class KeyRoll:
    """The keys of this server, and the roll that it leads."""

    def __init__(
        self,
        server: str,
        keys: Keyring,
        calls: Calls,
        *,
        take_effect: Callable[[Keyring], Awaitable[None]],
        settings: Callable[[], Settings | None],
        versions: Callable[[], Mapping[str, str]],
        tell: Callable[[Notice], None],
    ) -> None:
        """`take_effect` returns once these keys count for all that this server hears and sends.

        `versions`: of clptools on each server; empty: one that does not tell it.
        """
        self._server = server
        self.keys = keys
        self._calls = calls
        self._take_effect = take_effect
        self._settings = settings
        self._versions = versions
        self._tell = tell
        self._disk = Disk()
        self._changing = asyncio.Lock()
        """Held while the keys of this server change."""
        self._leading = asyncio.Lock()

    # ------------------------------------------------------------------ this server

    def held(self) -> said.KeysHeld:
        """By their fingerprints."""
        keys = self.keys
        return said.KeysHeld(
            own=fingerprint(keys.own), next=fingerprint(keys.next), last=fingerprint(keys.last)
        )

    def new(self) -> said.NewKey:
        """For a server that goes on with a roll and lacks the new key.  Raises ClpError."""
        if not self.keys.next:
            raise ClpError(ExitCode.REFUSED, f"{self._server} has no new authkey")
        return said.NewKey(key=self.keys.next)

    async def accept(self, key: bytes) -> Outcome:
        """The first step: beside the old one.  Raises ClpError."""
        async with self._changing:
            keys = self.keys
            if len(key) < AUTHKEY_BYTES:
                return Outcome(code=ExitCode.FAILED, text=f"that key has only {len(key)} bytes")
            if key == keys.own:
                return Outcome()
            if keys.next not in (b"", key) or keys.last:
                return Outcome(
                    code=ExitCode.REFUSED,
                    text="another key roll has begun there",
                    hint="Go on with that one, or give it up: clpcfctrl --keyroll --cancel",
                )
            await self._disk.run(lambda: write_secret(paths.next_authkey_file(), key))
            changed = msgspec.structs.replace(keys, next=key)
            await self._change(changed)
            return Outcome()

    async def use(self, new: str) -> Outcome:
        """The second step: the key of this fingerprint; the old one still counts."""
        async with self._changing:
            keys = self.keys
            if fingerprint(keys.own) == new:
                return Outcome()
            if fingerprint(keys.next) != new:
                return Outcome(code=ExitCode.REFUSED, text=f"it does not have authkey {new}")

            def files() -> None:
                # An agent that starts in between finds one of the two keys twice.
                write_secret(paths.last_authkey_file(), keys.own)
                write_secret(paths.authkey_file(), keys.next)
                _remove(paths.next_authkey_file())

            await self._run(files)
            await self._change(Keyring(own=keys.next, last=keys.own))
            return Outcome()

    async def drop(self, new: str) -> Outcome:
        """The third step: nothing but the key of this fingerprint counts."""
        async with self._changing:
            keys = self.keys
            if fingerprint(keys.own) != new or keys.next:
                return Outcome(code=ExitCode.REFUSED, text=f"it does not use authkey {new}")
            if keys.last:
                await self._run(_remove_others)
                await self._change(Keyring(own=keys.own))
                self._tell(notices.KeyDropped(new))
                asyncio.get_running_loop().call_later(_CONNECTIONS_END_S, self._calls.open_anew)
            return Outcome()

    async def forget(self) -> Outcome:
        """Gives the first step up: the new key does not count."""
        async with self._changing:
            keys = self.keys
            if keys.last:
                return Outcome(code=ExitCode.REFUSED, text="it uses the new authkey already")
            if keys.next:
                await self._run(_remove_others)
                await self._change(Keyring(own=keys.own))
                self._tell(notices.KeyForgotten(fingerprint(keys.next)))
            return Outcome()

    async def _run(self, work: Callable[[], None]) -> None:
        try:
            await self._disk.run(work)
        except OSError as fault:
            text = f"{fault.filename or paths.config_dir()}: {fault.strerror}"
            raise ClpError(ExitCode.FAILED, text) from None

    async def _change(self, keys: Keyring) -> None:
        await self._take_effect(keys)
        self.keys = keys
        notice = rolling(keys)
        if notice is not None:
            self._tell(notice)

    # ------------------------------------------------------------------ all servers

    async def go_on(self, cancel: bool, user: str) -> Outcome:
        """The next step on every server, or with `cancel` the first one undone.

        `user`: whose wish it is.
        """
        settings = self._settings()
        if settings is None:
            return _refused(f"{self._server} has no configuration yet", "clpcfctrl --push")
        if self._leading.locked():
            return _refused("this server is at it already", "Try again in a moment.")
        async with self._leading:
            held: dict[str, said.KeysHeld] = {}
            for server, there in await self._ask(settings.names, said.AskKeys(), said.KeysHeld):
                if isinstance(there, ClpError):
                    if there.code == ExitCode.FAILED and self._versions().get(server) == "":
                        return _refused(
                            f"{server} runs an older version, which knows no key roll",
                            "Upgrade it first; versions: clpstat -s",
                        )
                    return _refused(
                        f"{server}: {there.message.removeprefix(f'{server} ')}",
                        "Each step needs every server: one that missed the new authkey would be "
                        "locked out.  Start it and try again, or take it out of the configuration "
                        f"first.  See: clpstat --explain {server}",
                    )
                held[server] = there
            if cancel:
                self._tell(notices.KeyRollGivenUp(user))
                return await self._give_up(settings, held)
            self._tell(notices.KeyRollAsked(user))
            return await self._step(settings, held)

    async def _step(self, settings: Settings, held: Mapping[str, said.KeysHeld]) -> Outcome:
        used = {there.own for there in held.values()}
        offered = {there.next for there in held.values() if there.next}
        if len(offered) > 1 or len(used) > 2 or (len(used) == 2 and not offered):
            return _refused(
                f"the servers have different keys: {_listing(held)}",
                "Give up what was begun twice: clpcfctrl --keyroll --cancel",
            )
        if not offered:
            (own,) = used
            if any(there.last for there in held.values()):
                return await self._drop(held, own)
            return await self._begin(settings, os.urandom(AUTHKEY_BYTES))
        (new,) = offered
        # Whoever uses it took part in the second step, which began when all had accepted it.
        if all(new in (there.own, there.next) for there in held.values()):
            return await self._use(held, new)
        return await self._begin(settings, await self._offered(held, new))

    async def _offered(self, held: Mapping[str, said.KeysHeld], new: str) -> bytes:
        """The new key, from whoever has it.  Raises ClpError."""
        if fingerprint(self.keys.next) == new:
            return self.keys.next
        who = next(server for server, there in held.items() if there.next == new)
        return (await self._calls.call(who, said.AskNewKey(), said.NewKey, _ANSWER_S)).key

    async def _begin(self, settings: Settings, key: bytes) -> Outcome:
        witness = signs_at_a_witness(settings)
        if witness:
            return _refused(
                f"{witness}: a witness knows one authkey, and would refuse the other servers",
                f"Take {witness} out of the configuration (clpcfctrl --push), roll the key, give "
                "the witness the new secret, and put it back.",
            )
        servers = list(settings.names)
        # The first one is asked alone: of two rolls that begin at once, one ends there.
        for names in (servers[:1], servers[1:]):
            failed = await self._everywhere(names, said.AcceptKey(key=key))
            if failed:
                return self._incomplete("Step 1 of 3", failed)
        return Outcome(
            text=f"Step 1 of 3: every server accepts authkey {fingerprint(key)} beside the old one."
            "\nNext, every server uses it: clpcfctrl --keyroll"
        )

    async def _use(self, held: Mapping[str, said.KeysHeld], new: str) -> Outcome:
        failed = await self._everywhere(held, said.UseKey(new=new))
        if failed:
            return self._incomplete("Step 2 of 3", failed)
        return Outcome(
            text=f"Step 2 of 3: every server uses authkey {new}, and still accepts the old one.\n"
            "Machines outside with a secret of the old one need a new one now: clpcfctrl --keygen "
            "--for clprexec\n"
            "Last, no server accepts the old one any more: clpcfctrl --keyroll"
        )

    async def _drop(self, held: Mapping[str, said.KeysHeld], new: str) -> Outcome:
        failed = await self._everywhere(held, said.DropKey(new=new))
        if failed:
            return self._incomplete("Step 3 of 3", failed)
        return Outcome(text=f"Step 3 of 3: authkey {new} alone counts.  The key roll is through.")

    async def _give_up(self, settings: Settings, held: Mapping[str, said.KeysHeld]) -> Outcome:
        ahead = [server for server, there in held.items() if there.last]
        if ahead:
            return _refused(
                f"{listed(ahead)} {'uses' if len(ahead) == 1 else 'use'} the new authkey already",
                f"{_AGAIN}  Roll once more to be rid of it.",
            )
        if not any(there.next for there in held.values()):
            return _refused("no key roll has begun", "Begin one: clpcfctrl --keyroll")
        failed = await self._everywhere(settings.names, said.ForgetKey())
        if failed:
            return self._incomplete("Giving it up", failed)
        return Outcome(text="Every server has forgotten the new authkey; the old one is in use.")

    def _incomplete(self, step: str, failed: Sequence[tuple[str, Outcome]]) -> Outcome:
        where = ", ".join(f"{server} ({outcome.text})" for server, outcome in failed)
        hints = [outcome.hint for _, outcome in failed if outcome.hint]
        return Outcome(
            code=failed[0][1].code,
            text=f"{step} is not done on {where}",
            hint=f"Nothing is cut off: what one server uses, all accept.  "
            f"{hints[0] if hints else _AGAIN}",
        )

    async def _everywhere(
        self, servers: Iterable[str], order: said.KeyOrder
    ) -> list[tuple[str, Outcome]]:
        """The servers on which it failed, and how."""
        told: list[tuple[str, Outcome]] = []
        for server, there in await self._ask(servers, order, Outcome):
            if isinstance(there, ClpError):
                told.append((server, Outcome(code=there.code, text=there.message)))
            elif there.code:
                told.append((server, there))
        return told

    async def _ask(
        self, servers: Iterable[str], asked: said.KeyMessage, reply: type[R]
    ) -> list[tuple[str, R | ClpError]]:
        async def one(server: str) -> tuple[str, R | ClpError]:
            try:
                if server == self._server:
                    return server, msgspec.convert(await self.answer(asked), reply)
                return server, await self._calls.call(server, asked, reply, _ANSWER_S)
            except ClpError as error:
                return server, error

        return list(await asyncio.gather(*(one(server) for server in servers)))

    async def answer(self, asked: said.KeyMessage) -> msgspec.Struct:
        """What a server of the cluster asked, this one too.  Raises ClpError."""
        match asked:
            case said.AskKeys():
                return self.held()
            case said.AskNewKey():
                return self.new()
            case said.AcceptKey():
                return await self.accept(asked.key)
            case said.UseKey():
                return await self.use(asked.new)
            case said.DropKey():
                return await self.drop(asked.new)
            case said.ForgetKey():
                return await self.forget()


def _remove_others() -> None:
    """A step that was cut short may have left the key in use under one more name."""
    _remove(paths.next_authkey_file())
    _remove(paths.last_authkey_file())


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sync_folder(paths.config_dir())


def _refused(text: str, hint: str) -> Outcome:
    return Outcome(code=ExitCode.REFUSED, text=f"nothing was changed: {text}", hint=hint)


def _listing(held: Mapping[str, said.KeysHeld]) -> str:
    return ", ".join(
        f"{server} uses {there.own}" + (f" and was given {there.next}" if there.next else "")
        for server, there in held.items()
    )
