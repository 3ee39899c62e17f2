"""The language of faults: what can be said, when it strikes, and what is refused."""

from __future__ import annotations

import json

import pytest

from relay.simulator.faults import Fault, FaultSpecError, Roll, Script, parse
from relay.simulator.sabotage import FLOOD_EVENT_BYTES, HUGE_BYTES, flood_events, malformed, undecodable_delta
from tests.simulator.client import base64_of


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("refuse", Fault("refuse", "503", "request")),
        ("refuse:429/3", Fault("refuse", "429/3", "request")),
        ("refuse:503*2", Fault("refuse", "503", "request", only_first=2)),
        ("unauthorized", Fault("unauthorized", "", "open")),
        ("drop", Fault("drop", "", "audio", 500)),
        ("drop@audio=1200", Fault("drop", "", "audio", 1_200)),
        ("drop@created", Fault("drop", "", "created")),
        ("stall@request", Fault("stall", "", "request")),
        ("stall@updated", Fault("stall", "", "updated")),
        ("flood:20@speech", Fault("flood", "20", "speech")),
        ("expire@response", Fault("expire", "", "response")),
        ("malformed", Fault("malformed", "json", "created")),
        ("malformed:frame@audio=100*1", Fault("malformed", "frame", "audio", 100, 1)),
        ("close:1012/service restart", Fault("close", "1012/service restart", "created")),
    ],
)
def test_a_fault_can_be_said(spec: str, fault: Fault) -> None:
    assert parse(spec) == (fault,)


def test_several_faults_can_be_said_at_once() -> None:
    assert [fault.name for fault in parse("flood:5@created, drop@response,")] == ["flood", "drop"]
    assert parse("") == parse(" , ") == ()


@pytest.mark.parametrize(
    "spec",
    [
        "explode",
        "refuse:200",
        "refuse:abc",
        "refuse@created",
        "drop:5",
        "drop@request",
        "stall@nowhere",
        "flood:-1",
        "expire@open",
        "malformed:cheese",
        "close:99",
        "close:1005",
        "drop@created=5",
        "drop*x",
        "unauthorized@request",
        "Drop",
    ],
)
def test_what_cannot_happen_is_refused_by_name(spec: str) -> None:
    with pytest.raises(FaultSpecError, match=spec.replace("*", r"\*").partition(":")[0].partition("@")[0]):
        parse(spec)


def test_a_fault_strikes_once_and_after_its_event() -> None:
    script = Script(list(parse("drop@updated")))
    assert script.after({"type": "session.created"}) == []
    assert [fault.name for fault in script.after({"type": "session.updated"})] == ["drop"]
    assert script.after({"type": "session.updated"}) == []


def test_mid_sentence_is_counted_in_milliseconds_of_audio() -> None:
    script = Script(list(parse("drop@audio=400")))
    delta = {"type": "response.output_audio.delta", "delta": base64_of(bytes(48 * 150))}
    assert [bool(script.after(delta)) for _ in range(4)] == [False, False, True, False]


def test_a_counted_fault_spares_later_connections() -> None:
    roll, faults = Roll(), parse("refuse*2,drop")
    assert [[fault.name for fault in roll.call(faults)] for _ in range(3)] == [
        ["refuse", "drop"],
        ["refuse", "drop"],
        ["drop"],
    ]


def test_malformed_messages_are_what_they_say() -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(malformed("json"))
    assert isinstance(malformed("binary"), bytes)
    assert "type" not in json.loads(malformed("type"))
    assert len(malformed("huge")) > HUGE_BYTES
    assert undecodable_delta()["type"] == "response.output_audio.delta"


def test_a_flood_is_of_events_that_nobody_knows() -> None:
    flood = list(flood_events(3))
    assert [event["type"] for event in flood] == ["simulator.flood"] * 3
    assert all(len(json.dumps(event)) >= FLOOD_EVENT_BYTES for event in flood)
