"""A TCP proxy that misbehaves: what lies between two processes, with the faults of real networks.

    async with open_fault_proxy(relay.port) as proxy:
        ...                                  # connect to proxy.port instead
        proxy.down.delay_s = 0.1             # from now on, what comes from the server is 100 ms late
        proxy.up.swallows = True             # what the client sends is taken and never arrives
        proxy.reset()                        # RST, on both sides of every connection

`up` is the way from client to server, `down` the way back; both hold for all connections and may change at any time.
Bytes are counted per connection and way. A lost packet shows on TCP as a pause, the time until it is sent again: that
is what `loss` makes. Nothing is kept in memory beyond `WINDOW_BYTES` a way, so that a slow way slows its sender down.

`python -m tests.fault_proxy PORT [field=value ...]` runs one by hand: `up.delay_s=0.1 down.bytes_per_s=8000`.
"""

from __future__ import annotations

import math
import random
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

CHUNK_BYTES = 4_096
WINDOW_BYTES = 65_536
RST = struct.pack("ii", 1, 0)
"""SO_LINGER: on, 0 s. Closing then throws away what was not sent, and says so."""


@dataclass(slots=True)
class Way:
    """How one direction misbehaves; as it is made, it does not.

    delay_s            how much later everything arrives
    bytes_per_s        how fast it may arrive
    loss, loss_s       which share of the chunks is held up, with all behind it, and for how long
    swallows           taken and never delivered, the end of the stream included: half-open
    close_after_bytes  both sides are closed in the middle, after so many bytes of a connection
    reset_after_bytes  the same, with a reset
    garbage            bytes that are put in, once, in front of the byte number `garbage_at_byte`
    """

    delay_s: float = 0.0
    bytes_per_s: float = math.inf
    loss: float = 0.0
    loss_s: float = 0.2
    swallows: bool = False
    close_after_bytes: float = math.inf
    reset_after_bytes: float = math.inf
    garbage: bytes = b""
    garbage_at_byte: int = 0


class _Cut(Exception):
    """A connection ends here."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


@dataclass(eq=False)
class FaultProxy:
    """A running proxy. `connections` counts those that there were."""

    port: int
    seed: int
    up: Way = field(default_factory=Way)
    down: Way = field(default_factory=Way)
    connections: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._open: set[tuple[trio.CancelScope, trio.SocketStream, trio.SocketStream]] = set()

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._open)

    def reset(self) -> None:
        """Reset every connection, on both sides."""
        for scope, *streams in self._open:
            for stream in streams:
                _set_reset(stream)
            scope.cancel()

    async def carry(self, client: trio.SocketStream, server: trio.SocketStream) -> None:
        """Carry one connection to its end, and close both sides."""
        self.connections += 1
        with trio.CancelScope() as scope:
            entry = (scope, client, server)
            self._open.add(entry)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry_one_way, self.up, client, server)
                    nursery.start_soon(self._carry_one_way, self.down, server, client)
            except* _Cut as group:
                if group.subgroup(lambda error: isinstance(error, _Cut) and error.reset):
                    _set_reset(client)
                    _set_reset(server)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                _set_reset(client)  # one side is gone: the other hears it as it would without a proxy
                _set_reset(server)
            finally:
                self._open.discard(entry)
                for stream in (client, server):
                    stream.socket.close()

    async def _carry_one_way(self, way: Way, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        """Read into a window, deliver from it: two tasks, so that a delay does not become a rate."""
        send, receive = trio.open_memory_channel[tuple[float, bytes]](WINDOW_BYTES // CHUNK_BYTES)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take, way, source, send)
            nursery.start_soon(self._deliver, way, receive, sink)

    async def _take(
        self, way: Way, source: trio.SocketStream, window: trio.MemorySendChannel[tuple[float, bytes]]
    ) -> None:
        with window:
            data = b"start"
            while data:
                data = bytes(await source.receive_some(CHUNK_BYTES))
                if way.swallows and not data:
                    await trio.sleep_forever()  # nobody hears of the end either
                if not way.swallows:
                    await window.send((trio.current_time() + way.delay_s, data))

    async def _deliver(
        self, way: Way, window: trio.MemoryReceiveChannel[tuple[float, bytes]], sink: trio.SocketStream
    ) -> None:
        count = 0
        async for due_s, data in window:
            await trio.sleep_until(due_s)
            await trio.sleep(len(data) / way.bytes_per_s + (way.loss_s if self._random.random() < way.loss else 0.0))
            until = min(way.close_after_bytes, way.reset_after_bytes)
            kept = data if count + len(data) <= until else data[: max(0, int(until) - count)]
            await sink.send_all(_with_garbage(way, kept, count))
            count += len(kept)
            if count >= until:
                raise _Cut(reset=way.reset_after_bytes <= way.close_after_bytes)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await sink.send_eof()


def _with_garbage(way: Way, data: bytes, count: int) -> bytes:
    """Put the garbage in if its place is in `data`, whose first byte has the number `count`."""
    at = way.garbage_at_byte - count
    return data[:at] + way.garbage + data[at:] if 0 <= at < len(data) else data


def _set_reset(stream: trio.SocketStream) -> None:
    with suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)


@asynccontextmanager
async def open_fault_proxy(to_port: int, *, host: str = "127.0.0.1", seed: int = 0) -> AsyncIterator[FaultProxy]:
    """Run a proxy to a port on this machine for the length of the block; its connections end with it."""
    listeners = await trio.open_tcp_listeners(0, host=host)
    proxy = FaultProxy(listeners[0].socket.getsockname()[1], seed)

    async def accept(client: trio.SocketStream) -> None:
        try:
            server = await trio.open_tcp_stream(host, to_port)
        except OSError:
            _set_reset(client)
            client.socket.close()
            return
        await proxy.carry(client, server)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, accept, listeners)
        yield proxy
        nursery.cancel_scope.cancel()


async def main(port: int, settings: list[str]) -> None:
    """Run a proxy until it is interrupted."""
    async with open_fault_proxy(port) as proxy:
        for setting in settings:
            name, _, value = setting.partition("=")
            way, _, fault = name.partition(".")
            setattr({"up": proxy.up, "down": proxy.down}[way], fault, float(value))
        print(f"127.0.0.1:{proxy.port} -> 127.0.0.1:{port}", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2:])
