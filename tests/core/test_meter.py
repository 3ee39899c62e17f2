"""What a session costs: figures worked out by hand from the price list, and what happens where none can be."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.meter import MAX_CHARGED, Meter
from relay.core.prices import TokenUsage
from relay.prices import price_table

TABLE = price_table()
USAGE = {
    "total_tokens": 1_500,
    "input_tokens": 1_200,
    "output_tokens": 300,
    "input_token_details": {
        "text_tokens": 200,
        "audio_tokens": 1_000,
        "image_tokens": 0,
        "cached_tokens": 640,
        "cached_tokens_details": {"text_tokens": 128, "audio_tokens": 512, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 100, "audio_tokens": 200},
}
# 72 text at 4 $ and 128 at 0.40, 488 audio at 32 $ and 512 at 0.40, 100 text out at 24 $ and 200 audio out at 64 $.
USAGE_USD = (72 * 4 + 128 * 0.40 + 488 * 32 + 512 * 0.40 + 100 * 24 + 200 * 64) / 1e6


NOTHING_COUNTED: list[Any] = [
    {},
    {"total_tokens": 0},
    {"total_tokens": None, "input_tokens": None},
    {"input_tokens": 0, "output_tokens": 0, "input_token_details": {"audio_tokens": 0}},
    {"seconds": 12.5},
]
NO_USAGE: list[Any] = [None, "much", {"total_tokens": -1}, {"total_tokens": "12"}, [], *NOTHING_COUNTED]


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def open_meter(model: str = "gpt-realtime-2.1", transcription_model: str = "gpt-transcribe") -> Meter:
    return Meter(TABLE, model=model, transcription_model=transcription_model)


def respond(meter: Meter, usage: object, status: str = "completed", *, response_id: Any = None) -> Meter:
    meter.response(raw({"id": response_id, "status": status, "usage": usage}))
    return meter


def test_a_response_costs_what_the_price_list_says() -> None:
    meter = respond(open_meter(), USAGE)
    assert meter.tokens == 1_500
    assert meter.usd == pytest.approx(USAGE_USD)


@pytest.mark.parametrize("status", ["completed", "cancelled", "incomplete", "failed"])
def test_every_response_is_charged_whatever_its_end(status: str) -> None:
    meter = respond(respond(open_meter(), USAGE, status, response_id="resp_1"), USAGE, status, response_id="resp_2")
    assert meter.tokens == 3_000
    assert meter.usd == pytest.approx(2 * USAGE_USD)


def test_a_response_whose_end_is_told_twice_is_charged_once() -> None:
    meter = respond(respond(open_meter(), USAGE, response_id="resp_1"), USAGE, "cancelled", response_id="resp_1")
    assert meter.tokens == 1_500
    assert meter.usd == pytest.approx(USAGE_USD)
    assert respond(meter, None, response_id="resp_1").usd is not None


@pytest.mark.parametrize("response_id", [None, "", 7, ["resp_1"], "r" * 513])
def test_a_response_without_a_name_is_charged_each_time(response_id: Any) -> None:
    meter = respond(respond(open_meter(), USAGE, response_id=response_id), USAGE, response_id=response_id)
    assert meter.tokens == 3_000


def test_so_many_responses_are_remembered_as_charged_and_no_more() -> None:
    meter = open_meter()
    for number in range(3 * MAX_CHARGED):
        respond(meter, USAGE, response_id=f"resp_{number}")
    assert len(meter._charged) == MAX_CHARGED
    assert meter.tokens == 3 * MAX_CHARGED * 1_500


def test_images_have_a_price_of_their_own_or_none() -> None:
    usage = {"input_tokens": 100, "input_token_details": {"image_tokens": 100, "cached_tokens_details": None}}
    assert respond(open_meter(), usage).usd == pytest.approx(100 * 5 / 1e6)
    assert respond(open_meter("gpt-realtime-mini"), usage).usd is None


@pytest.mark.parametrize("model", ["gpt-realtime-3", "", "GPT-REALTIME-2.1", "gpt-realtime-2.1-mini-2027-01-01"])
def test_an_unknown_model_has_an_unknown_price_and_its_tokens_count(model: str) -> None:
    meter = respond(open_meter(model), USAGE)
    assert meter.usd is None
    assert meter.tokens == 1_500


def test_once_unknown_the_price_of_a_session_stays_unknown() -> None:
    meter = respond(open_meter("no-such-model"), USAGE)
    meter.session(raw({"model": "gpt-realtime-2.1"}))
    assert respond(meter, USAGE).usd is None


@pytest.mark.parametrize("status", ["completed", "incomplete"])
@pytest.mark.parametrize("usage", NO_USAGE)
def test_an_answer_without_usage_that_can_be_read_has_an_unknown_price(usage: object, status: str) -> None:
    assert respond(open_meter(), usage, status).usd is None


@pytest.mark.parametrize("status", ["cancelled", "failed"])
@pytest.mark.parametrize("usage", [None, *NOTHING_COUNTED])
def test_a_response_that_ended_before_it_said_anything_costs_nothing(usage: Any, status: str) -> None:
    meter = respond(open_meter("no-such-model"), usage, status)
    assert (meter.tokens, meter.usd) == (0, 0.0)


def test_where_no_price_is_known_none_is_before_anything_was_used_and_tokens_count() -> None:
    meter = Meter(None, model="gpt-realtime-2.1", transcription_model="whisper-1")
    assert (meter.tokens, meter.usd) == (0, None)
    respond(meter, USAGE)
    meter.transcription(raw({"type": "duration", "seconds": 60}))
    assert (meter.tokens, meter.usd, meter.known_usd) == (1_500, None, 0.0)


def test_tokens_that_stand_in_the_details_alone_are_tokens() -> None:
    usage = {"input_token_details": {"audio_tokens": 10}, "output_token_details": {"text_tokens": 5}}
    meter = respond(open_meter(), usage)
    assert meter.tokens == 15
    assert meter.usd == pytest.approx((10 * 32 + 5 * 24) / 1e6)


SAID = [
    [{"type": "message", "content": [{"type": "output_audio", "transcript": "Well,"}]}],
    [{"type": "message", "content": []}, {"type": "message", "content": [None, {"type": "output_text", "text": "a"}]}],
    [{"type": "function_call", "name": "n", "arguments": "{"}],
]
NOT_SAID: list[Any] = [
    None,
    "much",
    [],
    [None, 7],
    [{"type": "message", "status": "incomplete"}],
    [{"type": "message", "content": None}],
    [{"type": "message", "content": [{"type": "output_audio", "transcript": ""}]}],
    [{"type": "function_call", "name": "n", "arguments": ""}],
]


@pytest.mark.parametrize("status", ["cancelled", "failed"])
@pytest.mark.parametrize(("output", "known"), [*((said, False) for said in SAID), *((none, True) for none in NOT_SAID)])
def test_what_was_said_before_a_response_was_cancelled_is_not_free_for_want_of_a_usage(
    output: Any, status: str, known: bool
) -> None:
    meter = open_meter()
    meter.response(raw({"id": "resp_1", "status": status, "usage": None, "output": output}))
    assert meter.usd == (0.0 if known else None)


@pytest.mark.parametrize("response", [b"", b"[]", b"7", b'{"output":' + b"[" * 9_000 + b"]" * 9_000 + b"}"])
def test_a_response_that_cannot_be_read_has_an_unknown_price(response: bytes) -> None:
    meter = open_meter()
    meter.response(msgspec.Raw(response))
    assert meter.usd is None


def test_tokens_of_no_stated_kind_count_as_the_dearest() -> None:
    assert respond(open_meter(), {"input_tokens": 10, "output_tokens": 5}).usd == pytest.approx((320 + 320) / 1e6)
    assert respond(open_meter(), {"total_tokens": 10}).usd == pytest.approx(640 / 1e6)


def test_more_from_the_cache_than_there_was_is_not_believed() -> None:
    details = {"text_tokens": 10, "cached_tokens_details": {"text_tokens": 99, "audio_tokens": 99}}
    usage = {"input_tokens": 10, "input_token_details": details}
    assert respond(open_meter(), usage).usd == pytest.approx(10 * 0.40 / 1e6)


def test_the_model_that_the_upstream_names_is_the_one_that_is_charged() -> None:
    meter = open_meter()
    transcription = {"transcription": {"model": "whisper-1"}}
    meter.session(raw({"model": "gpt-realtime-2.1-mini", "audio": {"input": transcription}}))
    meter.transcription(raw({"type": "duration", "seconds": 60}))
    assert meter.usd == pytest.approx(0.006)
    assert respond(meter, {"total_tokens": 10}).usd == pytest.approx(0.006 + 10 * 20 / 1e6)


@pytest.mark.parametrize("session", [{}, None, 7, {"model": None, "audio": None}, {"model": 7}])
def test_a_session_that_names_no_model_changes_nothing(session: object) -> None:
    meter = open_meter()
    meter.session(raw(session))
    assert respond(meter, USAGE).usd == pytest.approx(USAGE_USD)


def test_a_transcription_is_charged_by_the_minute_of_audio() -> None:
    meter = open_meter()
    meter.transcription(raw({"type": "duration", "seconds": 30.0}))
    assert meter.tokens == 0
    assert meter.usd == pytest.approx(0.00225)


def test_a_transcription_counted_in_tokens_has_a_minute_for_600_of_audio() -> None:
    meter = open_meter()
    details = {"text_tokens": 4, "audio_tokens": 300}
    meter.transcription(raw({"type": "tokens", "total_tokens": 320, "input_token_details": details}))
    assert meter.tokens == 320
    assert meter.usd == pytest.approx(0.00225)


def test_tokens_of_a_transcription_of_no_stated_kind_count_as_audio() -> None:
    meter = open_meter()
    meter.transcription(raw({"type": "tokens", "total_tokens": 320, "input_tokens": 300, "output_tokens": 20}))
    assert meter.tokens == 320
    assert meter.usd == pytest.approx(0.00225)


NO_LENGTH = [
    None,
    {},
    {"type": "words"},
    {"type": "duration"},
    {"type": "duration", "seconds": -1},
    {"type": "tokens"},
    {"type": "tokens", "total_tokens": 20, "output_tokens": 20},
    {"type": "tokens", "input_tokens": 0, "input_token_details": {"audio_tokens": 0}},
]


@pytest.mark.parametrize("usage", NO_LENGTH)
def test_a_transcription_whose_length_is_not_said_has_an_unknown_price(usage: object) -> None:
    meter = open_meter()
    meter.transcription(raw(usage))
    assert meter.usd is None


def test_a_transcription_by_an_unknown_model_has_an_unknown_price() -> None:
    meter = open_meter(transcription_model="no-such-model")
    meter.transcription(raw({"type": "duration", "seconds": 1}))
    assert meter.usd is None


@pytest.mark.parametrize(
    ("model", "audio", "text"),
    [
        ("gpt-realtime-2.1", (32, 0.40, 64), (4, 0.40, 24)),
        ("gpt-realtime-2", (32, 0.40, 64), (4, 0.40, 24)),
        ("gpt-realtime-2.1-mini", (10, 0.30, 20), (0.60, 0.06, 2.40)),
        ("gpt-realtime-1.5", (32, 0.40, 64), (4, 0.40, 16)),
        ("gpt-realtime", (32, 0.40, 64), (4, 0.40, 16)),
        ("gpt-realtime-mini", (10, 0.30, 20), (0.60, 0.06, 2.40)),
    ],
)
def test_the_table_has_the_published_prices(model: str, audio: tuple[float, ...], text: tuple[float, ...]) -> None:
    price = TABLE.model(model)
    assert price is not None
    assert (price.audio, price.text) == (audio, text)


def test_the_table_says_when_it_was_true_and_names_each_model_once() -> None:
    assert TABLE.as_of >= date(2026, 11, 20)
    names = [name for price in TABLE.per_million_tokens for name in price.models]
    assert len(names) == len(set(names))


COUNT = st.none() | st.integers(0, 2**40)


def details(*names: str, **nested: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(names, COUNT) | nested
    return st.none() | st.fixed_dictionaries({}, optional=fields)


KINDS = ("text_tokens", "audio_tokens", "image_tokens")
USAGES = st.fixed_dictionaries(
    {},
    optional={
        "total_tokens": COUNT,
        "input_tokens": COUNT,
        "output_tokens": COUNT,
        "input_token_details": details(*KINDS, cached_tokens_details=details(*KINDS)),
        "output_token_details": details("text_tokens", "audio_tokens"),
    },
)


@given(USAGES)
def test_no_usage_is_free_nor_dearer_than_the_dearest_token_nor_priced_without_tokens(
    usage: dict[str, Any],
) -> None:
    meter = respond(open_meter(), usage)
    read = msgspec.convert(usage, TokenUsage)
    named = [*_numbers(usage.get("input_token_details")), *_numbers(usage.get("output_token_details"))]
    most = read.total + (usage.get("input_tokens") or 0) + sum(named)
    assert (meter.usd is None) == (read.total == 0)
    if meter.usd is None:
        return
    assert read.total * 0.40 / 1e6 <= meter.usd * (1 + 1e-9)
    assert meter.usd <= most * 64 / 1e6 * (1 + 1e-9)


def _numbers(details: dict[str, Any] | None) -> list[int]:
    return [value or 0 for value in (details or {}).values() if not isinstance(value, dict)]
