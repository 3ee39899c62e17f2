"""What an answer uses whose bill never comes: the session ended first, or the upstream does not say.

Rules: the estimate is made of what the upstream's events tell anyway, and is never zero for a response that began. It
reads dearly, because limits are kept by it: what went into the answer is what went into the one before and came out of
it, with no more from the cache than then, and what was said since; what came out is counted by its size.

A response is open from `response.created` to its bill. What was generated is counted for all of them together, and
forgotten when none is open any more.
"""

from __future__ import annotations

import msgspec

from relay.core import prices
from relay.core.prices import TokenUsage

BYTES_PER_TOKEN = 3
"""English has about four letters to a token, other scripts fewer."""

PADDING_S = 1.0
"""The upstream says that somebody speaks a moment after it began, and takes in what was just before."""

MAX_OPEN = 64
"""Responses that are open at a time; the API allows a few. Of more, the oldest counts as billed."""


class Unbilled:
    """The responses of one session that are not paid. Seconds of audio are totals since the session began."""

    def __init__(self) -> None:
        self._open: dict[str, None] = {}
        self._setup_bytes = 0
        self._before = TokenUsage()
        self._said_bytes = 0
        self._said_s = 0.0
        self._turn_from_s = 0.0
        self._wrote_bytes = 0
        self._generated_from_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether a response has begun and not been charged."""
        return bool(self._open)

    def session(self, session: msgspec.Raw) -> None:
        """The upstream describes the session: instructions and tools go into every answer."""
        self._setup_bytes = len(session)

    def item(self, item: msgspec.Raw) -> None:
        """An item was added to the conversation."""
        self._said_bytes += len(item)

    def speech_started(self, audio_in_s: float) -> None:
        """Somebody speaks: the silence before is not charged."""
        self._turn_from_s = max(self._turn_from_s, audio_in_s - PADDING_S)

    def committed(self, audio_in_s: float) -> None:
        """What was spoken is an item now."""
        self._said_s += audio_in_s - self._turn_from_s
        self._turn_from_s = audio_in_s

    def cleared(self, audio_in_s: float) -> None:
        """What was spoken is forgotten."""
        self._turn_from_s = audio_in_s

    def wrote(self, delta: msgspec.Raw) -> None:
        """Text came: an answer's, its transcript's or a call's."""
        self._wrote_bytes += len(delta)

    def began(self, response_id: str) -> None:
        """A response began; `response_id` is empty if it has none."""
        self._open[response_id] = None
        if len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]

    def billed(self, response_id: str, usage: TokenUsage | None, audio_out_s: float) -> None:
        """A response was charged, for nothing if `usage` is None; one that nobody began stands for the oldest.

        What goes into the next one is what this one says, and what is said from now on.
        """
        self._open.pop(response_id if response_id in self._open else next(iter(self._open), ""), None)
        if usage is not None:
            self._before, self._setup_bytes, self._said_bytes, self._said_s = usage, 0, 0, 0.0
        if not self._open:
            self._wrote_bytes, self._generated_from_s = 0, audio_out_s

    def generated(self, audio_out_s: float) -> bool:
        """Whether anything came that no bill accounts for."""
        return audio_out_s > self._generated_from_s or self._wrote_bytes > 0

    def guess(self, audio_out_s: float) -> TokenUsage:
        """Return what a response probably used that is over and has no bill: all that came is taken for its own."""
        usage = self._usage(self._wrote_bytes // BYTES_PER_TOKEN, audio_out_s - self._generated_from_s)
        self._wrote_bytes, self._generated_from_s = 0, audio_out_s
        return usage

    def take(self, audio_out_s: float) -> list[TokenUsage]:
        """Return what each open response probably used, and forget them. Output without a response is one as well."""
        count = len(self._open) or int(self.generated(audio_out_s))
        generated_s, self._generated_from_s = audio_out_s - self._generated_from_s, audio_out_s
        wrote, self._wrote_bytes = self._wrote_bytes, 0
        self._open.clear()
        texts = [wrote // BYTES_PER_TOKEN] + [0] * count
        sounds_s = [generated_s] + [0.0] * count
        return [self._usage(text, sound_s) for text, sound_s in zip(texts[:count], sounds_s, strict=False)]

    def _usage(self, text_out: int, audio_out_s: float) -> TokenUsage:
        said = max(1, (self._setup_bytes + self._said_bytes) // BYTES_PER_TOKEN)
        return prices.next_usage(
            self._before, text_in=said, audio_in_s=self._said_s, text_out=text_out, audio_out_s=audio_out_s
        )
