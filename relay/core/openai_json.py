"""OpenAI's own JSON to the browser, GA or beta: events pass through unpaced and in order, for official clients.

Rules: what a client sends goes through policy.py; its audio is checked (strict base64, whole samples) and passed on as
it came, unless the upstream has another rate (client_audio.py). What it plays and what it truncates is its own affair.
Official clients begin with `session.update` and wait for its answer. Where nothing of it is permitted, relay answers
it, with the session as it is, and sends nothing on; what is permitted goes up, and the upstream's answer is the answer.
All that goes up passes `_go_up`.

A trusted client may choose G.711, where nothing is converted. Audio is counted by the format that was asked for last,
until the upstream says which one holds.

The upstream speaks GA. A beta client is translated for (dialect.py), before policy on its way up and after it on its
way down, so that policy knows one dialect. Who says no dialect at the door shows it with the first `session.update`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from relay.audio import AudioDataError, check_append
from relay.core import dialect, events, messages
from relay.core.client import ClientSettings, Decision
from relay.core.client_audio import ClientAudio
from relay.core.formats import CLIENT_RATE_HZ, Samples, recordings, samples
from relay.core.passing import NOTE_EVERY_S, EventPath, Passed, SpokenItem
from relay.core.places import take
from relay.core.policy import OPENAI, NothingToSet, Said, Up, policy_for, read_any
from relay.core.public import hearing_for
from relay.core.refusals import not_an_object
from relay.core.supports import check_supported
from relay.core.turns import Turns
from relay.errors import BadRequest, UpstreamProtocolError

BETA_SESSION_FIELDS = frozenset({"modalities", "voice", "input_audio_format", "turn_detection"})
"""Fields of a flat session. One of them and no `type` is an update that only a beta client writes."""

MAX_EARLY_UPDATES = 16
"""Updates before the session stands that get an answer each. Clients send one or two; nobody piles up thousands."""


class OpenAIJson:
    """The language of OpenAI's SDKs, for one session. See `Client` for the methods."""

    started = True
    queued_ms = 0.0
    flushing = 0

    def __init__(self, settings: ClientSettings, *, beta: bool = False) -> None:
        self._policy = policy_for(settings.permissions, OPENAI)
        self._hearing = hearing_for(settings.permissions)
        self._turns = Turns(settings.output_rate_hz)
        self._chooses_format = settings.permissions.is_open
        self._input = self._asked_input = Samples(CLIENT_RATE_HZ)
        self._lacks = settings.lacks
        self._audio = ClientAudio(settings.input_rate_hz, settings.output_rate_hz)
        self._converts = self._audio.converts
        self._unsent_ms = 0.0
        self._to_beta = dialect.ServerToBeta() if beta else None
        self._spoken: SpokenItem | None = None
        self._was_updated = False
        self._session: msgspec.Raw | None = None
        self._unanswered = 0
        self._answers = 0

    def message(self, message: str | bytes, now_s: float) -> Decision:
        """Take a client event."""
        if isinstance(message, bytes):
            raise BadRequest("Binary frames are not supported; send JSON text.", code="relay_invalid_audio")
        try:
            decision = Decision()
            for text in self._in_ga(message):
                decision.then(self._obey(self._policy.read(text), now_s))
            return decision
        except BadRequest as problem:
            if self._to_beta is not None and problem.param is not None:
                _name_in_beta(problem, problem.param)
            raise

    def begin_no_answers(self) -> None:
        """Refuse requests for an answer from now on."""
        self._turns.begin_no_answers()

    def event(self, text: str, now_s: float) -> Decision:
        """Pass a server event on, if the client may hear it."""
        try:
            kind, text_shown, delta = self._hearing.of(text)
            if delta is not None and text_shown is not None and self._to_beta is None and not self._converts:
                if kind == events.AUDIO_DELTA:
                    self._turns.audio(delta.item_id, delta.delta)
                    self._spoken = SpokenItem.of(delta.item_id, delta.response_id, delta.content_index)
                return Decision(browser=[text_shown])  # nearly all that comes: nothing else is done with it
            if kind == events.AUDIO_DELTA:
                self._count(delta, text)
            else:
                self._turns.heard(kind, text)
            self._note_format(kind, text)
            if text_shown is None:
                return Decision()
            shown = self._audio.to_client(kind, text_shown)
            told = [each for one in shown for each in self._in_its_dialect(one)]
            if kind == events.SESSION_UPDATED:
                told += self._session_stands(shown[0])
        except events.UNREADABLE as error:
            raise UpstreamProtocolError(detail=f"an event relay cannot read: {error}") from None
        return Decision(browser=told)

    def ready(self) -> Decision:
        """Nothing: the API's own events have told the client."""
        return Decision()

    def dropped(self, audio_ms: float, now_s: float) -> Decision:
        """Nothing: the API has no event for it."""
        return Decision()

    def notice(self, event: dict[str, Any]) -> Decision:
        """Nothing: these clients know the API's events and no others."""
        return Decision()

    def end_flush(self) -> Decision:
        """Nothing: these clients truncate by themselves."""
        return Decision()

    def delay_s(self, now_s: float) -> float | None:
        """Nothing ever waits for its time."""
        return None

    def unheard_s(self, now_s: float) -> float:
        """Nothing is known of what such a client plays."""
        return 0.0

    def take(self, now_s: float) -> str | bytes | None:
        """Return nothing: audio travels in events."""
        return None

    @property
    def audio_path(self) -> EventPath | None:
        """Events of audio pass as they came, unless somebody has to convert them, or may choose what is in them."""
        if self._converts or self._chooses_format:
            return None
        return EventPath(CLIENT_RATE_HZ, NOTE_EVERY_S)

    def spoken(self, now_s: float) -> SpokenItem | None:
        """Return the item whose audio came last; for a beta client its events change their names."""
        return self._spoken if self._to_beta is None else None

    def passed(self, passed: Passed, now_s: float) -> Decision:
        """Count audio that passed inside its events."""
        said_ms = passed.up_samples * 1000 / CLIENT_RATE_HZ
        self._turns.appended(said_ms)
        if self._spoken is not None and passed.down_samples:
            self._turns.passed(self._spoken.item_id, passed.down_samples)
        return Decision(recorded_ms=said_ms)

    def close(self) -> None:
        """Give back what is held in C."""
        self._audio.close()

    # From the client

    def _in_ga(self, text: str) -> list[str]:
        """Return what the client says in GA. Raises BadRequest."""
        if self._to_beta is None and not self._was_updated and _is_flat_update(text):
            self._to_beta = dialect.ServerToBeta()
        return [text] if self._to_beta is None else _translated(text)

    def _obey(self, said: Said, now_s: float) -> Decision:
        match said:
            case messages.Append():
                return self._append(said)
            case NothingToSet():
                return self._answer_update()
            case Up():
                return self._go_up(said, now_s)
        raise RuntimeError("a control of relay.v1 in OpenAI's language")

    def _append(self, event: messages.Append) -> Decision:
        # Converted audio may be too short to complete a sample.
        said_ms = self._asked_input.ms(self._check_audio(event.audio, "audio", event.event_id))
        self._unsent_ms += said_ms
        appends = self._audio.append(event.audio)
        self._turns.appended(self._audio.sent_ms(appends) if self._audio.converts else said_ms)
        if not appends:
            return Decision()
        each_ms, self._unsent_ms = self._unsent_ms / len(appends), 0.0
        return Decision(audio=[(append, each_ms) for append in appends])

    def _go_up(self, up: Up, now_s: float) -> Decision:
        """Send an event upstream: the one way there for all but audio."""
        event = up.event
        check_supported(event, self._lacks)
        recorded = sum(self._check_audio(audio, place, up.event_id) for place, audio in recordings(event))
        recorded_ms = self._asked_input.ms(recorded)
        try:
            decision = Decision(upstream=[events.encode(self._audio.to_upstream(event))], recorded_ms=recorded_ms)
        except RecursionError:
            raise not_an_object() from None
        if not self._turns.admit(event, now_s):
            return Decision()
        if event["type"] == "session.update":
            self._was_updated = True
            self._ask_format(take(event, ("session", "audio", "input", "format"), None))
        return decision

    def _answer_update(self) -> Decision:
        """Answer an update; one that comes before the session stands is answered by that."""
        self._was_updated = True
        if self._session is None:
            self._unanswered = min(self._unanswered + 1, MAX_EARLY_UPDATES)
            return Decision()
        return Decision(browser=self._answer())

    def _check_audio(self, audio: str, param: str, event_id: str | None) -> int:
        """Return the number of bytes in a base64 text. Raises BadRequest."""
        try:
            return check_append(audio, sample_bytes=self._asked_input.sample_bytes)
        except AudioDataError as error:
            raise BadRequest(f"{error}.", code="relay_invalid_audio", param=param, event_id=event_id) from None

    def _ask_format(self, told: Any) -> None:
        if not self._audio.converts:
            self._asked_input = samples(told, self._asked_input)

    def _note_format(self, kind: str, text: str) -> None:
        """Learn which format holds; after a refusal it is the one before."""
        if self._audio.converts:
            return
        if kind == events.ERROR:
            self._asked_input = self._input
        elif kind == events.SESSION_UPDATED and self._chooses_format:
            told = take(msgspec.json.decode(text), ("session", "audio", "input", "format"), None)
            self._input = self._asked_input = samples(told, self._input)

    # From the upstream

    def _count(self, delta: events.Delta | None, text: str) -> None:
        """Count an answer's audio; of a delta of a strange shape as far as it can be read."""
        if delta is None:
            with suppress(msgspec.ValidationError):
                audio = events.audio_delta_decoder.decode(text)
                self._turns.audio(audio.item_id, audio.delta)
        else:
            self._turns.audio(delta.item_id, delta.delta)

    def _session_stands(self, shown: str) -> list[str]:
        """Keep the session; return what is still to be said to updates that came early. The first has its answer."""
        self._session = events.session_in(shown)
        due, self._unanswered = self._unanswered - 1, 0
        return [text for _ in range(due) for text in self._answer()]

    def _answer(self) -> list[str]:
        self._answers += 1
        event_id = f"event_relay_session_{self._answers}"
        event = {"type": events.SESSION_UPDATED, "event_id": event_id, "session": self._session}
        return self._in_its_dialect(events.encode(event))

    def _in_its_dialect(self, text: str) -> list[str]:
        if self._to_beta is None:
            return [text]
        return [events.encode(event) for event in self._to_beta.to(msgspec.json.decode(text))]


def _translated(text: str) -> list[str]:
    """Return what a beta client says in GA. Raises BadRequest; what was just not too deep to read may be to write."""
    try:
        return [events.encode(event) for event in dialect.client_to_ga(read_any(text))]
    except RecursionError:
        raise not_an_object() from None


def _is_flat_update(text: str) -> bool:
    """Whether a text is an update that only a beta client writes. Raises BadRequest if it is not a JSON object."""
    if '"session.update"' not in text:
        return False
    match read_any(text):
        case {"type": "session.update", "session": dict(session)}:
            return "type" not in session and not BETA_SESSION_FIELDS.isdisjoint(session)
    return False


def _name_in_beta(problem: BadRequest, ga: str) -> None:
    """Name the field as the client wrote it, for its program and for whoever reads the words."""
    problem.param = dialect.place_in_beta(ga)
    problem.public = problem.public.replace(f"{ga}: ", f"{problem.param}: ", 1)
