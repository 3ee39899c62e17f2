"""response.create and response.cancel: what is said, with which settings, and what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.simulator import voices
from tests.simulator import sounds
from tests.simulator.client import PUSH_TO_TALK, Client, audio_of, error_of, kinds

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather somewhere",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "days", "unit"],
    },
}
TIME = {"type": "function", "name": "time", "parameters": {}}


def test_typed_text_is_read_aloud() -> None:
    client = Client()
    client.type("Read this, please.")
    events = client.answer()
    (transcript,) = client.of("response.output_audio_transcript.done")
    assert transcript["transcript"] == "Read this, please."
    assert audio_of(events) == voices.speak("Read this, please.")


def test_text_is_written_when_only_text_is_wanted() -> None:
    client = Client()
    client.type("Write this, please.")
    events = client.send("response.create", response={"output_modalities": ["text"]}) + client.wait(10)
    (done,) = client.of("response.output_text.done")
    assert done["text"] == "Write this, please." == "".join(e["delta"] for e in client.of("response.output_text.delta"))
    assert audio_of(events) == b""
    assert [part["part"] for part in client.of("response.content_part.done")] == [
        {"type": "text", "text": done["text"]}
    ]
    assert kinds(events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]


def test_a_conversation_without_words_is_greeted_or_told_what_the_instructions_say() -> None:
    client = Client()
    client.answer()
    assert client.of("response.output_audio_transcript.done")[0]["transcript"].startswith("Hello.")
    client.send("response.create", response={"instructions": "Say welcome."})
    client.wait(10)
    assert client.of("response.output_audio_transcript.done")[1]["transcript"] == "Say welcome."


def test_the_response_object_says_how_it_ended_and_what_it_made() -> None:
    client = Client()
    client.type("hello")
    client.send("response.create", response={"metadata": {"purpose": "test"}, "max_output_tokens": 500})
    client.wait(10)
    created, done = client.of("response.created")[0]["response"], client.of("response.done")[0]["response"]
    assert created["status"] == "in_progress"
    assert done["status"] == "completed"
    assert created["id"] == done["id"]
    assert created["metadata"] == done["metadata"] == {"purpose": "test"}
    assert done["max_output_tokens"] == 500
    assert [item["content"][0]["transcript"] for item in done["output"]] == ["hello"]
    assert done["conversation_id"].startswith("conv_")


def test_one_response_at_a_time_in_the_conversation() -> None:
    client = Client()
    client.type("hello")
    (created,) = client.send("response.create")
    error = error_of(client.send("response.create", event_id="mine"))
    assert error["code"] == "conversation_already_has_active_response"
    assert created["response"]["id"] in error["message"]
    assert error["event_id"] == "mine"
    client.wait(10)
    assert len(client.of("response.done")) == 1


def test_responses_outside_the_conversation_run_beside_it_and_leave_no_trace() -> None:
    client = Client()
    client.type("hello")
    client.send("response.create")
    for number in range(3):
        params = {"conversation": "none", "output_modalities": ["text"], "metadata": {"n": str(number)}}
        events = client.send("response.create", response=params)
        assert events[0]["response"]["conversation_id"] is None
    client.wait(10)
    assert len(client.of("response.done")) == 4
    assert len(client.of("response.output_item.done")) == 4
    assert len(client.session._conversation.items) == 2


def test_responses_outside_the_conversation_are_bounded() -> None:
    client = Client()
    events = [client.send("response.create", response={"conversation": "none"}) for _ in range(40)]
    assert error_of(events[-1])["code"] == "rate_limit_exceeded"


def test_a_response_can_be_given_its_own_input() -> None:
    client = Client()
    client.type("in the conversation")
    item_id = client.of("conversation.item.added")[0]["item"]["id"]
    own = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "only here"}]}
    said = []
    for given in ([own], [own, {"type": "item_reference", "id": item_id}], []):
        client.forget()
        client.send("response.create", response={"conversation": "none", "input": given})
        client.wait(10)
        said.append(client.of("response.output_audio_transcript.done")[0]["transcript"])
    assert said[:2] == ["only here", "in the conversation"]
    assert said[2].startswith("Hello.")
    missing = {"conversation": "none", "input": [{"type": "item_reference", "id": "item_no"}]}
    assert error_of(client.send("response.create", response=missing))["code"] == "invalid_value"


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"modalities": ["text"]}, "unknown_parameter", "response.modalities"),
        ({"temperature": 1}, "unknown_parameter", "response.temperature"),
        ({"voice": "ash"}, "unknown_parameter", "response.voice"),
        ({"conversation": "other"}, "invalid_value", "response.conversation"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "invalid_value", "response.metadata"),
        ({"metadata": {"k" * 65: "x"}}, "invalid_value", "response.metadata." + "k" * 65),
        ({"metadata": {"k": "x" * 513}}, "invalid_value", "response.metadata.k"),
        ({"metadata": {"k": 1}}, "invalid_type", "response.metadata.k"),
        ({"output_modalities": ["text", "audio"]}, "invalid_value", "response.output_modalities"),
    ],
)
def test_a_malformed_response_create_is_refused_by_name(params: dict[str, Any], code: str, param: str) -> None:
    error = error_of(Client().send("response.create", response=params))
    assert (error["code"], error["param"]) == (code, param)


def test_cancel_stops_the_answer_and_closes_everything_that_was_open() -> None:
    client = Client()
    client.type("a rather long sentence that takes its time")
    client.send("response.create")
    client.wait(0.15)
    client.forget()
    events = client.send("response.cancel")
    assert kinds(events) == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    (done,) = client.of("response.done")
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert client.wait(10) == []


def test_cancel_by_id_reaches_a_response_outside_the_conversation() -> None:
    client = Client()
    (created,) = client.send("response.create", response={"conversation": "none"})
    assert error_of(client.send("response.cancel"))["code"] == "response_cancel_not_active"
    events = client.send("response.cancel", response_id=created["response"]["id"])
    assert events[-2]["response"]["status"] == "cancelled"


def test_cancel_without_an_answer_is_an_error() -> None:
    client = Client()
    assert error_of(client.send("response.cancel"))["code"] == "response_cancel_not_active"
    client.answer()
    assert error_of(client.send("response.cancel"))["code"] == "response_cancel_not_active"


def test_an_answer_over_its_token_limit_ends_incomplete() -> None:
    client = Client()
    client.update(**PUSH_TO_TALK, max_output_tokens=20)
    client.hear(sounds.speech())
    client.send("input_audio_buffer.commit")
    events = client.answer()
    (done,) = client.of("response.done")
    assert done["response"]["status"] == "incomplete"
    assert done["response"]["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert len(audio_of(events)) == 20 * 50 * 48
    client.send("response.create", response={"output_modalities": ["text"], "max_output_tokens": 2})
    client.wait(10)
    assert client.of("response.done")[1]["response"]["status"] == "incomplete"


def test_usage_is_counted_by_the_published_rates() -> None:
    client = Client()
    client.update(**PUSH_TO_TALK, instructions="x" * 40)
    client.append(bytes(48 * 2_000))
    client.send("input_audio_buffer.commit")
    client.answer()
    usage = client.of("response.done")[0]["response"]["usage"]
    assert usage["input_token_details"]["audio_tokens"] == 20
    assert usage["input_token_details"]["text_tokens"] == 10
    assert usage["output_token_details"]["audio_tokens"] == 40
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_token_details"]["cached_tokens"] == 0


def test_each_response_is_charged_the_whole_conversation_and_the_old_part_is_cached() -> None:
    client = Client()
    client.update(**PUSH_TO_TALK)
    for _ in range(3):
        client.append(bytes(48 * 10_000))
        client.send("input_audio_buffer.commit")
        client.answer()
    first, second, third = (event["response"]["usage"]["input_token_details"] for event in client.of("response.done"))
    assert (first["audio_tokens"], second["audio_tokens"], third["audio_tokens"]) == (100, 400, 700)
    cached = [usage["cached_tokens_details"]["audio_tokens"] for usage in (first, second, third)]
    assert cached == [0, 64, 384]


def test_rate_limits_fall_with_use_and_recover_with_time() -> None:
    client = Client()
    client.update(**PUSH_TO_TALK)
    remaining = []
    for pause_s in (0.1, 0.1, 120):
        client.wait(pause_s)
        client.append(bytes(48 * 60_000))
        client.send("input_audio_buffer.commit")
        client.send("response.create")
        client.wait(0.01)
        client.send("response.cancel")
        client.send("response.create", response={"output_modalities": ["text"]})
        client.wait(5)
        (limit,) = client.of("rate_limits.updated")[-1]["rate_limits"]
        assert (limit["name"], limit["limit"]) == ("tokens", 40_000)
        remaining.append(limit["remaining"])
    assert remaining[0] < 40_000
    assert limit["reset_seconds"] > 0


def asked(client: Client, text: str, **response: Any) -> list[tuple[str, Any]]:
    """Ask with the weather tool at hand; the calls made, as names and arguments."""
    client.update(tools=[WEATHER, TIME])
    client.type(text)
    client.forget()
    client.send("response.create", response=response)
    client.wait(10)
    done = client.of("response.function_call_arguments.done")
    return [(event["name"], json.loads(event["arguments"])) for event in done]


@pytest.mark.parametrize("text", ["call get_weather for 3 days", "Please get weather for 3 days", "GET-WEATHER: 3"])
def test_a_tool_is_called_when_the_text_names_it(text: str) -> None:
    assert asked(Client(), text) == [("get_weather", {"city": text, "days": 3, "unit": "C"})]


def test_arguments_in_the_text_are_passed_on() -> None:
    given = {"city": "Bern", "days": 2}
    assert asked(Client(), f"get_weather {json.dumps(given)} please") == [("get_weather", given)]


def test_no_tool_is_called_when_none_is_named_or_allowed() -> None:
    assert asked(Client(), "how are you") == []
    assert asked(Client(), "overtime get_weathers") == []
    assert asked(Client(), "get_weather", tool_choice="none") == []


def test_tool_choice_can_force_a_call() -> None:
    assert [name for name, _ in asked(Client(), "hello", tool_choice="required")] == ["get_weather"]
    assert [name for name, _ in asked(Client(), "hello", tool_choice={"type": "function", "name": "time"})] == ["time"]


def test_several_tools_are_called_in_parallel_unless_that_is_off() -> None:
    assert [name for name, _ in asked(Client(), "time and get_weather")] == ["get_weather", "time"]
    assert len(asked(Client(), "time and get_weather", parallel_tool_calls=False)) == 1


def test_a_call_has_its_events_in_order_and_its_output_is_answered() -> None:
    client = Client()
    asked(client, "get_weather")
    assert kinds(client.events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    (call,) = client.of("response.done")[0]["response"]["output"]
    deltas = client.of("response.function_call_arguments.delta")
    assert "".join(event["delta"] for event in deltas) == call["arguments"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "It rains."}
    client.send("conversation.item.create", item=output)
    client.answer()
    assert client.of("response.output_audio_transcript.done")[0]["transcript"] == "It rains."


def test_deltas_carry_obfuscation() -> None:
    client = Client()
    client.type("hello")
    client.answer()
    deltas = [event for event in client.events if event["type"].endswith(".delta")]
    assert deltas
    assert all(4 <= len(event["obfuscation"]) <= 16 for event in deltas)


def test_pace_says_how_much_faster_than_real_time_an_answer_comes() -> None:
    taken = {}
    for pace in (1.0, 10.0):
        client = Client(pace=pace)
        client.type("one two three four five six seven eight nine ten")
        client.send("response.create")
        while not client.of("response.done"):
            client.wait(0.01)
        taken[pace] = client.now_s
    length_s = len(audio_of(client.events)) / 48_000
    assert 0.5 * length_s < taken[1.0] - 100 < length_s + 0.5
    assert taken[10.0] - 100 < 0.2 * length_s
