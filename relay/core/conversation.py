"""What was said, what was sent, what was really heard: the accounts of one relay.v1 session, and barge-in.

Theory of operation. The upstream believes that the person heard all it generated, unless it is told otherwise by
`conversation.item.truncate`. Only the browser knows what was played. So relay numbers the audio items, counts what it
sent of each, and keeps a cursor: the item that is playing and how many of its samples have been played, by the
browser's reports. Items before the cursor have been heard, items behind it have not.

An interruption is a *flush*: everything unheard is cut. The queue is emptied, the browser is told to stop and answers
with the final position of the cursor, and for each item that was cut short exactly one truncate goes upstream, with
what was heard and never more than what came. Without an answer in time the last report counts.

Deltas of a response that was interrupted may still be under way. They are counted and thrown away.

The browser may say anything: a position never moves back, never beyond what was sent, never to an item that has not
begun. Nothing here waits or knows the time; the session brings `now_s` and keeps the deadline of a flush.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relay.core import events
from relay.core.client import Decision
from relay.core.events import AudioDelta, AudioDone, Delta, encode
from relay.core.memory import remember
from relay.core.passing import Passed, SpokenItem
from relay.core.playout import AudioItem, Playout, pcm16_samples
from relay.core.supports import CANCEL, TRUNCATE
from relay.core.turns import Turns

FlushReason = Literal["speech", "cancelled", "client"]

MAX_ITEMS = 256
"""Items that are remembered; late deltas of older ones would count as new. A session has a few items at a time."""

MAX_INTERRUPTED = 64
"""Interrupted responses that are remembered, for the same reason."""


@dataclass(slots=True)
class _Flush:
    number: int
    last_item: int
    items: list[AudioItem]


class Conversation:
    """The accounts of one session. `interrupts`: whether speech of the person ends the answer; it may change.

    `lacks`: an upstream that can neither cancel nor truncate is not asked to, and the person has silence all the same.
    """

    def __init__(
        self,
        playout: Playout,
        turns: Turns,
        *,
        rate_hz: int,
        upstream_rate_hz: int,
        interrupts: bool,
        lacks: frozenset[str] = frozenset(),
    ) -> None:
        self._playout = playout
        self._turns = turns
        self._rate_hz = rate_hz
        self._upstream_rate_hz = upstream_rate_hz
        self.interrupts = interrupts
        self._lacks = lacks
        self._items: dict[tuple[str, int], AudioItem] = {}
        self._item_count = 0
        self._cursor_item = 0
        self._cursor_samples = 0
        self._interrupted: list[str] = []
        self._flushes: list[_Flush] = []
        self._flush_count = 0

    @property
    def flushing(self) -> int:
        """Number of the oldest flush whose answer is awaited, or 0."""
        return self._flushes[0].number if self._flushes else 0

    def audio(self, delta: AudioDelta | Delta) -> Decision:
        """Audio came from the upstream: keep it, or throw it away if its response was interrupted."""
        item = self._item(delta)
        self._turns.audio(delta.item_id, delta.delta)
        if delta.response_id in self._interrupted or item.flushed:
            return self._discard(item, delta.delta)
        self._playout.put(item, delta.delta)
        return Decision()

    def audio_done(self, done: AudioDone) -> None:
        """The upstream has sent all audio of an item; one that was flushed, or never had any, has ended already."""
        item = self._items.get((done.item_id, done.content_index))
        if item is not None:
            self._playout.end_item(item)

    def response_done(self, response_id: str | None, status: str | None) -> Decision:
        """A response ended. What of a cancelled one is unheard shall stay so."""
        if status != "cancelled" or response_id is None or response_id in self._interrupted:
            return Decision()
        remember(self._interrupted, response_id, MAX_INTERRUPTED)
        return self._cut("cancelled")

    def speech_started(self) -> Decision:
        """The person began to speak."""
        if not self.interrupts:
            return Decision()
        self._interrupt_response()
        return self._cut("speech")

    def interrupt(self, now_s: float) -> Decision:
        """The client asks for silence: cancel the running response, cut what is unheard."""
        decision = Decision()
        is_interrupted = self._turns.active in self._interrupted
        if not is_interrupted and CANCEL not in self._lacks and self._turns.may_cancel(now_s):
            decision.upstream.append(encode({"type": "response.cancel"}))
        self._interrupt_response()
        return decision.then(self._cut("client"))

    def played(self, item: int, samples: int, now_s: float) -> Decision:
        """The browser reports how far it is. If it plays what came after a flush, it has obeyed, and will not answer.

        The flush is settled before the cursor moves on: what lies behind the cursor counts as heard, and this was cut.
        """
        decision = Decision()
        while self._flushes and self._flushes[0].last_item < item <= self._item_count:
            decision.then(self.end_flush())
        self._move_cursor(item, samples)
        self._playout.played(self._unheard_sent_samples(), now_s)
        return decision

    def spoken(self, now_s: float) -> SpokenItem | None:
        """The item whose audio may go straight to the browser: announced, not cut, and nothing waits before it.

        While the answer to a flush is awaited, a report that the browser plays what came after it settles the flush.
        """
        item = None if self._flushes else self._playout.spoken
        if item is None or item.sent_samples == 0 or item.flushed or item.response_id in self._interrupted:
            return None
        return SpokenItem(
            item.number,
            item.item_id,
            item.response_id,
            item.content_index,
            item.sent_samples,
            played_samples=self._heard_samples(item),
            unheard_s=self._playout.busy_s(now_s),
        )

    def passed(self, passed: Passed, now_s: float) -> str | None:
        """Audio of the spoken item went straight to the browser; return the item's id."""
        item = self._playout.spoken
        if item is None:
            return None
        item.received_samples += passed.down_samples
        self._playout.passed(passed.sent_samples, passed.unheard_s, now_s)
        if passed.played_samples:  # without a report the cursor stays: what lies before it counts as heard
            self._move_cursor(item.number, passed.played_samples)
        return item.item_id

    def flushed(self, flush: int, item: int, samples: int) -> Decision:
        """The browser answers a flush with its final position."""
        self._move_cursor(item, samples)
        decision = Decision()
        while self.flushing and self.flushing <= flush:
            decision.then(self.end_flush())
        return decision

    def end_flush(self) -> Decision:
        """Settle the oldest flush with the position known by now: one truncate for each item cut short."""
        if not self._flushes:
            return Decision()
        return Decision(upstream=[event for item in self._flushes.pop(0).items for event in self._truncate(item)])

    def _item(self, delta: AudioDelta | Delta) -> AudioItem:
        key = (delta.item_id, delta.content_index)
        item = self._items.get(key)
        if item is None:
            self._item_count += 1
            item = AudioItem(self._item_count, delta.item_id, delta.response_id, delta.content_index)
            self._items[key] = item
            if len(self._items) > MAX_ITEMS:
                del self._items[next(iter(self._items))]
        return item

    def _discard(self, item: AudioItem, delta: str) -> Decision:
        item.received_samples += pcm16_samples(delta)
        item.flushed = True
        if not self._flushes:
            return Decision(upstream=self._truncate(item))
        if not any(item in flush.items for flush in self._flushes):
            self._flushes[-1].items.append(item)
        return Decision()

    def _interrupt_response(self) -> None:
        active = self._turns.active
        if active and active not in self._interrupted:  # of one without a name, the items alone are known
            remember(self._interrupted, active, MAX_INTERRUPTED)

    def _cut(self, reason: FlushReason) -> Decision:
        cut = [item for item in self._items.values() if not item.flushed and self._is_unheard(item)]
        if not cut:
            return Decision()
        self._playout.drop()
        for item in cut:
            item.flushed = True
            if item.response_id and item.response_id not in self._interrupted:
                remember(self._interrupted, item.response_id, MAX_INTERRUPTED)
        self._flush_count += 1
        self._flushes.append(_Flush(self._flush_count, self._item_count, cut))
        return Decision(browser=[self._flush_event(reason)])

    def _flush_event(self, reason: FlushReason) -> str:
        return encode(
            {"type": "relay.flush", "flush": self._flush_count, "item": self._item_count, "reason": reason},
        )

    def _move_cursor(self, item: int, samples: int) -> None:
        if item > self._item_count or (item, samples) <= (self._cursor_item, self._cursor_samples):
            return
        self._cursor_item, self._cursor_samples = item, samples

    def _heard_samples(self, item: AudioItem) -> int:
        """Samples of the item that were played, at the browser's rate; never more than were sent."""
        if item.number < self._cursor_item:
            return item.sent_samples
        return min(self._cursor_samples, item.sent_samples) if item.number == self._cursor_item else 0

    def _heard_ms(self, item: AudioItem) -> int:
        return min(self._heard_samples(item) * 1000 // self._rate_hz, self._received_ms(item))

    def _received_ms(self, item: AudioItem) -> int:
        return item.received_samples * 1000 // self._upstream_rate_hz

    def _is_unheard(self, item: AudioItem) -> bool:
        return self._heard_ms(item) < self._received_ms(item)

    def _unheard_sent_samples(self) -> int:
        return sum(
            item.sent_samples - self._heard_samples(item)
            for item in self._items.values()
            if item.number >= self._cursor_item and not item.flushed
        )

    def _truncate(self, item: AudioItem) -> list[str]:
        if item.truncated or not self._is_unheard(item):
            return []
        item.truncated = True
        if TRUNCATE in self._lacks or not self._turns.may_truncate(item.item_id, self._heard_ms(item)):
            return []
        return [events.truncate(item.item_id, item.content_index, self._heard_ms(item))]
