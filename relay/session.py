"""One voice session: a browser, an upstream, and what goes between them. The heart of relay.

Theory of operation. A session is a nursery. Its tasks each do one thing in a loop and know nothing of each other; they
meet at two queues (`UplinkQueue`, the browser leg's outbox) and at the client's language, a state machine that decides
everything and awaits nothing.

    _listen      browser -> language -> uplink queue
    _converse    connects the upstream, then: upstream -> language -> outbox and playout
    _send_up     uplink queue -> upstream, once it is ready
    _speak       outbox, then audio that is due -> browser; at the end the goodbye
    keep_alive   liveness, one task for each leg
    _watch       all other deadlines: start, unanswered flush, limits, the day's money, drain

The first task that ends, ends the session: its RelayError is *the* reason, and all others are cancelled. Only `_speak`
goes on: it is the browser's one writer, so the goodbye is its job, and a frame that is half written is finished first
(a cancelled send would leave a torn frame, and no way to say why). It has `close_deadline_s` for the frame and the
words of the goodbye, and as much again for the Close frames; the upstream is closed meanwhile, within the same bound.

The upstream is read even while the browser is slow, so that an interruption is never stuck behind audio; only above
`downlink_queue_ms` of waiting audio, or half an outbox of events, reading stops and the upstream feels it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from relay import upstream as upstream_leg
from relay.admission import Admission
from relay.browser import BrowserLeg
from relay.config import Config
from relay.core.client import Client, Decision
from relay.core.passing import Passed, SpokenItem
from relay.core.uplink_queue import UplinkQueue
from relay.errors import (
    BadRequest,
    InternalError,
    RelayError,
    ShuttingDown,
    StartError,
    UpstreamCoolingDown,
    UpstreamError,
    UpstreamExpired,
    UpstreamTimeout,
    let_go,
)
from relay.limits import open_account
from relay.log import get_logger
from relay.operators_session import session_update
from relay.pump import Pump
from relay.short_way import ShortWay, open_short_way
from relay.target import Target
from relay.upstream import UpstreamLeg, open_upstream
from relay.wakeup import Wakeup

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What a session gets from the process."""

    config: Config
    admission: Admission
    target: Target
    dial: upstream_leg.Dial = upstream_leg.dial
    pump: Pump | None = None


class Session:
    """One voice session. `run` is called once."""

    def __init__(self, session_id: str, browser: BrowserLeg, client: Client, services: Services) -> None:
        self._id = session_id
        self._browser = browser
        self._client = client
        self._services = services
        self._config = services.config
        self._cooldown = services.admission.cooldown
        self._uplink = UplinkQueue(services.config.uplink_queue_ms)
        self._upstream: UpstreamLeg | None = None
        self._reason: RelayError | None = None
        self._work = trio.CancelScope()
        self._speaking = trio.CancelScope()
        self._started = trio.Event()
        self._connected = trio.Event()
        self._to_browser = Wakeup()
        self._to_upstream = Wakeup()
        self._taken = Wakeup()
        self._clock = Wakeup()
        self._start_due_s = trio.current_time() + services.config.start_deadline_s
        self._flushing = 0
        self._flush_due_s = float("inf")
        self._account = open_account(services.config, now_s=trio.current_time())
        self._limit_due_s = float("inf")
        self._short_way: ShortWay | None = None
        self._nothing_up = self._nothing_down = False
        self._is_stuck_up = self._is_stuck_down = False

    async def run(self) -> RelayError:
        """Run the session to its end, close both legs, and return the reason. Always a checkpoint."""
        began_s = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._speak)
                with self._work:
                    await self._run_tasks()
        finally:
            self._close_short_way()
            self._client.close()
            reason = self._reason or ShuttingDown(detail="cancelled")  # nobody but the end of the process cancels it
            self._account.close()
            self._services.admission.money.spend(self._account.take_usd())
            log.info(
                "session.ended",
                session=self._id,
                reason=reason.code,
                detail=reason.detail,
                seconds=round(trio.current_time() - began_s, 3),
                **self._account.totals(),
            )
            with trio.CancelScope(deadline=trio.current_time() + self._config.close_deadline_s, shield=True):
                await self._browser.abort()
            let_go(reason)
        return reason

    async def _run_tasks(self) -> None:
        tasks = (
            self._listen,
            self._converse,
            self._send_up,
            self._browser.keep_alive,
            self._keep_upstream_alive,
            self._watch,
        )
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(self._guard, task)

    async def _guard(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task; an exception in it is the reason of the end."""
        try:
            await task()
        except RelayError as error:
            self._end(error)
        except Exception as error:
            log.exception("session.bug", session=self._id)
            self._end(InternalError(detail=repr(error)))

    def _end(self, reason: RelayError) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        if isinstance(reason, UpstreamError) and not isinstance(reason, UpstreamExpired | UpstreamCoolingDown):
            if self._upstream is not None:  # it stood
                self._cooldown.lost(reason)
            else:
                self._cooldown.failed(reason, trio.current_time())
        self._work.cancel()
        self._speaking.deadline = trio.current_time() + self._config.close_deadline_s
        self._to_browser.ring()

    # Up

    async def _listen(self) -> None:
        while True:
            if self._client.started:
                self._started.set()
            message = await self._browser.receive()
            if self._services.admission.draining.is_set():
                self._client.begin_no_answers()
            try:
                self._apply(self._client.message(message, trio.current_time()))
            except BadRequest as problem:
                self._browser.tell_error(problem)
                self._to_browser.ring()

    async def _send_up(self) -> None:
        await self._connected.wait()
        while True:
            event = self._uplink.pop()
            if event is not None:
                await self._leg.send(event)
            elif self._is_stuck_up:
                self._is_stuck_up = False  # first: the way opens at the end of the flush, and may get stuck again
                await self._leg.flush()
            else:
                self._nothing_up = True
                self._rest()
                await self._to_upstream.wait()
                self._nothing_up = False

    # Down

    async def _converse(self) -> None:
        self._cooldown.check(trio.current_time())
        async with open_upstream(self._services.target, self._config, dial=self._services.dial) as leg:
            # Guarded here, so that the reason is known before the way out closes the socket.
            await self._guard(partial(self._converse_on, leg))

    async def _converse_on(self, leg: UpstreamLeg) -> None:
        await self._begin(leg)
        while True:
            self._hear(await leg.receive())
            await self._browser.wait_room()
            while self._client.queued_ms > self._config.downlink_queue_ms:
                await self._taken.wait()

    async def _begin(self, leg: UpstreamLeg) -> None:
        try:
            with trio.fail_after(self._config.ready_deadline_s):
                await leg.begin(session_update(self._config), self._hear)
        except trio.TooSlowError:
            raise UpstreamTimeout(detail="no session in time") from None
        self._cooldown.succeeded()
        self._upstream = leg
        await self._started.wait()
        self._clock.ring()
        self._apply(self._client.ready())
        path = self._client.audio_path
        if path is not None and leg.may_pass(path):
            self._short_way = open_short_way(self._services.pump, self, path, self._browser.socket, leg.socket)
        self._connected.set()

    def _hear(self, text: str) -> None:
        now_s = trio.current_time()
        self._apply(self._client.event(text, now_s))
        self._to_browser.ring()  # audio says nothing in a decision: it waits in the language until it is due
        usage = self._account.heard(text, now_s)
        self._services.admission.money.spend(self._account.take_usd())
        self._notice(usage if self._config.tell_usage else [])
        self._check_limits()
        if self._services.admission.draining.is_set():
            self._clock.ring()

    async def _speak(self) -> None:
        try:
            with self._speaking:
                while self._reason is None:
                    await self._speak_next()
        except RelayError as error:
            self._end(error)
        except Exception as error:
            log.exception("session.bug", session=self._id)
            self._end(InternalError(detail=repr(error)))
        await self._browser.goodbye(self._reason or InternalError(), deadline_at_s=self._speaking.deadline)

    async def _speak_next(self) -> None:
        """Write what is most urgent; if nothing is, wait for it."""
        if self._is_stuck_down:
            self._is_stuck_down = False
            await self._browser.flush()
            return
        if self._browser.has_text:
            await self._browser.send_text()
            return
        message = self._client.take(trio.current_time())
        if message is not None:
            self._taken.ring()
            await self._browser.send(message)
            return
        delay_s = self._client.delay_s(trio.current_time())
        self._nothing_down = delay_s is None
        self._rest()
        with trio.move_on_after(float("inf") if delay_s is None else delay_s):
            await self._to_browser.wait()
        self._nothing_down = False

    # Both

    def _apply(self, decision: Decision) -> None:
        for text in decision.browser:
            self._browser.tell(text)
        for event in decision.upstream:
            self._uplink.put_control(event)
        dropped_ms = sum(self._uplink.put_audio(event, audio_ms) for event, audio_ms in decision.audio)
        if dropped_ms:
            self._apply(self._client.dropped(dropped_ms, trio.current_time()))
        if decision.audio or decision.recorded_ms:
            spoken_ms = sum(audio_ms for _, audio_ms in decision.audio) - dropped_ms
            self._account.sent_audio((spoken_ms + decision.recorded_ms) / 1000)
            self._check_limits()
        if decision.browser:
            self._to_browser.ring()
        if decision.upstream or decision.audio:
            self._to_upstream.ring()
        if self._client.flushing != self._flushing:
            self._set_flush_due()
        self._taken.ring()  # an interruption throws away what waits

    def _check_limits(self) -> None:
        """Tell what nears its limit. Raises LimitReached, or UpstreamExpired."""
        self._notice(self._account.check(trio.current_time()))
        if self._account.next_s < self._limit_due_s:
            self._clock.ring()

    def _notice(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self._apply(self._client.notice(event))

    @property
    def _leg(self) -> UpstreamLeg:
        if self._upstream is None:
            raise RuntimeError("the upstream is not connected yet")
        return self._upstream

    # The short way: what its owner has to say

    def may_open_up(self) -> bool:
        """Whether nothing is under way from the browser to the upstream."""
        return self._nothing_up and self._uplink.is_empty and self._reason is None

    def spoken(self) -> SpokenItem | None:
        """The item whose audio may pass, if nothing else is under way from the upstream to the browser."""
        if not self._nothing_down or self._browser.has_text or self._reason is not None:
            return None
        return self._client.spoken(trio.current_time())

    def passed(self, passed: Passed) -> None:
        """Take note of audio that took the short way."""
        now_s = trio.current_time()
        try:
            if passed.down_s:
                self._account.generated_audio(passed.down_s, now_s)
            self._apply(self._client.passed(passed, now_s))
            self._check_limits()
        except RelayError as error:
            self._end(error)

    def broken(self, error: Exception) -> None:
        """End the session: there is a fault in the short way itself."""
        log.error("session.bug", session=self._id, exc_info=error)
        self._end(InternalError(detail=repr(error)))

    def stuck(self) -> None:
        """Have the writers of both legs write what is left of a frame."""
        self._is_stuck_up = self._is_stuck_down = True
        self._to_upstream.ring()
        self._to_browser.ring()

    def _rest(self) -> None:
        if self._short_way is not None:
            self._short_way.rest()

    def _shut(self) -> None:
        if self._short_way is not None:
            self._short_way.shut()

    def _close_short_way(self) -> None:
        if self._short_way is not None:
            self._short_way.close()
            self._short_way = None  # it knows this session: a circle

    # Deadlines

    async def _keep_upstream_alive(self) -> None:
        await self._connected.wait()
        await self._leg.keep_alive()

    async def _watch(self) -> None:
        """Do what is due, then sleep until more is, or until the bell says that a deadline may have moved."""
        bells = self._services.admission.bells
        bells.add(self._clock.ring)
        try:
            while True:
                with trio.move_on_at(self._do_what_is_due(trio.current_time())):
                    await self._clock.wait()
        finally:
            bells.discard(self._clock.ring)

    def _do_what_is_due(self, now_s: float) -> float:
        """Ask each deadline, which does what is due and returns when to ask it again; no audio passes meanwhile."""
        self._shut()
        next_s = min(
            self._watch_start(now_s),
            self._watch_flush(now_s),
            self._watch_limits(),
            self._watch_day(),
            self._watch_drain(now_s),
        )
        self._rest()
        return next_s

    def _watch_start(self, now_s: float) -> float:
        if self._started.is_set():
            return float("inf")
        if now_s >= self._start_due_s:
            raise StartError(detail="no relay.start in time")
        return self._start_due_s

    def _set_flush_due(self) -> None:
        self._flushing = self._client.flushing
        answer_s = self._config.flush_answer_ms / 1000 if self._flushing else float("inf")
        self._flush_due_s = trio.current_time() + answer_s
        self._clock.ring()

    def _watch_flush(self, now_s: float) -> float:
        """Give the browser its time to answer a flush, then settle without it."""
        if now_s >= self._flush_due_s:
            self._apply(self._client.end_flush())
        return self._flush_due_s

    def _watch_limits(self) -> float:
        self._check_limits()
        self._limit_due_s = self._account.next_s
        return self._limit_due_s

    def _watch_day(self) -> float:
        self._services.admission.money.check()
        return float("inf")

    def _watch_drain(self, now_s: float) -> float:
        """Let the answer that is being given, if any, come to its end and be heard, if there is time for it."""
        admission = self._services.admission
        if not admission.draining.is_set():
            return float("inf")
        self._close_short_way()
        unheard_s = float("inf") if self._account.answering else self._client.unheard_s(now_s)
        if not unheard_s or now_s >= admission.drain_until_s:
            raise ShuttingDown(retry_after_ms=admission.retry_after_ms())
        return min(now_s + unheard_s, admission.drain_until_s)
