"""What relay presents to its upstream: a key that stays, or a token that a command prints and that expires.

    key = await credentials.current()      # None: nothing is presented
    credentials.refused(key)               # the upstream did not take it: do not offer it again

Theory of operation. A token is kept until shortly before it expires; the session that finds it due runs the command,
in its own task. The others go on with the token they have as long as it holds, and wait if it does not: one command
runs at a time, and its failure is the answer to all who waited for it. Who is cancelled while it runs ends it; the next
one runs it again. A failure while the old token still holds is a line in the log and nothing else.

Rules: the command is a program with arguments, never a shell. It has a deadline, after which it is killed. Its output
is a secret: neither it nor any error shows a word of it, and the log knows the command by the name of its program.
"""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol

import msgspec
import trio

from relay import log
from relay.config import Secret
from relay.errors import UpstreamNoToken

COMMAND_DEADLINE_S = 30.0
"""Azure's command line takes 1 to 3 s, and some more when it has to ask its own server first."""

REFRESH_AHEAD_S = 300.0
"""Entra's tokens hold for an hour or more; one that is presented with less than this left is replaced first."""

UNKNOWN_LIFE_S = REFRESH_AHEAD_S + 300.0
"""How long a token is taken to hold that does not say: it is asked for again after five minutes."""

RETRY_S = 10.0
"""After a failure while the old token holds: so long nobody tries again."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}")
"""RFC 6750's bearer token, and no longer than a header may be."""

_log = log.get_logger(__name__)


class Credentials(Protocol):
    """What sessions need of a key, wherever it comes from."""

    async def current(self) -> Secret | None:
        """Return what to present now. Always a checkpoint. Raises UpstreamNoToken."""

    def refused(self, key: Secret | None) -> None:
        """The upstream did not take `key`."""


class StaticKey:
    """A key from the environment, or none."""

    def __init__(self, key: Secret | None) -> None:
        self._key = key

    async def current(self) -> Secret | None:
        """Return the key."""
        await trio.lowlevel.checkpoint()
        return self._key

    def refused(self, key: Secret | None) -> None:
        """Nothing: there is no other."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token and the time until which it holds, in seconds since 1970."""

    secret: Secret
    expires_s: float


class TokenCommand:
    """A token from a command, for all sessions of the process."""

    def __init__(self, command: str, *, now_s: Callable[[], float] = time.time) -> None:
        self._argv = shlex.split(command)
        self._now_s = now_s
        self._token: Token | None = None
        self._running = trio.Lock()
        self._failure = ""
        self._runs = 0
        self._retry_at_s = 0.0
        self._hidden: deque[Secret] = deque()

    async def current(self) -> Secret | None:
        """Return a token that holds. Raises UpstreamNoToken."""
        await trio.lowlevel.checkpoint()
        if self._left_s() < REFRESH_AHEAD_S and not (self._left_s() > 0 and self._is_tried()):
            await self._refresh()
        if self._token is None or self._left_s() <= 0:
            raise UpstreamNoToken(detail=self._failure or f"{self._name} printed a token that has expired")
        return self._token.secret

    def refused(self, key: Secret | None) -> None:
        """Forget the token if it is this one: it was withdrawn before its time."""
        if self._token is not None and self._token.secret == key:
            self._token = None

    def _left_s(self) -> float:
        return self._token.expires_s - self._now_s() if self._token else 0.0

    def _is_tried(self) -> bool:
        return self._running.locked() or self._now_s() < self._retry_at_s

    async def _refresh(self) -> None:
        """Run the command, unless somebody else has meanwhile: then what came of it holds for us as well."""
        runs = self._runs
        async with self._running:
            if self._runs != runs:
                return
            try:
                token = _token_in(await self._output(), self._now_s())
            except UpstreamNoToken as failure:
                self._failure = failure.detail
                self._retry_at_s = self._now_s() + RETRY_S
                _log.warning("upstream.no_token", detail=failure.detail)
            else:
                self._keep(token)
            self._runs += 1

    def _keep(self, token: Token) -> None:
        self._token, self._failure = token, ""
        log.hide(token.secret)
        if token.secret not in self._hidden:
            self._hidden.append(token.secret)
        if len(self._hidden) > 2:  # sessions that began with the last one may still be there
            log.unhide(self._hidden.popleft())

    async def _output(self) -> bytes:
        try:
            with trio.fail_after(COMMAND_DEADLINE_S):
                done = await trio.run_process(
                    self._argv, capture_stdout=True, stderr=subprocess.DEVNULL, check=False, deliver_cancel=_kill
                )
        except trio.TooSlowError:
            raise UpstreamNoToken(detail=f"{self._name} did not end within {COMMAND_DEADLINE_S:g} s") from None
        except OSError as error:
            raise UpstreamNoToken(detail=f"{self._name} cannot be run: {error.strerror}") from None
        if done.returncode:
            detail = f"{self._name} ended with exit code {done.returncode}; run it by hand to see what it says"
            raise UpstreamNoToken(detail=detail)
        return done.stdout or b""

    @property
    def _name(self) -> str:
        return f"upstream_token_command ({PurePath(self._argv[0]).name})"


async def _kill(process: trio.Process) -> None:
    """End a command at once: a session that ends does not wait for it."""
    process.kill()


def _token_in(output: bytes, now_s: float) -> Token:
    """Read what a command printed: JSON of Azure's or of OAuth's making, or the token and nothing else."""
    text = output.decode("utf-8", errors="replace").strip()
    found: dict[str, Any] = {"accessToken": text}
    if text.startswith("{"):
        try:
            found = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            raise UpstreamNoToken(detail="upstream_token_command printed broken JSON") from None
    token = found.get("accessToken") or found.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise UpstreamNoToken(detail="upstream_token_command printed neither a token nor JSON with accessToken")
    return Token(Secret(token), _expiry_s(found, now_s))


def _expiry_s(found: dict[str, Any], now_s: float) -> float:
    """Return until when a token holds: `expires_on` is a time, `expires_in` a span, each a number or a text of one."""
    for name, since_s in (("expires_on", 0.0), ("expires_in", now_s)):
        with suppress(KeyError, TypeError, ValueError, OverflowError):
            expires_s = since_s + float(found[name])
            if math.isfinite(expires_s):
                return expires_s
    return now_s + UNKNOWN_LIFE_S
