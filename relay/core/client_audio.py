"""Audio of clients that speak OpenAI's JSON, for an upstream of other rates than theirs.

Official clients send and play PCM16 at 24 kHz and nothing else. Where the upstream hears or speaks at another rate, a
converter stands between, with the same C filters that relay.v1 has. Where it does not, there is none, and audio passes
as it came, unread.

Rules: an answer's audio is one stream per item; the end of the filter, about a millisecond, goes out before the item is
said to be done. An item that another one interrupts has no end: what is left in the filter is thrown away with it.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import Any

import msgspec

from relay.audio import MAX_FRAME_BYTES, AudioDataError, Downlink, Uplink, append_samples
from relay.core import events
from relay.core.formats import CLIENT_PCM, CLIENT_RATE_HZ
from relay.core.places import Place, take, with_value
from relay.errors import BadRequest, UpstreamProtocolError

FORMATTED = {
    events.SESSION_CREATED: "session",
    events.SESSION_UPDATED: "session",
    events.RESPONSE_CREATED: "response",
    events.RESPONSE_DONE: "response",
}
"""Events that name a format, and the object where they do."""

FORMAT_PLACES: tuple[Place, ...] = (
    ("session", "audio", "input", "format"),
    ("session", "audio", "output", "format"),
    ("response", "audio", "output", "format"),
)
"""Where a client may name a format."""

_Fields = dict[str, msgspec.Raw]


class _Appended(msgspec.Struct):
    audio: str


_fields_decoder = msgspec.json.Decoder(_Fields)
_append_decoder = msgspec.json.Decoder(_Appended)
_encoder = msgspec.json.Encoder()


class ClientAudio:
    """Both directions of one session; the rates are the upstream's. Base64 from the client has been checked before."""

    def __init__(self, input_rate_hz: int, output_rate_hz: int) -> None:
        self._rates_hz = {"input": input_rate_hz, "output": output_rate_hz}
        self._up = None if input_rate_hz == CLIENT_RATE_HZ else _Up(input_rate_hz)
        self._down = None if output_rate_hz == CLIENT_RATE_HZ else _Down(output_rate_hz)

    @property
    def converts(self) -> bool:
        """Whether the upstream has a rate that is not the client's."""
        return self._up is not None or self._down is not None

    def append(self, audio: str) -> list[bytes]:
        """Return finished append events: none while there is no whole sample, several for very much audio."""
        if self._up is None:
            return [events.encode({"type": "input_audio_buffer.append", "audio": audio}).encode()]
        return self._up.append(audio)

    def sent_ms(self, appends: list[bytes]) -> float:
        """Return how much audio is in append events, at the upstream's rate."""
        return sum(append_samples(append) for append in appends) * 1000 / self._rates_hz["input"]

    def to_upstream(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an event with its recordings and its formats at the upstream's rates. Raises BadRequest for G.711."""
        if not self.converts:
            return event
        for place in FORMAT_PLACES:
            asked = take(event, place, None)
            if asked is not None:
                event = with_value(event, place, self._upstreams(asked, place, event))
        if self._up is not None and isinstance(event.get("item"), dict):
            event = {**event, "item": self._up.item(event["item"])}
        items = take(event, ("response", "input"), None)
        if self._up is not None and isinstance(items, list):
            event = with_value(event, ("response", "input"), [self._up.item(item) for item in items])
        return event

    def _upstreams(self, asked: Any, place: Place, event: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(asked, dict) or asked.get("type") != CLIENT_PCM["type"]:
            public = f"{'.'.join(place)}: the voice service behind this server takes PCM and nothing else here."
            raise BadRequest(public, code="relay_unsupported", param=".".join(place), event_id=event.get("event_id"))
        return {**CLIENT_PCM, "rate": self._rates_hz[place[-2]]}

    def to_client(self, kind: str, text: str) -> list[str]:
        """Return what the client hears for an event. Raises UpstreamProtocolError, or one of `events.UNREADABLE`."""
        if self._down is not None and kind in (events.AUDIO_DELTA, events.AUDIO_DONE):
            return self._down.delta(text) if kind == events.AUDIO_DELTA else self._down.done(text)
        if kind in FORMATTED and self.converts:
            return [_with_client_formats(FORMATTED[kind], text)]
        return [text]

    def close(self) -> None:
        """Free what is held in C. Idempotent."""
        for side in (self._up, self._down):
            if side is not None:
                side.close()


class _Up:
    """From the client's rate to the upstream's."""

    def __init__(self, upstream_rate_hz: int) -> None:
        self._upstream_rate_hz = upstream_rate_hz
        self._uplink = Uplink("s16le", CLIENT_RATE_HZ, upstream_rate_hz)

    def append(self, audio: str) -> list[bytes]:
        return _appends(self._uplink, audio)

    def item(self, item: Any) -> Any:
        """Convert the recordings in an item; each is whole by itself."""
        match item:
            case {"content": [*parts]}:
                return {**item, "content": [self._part(part) for part in parts]}
        return item

    def _part(self, part: Any) -> Any:
        match part:
            case {"type": "input_audio", "audio": str(audio)}:
                return {**part, "audio": self._recording(audio)}
        return part

    def _recording(self, audio: str) -> str:
        uplink = Uplink("s16le", CLIENT_RATE_HZ, self._upstream_rate_hz)
        try:
            pcm = b"".join(a2b_base64(_append_decoder.decode(event).audio) for event in _appends(uplink, audio))
        finally:
            uplink.close()
        return _base64(pcm)

    def close(self) -> None:
        self._uplink.close()


class _Down:
    """From the upstream's rate to the client's, inside the events."""

    def __init__(self, upstream_rate_hz: int) -> None:
        self._downlink = Downlink("s16le", CLIENT_RATE_HZ, upstream_rate_hz)
        self._item: tuple[str, int] | None = None
        self._fields: _Fields = {}

    def delta(self, text: str) -> list[str]:
        delta = events.audio_delta_decoder.decode(text)
        if (delta.item_id, delta.content_index) != self._item:
            self._downlink.reset()
        self._item, self._fields = (delta.item_id, delta.content_index), _fields_decoder.decode(text)
        try:
            samples = self._downlink.push(delta.delta)
        except AudioDataError as error:
            raise UpstreamProtocolError(detail=f"audio from the upstream: {error}") from None
        return [self._event(samples)] if samples else []

    def done(self, text: str) -> list[str]:
        """Say the end of the item's audio as one more delta, then that it is done."""
        done = events.audio_done_decoder.decode(text)
        if (done.item_id, done.content_index) != self._item:
            return [text]
        last_id = msgspec.json.decode(self._fields.get("event_id", msgspec.Raw(b"null")))
        self._fields["event_id"] = msgspec.Raw(_encoder.encode(f"{last_id or 'event'}_end"))
        told = self._event(self._downlink.finish())
        self._item, self._fields = None, {}
        return [told, text]

    def close(self) -> None:
        self._downlink.close()

    def _event(self, samples: bytes) -> str:
        self._fields["delta"] = msgspec.Raw(_encoder.encode(_base64(samples)))
        return _encoder.encode(self._fields).decode()


def _appends(uplink: Uplink, audio: str) -> list[bytes]:
    pcm = a2b_base64(audio)
    frames = (pcm[start : start + MAX_FRAME_BYTES] for start in range(0, len(pcm), MAX_FRAME_BYTES))
    return [event for frame in frames if (event := uplink.push(frame))]


def _with_client_formats(place: str, text: str) -> str:
    """Name the format in which the client is heard and hears, in a session or a response."""
    event = msgspec.json.decode(text)
    match event.get(place):
        case {"audio": dict(audio)}:
            event[place]["audio"] = {side: _with_client_format(inner) for side, inner in audio.items()}
            return events.encode(event)
    return text


def _with_client_format(inner: Any) -> Any:
    return {**inner, "format": CLIENT_PCM} if isinstance(inner, dict) and "format" in inner else inner


def _base64(pcm: bytes) -> str:
    return b2a_base64(pcm, newline=False).decode()
