"""OpenAI's own JSON to the browser, GA or beta: events pass through unpaced and in order, for official clients.

Rules: what a client sends goes through policy.py; its audio is checked (strict base64, whole samples) and passed on as
it came. What it plays and what it truncates is its own affair. The session is the operator's: official clients begin
with `session.update` and wait for its answer, so relay answers it, with the session as it is, and sends nothing on.

The upstream speaks GA. A beta client is translated for (dialect.py), before policy on its way up and after it on its
way down, so that policy knows one dialect. Who says no dialect at the door shows it with the first `session.update`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.audio import AudioDataError, check_append
from relay.core import dialect, events, messages, policy, public
from relay.core.client import ClientSettings, Decision
from relay.core.supports import check_supported
from relay.errors import BadRequest, UpstreamProtocolError

BETA_SESSION_FIELDS = frozenset({"modalities", "voice", "input_audio_format", "turn_detection"})
"""Fields of a flat session. One of them and no `type` is an update that only a beta client writes."""


CLIENT_RATE_HZ = 24_000
"""The PCM16 of these clients has this rate, whatever the upstream's."""

MAX_EARLY_UPDATES = 16
"""Updates before the session stands that get an answer each. Clients send one or two; nobody piles up thousands."""


class OpenAIJson:
    """The language of OpenAI's SDKs, for one session. See `Client` for the methods."""

    started = True
    queued_ms = 0.0
    flushing = 0

    def __init__(self, settings: ClientSettings, *, beta: bool = False) -> None:
        self._ms_per_byte = 1000 / CLIENT_RATE_HZ / 2
        self._lacks = settings.lacks
        self._to_beta = dialect.ServerToBeta() if beta else None
        self._was_updated = False
        self._session: Any = None
        self._unanswered = 0
        self._answers = 0

    def message(self, message: str | bytes, now_s: float) -> Decision:
        """Take a client event."""
        if isinstance(message, bytes):
            raise BadRequest("Binary frames are not supported; send JSON text.", code="relay_invalid_audio")
        try:
            decision = Decision()
            for event in self._read(message):
                decision.then(self._obey(event))
            return decision
        except BadRequest as problem:
            if self._to_beta is not None and problem.param is not None:
                _name_in_beta(problem, problem.param)
            raise

    def event(self, text: str, now_s: float) -> Decision:
        """Pass a server event on."""
        try:
            kind = events.head_decoder.decode(text).type
            shown = public.public_event(kind, text)
            told = self._in_its_dialect(shown)
            if kind == events.SESSION_UPDATED:
                told += self._session_stands(shown)
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

    def close(self) -> None:
        """Nothing is held."""

    # From the client

    def _read(self, text: str) -> list[messages.OpenAIMessage]:
        if self._to_beta is None:
            return [policy.read_openai(text)]
        return [policy.read_openai(translated) for translated in _translated(text)]

    def _obey(self, event: messages.OpenAIMessage) -> Decision:
        match event:
            case messages.Append():
                return self._append(event)
            case messages.UpdateSession():
                return self._update(event)
        check_supported(event, self._lacks)
        match event:
            case messages.AddItem(item=messages.SpokenMessage(content=content)):
                recorded_ms = _check_recordings(content, event.event_id) * self._ms_per_byte
                return Decision(upstream=[policy.write(event)], recorded_ms=recorded_ms)
        return Decision(upstream=[policy.write(event)])

    def _append(self, event: messages.Append) -> Decision:
        audio_bytes = _check_audio(event.audio, "audio", event.event_id)
        text = events.encode({"type": "input_audio_buffer.append", "audio": event.audio})
        return Decision(audio=[(text.encode(), audio_bytes * self._ms_per_byte)])

    def _update(self, event: messages.UpdateSession) -> Decision:
        """Answer an update; one that comes before the session stands is answered by that."""
        is_flat = "type" not in event.session and not BETA_SESSION_FIELDS.isdisjoint(event.session)
        if is_flat and not self._was_updated and self._to_beta is None:
            self._to_beta = dialect.ServerToBeta()
        self._was_updated = True
        if self._session is None:
            self._unanswered = min(self._unanswered + 1, MAX_EARLY_UPDATES)
            return Decision()
        return Decision(browser=self._answer())

    # From the upstream

    def _session_stands(self, shown: str) -> list[str]:
        """Keep the session; return what is still to be said to updates that came early. The first has its answer."""
        self._session = msgspec.json.decode(shown).get("session")
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
        return [events.encode(event) for event in dialect.client_to_ga(policy.read_any(text))]
    except RecursionError:
        raise policy.not_an_object() from None


def _name_in_beta(problem: BadRequest, ga: str) -> None:
    """Name the field as the client wrote it, for its program and for whoever reads the words."""
    problem.param = dialect.place_in_beta(ga)
    problem.public = problem.public.replace(f"{ga}: ", f"{problem.param}: ", 1)


def _check_recordings(content: list[messages.InputText | messages.InputAudio], event_id: str | None) -> int:
    """Return the number of bytes in all recordings. Raises BadRequest."""
    return sum(
        _check_audio(part.audio, f"item.content[{index}].audio", event_id)
        for index, part in enumerate(content)
        if isinstance(part, messages.InputAudio)
    )


def _check_audio(audio: str, param: str, event_id: str | None) -> int:
    """Return the number of bytes in a base64 text. Raises BadRequest."""
    try:
        return check_append(audio)
    except AudioDataError as error:
        raise BadRequest(f"{error}.", code="relay_invalid_audio", param=param, event_id=event_id) from None
