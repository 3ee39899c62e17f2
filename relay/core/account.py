"""The account of one session: it reads every event of the upstream once, and tells meter and budget what happened.

Rules: audio that was thrown away unheard counts all the same, because it was generated. An event of a strange shape is
counted as far as it can be read; what a limit makes of that is the budget's affair.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.core import events
from relay.core.budget import Budget, Limits
from relay.core.formats import Samples, samples
from relay.core.memory import name
from relay.core.meter import Meter, read_response
from relay.core.places import take
from relay.core.unbilled import Unbilled

_ABSENT = msgspec.Raw(b"")


class _Event(msgspec.Struct):
    """The parts of an event that may count, unread."""

    type: str
    delta: msgspec.Raw = _ABSENT
    session: msgspec.Raw = _ABSENT
    response: msgspec.Raw = _ABSENT
    usage: msgspec.Raw = _ABSENT
    item: msgspec.Raw = _ABSENT


class _Session(msgspec.Struct):
    expires_at: float | None = None


TEXT_DELTAS = frozenset(
    {
        "response.output_text.delta",
        "response.output_audio_transcript.delta",
        "response.function_call_arguments.delta",
    }
)
"""What an answer writes, heard or not."""

_AUDIO_HEAD = f'{{"type":"{events.AUDIO_DELTA}",'
_AUDIO_KEY = ',"delta":"'

_event_decoder = msgspec.json.Decoder(_Event)
_session_decoder = msgspec.json.Decoder(_Session)
_text_decoder = msgspec.json.Decoder(str)


class Account:
    """What one session used, and may use. It begins at `now_s`, which is `unix_s` for the upstream."""

    def __init__(self, meter: Meter, limits: Limits, *, upstream_rate_hz: int, now_s: float, unix_s: float) -> None:
        self._meter = meter
        self._budget = Budget(limits, now_s)
        self._output = self._session_output = Samples(upstream_rate_hz)
        self._unix_offset_s = unix_s - now_s
        self._reported_usd = 0.0
        self._unbilled = Unbilled()

    @property
    def answering(self) -> bool:
        """Whether the upstream is in the middle of an answer."""
        return self._unbilled.is_open

    @property
    def next_s(self) -> float:
        """The next moment at which `check` has something to say although nothing was counted; may be infinite."""
        return self._budget.next_s

    def check(self, now_s: float) -> list[dict[str, Any]]:
        """Return the warnings that are due. Raises the limit that is reached."""
        return self._budget.check(now_s)

    def sent_audio(self, seconds: float) -> None:
        """Audio of the person went to the upstream."""
        self._budget.sent_audio(seconds)

    def generated_audio(self, seconds: float, now_s: float) -> None:
        """Audio of an answer came, of which only the length was counted."""
        self._budget.generated_audio(seconds, now_s)

    def heard(self, text: str, now_s: float) -> list[dict[str, Any]]:
        """Count an event of the upstream, which is JSON and has a type; return the bill as an event if it changed."""
        audio = _audio_in(text)
        if audio is not None:
            self._budget.generated_audio(self._output.seconds_in(audio), now_s)
            return []
        event = _event_decoder.decode(text)
        self._notice(event, now_s)
        self._estimate(event)
        if not self._charge(event):
            return []
        self._budget.used(self._meter.tokens, self._meter.usd)
        return [{"type": "relay.usage", **self._figures()}]

    def take_usd(self) -> float:
        """Return what was spent since the last call, as far as it is known."""
        usd = self._meter.known_usd - self._reported_usd
        self._reported_usd = self._meter.known_usd
        return usd

    def close(self) -> None:
        """The session is over: charge answers whose bill will not come by what is known of them. Idempotent.

        Else who leaves before the end of every answer would pay for none, and the day's money would have no end.
        """
        for usage in self._unbilled.take(self._budget.audio_out_s):
            self._meter.used(usage)

    def totals(self) -> dict[str, Any]:
        """Return what the session used, for the log: `usd`, or `price="unknown"` in its place."""
        figures = self._figures()
        if figures["usd"] is None:
            del figures["usd"]
            figures["price"] = "unknown"
        return figures

    def _notice(self, event: _Event, now_s: float) -> None:
        """Tell the budget what happened."""
        match event.type:
            case events.AUDIO_DELTA:
                self._budget.generated_audio(self._seconds(event.delta), now_s)
            case events.SPEECH_STARTED:
                self._budget.speech_started(now_s)
            case events.SPEECH_STOPPED | events.COMMITTED:
                self._budget.speech_stopped(now_s)
            case events.CLEARED:
                self._budget.speech_dropped(now_s)
            case events.TRUNCATED:
                self._budget.silenced(now_s)
            case events.SESSION_CREATED | events.SESSION_UPDATED:
                self._expires(event.session, now_s)
                self._output = self._session_output = _format(event.session, self._session_output)
            case events.RESPONSE_CREATED:
                self._output = _format(event.response, self._session_output)

    def _estimate(self, event: _Event) -> None:
        """Note what an answer would cost that has no bill when the session ends."""
        match event.type:
            case kind if kind in TEXT_DELTAS:
                self._unbilled.wrote(event.delta)
            case events.SPEECH_STARTED:
                self._unbilled.speech_started(self._budget.audio_in_s)
            case events.COMMITTED:
                self._unbilled.committed(self._budget.audio_in_s)
            case events.CLEARED:
                self._unbilled.cleared(self._budget.audio_in_s)
            case events.ITEM_ADDED | events.ITEM_CREATED:
                self._unbilled.item(event.item)
            case events.SESSION_CREATED | events.SESSION_UPDATED:
                self._unbilled.session(event.session)
            case events.RESPONSE_CREATED:
                response = read_response(event.response)
                self._unbilled.began(name(response.id) if response else "")

    def _charge(self, event: _Event) -> bool:
        """Tell the meter what was used, and in what kind of session; return whether the bill changed."""
        match event.type:
            case events.SESSION_CREATED | events.SESSION_UPDATED:
                self._meter.session(event.session)
                return False
            case events.RESPONSE_DONE:
                return self._bill(event.response)
            case events.TRANSCRIBED:
                self._meter.transcription(event.usage)
                return True
        return False

    def _bill(self, response: msgspec.Raw) -> bool:
        """Charge a response that is over, by a guess if it has no bill; return whether the total changed."""
        done = self._meter.response(response)
        if done is None:
            return False
        usage = done.bill
        if usage is None and (done.said_something or self._unbilled.generated(self._budget.audio_out_s)):
            usage = self._unbilled.guess(self._budget.audio_out_s)
            self._meter.guessed(usage)
        self._unbilled.billed(name(done.id), usage, self._budget.audio_out_s)
        return True

    def _figures(self) -> dict[str, Any]:
        usd = self._meter.usd
        return {
            "tokens": self._meter.tokens,
            "usd": None if usd is None else round(usd, 6),
            "audio_in_s": round(self._budget.audio_in_s, 3),
            "audio_out_s": round(self._budget.audio_out_s, 3),
        }

    def _seconds(self, delta: msgspec.Raw) -> float:
        try:
            return self._output.seconds_in(_text_decoder.decode(delta))
        except msgspec.DecodeError:
            return 0.0  # no text: it cannot be played either

    def _expires(self, session: msgspec.Raw, now_s: float) -> None:
        try:
            expires_at = _session_decoder.decode(session).expires_at
        except msgspec.DecodeError:
            return
        if expires_at is not None:
            self._budget.expires(expires_at - self._unix_offset_s, now_s)


def _format(owner: msgspec.Raw, otherwise: Samples) -> Samples:
    """Return how a session, or a response, says that its audio is written."""
    try:
        return samples(take(msgspec.json.decode(owner), ("audio", "output", "format"), None), otherwise)
    except events.UNREADABLE:
        return otherwise


def _audio_in(text: str) -> str | None:
    """Return the base64 of an audio delta as OpenAI writes it: the type first, no spaces. None for any other event.

    Nine of ten bytes that come are in these, so they are not decoded once more. In JSON a quote inside a text has a
    backslash, so what is found here is a key; with a backslash behind it, it is left to the decoder.
    """
    key = text.find(_AUDIO_KEY) if text.startswith(_AUDIO_HEAD) else -1
    if key < 0:
        return None
    start = key + len(_AUDIO_KEY)
    end = text.find('"', start)
    return None if end < 0 or text.find("\\", start, end) >= 0 else text[start:end]
