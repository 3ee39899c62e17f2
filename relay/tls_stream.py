"""TLS over TCP: Python's ssl on two memory buffers, with the bytes between them at hand.

Here it is that of a client, to an upstream; what a server has to add is in secure_stream.py.

Why not trio.SSLStream: the short way of a session (short_way.py) decrypts and encrypts single frames without a task of
its own. That needs `decrypt` and `encrypt`, which wait for nothing; SSLStream has them inside.

Rules: certificate and name are verified as the context says, before a byte of anybody's is sent. The reader never
writes: what TLS itself has to answer (a new key) goes out in front of the next message, which is when RFC 8446, 4.6.3
wants it. A peer that hangs up without `close_notify` has ended the stream, as in HTTPS: the WebSocket above knows a
torn message.
"""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any, Final

import trio

from relay import openssl
from relay.errors import let_go
from relay.tcp import TcpStream

RECORD_BYTES: Final = 16_384  # the most that one record holds

Bytes = bytes | bytearray | memoryview


class TlsStream(trio.abc.Stream):
    """TLS on a TCP stream. One task reads, one writes."""

    def __init__(self, stream: TcpStream, context: ssl.SSLContext, host: str | None) -> None:
        """As the client of `host`, or as a server if it is None."""
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        wrap = partial(context.wrap_bio, self._incoming, self._outgoing, server_side=host is None, server_hostname=host)
        self._tls, self.handle = openssl.lent(wrap)
        """Its `SSL *` for C, which may read and write in between, or NULL (openssl.py)."""
        self.records: Any = None
        """Where C counts records (relay_tls_records), if it is to."""
        self.has_ended = False
        """Whether nothing can be read any more, for what the peer said or for what is wrong with it."""
        self._error: ssl.SSLError | None = None
        self._early = b""
        self._is_torn = False

    @property
    def tcp(self) -> trio.SocketStream:
        """The TCP stream underneath."""
        return self._stream.tcp

    async def do_handshake(self) -> None:
        """Shake hands, and verify. Raises ssl.SSLError, or BrokenResourceError if the peer hangs up."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fetch()
            except ssl.SSLError:
                await self._flush()  # the alert says why
                raise
            else:
                await self._flush()
                self._early += self.decrypt(b"")  # a client may say more with its last word of the handshake
                return

    def decrypt(self, data: Bytes) -> bytes:
        """Return what `data` from the socket makes readable, which may be nothing. The reader is told what is wrong."""
        self._incoming.write(data)
        plain = b""
        try:
            while piece := self._tls.read(RECORD_BYTES):
                plain += piece
                self._said()
                if not self._incoming.pending:
                    return plain
        except ssl.SSLWantReadError:
            return plain
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        except ssl.SSLError as error:
            self._keep(error)
        self.has_ended = True
        return plain

    def _said(self) -> None:
        """A record was decrypted, and something was in it."""

    def encrypt(self, data: Bytes) -> bytes:
        """Return what has to be written to the socket for `data`. Raises BrokenResourceError after a TLS error."""
        try:
            if data:
                self._tls.write(data)
        except ssl.SSLError as error:
            self._keep(error)
            self.has_ended = True
            raise trio.BrokenResourceError from error
        return self._outgoing.read()

    def _keep(self, error: ssl.SSLError) -> None:
        """Keep the first error, which is the reason."""
        self._error = self._error or error
        let_go(self._error)  # it would hold what it came through, and that this: a circle

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read what one read of the socket made readable, however much. b"" is the end. Raises BrokenResourceError."""
        if self._early or self.has_ended:
            await trio.lowlevel.checkpoint()
        if self._early:
            early, self._early = self._early, b""
            return early
        while not self.has_ended:
            data = await self._stream.receive_some()
            plain = self.decrypt(data)
            if plain or not data:
                return plain
        if self._error is not None:
            raise trio.BrokenResourceError from self._error
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and write. If it is cancelled, the peer may have a part of a record, and can be told no more."""
        encrypted = self.encrypt(data)
        self._is_torn = True
        await self._stream.send_all(encrypted)
        self._is_torn = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes more."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the socket, without close_notify: nobody waits for it, and the Close frame has been said."""
        await self._stream.aclose()

    async def _flush(self) -> None:
        await self._stream.send_all(self._outgoing.read())

    async def _fetch(self) -> None:
        data = await self._stream.receive_some()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
