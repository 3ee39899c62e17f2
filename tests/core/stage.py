"""A conversation in which every client event has something to be about: item "i" with audio, call "c", a turn."""

from __future__ import annotations

import base64
import json
from typing import Any

from relay.core.openai_json import OpenAIJson

RESPONSE = {"id": "resp_1", "status": "in_progress"}
ANSWER = {"id": "i", "type": "message", "role": "assistant", "status": "in_progress"}
CALL = {"id": "f", "type": "function_call", "call_id": "c", "name": "n", "status": "completed"}


def set_stage(client: OpenAIJson, *, responding: bool) -> OpenAIJson:
    """Let the client hear and say what makes events about "i", "c" and a turn's audio right; return it."""
    _hear(client, "response.created", response=RESPONSE)
    _hear(client, "conversation.item.added", item=ANSWER)
    _hear(client, "response.output_audio.delta", item_id="i", response_id="resp_1", delta=_audio(1_000))
    _hear(client, "conversation.item.added", item=CALL)
    if not responding:
        _hear(client, "response.done", response={**RESPONSE, "status": "completed"})
    client.message(json.dumps({"type": "input_audio_buffer.append", "audio": _audio(100)}), 0.0)
    return client


def _hear(client: OpenAIJson, kind: str, **fields: Any) -> None:
    client.event(json.dumps({"type": kind, "event_id": "e", **fields}), 0.0)


def _audio(ms: int) -> str:
    return base64.b64encode(bytes(48 * ms)).decode()
