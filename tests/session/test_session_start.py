from __future__ import annotations

import errno
import json

import pytest
import trio
from trio.testing import MockClock

from relay.config import Config, Secret
from relay.target import target_for
from tests.peers import FakeUpstream
from tests.session.rig import CANARY_KEY, CANARY_PROMPT, START, Rig, open_rig, samples


async def test_a_session_starts_with_a_complete_explicit_session_update(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.browser.send_json(START)
        update = await rig.begin_upstream()
        session = update["session"]
        assert session["type"] == "realtime"
        assert session["instructions"] == CANARY_PROMPT
        assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
        assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
        assert session["audio"]["input"]["turn_detection"] == {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "create_response": True,
            "interrupt_response": True,
        }
        assert set(session) == {
            "type", "instructions", "output_modalities", "audio", "tools", "tool_choice", "max_output_tokens",
        }  # fmt: skip
        ready = await rig.expect("relay.ready")
        assert ready["audio"] == START["audio"]
        assert ready["upstream"] == {"input_rate_hz": 24000, "output_rate_hz": 24000}


async def test_push_to_talk_switches_turn_detection_off(autojump_clock: MockClock) -> None:
    async with open_rig(Config(turn_detection="none")) as rig:
        await rig.browser.send_json(START)
        assert (await rig.begin_upstream())["session"]["audio"]["input"]["turn_detection"] is None
        assert (await rig.expect("relay.ready"))["turn_detection"] == "none"


async def test_the_key_travels_in_the_authorization_header_and_nowhere_else(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        request = rig.upstream.request
        assert request is not None
        assert rig.upstream.header("Authorization") == f"Bearer {CANARY_KEY}"
        assert CANARY_KEY not in request.target
        assert rig.upstream.header("OpenAI-Beta") is None
        assert request.target == "/v1/realtime?model=gpt-realtime-2.1"
        wire = bytes(rig.upstream_streams[0].sent)
        assert wire.count(CANARY_KEY.encode()) == 1


async def test_neither_key_nor_prompt_reach_the_browser(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        await rig.browser.send("garbage")
        await rig.expect_error("relay_invalid_json")
        await rig.upstream.hang_up()
        await rig.expect_end("relay_upstream_closed", 4502)
        seen = bytes(rig.browser_stream.sent)
        assert b"session.created" in seen
        assert CANARY_KEY.encode() not in seen
        assert b"CANARY" not in seen


async def test_openai_key_is_not_sent_to_another_host(autojump_clock: MockClock) -> None:
    config = Config(openai_api_key=Secret(CANARY_KEY), upstream="wss://example.test/v1/realtime")
    assert await target_for(config, config.upstream_url).credentials.current() is None


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("/v1/realtime", "/v1/realtime?model=gpt-realtime-2.1"),
        ("/v1/realtime?api-version=1", "/v1/realtime?api-version=1&model=gpt-realtime-2.1"),
        ("/v1/realtime?submodel=tiny", "/v1/realtime?submodel=tiny&model=gpt-realtime-2.1"),
        ("/model=a/realtime", "/model=a/realtime?model=gpt-realtime-2.1"),
        ("/v1/realtime?a=1&model=mine", "/v1/realtime?a=1&model=mine"),
    ],
)
def test_the_model_joins_the_query_unless_the_url_names_one(target: str, asked: str) -> None:
    assert target_for(Config(), f"wss://example.test{target}").address.target == asked


async def test_speech_before_the_upstream_is_ready_is_held_and_then_sent(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.browser.send_json(START)
        for _ in range(50):
            await rig.browser.send(samples(20))
        await trio.testing.wait_all_tasks_blocked()
        assert b"input_audio_buffer" not in rig.upstream_streams[0].sent
        await rig.begin_upstream()
        for _ in range(50):
            assert (await rig.upstream.receive_json())["type"] == "input_audio_buffer.append"


async def test_of_more_than_two_seconds_before_ready_the_oldest_are_dropped_and_told(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.browser.send_json(START)
        for _ in range(150):
            await rig.browser.send(samples(20))
        assert (await rig.expect("relay.warning", code="audio_dropped"))["dropped_ms"] > 0
        await rig.begin_upstream()
        for _ in range(100):
            await rig.upstream.receive_json()
        with trio.move_on_after(5) as waiting:
            await rig.upstream.receive_json()
        assert waiting.cancelled_caught


async def test_without_relay_start_the_session_ends_in_time(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin_upstream()
        began_s = trio.current_time()
        await rig.expect_end("relay_start_failed", 4400)
        assert trio.current_time() - began_s < 12


@pytest.mark.parametrize("rate_hz", [1, 10_000_000])
async def test_an_impossible_rate_ends_the_start_with_a_clear_error(autojump_clock: MockClock, rate_hz: int) -> None:
    async with open_rig() as rig:
        wrong = {"encoding": "f32le", "rate_hz": rate_hz}
        await rig.browser.send_json({**START, "event_id": "mine", "audio": {"input": wrong, "output": wrong}})
        error = await rig.expect_end("relay_start_failed", 4400)
        assert (error["param"], error["event_id"]) == ("audio.input.rate_hz", "mine")


async def test_another_event_before_relay_start_ends_the_start(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.browser.send_json({"type": "response.create", "event_id": "e9"})
        assert (await rig.expect_end("relay_start_failed", 4400))["event_id"] == "e9"


async def test_audio_before_relay_start_is_refused_and_the_start_still_works(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.browser.send(samples(20))
        await rig.expect_error("relay_audio_before_start")
        await rig.browser.send("no json")
        await rig.expect_error("relay_invalid_json")
        await rig.start()
        await rig.browser.send(samples(20))
        assert (await rig.upstream.receive_json())["type"] == "input_audio_buffer.append"


async def test_a_key_that_is_refused_after_the_101_is_told_as_the_operators_affair(autojump_clock: MockClock) -> None:
    async def refuse(rig: Rig, stream: trio.abc.Stream) -> None:
        upstream = await FakeUpstream.accept(stream)
        error = {"type": "invalid_request_error", "code": "invalid_api_key", "message": f"Wrong key {CANARY_KEY}"}
        await upstream.send_json({"type": "error", "event_id": "e", "error": error})
        await upstream.close(3000, "invalid_request_error.invalid_api_key")

    async with open_rig(answer=refuse) as rig:
        error = await rig.expect_end("relay_upstream_unauthorized", 4501)
        assert CANARY_KEY not in json.dumps(error)


@pytest.mark.parametrize(
    ("status", "code", "close_code"),
    [(401, "relay_upstream_unauthorized", 4501), (500, "relay_upstream_refused", 4502)],
)
async def test_a_refused_handshake_is_told_with_its_kind(
    autojump_clock: MockClock, status: int, code: str, close_code: int
) -> None:
    async def refuse(rig: Rig, stream: trio.abc.Stream) -> None:
        await FakeUpstream.refuse(stream, status, body=b"no")

    async with open_rig(answer=refuse) as rig:
        await rig.expect_end(code, close_code)


async def test_retry_after_of_the_upstream_reaches_the_browser(autojump_clock: MockClock) -> None:
    async def refuse(rig: Rig, stream: trio.abc.Stream) -> None:
        await FakeUpstream.refuse(stream, 429, headers=[("Retry-After", "7")])

    async with open_rig(answer=refuse) as rig:
        error = await rig.expect_end("relay_upstream_refused", 4502)
        assert 7_000 <= error["retry_after_ms"] < 8_000


async def test_an_upstream_that_cannot_be_reached_starts_a_cool_down_for_all(autojump_clock: MockClock) -> None:
    async with open_rig(dial_error=OSError("no route")) as rig:
        error = await rig.expect_end("relay_upstream_unreachable", 4502)
        assert error["retry_after_ms"] >= 1
        services = rig.services
    services.admission.cooldown._until_s = trio.current_time() + 3
    async with open_rig(services=services) as rig:
        error = await rig.expect_end("relay_cooling_down", 4503)
        assert error["retry_after_ms"] >= 3_000
        assert rig.upstream_streams == []


async def test_a_session_that_is_lost_after_it_stood_lets_the_next_one_try(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        await rig.upstream.hang_up()
        error = await rig.expect_end("relay_upstream_closed", 4502)
        assert error["retry_after_ms"] >= 1
        services = rig.services
    async with open_rig(services=services) as rig:
        await rig.start()


def tried_two_addresses(number: int) -> OSError:
    """Return what Trio raises when it could connect to none of a host's addresses."""
    error = OSError("all attempts to connect failed")
    error.__cause__ = ExceptionGroup("all attempts", [OSError(errno.ECONNREFUSED, "no"), OSError(number, "no")])
    return error


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL])
@pytest.mark.parametrize("is_nested", [False, True])
async def test_a_lack_of_our_own_is_not_held_against_the_upstream(
    autojump_clock: MockClock, number: int, is_nested: bool
) -> None:
    lack = tried_two_addresses(number) if is_nested else OSError(number, "no")
    async with open_rig(dial_error=lack) as rig:
        error = await rig.expect_end("relay_overloaded", 1013)
        assert "no room for another connection" in error["message"]
        rig.services.admission.cooldown.check(trio.current_time())


async def test_an_upstream_that_accepts_and_never_answers_is_given_up_in_time(autojump_clock: MockClock) -> None:
    async def silence(rig: Rig, stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with open_rig(answer=silence) as rig:
        await rig.browser.send_json(START)
        began_s = trio.current_time()
        await rig.expect("error")
        assert trio.current_time() - began_s < 12


async def test_an_upstream_that_never_makes_a_session_is_given_up_in_time(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.browser.send_json(START)
        await rig.expect_end("relay_upstream_timeout", 4504)
