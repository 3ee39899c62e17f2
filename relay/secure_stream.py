"""TLS on a connection that was accepted, so that its peer cannot keep the others waiting.

Theory of operation. TLS lets a peer do much work for few bytes of its own, all of it in the event loop's thread. So a
handshake is worked on when its turn has come, what is read goes to OpenSSL in pieces, a piece of many small records
waits for its turn too, and records that say nothing (new keys, empty ones) are counted: whoever sends many is hung up
on. What is below sees records, what is above sees what they said; together they know which said nothing. While audio
takes the short way (short_way.py), C counts in the same place, and leaves what would be too much at once for here.

Rules: a read may be cancelled after the handshake, and loses nothing by it: it waits for bytes from the socket, or for
its turn behind a shield.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

import trio

from relay._native import ffi, lib
from relay.tcp import TcpStream
from relay.tls_stream import TlsStream
from relay.turnstile import Turnstile

PIECE_BYTES: int = lib.RELAY_TLS_PIECE_BYTES
"""Ciphertext that OpenSSL gets at a time, a microphone's frame of 20 ms. As new keys it is 15 ms of work."""

MOST_EMPTY: int = lib.RELAY_TLS_MOST_EMPTY
"""Records of a connection that may say nothing. Libraries change keys after 24 million records, if at all."""

MOST_AT_ONCE: int = lib.RELAY_TLS_MOST_AT_ONCE
"""Records in a piece that may be decrypted out of turn: a piece of sound is one, a piece of new keys 150."""

TURN_S = 1.0
"""For a turn that must not be cancelled; whose has not come by then goes without."""


class Ciphertext(TcpStream):
    """What TLS reads: in pieces, in turn if they may be much work, and with an eye on what comes of them."""

    def __init__(self, stream: trio.SocketStream, handshakes: Turnstile) -> None:
        super().__init__(stream)
        self._turnstile = handshakes
        self._shakes_hands = True
        self.records = ffi.new("relay_tls_records *")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read what is there. Raises BrokenResourceError after too many records that said nothing."""
        if self.records.empty > MOST_EMPTY:  # all that was read has been decrypted: more is asked for
            raise trio.BrokenResourceError("TLS records that say nothing")
        data = await super().receive_some(PIECE_BYTES)
        records = lib.relay_tls_records_read(self.records, data, len(data))
        if self._shakes_hands and records:  # nothing is computed before a record is whole
            await self._turnstile.turn()
        elif records > MOST_AT_ONCE:
            with trio.move_on_after(TURN_S, shield=True):  # what was read must not be lost
                await self._turnstile.turn()
        return data

    def shook_hands(self) -> None:
        """The handshake is over."""
        self._shakes_hands = False
        self.records.empty = 0

    def said_something(self) -> None:
        """A record was decrypted, and something was in it."""
        lib.relay_tls_records_said(self.records, 1)


class SecureStream(TlsStream):
    """TLS on a connection that was accepted."""

    def __init__(self, ciphertext: Ciphertext, context: ssl.SSLContext) -> None:
        super().__init__(ciphertext, context, None)
        self.transport_stream = ciphertext
        self.records = ciphertext.records

    async def do_handshake(self) -> None:
        """Shake hands. Raises BrokenResourceError or ClosedResourceError."""
        try:
            await super().do_handshake()
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        self.transport_stream.shook_hands()

    def selected_alpn_protocol(self) -> str | None:
        """Say which protocol the peer and we agreed on."""
        return self._tls.selected_alpn_protocol()

    async def aclose(self) -> None:
        """Say goodbye, without waiting for the peer's, and close the socket."""
        try:
            if not self._is_torn:
                await self._say_goodbye()
        finally:
            await super().aclose()

    async def _say_goodbye(self) -> None:
        with suppress(ssl.SSLError):  # that theirs is missing, or that this connection can say nothing any more
            self._tls.unwrap()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._flush()

    def _said(self) -> None:
        self.transport_stream.said_something()
