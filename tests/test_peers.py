"""The fakes themselves, where a test that uses them would see their faults only now and then."""

from __future__ import annotations

import trio
import trio.testing

from tests.peers import CLOSE, PING, TEXT, FakeBrowser, FaultyStream, close_payload, frame, unframe


async def test_a_peer_that_has_said_goodbye_answers_no_ping_and_still_hears() -> None:
    near, far = trio.testing.memory_stream_pair()
    browser = FakeBrowser(near)
    await browser.close()
    await far.send_all(frame(PING) + frame(TEXT, b"late"))
    assert await browser.receive() == "late"
    await browser.hang_up()
    sent = await far.receive_some()
    assert unframe(bytes(sent), masked=True) == [(CLOSE, close_payload(1000))]
    assert await far.receive_some() == b""


async def test_a_peer_that_says_goodbye_before_it_can_answer_a_ping_leaves_it_unanswered() -> None:
    near, far = trio.testing.memory_stream_pair()
    faulty = FaultyStream(near)
    browser = FakeBrowser(faulty)
    async with trio.open_nursery() as nursery:
        with faulty.stalled_sends():
            for task in (lambda: browser.send("word"), browser.close, browser.receive):
                nursery.start_soon(task)
                await trio.testing.wait_all_tasks_blocked()
            await far.send_all(frame(PING) + frame(TEXT, b"late"))
            await trio.testing.wait_all_tasks_blocked()
    sent = await far.receive_some()
    assert unframe(bytes(sent), masked=True) == [(TEXT, b"word"), (CLOSE, close_payload(1000))]
