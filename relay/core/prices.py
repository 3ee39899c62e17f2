"""What the API charges: a table of prices by model, and the sums that follow from it.

Rules: a price that is not known is None, never zero, and None wins over any sum it is added to. Where the upstream says
less than the formula needs, the dearest reading is taken, because limits are kept by these numbers: tokens of no stated
kind count as audio, and what is not said to come from the cache does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

import msgspec
from msgspec import Meta

Usd = Annotated[float, Meta(ge=0.0, le=1_000_000.0)]
Tokens = Annotated[int, Meta(ge=0, le=2**53)]

PER_MILLION = 1_000_000
AUDIO_TOKENS_PER_MINUTE = 600
"""What a person says is charged as one token per 100 ms."""

ANSWER_TOKENS_PER_S = 20
"""What the model says is charged as one token per 50 ms."""


class CachedDetails(msgspec.Struct, frozen=True):
    """How many input tokens of each kind came from the cache."""

    text_tokens: Tokens | None = None
    audio_tokens: Tokens | None = None
    image_tokens: Tokens | None = None


class InputDetails(msgspec.Struct, frozen=True):
    """How many input tokens there were of each kind."""

    text_tokens: Tokens | None = None
    audio_tokens: Tokens | None = None
    image_tokens: Tokens | None = None
    cached_tokens_details: CachedDetails | None = None


class OutputDetails(msgspec.Struct, frozen=True):
    """How many output tokens there were of each kind."""

    text_tokens: Tokens | None = None
    audio_tokens: Tokens | None = None


class TokenUsage(msgspec.Struct, frozen=True):
    """`usage` of a response, and of a transcription that is counted in tokens. Any field may be absent, or null."""

    total_tokens: Tokens | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    input_token_details: InputDetails | None = None
    output_token_details: OutputDetails | None = None

    @property
    def total(self) -> int:
        """All tokens; whichever of the API's figures is larger."""
        read = max(self.input_tokens or 0, _sum(self.input_token_details))
        written = max(self.output_tokens or 0, _sum(self.output_token_details))
        return max(self.total_tokens or 0, read + written)


class ModelPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of some models per million tokens: input, cached input, output."""

    models: tuple[str, ...]
    text: tuple[Usd, Usd, Usd]
    audio: tuple[Usd, Usd, Usd]
    image: tuple[Usd, Usd] | None = None

    def usd(self, usage: TokenUsage) -> float | None:
        """Return what `usage` costs; None if it contains images and their price is not known."""
        tokens, cached = _inputs(usage), _cached(usage)
        if tokens[2] and self.image is None:
            return None
        input_prices = (self.text, self.audio, self.image or (0.0, 0.0))
        input_usd = sum(map(_with_cache, tokens, cached, input_prices))
        text_out, audio_out = _outputs(usage)
        return (input_usd + text_out * self.text[2] + audio_out * self.audio[2]) / PER_MILLION


class PriceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All prices that are known, and the day on which they were."""

    as_of: date
    per_million_tokens: tuple[ModelPrice, ...]
    per_minute: Mapping[str, Usd]

    def model(self, name: str) -> ModelPrice | None:
        """Return the prices of a model that talks, None if they are not known."""
        return next((price for price in self.per_million_tokens if name in price.models), None)

    def transcription_usd(self, name: str, seconds: float) -> float | None:
        """Return what it costs to write down `seconds` of audio, None if that is not known."""
        usd_per_minute = self.per_minute.get(name)
        return None if usd_per_minute is None else usd_per_minute * seconds / 60


def audio_seconds(usage: TokenUsage) -> float | None:
    """Return how much of a person's audio the input tokens of a transcription stand for; None if there are none."""
    _, audio, _ = _inputs(usage)
    return audio * 60 / AUDIO_TOKENS_PER_MINUTE if audio else None


def next_usage(before: TokenUsage, *, text_in: int, audio_in_s: float, text_out: int, audio_out_s: float) -> TokenUsage:
    """Return what an answer used that has no bill, from that of the answer before it.

    All that went into that one and came out of it goes in again, and then the text and the audio since.
    """
    text, audio, image = _inputs(before)
    text_before, audio_before = _outputs(before)
    text += text_before + text_in
    audio += audio_before + math.ceil(audio_in_s * AUDIO_TOKENS_PER_MINUTE / 60)
    audio_out = round(audio_out_s * ANSWER_TOKENS_PER_S)
    cached = CachedDetails(*_cached(before))
    return TokenUsage(
        input_tokens=text + audio + image,
        output_tokens=text_out + audio_out,
        input_token_details=InputDetails(text, audio, image, cached),
        output_token_details=OutputDetails(text_out, audio_out),
    )


def parse(table: dict[str, Any]) -> PriceTable:
    """Check a table as TOML has it. Raises msgspec.ValidationError."""
    return msgspec.convert(table, PriceTable)


def _inputs(usage: TokenUsage) -> tuple[int, int, int]:
    """Return the input tokens: text, audio, images."""
    details = usage.input_token_details or InputDetails()
    text, image = details.text_tokens or 0, details.image_tokens or 0
    return text, max(details.audio_tokens or 0, (usage.input_tokens or 0) - text - image), image


def _outputs(usage: TokenUsage) -> tuple[int, int]:
    """Return the output tokens: text, audio."""
    details = usage.output_token_details or OutputDetails()
    text = details.text_tokens or 0
    stated = max(usage.output_tokens or 0, usage.total - sum(_inputs(usage)))
    return text, max(details.audio_tokens or 0, stated - text)


def _sum(details: InputDetails | OutputDetails | None) -> int:
    if details is None:
        return 0
    image = details.image_tokens if isinstance(details, InputDetails) else 0
    return (details.text_tokens or 0) + (details.audio_tokens or 0) + (image or 0)


def _cached(usage: TokenUsage) -> tuple[int, int, int]:
    """Return how many of the input tokens came from the cache: text, audio, images."""
    details = usage.input_token_details or InputDetails()
    cached = details.cached_tokens_details or CachedDetails()
    return cached.text_tokens or 0, cached.audio_tokens or 0, cached.image_tokens or 0


def _with_cache(tokens: int, cached: int, price: tuple[float, ...]) -> float:
    from_cache = min(cached, tokens)
    return (tokens - from_cache) * price[0] + from_cache * price[1]
