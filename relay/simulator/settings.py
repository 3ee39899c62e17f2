"""The session object: what a connection starts with, and how an update changes it.

An update changes the fields it contains and nothing else. `audio.input` and `audio.output` are merged field by field;
everything below (turn detection, transcription, tools, ...) is replaced as a whole, gaps filled with defaults, because
the provider does not document how deep it merges.

The defaults are the provider's, not relay's: silence_duration_ms is 200 although the documentation says 500, so that a
client which forgets to set it is found out.
"""

from __future__ import annotations

from typing import Any

from relay.simulator.checks import Refusal
from relay.simulator.pcm import PCM
from relay.simulator.terms import Terms

Settings = dict[str, Any]

INSTRUCTIONS = "You are a simulator. Repeat what you hear; speak what you read."
SERVER_VAD: Settings = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 200,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
SEMANTIC_VAD: Settings = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
# For these null is a value of its own; for all others it means "leave it alone".
CLEARED_BY_NULL = {"include", "prompt", "reasoning", "tracing", "noise_reduction", "transcription", "turn_detection"}
DEFAULTS = {
    "turn_detection": {"server_vad": SERVER_VAD, "semantic_vad": SEMANTIC_VAD},
    "format": {"audio/pcm": PCM, "audio/pcmu": {"type": "audio/pcmu"}, "audio/pcma": {"type": "audio/pcma"}},
}


def initial(session_id: str, model: str, expires_at_unix_s: int, terms: Terms) -> Settings:
    """The session as `session.created` shows it."""
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": INSTRUCTIONS,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_output_tokens": "inf",
        "reasoning": None,
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "include": None,
        "expires_at": expires_at_unix_s,
        "audio": {
            "input": {
                "format": terms.input_format,
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": SERVER_VAD,
            },
            "output": {"format": terms.output_format, "voice": terms.voice, "speed": 1.0},
        },
    }


def updated(current: Settings, update: Settings, *, has_spoken: bool) -> Settings:
    """A new session object; `update` has passed the schema. Refusal for what may not change (any more)."""
    _check_kind(update)
    _check_modalities(update)
    _check_fixed(current, update, has_spoken=has_spoken)
    audio = update.get("audio") or {}
    new = _merged(current, {name: value for name, value in update.items() if name != "audio"})
    new["audio"] = {side: _merged(current["audio"][side], audio.get(side) or {}) for side in ("input", "output")}
    _check_transcription(new["audio"]["input"])
    return new


def response_settings(session: Settings, params: Settings, *, has_spoken: bool) -> Settings:
    """The session's settings as one `response.create` overrides them."""
    _check_modalities(params, path="response")
    output = (params.get("audio") or {}).get("output") or {}
    _check_voice(session["audio"]["output"]["voice"], output.get("voice"), has_spoken, "response.audio.output.voice")
    names = ("output_modalities", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens")
    chosen = {name: session[name] if params.get(name) is None else params[name] for name in names}
    return chosen | {
        "output": _merged(session["audio"]["output"], output),
        "metadata": params.get("metadata"),
        "in_conversation": params.get("conversation") != "none",
        "input": params.get("input"),
        "own_instructions": params.get("instructions"),
    }


def _merged(current: Settings, changes: Settings) -> Settings:
    kept = {name: value for name, value in changes.items() if value is not None or name in CLEARED_BY_NULL}
    return current | {name: _filled(name, value) for name, value in kept.items()}


def _filled(name: str, value: Any) -> Any:
    if value is None or name not in DEFAULTS:
        return value
    given = {key: inner for key, inner in value.items() if inner is not None}
    return DEFAULTS[name][value["type"]] | given


def _check_kind(update: Settings) -> None:
    if update["type"] == "transcription":
        message = "Passing a transcription session update event to a realtime session is not allowed."
        raise Refusal("invalid_value", message, "session.type")


def _check_modalities(update: Settings, path: str = "session") -> None:
    if update.get("output_modalities") == []:
        message = f"Invalid modalities: []. Supported combinations are: {['text']} and {['audio']}."
        raise Refusal("invalid_value", message, f"{path}.output_modalities")


def _check_fixed(current: Settings, update: Settings, *, has_spoken: bool) -> None:
    if update.get("model") not in (None, current["model"]):
        message = f"The model of a session cannot be changed: it is '{current['model']}'."
        raise Refusal("invalid_value", message, "session.model")
    if current["tracing"] is not None and "tracing" in update and update["tracing"] != current["tracing"]:
        raise Refusal("invalid_value", "Tracing cannot be changed once it is set.", "session.tracing")
    voice = ((update.get("audio") or {}).get("output") or {}).get("voice")
    _check_voice(current["audio"]["output"]["voice"], voice, has_spoken, "session.audio.output.voice")


def _check_voice(current: Any, wanted: Any, has_spoken: bool, path: str) -> None:
    if has_spoken and wanted not in (None, current):
        message = "Cannot update a conversation's voice if assistant audio is present."
        raise Refusal("cannot_update_voice", message, path)


def _check_transcription(audio_input: Settings) -> None:
    """gpt-realtime-whisper works on audio that the client commits, and takes no prompt; `delay` is its own."""
    transcription = audio_input["transcription"] or {}
    path = "session.audio.input.transcription"
    is_whisper = transcription.get("model") == "gpt-realtime-whisper"
    if is_whisper and audio_input["turn_detection"] is not None:
        raise Refusal("invalid_value", "'gpt-realtime-whisper' needs turn_detection to be null.", f"{path}.model")
    if is_whisper and transcription.get("prompt") is not None:
        raise Refusal("invalid_value", "'gpt-realtime-whisper' takes no prompt.", f"{path}.prompt")
    if not is_whisper and transcription.get("delay") is not None:
        raise Refusal("invalid_value", "Only 'gpt-realtime-whisper' takes a delay.", f"{path}.delay")
