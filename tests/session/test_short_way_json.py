"""The short way of OpenAI's JSON: audio passes in its events, checked, and otherwise as the careful way passes it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import trio

from relay.config import Config, Secret
from relay.core.formats import CLIENT_RATE_HZ
from relay.core.passing import Passed
from tests.peers import TEXT, frame
from tests.session import road
from tests.session.rig import delta_event
from tests.session.road import RESPONSE, OpenRoad, Road

URL = "ws://127.0.0.1:9/v1/realtime"


def append(index: int, **more: Any) -> dict[str, Any]:
    """20 ms of PCM16 that differ from all others."""
    audio = base64.b64encode(index.to_bytes(2, "little") * 480).decode()
    return {"type": "input_audio_buffer.append", "audio": audio, **more}


async def hear_deltas(road: Road, count: int) -> list[str]:
    """The next audio deltas that the browser gets, as texts."""
    deltas: list[str] = []
    while len(deltas) < count:
        message = await road.browser.receive()
        assert isinstance(message, str)
        deltas += [message] if json.loads(message)["type"] == "response.output_audio.delta" else []
    return deltas


@pytest.mark.parametrize("short_way", [True, False])
async def test_both_sides_hear_the_same_by_either_way(open_road: OpenRoad, short_way: bool) -> None:
    async with open_road(short_way=short_way, json_client=True) as road:
        await road.upstream.send_json(RESPONSE)
        for index in range(60):
            await road.browser.send_json(append(index))
            assert await road.upstream.receive_json() == append(index)
            said = json.dumps({**delta_event("item_1", 20), "event_id": f"event_{index}"})
            await road.upstream.send(said)
            assert await hear_deltas(road, 1) == [said]
    assert (road.short["up"] > 50 and road.short["down"] > 50) or not short_way
    assert road.short == {"up": 0, "down": 0} or short_way


async def test_an_append_that_says_more_goes_the_careful_way_in_its_place(open_road: OpenRoad) -> None:
    async with open_road(json_client=True) as road:
        for index in range(30):
            await road.browser.send_json(append(index, **({"event_id": "mine"} if index % 3 == 0 else {})))
        assert [await road.upstream.receive_json() for _ in range(30)] == [append(index) for index in range(30)]


async def test_audio_that_is_none_gets_its_error_and_nothing_else_is_lost(open_road: OpenRoad) -> None:
    async with open_road(json_client=True) as road:
        for index in range(10):
            await road.browser.send_json(append(index))
        await road.browser.send_json({"type": "input_audio_buffer.append", "audio": "AA=="})
        await road.browser.send_json(append(10))
        assert (await road.hear("error"))["error"]["code"] == "relay_invalid_audio"
        assert [await road.upstream.receive_json() for _ in range(11)] == [append(index) for index in range(11)]


async def test_events_between_deltas_keep_their_place(open_road: OpenRoad) -> None:
    async with open_road(json_client=True) as road:
        await road.upstream.send_json(RESPONSE)
        kinds = []
        for index in range(30):
            await road.upstream.send_json(delta_event("item_1", 20))
            kinds.append("response.output_audio.delta")
            if index % 5 == 4:
                words = {**delta_event("item_1", 0), "type": "response.output_audio_transcript.delta", "delta": "w"}
                await road.upstream.send_json(words)
                kinds.append(words["type"])
        await road.hear("response.created")
        heard = [json.loads(str(await road.browser.receive()))["type"] for _ in kinds]
        assert heard == kinds


async def test_an_item_that_was_heard_the_short_way_may_be_truncated_up_to_what_was_sent(open_road: OpenRoad) -> None:
    async with open_road(json_client=True) as road:
        await road.upstream.send_json(RESPONSE)
        item = {"id": "item_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        await road.upstream.send_json({"type": "conversation.item.added", "event_id": "e", "item": item})
        for _ in range(20):
            await road.upstream.send_json(delta_event("item_1", 20))
            await hear_deltas(road, 1)
        cut = {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 400}
        await road.browser.send_json({**cut, "audio_end_ms": 401})
        assert (await road.hear("error"))["error"]["param"] == "audio_end_ms"
        await road.browser.send_json(cut)
        assert await road.upstream.receive_json() == cut
    assert road.short["down"] > 10


async def test_the_limit_on_audio_holds(open_road: OpenRoad) -> None:
    async with open_road(Config(upstream=URL, max_audio_in_s=1.0), json_client=True) as road:

        async def talk() -> None:
            for index in range(500):
                await road.browser.send_json(append(index))
                await trio.sleep(0.005)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            assert (await road.hear("error"))["error"]["code"] == "relay_audio_in_limit"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("key", "passes"), [("sk-with-a-dash", True), ("secret_that_could_be_a_word", False)])
async def test_nothing_passes_unread_that_could_hold_a_secret(open_road: OpenRoad, key: str, passes: bool) -> None:
    async with open_road(Config(upstream=URL, upstream_key=Secret(key)), json_client=True) as road:
        await road.upstream.send_json(RESPONSE)
        for event_id in [*["event_1"] * 10, key, "event_2"]:
            await road.upstream.send_json({**delta_event("item_1", 20), "event_id": event_id})
        heard = [json.loads(text)["event_id"] for text in await hear_deltas(road, 12)]
        assert heard == [*["event_1"] * 10, "[hidden]", "event_2"]
    assert (road.short["down"] > 0) is passes


async def test_an_upstream_that_floods_with_audio_does_not_get_far_uncounted(open_road: OpenRoad) -> None:
    async with open_road(json_client=True) as road, trio.open_nursery() as nursery:
        counted: list[int] = []
        take_note = road.session.passed

        def passed(counts: Passed) -> None:
            counted.append(counts.down_samples)
            take_note(counts)

        road.session.passed = passed  # type: ignore[method-assign, assignment]
        await road.upstream.send_json(RESPONSE)
        text = json.dumps(delta_event("item_1", 20)).encode()
        nursery.start_soon(road.upstream.stream.send_all, frame(TEXT, text) * 300)
        await hear_deltas(road, 300)
    assert sum(counted) > 5 * CLIENT_RATE_HZ // 2
    assert max(counted) <= CLIENT_RATE_HZ


async def test_a_part_of_a_delta_that_waits_for_its_rest_is_read_in_the_end() -> None:
    async with road.open_road(json_client=True) as way:
        await way.upstream.send_json(RESPONSE)
        await way.upstream.send_json(delta_event("item_1", 20))
        await hear_deltas(way, 1)
        whole = frame(TEXT, json.dumps(delta_event("item_1", 20)).encode())
        await way.upstream.stream.send_all(whole[:700])
        near = way.session._upstream
        assert near is not None
        for _ in range(500):
            await trio.sleep(0.01)
            if not near.socket.is_between_messages:
                break
        assert not near.socket.is_between_messages, "it lies in the kernel, unread"
        await way.upstream.stream.send_all(whole[700:])
        await hear_deltas(way, 1)
