"""What the simulator accepts: every client event, field and value of the GA dialect, as tables.

Read it beside the API reference; the nested objects stand in the reference's order, smallest first. Who breaks one of
these tables gets a `Refusal`, worded by checks.py. Anything that is not here does not exist: a beta field is an
unknown parameter. Items of the conversation are in schema_items.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.simulator.checks import (
    Check,
    anything,
    array,
    boolean,
    exactly,
    integer,
    integer_or,
    mapping,
    nullable,
    number,
    object_or,
    one_of,
    record,
    tagged,
    text,
)
from relay.simulator.schema_items import ITEM, RESPONSE_INPUT

MODELS = (
    "gpt-realtime",
    "gpt-realtime-1.5",
    "gpt-realtime-2",
    "gpt-realtime-2.1",
    "gpt-realtime-2.1-mini",
    "gpt-realtime-2025-08-28",
    "gpt-realtime-mini",
    "gpt-realtime-mini-2025-10-06",
    "gpt-realtime-mini-2025-12-15",
)
VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
TRANSCRIPTION_MODELS = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-live-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe",
    "gpt-4o-transcribe-diarize",
    "gpt-realtime-whisper",
)
CONNECTORS = (
    "connector_dropbox",
    "connector_gmail",
    "connector_googlecalendar",
    "connector_googledrive",
    "connector_microsoftteams",
    "connector_outlookcalendar",
    "connector_outlookemail",
    "connector_sharepoint",
)
TOKENS_MAX = 32_000
EVENT_ID_LETTERS_MAX = 512
TOOL_NAME_LETTERS_MAX = 64
TOOLS_MAX = 128
INPUT_ITEMS_MAX = 128
METADATA_PAIRS_MAX, METADATA_KEY_MAX, METADATA_VALUE_MAX = 16, 64, 512

# --- audio ------------------------------------------------------------------------------------------------------------
NOISE_REDUCTION = record({"type": one_of("near_field", "far_field"), "strength": number(0, 1)})
TURN_DETECTION = tagged(
    "type",
    {
        "server_vad": record(
            {
                "type": text(),
                "create_response": boolean,
                "idle_timeout_ms": integer(5_000, 30_000),
                "interrupt_response": boolean,
                "prefix_padding_ms": integer(0, 10_000),
                "silence_duration_ms": integer(0, 60_000),
                "threshold": number(0, 1),
            },
            ("type",),
        ),
        "semantic_vad": record(
            {
                "type": text(),
                "create_response": boolean,
                "eagerness": one_of("low", "medium", "high", "auto"),
                "interrupt_response": boolean,
            },
            ("type",),
        ),
    },
)
# --- tools, prompts and the rest of a session -------------------------------------------------------------------------
TOOL_FILTER = record({"read_only": boolean, "tool_names": array(text())})
TOOL = tagged(
    "type",
    {
        "function": record(
            {
                "type": text(),
                "name": text(TOOL_NAME_LETTERS_MAX, at_least=1),
                "description": text(),
                "parameters": mapping(anything),
            },
            ("type", "name"),
        ),
        "mcp": record(
            {
                "type": text(),
                "server_label": text(at_least=1),
                "allowed_callers": array(one_of("direct", "programmatic")),
                "allowed_tools": object_or(TOOL_FILTER, array(text())),
                "authorization": text(),
                "connector_id": one_of(*CONNECTORS),
                "defer_loading": boolean,
                "headers": mapping(text()),
                "require_approval": object_or(
                    record({"always": TOOL_FILTER, "never": TOOL_FILTER}), one_of("always", "never")
                ),
                "server_description": text(),
                "server_url": text(),
                "tunnel_id": text(),
            },
            ("type", "server_label"),
        ),
    },
)
TOOL_CHOICE = object_or(
    tagged(
        "type",
        {
            "function": record({"type": text(), "name": text(at_least=1)}, ("type", "name")),
            "mcp": record({"type": text(), "server_label": text(), "name": text()}, ("type", "server_label")),
        },
    ),
    one_of("none", "auto", "required"),
)
CACHE_BREAKPOINT = record({"mode": one_of("explicit"), "ttl": one_of("30m", "12h")}, ("mode",))
IMAGE_OR_FILE = {"file_id": text(), "prompt_cache_breakpoint": CACHE_BREAKPOINT, "type": text()}
PROMPT_VARIABLE = object_or(
    tagged(
        "type",
        {
            "input_text": record(
                {"type": text(), "text": text(), "prompt_cache_breakpoint": CACHE_BREAKPOINT}, ("type", "text")
            ),
            "input_image": record(
                IMAGE_OR_FILE | {"detail": one_of("low", "high", "auto", "original"), "image_url": text()},
                ("type", "detail"),
            ),
            "input_file": record(
                IMAGE_OR_FILE
                | {
                    "detail": one_of("auto", "low", "high"),
                    "file_data": text(),
                    "file_url": text(),
                    "filename": text(),
                },
                ("type",),
            ),
        },
    ),
    text(),
)
PROMPT = record({"id": text(at_least=1), "variables": mapping(PROMPT_VARIABLE), "version": text()}, ("id",))
REASONING = record({"effort": one_of("minimal", "low", "medium", "high", "xhigh")})
TRACING = object_or(
    record({"group_id": text(), "metadata": mapping(anything), "workflow_name": text()}), one_of("auto")
)
TRUNCATION = object_or(
    tagged(
        "type",
        {
            "retention_ratio": record(
                {
                    "type": text(),
                    "retention_ratio": number(0, 1),
                    "token_limits": record({"post_instructions": integer(0)}),
                },
                ("type", "retention_ratio"),
            )
        },
    ),
    one_of("auto", "disabled"),
)
MODALITIES = array(one_of("text", "audio"), at_most=1)
SHARED_WITH_RESPONSES: dict[str, Check] = {
    "instructions": text(),
    "max_output_tokens": integer_or("inf", 1, TOKENS_MAX),
    "output_modalities": MODALITIES,
    "parallel_tool_calls": boolean,
    "prompt": PROMPT,
    "reasoning": REASONING,
    "tool_choice": TOOL_CHOICE,
    "tools": array(TOOL, TOOLS_MAX),
}
OTHER_SETTINGS: dict[str, Check] = {
    "include": array(one_of("item.input_audio_transcription.logprobs")),
    "model": text(),
    "tracing": TRACING,
    "truncation": TRUNCATION,
}

# --- client events ----------------------------------------------------------------------------------------------------
EVENT_ID = text(EVENT_ID_LETTERS_MAX)


def _event(required: dict[str, Check] | None = None, **optional: Check) -> Check:
    required = required or {}
    return record({"type": text(), "event_id": EVENT_ID, **required, **optional}, ("type", *required))


OPENAI_RATE, OPENAI_VOICE = exactly(24_000), one_of(*VOICES)
OPENAI_TRANSCRIPTION = one_of(*TRANSCRIPTION_MODELS)


@dataclass(frozen=True, slots=True)
class Values:
    """The values in which services that speak GA differ: OpenAI's, unless said otherwise."""

    pcm_rate_hz: Check = OPENAI_RATE
    voice: Check = OPENAI_VOICE
    transcription_model: Check = OPENAI_TRANSCRIPTION

    @property
    def format(self) -> Check:
        """How audio is written on the wire."""
        kinds = {
            "audio/pcm": record({"type": text(), "rate": self.pcm_rate_hz}, ("type",)),
            "audio/pcmu": record({"type": text()}, ("type",)),
            "audio/pcma": record({"type": text()}, ("type",)),
        }
        return tagged("type", kinds)

    @property
    def any_voice(self) -> Check:
        """A voice of the service's, or one that was made for the customer."""
        return object_or(record({"id": text(at_least=1)}, ("id",)), self.voice)

    @property
    def transcription(self) -> Check:
        """How what the user says is written down."""
        return record(
            {
                "delay": one_of("minimal", "low", "medium", "high", "xhigh"),
                "keywords": array(text()),
                "language": text(),
                "languages": array(text()),
                "model": self.transcription_model,
                "prompt": text(),
            }
        )


def client_events(values: Values) -> dict[str, Check]:
    """Every client event of GA, by its type."""
    return {
        "session.update": _event({"session": session(values)}),
        "input_audio_buffer.append": _event({"audio": text()}),
        "input_audio_buffer.commit": _event(),
        "input_audio_buffer.clear": _event(),
        "conversation.item.create": _event({"item": ITEM}, previous_item_id=nullable(text())),
        "conversation.item.truncate": _event(
            {"item_id": text(), "content_index": integer(), "audio_end_ms": integer()}
        ),
        "conversation.item.delete": _event({"item_id": text()}),
        "conversation.item.retrieve": _event({"item_id": text()}),
        "response.create": _event(response=response(values)),
        "response.cancel": _event(response_id=text()),
    }


def session(values: Values) -> Check:
    """A `session.update`'s session."""
    heard = {
        "format": values.format,
        "noise_reduction": NOISE_REDUCTION,
        "transcription": values.transcription,
        "turn_detection": TURN_DETECTION,
    }
    said = {"format": values.format, "speed": number(0.25, 1.5), "voice": values.any_voice}
    audio = record({"input": record(heard), "output": record(said)})
    fields = SHARED_WITH_RESPONSES | OTHER_SETTINGS
    return record(fields | {"type": one_of("realtime", "transcription"), "audio": audio}, ("type",))


def response(values: Values) -> Check:
    """A `response.create`'s response."""
    said = record({"format": values.format, "voice": values.any_voice})
    fields = {
        "audio": record({"output": said}),
        "conversation": one_of("auto", "none"),
        "input": array(RESPONSE_INPUT, INPUT_ITEMS_MAX),
        "metadata": mapping(text(METADATA_VALUE_MAX), METADATA_PAIRS_MAX, METADATA_KEY_MAX),
    }
    return record(SHARED_WITH_RESPONSES | fields)


CLIENT_EVENTS = client_events(Values())
