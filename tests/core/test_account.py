"""From the upstream's events to what was used: which event counts as what."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest

from relay.core import account as account_module
from relay.core.account import Account
from relay.core.budget import Limits
from relay.core.meter import Meter
from relay.errors import IdleLimit
from relay.prices import price_table

RATE_HZ = 24_000
UNIX_S = 1_800_000_000.0


def open_account(limits: Limits | None = None, *, model: str = "gpt-realtime-2.1") -> Account:
    meter = Meter(price_table(), model=model, transcription_model="gpt-transcribe")
    return Account(meter, limits or Limits(), upstream_rate_hz=RATE_HZ, now_s=0.0, unix_s=UNIX_S)


def hear(account: Account, kind: str, now_s: float = 0.0, **fields: Any) -> list[dict[str, Any]]:
    return account.heard(json.dumps({"type": kind, "event_id": "e", **fields}), now_s)


def delta(ms: int) -> str:
    return base64.b64encode(bytes(RATE_HZ * 2 * ms // 1000)).decode()


DONE = {"id": "resp_1", "status": "completed", "usage": {"total_tokens": 100}}
MINUTE = {"type": "duration", "seconds": 60}


def test_a_response_and_a_transcription_change_the_bill_and_nothing_else_does() -> None:
    account = open_account()
    assert hear(account, "response.created", response={"id": "resp_1"}) == []
    assert hear(account, "response.output_audio.delta", delta=delta(500)) == []
    assert hear(account, "response.output_audio_transcript.delta", delta="AAAA") == []
    [usage] = hear(account, "response.done", response=DONE)
    assert usage == {"type": "relay.usage", "tokens": 100, "usd": 0.0064, "audio_in_s": 0.0, "audio_out_s": 0.5}
    [usage] = hear(account, "conversation.item.input_audio_transcription.completed", transcript="hi", usage=MINUTE)
    assert usage["usd"] == 0.0109


def test_audio_both_ways_is_counted_in_seconds() -> None:
    account = open_account()
    account.sent_audio(0.25)
    hear(account, "response.output_audio.delta", delta=delta(750))
    assert (account.totals()["audio_in_s"], account.totals()["audio_out_s"]) == (0.25, 0.75)


def spoken_s(account: Account) -> float:
    """Let half a second of G.711 come, which is a sixth of a second as PCM; return what it is counted as."""
    before = account.totals()["audio_out_s"]
    hear(account, "response.output_audio.delta", delta=base64.b64encode(bytes(4_000)).decode())
    return float(account.totals()["audio_out_s"] - before)


def test_audio_is_counted_by_the_format_in_force() -> None:
    account = open_account()
    output = {"audio": {"output": {"format": {"type": "audio/pcmu"}}}}
    assert spoken_s(account) == pytest.approx(4_000 / 48_000, abs=0.001)
    hear(account, "session.updated", session=output)
    assert spoken_s(account) == pytest.approx(0.5)
    pcm = {"id": "r", "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24_000}}}}
    hear(account, "response.created", response=pcm)
    assert spoken_s(account) == pytest.approx(4_000 / 48_000, abs=0.001)
    hear(account, "response.created", response={"id": "r"})
    assert spoken_s(account) == pytest.approx(0.5)
    for odd in (7, {"audio": 7}, {"audio": {"output": {"format": {"type": "opus"}}}}):
        hear(account, "session.updated", session=odd)
        assert spoken_s(account) == pytest.approx(0.5)


AUDIO = {"type": "response.output_audio.delta", "event_id": "e", "content_index": 0, "delta": delta(750)}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(AUDIO, separators=(",", ":")),
        json.dumps(AUDIO, separators=(",", ":")).replace("A", "\\u0041"),
        json.dumps(AUDIO),
        json.dumps(AUDIO, indent=2, sort_keys=True),
        json.dumps({**AUDIO, "event_id": 'a","delta":"b', "obfuscation": "xyz"}, separators=(",", ":")),
    ],
)
def test_audio_counts_the_same_however_the_event_is_written(text: str) -> None:
    account = open_account()
    account.heard(text, 0.0)
    assert account.totals()["audio_out_s"] == 0.75


@pytest.mark.parametrize("value", ["null", "7", "{}", '""', '"A"'])
def test_a_delta_that_is_no_audio_counts_for_nothing(value: str) -> None:
    account = open_account()
    account.heard(f'{{"type":"response.output_audio.delta","delta":{value}}}', 0.0)
    assert account.totals()["audio_out_s"] == 0.0


def test_audio_as_openai_writes_it_is_not_decoded_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(account_module, "_event_decoder")
    open_account().heard(json.dumps(AUDIO, separators=(",", ":")), 0.0)


def test_the_log_gets_dollars_or_the_word_unknown_and_never_zero_for_it() -> None:
    account = open_account(model="no-such-model")
    assert account.totals()["usd"] == 0.0
    [usage] = hear(account, "response.done", response=DONE)
    assert usage["usd"] is None
    assert account.totals()["price"] == "unknown"
    assert "usd" not in account.totals()


def test_money_is_taken_once() -> None:
    account = open_account()
    hear(account, "response.done", response=DONE)
    assert account.take_usd() == pytest.approx(0.0064)
    assert account.take_usd() == 0.0


def test_an_answer_without_an_end_costs_what_was_heard_of_it_and_what_went_into_it() -> None:
    account = open_account()
    hear(account, "response.output_audio.delta", delta=delta(900))
    hear(account, "response.done", response=DONE)
    hear(account, "response.output_audio.delta", delta=delta(500))
    account.close()
    went_in = 100 * 64 + (100 * 32 + 1 * 4)  # the billed answer; then all of it again, and a token for the rest
    assert account.totals()["tokens"] == 100 + 101 + 10
    assert account.take_usd() == pytest.approx((went_in + 10 * 64) / 1e6)


BEGUN: dict[str, Any] = {"id": "resp_2", "status": "in_progress"}
SETUP = {"model": "gpt-realtime-2.1", "instructions": "x" * 2_970, "tools": []}


def unbilled_tokens(*events: tuple[str, dict[str, Any]]) -> int:
    """Return what the estimate of one answer adds to an account that heard these events while it was open."""
    account = open_account()
    for kind, fields in events:
        if kind == "audio":
            account.sent_audio(fields["seconds"])
        else:
            hear(account, kind, **fields)
    account.close()
    assert account.take_usd() > 0
    tokens: int = account.totals()["tokens"]
    return tokens


def test_a_response_that_only_began_is_not_free() -> None:
    assert unbilled_tokens(("response.created", {"response": BEGUN})) == 1
    assert unbilled_tokens(("response.created", {})) == 1


def test_instructions_and_tools_go_into_a_first_answer() -> None:
    tokens = unbilled_tokens(("session.updated", {"session": SETUP}), ("response.created", {"response": BEGUN}))
    assert 990 <= tokens <= 1_050


@pytest.mark.parametrize("kind", ["output_text", "output_audio_transcript", "function_call_arguments"])
def test_an_answer_in_writing_that_has_no_end_is_charged_by_its_length(kind: str) -> None:
    words = [(f"response.{kind}.delta", {"delta": "x" * 298})] * 3
    assert unbilled_tokens(("response.created", {"response": BEGUN}), *words) == 1 + 300


def test_only_speech_is_charged_of_what_was_heard_before_an_answer_without_an_end() -> None:
    tokens = unbilled_tokens(
        ("audio", {"seconds": 60.0}),
        ("input_audio_buffer.speech_started", {}),
        ("audio", {"seconds": 4.0}),
        ("input_audio_buffer.committed", {}),
        ("audio", {"seconds": 60.0}),
        ("response.created", {"response": BEGUN}),
    )
    assert tokens == 1 + 50, "ten tokens a second, and a second before speech was noticed"


def test_what_was_cleared_goes_into_no_answer() -> None:
    tokens = unbilled_tokens(
        ("audio", {"seconds": 60.0}),
        ("input_audio_buffer.cleared", {}),
        ("audio", {"seconds": 4.0}),
        ("input_audio_buffer.committed", {}),
        ("response.created", {"response": BEGUN}),
    )
    assert tokens == 1 + 40


def test_what_was_typed_goes_into_an_answer_without_an_end() -> None:
    item = {"content": [{"type": "input_text", "text": "x" * 3_000}]}
    added = ("conversation.item.added", {"item": item})
    assert 1_000 <= unbilled_tokens(added, ("response.created", {"response": BEGUN})) <= 1_030


def test_each_answer_that_is_open_at_the_end_is_charged() -> None:
    begun = [("response.created", {"response": {"id": f"resp_{number}"}}) for number in range(3)]
    over = [("response.done", {"response": {"id": "resp_1", "status": "cancelled"}})]
    assert unbilled_tokens(*begun, *over) == 2


@pytest.mark.parametrize("done", [{}, {"response": 7}, {"response": {}}, {"response": {"id": "resp_another"}}])
def test_an_end_that_does_not_say_whose_it_is_ends_an_answer_all_the_same(done: dict[str, Any]) -> None:
    account = open_account()
    hear(account, "response.created", response=BEGUN)
    assert account.answering
    hear(account, "response.done", **done)
    assert not account.answering


def test_a_bill_that_is_told_twice_pays_for_no_other_answer() -> None:
    account = open_account()
    hear(account, "response.done", response=DONE)
    hear(account, "response.created", response=BEGUN)
    hear(account, "response.output_audio.delta", delta=delta(500))
    assert hear(account, "response.done", response=DONE) == []
    account.close()
    assert account.totals()["tokens"] == 100 + 101 + 10


def test_what_came_from_the_cache_before_is_all_that_may_come_from_it() -> None:
    account = open_account()
    details = {"text_tokens": 1_000, "audio_tokens": 0, "cached_tokens_details": {"text_tokens": 900}}
    usage = {"input_tokens": 1_000, "input_token_details": details}
    hear(account, "response.done", response={"id": "resp_1", "usage": usage})
    billed_usd = account.take_usd()
    hear(account, "response.created", response=BEGUN)
    account.close()
    assert account.take_usd() == pytest.approx(billed_usd + 4 / 1e6)


def test_an_answer_that_was_billed_costs_nothing_more_at_the_end_of_the_session() -> None:
    account = open_account()
    account.close()
    hear(account, "response.output_audio.delta", delta=delta(900))
    hear(account, "response.done", response=DONE)
    account.close()
    account.close()
    assert account.totals()["tokens"] == 100
    assert account.take_usd() == pytest.approx(0.0064)


def test_an_answer_of_an_unknown_model_without_an_end_has_an_unknown_price() -> None:
    account = open_account(model="no-such-model")
    hear(account, "response.output_audio.delta", delta=delta(500))
    account.close()
    assert account.totals()["price"] == "unknown"


SPOKEN: list[tuple[str, dict[str, Any]]] = [
    ("session.updated", {"session": {"instructions": "x" * 3_000}}),
    ("response.created", {"response": {"id": "resp_1"}}),
    ("response.output_audio.delta", {"delta": delta(2_000)}),
    ("response.output_audio_transcript.delta", {"delta": "x" * 58}),
]


@pytest.mark.parametrize("usage", [{}, None, {"total_tokens": 0}, "much"])
@pytest.mark.parametrize("status", ["completed", "cancelled", None])
def test_the_tokens_of_an_answer_without_a_bill_are_guessed_and_its_price_is_unknown(status: Any, usage: Any) -> None:
    account = open_account()
    for kind, fields in SPOKEN:
        hear(account, kind, **fields)
    [told] = hear(account, "response.done", response={"id": "resp_1", "status": status, "usage": usage, "output": []})
    assert told["usd"] is None
    assert 1_000 + 40 + 20 <= told["tokens"] <= 1_000 + 40 + 40, "what went in, and what came out"
    assert account.take_usd() == 0.0
    account.close()
    assert account.totals()["tokens"] == told["tokens"], "once"
    assert account.totals()["price"] == "unknown"


def test_each_answer_without_a_bill_is_counted_with_all_that_went_before() -> None:
    account = open_account()
    tokens = [0]
    for number in range(3):
        for kind, fields in SPOKEN[1:]:
            hear(account, kind, **fields | {"response": {"id": f"resp_{number}"}})
        [told] = hear(account, "response.done", response={"id": f"resp_{number}", "status": "completed", "usage": {}})
        tokens.append(told["tokens"])
    first, second, third = (after - before for before, after in itertools.pairwise(tokens))
    assert first < second < third


def test_what_came_while_two_answers_without_a_bill_were_open_is_counted_once() -> None:
    account = open_account()
    for number in range(2):
        hear(account, "response.created", response={"id": f"resp_{number}"})
    hear(account, "response.output_audio.delta", delta=delta(5_000))
    for number in range(2):
        hear(account, "response.done", response={"id": f"resp_{number}", "status": "cancelled", "usage": {}})
    assert account.totals()["tokens"] == 1 + 100


def test_a_response_that_was_cancelled_before_it_said_anything_leaves_the_next_guess_what_it_was() -> None:
    account = open_account()
    hear(account, "session.updated", session={"instructions": "x" * 3_000})
    zero = {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0}
    [told] = hear(account, "response.done", response={"id": "resp_1", "status": "cancelled", "usage": zero})
    assert (told["tokens"], told["usd"]) == (0, 0.0)
    hear(account, "response.created", response=BEGUN)
    account.close()
    assert account.totals()["tokens"] >= 1_000


def test_known_money_is_taken_also_when_the_rest_is_unknown() -> None:
    account = open_account()
    hear(account, "response.done", response=DONE)
    hear(account, "response.done", response={"status": "completed"})
    assert account.take_usd() == pytest.approx(0.0064)


@pytest.mark.parametrize("kind", ["input_audio_buffer.speech_stopped", "input_audio_buffer.committed"])
def test_what_a_person_does_is_not_idleness(kind: str) -> None:
    account = open_account(Limits(idle_s=100))
    hear(account, kind, now_s=90)
    assert account.next_s == 170


def test_an_answer_that_is_cut_short_is_heard_up_to_then_and_to_cut_what_is_over_is_idleness() -> None:
    account = open_account(Limits(idle_s=100))
    hear(account, "response.output_audio.delta", delta=delta(50_000))
    hear(account, "conversation.item.truncated", now_s=20)
    assert account.next_s == 100
    hear(account, "conversation.item.truncated", now_s=90)
    assert account.next_s == 100


@pytest.mark.parametrize("kind", ["response.created", "rate_limits.updated", "response.done", "error", "no.such.event"])
def test_other_events_are_idleness(kind: str) -> None:
    account = open_account(Limits(idle_s=100))
    hear(account, kind, now_s=90, response={"status": "completed"})
    with pytest.raises(IdleLimit):
        account.check(100)


@pytest.mark.parametrize("end", ["speech_stopped", "committed", "cleared"])
def test_speech_stands_for_itself_until_it_stops(end: str) -> None:
    account = open_account(Limits(idle_s=100))
    hear(account, "input_audio_buffer.speech_started", now_s=90)
    assert account.check(500) == []
    hear(account, f"input_audio_buffer.{end}", now_s=500)
    assert account.next_s == 580


def test_to_clear_what_nobody_says_is_idleness() -> None:
    account = open_account(Limits(idle_s=100))
    hear(account, "input_audio_buffer.cleared", now_s=90)
    with pytest.raises(IdleLimit):
        account.check(100)


@pytest.mark.parametrize("kind", ["session.created", "session.updated"])
def test_the_upstreams_unix_time_becomes_a_moment_on_our_clock(kind: str) -> None:
    account = open_account()
    hear(account, kind, session={"expires_at": int(UNIX_S) + 3_600})
    assert account.next_s == pytest.approx(3_540)


STRANGE = [
    ("session.created", {}),
    ("session.created", {"session": None}),
    ("session.created", {"session": {"expires_at": "soon", "model": 7}}),
    ("session.created", {"session": {"expires_at": None}}),
    ("session.created", {"session": {"expires_at": 0}}),
    ("response.done", {}),
    ("response.done", {"response": []}),
    ("response.output_audio.delta", {}),
    ("response.output_audio.delta", {"delta": 7}),
    ("conversation.item.input_audio_transcription.completed", {}),
    ("input_audio_buffer.speech_started", {"audio_start_ms": "x"}),
]


@pytest.mark.parametrize(("kind", "fields"), STRANGE)
def test_an_event_of_a_strange_shape_is_counted_as_far_as_it_can_be_read(kind: str, fields: dict[str, Any]) -> None:
    account = open_account()
    hear(account, kind, **fields)
    assert account.check(1e6) == []
    assert account.totals()["audio_out_s"] == 0.0
