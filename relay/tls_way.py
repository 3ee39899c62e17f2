"""What Python does for a short way whose upstream has TLS: it takes what C decrypted and did not pass on.

Where C has no OpenSSL (openssl.py) it encrypts and decrypts every frame.

Rules: then this runs between two waits of the pump, when nothing of it is in the processor's caches. So it is few
calls, and no exception for a frame that is whole. What the peer said and C did not pass on goes to the reader in the
order in which it came (`TlsWayStream.plain`). As long as it begins with something for the reader, C takes no more.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from relay._native import ffi, lib
from relay.way_stream import TlsWayStream

NONE: Final[int] = lib.RELAY_NEWS_NONE
CAREFUL: Final[int] = lib.RELAY_NEWS_CAREFUL
STUCK: Final[int] = lib.RELAY_NEWS_STUCK
DECRYPT: Final[int] = lib.RELAY_NEWS_DECRYPT
ENCRYPT: Final[int] = lib.RELAY_NEWS_ENCRYPT


class TlsWork:
    """For one way of C, as long as it lives."""

    def __init__(self, pump: Any, way: Any, upstream: TlsWayStream) -> None:
        self._work = lib.relay_pump_tls_work(pump)
        self._way = way
        self._upstream = upstream
        self._tls = upstream.tls
        self._news = ffi.new("int *")

    def do(self, news: int) -> int:
        """Encrypt or decrypt what the news are about; return what is news then.

        If that is CAREFUL for what Python found, C knows when the woken reader leaves its place.
        """
        work = self._work
        try:
            while news == ENCRYPT:
                data = self._tls.encrypt(ffi.buffer(work.frame, work.frame_bytes))
                news = lib.relay_way_send(self._way, data, len(data))
        except trio.BrokenResourceError:
            self._upstream.wake()  # its reader knows why; what was said is lost
            return CAREFUL
        if news < 0:
            raise RuntimeError("an encrypted frame is longer than the short way has room for")
        if news == DECRYPT:
            received = ffi.buffer(work.received, work.received_bytes)
            more = received[:] + self._tls.decrypt(b"") if work.is_plain else self._tls.decrypt(received)
            news = self.let_through(more)
        return news

    def let_through(self, more: bytes = b"") -> int:
        """Let pass what may of what was left, and of `more`; return what is news then."""
        upstream = self._upstream
        plain = upstream.plain + more
        upstream.plain = plain[lib.relay_way_hear(self._way, plain, len(plain), self._news) :]
        news: int = self._news[0]
        if news == NONE and self._tls.has_ended:
            return CAREFUL
        if news == STUCK and (upstream.plain or self._tls.has_ended):
            upstream.wake()  # of what is here already the socket will not say anything
        return news
