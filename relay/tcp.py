"""Reading TCP without setting memory aside for what might come.

`trio.SocketStream.receive_some` allocates as much as may come and gives back what did not: 64 KiB at every read, cut
down to the few hundred bytes of an event. It costs time, and it frays the heap: between the pieces that are kept are
holes that fit nothing, and after a hundred thousand sessions they were 4 MiB. Here the kernel writes into the thread's
buffer (_buffer.py), and what came is copied once.
"""

from __future__ import annotations

import errno
import os

import trio

from relay._buffer import shared_buffer


async def receive_some(stream: trio.SocketStream | TcpStream, max_bytes: int | None = None) -> bytes:
    """Read what is there, at least one byte, at most `max_bytes` and SHARED_BYTES; b"" is the end.

    Raises as `stream.receive_some` does: BrokenResourceError, ClosedResourceError, BusyResourceError.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    try:
        data = _read(stream, max_bytes)
        if data is not None:
            await trio.lowlevel.cancel_shielded_checkpoint()
        while data is None:
            await trio.lowlevel.wait_readable(stream.socket)
            data = _read(stream, max_bytes)
    except OSError as error:
        if error.errno == errno.EBADF:
            raise trio.ClosedResourceError("this stream was closed") from None
        raise trio.BrokenResourceError(f"the connection broke: {error}") from error
    return data


def _read(stream: trio.SocketStream | TcpStream, max_bytes: int | None) -> bytes | None:
    """Return what is there now, or None. Nothing else runs in this thread before it is copied out of the buffer."""
    room = memoryview(shared_buffer().bytes)[:max_bytes]
    try:
        n = os.readv(stream.socket.fileno(), [room])
    except BlockingIOError:
        return None
    return bytes(room[:n])


class TcpStream(trio.abc.Stream):
    """A stream that is read so, for TLS on top of it (tls_stream.py)."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    @property
    def tcp(self) -> trio.SocketStream:
        """The stream itself."""
        return self._stream

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket."""
        return self._stream.socket

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read what is there."""
        return await receive_some(self._stream, max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes more."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the socket."""
        await self._stream.aclose()
