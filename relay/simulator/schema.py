"""What the simulator accepts: every client event, field and value of the GA dialect, as tables.

Read it beside the API reference; the nested objects stand in the reference's order, smallest first. Who breaks one of
these tables gets a `Refusal`, worded by checks.py. Anything that is not here does not exist: a beta field is an
unknown parameter.
"""

from __future__ import annotations

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
AUDIO_FORMAT = tagged(
    "type",
    {
        "audio/pcm": record({"type": text(), "rate": exactly(24_000)}, ("type",)),
        "audio/pcmu": record({"type": text()}, ("type",)),
        "audio/pcma": record({"type": text()}, ("type",)),
    },
)
NOISE_REDUCTION = record({"type": one_of("near_field", "far_field"), "strength": number(0, 1)})
TRANSCRIPTION = record(
    {
        "delay": one_of("minimal", "low", "medium", "high", "xhigh"),
        "keywords": array(text()),
        "language": text(),
        "languages": array(text()),
        "model": one_of(*TRANSCRIPTION_MODELS),
        "prompt": text(),
    }
)
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
VOICE = object_or(record({"id": text(at_least=1)}, ("id",)), one_of(*VOICES))
AUDIO = record(
    {
        "input": record(
            {
                "format": AUDIO_FORMAT,
                "noise_reduction": NOISE_REDUCTION,
                "transcription": TRANSCRIPTION,
                "turn_detection": TURN_DETECTION,
            }
        ),
        "output": record({"format": AUDIO_FORMAT, "speed": number(0.25, 1.5), "voice": VOICE}),
    }
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
SESSION = record(
    SHARED_WITH_RESPONSES
    | {
        "type": one_of("realtime", "transcription"),
        "audio": AUDIO,
        "include": array(one_of("item.input_audio_transcription.logprobs")),
        "model": text(),
        "tracing": TRACING,
        "truncation": TRUNCATION,
    },
    ("type",),
)

# --- conversation items -----------------------------------------------------------------------------------------------
ITEM_COMMON: dict[str, Check] = {
    "type": text(),
    "id": text(at_least=1),
    "object": one_of("realtime.item"),
    "status": one_of("completed", "incomplete", "in_progress"),
}
INPUT_TEXT = record({"type": text(), "text": text()}, ("type", "text"))
USER_CONTENT = tagged(
    "type",
    {
        "input_text": INPUT_TEXT,
        "input_audio": record({"type": text(), "audio": text(), "transcript": text()}, ("type", "audio")),
        "input_image": record(
            {"type": text(), "image_url": text(), "detail": one_of("auto", "low", "high")}, ("type", "image_url")
        ),
    },
)
ASSISTANT_CONTENT = tagged(
    "type",
    {
        "output_text": record({"type": text(), "text": text()}, ("type", "text")),
        "output_audio": record({"type": text(), "audio": text(), "transcript": text()}, ("type",)),
    },
)


def _message(content: Check) -> Check:
    return record(ITEM_COMMON | {"role": text(), "content": array(content)}, ("type", "role", "content"))


MESSAGE = tagged(
    "role",
    {
        "system": _message(tagged("type", {"input_text": INPUT_TEXT})),
        "user": _message(USER_CONTENT),
        "assistant": _message(ASSISTANT_CONTENT),
    },
)
MCP_COMMON: dict[str, Check] = {"type": text(), "id": text(at_least=1)}
MCP_TOOL = record(
    {"input_schema": anything, "name": text(), "annotations": anything, "description": text()}, ("input_schema", "name")
)
MCP_ERROR = tagged(
    "type",
    {
        "protocol_error": record({"type": text(), "code": integer(), "message": text()}, ("type", "code", "message")),
        "tool_execution_error": record({"type": text(), "message": text()}, ("type", "message")),
        "http_error": record({"type": text(), "code": integer(), "message": text()}, ("type", "code", "message")),
    },
)
ITEM_KINDS = {
    "message": MESSAGE,
    "function_call": record(
        ITEM_COMMON | {"name": text(), "arguments": text(), "call_id": text()}, ("type", "name", "arguments")
    ),
    "function_call_output": record(ITEM_COMMON | {"call_id": text(), "output": text()}, ("type", "call_id", "output")),
    "mcp_approval_request": record(
        MCP_COMMON | {"arguments": text(), "name": text(), "server_label": text()},
        ("type", "id", "arguments", "name", "server_label"),
    ),
    "mcp_approval_response": record(
        MCP_COMMON | {"approval_request_id": text(), "approve": boolean, "reason": text()},
        ("type", "id", "approval_request_id", "approve"),
    ),
    "mcp_call": record(
        MCP_COMMON
        | {
            "approval_request_id": text(),
            "arguments": text(),
            "error": MCP_ERROR,
            "name": text(),
            "output": text(),
            "server_label": text(),
        },
        ("type", "id", "arguments", "name", "server_label"),
    ),
    "mcp_list_tools": record(
        MCP_COMMON | {"server_label": text(), "tools": array(MCP_TOOL)}, ("type", "server_label", "tools")
    ),
}
ITEM = tagged("type", ITEM_KINDS)
RESPONSE_INPUT = tagged(
    "type", ITEM_KINDS | {"item_reference": record({"type": text(), "id": text(at_least=1)}, ("type", "id"))}
)
RESPONSE = record(
    SHARED_WITH_RESPONSES
    | {
        "audio": record({"output": record({"format": AUDIO_FORMAT, "voice": VOICE})}),
        "conversation": one_of("auto", "none"),
        "input": array(RESPONSE_INPUT, INPUT_ITEMS_MAX),
        "metadata": mapping(text(METADATA_VALUE_MAX), METADATA_PAIRS_MAX, METADATA_KEY_MAX),
    }
)

# --- client events ----------------------------------------------------------------------------------------------------
EVENT_ID = text(EVENT_ID_LETTERS_MAX)


def _event(required: dict[str, Check] | None = None, **optional: Check) -> Check:
    required = required or {}
    return record({"type": text(), "event_id": EVENT_ID, **required, **optional}, ("type", *required))


CLIENT_EVENTS: dict[str, Check] = {
    "session.update": _event({"session": SESSION}),
    "input_audio_buffer.append": _event({"audio": text()}),
    "input_audio_buffer.commit": _event(),
    "input_audio_buffer.clear": _event(),
    "conversation.item.create": _event({"item": ITEM}, previous_item_id=nullable(text())),
    "conversation.item.truncate": _event({"item_id": text(), "content_index": integer(), "audio_end_ms": integer()}),
    "conversation.item.delete": _event({"item_id": text()}),
    "conversation.item.retrieve": _event({"item_id": text()}),
    "response.create": _event(response=RESPONSE),
    "response.cancel": _event(response_id=text()),
}
