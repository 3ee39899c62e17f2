"""What the faults of faults.py do to the wire."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import trio

from relay.simulator.conversation import Event, event

HUGE_BYTES = 32 * 1024 * 1024
FLOOD_EVENT_BYTES = 1_024
# FIN, reserved bits set, an opcode that does not exist: no WebSocket frame.
NOT_A_FRAME = b"\xff\xff\xff\xff"


class FaultyStream(trio.abc.Stream):
    """A stream that can be told to fall silent: it neither reads nor writes any more, and stays open."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner
        self.is_frozen = False

    def freeze(self) -> None:
        """From now on nothing passes, in either direction."""
        self.is_frozen = True

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See trio.abc.ReceiveStream."""
        await self._pass()
        data = await self._inner.receive_some(max_bytes)
        await self._pass()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See trio.abc.SendStream."""
        await self._pass()
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See trio.abc.SendStream."""
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Works while frozen, too."""
        await self._inner.aclose()

    async def _pass(self) -> None:
        if self.is_frozen:
            await trio.sleep_forever()


def malformed(kind: str) -> str | bytes:
    """A message that no client should survive by luck."""
    if kind == "binary":
        return b"\x00\x01\x02\x03"
    if kind == "json":
        return '{"type":"response.done","response":'
    if kind == "type":
        return '{"event_id":"event_malformed"}'
    return msgspec.json.encode(event("response.output_text.delta", delta="x" * HUGE_BYTES)).decode()


def flood_events(count: int) -> Iterator[Event]:
    """Events that are valid and useless: an unknown type, which a client must ignore."""
    padding = "x" * FLOOD_EVENT_BYTES
    for number in range(count):
        yield event("simulator.flood", number=number, padding=padding)


def undecodable_delta() -> Event:
    """An event in order, but for its audio."""
    return event(
        "response.output_audio.delta",
        response_id="resp_malformed",
        item_id="item_malformed",
        output_index=0,
        content_index=0,
        delta="this is not base64!",
    )
