"""Translation between the dialects: each row of the mapping once by example, then there and back by property.

beta_traffic.json is a turn that was interrupted and an error, captured from OpenAI's beta in November 2024.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import dialect
from relay.core.vocabulary import BETA, GA

TRAFFIC = json.loads(Path(__file__).with_name("beta_traffic.json").read_text())
PCM = {"type": "audio/pcm", "rate": 24_000}
VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 200}
FUNCTION = {"type": "function", "name": "clock", "parameters": {}}

BETA_SESSION = {
    "modalities": ["text", "audio"],
    "instructions": "be brief",
    "voice": "verse",
    "input_audio_format": "pcm16",
    "output_audio_format": "g711_ulaw",
    "input_audio_transcription": {"model": "whisper-1", "language": "en"},
    "input_audio_noise_reduction": {"type": "near_field"},
    "turn_detection": VAD,
    "tools": [FUNCTION],
    "tool_choice": {"type": "function", "function": {"name": "clock"}},
    "max_response_output_tokens": 4096,
    "speed": 1.2,
    "model": "m",
    "tracing": "auto",
}
GA_SESSION = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": "be brief",
    "audio": {
        "input": {
            "format": PCM,
            "transcription": {"model": "whisper-1", "language": "en"},
            "noise_reduction": {"type": "near_field"},
            "turn_detection": VAD,
        },
        "output": {"voice": "verse", "format": {"type": "audio/pcmu"}, "speed": 1.2},
    },
    "tools": [FUNCTION],
    "tool_choice": {"type": "function", "name": "clock"},
    "max_output_tokens": 4096,
    "model": "m",
    "tracing": "auto",
}
ONLY_GA = {"truncation": "auto", "reasoning": None, "parallel_tool_calls": True, "prompt": None, "include": None}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "event_id": "e", **fields}


def hear_as_beta(*events: dict[str, Any]) -> list[dict[str, Any]]:
    server = dialect.ServerToBeta()
    return [told for each in events for told in server.to(each)]


def hear_as_ga(*events: dict[str, Any]) -> list[dict[str, Any]]:
    server = dialect.ServerToGa()
    return [told for each in events for told in server.to(each)]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [each["type"] for each in events]


# --- the session ------------------------------------------------------------------------------------------------------
def test_a_flat_session_becomes_a_nested_one() -> None:
    update = event("session.update", session={**BETA_SESSION, "temperature": 0.8, "client_secret": {}})
    assert dialect.client_to_ga(update) == [event("session.update", session=GA_SESSION)]


def test_a_nested_session_becomes_a_flat_one_without_what_beta_lacks() -> None:
    update = event("session.update", session={**GA_SESSION, **ONLY_GA})
    assert dialect.client_to_beta(update) == [event("session.update", session=BETA_SESSION)]


def test_an_update_stays_partial() -> None:
    update = event("session.update", session={"turn_detection": None})
    expected = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    assert dialect.client_to_ga(update)[0]["session"] == expected


@pytest.mark.parametrize(
    ("beta", "ga"),
    [
        ({"modalities": ["audio", "text"]}, {"output_modalities": ["audio"]}),
        ({"modalities": ["text"]}, {"output_modalities": ["text"]}),
        ({"input_audio_format": "g711_alaw"}, {"audio": {"input": {"format": {"type": "audio/pcma"}}}}),
        ({"input_audio_format": "flac"}, {"audio": {"input": {"format": "flac"}}}),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        ({"x_new": 1, "expires_at": 5, "object": "o"}, {"x_new": 1, "expires_at": 5, "object": "o"}),
    ],
)
def test_values_of_a_session_become_what_ga_calls_them(beta: dict[str, Any], ga: dict[str, Any]) -> None:
    assert dialect.client_to_ga(event("session.update", session=beta))[0]["session"] == {"type": "realtime", **ga}


@pytest.mark.parametrize(
    ("ga", "beta"),
    [
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}}, {"input_audio_format": "pcm16"}),
        ({"audio": {"input": {"turn_detection": {**VAD, "idle_timeout_ms": 6_000}}}}, {"turn_detection": VAD}),
        ({"audio": {"input": {"transcription": {"model": "w", "delay": "low", "keywords": ["a"], "languages": []}}}},
         {"input_audio_transcription": {"model": "w"}}),
        ({"audio": {"input": {"noise_reduction": {"type": "far_field", "strength": 1}}}},
         {"input_audio_noise_reduction": {"type": "far_field"}}),
        ({"audio": {"output": {"voice": {"id": "mine"}}}}, {}),
        ({"audio": {"output": {"transport": "binary"}}}, {"audio": {"output": {"transport": "binary"}}}),
        ({"tools": [FUNCTION, {"type": "mcp", "server_label": "s"}]}, {"tools": [FUNCTION]}),
        ({"tool_choice": {"type": "mcp", "server_label": "s"}}, {}),
    ],
)  # fmt: skip
def test_what_beta_cannot_say_of_a_session_is_left_out(ga: dict[str, Any], beta: dict[str, Any]) -> None:
    assert dialect.client_to_beta(event("session.update", session={"type": "realtime", **ga}))[0]["session"] == beta


def test_a_beta_client_is_told_a_temperature() -> None:
    told = hear_as_beta(event("session.updated", session={**GA_SESSION, "id": "sess_1"}))
    assert told == [event("session.updated", session={**BETA_SESSION, "id": "sess_1", "temperature": 0.8})]


def test_a_beta_session_begins_with_its_conversation() -> None:
    created = event("session.created", session={"type": "realtime", "id": "sess_1"})
    told = hear_as_beta(created)
    assert kinds(told) == ["session.created", "conversation.created"]
    assert told[1]["conversation"] == {"id": "conv_1", "object": "realtime.conversation"}
    assert told[1]["event_id"] not in ("", told[0]["event_id"])


@pytest.mark.parametrize("first", ["session.created", "conversation.created"])
def test_a_conversation_is_created_once_also_if_the_upstream_says_so_itself(first: str) -> None:
    both = [event("session.created", session={"id": "s"}), event("conversation.created", conversation={"id": "c"})]
    told = hear_as_beta(*(both if first == "session.created" else reversed(both)))
    assert kinds(told).count("conversation.created") == 1


def test_a_transcription_session_has_events_of_its_own_in_beta() -> None:
    flat = {"input_audio_format": "pcm16", "input_audio_transcription": {"model": "whisper-1"}, "turn_detection": None}
    audio = {"format": PCM, "transcription": {"model": "whisper-1"}, "turn_detection": None}
    nested = {"type": "transcription", "audio": {"input": audio}}
    update = event("transcription_session.update", session={**flat, "modalities": ["text"], "client_secret": {}})
    assert dialect.client_to_ga(update) == [event("session.update", session=nested)]
    assert dialect.client_to_beta(event("session.update", session=nested))[0]["type"] == "transcription_session.update"
    for kind in ("created", "updated"):
        told = event(f"transcription_session.{kind}", session=flat)
        assert hear_as_beta(event(f"session.{kind}", session=nested)) == [told]
        assert hear_as_ga(told) == [event(f"session.{kind}", session=nested)]


# --- responses and items ----------------------------------------------------------------------------------------------
def test_a_request_for_a_response_is_translated_with_the_items_in_it() -> None:
    said = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "a"}]}
    beta = {
        "modalities": ["text"],
        "voice": "ash",
        "output_audio_format": "pcm16",
        "max_response_output_tokens": 9,
        "temperature": 1,
        "conversation": "none",
        "metadata": {"a": "b"},
        "input": [said, {"type": "item_reference", "id": "i"}],
        "tool_choice": {"type": "function", "function": {"name": "clock"}},
    }
    ga = {
        "output_modalities": ["text"],
        "audio": {"output": {"voice": "ash", "format": PCM}},
        "max_output_tokens": 9,
        "conversation": "none",
        "metadata": {"a": "b"},
        "input": [{**said, "content": [{"type": "output_text", "text": "a"}]}, {"type": "item_reference", "id": "i"}],
        "tool_choice": {"type": "function", "name": "clock"},
    }
    assert dialect.client_to_ga(event("response.create", response=beta)) == [event("response.create", response=ga)]
    del beta["temperature"]
    assert dialect.client_to_beta(event("response.create", response=ga)) == [event("response.create", response=beta)]


def test_a_response_is_told_flat_with_its_output_and_usage() -> None:
    part = {"type": "output_audio", "transcript": "hi"}
    item = {"id": "i", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    details = {"text_tokens": 1, "audio_tokens": 2, "image_tokens": 0, "cached_tokens": 0}
    usage = {"total_tokens": 3, "input_token_details": details}
    ga = {
        "id": "r",
        "output_modalities": ["audio"],
        "audio": {"output": {"voice": "marin", "format": PCM}},
        "max_output_tokens": "inf",
        "output": [item, {"type": "mcp_call", "id": "m"}],
        "usage": usage,
    }
    told = hear_as_beta(event("response.done", response=ga))[0]["response"]
    assert told == {
        "id": "r",
        "modalities": ["text", "audio"],
        "voice": "marin",
        "output_audio_format": "pcm16",
        "max_output_tokens": "inf",
        "temperature": 0.8,
        "output": [{**item, "content": [{"type": "audio", "transcript": "hi"}]}],
        "usage": {"total_tokens": 3, "input_token_details": {"text_tokens": 1, "audio_tokens": 2, "cached_tokens": 0}},
    }


def test_what_the_person_said_keeps_its_name_and_an_image_is_left_out() -> None:
    content = [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "data:"}]
    item = {"type": "message", "role": "user", "content": content}
    create = event("conversation.item.create", item=item)
    assert dialect.client_to_ga(create) == [create]
    assert dialect.client_to_beta(create)[0]["item"]["content"] == content[:1]


def test_the_part_in_a_content_part_event_keeps_its_name() -> None:
    added = event("response.content_part.added", item_id="i", part={"type": "audio", "transcript": ""})
    assert hear_as_beta(added) == [added]
    assert hear_as_ga(added) == [added]


@pytest.mark.parametrize("item", [{"type": "mcp_approval_response", "id": "i"}, {"type": "mcp_call", "id": "i"}])
def test_an_item_that_beta_does_not_have_is_not_sent(item: dict[str, Any]) -> None:
    assert dialect.client_to_beta(event("conversation.item.create", item=item)) == []
    assert hear_as_beta(event("conversation.item.added", item=item)) == []


# --- names and order --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("beta", "ga"), [row for row in dialect.SERVER_NAMES.items() if row[0].startswith("response")])
def test_a_renamed_event_keeps_its_fields(beta: str, ga: str) -> None:
    fields = {"item_id": "i", "response_id": "r", "output_index": 0, "content_index": 0, "delta": "d", "new": 1}
    assert hear_as_beta(event(ga, **fields)) == [event(beta, **fields)]
    assert hear_as_ga(event(beta, **fields)) == [event(ga, **fields)]


@pytest.mark.parametrize("kind", sorted(set(GA.server) - set(BETA.server) - set(dialect.SERVER_NAMES.values())))
def test_an_event_without_a_beta_name_is_dropped(kind: str) -> None:
    assert hear_as_beta(event(kind)) == []


@pytest.mark.parametrize("kind", ["x.new", "", "ping"])
def test_an_unknown_event_passes_untouched(kind: str) -> None:
    unknown = event(kind, item={"role": "assistant", "content": [{"type": "text"}]}, session={"voice": 1}, n=None)
    for translated in (hear_as_beta, hear_as_ga):
        assert translated(unknown) == [unknown]
    assert dialect.client_to_ga(unknown) == dialect.client_to_beta(unknown) == [unknown]


ITEM = {"id": "i", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
TURN = [
    event("conversation.item.added", item={"id": "u", "role": "user", "status": "completed"}, previous_item_id=None),
    event("conversation.item.done", item={"id": "u", "role": "user", "status": "completed"}, previous_item_id=None),
    event("response.created", response={"id": "r"}),
    event("response.output_item.added", response_id="r", item=ITEM),
    event("conversation.item.added", item=ITEM, previous_item_id="u"),
    event("response.content_part.added", item_id="i", part={"type": "audio"}),
    event("response.output_audio.delta", item_id="i", delta="AAAA"),
    event("conversation.item.done", item={**ITEM, "status": "completed"}, previous_item_id="u"),
    event("response.output_item.done", response_id="r", item={**ITEM, "status": "completed"}),
    event("response.done", response={"id": "r"}),
]


def test_a_turn_creates_each_item_once_and_before_what_is_in_it() -> None:
    assert kinds(hear_as_beta(*TURN)) == [
        "conversation.item.created",
        "response.created",
        "response.output_item.added",
        "conversation.item.created",
        "response.content_part.added",
        "response.audio.delta",
        "response.output_item.done",
        "response.done",
    ]


@pytest.mark.parametrize("late", [5, 6, 8])
def test_an_item_that_is_added_late_is_created_in_time(late: int) -> None:
    late_turn = [*TURN[:4], *TURN[5 : late + 1], TURN[4], *TURN[late + 1 :]]
    told = hear_as_beta(*late_turn)
    assert kinds(told) == kinds(hear_as_beta(*TURN))
    assert told[3]["item"] == ITEM


class StrictBetaClient:
    """What the beta's reference client insists on: it throws when something comes before what it belongs to."""

    def __init__(self) -> None:
        self.event_ids: set[str] = set()
        self.responses: set[str] = set()
        self.parts: dict[str, int] = {}

    def hear(self, told: dict[str, Any]) -> None:
        assert told["event_id"] not in self.event_ids, "an event id twice"
        self.event_ids.add(told["event_id"])
        match told["type"]:
            case "response.created":
                self.responses.add(told["response"]["id"])
            case "response.output_item.added":
                assert told["response_id"] in self.responses
            case "conversation.item.created":
                assert told["item"]["id"] not in self.parts, "an item twice"
                self.parts[told["item"]["id"]] = 0
            case "response.output_item.done":
                assert told["item"]["id"] in self.parts
            case "response.content_part.added":
                self.parts[told["item_id"]] += 1
            case "response.audio.delta" | "response.audio.done":
                assert self.parts[told["item_id"]]


def output_of(item_id: str) -> list[dict[str, Any]]:
    item = {**ITEM, "id": item_id}
    return [
        event("response.output_item.added", response_id="r", item=item),
        event("response.content_part.added", item_id=item_id, part={"type": "audio"}),
        event("response.output_audio.delta", item_id=item_id, delta="AAAA"),
        event("response.output_audio.done", item_id=item_id),
        event("response.output_item.done", response_id="r", item=item),
    ]


@given(st.lists(st.none() | st.integers(1, 5), min_size=1, max_size=3), st.booleans())
def test_a_strict_beta_client_is_content_wherever_the_upstream_adds_its_items(
    places: list[int | None], both_names: bool
) -> None:
    turn = [event("response.created", response={"id": "r"})]
    for number, place in enumerate(places):
        output = output_of(f"i{number}")
        names = ["conversation.item.added", "conversation.item.created"][: 1 + both_names]
        added = [event(name, item={**ITEM, "id": f"i{number}"}) for name in names]
        turn += output if place is None else [*output[:place], *added, *output[place:]]
    client = StrictBetaClient()
    for told in hear_as_beta(*({**each, "event_id": f"e{number}"} for number, each in enumerate(turn))):
        client.hear(told)
    assert len(client.parts) == len(places)


def test_an_upstream_that_uses_both_names_for_an_added_item_creates_it_once() -> None:
    item = {"id": "u", "role": "user"}
    both = [event("conversation.item.added", item=item), event("conversation.item.created", item=item)]
    assert kinds(hear_as_beta(*both)) == ["conversation.item.created"]
    deleted = event("conversation.item.deleted", item_id="u")
    assert kinds(hear_as_beta(*both, deleted, both[0])).count("conversation.item.created") == 2


def test_a_beta_turn_is_told_to_a_ga_client_with_every_item_done() -> None:
    told = hear_as_ga(*hear_as_beta(*TURN))
    assert [(each["type"], each.get("previous_item_id")) for each in told] == [
        (each["type"], each.get("previous_item_id")) for each in TURN
    ]


def test_an_item_that_was_created_complete_is_done_once() -> None:
    item = {"id": "i", "role": "assistant", "status": "completed"}
    events = [event("conversation.item.created", item=item), event("response.output_item.done", item=item)]
    assert kinds(hear_as_ga(*events)) == [
        "conversation.item.added",
        "conversation.item.done",
        "response.output_item.done",
    ]


def test_an_item_of_a_response_is_done_when_the_response_says_so_whatever_its_status() -> None:
    begun, said = {"id": "i", "status": "incomplete", "content": []}, {"id": "i", "status": "completed", "content": [1]}
    events = [
        event("response.output_item.added", item=begun),
        event("conversation.item.created", item=begun),
        event("response.output_item.done", item=said),
    ]
    told = hear_as_ga(*events)
    assert kinds(told)[1:] == ["conversation.item.added", "conversation.item.done", "response.output_item.done"]
    assert told[2]["item"] == said


def test_a_function_keeps_its_name_when_its_arguments_are_complete() -> None:
    item = {"id": "f", "type": "function_call", "name": "clock", "status": "in_progress"}
    done = event("response.function_call_arguments.done", item_id="f", call_id="c", arguments="{}")
    assert hear_as_ga(event("response.output_item.added", item=item), done)[1] == {**done, "name": "clock"}
    assert hear_as_beta({**done, "name": "clock"}) == [done]


def test_an_error_points_to_the_field_under_the_name_that_its_reader_knows() -> None:
    for ga, beta in (
        ("session.audio.input.turn_detection.threshold", "session.turn_detection.threshold"),
        ("session.audio.output.voice", "session.voice"),
        ("session.tools[0].name", "session.tools[0].name"),
        ("response.max_output_tokens", "response.max_response_output_tokens"),
        ("item.role", "item.role"),
        ("type", "type"),
    ):
        told = hear_as_beta(event("error", error={"param": ga, "message": "m"}))
        assert told == [event("error", error={"param": beta, "message": "m"})]
        assert hear_as_ga(*told) == [event("error", error={"param": ga, "message": "m"})]


# --- there and back ---------------------------------------------------------------------------------------------------
def without_temperature(told: dict[str, Any]) -> dict[str, Any]:
    """GA has none: it is lost on the way there, and made up on the way back."""
    return {key: drop(value) for key, value in told.items()}


def drop(value: Any) -> Any:
    return {key: one for key, one in value.items() if key != "temperature"} if isinstance(value, dict) else value


@pytest.mark.parametrize("captured", TRAFFIC, ids=lambda one: f"{one['seq']}")
def test_captured_beta_traffic_survives_the_way_there_and_back(captured: dict[str, Any]) -> None:
    said = captured["event"]
    if captured["direction"] == "client->server":
        assert [dialect.client_to_beta(each) for each in dialect.client_to_ga(said)] == [[said]]
        return
    there = hear_as_ga(said)
    back = [told for told in hear_as_beta(*there) if told["type"] != "conversation.created"]
    assert [without_temperature(told) for told in back] == [without_temperature(said)]


def optional(fields: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in fields.items()})


beta_sessions = optional(
    {name: [value] for name, value in BETA_SESSION.items()}
    | {"modalities": [["text", "audio"], ["text"]], "tool_choice": ["auto", BETA_SESSION["tool_choice"]]}
    | {"turn_detection": [None, VAD], "input_audio_transcription": [None, {"model": "w"}], "x": [1, {"y": []}]}
)
ga_halves = {
    "input": optional({"format": [PCM, {"type": "audio/pcma"}], "turn_detection": [None, VAD], "x": [{}]}),
    "output": optional({"voice": ["ash"], "speed": [1.0], "format": [PCM]}),
}
ga_sessions = st.tuples(
    optional({name: [value] for name, value in GA_SESSION.items() if name not in ("audio", "type")}),
    st.fixed_dictionaries({}, optional={name: half.filter(bool) for name, half in ga_halves.items()}).filter(bool),
).map(lambda halves: {"type": "realtime", **halves[0], "audio": halves[1]})


@given(beta_sessions)
def test_a_beta_session_survives_the_way_there_and_back(session: dict[str, Any]) -> None:
    update = event("session.update", session=session)
    assert dialect.client_to_beta(dialect.client_to_ga(update)[0]) == [update]


@given(ga_sessions)
def test_a_ga_session_survives_the_way_there_and_back(session: dict[str, Any]) -> None:
    update = event("session.update", session=session)
    assert dialect.client_to_ga(dialect.client_to_beta(update)[0]) == [update]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
known_fields = st.sampled_from(
    sorted({"type", "role", "audio", "input", "output"} | {f for o in BETA.objects.values() for f in o.known})
)
objects = st.dictionaries(known_fields, json_values, max_size=4) | json_values
any_events = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted({*GA.client, *GA.server, *BETA.client, *BETA.server})) | json_values},
    optional=dict.fromkeys(("session", "response", "item", "error", "event_id", "item_id", "part"), objects),
)


def test_a_session_that_mixes_both_dialects_is_not_changed_in_place() -> None:
    mixed = {"audio": {"output": {"speed": 1}}, "voice": "ash"}
    told = dialect.client_to_ga(event("session.update", session=mixed))[0]["session"]
    assert told["audio"] == {"output": {"speed": 1, "voice": "ash"}}
    assert mixed["audio"] == {"output": {"speed": 1}}


@given(st.lists(any_events, max_size=6))
def test_nothing_makes_a_translator_raise_or_change_what_it_was_given(events: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(events)
    hear_as_beta(*events)
    hear_as_ga(*events)
    for each in events:
        dialect.client_to_ga(each)
        dialect.client_to_beta(each)
    assert events == before


def test_only_so_many_items_are_remembered() -> None:
    server = dialect.ServerToBeta()
    for number in range(3 * dialect.MAX_ITEMS):
        server.to(event("conversation.item.added", item={"id": f"item_{number}"}))
        server.to(event("response.output_item.added", item={"id": f"other_{number}"}))
    assert len(server._created) == len(server._announced) == dialect.MAX_ITEMS
