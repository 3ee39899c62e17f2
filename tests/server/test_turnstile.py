"""The turnstile: one in a turn of the loop, in the order of arrival."""

from __future__ import annotations

import trio

from relay.turnstile import Turnstile


async def test_of_those_who_come_together_one_goes_through_in_a_turn_in_order() -> None:
    turnstile, turns = Turnstile(), 0
    arrived: list[int] = []
    passed: list[tuple[int, int]] = []

    async def pass_through(number: int) -> None:
        arrived.append(number)
        await turnstile.turn()
        passed.append((number, turns))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(pass_through, number)
        while len(passed) < 20:
            turns += 1
            await trio.lowlevel.checkpoint()
    assert len({turn for _, turn in passed}) == 20
    assert [number for number, _ in passed] == arrived


async def test_who_leaves_while_waiting_keeps_nobody() -> None:
    turnstile = Turnstile()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as leaving:
            leaving.cancel()
            await turnstile.turn()
        nursery.start_soon(turnstile.turn)
    with trio.fail_after(1):
        await turnstile.turn()
