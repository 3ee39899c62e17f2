"""Each limit in a running session: told at 80 %, ended at 100 % with its own code, the upstream closed."""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock

from relay.admission import Admission
from relay.config import Config, Secret
from relay.core.openai_json import OpenAIJson
from relay.errors import DayLimit
from relay.limits import open_account
from relay.session import Services
from relay.target import target_for
from tests.peers import PeerEnded
from tests.session.rig import CANARY_KEY, START, Rig, delta_event, open_rig, samples

TENTH_USD = {"total_tokens": 0, "input_tokens": 3_125, "input_token_details": {"audio_tokens": 3_125}}
HUNDRED_TOKENS = {"total_tokens": 100, "input_tokens": 60, "output_tokens": 40}


def config(**limits: Any) -> Config:
    return Config(openai_api_key=Secret(CANARY_KEY), **limits)


NUMBERS = itertools.count(1)


async def respond(rig: Rig, usage: object, status: str = "completed") -> None:
    response = {"id": f"resp_{next(NUMBERS)}", "status": status, "usage": usage}
    await rig.upstream.send_json({"type": "response.done", "event_id": "e", "response": response})


async def read_upstream(rig: Rig) -> None:
    """Take what relay sends upstream, and answer its pings."""
    try:
        while True:
            await rig.upstream.receive()
    except PeerEnded:
        await rig.upstream.hang_up()


async def expect_end(rig: Rig, code: str, close_code: int) -> None:
    """The browser hears `code`, and both legs are closed within a second."""
    began_s = trio.current_time()
    await rig.expect_end(code, close_code)
    await rig.ended.wait()
    assert rig.upstream_streams[0].closed
    assert trio.current_time() - began_s < 1


# Time


@pytest.mark.parametrize(
    ("name", "warning", "code", "close_code"),
    [
        ("max_session_s", "time_limit_near", "relay_time_limit", 4601),
        ("max_idle_s", "idle_limit_near", "relay_idle_limit", 4602),
    ],
)
async def test_a_limit_on_time_warns_at_80_percent_and_ends_at_100(
    autojump_clock: MockClock, name: str, warning: str, code: str, close_code: int
) -> None:
    async with open_rig(config(**{name: 10.0})) as rig, trio.open_nursery() as nursery:
        began_s = trio.current_time()
        await rig.start()
        nursery.start_soon(read_upstream, rig)
        told = await rig.expect("relay.warning", code=warning)
        assert trio.current_time() - began_s == pytest.approx(8, abs=0.1)
        assert told["seconds"] == 2
        await rig.expect_error(code)
        assert trio.current_time() - began_s == pytest.approx(10, abs=0.1)
        assert await rig.wait_close() == close_code
        await rig.ended.wait()
        assert rig.upstream_streams[0].closed
        assert trio.current_time() - began_s < 11


async def test_a_session_that_never_begins_is_ended_by_its_limit_on_time_too(autojump_clock: MockClock) -> None:
    async with open_rig(config(max_session_s=3.0)) as rig:
        began_s = trio.current_time()
        await rig.expect_end("relay_time_limit", 4601)
        assert trio.current_time() - began_s == pytest.approx(3, abs=0.1)


async def test_microphone_noise_is_idleness(autojump_clock: MockClock) -> None:
    async with open_rig(config(max_idle_s=5.0)) as rig, trio.open_nursery() as nursery:
        began_s = trio.current_time()
        await rig.start()
        nursery.start_soon(read_upstream, rig)
        nursery.start_soon(_make_noise, rig)
        await rig.expect_end("relay_idle_limit", 4602)
        assert trio.current_time() - began_s == pytest.approx(5, abs=0.1)
        nursery.cancel_scope.cancel()


async def _make_noise(rig: Rig) -> None:
    while True:
        await rig.browser.send(samples(20))
        await trio.sleep(0.02)


async def test_speech_and_audible_answers_are_not_idleness(autojump_clock: MockClock) -> None:
    async with open_rig(config(max_idle_s=5.0)) as rig, trio.open_nursery() as nursery:
        await rig.start()
        nursery.start_soon(read_upstream, rig)
        nursery.start_soon(_speak_and_answer, rig)
        await rig.expect("relay.warning", code="idle_limit_near")
        assert trio.current_time() == pytest.approx(3.9 + 5.1 + 8 + 4, abs=0.2)
        await expect_idle_end_after(rig, 1.0)
        nursery.cancel_scope.cancel()


async def _speak_and_answer(rig: Rig) -> None:
    await trio.sleep(3.9)
    await rig.upstream.send_json({"type": "input_audio_buffer.speech_started"})
    await trio.sleep(5.1)
    await rig.upstream.send_json({"type": "input_audio_buffer.speech_stopped"})
    for _ in range(4):
        await rig.upstream.send_json(delta_event("item_a", 2_000))


async def expect_idle_end_after(rig: Rig, seconds: float) -> None:
    began_s = trio.current_time()
    await rig.expect_end("relay_idle_limit", 4602)
    assert trio.current_time() - began_s == pytest.approx(seconds, abs=0.1)


async def test_an_idle_session_wakes_for_nothing_but_its_limits(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig(config(max_session_s=20.0, max_idle_s=18.0)) as rig:
        await rig.start()
        checks: list[float] = []
        assert rig.session is not None
        account = rig.session._account
        check = account.check

        def note(now_s: float) -> list[dict[str, Any]]:
            checks.append(now_s)
            return check(now_s)

        monkeypatch.setattr(account, "check", note)
        await rig.expect_end("relay_idle_limit", 4602)
        assert checks == [pytest.approx(moment, abs=0.05) for moment in (14.4, 16, 18)]


# The upstream's own limit


async def test_the_upstreams_limit_is_warned_of_60_s_ahead_and_kept_before_the_upstream_cuts(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(config()) as rig, trio.open_nursery() as nursery:
        await rig.start()
        nursery.start_soon(read_upstream, rig)
        began_s = trio.current_time()
        session = {"id": "sess_1", "expires_at": time.time() + 70}
        await rig.upstream.send_json({"type": "session.updated", "session": session})
        told = await rig.expect("relay.warning", code="session_expiring")
        assert trio.current_time() - began_s == pytest.approx(10, abs=0.5)
        assert told["seconds"] == 58
        await rig.expect_error("relay_session_expired")
        assert trio.current_time() - began_s == pytest.approx(68, abs=0.5)
        assert await rig.wait_close() == 4410
        await rig.ended.wait()
        assert rig.upstream_streams[0].closed
        rig.services.admission.cooldown.check(trio.current_time())
        nursery.cancel_scope.cancel()


# Amounts


async def hear_a_second(rig: Rig) -> None:
    for _ in range(10):
        await rig.browser.send(samples(100))
        await trio.sleep(0.1)


async def say_a_second(rig: Rig) -> None:
    await rig.upstream.send_json(delta_event("item_a", 1_000))


async def use_tokens(rig: Rig) -> None:
    await respond(rig, HUNDRED_TOKENS)


async def spend(rig: Rig) -> None:
    await respond(rig, TENTH_USD, "cancelled")


AMOUNTS = [
    ({"max_audio_in_s": 9.999}, hear_a_second, "audio_in_limit_near", "relay_audio_in_limit", 4603),
    ({"max_audio_out_s": 10.0}, say_a_second, "audio_out_limit_near", "relay_audio_out_limit", 4604),
    ({"max_tokens": 1_000}, use_tokens, "token_limit_near", "relay_token_limit", 4605),
    ({"max_usd": 0.9999}, spend, "money_limit_near", "relay_money_limit", 4606),
]


@pytest.mark.parametrize(("limits", "use_tenth", "warning", "code", "close_code"), AMOUNTS)
async def test_a_limit_on_an_amount_warns_at_80_percent_and_ends_at_100(
    autojump_clock: MockClock,
    limits: dict[str, Any],
    use_tenth: Callable[[Rig], Awaitable[None]],
    warning: str,
    code: str,
    close_code: int,
) -> None:
    async with open_rig(config(**limits)) as rig, trio.open_nursery() as nursery:
        await rig.start()
        nursery.start_soon(read_upstream, rig)
        for _ in range(7):
            await use_tenth(rig)
        await trio.testing.wait_all_tasks_blocked()
        assert warning.encode() not in rig.browser_stream.sent
        await use_tenth(rig)
        await use_tenth(rig)
        await rig.expect("relay.warning", code=warning)
        await trio.testing.wait_all_tasks_blocked()
        assert rig.browser_stream.sent.count(warning.encode()) == 1
        assert rig.reason is None
        await use_tenth(rig)
        await expect_end(rig, code, close_code)
        nursery.cancel_scope.cancel()


async def test_a_recording_that_becomes_an_item_counts_as_audio_too(autojump_clock: MockClock) -> None:
    async with open_rig(config(max_audio_in_s=2.0), language=OpenAIJson) as rig:
        await rig.begin_upstream()
        second = base64.b64encode(bytes(48_000)).decode()
        halves = [{"type": "input_audio", "audio": second[:32_000]}, {"type": "input_audio", "audio": second[32_000:]}]
        item = {
            "type": "message",
            "role": "user",
            "content": [*halves, {"type": "input_text", "text": "what is that?"}],
        }
        await rig.browser.send_json({"type": "conversation.item.create", "item": item})
        assert (await rig.upstream.receive_json())["item"] == item
        assert rig.reason is None
        await rig.browser.send_json({"type": "conversation.item.create", "item": item})
        await rig.expect_end("relay_audio_in_limit", 4603)


async def test_audio_that_was_dropped_on_its_way_up_does_not_count(autojump_clock: MockClock) -> None:
    async with open_rig(config(max_audio_in_s=2.5)) as rig:
        await rig.browser.send_json(START)
        for _ in range(100):  # the upstream is not ready: 2 s are kept
            await rig.browser.send(samples(100))
        await rig.begin_upstream()
        await rig.expect("relay.ready")
        await trio.testing.wait_all_tasks_blocked()
        assert rig.reason is None


async def test_a_limit_in_money_ends_a_session_whose_price_is_not_known(autojump_clock: MockClock) -> None:
    async with open_rig(config(max_usd_per_day=1.0, model="no-such-model")) as rig:
        await rig.start()
        await respond(rig, HUNDRED_TOKENS)
        error = await rig.expect_end("relay_money_limit", 4606)
        assert "not known" in error["message"]


@pytest.mark.parametrize(("profile", "total"), [("", ("usd", 0.0)), ("xai", ("price", "unknown"))])
def test_where_a_minute_costs_money_a_session_in_which_nothing_was_said_is_not_free(
    profile: Any, total: tuple[str, Any]
) -> None:
    assert total in open_account(Config(profile=profile), now_s=0.0).totals().items()


async def test_who_is_told_of_no_tokens_is_ended_by_a_limit_on_tokens_all_the_same(autojump_clock: MockClock) -> None:
    async with open_rig(config(max_tokens=1_000, instructions="x" * 1_500)) as rig, trio.open_nursery() as nursery:
        await rig.start()
        nursery.start_soon(read_upstream, rig)
        for number in range(2):
            spoken = {"type": "response.output_text.delta", "event_id": "e", "delta": "x" * 2_100}
            await rig.upstream.send_json(spoken)
            assert rig.reason is None, number
            await respond(rig, {})
        await expect_end(rig, "relay_token_limit", 4605)
        nursery.cancel_scope.cancel()


async def test_without_a_limit_in_money_an_unknown_price_ends_nothing(autojump_clock: MockClock) -> None:
    async with open_rig(config(model="no-such-model", tell_usage=True)) as rig:
        await rig.start()
        await respond(rig, HUNDRED_TOKENS)
        usage = await rig.expect("relay.usage")
        assert (usage["tokens"], usage["usd"]) == (100, None)


# The day's money


async def test_when_the_days_money_is_spent_all_sessions_end_and_none_begins(autojump_clock: MockClock) -> None:
    services = services_for(config(max_usd_per_day=0.15))
    async with open_rig(services=services) as other, open_rig(services=services) as rig:
        await other.start()
        await rig.start()
        await respond(rig, TENTH_USD)
        await trio.testing.wait_all_tasks_blocked()
        services.admission.check()
        await respond(other, TENTH_USD)
        for one in (rig, other):
            error = await one.expect_end("relay_day_limit", 4607)
            assert 1_000 <= error["retry_after_ms"] <= 24 * 3_600_000 + 60_000
    with pytest.raises(DayLimit):
        services.admission.check()


async def test_who_leaves_in_the_middle_of_an_answer_has_spent_what_they_got_of_it(autojump_clock: MockClock) -> None:
    services = services_for(config(max_usd_per_day=0.02))
    for _ in range(2):
        services.admission.check()
        async with open_rig(services=services, language=OpenAIJson) as rig:
            await rig.begin_upstream()
            await rig.upstream.send_json(delta_event("item_a", 8_000))  # 160 tokens at 64 $ a million
            await rig.expect("response.output_audio.delta")
            await rig.browser.close()
            await rig.ended.wait()
    with pytest.raises(DayLimit):
        services.admission.check()


def services_for(config: Config) -> Services:
    return Services(config, Admission(config), target_for(config, "wss://api.openai.com/v1/realtime"))


# What is told


async def test_usage_is_told_to_the_browser_only_where_the_operator_permits_it(autojump_clock: MockClock) -> None:
    for permitted in (False, True):
        async with open_rig(config(tell_usage=permitted)) as rig:
            await rig.start()
            await respond(rig, TENTH_USD)
            await rig.upstream.send_json({"type": "rate_limits.updated"})
            await rig.expect("rate_limits.updated")
            assert (b"relay.usage" in rig.browser_stream.sent) is permitted


async def test_a_client_of_openai_json_hears_nothing_of_relays_own_and_is_ended_all_the_same(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(config(max_session_s=5.0, tell_usage=True), language=OpenAIJson) as rig:
        await rig.begin_upstream()
        await respond(rig, TENTH_USD)
        await rig.expect_end("relay_time_limit", 4601)
        assert b'"relay.' not in rig.browser_stream.sent


@pytest.mark.parametrize(
    ("model", "expected"), [("gpt-realtime-2.1", {"usd": 0.1}), ("no-such-model", {"price": "unknown"})]
)
async def test_the_log_says_at_the_end_what_was_used(
    autojump_clock: MockClock, model: str, expected: dict[str, Any]
) -> None:
    with structlog.testing.capture_logs() as logged:
        async with open_rig(config(model=model)) as rig:
            await rig.start()
            await rig.browser.send(samples(500))
            await rig.upstream.send_json(delta_event("item_a", 250))
            await respond(rig, TENTH_USD)
            await trio.testing.wait_all_tasks_blocked()
            await rig.browser.close()
            await rig.ended.wait()
    [line] = [line for line in logged if line["event"] == "session.ended"]
    expected = {"tokens": 3_125, "audio_in_s": 0.5, "audio_out_s": 0.25, **expected}
    assert {name: line[name] for name in expected} == expected
    assert ("usd" in line) is ("usd" in expected)
