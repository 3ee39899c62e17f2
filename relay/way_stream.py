"""TCP, plain or with TLS, that can take the short way (short_way.py). Without a way it is the stream it was made of.

Theory of operation. The WebSocket above reads and writes as ever. When it asks for bytes between two messages, it
*parks* here, and while it is parked the C side may pass frames on. When something comes that does not take the short
way, the reader is woken and reads that one frame, as ever; the next one may be audio again. Whoever writes shuts the
way first, so that a socket has one writer, and writes first what the C side could not (`rest`).
"""

from __future__ import annotations

from typing import Final, Protocol

import trio

from relay import tcp
from relay._native import lib
from relay.tls_stream import TlsStream
from relay.wakeup import Wakeup

PATIENCE: Final = 4
"""Turns of the loop that a reader waits for whoever is still writing, before it goes the careful way."""


class Way(Protocol):
    """What a stream asks of the short way that it is part of."""

    def rest(self) -> None:
        """Nothing more is to be done for the moment: open what may be open."""

    def shut(self) -> None:
        """Somebody looks at the session, or changes it."""

    def close(self) -> None:
        """End it. Idempotent."""

    def is_open(self, leg: int) -> bool:
        """Whether frames from that leg take the short way now."""

    def watch(self, leg: int) -> None:
        """Wake the reader of that leg when anything comes."""

    def next_bytes(self, leg: int) -> int:
        """Length of the frame that comes next in that leg's socket, 0 if it is not known."""


class Socket(Protocol):
    """What a stream asks of the WebSocket above it."""

    @property
    def is_between_messages(self) -> bool:
        """Whether all that was read has been given out, and no message is half here."""

    @property
    def is_open(self) -> bool:
        """Whether messages may still be written."""

    def heard(self) -> None:
        """Something came from the peer."""


def with_short_way(stream: trio.abc.Stream) -> trio.abc.Stream:
    """Return the stream as one that can take the short way, if it can."""
    if isinstance(stream, TlsStream):
        return TlsWayStream(stream)
    return WayStream(stream) if isinstance(stream, trio.SocketStream) else stream


class WayStream(trio.abc.HalfCloseableStream):
    """Plain TCP. `rest` is what has to be written before anything else."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._tcp = stream
        self._way: Way | None = None
        self._leg = 0
        self._above: Socket | None = None
        self._frame_left = 0
        self._news = Wakeup()
        self.rest = b""
        self._is_parked = False
        self._is_writing = False

    @property
    def is_parked(self) -> bool:
        """Whether the reader waits, and nothing has come for it. Once it is woken, the next word is its own."""
        return self._is_parked and not self._news.is_rung

    @property
    def may_pass(self) -> bool:
        """Whether nobody writes, nothing is left to write, and nobody has said goodbye."""
        return not self._is_writing and not self.rest and self._above is not None and self._above.is_open

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket."""
        return self._tcp.socket

    def join(self, way: Way, leg: int, above: Socket) -> None:
        """Be part of a way, under this WebSocket."""
        self._way, self._leg, self._above = way, leg, above

    def heard(self) -> None:
        """Something came from the peer, and took the short way."""
        if self._above is not None:
            self._above.heard()

    def leave(self) -> None:
        """There is no way any more; the reader goes on by itself, and nothing is left that goes round in a circle."""
        self._way = self._above = None
        self._news.ring()

    def wake(self) -> None:
        """There is something for the reader."""
        self._news.ring()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read as ever; between two messages, wait first for what does not take the short way, and read just that."""
        if self._way is not None and self._frame_left == 0 and self._above and self._above.is_between_messages:
            await self._park(self._way)
        limit = min(max_bytes or self._frame_left, self._frame_left) or max_bytes
        data = await self._read(limit)
        self._frame_left = max(0, self._frame_left - len(data))
        return data

    async def _park(self, way: Way) -> None:
        self._news.hush()
        self._is_parked = True
        try:
            way.rest()
            for _ in range(PATIENCE):
                if way.is_open(self._leg) or self._news.is_rung:
                    break
                await trio.lowlevel.checkpoint()
            else:
                self._watch(way)
            await self._news.wait()
        finally:
            self._is_parked = False
            way.shut()
        self._frame_left = self._next_bytes(way)

    def _watch(self, way: Way) -> None:
        way.watch(self._leg)

    def _next_bytes(self, way: Way) -> int:
        return way.next_bytes(self._leg)

    async def _read(self, max_bytes: int | None) -> bytes:
        return await tcp.receive_some(self._tcp, max_bytes)

    def _written(self, data: bytes | bytearray | memoryview) -> bytes | bytearray | memoryview:
        """What goes into the socket for `data`."""
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write, after what the short way left."""
        if self._way is not None:
            self._way.shut()
        self._is_writing = True  # for good if this does not come to its end: then the stream is torn
        rest, self.rest = self.rest, b""
        written = self._written(data)
        await self._tcp.send_all(rest + written if rest else written)
        self._is_writing = False
        if self._way is not None:
            self._way.rest()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes more."""
        await self._tcp.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Say that no more will be written."""
        await self._tcp.send_eof()

    async def aclose(self) -> None:
        """Close the socket, and end the way."""
        if self._way is not None:
            self._way.close()
        await self._hang_up()

    async def _hang_up(self) -> None:
        await self._tcp.aclose()


class TlsWayStream(WayStream):
    """The same with TLS. What has been decrypted and did not take the short way waits here for the reader."""

    def __init__(self, tls: TlsStream) -> None:
        super().__init__(tls.tcp)
        self.tls = tls
        self.plain = b""

    async def send_eof(self) -> None:
        """Nothing: with TLS the end is the end of the socket."""
        await trio.lowlevel.checkpoint()

    async def _park(self, way: Way) -> None:
        await super()._park(way)
        if not self.plain:  # only now is there something to see how long the next frame is
            self.plain = await self.tls.receive_some()
            self._frame_left = self._next_bytes(way)

    def _watch(self, way: Way) -> None:
        if self.plain or self.tls.has_ended:
            self._news.ring()  # of which the socket will not say anything
        else:
            way.watch(self._leg)

    def _next_bytes(self, way: Way) -> int:
        return int(lib.relay_way_frame_bytes(self.plain, len(self.plain)))

    async def _read(self, max_bytes: int | None) -> bytes:
        if self.plain:
            await trio.lowlevel.checkpoint()
        else:
            self.plain = await self.tls.receive_some()
        data = self.plain[:max_bytes]
        self.plain = self.plain[len(data) :]
        return data

    def _written(self, data: bytes | bytearray | memoryview) -> bytes:
        return self.tls.encrypt(data)

    async def _hang_up(self) -> None:
        if self.rest or self._is_writing:  # the peer would take a goodbye for the end of a record
            await super()._hang_up()
        else:
            await self.tls.aclose()
