"""Who may begin a voice session now: the caps, the day's money, the cool-down of the upstream, the drain switch.

Rules: one object for the process, no awaiting in any decision. A place is taken before the upgrade and given back in
`finally`. Draining, nobody gets a place any more, so the number of sessions only falls; `gone` is set when it is 0.
Failures of the upstream are counted here for all sessions together, so that a thousand browsers do not
hammer a service that just fell over. What concerns all sessions at once (a drain, the end of the day's money) rings the
bells of those that run; each then looks for itself.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta

import trio

from relay.addresses import network_of
from relay.config import Config
from relay.errors import AddressLimit, DayLimit, Overloaded, ShuttingDown, UpstreamCoolingDown, UpstreamError

RECONNECTS_PER_S = 25
"""At which pace the clients of a process that ends are told to come back: a session's start costs relay a few ms of its
core, and its upstream a TLS handshake."""

RETRY_S = (1.0, 4.0)
"""When whoever found no place may ask again: soon, but not all in the same moment."""

Choose = Callable[[float, float], float]


class CoolDown:
    """Exponential back-off with full jitter, shared by all sessions.

    After the n-th failure in a row no session tries the upstream for a random time of up to `base_s * 2**(n - 1)`, at
    most `max_s` ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter spreads best). What each
    browser is told to wait has a jitter of its own on top, so that they do not all come back in the same moment.
    """

    def __init__(self, base_s: float, max_s: float, *, choose: Choose = random.uniform) -> None:
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

    def lost(self, error: UpstreamError) -> None:
        """A session that stood was lost: put the time to wait on `error`, and let others try.

        One client can bring that about, by what it asks for. An upstream that is down shows it at the next attempt.
        """
        error.retry_after_ms = max(error.retry_after_ms or 1, round(self._choose(0.0, self._base_s) * 1000))

    def succeeded(self) -> None:
        """A session became ready: the upstream is well."""
        self._failures = 0
        self._until_s = float("-inf")

    def _ceiling_s(self) -> float:
        return float(min(self._max_s, self._base_s * 2 ** min(max(self._failures - 1, 0), 16)))

    def _retry_after_ms(self, now_s: float) -> int:
        spread_s = self._choose(0.0, self._ceiling_s())
        return max(1, round((self._until_s - now_s + spread_s) * 1000))


DAY_SPREAD_S = 60.0
"""Browsers that wait for midnight come back over so long a time."""

MIN_RETRY_S = 1.0
"""Nobody is told to come back at once, also a moment before midnight."""


class DayMoney:
    """What all sessions together may cost in one UTC day; 0 means no limit. A restart begins anew.

    `tell` is called when the day's money is gone. Whoever hears of it asks `check`.
    """

    def __init__(
        self,
        limit_usd: float,
        *,
        tell: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        choose: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._limit_usd = limit_usd
        self._tell = tell
        self._choose = choose
        self._now = now
        self._day = now().date()
        self._spent_usd = 0.0
        self._is_spent = False

    def spend(self, usd: float) -> None:
        """Count money."""
        self._begin_day()
        self._spent_usd += usd
        if self._limit_usd and self._spent_usd >= self._limit_usd and not self._is_spent:
            self._is_spent = True
            self._tell()

    def check(self) -> None:
        """Raise DayLimit, with the time until midnight UTC and a little jitter, if the day's money is gone."""
        self._begin_day()
        if self._is_spent:
            raise DayLimit(retry_after_ms=self._retry_after_ms())

    def _retry_after_ms(self) -> int:
        tomorrow = datetime.combine(self._day + timedelta(days=1), time(), UTC)
        wait_s = (tomorrow - self._now()).total_seconds() + self._choose(0.0, DAY_SPREAD_S)
        return round(max(MIN_RETRY_S, wait_s) * 1000)

    def _begin_day(self) -> None:
        today = self._now().date()
        if today == self._day:
            return
        self._day, self._spent_usd, self._is_spent = today, 0.0, False


class Admission:
    """The places for voice sessions in this process."""

    def __init__(self, config: Config, *, choose: Choose = random.uniform) -> None:
        self._choose = choose
        self._max_sessions = config.max_sessions
        self._max_sessions_per_address = config.max_sessions_per_address
        self._by_address: Counter[str] = Counter()
        self.cooldown = CoolDown(config.cooldown_base_s, config.cooldown_max_s)
        self.bells: set[Callable[[], None]] = set()
        self.money = DayMoney(config.max_usd_per_day, tell=self._ring)
        self.draining = trio.Event()
        self.drain_until_s = float("inf")
        self.gone = trio.Event()
        self.sessions = 0
        self._retry_s = RETRY_S

    def check(self) -> None:
        """Raise ShuttingDown, DayLimit or Overloaded unless there is room for one more session."""
        if self.draining.is_set():
            raise ShuttingDown(retry_after_ms=self.retry_after_ms())
        self.money.check()
        if self.sessions >= self._max_sessions:
            raise Overloaded(retry_after_ms=self.retry_after_ms())

    def check_address(self, peer: str) -> None:
        """Raise AddressLimit if `peer`, an IP address, has all the sessions that one address may have."""
        limit = self._max_sessions_per_address
        if limit and self._by_address[network_of(peer)] >= limit:
            raise AddressLimit(retry_after_ms=self.retry_after_ms())

    @contextmanager
    def place(self, peer: str) -> Iterator[None]:
        """Hold a place for a session from `peer`. Raises as `check` and `check_address` do."""
        self.check()
        self.check_address(peer)
        network = network_of(peer)
        self.sessions += 1
        self._by_address[network] += 1
        try:
            yield
        finally:
            self.sessions -= 1
            self._by_address[network] -= 1
            self._by_address += Counter()  # forgets addresses that have none left
            self._note_gone()

    def drain(self, until_s: float) -> None:
        """Admit nobody any more. Sessions end with the answer they are giving, at `until_s` (Trio's clock) at last."""
        low_s, high_s = self._retry_s
        self._retry_s = low_s, max(high_s, low_s + self.sessions / RECONNECTS_PER_S)
        self.drain_until_s = until_s
        self.draining.set()
        self._ring()
        self._note_gone()

    def retry_after_ms(self) -> int:
        """Return when to ask again, another time for each who asks."""
        return round(self._choose(*self._retry_s) * 1000)

    def _ring(self) -> None:
        for ring in self.bells:
            ring()

    def _note_gone(self) -> None:
        if self.draining.is_set() and not self.sessions:
            self.gone.set()
