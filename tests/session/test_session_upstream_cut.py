"""An upstream that ends or goes mad after any number of bytes: always a typed error, always in time, nothing left."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from tests.peers import FakeUpstream, PeerEnded, PeerRefused
from tests.session.rig import START, Rig, delta_event, open_rig

GONE = (PeerEnded, PeerRefused, trio.BrokenResourceError, trio.ClosedResourceError)
GARBAGE = bytes(range(255, -1, -1)) * 8
"""Ends any frame or header it falls into, and is none itself."""


class CutStream(trio.abc.Stream):
    """The upstream's end of the wire: after `count` bytes it says `last_words`, and hangs up."""

    def __init__(self, stream: trio.abc.Stream, count: int | None, last_words: bytes) -> None:
        self._stream = stream
        self._left = count
        self._last_words = last_words
        self.sent_bytes = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        whole = self._left is None or len(data) < self._left
        now = bytes(data) if whole else bytes(data[: self._left])
        self.sent_bytes += len(now)
        await self._stream.send_all(now if whole else now + self._last_words)
        if self._left is not None:
            self._left -= len(now)
        if not whole:
            await self.aclose()
            raise trio.ClosedResourceError

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def play(upstream: FakeUpstream) -> None:
    """Begin a session, answer, then leave in order."""
    session = {"id": "sess_1", "type": "realtime"}
    await upstream.send_json({"type": "session.created", "event_id": "e1", "session": session})
    await upstream.receive_json()
    await upstream.send_json({"type": "session.updated", "event_id": "e2", "session": session})
    await upstream.send_json({"type": "response.created", "event_id": "e3", "response": {"id": "resp_1"}})
    await upstream.send_json(delta_event("item_a", 5))
    await upstream.close(1011)


async def session_with(count: int | None, last_words: bytes) -> tuple[str, int, float, int]:
    """Run a session whose upstream is cut; return the reason, the close code, how long it took, the bytes sent."""
    streams: list[CutStream] = []

    async def answer(rig: Rig, stream: trio.abc.Stream) -> None:
        streams.append(CutStream(stream, count, last_words))
        with suppress(*GONE):
            if count == 0:
                await streams[0].send_all(b"")
            await play(await FakeUpstream.accept(streams[0]))

    async with open_rig(answer=answer) as rig:
        began_s = trio.current_time()
        await rig.browser.send_json(START)
        close_code = await rig.wait_close()
        await rig.ended.wait()
        assert rig.reason is not None
        return rig.reason.code, close_code, trio.current_time() - began_s, streams[0].sent_bytes


@pytest.mark.parametrize("last_words", [b"", GARBAGE], ids=["hang up", "garbage"])
async def test_after_any_byte_of_the_upstream_its_end_is_a_typed_error_within_two_seconds(
    autojump_clock: MockClock, last_words: bytes
) -> None:
    _, _, _, whole_bytes = await session_with(None, b"")
    assert whole_bytes > 600
    for count in range(0, whole_bytes, 5 if last_words else 1):
        code, close_code, took_s, _ = await session_with(count, last_words)
        assert code.startswith("relay_upstream_"), count
        assert close_code in (4502, 4504), count
        assert took_s <= 2, count
