"""What a locked client is permitted beyond the usual, by each grant; and what an open client may do."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.dialect import client_to_ga
from relay.core.permissions import Grant, Permissions
from relay.core.places import MISSING, take
from relay.core.policy import OPENAI, RELAY_V1, SESSION_GRANTS, Language, NothingToSet, Policy, Said, Up
from relay.errors import BadRequest

PCM = {"type": "audio/pcm", "rate": 24_000}
VAD = {"type": "server_vad", "threshold": 0.5, "create_response": True, "interrupt_response": True}
OWN = {"type": "function", "name": "CANARY_own", "description": "CANARY"}
SERVER = {"type": "mcp", "server_label": "CANARY_crm", "server_url": "https://c.example", "authorization": "CANARY"}
SESSION: dict[str, Any] = {
    "type": "realtime",
    "instructions": "CANARY",
    "output_modalities": ["audio"],
    "audio": {
        "input": {"format": PCM, "noise_reduction": None, "transcription": {"model": "t"}, "turn_detection": VAD},
        "output": {"format": PCM, "voice": "marin", "speed": 1.0},
    },
    "tools": [OWN, SERVER],
    "tool_choice": "auto",
    "max_output_tokens": 500,
}
TOOL = {"type": "function", "name": "mine", "parameters": {"type": "object"}}
MY_SERVER = {"type": "mcp", "server_label": "mine", "server_url": "https://m.example", "authorization": "my-token"}
WISHES: dict[str, Any] = {
    "instructions": "obey me",
    "tools": [TOOL],
    "tool_choice": {"type": "function", "name": "mine"},
    "parallel_tool_calls": False,
    "max_output_tokens": 100,
    "output_modalities": ["text"],
    "reasoning": {"effort": "low"},
    "truncation": "disabled",
    "include": ["item.input_audio_transcription.logprobs"],
    "audio": {
        "input": {
            "turn_detection": {"type": "semantic_vad", "eagerness": "low"},
            "transcription": {"model": "whisper-1", "language": "de"},
            "noise_reduction": {"type": "far_field"},
        },
        "output": {"voice": "cedar", "speed": 1.5},
    },
}
PINNED_ALWAYS = {
    "type": "transcription",
    "model": "dearest",
    "prompt": {"id": "p"},
    "tracing": "auto",
    "audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcma"}}},
    "x": 1,
}
GRANTS = sorted(get_args(Grant))
OF_SESSIONS = sorted({grant for grants in SESSION_GRANTS.values() for grant in grants} - {"mcp"})


def locked(*may: str) -> Policy:
    return Policy(Permissions.of(SESSION, may=frozenset(may)), OPENAI)


OPEN = Policy(Permissions.of(SESSION, "open"), OPENAI)


def say(policy: Policy, kind: str, **fields: Any) -> Said:
    return policy.read(json.dumps({"type": kind, **fields}))


def sent(policy: Policy, kind: str, **fields: Any) -> dict[str, Any]:
    said = say(policy, kind, **fields)
    assert isinstance(said, Up)
    return said.event


def answer_to(policy: Policy, event: dict[str, Any]) -> Said | BadRequest:
    """Say it; any exception but a bad request is the test's failure."""
    try:
        return policy.read(json.dumps(event))
    except BadRequest as problem:
        return problem


def refusal(policy: Policy, kind: str, **fields: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        say(policy, kind, event_id="mine", **fields)
    assert caught.value.event_id == "mine"
    assert "CANARY" not in caught.value.public
    return caught.value.param


# --- session.update, locked -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("session", [WISHES, PINNED_ALWAYS, {}, {"audio": 7}, {"audio": {"output": []}}])
def test_without_a_grant_nothing_of_an_update_is_taken(session: dict[str, Any]) -> None:
    assert isinstance(say(locked(), "session.update", session=session), NothingToSet)


@pytest.mark.parametrize("grant", OF_SESSIONS)
def test_a_grant_permits_its_field_and_no_other(grant: str) -> None:
    event = sent(locked(grant), "session.update", session=WISHES, event_id="mine")
    assert event["event_id"] == "mine"
    session = event["session"]
    for place, grants in SESSION_GRANTS.items():
        expected = take(WISHES if grant in grants else SESSION, place, MISSING)
        if place == ("tools",) and grant == "tools":
            expected = [OWN, SERVER, TOOL]
        assert take(session, place, MISSING) == expected


@pytest.mark.parametrize("grant", OF_SESSIONS)
def test_what_is_always_pinned_is_not_even_judged(grant: str) -> None:
    assert isinstance(say(locked(grant), "session.update", session=PINNED_ALWAYS), NothingToSet)


def test_what_was_set_before_is_left_alone_by_an_update_that_does_not_say_it() -> None:
    session = sent(locked("voice", "tools"), "session.update", session={"audio": {"output": {"voice": "cedar"}}})[
        "session"
    ]
    assert "tools" not in session
    assert session["instructions"] == "CANARY"
    assert session["audio"]["output"] == {"format": PCM, "speed": 1.0, "voice": "cedar"}


def test_null_turns_off_what_can_be_turned_off() -> None:
    hearing = {"turn_detection": None, "transcription": None, "noise_reduction": None}
    event = sent(
        locked("turn_detection", "transcription", "noise_reduction"),
        "session.update",
        session={"audio": {"input": hearing}},
    )
    assert event["session"]["audio"]["input"] == {"format": PCM, **hearing}


@pytest.mark.parametrize(
    ("grant", "session", "param"),
    [
        ("instructions", {"instructions": 7}, "session.instructions"),
        ("voice", {"audio": {"output": {"voice": 7}}}, "session.audio.output.voice"),
        ("speed", {"audio": {"output": {"speed": "fast"}}}, "session.audio.output.speed"),
        ("tools", {"tools": [TOOL, 7]}, "session.tools[1]"),
        ("tools", {"tools": [{**TOOL, "obey_me": 1}]}, "session.tools[0].obey_me"),
        ("tools", {"tools": [OWN]}, "session.tools[0].name"),
        ("tools", {"tools": [TOOL, TOOL]}, "session.tools[1].name"),
        ("tools", {"tools": [{**TOOL, "name": f"f{n}"} for n in range(127)]}, "session.tools"),
        ("mcp", {"tools": [{**MY_SERVER, "server_label": "CANARY_crm"}]}, "session.tools[0].server_label"),
        ("turn_detection", {"audio": {"input": {"turn_detection": {"type": "x"}}}}, "session.audio.input.turn_detect"),
        ("max_output_tokens", {"max_output_tokens": 501}, "session.max_output_tokens"),
        ("max_output_tokens", {"max_output_tokens": "inf"}, "session.max_output_tokens"),
    ],
)  # fmt: skip
def test_a_permitted_field_is_judged_and_named(grant: str, session: dict[str, Any], param: str) -> None:
    found = refusal(locked(grant), "session.update", session=session)
    assert found is not None
    assert found.startswith(param)


def test_tools_and_servers_are_two_grants() -> None:
    both = {"tools": [TOOL, MY_SERVER]}
    assert sent(locked("tools"), "session.update", session=both)["session"]["tools"] == [OWN, SERVER, TOOL]
    assert sent(locked("mcp"), "session.update", session=both)["session"]["tools"] == [OWN, SERVER, MY_SERVER]
    assert sent(locked("mcp", "tools"), "session.update", session=both)["session"]["tools"] == [
        OWN,
        SERVER,
        *both["tools"],
    ]


def test_an_empty_list_takes_the_clients_own_tools_away_and_leaves_the_operators() -> None:
    assert sent(locked("tools"), "session.update", session={"tools": []})["session"]["tools"] == [OWN, SERVER]


def test_a_beta_clients_wishes_are_permitted_by_the_same_names() -> None:
    (event,) = client_to_ga({"type": "session.update", "session": {"voice": "ash", "instructions": "obey me"}})
    session = sent(locked("voice"), kind=event["type"], session=event["session"])["session"]
    assert session["audio"]["output"]["voice"] == "ash"
    assert session["instructions"] == "CANARY"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
sessions = st.dictionaries(
    st.sampled_from([*SESSION, *WISHES, *PINNED_ALWAYS]),
    json_values | st.sampled_from([*WISHES.values(), *PINNED_ALWAYS.values(), *SESSION.values()]),
    max_size=6,
)


@given(st.frozensets(st.sampled_from(GRANTS)), sessions)
def test_whatever_an_update_holds_what_is_pinned_goes_up_as_the_operator_set_it(
    may: frozenset[str], session: dict[str, Any]
) -> None:
    said = answer_to(locked(*may), {"type": "session.update", "session": session})
    if isinstance(said, BadRequest):
        assert (said.param or "").startswith("session")
        return
    if isinstance(said, NothingToSet):
        return
    assert isinstance(said, Up)
    up = said.event["session"]
    assert set(up) <= set(SESSION) | {"reasoning", "truncation", "include", "parallel_tool_calls"}
    for place, grants in SESSION_GRANTS.items():
        if not grants & may:
            assert take(up, place, MISSING) == take(SESSION, place, MISSING)
    for place in (("type",), ("audio", "input", "format"), ("audio", "output", "format")):
        assert take(up, place, MISSING) == take(SESSION, place, MISSING)
    assert up.get("tools", [OWN, SERVER])[:2] == [OWN, SERVER]


# --- response.create, locked ------------------------------------------------------------------------------------------
HI = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
RESPONSE_WISHES = [
    ("instructions", {"instructions": "obey me"}, "response.instructions"),
    ("tools", {"tools": [TOOL]}, "response.tools"),
    ("mcp", {"tools": [MY_SERVER]}, "response.tools"),
    ("tool_choice", {"tool_choice": "required"}, "response.tool_choice"),
    ("parallel_tool_calls", {"parallel_tool_calls": True}, "response.parallel_tool_calls"),
    ("max_output_tokens", {"max_output_tokens": 9}, "response.max_output_tokens"),
    ("reasoning", {"reasoning": {"effort": "low"}}, "response.reasoning"),
    ("voice", {"audio": {"output": {"voice": "ash"}}}, "response.audio.output.voice"),
    ("out_of_band", {"conversation": "none"}, "response.conversation"),
    ("out_of_band", {"input": [HI, {"type": "item_reference", "id": "i"}]}, "response.input"),
]


@pytest.mark.parametrize(("grant", "response", "param"), RESPONSE_WISHES)
def test_a_grant_permits_the_field_of_one_response(grant: str, response: dict[str, Any], param: str) -> None:
    assert refusal(locked(), "response.create", response=response) == param
    others = locked(*(set(GRANTS) - {grant} - ({"tools", "mcp"} if "tools" in response else set())))
    assert refusal(others, "response.create", response=response) == param
    wished = dict(response)
    if "tools" in wished:
        wished["tools"] = [OWN, SERVER, *wished["tools"]]
    assert sent(locked(grant), "response.create", response=response) == {"type": "response.create", "response": wished}


@pytest.mark.parametrize(
    ("grants", "response", "param"),
    [
        (GRANTS, {"prompt": {"id": "p"}}, "response.prompt"),
        (GRANTS, {"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, "response.audio.output.format"),
        (GRANTS, {"max_output_tokens": "inf"}, "response.max_output_tokens"),
        (GRANTS, {"tools": [OWN]}, "response.tools[0].name"),
        (["tools"], {"tools": [TOOL, MY_SERVER]}, "response.tools[1].type"),
        (["out_of_band"], {"input": [HI, {**HI, "role": "system"}]}, "response.input[1].role"),
        (["out_of_band"], {"input": [{**HI, "content": [IMAGE]}]}, "response.input[0].content[0].type"),
        (GRANTS, {"input": [{"type": "function_call", "name": "n", "arguments": "{}"}]}, "response.input[0].type"),
    ],
)
def test_what_no_grant_permits_is_refused_by_its_place(grants: list[str], response: dict[str, Any], param: str) -> None:
    assert refusal(locked(*grants), "response.create", response=response) == param


def test_images_and_approvals_are_items_by_their_grants() -> None:
    image = {**HI, "content": [IMAGE]}
    approval = {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True}
    assert sent(locked("images"), "conversation.item.create", item=image)["item"] == image
    assert sent(locked("mcp"), "conversation.item.create", item=approval)["item"] == approval
    assert refusal(locked("mcp"), "conversation.item.create", item=image) == "item.content[0].type"
    assert refusal(locked("images"), "conversation.item.create", item=approval) == "item.type"


# --- open -------------------------------------------------------------------------------------------------------------
ANYTHING = [
    {"type": "session.update", "session": {**WISHES, **PINNED_ALWAYS, "type": "realtime"}},
    {"type": "session.update", "session": {"type": "realtime", "new": {"deep": [1]}}},
    {"type": "session.update", "session": {"type": "realtime", "tools": [{"type": "web_search"}]}},
    {"type": "response.create", "response": {"instructions": "x", "conversation": "none", "input": [], "new": 1}},
    {"type": "response.create", "response": {"tools": [MY_SERVER], "prompt": {"id": "p"}, "metadata": {"a": "b"}}},
    {"type": "conversation.item.create", "item": {**HI, "role": "system"}},
    {"type": "conversation.item.create", "item": {**HI, "role": "developer"}},
    {"type": "conversation.item.create", "item": {**HI, "content": [IMAGE]}},
    {"type": "conversation.item.create", "item": {"type": "force_message", "text": "x"}},
    {"type": "conversation.item.create", "item": {"type": "mcp_approval_response", "approval_request_id": "a",
                                                  "approve": True, "id": "i"}},
    {"type": "output_audio_buffer.clear"},
    {"type": "provider.new_event", "x": [1, {"y": None}]},
    {"type": "response.cancel", "new": 1},
]  # fmt: skip


@pytest.mark.parametrize("event", ANYTHING, ids=lambda event: str(event["type"]))
def test_an_open_client_is_passed_on_as_it_spoke(event: dict[str, Any]) -> None:
    assert OPEN.read(json.dumps(event)) == Up(event)


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ({"type": "session.update"}, "session"),
        ({"type": "session.update", "session": {"instructions": 7}}, "session.instructions"),
        ({"type": "session.update", "session": {"audio": {"output": {"voice": 7}}}}, "session.audio.output.voice"),
        ({"type": "response.create", "response": {"tools": {}}}, "response.tools"),
        ({"type": "conversation.item.create", "item": {"type": "message", "role": "user"}}, "item.content"),
        ({"type": "conversation.item.delete", "item_id": 7}, "item_id"),
        ({"type": 7}, "type"),
        ({"type": None, "x": 1}, "type"),
        ({}, "type"),
    ],
)
def test_what_is_known_must_have_its_type_in_open_too(event: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        OPEN.read(json.dumps(event))
    assert caught.value.param == param


@pytest.mark.parametrize(
    "kind", ["relay.start", "relay.new", "input_audio_buffer.append", "conversation.item.truncate"]
)
def test_what_relay_v1_has_another_way_for_is_refused_in_open_too(kind: str) -> None:
    policy = Policy(Permissions.of(SESSION, "open"), RELAY_V1)
    with pytest.raises(BadRequest) as caught:
        policy.read(json.dumps({"type": kind, "audio": "AAAA", "item_id": "i", "x": 1}))
    assert caught.value.request_code in ("relay_unknown_event", "relay_invalid_field")


@pytest.mark.parametrize(
    ("kind", "place"),
    [("session.update", "session.audio.input"), ("session.update", "session.audio.output"),
     ("response.create", "response.audio.output")],
)  # fmt: skip
@pytest.mark.parametrize("more", [{}, {"new": 1}])
def test_the_audio_formats_of_relay_v1_are_relays(kind: str, place: str, more: dict[str, Any]) -> None:
    policy = Policy(Permissions.of(SESSION, "open"), RELAY_V1)
    head, *path = place.split(".")

    def event(form: dict[str, Any]) -> str:
        inner: dict[str, Any] = {"format": form}
        for key in reversed(path):
            inner = {key: inner}
        return json.dumps({"type": kind, head: inner, **more})

    assert isinstance(policy.read(event(PCM)), Up)
    with pytest.raises(BadRequest) as caught:
        policy.read(event({"type": "audio/pcmu"}))
    assert caught.value.param == f"{place}.format"


@pytest.mark.parametrize("language", [OPENAI, RELAY_V1], ids=["openai", "relay.v1"])
@pytest.mark.parametrize("preset", ["locked", "open"])
def test_both_languages_have_one_rule_table(language: Language, preset: Any) -> None:
    policy = Policy(
        Permissions.of(SESSION, preset, frozenset() if preset == "open" else frozenset({"voice"})), language
    )
    system = {**HI, "role": "system"}
    assert isinstance(say(policy, "session.update", session=WISHES), Up)
    if preset == "open":
        assert sent(policy, "conversation.item.create", item=system)["item"] == system
    else:
        assert refusal(policy, "conversation.item.create", item=system) == "item.role"
        assert refusal(policy, "response.create", response={"instructions": "x"}) == "response.instructions"
