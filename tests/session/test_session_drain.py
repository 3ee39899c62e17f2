"""The process is about to end: the answer that is being given comes to its end, and all learn when to return."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from relay.core.openai_json import OpenAIJson
from tests.session.rig import Rig, delta_event, open_rig, samples

DRAIN_S = 8.0


def drain(rig: Rig) -> float:
    """Begin to drain; return when that was."""
    now_s = trio.current_time()
    rig.services.admission.drain(now_s + DRAIN_S)
    return now_s


async def begin_answer(rig: Rig, *, ms: int) -> None:
    await rig.upstream.send_json({"type": "response.created", "response": {"id": "resp_1"}})
    await rig.upstream.send_json(delta_event("item_a", ms))


async def end_answer(rig: Rig) -> None:
    await rig.upstream.send_json({"type": "response.output_audio.done", "item_id": "item_a", "content_index": 0})
    await rig.upstream.send_json({"type": "response.done", "response": {"id": "resp_1", "status": "completed"}})


async def test_a_session_in_which_nobody_answers_ends_at_once_and_is_told_when_to_come_back(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        await rig.start()
        began_s = drain(rig)
        error = await rig.expect_end("relay_shutting_down", 1012)
        assert error["retry_after_ms"] >= 1_000
        assert trio.current_time() - began_s < 0.1


async def test_a_spoken_answer_is_heard_to_its_end_before_the_session_ends(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        await begin_answer(rig, ms=3_000)
        await rig.receive()
        began_s = drain(rig)
        await trio.sleep(0.5)
        await end_answer(rig)
        await rig.expect("relay.audio.done")
        assert rig.frame_samples == 3 * 24_000
        await rig.expect_end("relay_shutting_down", 1012)
        assert trio.current_time() - began_s == pytest.approx(3.0, abs=0.1)  # not when it was sent: when it was played


async def test_an_answer_that_does_not_end_is_cut_when_the_drain_time_is_over(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        await begin_answer(rig, ms=20)
        began_s = drain(rig)
        await rig.expect_end("relay_shutting_down", 1012)
        assert trio.current_time() - began_s == pytest.approx(DRAIN_S, abs=0.1)


async def test_while_the_last_answer_is_given_no_new_one_begins(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        await begin_answer(rig, ms=1_000)
        await end_answer(rig)
        await rig.receive()
        drain(rig)
        for name in ("mine", "mine too"):  # one that was refused is not under way
            await rig.browser.send_json({"type": "response.create", "event_id": name})
            error = await rig.expect_error("relay_shutting_down")
            assert error["event_id"] == name
            assert "fatal" not in error
        await rig.browser.send_json({"type": "input_audio_buffer.clear"})
        assert (await rig.upstream.receive_json())["type"] == "input_audio_buffer.clear"
        await rig.expect_end("relay_shutting_down", 1012)


async def test_a_person_who_interrupts_the_last_answer_has_heard_its_end(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.start()
        await begin_answer(rig, ms=6_000)
        await end_answer(rig)
        await rig.receive()
        began_s = drain(rig)
        await rig.browser.send(samples(20))
        await rig.upstream.receive_json()
        await rig.upstream.send_json({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0})
        await rig.expect_end("relay_shutting_down", 1012)
        assert trio.current_time() - began_s < 1


async def test_an_openai_client_gets_the_answer_to_its_end(autojump_clock: MockClock) -> None:
    async with open_rig(language=OpenAIJson) as rig:
        await rig.begin_upstream()
        await begin_answer(rig, ms=3_000)
        await rig.expect("response.output_audio.delta")
        drain(rig)
        await trio.sleep(2)
        await end_answer(rig)
        await rig.expect("response.done")
        await rig.expect_end("relay_shutting_down", 1012)


async def test_a_session_that_is_still_starting_ends_at_once(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.wait_upstream()
        began_s = drain(rig)
        await rig.expect_end("relay_shutting_down", 1012)
        assert trio.current_time() - began_s < 0.1
