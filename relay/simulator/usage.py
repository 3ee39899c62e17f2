"""What a response would have cost, in tokens, and the rate limit that it draws from.

User audio is 1 token per 100 ms, assistant audio 1 per 50 ms, text about 1 per 4 characters. Every response is charged
the whole conversation as input; what an earlier response was charged for already counts as cached, in steps of 64.
Images are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from relay.simulator.conversation import Item
from relay.simulator.pcm import duration_ms

USER_MS_PER_TOKEN = 100
ASSISTANT_MS_PER_TOKEN = 50
LETTERS_PER_TOKEN = 4
CACHE_STEP = 64
TOKENS_PER_MINUTE = 40_000

Usage = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A number of tokens, by what they stand for."""

    text: int = 0
    audio: int = 0

    @property
    def total(self) -> int:
        """Both kinds."""
        return self.text + self.audio


def text_tokens(text: str) -> int:
    """Tokens of a text, estimated."""
    return math.ceil(len(text) / LETTERS_PER_TOKEN)


def user_audio_tokens(pcm: bytes) -> int:
    """Tokens of what a person said."""
    return math.ceil(duration_ms(pcm) / USER_MS_PER_TOKEN)


def assistant_audio_tokens(pcm: bytes) -> int:
    """Tokens of what the model said."""
    return math.ceil(duration_ms(pcm) / ASSISTANT_MS_PER_TOKEN)


def context_tokens(instructions: str, tools: list[Any], items: Iterable[Item]) -> Tokens:
    """All that the model would read before it answers."""
    text = text_tokens(instructions) + (text_tokens(str(tools)) if tools else 0)
    audio = 0
    for item in items:
        rate = assistant_audio_tokens if item.value.get("role") == "assistant" else user_audio_tokens
        audio += rate(item.audio)
        # A transcript of user audio was made beside the conversation; the model reads the audio.
        has_sound = bool(item.length) and item.value.get("role") == "user"
        text += 0 if has_sound else text_tokens(item.text + str(item.value.get("arguments", "")))
    return Tokens(text, audio)


def usage(context: Tokens, cached: Tokens, output: Tokens) -> Usage:
    """The `usage` of a response."""
    return {
        "total_tokens": context.total + output.total,
        "input_tokens": context.total,
        "output_tokens": output.total,
        "input_token_details": {
            "text_tokens": context.text,
            "audio_tokens": context.audio,
            "image_tokens": 0,
            "cached_tokens": cached.total,
            "cached_tokens_details": {
                "text_tokens": cached.text,
                "audio_tokens": cached.audio,
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": output.text, "audio_tokens": output.audio},
    }


NOTHING_USED = usage(Tokens(), Tokens(), Tokens())


class Meter:
    """The prompt cache and the rate limit of one session."""

    def __init__(self) -> None:
        self._seen = Tokens()
        self._remaining = float(TOKENS_PER_MINUTE)
        self._measured_s: float | None = None

    def cached(self, context: Tokens) -> Tokens:
        """How much of a context was read before; remembers the context."""
        text, audio = min(self._seen.text, context.text), min(self._seen.audio, context.audio)
        self._seen = context
        return Tokens(text // CACHE_STEP * CACHE_STEP, audio // CACHE_STEP * CACHE_STEP)

    def charge(self, tokens: int, now_s: float) -> list[dict[str, Any]]:
        """Draw from the minute's allowance; the `rate_limits` of a `rate_limits.updated`."""
        per_second = TOKENS_PER_MINUTE / 60
        if self._measured_s is not None:
            self._remaining += (now_s - self._measured_s) * per_second
        self._measured_s = now_s
        self._remaining = max(0.0, min(float(TOKENS_PER_MINUTE), self._remaining) - tokens)
        return _limits(self._remaining)


def full_limits() -> list[dict[str, Any]]:
    """The `rate_limits` before anything was drawn."""
    return _limits(TOKENS_PER_MINUTE)


def _limits(remaining: float) -> list[dict[str, Any]]:
    missing = TOKENS_PER_MINUTE - remaining
    return [
        {
            "name": "tokens",
            "limit": TOKENS_PER_MINUTE,
            "remaining": int(remaining),
            "reset_seconds": round(missing * 60 / TOKENS_PER_MINUTE, 3),
        }
    ]
