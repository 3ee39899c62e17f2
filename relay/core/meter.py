"""What one session has used: tokens and money, from what the upstream says it charges.

Theory of operation. Two events carry a charge: `response.done` (every one, also that of a response which was cancelled
or cut short, because it was generated) and the end of an input transcription, which is billed apart. The model that is
charged is the one the upstream names in its session events; until it names one, the one that was asked for.

A response is charged once, however often its end is told.

A charge that cannot be priced makes the session's price unknown, for good: a model that is not in the table, or an
answer without a usage that counts anything. The tokens are counted all the same; those of such an answer are estimated
(unbilled.py). Where no table holds at all, the price is unknown from the beginning: others charge by the minute.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from relay.core.events import UNREADABLE
from relay.core.memory import Memory, name
from relay.core.prices import PriceTable, TokenUsage, audio_seconds

GENERATED = frozenset({"completed", "incomplete"})
"""A response with one of these ends has said something: without usage, its price is unknown, not zero. One with
another end has if there are words in it, or if some came: else who interrupts every answer would pay for none."""

MAX_CHARGED = 1_024
"""Responses that are remembered as charged. An hour holds some hundred."""

WORDS = ("transcript", "text", "arguments")


class _Model(msgspec.Struct):
    model: str | None = None


class _Input(msgspec.Struct):
    transcription: _Model | None = None


class _Audio(msgspec.Struct):
    input: _Input | None = None


class _Session(msgspec.Struct):
    model: str | None = None
    audio: _Audio | None = None


class Response(msgspec.Struct):
    """A response as it is charged. `id` may be anything."""

    id: Any = None
    status: str | None = None
    usage: TokenUsage | None = None
    output: Any = None

    @property
    def bill(self) -> TokenUsage | None:
        """What it used, if the upstream says so. A usage without figures, or of nothing, says nothing."""
        return self.usage if self.usage and self.usage.total else None

    @property
    def said_something(self) -> bool:
        """Whether it is known to have generated anything."""
        return self.status in GENERATED or _has_words(self.output)


class _Duration(msgspec.Struct, tag="duration"):
    seconds: Annotated[float, Meta(ge=0.0, le=1e9)]


class _TranscriptionTokens(TokenUsage, frozen=True, tag="tokens"):
    pass


_session_decoder = msgspec.json.Decoder(_Session)
_response_decoder = msgspec.json.Decoder(Response)
_transcription_decoder = msgspec.json.Decoder(_Duration | _TranscriptionTokens)


class Meter:
    """The bill of one session. The arguments of its methods are JSON, as it stood inside an event.

    `prices` is None where none is known.
    """

    def __init__(self, prices: PriceTable | None, *, model: str, transcription_model: str) -> None:
        self._prices = prices
        self._model = model
        self._transcription_model = transcription_model
        self.tokens = 0
        self.known_usd = 0.0
        self.price_known = prices is not None
        self._charged: Memory[bool] = Memory(MAX_CHARGED)

    @property
    def usd(self) -> float | None:
        """What was used costs this much; None if that is not known."""
        return self.known_usd if self.price_known else None

    def session(self, session: msgspec.Raw) -> None:
        """The upstream describes the session."""
        try:
            told = _session_decoder.decode(session)
        except msgspec.DecodeError:
            return  # a look-alike with a session of another shape: what was asked for holds
        self._model = told.model or self._model
        if told.audio and told.audio.input and told.audio.input.transcription:
            self._transcription_model = told.audio.input.transcription.model or self._transcription_model

    def response(self, response: msgspec.Raw) -> Response | None:
        """A response is over, whatever its end was: charge what it used. Return it, or None if it was charged before.

        One that has no `bill` makes the price unknown if it said something; so does one that cannot be read.
        """
        done = read_response(response) or Response(status="completed")
        if not self._is_new(done.id):
            return None
        if done.bill:
            self.used(done.bill)
        elif done.said_something:
            self._charge(None)
        return done

    def used(self, usage: TokenUsage) -> None:
        """Charge what a response used."""
        price = self._prices.model(self._model) if self._prices else None
        self.tokens += usage.total
        self._charge(price.usd(usage) if price else None)

    def guessed(self, usage: TokenUsage) -> None:
        """Count what a response used that has no bill. The tokens are a guess; money is never guessed."""
        self.tokens += usage.total
        self._charge(None)

    def transcription(self, usage: msgspec.Raw) -> None:
        """What the person said has been written down."""
        try:
            used = _transcription_decoder.decode(usage)
        except msgspec.DecodeError:
            self._charge(None)
            return
        if isinstance(used, _Duration):
            self._charge_transcription(used.seconds)
        else:
            self.tokens += used.total
            self._charge_transcription(audio_seconds(used))

    def _is_new(self, response_id: Any) -> bool:
        """Remember a response; return whether it is charged for the first time. One without a name always is."""
        known = name(response_id)
        if self._charged.get(known):
            return False
        self._charged.put(known, True)
        return True

    def _charge_transcription(self, seconds: float | None) -> None:
        if seconds is None or self._prices is None:
            self._charge(None)
        else:
            self._charge(self._prices.transcription_usd(self._transcription_model, seconds))

    def _charge(self, usd: float | None) -> None:
        if usd is None:
            self.price_known = False
        else:
            self.known_usd += usd


def read_response(response: msgspec.Raw) -> Response | None:
    """Return a response as it is charged; None if it has no such shape."""
    try:
        return _response_decoder.decode(response)
    except UNREADABLE:
        return None


def _has_words(output: Any) -> bool:
    """Whether anything was said, written or called in a response's output."""
    items = _objects(output)
    parts = [part for item in items for part in _objects(item.get("content"))]
    return any(value.get(word) for value in items + parts for word in WORDS)


def _objects(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
