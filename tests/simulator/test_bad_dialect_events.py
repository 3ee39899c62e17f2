"""Broken events in the dialects of all services: refused, and nothing else is lost by it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulator.caller import Caller
from tests.simulator.client import kinds

PART = {"type": "input_text", "text": "hello"}
MESSAGE = {"type": "message", "role": "user", "content": [PART]}
FUNCTION = {"type": "function", "name": "tool", "parameters": {"type": "object"}}
DETECTION = {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 300}
FLAT = {"modalities": ["text"], "voice": "a", "tools": [FUNCTION], "tool_choice": {"type": "function", "name": "tool"}}
HYBRID = {
    "type": "realtime",
    "voice": "eve",
    "turn_detection": DETECTION,
    "tools": [FUNCTION, {"type": "web_search"}],
    "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}, "transcription": {"model": "m"}}},
    "resumption": {"enabled": True},
    "replace": {"a": "b"},
}
GOOD: dict[str, list[dict[str, Any]]] = {
    "qwen": [
        {"type": "session.update", "session": FLAT | {"turn_detection": DETECTION, "input_audio_format": "pcm"}},
        {"type": "response.create", "response": FLAT | {"input": [MESSAGE], "output_audio_format": "pcm24"}},
        {"type": "conversation.item.create", "item": MESSAGE},
        {"type": "input_image_buffer.append", "image": ""},
    ],
    "speaches": [{"type": "session.update", "session": FLAT | {"input_audio_format": "pcm16"}}],
    "xai": [{"type": "session.update", "session": HYBRID}],
    "localai": [{"type": "session.update", "session": {"type": "realtime", "modalities": ["text", "audio"]}}],
}
BAD: tuple[Any, ...] = (
    None,
    True,
    7,
    -1e308,
    "",
    "x" * 4_000,
    [],
    [None],
    [[]],
    {},
    {"type": []},
    {"content": [None, {"type": {}}]},
)


def broken(value: Any) -> list[Any]:
    """The value with one place in it, at any depth, exchanged for each bad one."""
    if isinstance(value, dict):
        inner: list[Any] = [value | {name: bad} for name, each in value.items() for bad in broken(each)]
    elif isinstance(value, list):
        inner = [[*value[:at], bad, *value[at + 1 :]] for at, each in enumerate(value) for bad in broken(each)]
    else:
        inner = []
    return [*inner, *BAD]


@pytest.mark.parametrize("profile", GOOD)
def test_no_broken_event_ends_a_session(profile: str) -> None:
    for good in GOOD[profile]:
        client = Caller(profile)
        assert "error" not in kinds(client.send_raw(json.dumps(good))[-1:])
        for bad in broken(good):
            client.send_raw(json.dumps(bad))
            client.forget()
        client.wait(10)
        client.send("input_audio_buffer.clear")
        assert client.events[-1]["type"] == "input_audio_buffer.cleared"
