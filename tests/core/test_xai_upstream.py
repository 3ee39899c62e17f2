"""xAI's session and habits, in GA's words and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config import Config
from relay.core import events
from relay.core.vocabulary import GA
from relay.core.xai_upstream import XaiUpstream, session_to_ga, session_to_xai
from relay.operators_session import session_update

VAD = {"type": "server_vad", "threshold": 0.5}
PCM = {"type": "audio/pcm", "rate": 24_000}
HYBRID = {
    "id": "sess_1",
    "voice": "eve",
    "turn_detection": VAD,
    "audio": {"input": {"format": PCM}, "output": {"format": PCM}},
}
GA_SESSION = {
    "id": "sess_1",
    "type": "realtime",
    "audio": {"input": {"format": PCM, "turn_detection": VAD}, "output": {"format": PCM, "voice": "eve"}},
}
IDS = {"response_id": "resp_1", "item_id": "item_1"}


def down(upstream: XaiUpstream, kind: str, **fields: Any) -> list[dict[str, Any]]:
    return [json.loads(text) for text in upstream.down(json.dumps({"type": kind, "event_id": "e1", **fields}))]


def test_a_session_is_translated_both_ways() -> None:
    assert session_to_ga(HYBRID) == GA_SESSION
    assert session_to_xai(GA_SESSION) == HYBRID


def test_relays_own_update_has_voice_and_turns_at_the_top_and_no_field_that_says_nothing() -> None:
    config = Config(upstream="xai", voice="eve", instructions="Be brief.", transcription_model="")
    (text,) = XaiUpstream().up(events.encode(session_update(config)))
    session = json.loads(text)["session"]
    assert session == {
        "instructions": "Be brief.",
        "voice": "eve",
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "create_response": True,
            "interrupt_response": True,
        },
        "audio": {"input": {"format": PCM, "transcription": None}, "output": {"format": PCM}},
        "tools": [],
    }


def test_push_to_talk_is_said_at_the_top_too() -> None:
    session = {"audio": {"input": {"turn_detection": None}}}
    assert session_to_xai(session) == {"turn_detection": None, "audio": {"input": {}}}


def test_what_a_client_clears_is_cleared() -> None:
    cleared = {"tools": None, "prompt": None, "tool_choice": None}
    assert session_to_xai(cleared) == cleared


def test_what_is_not_a_default_is_not_left_out() -> None:
    told = {"tool_choice": "required", "max_output_tokens": 100, "output_modalities": ["text"]}
    assert session_to_xai({"type": "realtime", **told}) == told


@pytest.mark.parametrize(
    "told",
    [["session.created"], ["conversation.created", "session.created"], ["session.created", "conversation.created"]],
)
def test_there_is_one_session_created_whatever_begins_the_connection(told: list[str]) -> None:
    upstream = XaiUpstream()
    heard = [event["type"] for kind in told for event in down(upstream, kind, session=HYBRID, conversation={"id": "c"})]
    assert sorted(heard) == sorted(told)


def test_a_connection_that_begins_with_a_conversation_alone_has_a_session_too() -> None:
    upstream = XaiUpstream()
    heard = down(upstream, "conversation.created", conversation={"id": "c"})
    assert [event["type"] for event in heard] == ["conversation.created", "session.created"]
    assert [event["session"] for event in down(upstream, "session.updated", session=HYBRID)] == [GA_SESSION]


def test_a_ping_is_not_passed_on() -> None:
    assert down(XaiUpstream(), "ping", timestamp=1) == []


def test_fields_that_strict_clients_need_are_filled_in_and_no_other_is_touched() -> None:
    (delta,) = down(XaiUpstream(), "response.output_audio.delta", delta="AAAA", **IDS)
    assert delta == {"type": "response.output_audio.delta", "event_id": "e1", "delta": "AAAA", **IDS} | {
        "output_index": 0,
        "content_index": 0,
    }
    (added,) = down(XaiUpstream(), "response.content_part.added", output_index=3, content_index=2, **IDS)
    assert (added["output_index"], added["content_index"]) == (3, 2)
    assert added["part"] == {"type": "audio", "transcript": ""}


def test_a_delta_that_lacks_nothing_passes_as_it_came() -> None:
    text = '{"type": "response.output_audio.delta",  "output_index":0,"content_index":0, "delta":"AAAA"}'
    assert XaiUpstream().down(text) == [text]


def test_cumulative_transcripts_become_what_is_new_in_them() -> None:
    upstream = XaiUpstream()
    kind = "conversation.item.input_audio_transcription.updated"
    told = [("i1", "Good"), ("i1", "Good morn"), ("i1", "Good morn"), ("i1", "Could"), ("i2", "Yes"), ("i2", "Yes.")]
    heard = [event for item, text in told for event in down(upstream, kind, item_id=item, transcript=text)]
    assert [(event["item_id"], event["delta"]) for event in heard] == [
        ("i1", "Good"), ("i1", " morn"), ("i2", "Yes"), ("i2", "."),
    ]  # fmt: skip
    assert {event["type"] for event in heard} == {"conversation.item.input_audio_transcription.delta"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["audio", "input", "output", "voice", "format", "turn_detection", "transcript", "item_id"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
KINDS = st.sampled_from([*GA.server, "ping", "conversation.item.input_audio_transcription.updated", "unheard.of"])


@given(KINDS, st.dictionaries(st.sampled_from(["session", "item_id", "transcript", "part", "event_id"]), JSON))
def test_no_event_of_whatever_shape_ends_the_session(kind: str, fields: dict[str, Any]) -> None:
    for text in XaiUpstream().down(json.dumps({**fields, "type": kind})):
        assert isinstance(json.loads(text)["type"], str)


@given(JSON)
def test_no_update_of_whatever_shape_is_too_much(session: Any) -> None:
    assert len(XaiUpstream().up(json.dumps({"type": "session.update", "session": session}))) == 1
