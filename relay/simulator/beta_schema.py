"""What a server of the beta dialect accepts: flat sessions, other names for formats, `text` for `output_text`.

OpenAI has switched the dialect off; these are the tables of those who still speak it, and `Beta` is where they differ.
Anything that is not here does not exist: a field of GA's, `type` in a session first of all, is an unknown parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.simulator.checks import (
    Check,
    Refusal,
    anything,
    array,
    boolean,
    integer,
    integer_or,
    mapping,
    number,
    object_or,
    one_of,
    record,
    text,
    unsupported,
)
from relay.simulator.pcm import PCM, Format
from relay.simulator.schema import (
    EVENT_ID,
    METADATA_KEY_MAX,
    METADATA_PAIRS_MAX,
    METADATA_VALUE_MAX,
    TOKENS_MAX,
    TOOL_NAME_LETTERS_MAX,
    TOOLS_MAX,
    TRACING,
)

FORMATS: Mapping[str, Format] = {
    "pcm16": PCM,
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
# What the beta's last year had; that of 2024 had no retrieve.
EVENTS = (
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "conversation.item.create",
    "conversation.item.truncate",
    "conversation.item.delete",
    "conversation.item.retrieve",
    "response.create",
    "response.cancel",
)
USER_CONTENT = ("input_text", "input_audio")
CONTENT = {"system": ("input_text",), "assistant": ("text", "audio")}


@dataclass(frozen=True)
class Beta:
    """Where servers of the dialect differ. Formats by their name on the wire; limits are allowed values."""

    events: tuple[str, ...] = EVENTS
    input_formats: Mapping[str, Format] = field(default_factory=lambda: FORMATS)
    output_formats: Mapping[str, Format] = field(default_factory=lambda: FORMATS)
    threshold: tuple[float, float] = (0, 1)
    silence_ms: tuple[int, int] = (0, 60_000)
    user_content: tuple[str, ...] = USER_CONTENT
    # Fields of a session that are complained of, while the rest of the update is taken.
    fixed_settings: tuple[str, ...] = ()
    own_settings: Mapping[str, Check] = field(default_factory=dict)

    def session_update(self) -> Check:
        """The whole event."""
        detection = {
            "type": one_of("server_vad", "semantic_vad"),
            "create_response": boolean,
            "eagerness": one_of("low", "medium", "high", "auto"),
            "interrupt_response": boolean,
            "prefix_padding_ms": integer(0, 10_000),
            "silence_duration_ms": integer(*self.silence_ms),
            "threshold": number(*self.threshold),
        }
        fields = self._shared() | {
            "input_audio_format": one_of(*self.input_formats),
            "input_audio_noise_reduction": record({"type": one_of("near_field", "far_field")}),
            "input_audio_transcription": record({"language": text(), "model": text(), "prompt": text()}),
            "model": text(),
            "speed": number(0.25, 1.5),
            "tracing": TRACING,
            "turn_detection": record(detection),
        }
        return _event("session", record({**fields, **self.own_settings}), ("session",))

    def response_create(self) -> Check:
        """The whole event."""
        fields = self._shared() | {
            "conversation": one_of("auto", "none"),
            "input": array(anything),
            "metadata": mapping(text(METADATA_VALUE_MAX), METADATA_PAIRS_MAX, METADATA_KEY_MAX),
        }
        return _event("response", record(fields))

    def _shared(self) -> dict[str, Check]:
        return {
            "instructions": text(),
            "max_response_output_tokens": integer_or("inf", 1, TOKENS_MAX),
            "modalities": _modalities,
            "output_audio_format": one_of(*self.output_formats),
            "temperature": number(0, 2),
            "tool_choice": TOOL_CHOICE,
            "tools": array(TOOL, TOOLS_MAX),
            "voice": text(at_least=1),
        }

    def check_content(self, item: Any, path: str) -> None:
        """Refusal for content that another dialect has, or this server does not."""
        role = item.get("role") if isinstance(item, dict) else None
        allowed = CONTENT.get(role, self.user_content) if isinstance(role, str) else self.user_content
        for index, part in enumerate(_list(item, "content")):
            kind = part.get("type") if isinstance(part, dict) else None
            if isinstance(kind, str) and kind not in allowed:
                raise unsupported(kind, f"{path}.content[{index}].type", allowed)


TOOL = record(
    {
        "type": one_of("function"),
        "name": text(TOOL_NAME_LETTERS_MAX, at_least=1),
        "description": text(),
        "parameters": mapping(anything),
    },
    ("type", "name"),
)
NAMED = record({"name": text(at_least=1)}, ("name",))
TOOL_CHOICE = object_or(
    record({"type": one_of("function"), "function": NAMED, "name": text(at_least=1)}, ("type",)),
    one_of("none", "auto", "required"),
)


def _modalities(value: Any, path: str) -> list[str]:
    """Text, or text and audio in any order: audio never comes alone."""
    words: list[str] = array(one_of("text", "audio"))(value, path)
    if set(words) not in ({"text"}, {"text", "audio"}):
        message = f"Invalid modalities: {words}. Supported combinations are: ['text'] and ['audio', 'text']."
        raise Refusal("invalid_value", message, path)
    return words


def _event(name: str, inner: Check, required: tuple[str, ...] = ()) -> Check:
    return record({"type": text(), "event_id": EVENT_ID, name: inner}, ("type", *required))


def _list(value: Any, name: str) -> list[Any]:
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, list) else []
