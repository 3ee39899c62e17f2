"""The model's audio on its way to the browser: kept as it came, converted when it is due, sent at the pace of playback.

Theory of operation. The upstream generates faster than anybody can listen. What is sent at once cannot be taken back
when the person interrupts, so relay keeps the audio and lets it go at most `lead_ms` before it is due. The browser's
player is modelled by one number, the time until which it has something to play: it moves on by the length of each
frame that is sent, and never lies in the past. The browser's own reports can only move it further away: a player that
stands still gets no more.

Deltas wait in base64, as the upstream sent them, and are converted one at a time, when the first of their frames is
due: an answer that is interrupted costs nothing for what nobody will hear, and 60 s of waiting speech take 3.8 MB
instead of 11.5 MB of 48 kHz float.

Frames, `relay.audio.started` and `relay.audio.done` leave in one order. Nothing here knows the time: it comes in as
`now_s`, from any clock that does not go back.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from relay.core.events import encode

FRAME_MS = 100
"""Longest frame sent to a browser: short enough for a control event to slip between two on a slow link."""

PIECE_CHARS = 16_384
"""Base64 converted at a time: 256 ms at 24 kHz. The upstream's deltas are at most about twice as long."""

LEAST_DELTA_MS = 5
"""Shorter than any delta that an upstream sends in earnest."""

_HEADER = struct.Struct("<BBHIQ")
_KIND_AUDIO = 1


@dataclass(slots=True)
class AudioItem:
    """One spoken item. `received_samples` are at the upstream's rate, `sent_samples` at the browser's."""

    number: int
    item_id: str
    response_id: str
    content_index: int
    received_samples: int = 0
    sent_samples: int = 0
    flushed: bool = False
    truncated: bool = False


@dataclass(slots=True)
class _Delta:
    item: AudioItem
    delta: str
    samples: int


@dataclass(slots=True)
class _Done:
    item: AudioItem


@dataclass(slots=True)
class _Frame:
    item: AudioItem
    samples: memoryview


class Converter(Protocol):
    """What `Playout` needs of `relay.audio.Downlink`."""

    def push(self, delta: str) -> bytes:
        """Convert a delta. Raises AudioDataError."""

    def finish(self) -> bytes:
        """Return the end of the item, and be ready for the next."""

    def reset(self) -> None:
        """Forget the item."""


class Playout:
    """The downlink queue of one session."""

    def __init__(
        self, downlink: Converter, *, rate_hz: int, sample_bytes: int, upstream_rate_hz: int, lead_s: float
    ) -> None:
        self._downlink = downlink
        self._rate_hz = rate_hz
        self._sample_bytes = sample_bytes
        self._frame_bytes = rate_hz * FRAME_MS // 1000 * sample_bytes
        self._upstream_rate_hz = upstream_rate_hz
        self._lead_s = lead_s
        self._waiting: deque[_Delta | _Done] = deque()
        self._ready: list[_Frame | str] = []  # of one piece: a quarter second
        self._waiting_samples = 0
        self._busy_until_s = 0.0
        self._open_item: AudioItem | None = None

    @property
    def queued_ms(self) -> float:
        """How much audio waits unconverted. Each entry counts as LEAST_DELTA_MS at least, for the memory it takes."""
        return max(self._waiting_ms, LEAST_DELTA_MS * len(self._waiting))

    @property
    def _waiting_ms(self) -> float:
        return self._waiting_samples * 1000 / self._upstream_rate_hz

    def unheard_s(self, now_s: float) -> float:
        """Seconds until the player has played all that is here and all that it has got."""
        ready_bytes = sum(len(entry.samples) for entry in self._ready if isinstance(entry, _Frame))
        ready_s = ready_bytes / self._sample_bytes / self._rate_hz
        return max(0.0, self._busy_until_s - now_s) + ready_s + self._waiting_ms / 1000

    @property
    def spoken(self) -> AudioItem | None:
        """The item of which more may come, if all that came has been sent."""
        return None if self._waiting or self._ready else self._open_item

    def passed(self, sent_samples: int, unheard_s: float, now_s: float) -> None:
        """Audio of the spoken item went to the browser another way: so many samples in all, heard in so long."""
        if self._open_item is not None:
            self._open_item.sent_samples = sent_samples
        self._busy_until_s = now_s + unheard_s

    def busy_s(self, now_s: float) -> float:
        """Seconds until the player has played what it got; negative if it has waited so long for more."""
        return self._busy_until_s - now_s

    def put(self, item: AudioItem, delta: str) -> None:
        """Add a delta (base64 of PCM16). A new item ends the one before, whether the upstream said so or not."""
        if not delta:
            return
        if self._open_item is not item:
            self._end_open_item()
            self._open_item = item
        item.received_samples += pcm16_samples(delta)
        self._waiting_samples += pcm16_samples(delta)
        for piece in _pieces(delta):
            self._waiting.append(_Delta(item, piece, pcm16_samples(piece)))

    def end_item(self, item: AudioItem) -> None:
        """No more deltas of the item; nothing happens unless it is the one that comes now."""
        if self._open_item is item:
            self._end_open_item()

    def _end_open_item(self) -> None:
        if self._open_item is not None:
            self._waiting.append(_Done(self._open_item))
            self._open_item = None

    def drop(self) -> None:
        """Throw away everything that has not been sent; the player is about to be emptied as well."""
        self._waiting.clear()
        self._ready.clear()
        self._waiting_samples = 0
        self._busy_until_s = 0.0
        self._open_item = None
        self._downlink.reset()

    def delay_s(self, now_s: float) -> float | None:
        """Seconds until `take` has something, 0 if it has now, None if nothing waits."""
        if not self._ready and not self._waiting:
            return None
        if self._ready and isinstance(self._ready[0], str):
            return 0.0
        return max(0.0, self._busy_until_s - self._lead_s - now_s)

    def take(self, now_s: float) -> str | bytes | None:
        """Return the next message that is due. Raises AudioDataError if the upstream's audio is broken."""
        while True:
            if self.delay_s(now_s) != 0.0:
                return None
            if not self._ready:
                self._convert_next()
                continue
            entry = self._ready.pop(0)
            return entry if isinstance(entry, str) else self._send(entry, now_s)

    def played(self, unheard_samples: int, now_s: float) -> None:
        """Take the browser's word that `unheard_samples` of what was sent have not been played yet."""
        self._busy_until_s = max(self._busy_until_s, now_s + unheard_samples / self._rate_hz)

    def _convert_next(self) -> None:
        entry = self._waiting.popleft()
        if isinstance(entry, _Delta):
            self._waiting_samples -= entry.samples
            self._slice(entry.item, self._downlink.push(entry.delta))
        else:
            self._slice(entry.item, self._downlink.finish())
            self._ready.append(_done_event(entry.item, self._samples_queued(entry.item)))

    def _samples_queued(self, item: AudioItem) -> int:
        queued = sum(len(frame.samples) for frame in self._ready if isinstance(frame, _Frame) and frame.item is item)
        return item.sent_samples + queued // self._sample_bytes

    def _slice(self, item: AudioItem, samples: bytes) -> None:
        if samples and item.sent_samples == 0:
            self._ready.append(_started_event(item))
        view = memoryview(samples)
        for start in range(0, len(view), self._frame_bytes):
            self._ready.append(_Frame(item, view[start : start + self._frame_bytes]))

    def _send(self, frame: _Frame, now_s: float) -> bytes:
        header = _HEADER.pack(_KIND_AUDIO, 0, 0, frame.item.number, frame.item.sent_samples)
        samples = len(frame.samples) // self._sample_bytes
        frame.item.sent_samples += samples
        self._busy_until_s = max(self._busy_until_s, now_s) + samples / self._rate_hz
        return header + frame.samples


def _pieces(delta: str) -> list[str]:
    """Cut a long delta, so that one conversion never makes more than a quarter second of audio.

    Padding belongs at the very end; a delta that has it elsewhere is left whole, for the decoder to refuse.
    """
    if len(delta) <= PIECE_CHARS or delta.find("=", 0, -2) >= 0:
        return [delta]
    return [delta[start : start + PIECE_CHARS] for start in range(0, len(delta), PIECE_CHARS)]


def pcm16_samples(delta: str) -> int:
    """Samples in a base64 string of PCM16, by its length alone; whether it is valid is found when it is converted."""
    padding = 2 if delta.endswith("==") else 1 if delta.endswith("=") else 0
    return (len(delta) // 4 * 3 - padding) // 2


def _started_event(item: AudioItem) -> str:
    return encode(
        {
            "type": "relay.audio.started",
            "item": item.number,
            "item_id": item.item_id,
            "content_index": item.content_index,
            "response_id": item.response_id,
        }
    )


def _done_event(item: AudioItem, samples: int) -> str:
    return encode({"type": "relay.audio.done", "item": item.number, "item_id": item.item_id, "samples": samples})
