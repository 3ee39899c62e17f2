from __future__ import annotations

import json
from typing import Any

import pytest

from relay.core import public


@pytest.mark.parametrize("kind", ["session.created", "session.updated"])
def test_session_events_reach_the_browser_without_what_the_operator_configured(kind: str) -> None:
    transcription = {"model": "t", "language": "en", "prompt": "CANARY", "keywords": ["CANARY"]}
    hearing = {"format": {"type": "audio/pcm"}, "transcription": transcription, "turn_detection": None}
    session = {
        "id": "s",
        "model": "m",
        "audio": {"input": hearing, "output": {"voice": "v"}},
        "instructions": "CANARY",
        "tools": [{"name": "CANARY"}],
        "tool_choice": {"name": "CANARY"},
        "prompt": {"id": "CANARY"},
        "tracing": {"metadata": "CANARY"},
        "new": "CANARY",
    }
    event = json.loads(public.public_event(kind, json.dumps({"type": kind, "event_id": "e", "session": session})))
    audio = {"input": {**hearing, "transcription": {"model": "t", "language": "en"}}, "output": {"voice": "v"}}
    assert event == {"type": kind, "event_id": "e", "session": {"id": "s", "model": "m", "audio": audio}}


@pytest.mark.parametrize("session", ["CANARY", ["CANARY"], 7, None])
def test_a_session_that_is_no_object_is_not_shown(session: Any) -> None:
    text = public.public_event("session.updated", json.dumps({"type": "session.updated", "session": session}))
    assert json.loads(text)["session"] is None


@pytest.mark.parametrize("audio", [None, {}, {"input": None}, {"input": {"transcription": None}}])
def test_an_audio_without_transcription_is_shown_as_it_is(audio: Any) -> None:
    assert public.public_session({"audio": audio}) == {"audio": audio}


def test_other_events_pass_as_they_came() -> None:
    text = '{"type": "x",  "instructions": 1}'
    assert public.public_event("x", text) is text


SYSTEM = {"id": "i", "type": "message", "role": "system", "content": [{"type": "input_text", "text": "CANARY"}]}
MCP_TOOLS = {"id": "i", "type": "mcp_list_tools", "server_label": "s", "tools": [{"name": "CANARY"}]}
USER = {"id": "i", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}


@pytest.mark.parametrize(
    "kind",
    [f"conversation.item.{end}" for end in ("added", "created", "done", "retrieved")]
    + [f"response.output_item.{end}" for end in ("added", "done")],
)
@pytest.mark.parametrize(("item", "hidden"), [(SYSTEM, "content"), (MCP_TOOLS, "tools")])
def test_of_the_operators_items_a_browser_hears_that_they_are_there(
    kind: str, item: dict[str, Any], hidden: str
) -> None:
    event = {"type": kind, "event_id": "e", "previous_item_id": "p", "item": item}
    shown = json.loads(public.public_event(kind, json.dumps(event)))
    assert shown == {**event, "item": {**item, hidden: []}}


@pytest.mark.parametrize("kind", ["response.created", "response.done"])
def test_a_response_that_repeats_the_session_is_shown_without_it(kind: str) -> None:
    response: dict[str, Any] = {"id": "r", "status": "completed", "output": [USER], "usage": None}
    told = {**response, "output": [USER, SYSTEM], "instructions": "CANARY", "tools": [{"name": "CANARY"}]}
    told |= {"prompt": {"id": "CANARY"}, "tool_choice": {"name": "CANARY"}}
    shown = json.loads(public.public_event(kind, json.dumps({"type": kind, "response": told})))
    assert shown == {"type": kind, "response": {**response, "output": [USER, {**SYSTEM, "content": []}]}}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "conversation.item.added", "item": USER},
        {"type": "conversation.item.added", "item": {**USER, "role": ["system"]}},
        {"type": "conversation.item.added", "item": None},
        {"type": "conversation.item.added"},
        {"type": "response.done", "response": {"id": "r", "output": [USER, None]}},
        {"type": "response.done", "response": {"output": None}},
        {"type": "response.done", "response": None},
    ],
)
def test_responses_and_items_with_nothing_to_hide_pass_as_they_came(event: dict[str, Any]) -> None:
    text = json.dumps(event, indent=1)
    assert public.public_event(event["type"], text) is text
