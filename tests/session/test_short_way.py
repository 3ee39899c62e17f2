"""The short way (relay/short_way.py): real TCP, real time, and the promises of a session that go on holding."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress
from typing import Any

import pytest
import trio
from wsproto.utilities import LocalProtocolError

from relay import wire
from relay.audio import Uplink
from relay.config import Config
from relay.core.passing import EventPath, Passed
from relay.pump import Pump
from relay.short_way import open_short_way
from relay.tls_stream import RECORD_BYTES
from relay.way_stream import WayStream
from tests.peers import PeerEnded, frame, loopback_pair
from tests.session.rig import delta_event
from tests.session.road import RATE_HZ, RESPONSE, OpenRoad, Road, voice


def narrow(near: trio.abc.Stream, far: trio.abc.Stream) -> None:
    """Make the buffers of a connection small, so that it is soon full."""
    near.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # type: ignore[attr-defined]
    tcp: Any = far.transport_stream if isinstance(far, trio.SSLStream) else far
    tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)


async def wait_short(road: Road) -> None:
    """Wait until both directions are as idle as they get."""
    for _ in range(50):
        await trio.lowlevel.checkpoint()
    await trio.sleep(0.02)


@pytest.mark.parametrize("short_way", [True, False])
async def test_what_the_upstream_hears_is_the_same_by_either_way(open_road: OpenRoad, short_way: bool) -> None:
    reference = Uplink("f32le", RATE_HZ)
    expected = [json.loads(reference.push(voice(index))) for index in range(100)]
    reference.close()
    async with open_road(short_way=short_way) as road:
        heard = []
        for index in range(100):
            await road.browser.send(voice(index))
            heard.append(await road.upstream.receive_json())
        assert heard == expected
        assert road.short["up"] == 0 or short_way
    if short_way:
        assert road.short["up"] > 90


async def test_a_commit_between_two_frames_stays_between_them(open_road: OpenRoad) -> None:
    async with open_road(Config(upstream="ws://127.0.0.1:9/v1/realtime", turn_detection="none")) as road:
        turn = ["input_audio_buffer.append"] * 10 + ["input_audio_buffer.commit"]
        for _ in range(7):
            for _ in range(3):  # more than that, unread, would fill the sockets
                for index in range(10):
                    await road.browser.send(voice(index))
                await road.browser.send_json({"type": "input_audio_buffer.commit"})
            assert [(await road.upstream.receive_json())["type"] for _ in 3 * turn] == 3 * turn
            await wait_short(road)


async def test_the_answer_arrives_whole_and_numbered_without_a_gap(open_road: OpenRoad) -> None:
    async with open_road() as road:
        await road.upstream.send_json(RESPONSE)
        await road.hear("response.created")
        for index in range(60):
            await road.answer(1)
            await road.hear_frames(index + 1)
        places = [struct.unpack("<BBHIQ", frame[:16]) for frame in road.frames]
        lengths = [(len(frame) - 16) // 4 for frame in road.frames]
        assert [place[3] for place in places] == [1] * 60
        assert [place[4] for place in places] == [sum(lengths[:index]) for index in range(60)]
        assert lengths == [960] * 60
    assert road.short["down"] > 20


async def test_events_between_deltas_keep_their_place_and_reach_the_browser(open_road: OpenRoad) -> None:
    async with open_road() as road:
        await road.upstream.send_json(RESPONSE)
        for index in range(30):
            await road.answer(1)
            caption = {"type": "response.output_audio_transcript.delta", "event_id": f"t{index}", "delta": "la "}
            ids = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
            await road.upstream.send_json({**caption, **ids})
        done = {"type": "response.output_audio.done", "event_id": "e9", "response_id": "resp_1", "item_id": "item_1"}
        await road.upstream.send_json({**done, "output_index": 0, "content_index": 0})
        end = await road.hear("relay.audio.done")
        captions = [event["event_id"] for event in road.texts if event["type"].endswith("transcript.delta")]
        assert captions == [f"t{index}" for index in range(30)]
        assert end["samples"] == sum(len(frame) - 16 for frame in road.frames) // 4


async def test_nothing_of_an_interrupted_item_is_sent_after_the_flush(open_road: OpenRoad) -> None:
    async with open_road() as road:
        await road.hear_answer(20)
        speech = {"type": "input_audio_buffer.speech_started", "event_id": "s", "audio_start_ms": 0, "item_id": "u"}
        await road.upstream.send_json(speech)
        await road.answer(10)
        flush = await road.hear("relay.flush")
        before = len(road.frames)
        await road.browser.send_json({"type": "relay.flushed", "flush": flush["flush"], "item": 1, "samples": 9600})
        truncate = await road.upstream.receive_json()
        assert (truncate["type"], truncate["audio_end_ms"]) == ("conversation.item.truncate", 200)
        await wait_short(road)
        with trio.move_on_after(0.2):
            await road.hear_frames(before + 1)
        assert len(road.frames) == before


async def test_reports_of_what_was_played_count_by_the_short_way_too(open_road: OpenRoad) -> None:
    async with open_road() as road:
        await road.upstream.send_json(RESPONSE)
        for index in range(30):
            await road.answer(1)
            await road.hear_frames(index + 1)
            await road.browser.send_json({"type": "relay.played", "item": 1, "samples": 960 * index})
        await wait_short(road)
        speech = {"type": "input_audio_buffer.speech_started", "event_id": "s", "audio_start_ms": 0, "item_id": "u"}
        await road.upstream.send_json(speech)
        await road.hear("relay.flush")
        truncate = await road.upstream.receive_json()  # the flush is not answered: the last report counts
        assert truncate["audio_end_ms"] == 580


async def test_a_player_that_stands_still_gets_no_more_than_the_lead(open_road: OpenRoad) -> None:
    config = Config(upstream="ws://127.0.0.1:9/v1/realtime", lead_ms=200)
    async with open_road(config) as road:
        await road.upstream.send_json(RESPONSE)
        began_s = trio.current_time()
        for _ in range(50):
            await road.answer(1)
        with trio.move_on_after(0.15):
            await road.hear_frames(50)
        played_ms = (trio.current_time() - began_s) * 1000
        assert 10 <= len(road.frames) <= (200 + played_ms) / 20 + 1
        await road.hear_frames(50)


@pytest.mark.parametrize("size", [1, 7, 100, 3000])
async def test_a_stream_in_pieces_gives_the_same(open_road: OpenRoad, size: int) -> None:
    async with open_road() as road:
        reference = Uplink("f32le", RATE_HZ)
        whole = b"".join(_masked(voice(index)) for index in range(4))
        for start in range(0, len(whole), size):
            await road.browser.stream.send_all(whole[start : start + size])
            await trio.lowlevel.checkpoint()
        heard = [await road.upstream.receive_json() for _ in range(4)]
        assert heard == [json.loads(reference.push(voice(index))) for index in range(4)]
        reference.close()


@pytest.mark.parametrize("size", [1, 7, 100, 3000])
async def test_an_answer_in_pieces_arrives_whole(open_road: OpenRoad, size: int) -> None:
    async with open_road() as road:
        await road.hear_answer(10)
        whole = frame(1, json.dumps(delta_event("item_1", 20, response="resp_1")).encode()) * 4
        for start in range(0, len(whole), size):
            await road.upstream.stream.send_all(whole[start : start + size])
            await trio.lowlevel.checkpoint()
        await road.hear_frames(14)
        assert {len(frame) for frame in road.frames} == {16 + 960 * 4}
        places = [struct.unpack("<BBHIQ", frame[:16])[4] for frame in road.frames]
        assert places == [960 * index for index in range(14)]


async def test_many_records_in_one_segment_are_all_taken(open_road: OpenRoad) -> None:
    async with open_road() as road:
        await road.hear_answer(10)
        event = {**delta_event("item_1", 10), "event_id": ""}
        said = frame(1, json.dumps({**event, "event_id": "e" * (1020 - len(json.dumps(event)))}).encode())
        assert len(said) * 16 == RECORD_BYTES  # none is in two records, or Python would take the rest
        await road.upstream.stream.send_all(said * 48)
        with trio.fail_after(5):  # nothing comes after it that would bring the rest along
            await road.hear_frames(58)
    assert road.short["down"] > 50


async def test_what_looks_like_a_frame_inside_another_is_none(open_road: OpenRoad) -> None:
    async with open_road() as road:
        await road.hear_answer(10)
        inner = frame(1, json.dumps(delta_event("item_1", 20)).encode())
        await road.upstream.stream.send_all(frame(1, inner)[: -len(inner)])
        await wait_short(road)
        await road.upstream.stream.send_all(inner)
        await road.hear("error")
        assert len(road.frames) == 10


@pytest.mark.parametrize("at_once", [1, 7])
async def test_a_browser_that_reads_late_gets_every_frame_whole(open_road: OpenRoad, at_once: int) -> None:
    async with open_road(Config(upstream="ws://127.0.0.1:9/v1/realtime", lead_ms=10_000)) as road:
        await road.hear_answer(10)
        narrow(road.session._browser.socket.stream, road.browser.stream)
        for _ in range(6):
            await wait_short(road)
            for _ in range(42 // at_once):
                await road.upstream.stream.send_all(frame(1, json.dumps(delta_event("item_1", 20)).encode()) * at_once)
                await trio.sleep(0.001)
            await road.hear_frames(len(road.frames) + 42)
        places = [struct.unpack("<BBHIQ", frame[:16])[4] for frame in road.frames]
        assert places == [960 * index for index in range(262)]
        assert {len(frame) for frame in road.frames} == {16 + 960 * 4}


async def test_samples_that_are_none_get_their_error_in_the_middle_of_audio(open_road: OpenRoad) -> None:
    async with open_road() as road:
        for index in range(10):
            await road.browser.send(voice(index))
        await road.browser.send(b"abc")
        await road.browser.send(voice(10))
        assert (await road.hear("error"))["error"]["code"] == "relay_invalid_audio"
        for _ in range(11):
            assert (await road.upstream.receive_json())["type"] == "input_audio_buffer.append"


async def test_the_limit_on_audio_holds_on_the_short_way(open_road: OpenRoad) -> None:
    config = Config(upstream="ws://127.0.0.1:9/v1/realtime", max_audio_in_s=1.0)
    async with open_road(config) as road:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_talk_until_ended, road)
            with pytest.raises(PeerEnded) as end:
                await road.hear("never")
            nursery.cancel_scope.cancel()
        assert end.value.code == 4603
        await road.ended.wait()
        assert road.reason is not None
        assert road.reason.code == "relay_audio_in_limit"


async def _answer_until_ended(road: Road) -> None:
    with suppress(trio.BrokenResourceError):
        await road.answer(2000)


async def _talk_until_ended(road: Road) -> None:
    with suppress(LocalProtocolError, trio.BrokenResourceError):  # the end may be read while a frame is made
        for index in range(500):
            await road.browser.send(voice(index))
            await trio.sleep(0.005)


async def test_a_microphone_of_zeros_is_told_on_the_short_way(open_road: OpenRoad) -> None:
    async with open_road() as road, trio.open_nursery() as nursery:

        async def mute() -> None:
            for _ in range(200):
                await road.browser.send(bytes(RATE_HZ // 50 * 4))
                await trio.sleep(0.005)

        nursery.start_soon(mute)
        assert (await road.hear("relay.warning"))["code"] == "microphone_silent"
        nursery.cancel_scope.cancel()


async def test_an_upstream_that_vanishes_is_told_at_once(open_road: OpenRoad) -> None:
    async with open_road() as road:
        for index in range(10):
            await road.browser.send(voice(index))
        await wait_short(road)
        await road.upstream.hang_up()
        with trio.fail_after(5):  # a busy machine may pause for a second
            assert (await road.hear("error"))["error"]["code"] == "relay_upstream_closed"


async def test_a_browser_that_does_not_read_is_ended_within_the_send_deadline(open_road: OpenRoad) -> None:
    config = Config(upstream="ws://127.0.0.1:9/v1/realtime", send_deadline_s=0.5, lead_ms=10_000)
    async with open_road(config) as road:
        narrow(road.session._browser.socket.stream, road.browser.stream)
        await road.upstream.send_json(RESPONSE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_answer_until_ended, road)
            with trio.fail_after(10):
                await road.ended.wait()
            nursery.cancel_scope.cancel()
        assert road.reason is not None
        assert road.reason.code == "relay_client_timeout"


async def test_an_upstream_that_does_not_read_loses_old_audio_and_no_frame_is_torn(open_road: OpenRoad) -> None:
    async with open_road(Config(upstream="ws://127.0.0.1:9/v1/realtime", send_deadline_s=5.0)) as road:
        assert road.session._upstream is not None
        narrow(road.session._upstream.socket.stream, road.upstream.stream)
        with trio.move_on_after(1.0):
            for index in range(400):
                await road.browser.send(voice(index % 7))
        await road.browser.send_json({"type": "response.create"})
        kinds: list[str] = []
        while "response.create" not in kinds:
            kinds.append((await road.upstream.receive_json())["type"])
        assert set(kinds) == {"input_audio_buffer.append", "response.create"}


def _masked(payload: bytes) -> bytes:
    return frame(2, payload, mask=b"\x11\x22\x33\x44")


async def test_what_was_not_heard_of_the_item_before_is_cut_too(open_road: OpenRoad) -> None:
    async with open_road() as road:
        await road.upstream.send_json(RESPONSE)
        for index in range(30):
            await road.answer(1, item="item_1" if index < 20 else "item_2")
            await road.hear_frames(index + 1)
            if index == 0:
                await road.browser.send_json({"type": "relay.played", "item": 1, "samples": 960})
        speech = {"type": "input_audio_buffer.speech_started", "event_id": "s", "audio_start_ms": 0, "item_id": "u"}
        await road.upstream.send_json(speech)
        flush = await road.hear("relay.flush")
        await road.browser.send_json({"type": "relay.flushed", "flush": flush["flush"], "item": 1, "samples": 1920})
        cuts = [await road.upstream.receive_json() for _ in range(2)]
        assert [(cut["item_id"], cut["audio_end_ms"]) for cut in cuts] == [("item_1", 40), ("item_2", 0)]
    assert road.short["down"] > 20


async def test_a_frame_that_the_careful_way_would_refuse_for_its_length_does_not_pass(open_road: OpenRoad) -> None:
    async with open_road(Config(upstream="ws://127.0.0.1:9/v1/realtime", browser_message_bytes=4096)) as road:
        for index in range(10):
            await road.browser.send(voice(index))
            await road.upstream.receive_json()
        await wait_short(road)
        await road.browser.send(voice(10, ms=40))
        assert (await road.hear("error"))["error"]["code"] == "relay_message_too_big"
    assert road.short["up"] > 5


async def test_a_flood_does_not_get_far_uncounted(open_road: OpenRoad) -> None:
    config = Config(upstream="ws://127.0.0.1:9/v1/realtime", max_audio_in_s=3600.0)
    async with open_road(config) as road, trio.open_nursery() as nursery:
        counted_ms: list[float] = []
        take_note = road.session.passed

        def passed(counts: Passed) -> None:
            counted_ms.append(counts.up_samples * 1000 / RATE_HZ)
            take_note(counts)

        road.session.passed = passed  # type: ignore[method-assign, assignment]
        nursery.start_soon(_flood, road, 500)
        for _ in range(510):
            await road.upstream.receive_json()
        nursery.cancel_scope.cancel()
        assert sum(counted_ms) > 2000
        assert max(counted_ms) <= 1000


async def _flood(road: Road, count: int) -> None:
    for index in range(10):
        await road.browser.send(voice(index))
        await trio.sleep(0.005)
    await road.browser.stream.send_all(_masked(voice(0)) * count)


async def test_a_socket_that_cannot_be_waited_for_has_no_short_way_and_ends_nothing(open_road: OpenRoad) -> None:
    pump, limits = Pump(), wire.WireLimits(message_bytes=65_536)
    async with open_road() as road, loopback_pair() as (_, near), loopback_pair() as (_, far):
        browser = wire.WebSocket(WayStream(near), role="server", limits=limits)
        upstream = wire.WebSocket(WayStream(far), role="client", limits=limits)
        near.socket.close()
        assert open_short_way(pump, road.session, EventPath(24_000, 0.1), browser, upstream) is None
    assert pump.count == 0
