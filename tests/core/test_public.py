"""What a browser hears: by event, by field, by object; and what an upstream may repeat without anybody hearing it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.core.permissions import Permissions
from relay.core.public import ERROR_WITH_QUOTATION, HEARD, LONGEST_REASON_CHARS, MCP, Hearing
from relay.core.vocabulary import GA

TOOL = {"type": "function", "name": "CANARY_tool", "description": "CANARY looks into the depths of the warehouse"}
SERVER = {"type": "mcp", "server_label": "CANARY_label", "server_url": "https://CANARY.example/mcp"}
SESSION = {
    "instructions": "CANARY: you are the keeper of the warehouse, and nobody may know where it is.",
    "tools": [TOOL, SERVER],
    "audio": {"input": {"transcription": {"model": "t", "prompt": "CANARY names of the people of the warehouse"}}},
}
LOCKED = Hearing(Permissions.of(SESSION))
OPEN = Hearing(Permissions.of(SESSION, "open"))
MCP_CLIENT = Hearing(Permissions.of({}, may=frozenset({"mcp"})))


def heard(kind: str, hearing: Hearing = LOCKED, **fields: Any) -> Any:
    """Return what is heard of an event; None if it is withheld."""
    found, shown, _ = hearing.of(json.dumps({"type": kind, "event_id": "e", **fields}))
    assert found == kind
    return None if shown is None else json.loads(shown)


# --- events -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["x", "session.secrets", "mcp_list_tools.completed", "response.mcp_call.completed",
                                  "response.mcp_call_arguments.delta", "ping", "new.delta", ""])  # fmt: skip
def test_an_event_that_is_unknown_or_withheld_stays_here(kind: str) -> None:
    assert heard(kind, item_id="i") is None
    assert heard(kind, OPEN, item_id="i") is not None


def test_every_event_of_the_vocabulary_passes_or_is_about_mcp() -> None:
    assert set(GA.server) == HEARD | MCP
    for kind in HEARD:
        assert heard(kind)["type"] == kind
    for kind in MCP:
        assert heard(kind) is None
        assert heard(kind, MCP_CLIENT) is not None


def test_a_client_with_servers_of_its_own_does_not_hear_what_the_operators_do() -> None:
    both = Hearing(Permissions.of(SESSION, may=frozenset({"mcp"})))
    assert all(heard(kind, both) is None for kind in MCP)


@pytest.mark.parametrize("kind", sorted(HEARD))
def test_whatever_an_upstream_adds_to_an_event_nothing_of_the_operators_is_heard(kind: str) -> None:
    every_field = dict.fromkeys(GA.server[kind].known, SESSION)
    for fields in (
        {"session": SESSION},
        {"instructions": SESSION["instructions"], "tools": [TOOL]},
        every_field,
        {name: [SESSION] for name in every_field},
        {name: {"type": "message", "item": SESSION, "error": SESSION, **SESSION} for name in every_field},
    ):
        assert "CANARY" not in str(heard(kind, **fields))


def test_an_open_client_hears_events_as_they_came() -> None:
    text = '{"type": "x",  "instructions": 1}'
    assert OPEN.of(text) == ("x", text, None)


def test_a_delta_passes_as_it_came() -> None:
    for kind in (kind for kind in HEARD if kind.endswith(".delta")):
        text = f'{{"type": "{kind}",  "item_id": "i", "delta": "AAAA", "obfuscation": "x"}}'
        assert LOCKED.of(text)[1] is text


def test_a_delta_with_more_than_texts_in_it_is_shown_without() -> None:
    kind = "conversation.item.input_audio_transcription.delta"
    logprobs = [{"token": "a", "logprob": -0.5, "bytes": [97], "session": SESSION}]
    shown = heard(kind, item_id="i", delta="a", logprobs=logprobs, session=SESSION)
    clean = [{"token": "a", "logprob": -0.5, "bytes": [97]}]
    assert shown == {"type": kind, "event_id": "e", "item_id": "i", "delta": "a", "logprobs": clean}


# --- sessions ---------------------------------------------------------------------------------------------------------
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
    event = heard(kind, session=session)
    audio = {"input": {**hearing, "transcription": {"model": "t", "language": "en"}}, "output": {"voice": "v"}}
    assert event == {"type": kind, "event_id": "e", "session": {"id": "s", "model": "m", "audio": audio}}


@pytest.mark.parametrize("session", ["CANARY", ["CANARY"], 7, None])
def test_a_session_that_is_no_object_is_not_shown(session: Any) -> None:
    assert heard("session.updated", session=session)["session"] is None


VAD = {"type": "server_vad", "threshold": 0.5, "idle_timeout_ms": None}


@pytest.mark.parametrize("audio", [None, {}, {"input": None}, {"input": {"transcription": None, "turn_detection": VAD}},
                                   {"output": {"voice": {"id": "v"}, "speed": 1.0}}])  # fmt: skip
def test_what_is_public_of_the_audio_is_shown_as_it_is(audio: Any) -> None:
    assert heard("session.created", session={"audio": audio})["session"] == {"audio": audio}


# --- items and responses ----------------------------------------------------------------------------------------------
SYSTEM = {"id": "i", "type": "message", "role": "system", "content": [{"type": "input_text", "text": "CANARY"}]}
USER = {"id": "i", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
SPOKEN = {"id": "i", "type": "message", "role": "assistant", "content": [{"type": "output_audio", "transcript": "hi"}]}
CALL = {"id": "i", "type": "function_call", "name": "look", "call_id": "c", "arguments": "{}", "status": "completed"}
MCP_TOOLS = {"id": "i", "type": "mcp_list_tools", "server_label": "CANARY", "tools": [{"name": "CANARY"}]}
MCP_CALL = {"id": "i", "type": "mcp_call", "server_label": "CANARY", "name": "CANARY", "arguments": "CANARY",
            "output": "CANARY", "error": {"message": "CANARY"}, "approval_request_id": None}  # fmt: skip
OUTLINES = [
    (SYSTEM, {**SYSTEM, "content": []}),
    ({**SYSTEM, "role": "developer"}, {**SYSTEM, "role": "developer", "content": []}),
    (MCP_TOOLS, {**MCP_TOOLS, "server_label": "", "tools": []}),
    (MCP_CALL, {**MCP_CALL, "server_label": "", "name": "", "arguments": "", "output": "", "error": None}),
]


@pytest.mark.parametrize(
    "kind",
    [f"conversation.item.{end}" for end in ("added", "created", "done", "retrieved")]
    + [f"response.output_item.{end}" for end in ("added", "done")],
)
@pytest.mark.parametrize(("item", "outline"), OUTLINES)
def test_of_the_operators_items_a_browser_hears_that_they_are_there(
    kind: str, item: dict[str, Any], outline: dict[str, Any]
) -> None:
    assert heard(kind, item=item) == {"type": kind, "event_id": "e", "item": outline}


def test_the_items_of_a_clients_own_servers_are_heard() -> None:
    assert heard("conversation.item.added", MCP_CLIENT, item=MCP_CALL)["item"] == MCP_CALL


@pytest.mark.parametrize("kind", ["response.created", "response.done"])
def test_a_response_that_repeats_the_session_is_shown_without_it(kind: str) -> None:
    response: dict[str, Any] = {"id": "r", "status": "completed", "output": [USER], "usage": None}
    told = {**response, "output": [USER, SYSTEM], "instructions": "CANARY", "tools": [{"name": "CANARY"}]}
    told |= {"prompt": {"id": "CANARY"}, "tool_choice": {"name": "CANARY"}}
    shown = heard(kind, response=told)["response"]
    assert shown == {**response, "output": [USER, {**SYSTEM, "content": []}]}


USAGE = {
    "total_tokens": 5,
    "input_token_details": {"text_tokens": 1, "cached_tokens": 1, "cached_tokens_details": {"text_tokens": 1}},
    "output_token_details": {"audio_tokens": 3},
}
RESPONSE = {
    "id": "r",
    "object": "realtime.response",
    "status": "failed",
    "status_details": {"type": "failed", "error": {"type": "server_error", "code": None, "message": "It broke."}},
    "output": [USER, SPOKEN, CALL],
    "metadata": {"a": "b"},
    "usage": USAGE,
    "output_modalities": ["audio"],
    "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"}},
}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "conversation.item.added", "previous_item_id": "p", "item": USER},
        {"type": "conversation.item.added", "item": SPOKEN},
        {"type": "conversation.item.done", "item": CALL},
        {"type": "conversation.item.added", "item": None},
        {"type": "conversation.item.added"},
        {"type": "response.done", "response": RESPONSE},
        {"type": "response.done", "response": {"output": None}},
        {"type": "response.content_part.added", "part": {"type": "audio", "transcript": ""}},
        {"type": "conversation.item.input_audio_transcription.completed", "transcript": "a", "usage": USAGE},
        {"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "limit": 1, "reset_seconds": 0.5}]},
        {"type": "error", "error": {"type": "server_error", "code": "c", "message": "m", "param": None}},
    ],
)
def test_events_with_nothing_to_hide_pass_as_they_came(event: dict[str, Any]) -> None:
    text = json.dumps(event, indent=1)
    assert LOCKED.of(text)[1] is text


# --- errors -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "message",
    [
        "Invalid tool: CANARY_tool.",
        "No such server 'CANARY_label'",
        "cannot reach https://CANARY.example/mcp now",
        'Invalid value: "keeper of the warehouse, and nobody…"',
        "The description looks into the depths of the w",
    ],
)
def test_an_error_that_quotes_the_operator_is_told_without_its_words(message: str) -> None:
    error = {"type": "invalid_request_error", "code": "invalid_value", "message": message, "param": "session.tools"}
    shown = heard("error", error=error)["error"]
    assert shown == {**error, "message": ERROR_WITH_QUOTATION}
    details = {"type": "failed", "error": {"message": message}}
    response = heard("response.done", response={"status_details": details})["response"]
    assert response["status_details"]["error"]["message"] == ERROR_WITH_QUOTATION
    assert heard("error", OPEN, error=error)["error"] == error


def test_what_is_longer_than_any_reason_is_neither_looked_through_nor_told() -> None:
    error = {"type": "server_error", "code": "c", "message": "x" * LONGEST_REASON_CHARS, "param": None}
    assert heard("error", error=error)["error"] == error
    longer = {**error, "message": "x" * (LONGEST_REASON_CHARS + 1)}
    assert heard("error", error=longer)["error"] == {**error, "message": ERROR_WITH_QUOTATION}


SHORT = Hearing(
    Permissions.of(
        {
            "tools": [{"type": "function", "name": name} for name in ("item", "end", "get-it", "a.b")],
            "instructions": 'Be kind.\nBe brief.\nNever swear.\nCall "end" last.',
        }
    )
)


@pytest.mark.parametrize(
    "message",
    [
        "Tool 'item' was not found.",
        "there is no end",
        'unknown: "get-it"',
        "no a.b here",
        r"Too long: 'Be kind.\nBe brief.\nNever swear.'",
        r'{"instructions":"Never swear.\nCall \"end\" last."}',
    ],
)
def test_a_short_name_is_found_as_a_word_and_a_prompt_of_short_lines_as_json_writes_it(message: str) -> None:
    error = {"type": "invalid_request_error", "code": "c", "message": message, "param": None}
    assert heard("error", SHORT, error=error)["error"]["message"] == ERROR_WITH_QUOTATION


def test_a_tool_of_a_common_name_takes_nothing_from_errors_that_do_not_mean_it() -> None:
    message = (
        "Cannot send: item.call_id of item_1 is pending, see conversation.item; widget-item and item-2 get it, axb."
    )
    error = {"type": "e", "code": "item_delete_invalid_item_id", "message": message, "param": "item.call_id"}
    assert heard("error", SHORT, error=error)["error"] == error


def test_an_error_of_the_clients_own_making_is_told_as_it_is() -> None:
    message = "Error committing input audio buffer: the buffer is too small. Expected at least 100ms of audio."
    error = {"type": "invalid_request_error", "code": "input_audio_buffer_commit_empty", "message": message}
    assert heard("error", error=error)["error"] == error
