"""One accepted connection: three tasks around a session, which knows nothing of them.

The reader passes messages and the time to the session and queues what it says; the writer sends, and performs the
scripted faults; the third pings. Nothing waits without an end: each send, each pong and the goodbye have a deadline,
and a peer that misses one is cut. When OUTBOX_EVENTS or OUTBOX_CHARS wait for the writer, the reader waits too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from relay.simulator.conversation import Event
from relay.simulator.edge import Edge
from relay.simulator.faults import Fault, Script
from relay.simulator.gate import Denied, wrong_key
from relay.simulator.messages import Ending, refused
from relay.simulator.sabotage import NOT_A_FRAME, FaultyStream, flood_events, malformed, undecodable_delta
from relay.simulator.session import Session

SEND_DEADLINE_S = 10.0
CLOSE_DEADLINE_S = 0.8
# Measured on the live service: a ping about every 20 s.
PING_INTERVAL_S = 20.0
PONG_DEADLINE_S = 20.0
STALL_S_MAX = 600.0
OUTBOX_EVENTS = 1_024
OUTBOX_CHARS = 64 * 1024 * 1024


# An event of the session's and the texts that are sent for it, or the end.
Queued = tuple[Event, list[str]] | Ending


class _Over(Exception):
    """The connection has ended, by whichever side: stop the other tasks."""


class Connection:
    """Runs one session over one WebSocket until either side ends it. `edge` puts into words what the client gets."""

    def __init__(self, websocket: WebSocketConnection, stream: FaultyStream, script: Script, edge: Edge) -> None:
        self._websocket = websocket
        self._stream = stream
        self._script = script
        self._edge = edge
        self._session: Session | None = None
        self._queued_chars = 0
        self._drained = trio.Event()

    async def run(self, admit: Callable[[], Session]) -> None:
        """`admit` makes the session or raises Denied."""
        outbox_in, outbox_out = trio.open_memory_channel[Queued](OUTBOX_EVENTS)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, admit, outbox_in)
                nursery.start_soon(self._write, outbox_out)
                nursery.start_soon(self._ping)
        except* (_Over, ConnectionClosed):
            pass

    async def _read(self, admit: Callable[[], Session], outbox: trio.MemorySendChannel[Queued]) -> None:
        try:
            self._session = session = admit()
        except Denied as denied:
            await self._queue(outbox, [refused(denied.refusal)] if denied.is_told else [])
            await outbox.send(Ending(denied.close_code, denied.refusal.close_reason))
            return
        events = session.open()
        while session.ended is None:
            await self._queue(outbox, events)
            message: str | bytes | None = None
            with trio.move_on_at(session.next_due_s):
                message = await self._websocket.get_message()
            now_s = trio.current_time()
            events = session.poll(now_s) if message is None else session.receive(message, now_s)
        await self._queue(outbox, events)
        await outbox.send(session.ended)

    async def _queue(self, outbox: trio.MemorySendChannel[Queued], events: list[Event]) -> None:
        for each in events:
            while self._queued_chars > OUTBOX_CHARS:
                await self._drained.wait()
            texts = self._encoded(each)
            self._queued_chars += sum(map(len, texts))
            await outbox.send((each, texts))

    async def _write(self, outbox: trio.MemoryReceiveChannel[Queued]) -> None:
        await self._strike(self._script.at("open"))
        async for queued in outbox:
            if isinstance(queued, Ending):
                await self._close(queued)
                return
            said, texts = queued
            for text in texts:
                await self._send(text)
                self._queued_chars -= len(text)
            self._drained.set()
            self._drained = trio.Event()
            await self._strike(self._script.after(said))

    async def _ping(self) -> None:
        while True:
            await trio.sleep(PING_INTERVAL_S)
            with trio.move_on_after(PONG_DEADLINE_S) as deadline:
                await self._websocket.ping()
            if deadline.cancelled_caught and not self._stream.is_frozen:
                await self._cut()

    async def _send(self, message: str | bytes) -> None:
        with trio.move_on_after(SEND_DEADLINE_S) as deadline:
            await self._websocket.send_message(message)
        if deadline.cancelled_caught:
            await self._cut()

    async def _say(self, event: Event) -> None:
        for text in self._encoded(event):
            await self._send(text)

    def _encoded(self, said: Event) -> list[str]:
        """In the edge's words. What the session has named already keeps its name."""
        shown = self._edge.outgoing(said)
        named = [each | {"event_id": self._edge.ids.new("event")} if each["event_id"] == "" else each for each in shown]
        return [msgspec.json.encode(each).decode() for each in named]

    async def _close(self, ending: Ending) -> None:
        with trio.move_on_after(CLOSE_DEADLINE_S):
            await self._websocket.aclose(ending.code, ending.reason)
        await self._cut()

    async def _cut(self) -> NoReturn:
        await trio.aclose_forcefully(self._stream)
        raise _Over

    # --- faults ---------------------------------------------------------------------------------------------------
    async def _strike(self, faults: list[Fault]) -> None:
        for fault in faults:
            await _STRIKES[fault.name](self, fault)

    async def _unauthorized(self, _: Fault) -> None:
        denied = wrong_key()
        await self._say(refused(denied.refusal))
        await self._close(Ending(denied.close_code, denied.refusal.close_reason))

    async def _drop(self, _: Fault) -> None:
        await self._cut()

    async def _stall(self, _: Fault) -> None:
        self._stream.freeze()
        await trio.sleep(STALL_S_MAX)
        await self._cut()

    async def _flood(self, fault: Fault) -> None:
        for each in flood_events(fault.number):
            await self._say(each)

    async def _expire(self, _: Fault) -> None:
        assert self._session is not None, "faults.py lets no session expire before it began"
        for each in self._session.expire():
            await self._say(each)
        assert self._session.ended is not None
        await self._close(self._session.ended)

    async def _malformed(self, fault: Fault) -> None:
        if fault.argument == "frame":
            await self._stream.send_all(NOT_A_FRAME)
        elif fault.argument == "base64":
            await self._say(undecodable_delta())
        else:
            await self._send(malformed(fault.argument))

    async def _close_by_script(self, fault: Fault) -> None:
        await self._close(Ending(fault.number, fault.rest))


_STRIKES: dict[str, Callable[[Connection, Fault], Awaitable[None]]] = {
    "unauthorized": Connection._unauthorized,
    "drop": Connection._drop,
    "stall": Connection._stall,
    "flood": Connection._flood,
    "expire": Connection._expire,
    "malformed": Connection._malformed,
    "close": Connection._close_by_script,
}
