"""A connection that begins with Hypercorn and goes on without it.

Hypercorn and Quart take a request in: parsing, routing, refusal, the 101. For a voice session that is where they end:
their path for WebSocket messages costs several times what the rest does, is unbounded in memory and cannot say goodbye.
So Hypercorn gets this wrapper instead of the socket, and the handler finds it in its scope's state:

    connection.hold()               # from now on Hypercorn reads nothing
    await websocket.accept(...)     # Hypercorn writes the 101
    stream = connection.detach()    # from now on it writes nothing either
    ...                             # the session owns the stream, and closes it
    connection.release()            # Hypercorn sees the end of the connection

Rules: a client speaks WebSocket only after it has seen the 101, so nothing that belongs to the session can arrive
before `hold`. What Hypercorn writes after `detach` is dropped. Every send has a deadline, because Hypercorn shields its
own (a peer that does not read would keep the process from ending).
"""

from __future__ import annotations

import trio

STATE_KEY = "relay.connection"


class DetachableStream(trio.abc.Stream):
    """A plain TCP connection, on loan to Hypercorn until it is detached."""

    def __init__(self, stream: trio.SocketStream, *, send_deadline_s: float) -> None:
        self._stream = stream
        self._send_deadline_s = send_deadline_s
        self._reading: trio.CancelScope | None = None
        self._held = False
        self._detached = False
        self._released = trio.Event()

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket, whose addresses Hypercorn asks for."""
        return self._stream.socket

    @property
    def peer(self) -> str:
        """The other side's IP address, or "" if it is gone."""
        try:
            return str(self._stream.socket.getpeername()[0])
        except OSError:
            return ""

    def hold(self) -> None:
        """Stop Hypercorn's reading, at once and for good."""
        self._held = True
        if self._reading is not None:
            self._reading.cancel()

    def detach(self) -> trio.SocketStream:
        """Take the stream out of Hypercorn's hands. The caller closes it and then calls `release`."""
        self.hold()
        self._detached = True
        return self._stream

    def release(self) -> None:
        """Let Hypercorn see the end of the connection, and clean up what it holds."""
        self._released.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read for Hypercorn; after `hold`, wait for `release` and report the end."""
        while not self._held:
            with trio.CancelScope() as self._reading:
                return bytes(await self._stream.receive_some(max_bytes))
        await self._released.wait()
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write for Hypercorn, within the deadline; after `detach`, drop."""
        if self._detached:
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(self._send_deadline_s, shield=True) as writing:
            await self._stream.send_all(data)
        if writing.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError("the peer does not read")

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes more."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the socket."""
        await self._stream.aclose()
