"""A connection that begins with Hypercorn and goes on without it.

Hypercorn and Quart take a request in: parsing, routing, refusal, the 101. For a voice session that is where they end:
their path for WebSocket messages costs several times what the rest does, is unbounded in memory and cannot say goodbye.
So Hypercorn gets this wrapper instead of the socket, and the handler finds it in its scope's state:

    connection.keep(place)          # until the end of the connection, whatever becomes of it
    connection.hold()               # from now on Hypercorn reads nothing
    await websocket.accept(...)     # Hypercorn writes the 101
    connection.detach(session)      # from now on it writes nothing either
    connection.release()            # it sees the end of the connection, and ends

and the server goes on, with Hypercorn and Quart gone: their tasks and buffers would double what a session costs.

    await connection.go_on()        # runs the session on the stream; the session closes it

Rules: a client speaks WebSocket only after it has seen the 101, so nothing that belongs to the session can arrive
before `hold`. What Hypercorn writes after `detach` is dropped. Every send and every goodbye has a deadline, and a
send ends with the process (a peer that does not read would keep that from ending). Between `detach` and `go_on`
nothing is lost: if the client leaves, the session finds a broken stream, and if the process ends, there is no session,
and the connection gives back what it kept.

`hold` cancels a read that waits. On TCP that loses nothing. Over TLS neither: a read waits for bytes from the socket,
or for its turn with them, which is not cancelled (secure_stream.py); what was decrypted or half received stays in the
TLS object. The read is out of the way before the session's first: the task that waited in it has ended by then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Protocol, Self

import trio

from relay import tcp
from relay.secure_stream import SecureStream
from relay.tcp import TcpStream

STATE_KEY = "relay.connection"
CLOSE_S = 1.0
"""For a goodbye in TLS that the peer does not take."""

Heir = Callable[[trio.abc.Stream], Awaitable[None]]
"""What goes on with a connection: it owns the stream, and closes it."""


class Turns(Protocol):
    """Is told whose turn it is on a connection: its client's, or ours."""

    def waits(self) -> None:
        """The client's."""

    def works(self) -> None:
        """Ours; or a session has it."""


def peer_of(stream: trio.SocketStream | TcpStream) -> str:
    """Return the other side's IP address, or "" if it is gone."""
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""


class DetachableStream(trio.abc.Stream):
    """A connection, on loan to Hypercorn until it is detached: plain TCP here. A context that ends what it keeps."""

    def __init__(self, stream: trio.SocketStream | SecureStream, place: Turns, *, send_deadline_s: float) -> None:
        self.place = place
        self._stream = stream
        self._transport = stream.transport_stream if isinstance(stream, SecureStream) else stream
        self._send_deadline_s = send_deadline_s
        self._reading: trio.CancelScope | None = None
        self._held = False
        self._heir: Heir | None = None
        self._released = trio.Event()
        self._kept: AbstractContextManager[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._kept is not None:
            self._kept.__exit__(None, None, None)

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket, whose addresses Hypercorn asks for."""
        return self._transport.socket

    @property
    def peer(self) -> str:
        """The other side's IP address, or "" if it is gone."""
        return peer_of(self._transport)

    def keep(self, held: AbstractContextManager[None]) -> None:
        """Enter the one context that ends with the connection. Raises what entering it raises."""
        held.__enter__()
        self._kept = held

    def hold(self) -> None:
        """Stop Hypercorn's reading, at once and for good."""
        self._held = True
        if self._reading is not None:
            self._reading.cancel()

    def detach(self, heir: Heir) -> None:
        """Take the stream out of Hypercorn's hands; it is `heir`'s, once Hypercorn has gone."""
        self.hold()
        self._heir = heir

    def release(self) -> None:
        """Let Hypercorn see the end of the connection, and clean up what it holds."""
        self._released.set()

    async def go_on(self) -> None:
        """Run the heir, if there is one. Raises what it raises."""
        await trio.lowlevel.checkpoint()
        if self._heir is not None:
            await self._heir(self._stream)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read for Hypercorn; after `hold`, wait for `release` and report the end."""
        while not self._held:
            with trio.CancelScope() as self._reading:
                return await self._read(max_bytes)
        await self._released.wait()
        return b""

    async def _read(self, max_bytes: int | None) -> bytes:
        return await tcp.receive_some(self._transport, max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write for Hypercorn, within the deadline; after `detach`, drop.

        Until the client has taken it, it is the client's turn; after `hold` no longer, for then it has a session.
        """
        if self._heir is not None:
            await trio.lowlevel.checkpoint()
            return
        if not self._held:
            self.place.waits()
        with trio.move_on_after(self._send_deadline_s) as writing:
            await self._stream.send_all(data)
            self.place.works()
        if writing.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError("the peer does not read")

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes more."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close for Hypercorn, which does it from cancelled scopes too; after `detach` that is the heir's affair.

        Who was hung up on (connections.py) hears no goodbye in TLS: its socket is closed already.
        """
        await trio.lowlevel.cancel_shielded_checkpoint()
        if self._heir is None:
            with trio.move_on_after(CLOSE_S, shield=True), suppress(trio.ClosedResourceError):
                await self._stream.aclose()


class DetachableTls(DetachableStream):
    """A connection over TLS, with what Hypercorn knows TLS by."""

    def __init__(self, stream: SecureStream, place: Turns, *, send_deadline_s: float) -> None:
        super().__init__(stream, place, send_deadline_s=send_deadline_s)
        self._tls = stream

    @property
    def transport_stream(self) -> trio.SocketStream | TcpStream:
        """The TCP connection below, for its addresses."""
        return self._transport

    async def _read(self, max_bytes: int | None) -> bytes:
        return await self._tls.receive_some()

    async def do_handshake(self) -> None:
        """Do nothing: the server has done it already."""
        await trio.lowlevel.checkpoint()

    def selected_alpn_protocol(self) -> str | None:
        """Say which protocol the peer and we agreed on."""
        return self._tls.selected_alpn_protocol()
