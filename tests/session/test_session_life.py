from __future__ import annotations

import base64
import json
import struct
from unittest.mock import Mock

import numpy as np
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from relay.config import Config
from relay.core.openai_json import OpenAIJson
from relay.core.relay_v1 import RelayV1
from relay.upstream import MOST_VALUES
from tests.peers import PeerEnded
from tests.session.rig import CANARY_KEY, START, Language, Rig, delta_event, open_rig, samples


async def sent_pcm(rig: Rig) -> np.ndarray:
    """Return the PCM16 of the next append that the upstream gets."""
    event = await rig.upstream.receive_json()
    assert event["type"] == "input_audio_buffer.append"
    return np.frombuffer(base64.b64decode(event["audio"]), "<i2")


async def test_microphone_audio_arrives_upstream_as_pcm16(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        await rig.browser.send(samples(20))
        pcm = await sent_pcm(rig)
        assert len(pcm) == 480
        assert np.max(np.abs(pcm)) == pytest.approx(0.25 * 32768, rel=0.01)


BAD_MESSAGES = [
    ("{", "relay_invalid_json"),
    ("[1]", "relay_invalid_json"),
    ('{"type": "no.such.event"}', "relay_unknown_event"),
    ('{"type": "relay.played", "item": -1, "samples": 0}', "relay_invalid_field"),
    ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', "relay_unknown_event"),
    (json.dumps(START), "relay_invalid_field"),
    (b"", "relay_invalid_audio"),
    (b"abc", "relay_invalid_audio"),
]


@pytest.mark.parametrize(("message", "code"), BAD_MESSAGES)
async def test_a_bad_message_gets_a_typed_error_and_the_session_goes_on(
    autojump_clock: MockClock, message: str | bytes, code: str
) -> None:
    async with open_rig() as rig:
        await rig.start()
        await rig.browser.send(message)
        error = await rig.expect_error(code)
        assert "fatal" not in error
        await rig.browser.send(samples(20))
        assert len(await sent_pcm(rig)) == 480
        assert rig.reason is None


async def test_nan_and_infinity_are_silence_and_clipping_and_no_error(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        await rig.browser.send(np.array([np.nan, np.inf, -np.inf, 0.0] * 120, "<f4").tobytes())
        pcm = await sent_pcm(rig)
        assert list(pcm[:4]) == [0, 32767, -32768, 0]


async def test_a_message_over_the_limit_ends_the_session_with_1009(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        await rig.browser.send(bytes(65_536))
        await rig.browser.send(bytes(65_537))
        await rig.expect_end("relay_message_too_big", 1009)


async def test_a_frame_of_16_mib_is_refused_before_it_is_buffered(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        head = b"\x82\xff" + struct.pack("!Q", 16 * 2**20) + bytes(4)
        await rig.browser.stream.send_all(head + bytes(100_000))
        await rig.expect_end("relay_message_too_big", 1009)


async def test_text_that_is_not_utf8_ends_the_session_with_1007(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        await rig.browser.stream.send_all(b"\x81\x82" + bytes(4) + b"\xff\xff")
        await rig.expect_end("relay_protocol_error", 1007)


async def test_model_audio_reaches_the_browser_as_frames_and_other_events_as_they_are(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        await rig.start()
        await rig.upstream.send_json(delta_event("item_a", 200))
        event = {"type": "response.done", "event_id": "e", "response": {"id": "resp_1", "status": "completed"}}
        await rig.upstream.send_json(event)
        await rig.upstream.send_json({"type": "response.output_audio.done", "item_id": "item_a"})
        assert await rig.expect("response.done") == event
        await rig.expect("relay.audio.done")
        assert [struct.unpack_from("<BBHIQ", frame) for frame in rig.frames] == [(1, 0, 0, 1, 0), (1, 0, 0, 1, 2400)]
        assert [len(frame) for frame in rig.frames] == [16 + 4 * 2400] * 2


async def test_an_event_is_never_stuck_behind_audio(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        for _ in range(100):
            await rig.upstream.send_json(delta_event("item_a", 250))
        await rig.upstream.send_json({"type": "response.done", "response": {"id": "resp_1", "status": "completed"}})
        began_s = trio.current_time()
        await rig.expect("response.done")
        assert trio.current_time() - began_s < 0.1


async def test_audio_is_paced_and_complete(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        began_s = trio.current_time()
        for _ in range(40):
            await rig.upstream.send_json(delta_event("item_a", 250))
        await rig.upstream.send_json({"type": "response.output_audio.done", "item_id": "item_a"})
        done = await rig.expect("relay.audio.done")
        assert done["samples"] >= 10 * 24_000
        assert 8.5 <= trio.current_time() - began_s <= 9.5


async def test_reading_the_upstream_stops_above_the_cap_and_goes_on_below(autojump_clock: MockClock) -> None:
    async with open_rig(Config(downlink_queue_ms=1_000)) as rig:
        await rig.start()
        for _ in range(40):
            await rig.upstream.send_json(delta_event("item_a", 250))
        await rig.upstream.send_json({"type": "rate_limits.updated"})
        began_s = trio.current_time()
        await rig.expect("rate_limits.updated")
        assert 7 <= trio.current_time() - began_s <= 9


async def test_an_interruption_above_the_cap_lets_the_upstream_be_read_again(autojump_clock: MockClock) -> None:
    async with open_rig(Config(downlink_queue_ms=1_000)) as rig:
        await rig.start()
        await rig.upstream.send_json({"type": "response.created", "response": {"id": "resp_1"}})
        for _ in range(20):
            await rig.upstream.send_json(delta_event("item_a", 250))
        await trio.testing.wait_all_tasks_blocked()
        await rig.browser.send_json({"type": "relay.interrupt"})
        flush = await rig.expect("relay.flush")
        await rig.browser.send_json({"type": "relay.flushed", "flush": flush["flush"], "item": 1, "samples": 480})
        await rig.upstream.send_json({"type": "response.done", "response": {"id": "resp_1", "status": "cancelled"}})
        with trio.fail_after(1):
            await rig.expect("response.done")


async def test_speech_during_an_answer_flushes_and_truncates_at_what_was_played(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        await rig.upstream.send_json({"type": "response.created", "response": {"id": "resp_1"}})
        await rig.upstream.send_json(delta_event("item_a", 3_000))
        while rig.frame_samples < 12_000:
            await rig.receive()
        await rig.upstream.send_json({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0})
        flush = await rig.expect("relay.flush")
        await rig.browser.send_json({"type": "relay.flushed", "flush": flush["flush"], "item": 1, "samples": 12_000})
        truncate = await rig.upstream.receive_json()
        assert truncate == {
            "type": "conversation.item.truncate", "item_id": "item_a", "content_index": 0, "audio_end_ms": 500,
        }  # fmt: skip


async def test_a_flush_that_is_not_answered_is_settled_in_a_quarter_second(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        await rig.upstream.send_json(delta_event("item_a", 3_000))
        while rig.frame_samples < 12_000:
            await rig.receive()
        await rig.browser.send_json({"type": "relay.played", "item": 1, "samples": 2_400})
        await trio.testing.wait_all_tasks_blocked()
        began_s = trio.current_time()
        await rig.upstream.send_json({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0})
        assert (await rig.upstream.receive_json())["audio_end_ms"] == 100
        assert trio.current_time() - began_s == pytest.approx(0.25, abs=0.01)


async def test_levels_are_told_when_asked_for_and_show_what_was_sent(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start({**START, "levels": True})
        for _ in range(20):
            await rig.browser.send(samples(20, level=0.5))
            await trio.sleep(0.02)
        level = (await rig.expect("relay.level", output=None))["input"]
        assert level["peak_dbfs"] == pytest.approx(-6.0, abs=0.2)
        assert level["rms_dbfs"] == pytest.approx(-9.0, abs=0.3)


async def test_a_microphone_of_zeros_is_warned_about_within_about_two_seconds(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        began_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drain, rig)
            for _ in range(120):
                await rig.browser.send(bytes(len(samples(20))))
                await trio.sleep(0.02)
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began_s < 2.5
        await rig.expect("relay.warning", code="microphone_silent")


async def _drain(rig: Rig) -> None:
    while True:
        await rig.upstream.receive()


ENDS = [
    ("hang_up", "relay_upstream_closed", 4502),
    ("close", "relay_upstream_closed", 4502),
    ("garbage", "relay_upstream_protocol_error", 4502),
    ("binary", "relay_upstream_protocol_error", 4502),
    ("values", "relay_upstream_protocol_error", 4502),
    ("depth", "relay_upstream_protocol_error", 4502),
    ("broken_audio", "relay_upstream_protocol_error", 4502),
    ("expire", "relay_session_expired", 4410),
    ("silence", "relay_upstream_timeout", 4504),
]


async def misbehave(rig: Rig, how: str) -> None:
    """Let the upstream fail in one of the ways it can."""
    upstream = rig.upstream
    match how:
        case "hang_up":
            await upstream.hang_up()
        case "close":
            await upstream.close(1011)
        case "garbage":
            await upstream.send("{garbage")
        case "binary":
            await upstream.send(b"binary")
        case "values":
            content: list[dict[str, str]] = [{}] * (MOST_VALUES + 10)
            await upstream.send_json({"type": "conversation.item.added", "item": {"id": "item_1", "content": content}})
        case "depth":
            nested = "[" * 80 + "]" * 80
            deep = ",".join([nested] * (MOST_VALUES // 80 + 10))
            await upstream.send(f'{{"type": "conversation.item.added", "item": {{"id": "i", "content": [{deep}]}}}}')
        case "broken_audio":
            await upstream.send_json({**delta_event("item_a", 20), "delta": "not base64!"})
        case "expire":
            error = {"type": "invalid_request_error", "code": "session_expired", "message": "60 minutes"}
            await upstream.send_json({"type": "error", "event_id": "e", "error": error})
            await upstream.close(1001)
        case "silence":
            await trio.sleep(20)


@pytest.mark.parametrize(("how", "code", "close_code"), ENDS)
async def test_when_the_upstream_fails_the_browser_hears_why_and_both_legs_end_within_two_seconds(
    autojump_clock: MockClock, how: str, code: str, close_code: int
) -> None:
    async with open_rig() as rig:
        await rig.start()
        await misbehave(rig, how)
        began_s = trio.current_time()
        await rig.expect_end(code, close_code)
        await rig.ended.wait()
        assert trio.current_time() - began_s < (2 if how != "silence" else 10)
        assert rig.upstream_streams[0].closed


async def test_when_the_browser_leaves_the_upstream_is_closed_within_two_seconds(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        began_s = trio.current_time()
        await rig.browser.close()
        with pytest.raises(PeerEnded):
            await rig.upstream.receive()
        await rig.ended.wait()
        assert trio.current_time() - began_s < 2
        assert rig.reason is not None
        assert rig.reason.code == "relay_client_gone"


async def test_a_stalled_upstream_does_not_keep_the_browser_from_its_goodbye(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        with rig.upstream_streams[0].stalled_sends():
            await rig.browser.send(samples(20))
            await trio.testing.wait_all_tasks_blocked()
            rig.services.admission.drain(trio.current_time())
            began_s = trio.current_time()
            await rig.expect_end("relay_shutting_down", 1012)
            await rig.ended.wait()
            assert trio.current_time() - began_s <= 2


async def test_a_browser_that_does_not_read_is_given_up_within_the_send_deadline(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        with rig.browser_stream.stalled_sends():
            began_s = trio.current_time()
            await rig.upstream.send_json({"type": "rate_limits.updated"})
            await rig.ended.wait()
            assert trio.current_time() - began_s < 5 + 2
            assert rig.reason is not None
            assert rig.reason.code == "relay_client_timeout"


async def test_a_browser_that_falls_silent_is_given_up_within_25_seconds(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        began_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_answer_pings, rig)
            await rig.ended.wait()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began_s <= 27
        assert rig.reason is not None
        assert rig.reason.code == "relay_client_timeout"


async def _answer_pings(rig: Rig) -> None:
    try:
        while True:
            await rig.upstream.receive()
    except PeerEnded:
        pass


async def test_shutting_down_tells_the_browser_to_come_back(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        rig.services.admission.drain(trio.current_time())
        await rig.expect_end("relay_shutting_down", 1012)


@pytest.mark.parametrize(
    ("event_id", "kind", "code", "reason"),
    [
        ("e1", "error", "insufficient_quota", "relay_upstream_unauthorized"),
        ("e" * 500, "error", "session_expired", "relay_session_expired"),
        ("e1", "conversation.item.input_audio_transcription.failed", "insufficient_quota", "relay_upstream_closed"),
    ],
)
async def test_the_reason_of_a_close_is_the_last_error_and_no_other_failure(
    autojump_clock: MockClock, event_id: str, kind: str, code: str, reason: str
) -> None:
    async with open_rig() as rig:
        await rig.start()
        await rig.upstream.send_json({"event_id": event_id, "type": kind, "error": {"code": code, "message": "no"}})
        await rig.upstream.close(1000)
        await rig.expect_error(reason)


DEEP = "[" * 20_000 + "]" * 20_000  # Python 3.11 reads 1,000 levels, 3.13 reads 10,000
UNREADABLE = [
    ('{"type": "x", "deep": ' + DEEP + "}", RelayV1),
    ('{"type": "error", "error": {"deep": ' + DEEP + "}}", RelayV1),
    ('{"type": "x", "deep": ' + DEEP + "}", OpenAIJson),
    ('{"type": "session.updated", "huge": 1e999}', OpenAIJson),
    ("[]", OpenAIJson),
]


@pytest.mark.parametrize(("text", "language"), UNREADABLE)
async def test_an_event_that_cannot_be_read_is_the_upstreams_fault_not_ours(
    autojump_clock: MockClock, text: str, language: Language
) -> None:
    async with open_rig(language=language) as rig:
        if language is RelayV1:
            await rig.start()
        else:
            await rig.begin_upstream()
        await rig.upstream.send(text)
        await rig.expect_end("relay_upstream_protocol_error", 4502)


async def test_openai_json_passes_events_both_ways(autojump_clock: MockClock) -> None:
    async with open_rig(language=OpenAIJson) as rig:
        await rig.begin_upstream()
        await rig.expect("session.created")
        audio = base64.b64encode(bytes(960)).decode()
        await rig.browser.send_json({"type": "input_audio_buffer.append", "audio": audio})
        assert await rig.upstream.receive_json() == {"type": "input_audio_buffer.append", "audio": audio}
        delta = delta_event("item_a", 250)
        await rig.upstream.send_json(delta)
        assert await rig.expect("response.output_audio.delta") == delta


@pytest.mark.parametrize("audio", ["!!!!", "AAA", "AA==", "AAAA AAAA", "A" * 40_000 + "="])
async def test_broken_base64_gets_a_typed_error_and_the_session_goes_on(autojump_clock: MockClock, audio: str) -> None:
    async with open_rig(language=OpenAIJson) as rig:
        await rig.begin_upstream()
        await rig.browser.send_json({"type": "input_audio_buffer.append", "audio": audio, "event_id": "mine"})
        error = await rig.expect_error("relay_invalid_audio")
        assert (error["param"], error["event_id"]) == ("audio", "mine")
        await rig.browser.send_json({"type": "input_audio_buffer.clear"})
        assert await rig.upstream.receive_json() == {"type": "input_audio_buffer.clear"}


async def test_a_browser_that_does_not_read_does_not_delay_the_end_beyond_two_seconds(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        await rig.start()
        with rig.browser_stream.stalled_sends(after_bytes=5):
            await rig.upstream.send_json({"type": "rate_limits.updated"})
            await trio.testing.wait_all_tasks_blocked()
            began_s = trio.current_time()
            await rig.upstream.hang_up()
            await rig.ended.wait()
            assert trio.current_time() - began_s <= 2
            assert rig.reason is not None
            assert rig.reason.code == "relay_upstream_closed"


async def test_a_browser_that_reads_drop_by_drop_does_not_delay_the_end_beyond_two_seconds(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        await rig.start()
        with rig.browser_stream.stalled_sends(after_bytes=5):
            await rig.upstream.send_json({"type": "rate_limits.updated"})
            await trio.testing.wait_all_tasks_blocked()
            began_s = trio.current_time()
            await rig.upstream.hang_up()
            await trio.sleep(0.9)
        with rig.browser_stream.stalled_sends(after_bytes=40):  # the rest of the marker, and half a goodbye
            await trio.sleep(0.9)
        await rig.ended.wait()
        assert trio.current_time() - began_s <= 2


async def test_a_client_of_openai_json_that_reads_slowly_slows_the_upstream_and_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(language=OpenAIJson) as rig:
        await rig.begin_upstream()
        await rig.expect("session.updated")
        with rig.browser_stream.stalled_sends():
            for _ in range(200):
                await rig.upstream.send_json(delta_event("item_a", 400))
            await trio.sleep(2)
            assert rig.reason is None
        await rig.upstream.send_json({"type": "rate_limits.updated"})
        await rig.expect("rate_limits.updated")


async def test_an_error_that_quotes_the_key_reaches_the_browser_without_it(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        error = {"type": "server_error", "code": "odd", "message": f"Your key {CANARY_KEY} is odd"}
        await rig.upstream.send_json({"type": "error", "event_id": "e", "error": error})
        assert (await rig.expect_error("odd"))["message"] == "Your key [hidden] is odd"
        assert CANARY_KEY.encode() not in bytes(rig.browser_stream.sent)


async def test_a_client_of_openai_json_may_listen_without_a_word(autojump_clock: MockClock) -> None:
    async with open_rig(language=OpenAIJson) as rig:
        await rig.begin_upstream()
        await trio.sleep(15)
        await rig.upstream.send_json({"type": "rate_limits.updated"})
        await rig.expect("rate_limits.updated")


async def test_a_microphone_frame_does_not_wake_who_writes_to_the_browser(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig() as rig:
        await rig.start()
        await trio.testing.wait_all_tasks_blocked()
        take = Mock(wraps=RelayV1.take, return_value=None)
        monkeypatch.setattr(RelayV1, "take", take)
        for _ in range(50):
            await rig.browser.send(samples(20))
            await sent_pcm(rig)
        assert take.call_count == 0


async def test_a_session_that_is_cancelled_whole_is_logged_as_shutting_down(
    autojump_clock: MockClock,
) -> None:
    with capture_logs() as logs:
        async with open_rig() as rig:
            await rig.start()
            rig.scope.cancel()
            await rig.ended.wait()
    assert [entry["reason"] for entry in logs if entry["event"] == "session.ended"] == ["relay_shutting_down"]


async def test_a_big_event_on_top_of_what_waits_is_carried_and_not_the_browsers_fault(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(language=OpenAIJson) as rig:
        await rig.begin_upstream()
        await rig.expect("session.updated")
        with rig.browser_stream.stalled_sends():
            for _ in range(5):
                await rig.upstream.send_json({"type": "response.output_text.done", "text": "x" * 100_000})
            await rig.upstream.send_json({"type": "response.output_text.done", "text": "x" * 1_000_000})
            await trio.sleep(1)
            assert rig.reason is None
        await rig.expect("response.output_text.done", text="x" * 1_000_000)
