"""The pump (relay/pump.py) between the turns of Trio's loop: nobody waits longer than without it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import trio

from relay.pump import Pump
from tests.session.road import RESPONSE, Road, open_road, voice

SOON_S = 2.0


async def talk(road: Road, count: int) -> None:
    """So many frames there and back."""
    await road.upstream.send_json(RESPONSE)
    for index in range(count):
        await road.browser.send(voice(index))
        assert (await road.upstream.receive_json())["type"] == "input_audio_buffer.append"
        await road.answer(1)
        await road.hear_frames(index + 1)


async def test_a_deadline_is_kept_while_the_pump_waits() -> None:
    async with open_road() as road:
        await talk(road, 5)
        with trio.fail_after(SOON_S):
            for _ in range(20):
                await trio.sleep(0.005)


async def test_a_thread_that_has_done_its_work_is_heard_while_the_pump_waits() -> None:
    async with open_road() as road:
        await talk(road, 5)
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()
        timer = threading.Timer(0.05, lambda: token.run_sync_soon(done.set))
        timer.start()
        with trio.fail_after(SOON_S):
            await done.wait()
        timer.join()


class Faulty:
    """A passenger that breaks the rule."""

    note_every_s = 0.05

    def hear(self, leg: int, news: int) -> bool:
        return False

    def collect(self) -> None:
        raise RuntimeError("faulty")


async def test_a_fault_ends_the_pump_aloud_instead_of_all_audio_in_silence() -> None:
    pump = Pump()
    pump.enter(Faulty())
    with trio.fail_after(SOON_S), pytest.raises(RuntimeError, match="faulty"):
        await pump.run()


async def test_frames_pass_in_turns_of_the_loop_where_proc_says_nothing(tmp_path: Path) -> None:
    async with open_road(fdinfo=tmp_path) as road:
        with trio.fail_after(SOON_S):
            await talk(road, 30)
    assert road.short["up"] > 20
    assert road.short["down"] > 20


async def test_sessions_that_end_while_frames_pass_leave_nothing_behind() -> None:
    for _ in range(3):
        async with open_road() as road:
            await talk(road, 3)
            await road.browser.send(voice(3))
