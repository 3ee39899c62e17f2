"""TLS under the short way (relay/way_stream.py): what the pump hears of a socket whose bytes Python decrypts."""

from __future__ import annotations

import ssl

import pytest
import trio
import trustme

from relay.tls_stream import TlsStream
from tests.peers import loopback_pair

RECORD_HEAD = b"\x17\x03\x03"


class Far:
    """The other end of a TLS connection, in memory."""

    def __init__(self, near: trio.SocketStream) -> None:
        ca = trustme.CA()
        trusting, serving = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.num_tickets = 0  # else they come first
        ca.configure_trust(trusting)
        ca.issue_cert("localhost").configure_cert(serving)
        self.tls = TlsStream(near, trusting, "localhost")
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = serving.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def shake_hands(self, far: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.tls.do_handshake)
            while True:
                try:
                    self._tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await far.send_all(self._outgoing.read())
                    self._incoming.write(await far.receive_some())
            await far.send_all(self._outgoing.read())

    def say(self, plain: bytes) -> bytes:
        """Return what is in the socket then."""
        self._tls.write(plain)
        return self._outgoing.read()


@pytest.mark.parametrize("data", [RECORD_HEAD + b"\x00\x20" + bytes(32)])
async def test_after_a_fault_of_tls_the_stream_is_broken_for_writers_as_for_readers(data: bytes) -> None:
    async with loopback_pair() as (far, near):
        peer = Far(near)
        await peer.shake_hands(far)
        peer.tls.decrypt(data)
        with pytest.raises(trio.BrokenResourceError):
            await peer.tls.send_all(b"word")
        with pytest.raises(trio.BrokenResourceError):
            await peer.tls.receive_some()
