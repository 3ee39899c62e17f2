"""Cancelled at any checkpoint, a session leaves nothing: no task, no open socket, no native handle.

A whole conversation is played once to count its steps, then once for each step, with the session cancelled there.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from relay.audio import native_info
from tests.peers import PeerEnded
from tests.session.rig import Rig, delta_event, open_rig, samples


@dataclass(eq=False)
class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when the tasks of the session have taken `step` steps; 0 only counts."""

    step: int
    steps: int = 0
    scope: trio.CancelScope | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.scope is None or not (task.name.startswith("relay.session") or task.name.endswith("_run_session")):
            return
        self.steps += 1
        if self.steps == self.step:
            self.scope.cancel()


async def converse(rig: Rig) -> None:
    """Play a conversation with everything in it: start, speech, answer, interruption, end."""
    await rig.start()
    for _ in range(3):
        await rig.browser.send(samples(20))
        await rig.upstream.receive()
    await rig.upstream.send_json({"type": "response.created", "response": {"id": "resp_1"}})
    await rig.upstream.send_json(delta_event("item_a", 1_500))
    while rig.frame_samples < 12_000:
        await rig.receive()
    await rig.upstream.send_json({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0})
    flush = await rig.expect("relay.flush")
    await rig.browser.send_json({"type": "relay.flushed", "flush": flush["flush"], "item": 1, "samples": 2_400})
    await rig.upstream.receive()
    rig.services.admission.drain(trio.current_time())
    await rig.expect_end("relay_shutting_down", 1012)


async def run_cancelled_at(counter: CancelAtStep) -> None:
    async with open_rig() as rig, trio.open_nursery() as nursery:
        counter.scope = rig.scope
        nursery.start_soon(converse_while_it_lasts, rig)
        with trio.move_on_after(60) as deadline:
            await rig.ended.wait()
        assert not deadline.cancelled_caught, f"the session did not end when cancelled at step {counter.step}"
        nursery.cancel_scope.cancel()


async def converse_while_it_lasts(rig: Rig) -> None:
    with suppress(PeerEnded, trio.BrokenResourceError, trio.ClosedResourceError):
        await converse(rig)


def run(step: int) -> int:
    counter = CancelAtStep(step)
    trio.run(run_cancelled_at, counter, clock=trio.testing.MockClock(autojump_threshold=0), instruments=[counter])
    return counter.steps


@pytest.mark.timeout(180)
def test_a_session_cancelled_at_any_checkpoint_leaves_nothing_behind() -> None:
    gc.collect()  # what other tests left to the collector must not go while handles are counted
    before = native_info().live_handles
    steps = run(0)
    assert steps > 100
    for step in range(1, steps + 1):
        run(step)
        assert native_info().live_handles == before, f"native handles leak when cancelled at step {step}"
