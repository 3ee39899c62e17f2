"""Who may begin a voice session now: the cap, the cool-down of the upstream, the drain switch.

Rules: one object for the process, no awaiting in any decision. A place is taken before the upgrade and given back in
`finally`. Failures of the upstream are counted here for all sessions together, so that a thousand browsers do not
hammer a service that just fell over.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from relay.config import Config
from relay.errors import Overloaded, ShuttingDown, UpstreamCoolingDown, UpstreamError


class CoolDown:
    """Exponential back-off with full jitter, shared by all sessions.

    After the n-th failure in a row no session tries the upstream for a random time of up to `base_s * 2**(n - 1)`, at
    most `max_s` ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter spreads best). What each
    browser is told to wait has a jitter of its own on top, so that they do not all come back in the same moment.
    """

    def __init__(
        self, base_s: float, max_s: float, *, choose: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._choose = choose
        self._failures = 0
        self._until_s = float("-inf")

    def check(self, now_s: float) -> None:
        """Raise UpstreamCoolingDown, with the time to wait, unless the upstream may be tried now."""
        if now_s < self._until_s:
            raise UpstreamCoolingDown(retry_after_ms=self._retry_after_ms(now_s))

    def failed(self, error: UpstreamError, now_s: float) -> None:
        """Count a failure, and put the time to wait on `error`, so that the browser learns it."""
        if now_s >= self._until_s:
            self._failures += 1
        asked_s = min(self._max_s, (error.retry_after_ms or 0) / 1000)
        wait_s = max(asked_s, self._choose(0.0, self._ceiling_s()))
        self._until_s = max(self._until_s, now_s + wait_s)
        error.retry_after_ms = self._retry_after_ms(now_s)

    def succeeded(self) -> None:
        """A session became ready: the upstream is well."""
        self._failures = 0
        self._until_s = float("-inf")

    def _ceiling_s(self) -> float:
        return float(min(self._max_s, self._base_s * 2 ** min(max(self._failures - 1, 0), 16)))

    def _retry_after_ms(self, now_s: float) -> int:
        spread_s = self._choose(0.0, self._ceiling_s())
        return max(1, round((self._until_s - now_s + spread_s) * 1000))


class Admission:
    """The places for voice sessions in this process."""

    def __init__(self, config: Config) -> None:
        self._max_sessions = config.max_sessions
        self.cooldown = CoolDown(config.cooldown_base_s, config.cooldown_max_s)
        self.draining = trio.Event()
        self.sessions = 0

    def check(self) -> None:
        """Raise ShuttingDown or Overloaded unless there is room for one more session."""
        if self.draining.is_set():
            raise ShuttingDown()
        if self.sessions >= self._max_sessions:
            raise Overloaded()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a session. Raises as `check` does."""
        self.check()
        self.sessions += 1
        try:
            yield
        finally:
            self.sessions -= 1

    def drain(self) -> None:
        """Admit nobody any more, and tell the running sessions to end."""
        self.draining.set()
