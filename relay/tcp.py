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

from relay._buffer import SHARED_BYTES, shared_buffer


async def receive_some(stream: trio.SocketStream, max_bytes: int | None = None) -> bytes:
    """Read what is there, at least one byte and at most SHARED_BYTES (or `max_bytes`); b"" is the end.

    Raises as `stream.receive_some` does: BrokenResourceError, ClosedResourceError, BusyResourceError.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    data = _read(stream, max_bytes)
    if data is not None:
        await trio.lowlevel.cancel_shielded_checkpoint()
    while data is None:
        await trio.lowlevel.wait_readable(stream.socket)
        data = _read(stream, max_bytes)
    return data


def _read(stream: trio.SocketStream, max_bytes: int | None) -> bytes | None:
    """Return what is there now, or None. Nothing else runs in this thread before it is copied out of the buffer."""
    room = memoryview(shared_buffer().bytes)[: min(max_bytes or SHARED_BYTES, SHARED_BYTES)]
    try:
        n = os.readv(stream.socket.fileno(), [room])
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.EBADF:
            raise trio.ClosedResourceError("this stream was closed") from None
        raise trio.BrokenResourceError(f"the connection broke: {error}") from error
    return bytes(room[:n])
