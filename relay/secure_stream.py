"""TLS on a connection that was accepted, so that its peer cannot keep the others waiting.

Theory of operation. TLS lets a peer do much work for few bytes of its own, all of it in the event loop's thread. So a
handshake is worked on when its turn has come, what is read goes to OpenSSL in pieces, a piece of many small records
waits for its turn too, and records that say nothing (new keys, empty ones) are counted: whoever sends many is hung up
on. What is below sees records, what is above sees what they said; together they know which said nothing.

Rules: trio.SSLStream does the TLS. A read may be cancelled after the handshake, and loses nothing by it.
"""

from __future__ import annotations

import ssl

import trio

from relay.tcp import TcpStream
from relay.turnstile import Turnstile

PIECE_BYTES = 4_096
"""Ciphertext that OpenSSL gets at a time, a microphone's frame of 20 ms. As new keys it is 15 ms of work."""

MOST_EMPTY = 64
"""Records of a connection that may say nothing. Libraries change keys after 24 million records, if at all."""

MOST_AT_ONCE = 8
"""Records in a piece that may be decrypted out of turn: a piece of sound is one, a piece of new keys 150."""

TURN_S = 1.0
"""For a turn that must not be cancelled; whose has not come by then goes without."""

_HEAD_BYTES = 5


class Ciphertext(TcpStream):
    """What TLS reads: in pieces, in turn if they may be much work, and with an eye on what comes of them."""

    def __init__(self, stream: trio.SocketStream, handshakes: Turnstile) -> None:
        super().__init__(stream)
        self._turnstile = handshakes
        self._shakes_hands = True
        self._empty = 0
        self._split = b""
        self._to_next_head = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read what is there. Raises BrokenResourceError after too many records that said nothing."""
        if self._empty > MOST_EMPTY:  # all that was read has been decrypted: more is asked for
            raise trio.BrokenResourceError("TLS records that say nothing")
        data = await super().receive_some(PIECE_BYTES)
        records = self._ends_in(data)
        self._empty += records
        if self._shakes_hands and records:  # nothing is computed before a record is whole
            await self._turnstile.turn()
        elif records > MOST_AT_ONCE:
            with trio.move_on_after(TURN_S, shield=True):  # what was read must not be lost
                await self._turnstile.turn()
        return data

    def shook_hands(self) -> None:
        """The handshake is over."""
        self._shakes_hands = False
        self._empty = 0

    def said_something(self) -> None:
        """A record was decrypted, and something was in it."""
        self._empty = max(0, self._empty - 1)

    def _ends_in(self, data: bytes) -> int:
        """Count the records that end in `data`, by their heads: type, version, length (RFC 8446, 5.1)."""
        data, at = self._split + data, self._to_next_head
        count = int(0 < at <= len(data))
        while at + _HEAD_BYTES <= len(data):
            at += _HEAD_BYTES + int.from_bytes(data[at + 3 : at + 5], "big")
            count += at <= len(data)
        self._split, self._to_next_head = (data[at:], 0) if at < len(data) else (b"", at - len(data))
        return count


class SecureStream(trio.abc.Stream):
    """TLS on a connection that was accepted."""

    def __init__(self, ciphertext: Ciphertext, context: ssl.SSLContext) -> None:
        self.transport_stream = ciphertext
        self._tls = trio.SSLStream(ciphertext, context, server_side=True)

    async def do_handshake(self) -> None:
        """Shake hands. Raises BrokenResourceError or ClosedResourceError."""
        await self._tls.do_handshake()
        self.transport_stream.shook_hands()

    def selected_alpn_protocol(self) -> str | None:
        """Say which protocol the peer and we agreed on."""
        protocol: str | None = self._tls.selected_alpn_protocol()
        return protocol

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read what one record says, or a part of it."""
        data = bytes(await self._tls.receive_some(max_bytes))
        self.transport_stream.said_something()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write."""
        await self._tls.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes more."""
        await self._tls.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Say goodbye, and close the socket."""
        await self._tls.aclose()
