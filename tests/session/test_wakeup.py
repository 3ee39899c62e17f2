"""The bell that a session's tasks wait for."""

from __future__ import annotations

import trio
import trio.testing

from relay.wakeup import Wakeup


async def test_a_ring_before_the_wait_ends_it_and_counts_once(autojump_clock: trio.testing.MockClock) -> None:
    bell = Wakeup()
    bell.ring()
    bell.ring()
    await bell.wait()
    with trio.move_on_after(1) as again:
        await bell.wait()
    assert again.cancelled_caught


async def test_a_ring_wakes_the_waiter_once_however_often_it_comes() -> None:
    bell, woken = Wakeup(), []

    async def wait() -> None:
        await bell.wait()
        woken.append(bell.is_rung)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        bell.ring()
        bell.ring()
    assert woken == [False]


async def test_a_ring_after_a_cancelled_wait_is_the_next_ones(autojump_clock: trio.testing.MockClock) -> None:
    bell = Wakeup()
    with trio.move_on_after(1):
        await bell.wait()
    bell.ring()
    with trio.fail_after(1):
        await bell.wait()


async def test_a_ring_that_was_hushed_wakes_nobody(autojump_clock: trio.testing.MockClock) -> None:
    bell = Wakeup()
    bell.ring()
    bell.hush()
    with trio.move_on_after(1) as waiting:
        await bell.wait()
    assert waiting.cancelled_caught


async def test_a_wait_that_a_ring_has_ended_already_is_a_checkpoint() -> None:
    bell = Wakeup()
    bell.ring()
    with trio.testing.assert_checkpoints():
        await bell.wait()
