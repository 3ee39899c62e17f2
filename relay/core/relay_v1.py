"""relay.v1, relay's side of docs/wire.md: binary audio both ways, GA events, and relay's own controls.

Rules: audio goes through C once in each direction (relay.audio); what is text goes through policy.py; who heard what is
in conversation.py, when a frame is due in playout.py. This file only says who is asked for what.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.audio import AudioDataError, AudioFormatError, Downlink, Level, Uplink, append_samples, check_append
from relay.core import events, messages
from relay.core.client import ClientSettings, Decision
from relay.core.conversation import Conversation
from relay.core.events import encode
from relay.core.formats import Samples, recordings
from relay.core.passing import NOTE_EVERY_S, AudioPath, Passed, SpokenItem
from relay.core.places import MISSING, take
from relay.core.playout import Playout
from relay.core.policy import RELAY_V1, NothingToSet, Said, Up, policy_for
from relay.core.public import hearing_for
from relay.core.refusals import not_an_object, start_error
from relay.core.supports import CANCEL, check_supported
from relay.core.turns import Turns
from relay.core.vitals import InputVitals
from relay.errors import BadRequest, StartError, UpstreamProtocolError

LEVEL_EVERY_S = 0.1
LEVEL_EARLY_S = 0.01
"""Who looks at the levels ten times a second is a little early at times."""

SILENCE_DBFS = -120.0
SAMPLE_BYTES = {"f32le": 4, "s16le": 2}


class _Audio:
    """What exists once the formats are known: both directions, and the accounts."""

    def __init__(self, start: messages.Start, settings: ClientSettings, turns: Turns) -> None:
        up, down, output_rate_hz = start.audio.input, start.audio.output, settings.output_rate_hz
        self.start = start
        self.sample_bytes = SAMPLE_BYTES[up.encoding]
        self.ms_per_byte = 1000 / up.rate_hz / self.sample_bytes
        self.unjudged_ms = 0.0
        self.unsent_ms = 0.0
        self.uplink = Uplink(up.encoding, up.rate_hz, settings.input_rate_hz)
        self.downlink = Downlink(down.encoding, down.rate_hz, output_rate_hz)
        self.vitals = InputVitals(up.rate_hz)
        self.playout = Playout(
            self.downlink,
            rate_hz=down.rate_hz,
            sample_bytes=SAMPLE_BYTES[down.encoding],
            upstream_rate_hz=output_rate_hz,
            lead_s=settings.lead_ms / 1000,
        )
        self.conversation = Conversation(
            self.playout,
            turns,
            rate_hz=down.rate_hz,
            upstream_rate_hz=output_rate_hz,
            interrupts=settings.turn_detection != "none",
            lacks=settings.lacks,
        )

    def close(self) -> None:
        self.uplink.close()
        self.downlink.close()


class RelayV1:
    """The language of relay-client.js, for one session. See `Client` for the methods."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._policy = policy_for(settings.permissions, RELAY_V1)
        self._hearing = hearing_for(settings.permissions)
        self._turns = Turns(settings.output_rate_hz)
        self._session: msgspec.Raw | None = None
        self._answers = 0
        self._audio: _Audio | None = None
        self._level_told_s = float("-inf")

    @property
    def started(self) -> bool:
        """Whether relay.start has come."""
        return self._audio is not None

    @property
    def queued_ms(self) -> float:
        """Audio that waits for its time."""
        return self._audio.playout.queued_ms if self._audio else 0.0

    def unheard_s(self, now_s: float) -> float:
        """Seconds until the person has heard all that came."""
        return self._audio.playout.unheard_s(now_s) if self._audio else 0.0

    @property
    def flushing(self) -> int:
        """Number of the flush whose answer is awaited, or 0."""
        return self._audio.conversation.flushing if self._audio else 0

    def message(self, message: str | bytes, now_s: float) -> Decision:
        """Take audio or a text message from the browser."""
        if isinstance(message, bytes):
            return self._microphone(message, now_s)
        if self._audio is None:
            return self._start(message)
        return self._control(self._policy.read(message), self._audio, now_s)

    def begin_no_answers(self) -> None:
        """Refuse requests for an answer from now on."""
        self._turns.begin_no_answers()

    def event(self, text: str, now_s: float) -> Decision:
        """Take an event from the upstream: audio to the queue, everything else to the browser."""
        try:
            return self._event(text)
        except events.UNREADABLE as error:
            raise UpstreamProtocolError(detail=f"an event relay cannot read: {error}") from None

    def ready(self) -> Decision:
        """Tell the browser what was agreed."""
        if self._audio is None:
            raise RuntimeError("ready before relay.start")
        settings = self._settings
        event = {
            "type": "relay.ready",
            "session_id": settings.session_id,
            "audio": msgspec.to_builtins(self._audio.start.audio),
            "upstream": {"input_rate_hz": settings.input_rate_hz, "output_rate_hz": settings.output_rate_hz},
            "turn_detection": settings.turn_detection,
            "lead_ms": settings.lead_ms,
        }
        return Decision(browser=[encode(event)])

    def dropped(self, audio_ms: float, now_s: float) -> Decision:
        """Warn of audio that was dropped on its way up."""
        return _warn(self._audio.vitals.dropped(audio_ms, now_s)) if self._audio else Decision()

    def notice(self, event: dict[str, Any]) -> Decision:
        """Tell the browser."""
        return Decision(browser=[encode(event)])

    def end_flush(self) -> Decision:
        """Settle a flush that was not answered."""
        return self._audio.conversation.end_flush() if self._audio else Decision()

    def delay_s(self, now_s: float) -> float | None:
        """Seconds until a frame is due."""
        return self._audio.playout.delay_s(now_s) if self._audio else None

    def take(self, now_s: float) -> str | bytes | None:
        """Return the frame that is due."""
        if self._audio is None:
            return None
        try:
            return self._audio.playout.take(now_s)
        except AudioDataError as error:
            raise UpstreamProtocolError(detail=f"audio from the upstream: {error}") from None

    @property
    def audio_path(self) -> AudioPath | None:
        """Both directions, once the formats are known, for a short way between the sockets."""
        if self._audio is None:
            return None
        settings, up, down = self._settings, self._audio.start.audio.input, self._audio.start.audio.output
        return AudioPath(
            self._audio.uplink,
            self._audio.downlink,
            input_rate_hz=up.rate_hz,
            input_sample_bytes=SAMPLE_BYTES[up.encoding],
            output_sample_bytes=SAMPLE_BYTES[down.encoding],
            output_rate_hz=down.rate_hz,
            upstream_rate_hz=settings.output_rate_hz,
            lead_s=settings.lead_ms / 1000,
            note_every_s=LEVEL_EVERY_S if self._audio.start.levels else NOTE_EVERY_S,
        )

    def spoken(self, now_s: float) -> SpokenItem | None:
        """Return the item whose audio needs nobody's decision."""
        return self._audio.conversation.spoken(now_s) if self._audio else None

    def passed(self, passed: Passed, now_s: float) -> Decision:
        """Take note of audio that went straight from socket to socket."""
        audio = self._audio
        if audio is None:
            return Decision()
        decision = Decision()
        if passed.up_samples:
            decision.recorded_ms = passed.up_samples * 1000 / audio.start.audio.input.rate_hz
            audio.unjudged_ms += decision.recorded_ms
            self._turns.appended(decision.recorded_ms)
            decision.then(_warn(audio.vitals.arrived(passed.up_samples, now_s)))
        if passed.down_events or passed.played_samples:
            item_id = audio.conversation.passed(passed, now_s)
            if item_id is not None and passed.down_samples:
                self._turns.passed(item_id, passed.down_samples)
        return decision.then(self._levels(audio, now_s))

    def close(self) -> None:
        """Give back the C state."""
        if self._audio is not None:
            self._audio.close()

    def _start(self, text: str) -> Decision:
        try:
            message = self._policy.read(text)
        except BadRequest as problem:
            if problem.request_code == "relay_invalid_json":
                raise
            raise start_error(problem) from None
        if not isinstance(message, messages.Start):
            raise StartError(event_id=None if isinstance(message, NothingToSet) else message.event_id)
        try:
            self._audio = _Audio(message, self._settings, self._turns)
        except AudioFormatError as error:
            raise StartError(f"relay.start: {error}", param="audio", event_id=message.event_id) from None
        return Decision()

    def _microphone(self, samples: bytes, now_s: float) -> Decision:
        audio = self._audio
        if audio is None:
            raise BadRequest("Audio came before relay.start and was ignored.", code="relay_audio_before_start")
        try:
            append = audio.uplink.push(samples)
        except AudioDataError as error:
            raise BadRequest(f"{error}.", code="relay_invalid_audio") from None
        audio_ms = len(samples) * audio.ms_per_byte
        audio.unjudged_ms += audio_ms
        decision = _warn(audio.vitals.arrived(len(samples) // audio.sample_bytes, now_s))
        audio.unsent_ms += audio_ms  # a frame may be too short to complete a sample
        if append:
            self._turns.appended(append_samples(append) * 1000 / self._settings.input_rate_hz)
            decision.audio.append((append, audio.unsent_ms))
            audio.unsent_ms = 0.0
        return decision.then(self._levels(audio, now_s))

    def _control(self, message: Said, audio: _Audio, now_s: float) -> Decision:
        match message:
            case messages.Played():
                decision = audio.conversation.played(message.item, message.samples, now_s)
                return decision.then(self._levels(audio, now_s))
            case messages.Flushed():
                return audio.conversation.flushed(message.flush, message.item, message.samples)
            case messages.Interrupt():
                return audio.conversation.interrupt(now_s)
            case messages.Start():
                problem = "relay.start was sent already; a session has one audio format."
                raise BadRequest(problem, code="relay_invalid_field", param="type", event_id=message.event_id)
            case NothingToSet():
                return self._answer_update()
            case Up(event={"type": "response.cancel"}) if CANCEL in self._settings.lacks:
                return audio.conversation.interrupt(now_s)  # all that can be done: nobody hears the rest
            case Up():
                return self._go_up(message, now_s)
        raise RuntimeError("audio as text in relay.v1")

    def _go_up(self, up: Up, now_s: float) -> Decision:
        """Send an event of the client's upstream: the one way there for all but audio."""
        check_supported(up.event, self._settings.lacks)
        samples = Samples(self._settings.input_rate_hz)
        recorded_ms = 0.0
        for place, audio in recordings(up.event):
            try:
                recorded_ms += samples.ms(check_append(audio))
            except AudioDataError as error:
                raise BadRequest(f"{error}.", code="relay_invalid_audio", param=place, event_id=up.event_id) from None
        try:
            decision = Decision(upstream=[encode(up.event)], recorded_ms=recorded_ms)
        except RecursionError:
            raise not_an_object() from None
        return decision if self._turns.admit(up.event, now_s) else Decision()

    def _answer_update(self) -> Decision:
        """Answer an update of which nothing is permitted; before the session stands, that will be the answer."""
        if self._session is None:
            return Decision()
        self._answers += 1
        event_id = f"event_relay_session_{self._answers}"
        event = {"type": events.SESSION_UPDATED, "event_id": event_id, "session": self._session}
        return Decision(browser=[encode(event)])

    def _event(self, text: str) -> Decision:
        kind, shown, delta = self._hearing.of(text)
        if not self._turns.heard(kind, text):
            return Decision()
        told = Decision() if kind == events.AUDIO_DELTA or shown is None else Decision(browser=[shown])
        if kind == events.SESSION_UPDATED and shown is not None:
            self._session = events.session_in(shown)
            self._note_turn_detection(msgspec.json.decode(self._session))
        return told if self._audio is None else told.then(_account(self._audio.conversation, kind, text, delta))

    def _note_turn_detection(self, session: Any) -> None:
        """A client that may set it decides whether speech interrupts."""
        told = take(session, ("audio", "input", "turn_detection"), MISSING)
        if self._audio is None or not self._settings.permissions.permits("turn_detection") or told is MISSING:
            return
        self._audio.conversation.interrupts = take(told, ("interrupt_response",), told is not None) is not False

    def _levels(self, audio: _Audio, now_s: float) -> Decision:
        """Look at the levels ten times a second: for the meters, and for a microphone that sends only zeros."""
        if now_s - self._level_told_s < LEVEL_EVERY_S - LEVEL_EARLY_S:
            return Decision()
        self._level_told_s = now_s
        audio_ms, audio.unjudged_ms = audio.unjudged_ms, 0.0
        up, down = audio.uplink.take_level(), audio.downlink.take_level()
        decision = Decision()
        if up is not None:
            decision.then(_warn(audio.vitals.heard(audio_ms, only_zeros=up.peak_dbfs <= SILENCE_DBFS)))
        if audio.start.levels and (up is not None or down is not None):
            decision.browser.append(encode({"type": "relay.level", "input": _level(up), "output": _level(down)}))
        return decision


def _account(conversation: Conversation, kind: str, text: str, delta: events.Delta | None) -> Decision:
    """Let the accounts know of the events that concern them."""
    match kind:
        case events.AUDIO_DELTA:
            is_whole = delta is not None and delta.item_id and delta.response_id
            return conversation.audio(delta if delta and is_whole else events.audio_delta_decoder.decode(text))
        case events.AUDIO_DONE:
            conversation.audio_done(events.audio_done_decoder.decode(text))
        case events.SPEECH_STARTED:
            return conversation.speech_started()
        case events.RESPONSE_DONE:
            response = events.response_decoder.decode(text).response
            return conversation.response_done(response.id, response.status)
    return Decision()


def _level(level: Level | None) -> dict[str, float] | None:
    if level is None:
        return None
    return {"rms_dbfs": round(level.rms_dbfs, 1), "peak_dbfs": round(level.peak_dbfs, 1)}


def _warn(warnings: list[dict[str, Any]]) -> Decision:
    return Decision(browser=[encode(warning) for warning in warnings])
