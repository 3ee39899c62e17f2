"""What Python does for a short way with TLS, on either leg: it takes what C decrypted and did not pass on.

Where C has no OpenSSL (openssl.py) it encrypts and decrypts every frame.

Rules: then this runs between two waits of the pump, when nothing of it is in the processor's caches. So it is few
calls, and no exception for a frame that is whole. What the peer said and C did not pass on goes to the reader in the
order in which it came (`TlsWayStream.plain`). As long as it begins with something for the reader, C takes no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio

from relay._native import ffi, lib
from relay.way_stream import TlsWayStream, WayStream

NONE: Final[int] = lib.RELAY_NEWS_NONE
CAREFUL: Final[int] = lib.RELAY_NEWS_CAREFUL
STUCK: Final[int] = lib.RELAY_NEWS_STUCK
DECRYPT: Final[int] = lib.RELAY_NEWS_DECRYPT
ENCRYPT: Final[int] = lib.RELAY_NEWS_ENCRYPT


class TlsWork:
    """For one way of C, as long as it lives; a leg without TLS has None."""

    def __init__(self, pump: Any, way: Any, streams: Sequence[WayStream]) -> None:
        self._work = lib.relay_pump_tls_work(pump)
        self._way = way
        self._streams = [stream if isinstance(stream, TlsWayStream) else None for stream in streams]
        self._news = ffi.new("int *")

    def do(self, leg: int, news: int) -> int:
        """Encrypt or decrypt what the news are about; return what is news then.

        If that is CAREFUL for what Python found, C knows when the woken reader leaves its place.
        """
        while news in (ENCRYPT, DECRYPT):
            news = self._encrypt(leg) if news == ENCRYPT else self._decrypt(leg)
        return news

    def let_through(self, leg: int, more: bytes = b"") -> int:
        """Let pass what may of what was left, and of `more`; return what is news then."""
        stream = self._streams[leg]
        if stream is None:
            return NONE
        plain, news = self._hear(leg, bytearray(stream.plain + more))
        stream.plain = plain
        if news == NONE and stream.tls.has_ended:
            return CAREFUL
        if news == STUCK and (plain or stream.tls.has_ended):
            stream.wake()  # of what is here already the socket will not say anything
        return news

    def _hear(self, leg: int, plain: bytearray) -> tuple[bytes, int]:
        """Return what did not pass, and what is news then."""
        start, passed, news = ffi.from_buffer("char[]", plain), 0, ENCRYPT
        while news == ENCRYPT:
            passed += lib.relay_way_hear(self._way, leg, start + passed, len(plain) - passed, self._news)
            news = self._news[0]
            if news == ENCRYPT and (sent := self._encrypt(leg)) != NONE:
                news = sent
        return bytes(plain[passed:]), news

    def _encrypt(self, leg: int) -> int:
        to = self._streams[1 - leg]
        assert to is not None
        data = b""
        try:
            data = to.tls.encrypt(ffi.buffer(self._work.frame, self._work.frame_bytes))
        except trio.BrokenResourceError:
            to.wake()  # its reader knows why; what was said is lost
        news: int = lib.relay_way_send(self._way, leg, data, len(data))
        if news < 0:
            raise RuntimeError("an encrypted frame is longer than the short way has room for")
        return news

    def _decrypt(self, leg: int) -> int:
        stream, work = self._streams[leg], self._work
        assert stream is not None
        stream.heard()  # be it a part of a frame
        received = ffi.buffer(work.received, work.received_bytes)
        more = received[:] + stream.tls.decrypt(b"") if work.is_plain else stream.tls.decrypt(received)
        return self.let_through(leg, more)
