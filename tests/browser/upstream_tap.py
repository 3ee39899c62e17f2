"""A man in the middle: relay's upstream is this, this's upstream is the simulator, and everything is written down.

    with upstream_tap() as upstream:
        upstream.url            what relay is told to connect to; nothing listens before upstream.open()
        upstream.open(); ...; upstream.close()
        upstream.from_relay     every JSON event that relay sent, in order

It runs in a thread of its own, with its own trio.run, because Playwright's synchronous API owns the test's thread. It
stands on trio-websocket, which shares no code with relay's own WebSocket.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, open_websocket_url, serve_websocket

from relay.simulator import SimulatorOptions, serve_simulator
from tests.browser.sound import Signal

UPSTREAM_RATE_HZ = 24_000
MESSAGE_BYTES = 8 << 20
DEADLINE_S = 10.0


class UpstreamTap:
    """What passes between relay and the simulator. Reading the records from another thread is safe."""

    def __init__(self, port: int, token: trio.lowlevel.TrioToken, nursery: trio.Nursery, simulator_url: str) -> None:
        self.url = f"ws://127.0.0.1:{port}/v1/realtime"
        self.from_relay: list[dict[str, Any]] = []
        self.to_relay: list[dict[str, Any]] = []
        self.connections = 0
        self._port = port
        self._token = token
        self._nursery = nursery
        self._simulator_url = simulator_url
        self._server: trio.CancelScope | None = None

    def open(self) -> None:
        """Begin to listen."""
        trio.from_thread.run(self._open, trio_token=self._token)

    def close(self) -> None:
        """Stop listening, and cut what is connected."""
        trio.from_thread.run_sync(self._close, trio_token=self._token)

    def forget(self) -> None:
        """Begin a new record."""
        self.from_relay.clear()
        self.to_relay.clear()

    def sent(self, kind: str) -> list[dict[str, Any]]:
        """Every event of this type that relay sent."""
        return [event for event in list(self.from_relay) if event["type"] == kind]

    def received(self, kind: str) -> list[dict[str, Any]]:
        """Every event of this type that relay was sent."""
        return [event for event in list(self.to_relay) if event["type"] == kind]

    def microphone(self) -> Signal:
        """All audio that relay sent, at UPSTREAM_RATE_HZ."""
        return _pcm(event["audio"] for event in self.sent("input_audio_buffer.append"))

    def answer(self, item_id: str) -> Signal:
        """All audio of one answer, as generated, at UPSTREAM_RATE_HZ."""
        deltas = self.received("response.output_audio.delta")
        return _pcm(event["delta"] for event in deltas if event["item_id"] == item_id)

    async def _open(self) -> None:
        self._server = trio.CancelScope()
        await self._nursery.start(self._serve, self._server)

    def _close(self) -> None:
        if self._server is not None:
            self._server.cancel()

    async def _serve(self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(_listen, self._carry, self._port)
                task_status.started()
                await trio.sleep_forever()

    async def _carry(self, request: WebSocketRequest) -> None:
        self.connections += 1
        relay = await request.accept()
        query = request.path.partition("?")[2]
        url = self._simulator_url + (f"?{query}" if query else "")
        async with open_websocket_url(url, max_message_size=MESSAGE_BYTES) as simulator, trio.open_nursery() as nursery:
            nursery.start_soon(_pump, relay, simulator, self.from_relay, nursery.cancel_scope)
            nursery.start_soon(_pump, simulator, relay, self.to_relay, nursery.cancel_scope)
        await relay.aclose()


async def _listen(handler: Any, port: int, *, task_status: trio.TaskStatus[Any]) -> None:
    await serve_websocket(
        handler, "127.0.0.1", port, None, max_message_size=MESSAGE_BYTES, task_status=task_status, connect_timeout=5
    )


async def _pump(
    source: WebSocketConnection, target: WebSocketConnection, record: list[dict[str, Any]], scope: trio.CancelScope
) -> None:
    try:
        while True:
            message = await source.get_message()
            record.append(json.loads(message))
            await target.send_message(message)
    except ConnectionClosed:
        scope.cancel()


def _pcm(pieces: Iterable[str]) -> Signal:
    return np.frombuffer(b"".join(map(base64.b64decode, pieces)), "<i2").astype(np.float64) / 32768


def free_port() -> int:
    """Give a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def upstream_tap(options: SimulatorOptions | None = None) -> Iterator[UpstreamTap]:
    """Run a simulator and a tap before it until the block ends. The tap is closed at first."""
    started = threading.Event()
    made: list[UpstreamTap] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            url = await nursery.start(serve_simulator, options or SimulatorOptions())
            made.append(UpstreamTap(free_port(), trio.lowlevel.current_trio_token(), nursery, url))
            started.set()
            await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(main,), name="upstream", daemon=True)
    thread.start()
    assert started.wait(DEADLINE_S), "the simulator did not start"
    tap = made[0]
    try:
        yield tap
    finally:
        trio.from_thread.run_sync(tap._nursery.cancel_scope.cancel, trio_token=tap._token)
        thread.join(DEADLINE_S)
