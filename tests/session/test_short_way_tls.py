"""The short way with TLS: what only TLS has to say, and what only with TLS can be wrong."""

from __future__ import annotations

import json

import pytest
import trio

from relay.audio import Uplink
from relay.config import Config
from relay.secure_stream import MOST_AT_ONCE, MOST_EMPTY
from relay.way_stream import TlsWayStream
from tests.peers import frame
from tests.session import road
from tests.session.rig import delta_event
from tests.session.road import BAD_RECORD, RATE_HZ, RESPONSE, OpenRoad, Road, voice


async def speak(way: Road, count: int) -> None:
    """Say so much, and see it arrive."""
    for index in range(count):
        await way.browser.send(voice(index))
        assert (await way.upstream.receive_json())["type"] == "input_audio_buffer.append"


@pytest.mark.parametrize("lent", [True, False])
@pytest.mark.parametrize("peer", ["upstream", "browser"])
async def test_a_fault_of_tls_in_the_middle_of_audio_is_told_at_once(peer: str, lent: bool) -> None:
    async with road.open_road(https=road.Tls(lent=lent), tls=road.Tls(lent=lent)) as way:
        await way.hear_answer(10)
        await speak(way, 10)
        stream = (way.upstream if peer == "upstream" else way.browser).stream
        assert isinstance(stream, trio.SSLStream)
        await stream.transport_stream.send_all(BAD_RECORD)
        with trio.fail_after(5):
            await way.ended.wait()
        assert way.reason is not None
        assert way.reason.code == ("relay_upstream_closed" if peer == "upstream" else "relay_client_gone")
        assert "BAD_RECORD_MAC" in str(way.reason.detail)


@pytest.mark.parametrize("json_client", [False, True])
async def test_a_flood_of_other_events_waits_in_the_socket(json_client: bool) -> None:
    async with road.open_road(tls=road.Tls(), json_client=json_client) as way, trio.open_nursery() as nursery:
        await way.upstream.send_json(RESPONSE)
        await way.answer(5)
        await (way.hear("response.output_audio.delta") if json_client else way.hear_frames(5))
        assert way.session._upstream is not None
        upstream = way.session._upstream.socket.stream
        assert isinstance(upstream, TlsWayStream)
        quota = json.dumps({"type": "rate_limits.updated", "event_id": "e", "rate_limits": []})
        nursery.start_soon(way.upstream.stream.send_all, frame(1, quota.encode()) * 20_000)
        for _ in range(200):
            await trio.sleep(0.002)
            assert len(upstream.plain) < 2 * 65_536
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("lent", [True, False])
async def test_new_keys_in_the_middle_of_audio_change_nothing(lent: bool) -> None:
    https, tls = road.Tls(lent=lent), road.Tls(lent=lent)
    async with road.open_road(https=https, tls=tls) as way:
        await way.hear_answer(5)
        for index in range(30):
            https.change_keys(way.browser.stream)
            tls.change_keys(way.upstream.stream, times=3)
            await speak(way, 1)
            await way.answer(1)
            await way.hear_frames(6 + index)
    assert way.short["up"] > 20
    assert way.short["down"] > 20


@pytest.mark.parametrize("lent", [True, False])
@pytest.mark.parametrize("at_once", [1, MOST_AT_ONCE - 1, MOST_EMPTY])
async def test_a_browser_that_changes_keys_without_end_is_hung_up_on(at_once: int, lent: bool) -> None:
    https = road.Tls(lent=lent)
    async with road.open_road(https=https) as way:
        await speak(way, 10)
        with trio.fail_after(10):
            for _ in range(2 + MOST_EMPTY):
                https.change_keys(way.browser.stream, times=at_once + 1)
                try:
                    await way.browser.send(voice(0, ms=1))
                except trio.BrokenResourceError:
                    break
                await trio.sleep(0.001)
            await way.ended.wait()
        assert way.reason is not None
        assert "records that say nothing" in str(way.reason.detail)


@pytest.mark.parametrize("lent", [True, False])
async def test_many_small_records_of_a_browser_arrive_in_their_order(lent: bool) -> None:
    async with road.open_road(https=road.Tls(lent=lent)) as way, trio.open_nursery() as nursery:
        said = [voice(index, ms=1) for index in range(300)]

        async def say() -> None:
            for samples in said:
                await way.browser.send(samples)

        nursery.start_soon(say)
        reference = Uplink("f32le", RATE_HZ)
        wanted = [json.loads(event) for samples in said if (event := reference.push(samples))]
        assert [await way.upstream.receive_json() for _ in wanted] == wanted
        reference.close()


@pytest.mark.parametrize("lent", [True, False])
async def test_a_long_delta_behind_answers_that_wait_arrives(lent: bool) -> None:
    https = road.Tls(lent=lent)
    async with road.open_road(https=https, json_client=True) as way:
        await way.upstream.send_json(RESPONSE)
        await way.answer(5)
        for _ in range(10):
            https.change_keys(way.browser.stream, times=6)
            await way.browser.send_json({"type": "input_audio_buffer.append", "audio": "AAAA" * 320})
            await way.upstream.receive_json()
        for ms in (640, 650, 660, 740, 750):  # to 48 KB
            await way.upstream.send_json(delta_event("item_1", ms))
        with trio.fail_after(10):
            while len((await way.hear("response.output_audio.delta"))["delta"]) < 750 * 64:
                pass


async def test_a_frame_that_takes_longer_than_silence_may_is_no_silence(open_road: OpenRoad) -> None:
    config = Config(upstream="ws://127.0.0.1:9/v1/realtime", silence_deadline_s=1.0, ping_interval_s=0.3)
    async with open_road(config) as way, trio.open_nursery() as nursery:
        await speak(way, 5)
        said = frame(2, voice(0), mask=b"abcd")

        async def say() -> None:
            for start in range(0, len(said), 200):
                await way.browser.stream.send_all(said[start : start + 200])
                await trio.sleep(0.1)

        nursery.start_soon(say)
        assert (await way.upstream.receive_json())["type"] == "input_audio_buffer.append"  # answers pings meanwhile
