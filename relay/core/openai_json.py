"""OpenAI's own JSON (GA) to the browser: events pass through unpaced and in order, so that official clients work.

Rules: what a client sends goes through policy.py; its audio is checked (strict base64, whole samples) and passed on as
it came. What it plays and what it truncates is its own affair.
"""

from __future__ import annotations

from typing import Any

from relay.audio import AudioDataError, check_append
from relay.core import events, policy
from relay.core.client import ClientSettings, Decision
from relay.errors import BadRequest, UpstreamProtocolError


class OpenAIJson:
    """The language of OpenAI's SDKs, for one session. See `Client` for the methods."""

    started = True
    queued_ms = 0.0
    flushing = 0

    def __init__(self, settings: ClientSettings) -> None:
        self._ms_per_byte = 1000 / settings.upstream_rate_hz / 2

    def message(self, message: str | bytes, now_s: float) -> Decision:
        """Take a client event."""
        if isinstance(message, bytes):
            raise BadRequest("Binary frames are not supported; send JSON text.", code="relay_invalid_audio")
        event = policy.read_openai(message)
        return self._append(event) if isinstance(event, policy.Append) else Decision(upstream=[policy.write(event)])

    def event(self, text: str, now_s: float) -> Decision:
        """Pass a server event on."""
        try:
            kind = events.head_decoder.decode(text).type
            return Decision(browser=[policy.public_event(kind, text)])
        except events.UNREADABLE as error:
            raise UpstreamProtocolError(detail=f"an event relay cannot read: {error}") from None

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

    def take(self, now_s: float) -> str | bytes | None:
        """Return nothing: audio travels in events."""
        return None

    def close(self) -> None:
        """Nothing is held."""

    def _append(self, event: policy.Append) -> Decision:
        try:
            audio_bytes = check_append(event.audio)
        except AudioDataError as error:
            raise BadRequest(f"{error}.", code="relay_invalid_audio", param="audio", event_id=event.event_id) from None
        text = events.encode({"type": "input_audio_buffer.append", "audio": event.audio})
        return Decision(audio=[(text.encode(), audio_bytes * self._ms_per_byte)])
